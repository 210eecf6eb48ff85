/*
 * How a disk's I/O is done without waiting for it: io_uring, or a worker thread
 * where the host forbids that. One engine for each disk, used by the loop's
 * thread only.
 *
 *	engine_submit(e, io) ... engine_submit(e, io); engine_flush(e);
 *	... the loop sees engine_fd(e) ... engine_reap(e) -> done(arg, io)
 */
#ifndef VIRTIO_ENGINE_H
#define VIRTIO_ENGINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#define ENGINE_FILES_MAX 2
#define ENGINE_DEPTH	 256 /* the most that may be in flight */

enum engine_op {
	ENGINE_READ,
	ENGINE_WRITE,
	ENGINE_FLUSH,	 /* fdatasync of the whole file */
	ENGINE_ALLOCATE, /* fallocate with `mode` */
};

/* One operation; its memory stays put until it is done. */
struct engine_io {
	enum engine_op op;
	unsigned file; /* index into engine_options.fds */
	uint64_t offset, len;
	const struct iovec *iov; /* READ, WRITE */
	unsigned iov_count;
	bool durable;		/* WRITE: on stable storage before it is done */
	int mode;		/* ALLOCATE */
	int64_t result;		/* bytes, or -errno */
	struct engine_io *next; /* the engine's */
};

struct engine;

/* Called from engine_flush, engine_reap and engine_wait. May submit more. */
typedef void (*engine_done)(void *arg, struct engine_io *io);

struct engine_ops {
	const char *name;
	void (*submit)(struct engine *engine, struct engine_io *io);
	/* hands over all that was submitted, and calls done for what is */
	void (*flush)(struct engine *engine);
	void (*reap)(struct engine *engine);
	/* waits until at least one operation in flight is done, then reaps */
	void (*wait)(struct engine *engine);
	void (*destroy)(struct engine *engine);
};

/* The common head of each kind of engine. */
struct engine {
	const struct engine_ops *ops;
	int event_fd; /* readable when there is something to reap */
	engine_done done;
	void *arg;
};

struct engine_options {
	int fds[ENGINE_FILES_MAX]; /* stay the caller's */
	unsigned fd_count;
	engine_done done;
	void *arg;
};

/*
 * NULL and *error, -errno, where it cannot be had; not logged, as another
 * engine may do.
 */
struct engine *uring_create(const struct engine_options *options, int *error);
struct engine *worker_create(const struct engine_options *options, int *error);

#endif
