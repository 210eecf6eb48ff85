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

enum console_way {
	CONSOLE_NONBLOCK, /* O_NONBLOCK, on a description of our own */
	CONSOLE_SOCKET,	  /* MSG_DONTWAIT */
	CONSOLE_POLL,	  /* poll first, then one piece that surely fits */
	CONSOLE_DIRECT,	  /* cannot be polled and does not wait: a file */
};

struct console_end {
	struct loop_source source; /* fd -1: there is nothing (any more) */
	enum console_way way;
	size_t piece; /* at most so much in one write */
	bool owned;   /* to be closed */
	bool watched;
	uint32_t events; /* that it is watched for */
};

#define CONSOLE_END_NONE ((struct console_end){ .source = { .fd = -1 } })

/*
 * Prepares to read (O_RDONLY) or write (O_WRONLY) `fd`, which others may share:
 * its file description is not changed. Always succeeds, at worst with
 * CONSOLE_POLL. `fd` stays open; it is closed by console_end_close if `owned`.
 */
struct console_end console_end_open(int fd, int direction, bool owned);

/* For a descriptor that is our own and O_NONBLOCK already. */
struct console_end console_end_own(int fd);

/* What it needs of the host (cpu/loop/features.h). */
unsigned console_end_features(const struct console_end *end);

void console_end_close(struct console_end *end, struct loop *loop);

/* Bytes, 0 at the end of input, or -errno; -EAGAIN: not now. Not logged. */
ssize_t console_end_read(struct console_end *end, void *data, size_t len);
ssize_t console_end_write(struct console_end *end, const void *data,
			  size_t len);

/*
 * Watched for `events`; with 0 still for hang-ups. What cannot be watched
 * becomes CONSOLE_DIRECT.
 */
void console_end_watch(struct console_end *end, struct loop *loop,
		       uint32_t events);
void console_end_unwatch(struct console_end *end, struct loop *loop);

#endif
