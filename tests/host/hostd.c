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

#define CLIENTS	   64
#define BACKLOG	   (1 << 20) /* bytes to the agent before clients wait */
#define PING_MS	   20000
#define SILENCE_MS 180000 /* of the agent: the machine hangs */
#define PORT_FD	   3	  /* QEMU's end of the port */

struct client {
	int fd; /* -1: free */
	uint32_t session;
	struct buf in, out;
	int ending; /* close when `out` is empty */
};

struct host {
	const char *dir;
	int idle_ms, ready_ms, tries;
	pid_t parent;
	char **qemu;
	int lock, listener, port, parent_fd;
	pid_t pid; /* QEMU's */
	int ready, stop;
	uint32_t last_session;
	int64_t used, heard, pinged;
	struct buf in, out;
	struct client clients[CLIENTS];
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
	h->port = p[0];
	fcntl(h->port, F_SETFL, O_NONBLOCK);
	h->heard = now_ms();
	return 0;
}

static void stop_qemu(struct host *h)
{
	if (h->pid > 0) {
		kill(h->pid, SIGKILL); /* its disk is a throw-away copy */
		waitpid(h->pid, NULL, 0);
	}
	if (h->port >= 0)
		close(h->port);
	h->port = -1;
	h->pid = 0;
	h->ready = 0;
	buf_free(&h->in);
	buf_free(&h->out);
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
	h->listener =
		socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->listener < 0 ||
	    bind(h->listener, (struct sockaddr *)&a, sizeof(a)) ||
	    listen(h->listener, CLIENTS)) {
		fail("RUNDIR/sock");
		close(dir);
		return -1;
	}
	close(dir);
	return 0;
}

static void client_close(struct host *h, struct client *c)
{
	wire_add(&h->out, c->session, WIRE_GONE, NULL, 0);
	close(c->fd);
	buf_free(&c->in);
	buf_free(&c->out);
	c->fd = -1;
	h->used = now_ms();
}

static void client_accept(struct host *h)
{
	int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &h->clients[i];

		if (c->fd >= 0)
			continue;
		*c = (struct client){ .fd = fd, .session = ++h->last_session };
		h->used = now_ms();
		return;
	}
	close(fd); /* the client says what that means */
}

/* Frames from a client, with its number put in, on to the agent. */
static void client_read(struct host *h, struct client *c)
{
	struct wire_head f;
	const char *data;
	long n = buf_read(&c->in, c->fd, 65536);
	int r;

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		client_close(h, c);
		return;
	}
	while ((r = wire_next(&c->in, &f, &data)) == 1) {
		if (f.type == WIRE_STOP)
			h->stop = 1;
		else if (f.type == WIRE_PING)
			wire_add(&c->out, 0, WIRE_PING, NULL, 0);
		else
			wire_add(&h->out, c->session, f.type, data, f.len);
		wire_drop(&c->in, &f);
	}
	if (r < 0)
		client_close(h, c);
}

static void client_write(struct host *h, struct client *c)
{
	long n = buf_len(&c->out) ? buf_write(&c->out, c->fd) : 0;

	if ((n < 0 && n != -EAGAIN && n != -EINTR) ||
	    (c->ending && !buf_len(&c->out)))
		client_close(h, c);
}

static void agent_frame(struct host *h, const struct wire_head *f,
			const char *data)
{
	if (f->type == WIRE_READY)
		h->ready = 1;
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &h->clients[i];

		if (c->fd < 0 || c->session != f->session || c->ending)
			continue;
		wire_add(&c->out, 0, f->type, data, f->len);
		c->ending = f->type == WIRE_EXIT;
	}
}

/* 0, or -errno when the machine has ended. */
static int port_read(struct host *h)
{
	struct wire_head f;
	const char *data;
	long n = buf_read(&h->in, h->port, 262144);
	int r;

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0)
		return -EPIPE;
	h->heard = now_ms();
	while ((r = wire_next(&h->in, &f, &data)) == 1) {
		agent_frame(h, &f, data);
		wire_drop(&h->in, &f);
	}
	return r;
}

static int fill_poll(struct host *h, struct pollfd *p)
{
	int n = 3;
	int crowded = buf_len(&h->out) > BACKLOG;

	p[0] = (struct pollfd){ .fd = h->port, .events = POLLIN };
	if (buf_len(&h->out))
		p[0].events |= POLLOUT;
	p[1] = (struct pollfd){ .fd = h->ready ? h->listener : -1,
				.events = POLLIN };
	p[2] = (struct pollfd){ .fd = h->parent_fd, .events = POLLIN };
	for (int i = 0; i < CLIENTS; i++, n++) {
		struct client *c = &h->clients[i];

		p[n] = (struct pollfd){ .fd = c->fd,
					.events = crowded ? 0 : POLLIN };
		if (buf_len(&c->out) || c->ending)
			p[n].events |= POLLOUT;
	}
	return n;
}

/* One turn of the loop; why it should end, or NULL. */
static const char *step(struct host *h)
{
	struct pollfd p[3 + CLIENTS];
	int n = fill_poll(h, p);

	if (poll(p, n, 1000) < 0)
		return signalled ? "ended by a signal" : NULL;
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR) && port_read(h))
		return "the machine has ended";
	if (p[0].revents & POLLOUT)
		buf_write(&h->out, h->port);
	if (p[2].revents)
		return "the process that started it has ended";
	for (int i = 0; i < CLIENTS; i++) {
		struct client *c = &h->clients[i];

		if (c->fd >= 0 && p[3 + i].revents & (POLLIN | POLLHUP))
			client_read(h, c);
		if (c->fd >= 0 && p[3 + i].revents & POLLOUT)
			client_write(h, c);
	}
	if (p[1].revents)
		client_accept(h);
	if (signalled)
		return "ended by a signal";
	return h->stop ? "stopped" : NULL;
}

static const char *check_time(struct host *h)
{
	int64_t now = now_ms();

	if (now - h->pinged > PING_MS) {
		h->pinged = now;
		wire_add(&h->out, 0, WIRE_PING, NULL, 0);
	}
	if (now - h->heard > SILENCE_MS)
		return "the machine no longer answers";
	for (int i = 0; i < CLIENTS; i++)
		if (h->clients[i].fd >= 0)
			h->used = now;
	if (now - h->used > h->idle_ms)
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
		while (!h->ready && !why) {
			why = step(h);
			if (!why && now_ms() - start > h->ready_ms)
				why = "not ready in time";
		}
		if (h->ready) {
			fprintf(stderr, "hostd: ready after %lld ms\n",
				(long long)(now_ms() - start));
			return 0;
		}
		stop_qemu(h);
		fprintf(stderr, "hostd: start %d of %d: %s\n", i, h->tries,
			why);
		if (signalled || h->stop)
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
	static struct host h = {
		.idle_ms = 600000, .ready_ms = 60000, .tries = 3, .port = -1
	};
	struct sigaction act = { .sa_handler = on_signal };
	const char *why;
	char ok = 0;
	int tell;

	if (parse(&h, argc, argv)) {
		fputs("usage: hostd -d RUNDIR [options] -- QEMU...\n", stderr);
		return 2;
	}
	for (int i = 0; i < CLIENTS; i++)
		h.clients[i].fd = -1;
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
	h.used = h.pinged = now_ms();
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
