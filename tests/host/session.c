/* SPDX-License-Identifier: Apache-2.0 */
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

#include "spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK	       16384
#define TERM_MS	       2000 /* from SIGTERM to SIGKILL at a time limit */
#define GIVE_UP_MS     5000 /* from the end to a pipe's end of file */
#define STATUS_TIMEOUT 124

static void kill_all(struct session *s)
{
	s->killed = true;
	if (s->pid > 0)
		kill(-s->pid, SIGKILL);
	spawn_group_write(s, "/cgroup.kill", "1");
}

void session_open(struct session *s, uint32_t id)
{
	*s = (struct session){ .id = id, .in = -1, .out = -1, .err = -1 };
	spawn_group_make(s);
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

static void fail_start(struct session *s, const char *why, struct buf *reply)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "on: cannot start: %s\n", why);

	wire_add(reply, s->id, WIRE_STDERR, text, n);
	s->status = SPAWN_FAILED;
	s->give_up = 1;
}

static void start(struct session *s, const struct wire_run *run,
		  struct buf *reply)
{
	int r;

	s->started = true;
	s->tty = run->tty;
	r = spawn_start(s, run);
	if (r) {
		fail_start(s, strerror(-r), reply);
		return;
	}
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
			spawn_size(s->out, u.winch.rows, u.winch.columns);
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
