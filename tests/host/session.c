/*
 * session: one command in the test host, from its strings to its status.
 *
 * The command leads a session and a process group of its own and sits in a
 * cgroup of its own (/sys/fs/cgroup/on/SLOT), so that whatever it started can
 * be killed as a whole: when its main process ends, when its time is over,
 * when its client is gone.  Its status is sent after the last byte of its
 * output.  Runs on the agent's only thread; every descriptor is non-blocking.
 */
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define CHUNK	       16384
#define TERM_MS	       2000 /* from SIGTERM to SIGKILL at a time limit */
#define GIVE_UP_MS     5000 /* from the end to a pipe's end of file */
#define STATUS_TIMEOUT 124
#define STATUS_HOST    125

extern struct session sessions[SESSION_MAX];

static void group_path(const struct session *s, const char *file, char *path,
		       size_t size)
{
	snprintf(path, size, "/sys/fs/cgroup/on/%d%s", (int)(s - sessions),
		 file);
}

static int group_write(const struct session *s, const char *file,
		       const char *text)
{
	char path[64];
	int fd, r = 0;

	group_path(s, file, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

static void kill_all(struct session *s)
{
	s->killed = true;
	if (s->pid > 0)
		kill(-s->pid, SIGKILL);
	group_write(s, "/cgroup.kill", "1");
}

void session_open(struct session *s, uint32_t id)
{
	char path[64];

	*s = (struct session){ .id = id, .in = -1, .out = -1, .err = -1 };
	group_path(s, "", path, sizeof(path));
	mkdir("/sys/fs/cgroup/on", 0755);
	mkdir(path, 0755);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void session_close(struct session *s)
{
	kill_all(s);
	close_fd(&s->in);
	close_fd(&s->out);
	close_fd(&s->err);
	buf_free(&s->blob);
	buf_free(&s->input);
	s->id = 0;
}

static void set_size(int fd, unsigned rows, unsigned columns)
{
	struct winsize w = { .ws_row = rows, .ws_col = columns };

	ioctl(fd, TIOCSWINSZ, &w);
}

/* Splits the strings: 0, or -EINVAL when they are not what `run` says. */
static int split(struct session *s, const struct wire_run *run, char **dir,
		 char **argv)
{
	char *p = s->blob.p + s->blob.at, *end = s->blob.p + s->blob.end;
	size_t n = (size_t)run->argc + run->envc;
	char *q;

	if (p == end || end[-1] != '\0' || !run->argc)
		return -EINVAL;
	*dir = p;
	p += strlen(p) + 1;
	for (size_t i = 0; i < n; i++) {
		if (p >= end)
			return -EINVAL;
		q = p + strlen(p) + 1;
		if (i < run->argc)
			argv[i] = p;
		else
			putenv(p);
		p = q;
	}
	argv[run->argc] = NULL;
	return p == end ? 0 : -EINVAL;
}

static void run_child(struct session *s, const struct wire_run *run, int in,
		      int out, int err)
{
	char **argv = calloc((size_t)run->argc + 1, sizeof(*argv));
	sigset_t none;
	char *dir;

	setsid();
	group_write(s, "/cgroup.procs", "0");
	if (run->tty)
		ioctl(in, TIOCSCTTY, 0);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	clearenv();
	if (!argv || split(s, run, &dir, argv))
		_exit(STATUS_HOST);
	if (chdir(dir)) {
		dprintf(2, "on: %s: %s\n", dir, strerror(errno));
		_exit(STATUS_HOST);
	}
	execvp(argv[0], argv);
	dprintf(2, "on: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

/* Pairs of {ours, theirs}, close-on-exec; -errno with nothing left open. */
static int open_tty(struct session *s, const struct wire_run *run, int *theirs)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (grantpt(fd) || unlockpt(fd))
		goto fail;
	theirs[0] = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (theirs[0] < 0)
		goto fail;
	theirs[1] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 3);
	theirs[2] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 3);
	set_size(fd, run->rows, run->columns);
	s->out = fd;
	return 0;
fail:
	close(fd);
	return -EIO;
}

static int open_pipes(struct session *s, int *theirs)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	theirs[0] = p[0];
	s->in = p[1];
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	s->out = p[0];
	theirs[1] = p[1];
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	s->err = p[0];
	theirs[2] = p[1];
	return 0;
}

static void set_nonblock(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

static void fail_start(struct session *s, const char *why, struct buf *reply)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "on: cannot start: %s\n", why);

	wire_add(reply, s->id, WIRE_STDERR, text, n);
	s->status = STATUS_HOST;
	s->give_up = 1;
}

static void start(struct session *s, const struct wire_run *run,
		  struct buf *reply)
{
	int theirs[3] = { -1, -1, -1 };
	int r;

	s->started = true;
	s->tty = run->tty;
	if (!s->blob.p)
		buf_add(&s->blob, "", 1);
	r = run->tty ? open_tty(s, run, theirs) : open_pipes(s, theirs);
	if (!r) {
		s->pid = fork();
		if (s->pid == 0)
			run_child(s, run, theirs[0], theirs[1], theirs[2]);
		if (s->pid < 0) {
			r = -errno;
			s->pid = 0;
		}
	}
	for (int i = 0; i < 3; i++)
		close_fd(&theirs[i]);
	if (r) {
		fail_start(s, strerror(-r), reply);
		return;
	}
	set_nonblock(s->in);
	set_nonblock(s->out);
	set_nonblock(s->err);
	if (run->timeout)
		s->deadline = now_ms() + run->timeout * 1000LL;
}

