/*
 * The thread engine: one worker for a disk, which does all that it is asked to
 * on hosts that forbid io_uring, and what block_create.c names on others.
 *
 * The loop's thread collects operations in a list of its own and hands the
 * whole list over under the lock; the worker takes it, does the operations in
 * order, and puts each on the list of those done. Lists are linked through the
 * operations themselves, so nothing is allocated. The eventfd is watched
 * edge-triggered and never read: each write is an edge.
 *
 * Also does what io_uring cannot on all hosts: the discard of a block device
 * (BLKDISCARD; fallocate there would have to make zeros, which many devices
 * cannot). Owns the thread and the eventfd.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "mem/util.h"
#include "virtio/block/io_now.h"

struct list {
	struct engine_io *first, **last;
};

struct worker {
	struct engine engine;  /* first */
	struct engine_now now; /* the loop's thread alone */
	int fds[ENGINE_FILES_MAX];
	struct thread thread;
	struct list queued; /* the loop's thread alone */

	pthread_mutex_t lock; /* for all below */
	pthread_cond_t todo_added, done_added;
	struct list todo, done;
	bool stop;
};

static void list_init(struct list *list)
{
	list->first = NULL;
	list->last = &list->first;
}

static void list_add(struct list *list, struct engine_io *io)
{
	io->next = NULL;
	*list->last = io;
	list->last = &io->next;
}

static struct engine_io *list_take(struct list *list)
{
	struct engine_io *io = list->first;

	if (!io)
		return NULL;
	list->first = io->next;
	if (!list->first)
		list->last = &list->first;
	return io;
}

/* All of `from` goes to the end of `to`. */
static void list_move(struct list *to, struct list *from)
{
	if (!from->first)
		return;
	*to->last = from->first;
	to->last = from->last;
	list_init(from);
}

static int64_t do_read(int fd, const struct engine_io *io)
{
	return preadv(fd, io->iov, (int)io->iov_count, (off_t)io->offset);
}

static int64_t do_write(int fd, const struct engine_io *io)
{
	return pwritev(fd, io->iov, (int)io->iov_count, (off_t)io->offset);
}

static int64_t do_flush(int fd, const struct engine_io *io)
{
	(void)io;
	return fdatasync(fd);
}

static int64_t do_allocate(int fd, const struct engine_io *io)
{
	return fallocate(fd, io->mode, (off_t)io->offset, (off_t)io->len);
}

static int64_t do_discard(int fd, const struct engine_io *io)
{
	uint64_t range[2] = { io->offset, io->len };

	return ioctl(fd, BLKDISCARD, range);
}

static int64_t (*const doers[])(int fd, const struct engine_io *io) = {
	[ENGINE_READ] = do_read,       [ENGINE_WRITE] = do_write,
	[ENGINE_FLUSH] = do_flush,     [ENGINE_ALLOCATE] = do_allocate,
	[ENGINE_DISCARD] = do_discard,
};

static void perform(struct worker *w, struct engine_io *io)
{
	io->result = doers[io->op](w->fds[io->file], io);
	if (io->result < 0)
		io->result = -errno;
}

static void give_back(struct worker *w, struct engine_io *io)
{
	const uint64_t one = 1;
	bool first;

	pthread_mutex_lock(&w->lock);
	first = !w->done.first;
	list_add(&w->done, io);
	pthread_cond_signal(&w->done_added);
	pthread_mutex_unlock(&w->lock);
	/* EAGAIN after 2^64 - 2 of them: not in a lifetime */
	while (first && write(w->engine.poll_fd, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
}

static void worker_thread(void *arg)
{
	struct worker *w = arg;
	struct engine_io *io, *next;

	for (;;) {
		pthread_mutex_lock(&w->lock);
		while (!w->todo.first && !w->stop)
			pthread_cond_wait(&w->todo_added, &w->lock);
		io = w->todo.first;
		list_init(&w->todo);
		pthread_mutex_unlock(&w->lock);
		if (!io)
			return; /* stopped, and nothing left */
		for (; io; io = next) {
			next = io->next;
			perform(w, io);
			give_back(w, io);
		}
	}
}

static void worker_submit(struct engine *engine, struct engine_io *io)
{
	list_add(&((struct worker *)engine)->queued, io);
	engine->in_flight++;
}

/* What need not wait is done here and now, and what follows from it. */
static void do_now(struct worker *w, struct list *rest)
{
	struct engine_io *io;

	engine_now_begin(&w->now);
	while ((io = list_take(&w->queued))) {
		if (engine_now_is_small(&w->engine, io) &&
		    engine_now_try(&w->now, io)) {
			w->engine.in_flight--;
			w->engine.done(w->engine.arg, io);
		} else {
			list_add(rest, io);
		}
	}
}

static void worker_flush(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;
	struct list rest;

	if (!w->queued.first)
		return;
	list_init(&rest);
	do_now(w, &rest);
	if (!rest.first)
		return;
	pthread_mutex_lock(&w->lock);
	list_move(&w->todo, &rest);
	pthread_cond_signal(&w->todo_added);
	pthread_mutex_unlock(&w->lock);
}

static void finish(struct worker *w, struct engine_io *io)
{
	struct engine_io *next;

	for (; io; io = next) {
		next = io->next; /* done may submit it again */
		w->engine.in_flight--;
		w->engine.done(w->engine.arg, io);
	}
}

static void worker_reap(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;
	struct engine_io *io;

	pthread_mutex_lock(&w->lock);
	io = w->done.first;
	list_init(&w->done);
	pthread_mutex_unlock(&w->lock);
	finish(w, io);
}

static void worker_wait(struct engine *engine)
{
	struct worker *w = (struct worker *)engine;
	struct engine_io *io;

	worker_flush(engine);
	if (!engine->in_flight)
		return;
	pthread_mutex_lock(&w->lock);
	while (!w->done.first)
		pthread_cond_wait(&w->done_added, &w->lock);
	io = w->done.first;
	list_init(&w->done);
	pthread_mutex_unlock(&w->lock);
	finish(w, io);
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
	if (engine->poll_fd >= 0)
		close(engine->poll_fd);
	free(w);
}

static const struct engine_ops worker_ops = {
	.name = "threads",
	.discards = true,
	.submit = worker_submit,
	.flush = worker_flush,
	.reap = worker_reap,
	.wait = worker_wait,
	.destroy = worker_destroy,
};

struct engine *worker_create(const struct engine_options *options, int *error)
{
	struct worker *w = calloc(1, sizeof(*w));

	*error = -ENOMEM;
	if (!w)
		return NULL;
	w->engine = (struct engine){
		.ops = &worker_ops,
		.poll_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.poll_events = EPOLLIN | EPOLLET,
		.done = options->done,
		.arg = options->arg,
	};
	memcpy(w->fds, options->fds, sizeof(w->fds));
	engine_now_init(&w->now, options);
	list_init(&w->queued);
	list_init(&w->todo);
	list_init(&w->done);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->todo_added, NULL);
	pthread_cond_init(&w->done_added, NULL);
	*error = w->engine.poll_fd < 0 ? -errno : 0;
	w->thread = (struct thread){ .hook = options->hook,
				     .name = "disk",
				     .number = options->number,
				     .run = worker_thread,
				     .arg = w };
	if (!*error)
		*error = thread_start(&w->thread);
	if (!*error)
		return &w->engine;
	worker_destroy(&w->engine);
	return NULL;
}
