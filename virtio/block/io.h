/*
 * How a disk's I/O is done without waiting for it: io_uring, or a worker thread
 * where the host forbids that, and for what a thread does better. Used by the
 * loop's thread only.
 *
 *	e->ops->submit(e, io) ... submit(e, io); e->ops->flush(e);
 *	... the loop sees e->poll_fd ... e->ops->reap(e) -> e->done(arg, io)
 */
#ifndef VIRTIO_BLOCK_IO_H
#define VIRTIO_BLOCK_IO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cpu/loop/thread.h"

#define ENGINE_FILES_MAX 3
#define ENGINE_DEPTH	 256 /* the most that may be in flight */

enum engine_op {
	ENGINE_READ,
	ENGINE_WRITE,
	ENGINE_FLUSH,	 /* fdatasync of the whole file */
	ENGINE_ALLOCATE, /* fallocate with `mode` */
	ENGINE_DISCARD,	 /* of a block device: the worker thread's only */
};

/* One operation; its memory stays put until it is done. */
struct engine_io {
	enum engine_op op;
	unsigned file; /* index into engine_options.fds */
	uint64_t offset, len;
	const struct iovec *iov; /* READ, WRITE */
	unsigned iov_count;
	int mode;		/* ALLOCATE */
	int64_t result;		/* bytes, or -errno */
	bool not_begun;		/* that error is from before it was begun */
	struct engine_io *next; /* the engine's */
};

struct engine;

/* Called from flush, reap and wait. May submit more. */
typedef void (*engine_done)(void *arg, struct engine_io *io);

struct engine_ops {
	const char *name;
	bool discards;	   /* ENGINE_DISCARD is there */
	unsigned features; /* bits of enum feature that it uses */
	void (*submit)(struct engine *engine, struct engine_io *io);
	/*
	 * Hands over all that was submitted; may call done for what is already.
	 * What done submits is handed over as well.
	 */
	void (*flush)(struct engine *engine);
	/* poll_fd was ready: calls done. What that submits waits for flush. */
	void (*reap)(struct engine *engine);
	/* Waits for at least one operation, of which some are in flight. */
	void (*wait)(struct engine *engine);
	void (*destroy)(struct engine *engine);
};

/* The common head of each kind of engine. */
struct engine {
	const struct engine_ops *ops;
	int poll_fd;	      /* for the loop, */
	uint32_t poll_events; /* with these events */
	unsigned in_flight;   /* submitted, and done not called yet */
	bool due;	      /* the user's: to be flushed */
	engine_done done;
	void *arg;
};

struct engine_options {
	int fds[ENGINE_FILES_MAX]; /* stay the caller's; -1: not there */
	engine_done done;
	void *arg;
	struct thread_hook hook; /* of a thread of its own, */
	unsigned number;	 /* and the number for it: the disk's */
};

/*
 * NULL and *error, -errno, where it cannot be had; not logged, as another
 * engine may do.
 */
struct engine *uring_create(const struct engine_options *options, int *error);
struct engine *worker_create(const struct engine_options *options, int *error);

#endif
