/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hostd: starts the test host's machine, owns it, and relays commands to it.
 *
 * Runs the QEMU command line that it is given, with a virtio-serial port
 * added whose other end it holds (a socket pair: no path, nobody else can
 * connect).  When the agent in the machine says READY it goes to the
 * background and relays frames (wire.h) between that port and the clients of
 * a unix socket.  A machine that is not ready in time (QEMU's emulated timers
 * hang a boot now and then) is killed and started anew.
 *
 * It ends, and QEMU with it, when a client says STOP, when nobody has used it
 * for a while, when the process it was told to watch ends, when the machine
 * dies or no longer answers; and QEMU ends when hostd dies in whatever way.
 *
 * Trusts its clients: the socket's directory is its user's alone.  Owns
 * RUNDIR/sock, RUNDIR/lock (held while it lives) and RUNDIR/pid.  One thread,
 * one poll loop, no blocking write.
 *
 * usage: hostd -d RUNDIR [-p PID] [-i IDLE] [-r READY] [-n TRIES] -- QEMU...
 */
#include "relay.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PING_MS	   20000
#define SILENCE_MS 90000 /* of the agent: the machine hangs */
#define PORT_FD	   3	 /* QEMU's end of the port */

struct host {
	const char *dir;
	int idle_ms, ready_ms, tries;
	pid_t parent;
	char **qemu;
	int lock, parent_fd;
	pid_t pid; /* QEMU's */
	int64_t pinged;
	struct relay relay;
};

static volatile sig_atomic_t signalled;

static void on_signal(int sig)
{
	signalled = sig;
}

static int fail(const char *what)
{
	int e = errno ? errno : EIO;

	fprintf(stderr, "hostd: %s: %s\n", what, strerror(e));
	return -e;
}

/* QEMU with our options after its own; dies with us. */
static void exec_qemu(struct host *h, int fd)
{
	static char *const port[] = {
		"-chardev", "socket,id=agent,fd=3",
		"-device",  "virtio-serial-pci,max_ports=2",
		"-device",  "virtserialport,chardev=agent,name=agent",
	};
	size_t n = 0, more = sizeof(port) / sizeof(*port);
	char **argv;
	int null;

	while (h->qemu[n])
		n++;
	argv = calloc(n + more + 1, sizeof(*argv));
	if (!argv)
		_exit(1);
	memcpy(argv, h->qemu, n * sizeof(*argv));
	memcpy(argv + n, port, sizeof(port));
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setsid(); /* a ^C on our terminal is not for the machine */
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(2, 1);
	dup2(fd, PORT_FD); /* clears close-on-exec */
	execvp(argv[0], argv);
	fail(argv[0]);
	_exit(127);
}

static int start_qemu(struct host *h)
{
	pid_t self = getpid();
	int p[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, p))
		return fail("socketpair");
	if (p[1] == PORT_FD) /* then dup2 would leave it close-on-exec */
		p[1] = fcntl(p[1], F_DUPFD_CLOEXEC, PORT_FD + 1);
	h->pid = fork();
	if (h->pid < 0)
		return fail("fork");
	if (h->pid == 0) {
		if (getppid() != self)
			_exit(1);
		exec_qemu(h, p[1]);
	}
	close(p[1]);
	h->relay.port = p[0];
	fcntl(h->relay.port, F_SETFL, O_NONBLOCK);
	h->relay.heard = now_ms();
	return 0;
}

static void stop_qemu(struct host *h)
{
	if (h->pid > 0) {
		kill(h->pid, SIGKILL); /* its disk is a throw-away copy */
		waitpid(h->pid, NULL, 0);
	}
	if (h->relay.port >= 0)
		close(h->relay.port);
	h->relay.port = -1;
	h->pid = 0;
	h->relay.ready = 0;
	buf_free(&h->relay.in);
	buf_free(&h->relay.out);
}

static int open_dir_file(struct host *h, const char *name, int flags)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", h->dir, name);
	return open(path, flags | O_CLOEXEC, 0600);
}

/* A socket's path holds 107 bytes only: go by way of the directory's fd. */
static int open_listener(struct host *h)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int dir = open(h->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return fail(h->dir);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/sock", dir);
	unlinkat(dir, "sock", 0);
	h->relay.listener =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->relay.listener < 0 ||
	    bind(h->relay.listener, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(h->relay.listener, RELAY_CLIENTS)) {
		fail("RUNDIR/sock");
		close(dir);
		return -1;
	}
	close(dir);
	return 0;
}

