/*
 * The io_uring engine (Linux, io_uring_setup(2) and friends, by bare system
 * calls: the few that are needed do not ask for a library).
 *
 * The ring is created disabled; the disk's files are registered, it is
 * restricted to the four operations below on registered files, and only then
 * enabled: seccomp sees no operation of a ring, so the ring itself must not be
 * able to do more (design, section 7). Hosts older than 5.10 lack restrictions
 * and get the worker thread.
 *
 * Much of what is submitted is done at once (page cache): flush looks for
 * completions right after it submitted, with the eventfd switched off so that
 * the loop is not woken for what was already seen.
 *
 * Owns the ring and the eventfd. The loop's thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/bytes.h"
#include "virtio/engine.h"

#ifndef IORING_SETUP_COOP_TASKRUN /* Linux 5.19 */
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER /* Linux 6.0 */
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif

#ifndef RWF_DSYNC /* musl 1.2.3 has no preadv2's flags */
#define RWF_DSYNC 0x2
#endif

struct uring {
	struct engine engine; /* first */
	int fd;
	void *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	_Atomic uint32_t *sq_tail, *cq_head, *cq_tail, *cq_flags;
	uint32_t *sq_array;
	struct io_uring_cqe *cqes;
	uint32_t sq_mask, cq_mask;
	uint32_t queued; /* filled in, not yet handed over */
};

