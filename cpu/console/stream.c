/*
 * Reads and writes without waiting, on descriptors that are shared.
 *
 * O_NONBLOCK belongs to the open file description. stdin, stdout and what a
 * caller hands over share theirs with the shell and with other programs, which
 * break when a read of theirs suddenly says EAGAIN; so it is never set on
 * those. Pipes and terminals are opened anew through /proc/self/fd, which
 * gives a description of our own. Where that is forbidden (a terminal of
 * another user, no /proc) poll() says whether a small piece fits.
 *
 * Main thread. The other side may do what it likes: close, stall, fill up.
 */
#include "cpu/console/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/loop/features.h"
#include "mem/log.h"

#define PIECE	   65536
#define TTY_PIECE  1	    /* poll promises room, but not how much */
#define PIPE_PIECE PIPE_BUF /* pipe(7): poll promises a page */

/*
 * A pseudo-terminal's master must not be opened anew: /dev/ptmx makes another.
 */
static bool may_reopen(int fd, const struct stat *status)
{
	unsigned number;

	if (S_ISFIFO(status->st_mode))
		return true;
	return isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0;
}

static int reopen(int fd, int direction)
{
	char name[32];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return open(name, direction | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

struct console_end console_end_open(int fd, int direction, bool owned)
{
	struct console_end end = {
		.source = { .fd = fd },
		.way = CONSOLE_POLL,
		.piece = isatty(fd) ? TTY_PIECE : PIPE_PIECE,
		.owned = owned,
	};
	struct stat status;
	int own;

	if (fstat(fd, &status) < 0)
		return CONSOLE_END_NONE;
	if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
		end.way = CONSOLE_DIRECT;
		end.piece = PIECE;
	} else if (S_ISSOCK(status.st_mode)) {
		end.way = CONSOLE_SOCKET;
		end.piece = PIECE / 2; /* must fit a datagram, if it is one */
	} else if (may_reopen(fd, &status)) {
		own = reopen(fd, direction);
		if (own < 0)
			return end;
		if (owned)
			close(fd);
		end = console_end_own(own);
	}
	return end;
}

struct console_end console_end_own(int fd)
{
	return (struct console_end){
		.source = { .fd = fd },
		.way = CONSOLE_NONBLOCK,
		.piece = PIECE,
		.owned = true,
	};
}

unsigned console_end_features(const struct console_end *end)
{
	if (end->source.fd < 0)
		return 0;
	return (end->way == CONSOLE_POLL ? FEATURE_POLLED : 0) |
	       (end->way == CONSOLE_SOCKET ? FEATURE_SOCKET : 0);
}

void console_end_close(struct console_end *end, struct loop *loop)
{
	if (end->source.fd < 0)
		return;
	if (loop)
		console_end_unwatch(end, loop);
	if (end->owned)
		close(end->source.fd);
	end->source.fd = -1;
}

/* 0 where it may go on, else -EAGAIN. */
static int await_nothing(const struct console_end *end, short events)
{
	struct pollfd poll_fd = { .fd = end->source.fd, .events = events };

	if (end->way == CONSOLE_POLL && poll(&poll_fd, 1, 0) <= 0)
		return -EAGAIN;
	return 0;
}

static ssize_t result(ssize_t count)
{
	if (count >= 0)
		return count;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t console_end_read(struct console_end *end, void *data, size_t len)
{
	const int fd = end->source.fd;
	const int busy = await_nothing(end, POLLIN);

	if (busy)
		return busy;
	if (end->way == CONSOLE_SOCKET)
		return result(recv(fd, data, len, MSG_DONTWAIT));
	return result(read(fd, data, len));
}

ssize_t console_end_write(struct console_end *end, const void *data, size_t len)
{
	const int fd = end->source.fd;
	const int busy = await_nothing(end, POLLOUT);
	ssize_t count;

	if (busy)
		return busy;
	if (len > end->piece)
		len = end->piece;
	if (end->way == CONSOLE_SOCKET)
		count = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		count = write(fd, data, len);
	return count ? result(count) : -EAGAIN; /* so some drivers say it */
}

void console_end_watch(struct console_end *end, struct loop *loop,
		       uint32_t events)
{
	int error;

	if (end->source.fd < 0 || end->way == CONSOLE_DIRECT)
		return;
	if (end->watched && end->events == events)
		return;
	error = end->watched ? loop_change(loop, &end->source, events)
			     : loop_add(loop, &end->source, events);
	if (error == -EPERM) {
		end->way = CONSOLE_DIRECT; /* such as /dev/null */
		return;
	}
	if (error)
		log_error("cannot watch the serial port's descriptor %d: %s",
			  end->source.fd, strerror(-error));
	end->watched = !error;
	end->events = events;
}

void console_end_unwatch(struct console_end *end, struct loop *loop)
{
	if (end->watched)
		loop_remove(loop, &end->source);
	end->watched = false;
}