/* One turn of the loop; why it should end, or NULL. */
static const char *step(struct host *h)
{
	struct pollfd p[1 + RELAY_POLLFDS];

	p[0] = (struct pollfd){ .fd = h->parent_fd, .events = POLLIN };
	relay_poll(&h->relay, p + 1);
	if (poll(p, 1 + RELAY_POLLFDS, 1000) < 0)
		return signalled ? "ended by a signal" : NULL;
	if (relay_step(&h->relay, p + 1))
		return "the machine has ended";
	if (p[0].revents)
		return "the process that started it has ended";
	if (signalled)
		return "ended by a signal";
	return h->relay.stop ? "stopped" : NULL;
}

static const char *check_time(struct host *h)
{
	int64_t now = now_ms();

	if (now - h->pinged > PING_MS) {
		h->pinged = now;
		wire_add(&h->relay.out, 0, WIRE_PING, NULL, 0);
	}
	if (now - h->relay.heard > SILENCE_MS)
		return "the machine no longer answers";
	if (relay_busy(&h->relay))
		h->relay.used = now;
	if (now - h->relay.used > h->idle_ms)
		return "nobody has used it for a while";
	return NULL;
}

/* Starts the machine until it is ready: 0 or -errno. */
static int boot(struct host *h)
{
	for (int i = 1; i <= h->tries; i++) {
		int64_t start = now_ms();
		const char *why = NULL;

		if (start_qemu(h))
			return -EIO;
		while (!h->relay.ready && !why) {
			why = step(h);
			if (!why && now_ms() - start > h->ready_ms)
				why = "not ready in time";
		}
		if (h->relay.ready) {
			fprintf(stderr, "hostd: ready after %lld ms\n",
				(long long)(now_ms() - start));
			return 0;
		}
		stop_qemu(h);
		fprintf(stderr, "hostd: start %d of %d: %s\n", i, h->tries,
			why);
		if (signalled || h->relay.stop)
			return -EINTR;
	}
	return -ETIMEDOUT;
}

/* Forks; the first process waits for the status that the second sends. */
static int go_background(void)
{
	char status = 1;
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return fail("pipe");
	pid = fork();
	if (pid < 0)
		return fail("fork");
	if (pid > 0) {
		close(p[1]);
		if (read(p[0], &status, 1) != 1)
			status = 1;
		_exit(status);
	}
	close(p[0]);
	setsid();
	return p[1];
}

static int take_lock(struct host *h)
{
	char text[32];
	int fd, n;

	h->lock = open_dir_file(h, "lock", O_RDWR | O_CREAT);
	if (h->lock < 0)
		return fail("RUNDIR/lock");
	if (flock(h->lock, LOCK_EX | LOCK_NB))
		return fail("already running");
	fd = open_dir_file(h, "pid", O_WRONLY | O_CREAT | O_TRUNC);
	n = snprintf(text, sizeof(text), "%d\n", getpid());
	if (fd < 0 || write(fd, text, n) != n)
		return fail("RUNDIR/pid");
	close(fd);
	return 0;
}

static int watch_parent(struct host *h)
{
	h->parent_fd = -1;
	if (!h->parent)
		return 0;
	h->parent_fd = syscall(SYS_pidfd_open, h->parent, 0);
	return h->parent_fd < 0 ? fail("the process to watch") : 0;
}

static int parse(struct host *h, int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "+d:p:i:r:n:")) != -1) {
		switch (o) {
		case 'd':
			h->dir = optarg;
			break;
		case 'p':
			h->parent = atoi(optarg);
			break;
		case 'i':
			h->idle_ms = atoi(optarg) * 1000;
			break;
		case 'r':
			h->ready_ms = atoi(optarg) * 1000;
			break;
		case 'n':
			h->tries = atoi(optarg);
			break;
		default:
			return -EINVAL;
		}
	}
	h->qemu = argv + optind;
	return h->dir && h->qemu[0] ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct host h = {
		.dir = ".", .idle_ms = 600000, .ready_ms = 60000, .tries = 3
	};
	struct sigaction act = { .sa_handler = on_signal };
	const char *why;
	char ok = 0;
	int tell;

	if (parse(&h, argc, argv)) {
		fputs("usage: hostd -d RUNDIR [options] -- QEMU...\n", stderr);
		return 2;
	}
	relay_init(&h.relay);
	/* a pipe or lock of the caller's must not live on in us */
	syscall(SYS_close_range, 3, ~0U, 0);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	signal(SIGPIPE, SIG_IGN);
	tell = go_background();
	if (tell < 0 || take_lock(&h) || watch_parent(&h) ||
	    open_listener(&h) || boot(&h))
		return 1;
	h.relay.used = h.pinged = now_ms();
	if (write(tell, &ok, 1) != 1)
		fail("nobody waits for us");
	close(tell);
	do {
		why = step(&h);
		if (!why)
			why = check_time(&h);
	} while (!why);
	fprintf(stderr, "hostd: %s\n", why);
	stop_qemu(&h);
	return 0;
}
