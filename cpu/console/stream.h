/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One direction of a host descriptor: read or written by the main thread
 * without ever waiting for whoever is at the other side.
 */
#ifndef CPU_CONSOLE_STREAM_H
#define CPU_CONSOLE_STREAM_H

#include "cpu/loop/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum stream_mode {
	STREAM_NONBLOCK, /* O_NONBLOCK, on a description of our own */
	STREAM_SOCKET,	 /* MSG_DONTWAIT */
	STREAM_POLL,	 /* poll first, then so few bytes that they fit */
	STREAM_DIRECT,	 /* cannot be polled and does not wait: a file */
};

struct stream {
	struct loop_source source; /* fd -1: there is nothing (any more) */
	struct loop *loop;	   /* NULL: not attached */
	enum stream_mode mode;
	size_t write_max;   /* bytes of one write */
	uint64_t max, size; /* of a file that is limited; else max is 0 */
	bool owned;	    /* to be closed */
	bool watched;
	uint32_t events; /* that it is watched for */
};

#define STREAM_NONE ((struct stream){ .source = { .fd = -1 } })

/*
 * Prepares to read (O_RDONLY) or write (O_WRONLY) `fd`, which others may share:
 * its file description is not changed. Always succeeds, at worst with
 * STREAM_POLL. `fd` stays open; it is closed by stream_close if `owned`.
 */
struct stream stream_open(int fd, int direction, bool owned);

/* For a descriptor that is our own and O_NONBLOCK already. */
struct stream stream_own(int fd);

/*
 * A regular file has `max` bytes at most from here on: before a write that
 * would make it larger, stream_write empties it. At least as many as one write
 * has; -EINVAL where it is no such file, not logged.
 */
int stream_limit(struct stream *stream, uint64_t max);

/* What it needs of the host (cpu/loop/thread.h). */
unsigned stream_features(const struct stream *stream);

/* Leaves the loop, too. */
void stream_close(struct stream *stream);

/* Bytes, 0 at the end of input, or -errno; -EAGAIN: not now. Not logged. */
ssize_t stream_read(struct stream *stream, void *data, size_t len);
ssize_t stream_write(struct stream *stream, const void *data, size_t len);

/* Says who is called, in which loop, once it is watched. */
void stream_attach(struct stream *stream, struct loop *loop,
		   void (*ready)(void *arg, uint32_t events), void *arg);

/*
 * Watched for `events`; with 0 still for hang-ups. What cannot be watched
 * becomes STREAM_DIRECT.
 */
void stream_watch(struct stream *stream, uint32_t events);
void stream_unwatch(struct stream *stream);

/*
 * For the last output, after the loop has ended. stream_deadline is the time
 * (of loop_now) in `timeout_ns`, UINT64_MAX: never. stream_wait waits until one
 * of two descriptors (-1: none) may take more, for 10 ms at most, as not all of
 * them can be polled; false once the deadline has passed or `stop_fd` (-1:
 * none) is readable, which is not read.
 */
uint64_t stream_deadline(uint64_t timeout_ns);
bool stream_wait(int fd, int other_fd, uint64_t deadline, int stop_fd);

#endif
