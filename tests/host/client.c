/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client: runs one command in the test host, as if it ran here.
 *
 * Standard input, output and error pass through, apart and 8-bit clean; the
 * exit status is the command's own (128 + N for signal N, 126 and 127 as a
 * shell has them, 124 when its time limit passed, 125 when the test host
 * failed).  SIGINT, SIGTERM, SIGHUP and SIGQUIT go on to the command; when it
 * does not end of that, or at a second one, the client ends and takes the
 * command with it.  Talks frames (wire.h) with hostd over RUNDIR/sock.  One
 * thread; only writes to its own standard output and error may block.
 *
 * usage: client -d RUNDIR [-t] [-T SECONDS] [-w DIR] [-e K=V]... CMD ARG...
 *	  client -d RUNDIR -s STOP|PING
 */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define SIGNAL_MS      5000  /* for the command to end of a signal */
#define SLACK_MS       20000 /* beyond its time limit */
#define STATUS_TIMEOUT 124
#define STATUS_HOST    125

struct client {
	const char *dir, *workdir, *say;
	bool tty;
	uint32_t timeout;
	char **argv, **env;
	int argc, envc;
	int sock;
	bool input_ended;
	uint32_t on_way; /* bytes of stdin not acknowledged */
	int64_t end_by;	 /* 0: no limit */
	int end_status;
	struct buf in, out;
};

static volatile sig_atomic_t signals[NSIG], any_signal;
static struct termios saved_tty;
static bool tty_is_raw;

static void on_signal(int sig)
{
	signals[sig] = 1;
	any_signal = 1;
}

static void tty_restore(void)
{
	if (tty_is_raw)
		tcsetattr(0, TCSADRAIN, &saved_tty);
	tty_is_raw = false;
}

static void tty_raw(void)
{
	struct termios t;

	if (tcgetattr(0, &saved_tty))
		return;
	t = saved_tty;
	cfmakeraw(&t);
	atexit(tty_restore);
	tty_is_raw = true;
	tcsetattr(0, TCSADRAIN, &t);
}

static void __attribute__((noreturn)) die(const char *what)
{
	tty_restore();
	fprintf(stderr, "on: %s: %s\n", what, strerror(errno));
	exit(STATUS_HOST);
}

static int connect_to(const char *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int d = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (d < 0 || s < 0)
		return -1;
	/* the path may be longer than a socket's address */
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/sock", d);
	if (connect(s, (struct sockaddr *)&a, sizeof(a)))
		return -1;
	close(d);
	return s;
}

static void get_size(uint16_t *rows, uint16_t *columns)
{
	struct winsize w = { .ws_row = 24, .ws_col = 80 };

	ioctl(0, TIOCGWINSZ, &w);
	*rows = w.ws_row;
	*columns = w.ws_col;
}

/* All strings as one, cut into frames; then RUN. */
static void send_command(struct client *c)
{
	struct wire_run run = { .argc = c->argc,
				.envc = c->envc,
				.timeout = c->timeout,
				.tty = c->tty };
	struct buf all = { 0 };

	buf_add(&all, c->workdir, strlen(c->workdir) + 1);
	for (int i = 0; i < c->argc; i++)
		buf_add(&all, c->argv[i], strlen(c->argv[i]) + 1);
	for (int i = 0; i < c->envc; i++)
		buf_add(&all, c->env[i], strlen(c->env[i]) + 1);
	if (buf_len(&all) > WIRE_BLOB) {
		errno = E2BIG;
		die("the command");
	}
	while (buf_len(&all)) {
		size_t n = buf_len(&all) < WIRE_MAX ? buf_len(&all) : WIRE_MAX;

		wire_add(&c->out, 0, WIRE_ARG, all.p + all.at, n);
		buf_drop(&all, n);
	}
	buf_free(&all);
	get_size(&run.rows, &run.columns);
	wire_add(&c->out, 0, WIRE_RUN, &run, sizeof(run));
}

static void handle_signals(struct client *c)
{
	static const int end[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct wire_winch w;

	any_signal = 0;
	if (signals[SIGWINCH]) {
		signals[SIGWINCH] = 0;
		get_size(&w.rows, &w.columns);
		wire_add(&c->out, 0, WIRE_WINCH, &w, sizeof(w));
	}
	for (size_t i = 0; i < sizeof(end) / sizeof(*end); i++) {
		uint32_t sig = end[i];

		if (!signals[sig])
			continue;
		signals[sig] = 0;
		if (c->end_status == 128 + (int)sig)
			exit(c->end_status);
		wire_add(&c->out, 0, WIRE_SIGNAL, &sig, sizeof(sig));
		c->end_by = now_ms() + SIGNAL_MS;
		c->end_status = 128 + sig;
	}
}

static void write_out(struct client *c, int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n >= 0) {
			data += n;
			len -= n;
		} else if (errno == EAGAIN) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			poll(&p, 1, 1000);
		} else if (errno == EPIPE) {
			tty_restore();
			signal(SIGPIPE, SIG_DFL);
			raise(SIGPIPE);
		} else if (errno != EINTR) {
			die("cannot write the command's output");
		}
		if (any_signal) {
			handle_signals(c);
			buf_write(&c->out, c->sock);
		}
	}
}

