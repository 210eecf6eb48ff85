/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine does a disk's I/O without letting the loop wait for it: by io_uring
 * (io_uring.c), or by a worker thread (io_thread.c) where the host forbids that
 * and for what a thread does better. Only the loop's thread calls these.
 *
 *	ops->submit(engine, io) ... submit(engine, io); ops->flush(engine);
 *	... the loop sees engine->source ... ops->reap(engine) -> done(arg, io)
 *
 * An operation is begun once the host's kernel, or the thread, has it in hand.
 * What is begun at a time is bounded, so that whoever cancels waits for little;
 * the rest stays with the engine, in the order of its coming.
 */
#ifndef VIRTIO_BLOCK_IO_H
#define VIRTIO_BLOCK_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/thread.h"

#define ENGINE_DEPTH 256	/* the most that may be in flight */
#define ENGINE_BYTES (4u << 20) /* begun at a time; or one operation alone */

/* A disk's files: an index into engine_options.fds. */
enum block_file {
	BLOCK_FILE_BASE,
	BLOCK_FILE_OVERLAY,
	BLOCK_FILE_BUFFERED, /* `direct`: the same, through the page cache */
	BLOCK_FILE_LAYER,    /* of a snapshot: engine_add_file */
	BLOCK_FILES,
};

enum engine_op {
	ENGINE_READ,
	ENGINE_WRITE,
	ENGINE_FLUSH,	 /* fdatasync of the whole file */
	ENGINE_ALLOCATE, /* fallocate with `mode` */
	ENGINE_DISCARD,	 /* of a block device; only the worker thread can */
};

/* One operation; its memory stays put until it is done. */
struct engine_io {
	enum engine_op op;
	enum block_file file;
	uint64_t offset, len;
	const struct iovec *iov; /* READ, WRITE */
	unsigned iov_count;
	int mode;		/* ALLOCATE */
	int64_t result;		/* bytes, or -errno */
	bool not_begun;		/* that error is from before it was begun */
	struct engine_io *next; /* the engine's */
};

struct engine;

/* flush, reap and cancel call it. It may submit more. */
typedef void (*engine_done)(void *arg, struct engine_io *io);

struct engine_ops {
	const char *name;
	bool discards;	   /* it can do ENGINE_DISCARD */
	unsigned features; /* bits of enum feature that it uses */
	void (*submit)(struct engine *engine, struct engine_io *io);
	/*
	 * Hands over all that was submitted; may call done for what is already.
	 * What done submits is handed over as well.
	 */
	void (*flush)(struct engine *engine);
	/* The source was ready: calls done. What that submits needs a flush. */
	void (*reap)(struct engine *engine);
	/*
	 * Takes back all that was not begun: done, with -ECANCELED and
	 * not_begun. What that submits needs a flush.
	 */
	void (*cancel)(struct engine *engine);
	/* Nothing is in flight. */
	void (*destroy)(struct engine *engine);
	/* See engine_add_file. NULL: nothing to do. */
	int (*add_file)(struct engine *engine, enum block_file file);
};

/* The common head of each kind of engine. */
struct engine {
	const struct engine_ops *ops;
	int fds[BLOCK_FILES];
	struct loop_source source; /* the engine's fd; the rest is the user's */
	uint32_t events;	   /* which the loop is to watch it for */
	unsigned in_flight;	   /* submitted, and done not called yet */
	bool due;		   /* to be flushed; reap may set it, too */
	bool batches;		   /* source may be silent on what is done */
	engine_done done;
	void *arg;

	/* What engine_try_now has learnt. */
	bool reads_now[BLOCK_FILES], writes_now[BLOCK_FILES];
	unsigned misses; /* since something was last done at once */
	unsigned skip;	 /* so many operations are not even tried */
	unsigned tries;	 /* the engine's flush sets it back to 0 */
};

struct engine_options {
	int fds[BLOCK_FILES]; /* stay the caller's; -1: not there */
	engine_done done;
	void *arg;
	bool ro;		 /* nothing is to be written by it */
	struct thread_hook hook; /* of a thread of its own, */
	unsigned number;	 /* and the number for it: the disk's */
};

/*
 * NULL and *error, -errno, where it cannot be had; not logged, as another
 * engine may do.
 */
struct engine *uring_create(const struct engine_options *options, int *error);
struct engine *worker_create(const struct engine_options *options, int *error);

/*
 * One more file, which is only read: it was -1. Before anything is submitted,
 * and any filter but the first. 0 or -errno.
 */
int engine_add_file(struct engine *engine, enum block_file file, int fd);

/* -- for engines ---------------------------------------------------------- */

void engine_init(struct engine *engine, const struct engine_ops *ops,
		 const struct engine_options *options);

static inline void engine_complete(struct engine *engine, struct engine_io *io,
				   int64_t result)
{
	io->result = result;
	engine->in_flight--;
	engine->done(engine->arg, io);
}

/* Operations in the order of their coming, linked through `next`. */
struct io_list {
	struct engine_io *first, **last;
};

static inline void io_list_init(struct io_list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static inline void io_list_add(struct io_list *list, struct engine_io *io)
{
	io->next = NULL;
	*list->last = io;
	list->last = &io->next;
}

static inline struct engine_io *io_list_take_first(struct io_list *list)
{
	struct engine_io *io = list->first;

	if (!io)
		return NULL;
	list->first = io->next;
	if (!list->first)
		list->last = &list->first;
	return io;
}

/* Behind what is in `to`; `from` is empty afterwards. */
static inline void io_list_move(struct io_list *to, struct io_list *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	io_list_init(from);
}

/* What was never begun: taken off the list, and done. */
void engine_take_back(struct engine *engine, struct io_list *list);

/*
 * A copy of many pages is better left to another thread, so that the loop goes
 * on meanwhile; unless it is all there is to do, and not very large.
 */
static inline bool engine_is_small(const struct engine *engine,
				   const struct engine_io *io)
{
	return io->len <= (engine->in_flight > 1 ? 128u << 10 : 1u << 20);
}

/*
 * Does a small operation at once where it need not wait: what the page cache
 * has is read by one system call, with no ring and no thread. True where it is
 * done, and io->result says how.
 */
bool engine_try_now(struct engine *engine, struct engine_io *io);

#endif