static int ring_enter(struct uring *u, unsigned submit, unsigned wait)
{
	long n;

	do
		n = syscall(SYS_io_uring_enter, u->fd, submit, wait,
			    wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static int ring_register(struct uring *u, unsigned op, const void *arg,
			 unsigned count)
{
	return syscall(SYS_io_uring_register, u->fd, op, arg, count) < 0
		       ? -errno
		       : 0;
}

static void fill_rw(struct io_uring_sqe *sqe, const struct engine_io *io)
{
	sqe->opcode =
		io->op == ENGINE_READ ? IORING_OP_READV : IORING_OP_WRITEV;
	sqe->off = io->offset;
	sqe->addr = (uintptr_t)io->iov;
	sqe->len = io->iov_count;
	sqe->rw_flags = io->durable ? RWF_DSYNC : 0;
}

static void fill_flush(struct io_uring_sqe *sqe, const struct engine_io *io)
{
	(void)io;
	sqe->opcode = IORING_OP_FSYNC;
	sqe->fsync_flags = IORING_FSYNC_DATASYNC;
}

static void fill_allocate(struct io_uring_sqe *sqe, const struct engine_io *io)
{
	sqe->opcode = IORING_OP_FALLOCATE;
	sqe->off = io->offset;
	sqe->addr = io->len;
	sqe->len = (uint32_t)io->mode;
}

static void (*const fillers[])(struct io_uring_sqe *sqe,
			       const struct engine_io *io) = {
	[ENGINE_READ] = fill_rw,
	[ENGINE_WRITE] = fill_rw,
	[ENGINE_FLUSH] = fill_flush,
	[ENGINE_ALLOCATE] = fill_allocate,
};

/* There is always room: the ring has as many entries as may be in flight. */
static void uring_submit(struct engine *engine, struct engine_io *io)
{
	struct uring *u = (struct uring *)engine;
	uint32_t tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed);
	uint32_t index = tail & u->sq_mask;
	struct io_uring_sqe *sqe = &u->sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	fillers[io->op](sqe, io);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->fd = (int)io->file;
	sqe->user_data = (uintptr_t)io;
	u->sq_array[index] = index;
	atomic_store_explicit(u->sq_tail, tail + 1, memory_order_release);
	u->queued++;
}

/* True where there was anything. */
static bool reap(struct uring *u)
{
	uint32_t head = atomic_load_explicit(u->cq_head, memory_order_relaxed);
	bool any = false;

	while (head != atomic_load_explicit(u->cq_tail, memory_order_acquire)) {
		const struct io_uring_cqe *cqe = &u->cqes[head & u->cq_mask];
		struct engine_io *io = (void *)(uintptr_t)cqe->user_data;

		io->result = cqe->res;
		atomic_store_explicit(u->cq_head, ++head, memory_order_release);
		u->engine.done(u->engine.arg, io);
		any = true;
	}
	return any;
}

/* What cannot be handed over fails, rather than being forgotten. */
static void fail_queued(struct uring *u, int error)
{
	while (u->queued) {
		uint32_t tail = atomic_load(u->sq_tail) - 1;
		struct io_uring_sqe *sqe = &u->sqes[tail & u->sq_mask];
		struct engine_io *io = (void *)(uintptr_t)sqe->user_data;

		atomic_store(u->sq_tail, tail);
		u->queued--;
		io->result = error;
		u->engine.done(u->engine.arg, io);
	}
}

static void hand_over(struct uring *u)
{
	while (u->queued) {
		int n = ring_enter(u, u->queued, 0);

		if (n == -EAGAIN || n == -EBUSY) {
			/* short of memory, or completions to be taken first */
			if (!reap(u))
				n = ring_enter(u, 0, 1);
		}
		if (n < 0 && n != -EAGAIN && n != -EBUSY)
			fail_queued(u, n);
		else if (n > 0)
			u->queued -= (uint32_t)n < u->queued ? (uint32_t)n
							     : u->queued;
	}
}

static void uring_flush(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	if (!u->queued)
		return;
	atomic_store_explicit(u->cq_flags, IORING_CQ_EVENTFD_DISABLED,
			      memory_order_relaxed);
	do {
		hand_over(u);
		reap(u);
	} while (u->queued);
	/* what came after the last look raises no event: look once more */
	atomic_store(u->cq_flags, 0);
	atomic_thread_fence(memory_order_seq_cst);
	while (reap(u) || u->queued)
		hand_over(u);
}

static void uring_reap(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	reap(u);
	uring_flush(engine);
}

static void uring_wait(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	hand_over(u);
	if (!reap(u)) {
		ring_enter(u, 0, 1);
		reap(u);
	}
	hand_over(u);
}

static void uring_destroy(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	if (u->rings)
		munmap(u->rings, u->rings_size);
	if (u->sqes)
		munmap(u->sqes, u->sqes_size);
	if (u->fd >= 0)
		close(u->fd);
	if (engine->event_fd >= 0)
		close(engine->event_fd);
	free(u);
}

static const struct engine_ops uring_ops = {
	.name = "io_uring",
	.submit = uring_submit,
	.flush = uring_flush,
	.reap = uring_reap,
	.wait = uring_wait,
	.destroy = uring_destroy,
};

/* The best set of flags that this host has. */
static int setup(struct io_uring_params *params)
{
	static const uint32_t flags[] = {
		IORING_SETUP_COOP_TASKRUN | IORING_SETUP_SINGLE_ISSUER,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	const uint32_t needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
				IORING_FEAT_SUBMIT_STABLE;
	long fd = -1;

	for (size_t i = 0; i < ARRAY_LEN(flags) && fd < 0; i++) {
		*params = (struct io_uring_params){
			.flags = flags[i] | IORING_SETUP_R_DISABLED,
		};
		fd = syscall(SYS_io_uring_setup, ENGINE_DEPTH, params);
		if (fd < 0 && errno != EINVAL)
			break;
	}
	if (fd < 0)
		return -errno;
	if ((params->features & needed) == needed)
		return (int)fd;
	close((int)fd);
	return -ENOSYS;
}

static int map_rings(struct uring *u, const struct io_uring_params *p)
{
	size_t sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	size_t cq = p->cq_off.cqes + p->cq_entries * sizeof(*u->cqes);
	uint8_t *rings;
	void *sqes;

	u->rings_size = sq > cq ? sq : cq;
	rings = mmap(NULL, u->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		     u->fd, IORING_OFF_SQ_RING);
	if (rings == MAP_FAILED)
		return -errno;
	u->rings = rings;
	u->sqes_size = p->sq_entries * sizeof(*u->sqes);
	sqes = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    u->fd, IORING_OFF_SQES);
	if (sqes == MAP_FAILED)
		return -errno;
	u->sqes = sqes;
	u->sq_tail = (void *)(rings + p->sq_off.tail);
	u->sq_array = (void *)(rings + p->sq_off.array);
	u->sq_mask = p->sq_entries - 1;
	u->cq_head = (void *)(rings + p->cq_off.head);
	u->cq_tail = (void *)(rings + p->cq_off.tail);
	u->cq_flags = (void *)(rings + p->cq_off.flags);
	u->cqes = (void *)(rings + p->cq_off.cqes);
	u->cq_mask = p->cq_entries - 1;
	return 0;
}

static int restrict_and_enable(struct uring *u,
			       const struct engine_options *options)
{
	static const uint8_t ops[] = {
		IORING_OP_READV,
		IORING_OP_WRITEV,
		IORING_OP_FSYNC,
		IORING_OP_FALLOCATE,
	};
	struct io_uring_restriction rules[ARRAY_LEN(ops) + 2];
	int error;

	memset(rules, 0, sizeof(rules));
	for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
		rules[i].opcode = IORING_RESTRICTION_SQE_OP;
		rules[i].sqe_op = ops[i];
	}
	rules[ARRAY_LEN(ops)].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
	rules[ARRAY_LEN(ops)].sqe_flags = IOSQE_FIXED_FILE;
	rules[ARRAY_LEN(ops) + 1].opcode =
		IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
	rules[ARRAY_LEN(ops) + 1].sqe_flags = IOSQE_FIXED_FILE;

	error = ring_register(u, IORING_REGISTER_FILES, options->fds,
			      options->fd_count);
	if (!error)
		error = ring_register(u, IORING_REGISTER_EVENTFD,
				      &u->engine.event_fd, 1);
	if (!error)
		error = ring_register(u, IORING_REGISTER_RESTRICTIONS, rules,
				      ARRAY_LEN(rules));
	if (!error)
		error = ring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return error;
}

struct engine *uring_create(const struct engine_options *options, int *error)
{
	struct uring *u = calloc(1, sizeof(*u));
	struct io_uring_params params;

	*error = -ENOMEM;
	if (!u)
		return NULL;
	u->fd = -1;
	u->engine = (struct engine){
		.ops = &uring_ops,
		.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.done = options->done,
		.arg = options->arg,
	};
	*error = u->engine.event_fd < 0 ? -errno : 0;
	if (!*error) {
		u->fd = setup(&params);
		*error = u->fd < 0 ? u->fd : map_rings(u, &params);
	}
	if (!*error)
		*error = restrict_and_enable(u, options);
	if (!*error)
		return &u->engine;
	uring_destroy(&u->engine);
	return NULL;
}
