/* SPDX-License-Identifier: Apache-2.0 */
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
#include <time.h>
#include <unistd.h>

#include "cpu/loop/thread.h"
#include "mem/log.h"
#include "mem/util.h"

#define RETRY_NS 10000000u

/* The most that one write is given, */
#define WRITE_MAX      65536
#define WRITE_MAX_TTY  1 /* where poll promises room, but not how much, */
#define WRITE_MAX_PIPE PIPE_BUF /* and where it promises a page: pipe(7) */

/* Not a pseudo-terminal's master: opening /dev/ptmx anew makes another. */
static bool may_reopen_fd(int fd, const struct stat *status)
{
	unsigned number;

	if (S_ISFIFO(status->st_mode))
		return true;
	return isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0;
}

struct stream stream_open(int fd, int direction, bool owned)
{
	struct stream stream = {
		.source = { .fd = fd },
		.mode = STREAM_POLL,
		.write_max = isatty(fd) ? WRITE_MAX_TTY : WRITE_MAX_PIPE,
		.owned = owned,
	};
	const int flags = O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	struct stat status;
	char name[32];
	int own;

	if (fstat(fd, &status) < 0)
		return STREAM_NONE;
	if (S_ISREG(status.st_mode) || S_ISBLK(status.st_mode)) {
		stream.mode = STREAM_DIRECT;
		stream.write_max = WRITE_MAX;
	} else if (S_ISSOCK(status.st_mode)) {
		stream.mode = STREAM_SOCKET;
		/* It must fit a datagram, if it is one. */
		stream.write_max = WRITE_MAX / 2;
	} else if (may_reopen_fd(fd, &status)) {
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		own = open(name, direction | flags);
		if (own < 0)
			return stream;
		if (owned)
			close(fd);
		stream = stream_own(own);
	}
	return stream;
}

struct stream stream_own(int fd)
{
	return (struct stream){
		.source = { .fd = fd },
		.mode = STREAM_NONBLOCK,
		.write_max = WRITE_MAX,
		.owned = true,
	};
}

int stream_limit(struct stream *stream, uint64_t max)
{
	struct stat status;

	if (fstat(stream->source.fd, &status) || !S_ISREG(status.st_mode))
		return -EINVAL;
	stream->size = (uint64_t)status.st_size;
	stream->max = max < WRITE_MAX ? WRITE_MAX : max;
	return 0;
}

unsigned stream_features(const struct stream *stream)
{
	return stream->source.fd >= 0 && stream->mode == STREAM_SOCKET
		       ? FEATURE_SOCKET
		       : 0;
}

void stream_close(struct stream *stream)
{
	stream_unwatch(stream);
	if (stream->source.fd >= 0 && stream->owned)
		close(stream->source.fd);
	stream->source.fd = -1;
}

/* A read or a write at this moment would, or might, wait. */
static bool stream_is_busy(const struct stream *stream, short events)
{
	struct pollfd poll_fd = { .fd = stream->source.fd, .events = events };

	return stream->mode == STREAM_POLL && poll(&poll_fd, 1, 0) <= 0;
}

static ssize_t count_or_error(ssize_t count)
{
	if (count >= 0)
		return count;
	return errno == EINTR ? -EAGAIN : -errno;
}

ssize_t stream_read(struct stream *stream, void *data, size_t len)
{
	const int fd = stream->source.fd;

	if (stream_is_busy(stream, POLLIN))
		return -EAGAIN;
	if (stream->mode == STREAM_SOCKET)
		return count_or_error(recv(fd, data, len, MSG_DONTWAIT));
	return count_or_error(read(fd, data, len));
}

/*
 * There is no other file to go on with: a path cannot be opened any more. Who
 * rotates it may have emptied it already, and then nothing of it may be lost.
 */
static int make_room(struct stream *stream, size_t len)
{
	off_t size;

	if (stream->size + len <= stream->max)
		return 0;
	size = lseek(stream->source.fd, 0, SEEK_END);
	if (size >= 0)
		stream->size = (uint64_t)size;
	if (stream->size + len <= stream->max)
		return 0;
	if (ftruncate(stream->source.fd, 0))
		return -errno;
	stream->size = 0;
	return 0;
}

ssize_t stream_write(struct stream *stream, const void *data, size_t len)
{
	const int fd = stream->source.fd;
	ssize_t count;
	int error;

	if (stream_is_busy(stream, POLLOUT))
		return -EAGAIN;
	if (len > stream->write_max)
		len = stream->write_max;
	if (stream->max) {
		error = make_room(stream, len);
		if (error)
			return error;
	}
	if (stream->mode == STREAM_SOCKET)
		count = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		count = write(fd, data, len);
	if (stream->max && count > 0)
		stream->size += (uint64_t)count;
	/* Some drivers say with 0 that there is no room. */
	return count ? count_or_error(count) : -EAGAIN;
}

void stream_attach(struct stream *stream, struct loop *loop,
		   void (*ready)(void *arg, uint32_t events), void *arg)
{
	stream->loop = loop;
	stream->source.ready = ready;
	stream->source.arg = arg;
}

void stream_watch(struct stream *stream, uint32_t events)
{
	struct loop *loop = stream->loop;
	int error;

	if (!loop || stream->source.fd < 0 || stream->mode == STREAM_DIRECT)
		return;
	if (stream->watched && stream->events == events)
		return;
	error = stream->watched ? loop_change(loop, &stream->source, events)
				: loop_add(loop, &stream->source, events);
	if (error == -EPERM) {
		stream->mode = STREAM_DIRECT; /* such as /dev/null */
		return;
	}
	if (error)
		log_error("cannot watch descriptor %d for the serial port or "
			  "the command: %s",
			  stream->source.fd, strerror(-error));
	stream->watched = !error;
	stream->events = events;
}

void stream_unwatch(struct stream *stream)
{
	if (stream->watched)
		loop_remove(stream->loop, &stream->source);
	stream->watched = false;
}

/* -- after the loop ------------------------------------------------------- */

uint64_t stream_deadline(uint64_t timeout_ns)
{
	uint64_t deadline;

	return add_wraps(loop_now(), timeout_ns, &deadline) ? UINT64_MAX
							    : deadline;
}

bool stream_wait(int fd, int other_fd, uint64_t deadline, int stop_fd)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLOUT },
				{ .fd = other_fd, .events = POLLOUT },
				{ .fd = stop_fd, .events = POLLIN } };
	const uint64_t now = loop_now();
	uint64_t ns = now < deadline ? deadline - now : 0;
	struct timespec time = { 0 };

	if (!ns)
		return false;
	time.tv_nsec = (long)(ns < RETRY_NS ? ns : RETRY_NS);
	if (ppoll(fds, ARRAY_LEN(fds), &time, NULL) < 0 && errno != EINTR)
		return false;
	return !fds[2].revents;
}
