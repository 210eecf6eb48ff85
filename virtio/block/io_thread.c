/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread engine: one worker for a disk, which does all that it is asked to
 * on hosts that forbid io_uring, and what block.c names on others.
 *
 * The loop's thread collects operations in a list of its own and hands the
 * whole list over under the lock; the worker takes them off it one by one, and
 * puts each on the list of those done: until it has taken it, an operation can
 * be had back. Lists are linked through the operations themselves, so nothing
 * is allocated. The loop watches the eventfd edge-triggered and never reads it:
 * each write is an edge.
 *
 * It does not tell of each one that is done: to wake the loop, and the guest by
 * an interrupt, takes longer than a small write. Where little is left to do it
 * tells at the end of it; else once half is done, or BATCH_MAX, so that the
 * driver makes new ones while the worker is at the others. An operation may
 * take long all the same, and does where a file system has it wait for a disk;
 * so whoever uses the engine looks at what is done while it has more than one
 * operation (engine.batches).
 *
 * It also does what io_uring cannot on all hosts: the discard of a block device
 * (BLKDISCARD; fallocate there would have to make zeros, which many devices
 * cannot). Owns the thread and the eventfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mem/util.h"
#include "virtio/block/io.h"

/*
 * What an operation takes, as bytes that are copied in that time. A batch grows
 * to 50 us or so of copying; what is left is little where it takes no longer
 * than to tell of what is done.
 */
#define WORK_CALL   4096u
#define BATCH_MAX   (256u << 10)
#define WORK_LITTLE (64u << 10)

struct worker {
	struct engine engine; /* first */
	struct thread thread;
	struct io_list queued; /* the loop's thread alone */

	pthread_mutex_t lock; /* for all below */
	pthread_cond_t todo_added;
	struct io_list todo, done;
	uint64_t todo_work, done_work; /* that they take, and took */
	bool told;		       /* the loop, of what is in `done` */
	bool stop;
};

/* -- in the worker's thread ----------------------------------------------- */

/* As a system call: -1, and errno. */
static int64_t worker_perform(int fd, const struct engine_io *io)
{
	const off_t at = (off_t)io->offset;
	uint64_t range[2] = { io->offset, io->len };

	switch (io->op) {
	case ENGINE_READ:
		return preadv(fd, io->iov, (int)io->iov_count, at);
	case ENGINE_WRITE:
		return pwritev(fd, io->iov, (int)io->iov_count, at);
	case ENGINE_FLUSH:
		return fdatasync(fd);
	case ENGINE_ALLOCATE:
		return fallocate(fd, io->mode, at, (off_t)io->len);
	case ENGINE_DISCARD:
		return ioctl(fd, BLKDISCARD, range);
	}
	errno = EINVAL;
	return -1;
}

static uint64_t work_of(const struct engine_io *io)
{
	return WORK_CALL + (io->iov ? io->len : 0);
}

/* With the lock: what is to be done next; NULL where the thread is to end. */
static struct engine_io *worker_next(struct worker *w)
{
	struct engine_io *io;

	while (!w->todo.first && !w->stop)
		pthread_cond_wait(&w->todo_added, &w->lock);
	io = io_list_take_first(&w->todo);
	if (io)
		w->todo_work -= work_of(io);
	return io;
}

/* With the lock. */
static bool is_batch_due(const struct worker *w)
{
	if (!w->todo.first)
		return true;
	return w->todo_work > WORK_LITTLE &&
	       (w->done_work >= w->todo_work || w->done_work >= BATCH_MAX);
}

/* With the lock, which the loop's thread is to find free when it is woken. */
static void worker_report(struct worker *w, struct engine_io *io)
{
	io_list_add(&w->done, io);
	w->done_work += work_of(io);
	if (w->told || !is_batch_due(w))
		return;
	w->told = true;
	pthread_mutex_unlock(&w->lock);
	eventfd_raise(w->engine.source.fd);
	pthread_mutex_lock(&w->lock);
}

static void worker_thread(void *arg)
{
	struct worker *w = arg;
	struct engine_io *io;

	pthread_mutex_lock(&w->lock);
	while ((io = worker_next(w))) {
		pthread_mutex_unlock(&w->lock);
		io->result = worker_perform(w->engine.fds[io->file], io);
		if (io->result < 0)
			io->result = -errno;
		pthread_mutex_lock(&w->lock);
		worker_report(w, io);
	}
	pthread_mutex_unlock(&w->lock);
}

/* -- in the loop's thread ------------------------------------------------- */

static void worker_submit(struct engine *engine, struct engine_io *io)
{
	io_list_add(&((struct worker *)engine)->queued, io);
	engine->in_flight++;
}

/* What need not wait is done here and now, and so is what follows from it. */
static void worker_flush(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;
	struct io_list rest;
	struct engine_io *io;
	uint64_t work = 0;

	io_list_init(&rest);
	engine->tries = 0;
	while ((io = io_list_take_first(&w->queued))) {
		if (engine_try_now(engine, io)) {
			engine_complete(engine, io, io->result);
			continue;
		}
		io_list_add(&rest, io);
		work += work_of(io);
	}
	if (!rest.first)
		return;
	pthread_mutex_lock(&w->lock);
	io_list_move(&w->todo, &rest);
	w->todo_work += work;
	pthread_cond_signal(&w->todo_added);
	pthread_mutex_unlock(&w->lock);
}

static void worker_reap(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;
	struct io_list done;
	struct engine_io *io;

	io_list_init(&done);
	pthread_mutex_lock(&w->lock);
	io_list_move(&done, &w->done);
	w->done_work = 0;
	w->told = false;
	pthread_mutex_unlock(&w->lock);
	while ((io = io_list_take_first(&done)))
		engine_complete(engine, io, io->result);
}

/* All but the one that the thread is at. */
static void worker_cancel(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;
	struct io_list left;

	io_list_init(&left);
	pthread_mutex_lock(&w->lock);
	io_list_move(&left, &w->todo);
	w->todo_work = 0;
	pthread_mutex_unlock(&w->lock);
	io_list_move(&left, &w->queued);
	engine_take_back(engine, &left);
}

static void worker_destroy(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;

	if (w->thread.started) {
		pthread_mutex_lock(&w->lock);
		w->stop = true;
		pthread_cond_signal(&w->todo_added);
		pthread_mutex_unlock(&w->lock);
		thread_join(&w->thread);
	}
	if (engine->source.fd >= 0)
		close(engine->source.fd);
	free(w);
}

struct engine *worker_create(const struct engine_options *options, int *error)
{
	static const struct engine_ops ops = {
		.name = "threads",
		.discards = true,
		.submit = worker_submit,
		.flush = worker_flush,
		.reap = worker_reap,
		.cancel = worker_cancel,
		.destroy = worker_destroy,
	};
	struct worker *w = calloc(1, sizeof(*w));

	*error = -ENOMEM;
	if (!w)
		return NULL;
	engine_init(&w->engine, &ops, options);
	io_list_init(&w->queued);
	io_list_init(&w->todo);
	io_list_init(&w->done);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->todo_added, NULL);
	w->thread = (struct thread){ .hook = options->hook,
				     .name = "disk",
				     .number = options->number,
				     .run = worker_thread,
				     .arg = w };
	w->engine.events = EPOLLIN | EPOLLET;
	w->engine.batches = true;
	w->engine.source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*error = w->engine.source.fd < 0 ? -errno : thread_start(&w->thread);
	if (!*error)
		return &w->engine;
	worker_destroy(&w->engine);
	return NULL;
}