static void got_frame(struct client *c, const struct wire_head *h,
		      const char *data)
{
	struct wire_ack ack = { .count = h->len };
	uint32_t status;

	switch ((enum wire_type)h->type) {
	case WIRE_STDOUT:
	case WIRE_STDERR:
		ack.stream = h->type == WIRE_STDOUT ? 1 : 2;
		write_out(c, ack.stream, data, h->len);
		wire_add(&c->out, 0, WIRE_ACK, &ack, sizeof(ack));
		break;
	case WIRE_ACK:
		memcpy(&ack, data, sizeof(ack));
		c->on_way -= ack.count;
		break;
	case WIRE_EXIT:
		memcpy(&status, data, sizeof(status));
		exit(status);
	case WIRE_PING:
		exit(0);
	default:
		break;
	}
}

static void read_sock(struct client *c)
{
	struct wire_head h;
	const char *data;
	long n = buf_read(&c->in, c->sock, 65536);

	if (n == -EINTR)
		return;
	if (n <= 0) {
		if (c->say && strcmp(c->say, "STOP") == 0)
			exit(0);
		errno = n ? (int)-n : EPIPE;
		die("the test host has ended (see build/host/run/*.log)");
	}
	while (wire_next(&c->in, &h, &data) == 1) {
		got_frame(c, &h, data);
		wire_drop(&c->in, &h);
	}
}

static void read_stdin(struct client *c)
{
	char data[16384];
	ssize_t n = read(0, data, sizeof(data));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		n = 0;
		c->input_ended = true;
	}
	wire_add(&c->out, 0, WIRE_STDIN, data, n);
	c->on_way += n;
}

static void loop(struct client *c)
{
	for (;;) {
		bool more = !c->say && !c->input_ended &&
			    c->on_way + 16384 <= WIRE_WINDOW;
		struct pollfd p[] = {
			{ .fd = c->sock, .events = POLLIN },
			{ .fd = more ? 0 : -1, .events = POLLIN },
		};

		if (any_signal)
			handle_signals(c);
		if (buf_len(&c->out))
			p[0].events |= POLLOUT;
		/* a signal just before poll() waits a second at most */
		if (poll(p, 2, 1000) < 0 && errno != EINTR)
			die("poll");
		else if (p[1].revents)
			read_stdin(c);
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR))
			read_sock(c);
		if (buf_len(&c->out))
			buf_write(&c->out, c->sock);
		if (c->end_by && now_ms() > c->end_by) {
			tty_restore();
			if (c->end_status == STATUS_TIMEOUT)
				fputs("on: no answer in time\n", stderr);
			exit(c->end_status);
		}
	}
}

static void catch_signals(void)
{
	static const int sigs[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT,
				    SIGWINCH };
	struct sigaction act = { .sa_handler = on_signal }, old;

	for (size_t i = 0; i < sizeof(sigs) / sizeof(*sigs); i++) {
		sigaction(sigs[i], NULL, &old);
		if (old.sa_handler != SIG_IGN)
			sigaction(sigs[i], &act, NULL);
	}
}

static int parse(struct client *c, int argc, char **argv)
{
	int o;

	while ((o = getopt(argc, argv, "+d:s:tT:w:e:")) != -1) {
		switch (o) {
		case 'd':
			c->dir = optarg;
			break;
		case 's':
			c->say = optarg;
			break;
		case 't':
			c->tty = true;
			break;
		case 'T':
			c->timeout = strtoul(optarg, NULL, 10);
			break;
		case 'w':
			c->workdir = optarg;
			break;
		case 'e':
			c->env[c->envc++] = optarg;
			break;
		default:
			return -EINVAL;
		}
	}
	c->argv = argv + optind;
	c->argc = argc - optind;
	return c->dir && (c->say || c->argc) ? 0 : -EINVAL;
}

int main(int argc, char **argv)
{
	struct client c = { .workdir = "/" };

	c.env = calloc(argc, sizeof(*c.env));
	if (!c.env || parse(&c, argc, argv)) {
		fputs("usage: client -d RUNDIR [options] CMD ARG...\n", stderr);
		exit(STATUS_HOST);
	}
	c.sock = connect_to(c.dir);
	if (c.sock < 0 && c.say)
		exit(1);
	if (c.sock < 0)
		die("the test host does not run");
	fcntl(c.sock, F_SETFL, O_NONBLOCK);
	/* hostd closes after EXIT, with an ACK of ours perhaps on the way */
	signal(SIGPIPE, SIG_IGN);
	if (c.say) {
		wire_add(&c.out, 0,
			 strcmp(c.say, "STOP") ? WIRE_PING : WIRE_STOP, NULL,
			 0);
		c.end_by = now_ms() + 10000;
		c.end_status = 1;
	} else {
		send_command(&c);
		catch_signals();
		if (c.tty)
			tty_raw();
	}
	if (c.timeout) {
		c.end_by = now_ms() + c.timeout * 1000LL + SLACK_MS;
		c.end_status = STATUS_TIMEOUT;
	}
	loop(&c);
}