static void on_signal(struct session *s, uint32_t sig)
{
	if (s->pid > 0 && sig > 0 && sig < 64)
		kill(-s->pid, sig);
}

static void on_stdin(struct session *s, const char *data, size_t len,
		     struct buf *reply)
{
	struct wire_ack ack = { 0, len };

	if (!len) {
		s->input_ended = true;
		if (s->tty)
			buf_add(&s->input, "\x04", 1); /* VEOF */
	} else if (s->started && s->in < 0 && !s->tty) {
		/* the command has closed its end: away with it */
		wire_add(reply, s->id, WIRE_ACK, &ack, sizeof(ack));
	} else {
		buf_add(&s->input, data, len);
	}
}

void session_frame(struct session *s, const struct wire_head *h,
		   const char *data, struct buf *reply)
{
	union {
		struct wire_run run;
		struct wire_winch winch;
		struct wire_ack ack;
		uint32_t sig;
	} u = { 0 };

	memcpy(&u, data, h->len < sizeof(u) ? h->len : sizeof(u));
	switch ((enum wire_type)h->type) {
	case WIRE_ARG:
		if (buf_len(&s->blob) + h->len <= WIRE_BLOB)
			buf_add(&s->blob, data, h->len);
		break;
	case WIRE_RUN:
		if (!s->started)
			start(s, &u.run, reply);
		break;
	case WIRE_STDIN:
		on_stdin(s, data, h->len, reply);
		break;
	case WIRE_SIGNAL:
		on_signal(s, u.sig);
		break;
	case WIRE_WINCH:
		if (s->tty && s->out >= 0)
			set_size(s->out, u.winch.rows, u.winch.columns);
		break;
	case WIRE_ACK:
		if (u.ack.stream < 3)
			s->on_way[u.ack.stream] -= u.ack.count;
		break;
	case WIRE_GONE:
		s->gone = true;
		kill_all(s);
		break;
	default:
		break;
	}
}

void session_reaped(struct session *s, int wait_status)
{
	s->pid = 0;
	if (WIFSIGNALED(wait_status))
		s->status = 128 + WTERMSIG(wait_status);
	else
		s->status = WEXITSTATUS(wait_status);
	if (s->timed_out)
		s->status = STATUS_TIMEOUT;
	kill_all(s);
	s->give_up = now_ms() + GIVE_UP_MS;
}

static bool room(const struct session *s, int stream)
{
	return s->on_way[stream] + CHUNK <= WIRE_WINDOW;
}

void session_poll(struct session *s, struct pollfd *fds)
{
	bool input = buf_len(&s->input) > 0;

	fds[0] = (struct pollfd){ .fd = s->in, .events = input ? POLLOUT : 0 };
	fds[1] = (struct pollfd){ .fd = room(s, 1) ? s->out : -1,
				  .events = POLLIN };
	fds[2] = (struct pollfd){ .fd = room(s, 2) ? s->err : -1,
				  .events = POLLIN };
	if (s->tty && input) {
		fds[0].fd = s->out;
		fds[0].events = POLLOUT;
	}
	if (s->tty && !input)
		fds[0].fd = -1;
}

static void move_output(struct session *s, int stream, int *fd,
			struct buf *reply)
{
	char data[CHUNK];
	ssize_t n = read(*fd, data, sizeof(data));

	if (n > 0) {
		wire_add(reply, s->id, stream == 1 ? WIRE_STDOUT : WIRE_STDERR,
			 data, n);
		s->on_way[stream] += n;
		if (s->give_up)
			s->give_up = now_ms() + GIVE_UP_MS;
	} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
		close_fd(fd); /* a tty says EIO at its end */
	}
}

static void move_input(struct session *s, struct buf *reply)
{
	struct wire_ack ack = { 0, 0 };
	size_t before = buf_len(&s->input);
	long n;

	if (!before)
		n = -EPIPE; /* polled with an error: nobody reads it */
	else
		n = buf_write(&s->input, s->tty ? s->out : s->in);
	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n < 0 && !s->tty) {
		close_fd(&s->in);
		buf_drop(&s->input, before);
		n = before;
	}
	if (n > 0) {
		ack.count = n;
		wire_add(reply, s->id, WIRE_ACK, &ack, sizeof(ack));
	}
}

static void check_time(struct session *s, int64_t now)
{
	if (!s->deadline || now < s->deadline || !s->pid)
		return;
	if (s->timed_out) {
		kill_all(s);
		s->deadline = 0;
		return;
	}
	s->timed_out = true;
	kill(-s->pid, SIGTERM);
	kill(-s->pid, SIGCONT);
	s->deadline = now + TERM_MS;
}

void session_step(struct session *s, const struct pollfd *fds, int64_t now,
		  struct buf *reply)
{
	uint32_t status;

	if (fds[0].revents && fds[0].fd >= 0)
		move_input(s, reply);
	if (s->input_ended && !buf_len(&s->input))
		close_fd(&s->in);
	if (fds[1].revents && s->out >= 0)
		move_output(s, 1, &s->out, reply);
	if (fds[2].revents && s->err >= 0)
		move_output(s, 2, &s->err, reply);
	check_time(s, now);
	if (s->pid || (s->started && !s->give_up))
		return;
	if (s->gone) {
		session_close(s);
		return;
	}
	if (!s->give_up || !room(s, 1) || !room(s, 2))
		return; /* the client is slow: its output is not lost */
	if ((s->out >= 0 || s->err >= 0) && now < s->give_up)
		return;
	status = s->status;
	wire_add(reply, s->id, WIRE_EXIT, &status, sizeof(status));
	session_close(s);
}
