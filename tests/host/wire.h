/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire: the frames between client, hostd and agent, and a byte queue.
 *
 * One stream carries every command that runs in the test host: hostd gives
 * each client's connection a session number and relays its frames through a
 * virtio-serial port.  Both ends are this same machine's byte order and are
 * built together, so a frame is a plain struct and its payload.
 *
 * Flow: the sender of STDIN, STDOUT or STDERR has at most WIRE_WINDOW bytes
 * of that stream on the way; the receiver acknowledges with ACK what it has
 * handed on.  So a command whose output nobody reads holds up itself alone,
 * and hostd and agent never need to stop reading.
 */
#ifndef HOST_WIRE_H
#define HOST_WIRE_H

#include <stddef.h>
#include <stdint.h>

#define WIRE_MAX    32768   /* payload of one frame */
#define WIRE_WINDOW 262144  /* bytes of one stream on the way */
#define WIRE_BLOB   4194304 /* a command's strings, all together */

enum wire_type {
	/* client to agent */
	WIRE_ARG = 1, /* part of the command's strings */
	WIRE_RUN,     /* struct wire_run: all strings are there */
	WIRE_STDIN,   /* no payload: end of file */
	WIRE_SIGNAL,  /* uint32_t, to the command's process group */
	WIRE_WINCH,   /* struct wire_winch */
	WIRE_GONE,    /* from hostd: the client is no more */
	/* agent to client */
	WIRE_STDOUT,
	WIRE_STDERR,
	WIRE_EXIT, /* uint32_t status; the last frame of a session */
	/* both ways */
	WIRE_ACK, /* struct wire_ack */
	/* session 0, agent and hostd */
	WIRE_READY,
	WIRE_PING,
	/* client to hostd */
	WIRE_STOP, /* end the test host */
};

struct wire_head {
	uint32_t session, type, len;
};

/* The strings, each with its NUL: directory, argv..., environment... */
struct wire_run {
	uint32_t argc, envc;
	uint32_t timeout; /* seconds, 0: none */
	uint16_t tty, rows, columns, zero;
};

struct wire_winch {
	uint16_t rows, columns;
};

struct wire_ack {
	uint32_t stream; /* 0, 1, 2 */
	uint32_t count;
};

/* A queue of bytes that grows: bytes at..end of p are in it. */
struct buf {
	char *p;
	size_t at, end, cap;
};

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->at;
}

/* Room for len more bytes at the returned place, to be counted by end. */
char *buf_room(struct buf *b, size_t len);
void buf_add(struct buf *b, const void *data, size_t len);
void buf_drop(struct buf *b, size_t len);
void buf_free(struct buf *b);

/* Appends one frame. */
void wire_add(struct buf *b, uint32_t session, enum wire_type type,
	      const void *data, size_t len);

/*
 * The frame at the head of b: 1 with *h and *data set (the caller drops it
 * with wire_drop when done), 0 when it is not all there, -EPROTO.
 */
int wire_next(const struct buf *b, struct wire_head *h, const char **data);
void wire_drop(struct buf *b, const struct wire_head *h);

/* One read() or write() of a queue: bytes moved, 0 at end, or -errno. */
long buf_read(struct buf *b, int fd, size_t max);
long buf_write(struct buf *b, int fd);

int64_t now_ms(void);

#endif
