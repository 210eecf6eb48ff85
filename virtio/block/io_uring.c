/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The io_uring engine (Linux, io_uring_setup(2) and friends, by bare system
 * calls: the few that are needed do not ask for a library).
 *
 * The ring is created disabled; the disk's files are registered, it is
 * restricted to the operations below on registered files, and only then
 * enabled: seccomp sees no operation of a ring, so the ring itself must not be
 * able to do more (design, section 7). Hosts older than 5.10 lack restrictions
 * and get the worker thread.
 *
 * What the kernel has in hand nobody can take back, so it is given no more than
 * ENGINE_BYTES at a time: the others wait in a list, and the completions of
 * those before them make room.
 *
 * Much of what is submitted is done at once (page cache), so flush looks at the
 * completion ring right after it submitted. What comes later makes the ring's
 * own descriptor readable until it was taken: that is what the loop watches.
 * An eventfd would have to be read each time, and switching it off and on
 * around flush (IORING_CQ_EVENTFD_DISABLED) can lose a completion: the kernel
 * has no barrier between storing the ring's tail and looking at that switch.
 *
 * Owns the ring. The loop's thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/loop/thread.h"
#include "mem/util.h"
#include "virtio/block/io.h"

#ifndef IORING_SETUP_COOP_TASKRUN /* Linux 5.19 */
#define IORING_SETUP_COOP_TASKRUN (1U << 8)
#endif
#ifndef IORING_SETUP_SINGLE_ISSUER /* Linux 6.0 */
#define IORING_SETUP_SINGLE_ISSUER (1U << 12)
#endif

/*
 * More at a time make no disk quicker, and each takes 96 bytes of memory that
 * the kernel has dirtied from the start.
 */
#define RING_ENTRIES 64

struct uring {
	struct engine engine; /* first; its source.fd is the ring */
	void *rings;
	size_t rings_size;
	struct io_uring_sqe *sqes;
	size_t sqes_size;
	_Atomic uint32_t *sq_tail, *cq_head, *cq_tail;
	struct io_uring_cqe *cqes;
	uint32_t sq_mask, cq_mask;
	uint32_t queued;  /* filled in, not yet handed over */
	uint64_t begun;	  /* bytes of those, and of what the kernel has, */
	uint32_t entries; /* and how many these are */
	struct io_list waiting; /* until there is room for their bytes, */
	uint32_t waits;		/* and how many these are */
};

static int ring_enter(struct uring *u, unsigned submit, unsigned wait)
{
	long n;

	do
		n = syscall(SYS_io_uring_enter, u->engine.source.fd, submit,
			    wait, wait ? IORING_ENTER_GETEVENTS : 0, NULL, 0);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : (int)n;
}

static int ring_register(struct uring *u, unsigned op, const void *arg,
			 unsigned count)
{
	return syscall(SYS_io_uring_register, u->engine.source.fd, op, arg,
		       count) < 0
		       ? -errno
		       : 0;
}

static void fill_sqe(struct io_uring_sqe *sqe, const struct engine_io *io)
{
	static const uint8_t opcodes[][2] = {
		[ENGINE_READ] = { IORING_OP_READV, IORING_OP_READ },
		[ENGINE_WRITE] = { IORING_OP_WRITEV, IORING_OP_WRITE },
	};
	const struct iovec *iov = io->iov;
	/* One buffer needs no vector, which the kernel would have to copy. */
	const bool single = io->iov_count == 1;

	memset(sqe, 0, sizeof(*sqe));
	switch (io->op) {
	case ENGINE_READ:
	case ENGINE_WRITE:
		sqe->opcode = opcodes[io->op][single];
		sqe->off = io->offset;
		sqe->addr = single ? (uintptr_t)iov->iov_base : (uintptr_t)iov;
		sqe->len = single ? (uint32_t)iov->iov_len : io->iov_count;
		break;
	case ENGINE_FLUSH:
		sqe->opcode = IORING_OP_FSYNC;
		sqe->fsync_flags = IORING_FSYNC_DATASYNC;
		break;
	case ENGINE_ALLOCATE:
		sqe->opcode = IORING_OP_FALLOCATE;
		sqe->off = io->offset;
		sqe->addr = io->len;
		sqe->len = (uint32_t)io->mode;
		break;
	case ENGINE_DISCARD:
		break; /* not in this engine's ops */
	}
	sqe->fd = (int)io->file;
	sqe->user_data = (uintptr_t)io;
}

/* There is an entry: has_room. */
static void put_entry(struct uring *u, struct engine_io *io)
{
	uint32_t tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed);
	struct io_uring_sqe *sqe = &u->sqes[tail & u->sq_mask];

	fill_sqe(sqe, io);
	sqe->flags = IOSQE_FIXED_FILE;
	if (!engine_is_small(&u->engine, io))
		sqe->flags |= IOSQE_ASYNC;
	atomic_store_explicit(u->sq_tail, tail + 1, memory_order_release);
	u->queued++;
	u->begun += io->len;
	u->entries++;
}

/* One that is larger than all that may be begun goes alone. */
static bool has_room(const struct uring *u, const struct engine_io *io)
{
	return u->entries < RING_ENTRIES &&
	       (u->begun + io->len <= ENGINE_BYTES || !u->begun);
}

static void uring_submit(struct engine *engine, struct engine_io *io)
{
	struct uring *u = (struct uring *)engine;

	engine->in_flight++;
	if (!u->waits && has_room(u, io)) {
		put_entry(u, io);
	} else {
		io_list_add(&u->waiting, io);
		u->waits++;
	}
}

static void put_waiting(struct uring *u)
{
	for (; u->waits && has_room(u, u->waiting.first); u->waits--)
		put_entry(u, io_list_take_first(&u->waiting));
}

static void complete_entry(struct uring *u, struct engine_io *io,
			   int64_t result)
{
	u->begun -= io->len;
	u->entries--;
	engine_complete(&u->engine, io, result);
}

static struct engine_io *newest_queued(const struct uring *u)
{
	uint32_t tail = atomic_load_explicit(u->sq_tail, memory_order_relaxed);

	return (void *)(uintptr_t)u->sqes[(tail - 1) & u->sq_mask].user_data;
}

/* The kernel takes entries from the head: those at the tail are still ours. */
static void take_newest_back(struct uring *u)
{
	atomic_fetch_sub_explicit(u->sq_tail, 1, memory_order_relaxed);
	u->queued--;
}

/* Completes what is done; true where there was anything. */
static bool reap_ring(struct uring *u)
{
	uint32_t head = atomic_load_explicit(u->cq_head, memory_order_relaxed);
	bool any = false;

	while (head != atomic_load_explicit(u->cq_tail, memory_order_acquire)) {
		const struct io_uring_cqe *cqe = &u->cqes[head & u->cq_mask];
		struct engine_io *io = (void *)(uintptr_t)cqe->user_data;
		const int result = cqe->res;

		/* The entry is the kernel's again from here on. */
		atomic_store_explicit(u->cq_head, ++head, memory_order_release);
		complete_entry(u, io, result);
		any = true;
	}
	return any;
}

/* What cannot be handed over fails, rather than being forgotten. */
static void fail_queued(struct uring *u, int error)
{
	while (u->queued) {
		struct engine_io *io = newest_queued(u);

		take_newest_back(u);
		io->not_begun = true;
		complete_entry(u, io, error);
	}
}

/*
 * EAGAIN is a lack of memory, EBUSY completions that must be taken first: both
 * pass as operations get done, and are final where there are none.
 */
static void submit_queued(struct uring *u)
{
	for (put_waiting(u); u->queued; put_waiting(u)) {
		int n = ring_enter(u, u->queued, 0);
		bool busy = n == -EAGAIN || n == -EBUSY;

		if (n > 0)
			u->queued -= (uint32_t)n < u->queued ? (uint32_t)n
							     : u->queued;
		else if (!busy || u->engine.in_flight == u->queued + u->waits)
			fail_queued(u, n ? n : -EIO);
		else if (!reap_ring(u) && ring_enter(u, 0, 1) >= 0)
			reap_ring(u);
	}
}

/*
 * A single operation is done quicker by a system call of its own than by the
 * ring, where it need not wait: its entry is taken back. Several are not.
 */
static void try_single_now(struct uring *u)
{
	u->engine.tries = 0;
	while (u->queued == 1) {
		struct engine_io *io = newest_queued(u);

		if (!engine_try_now(&u->engine, io))
			return;
		take_newest_back(u);
		complete_entry(u, io, io->result);
	}
}

/*
 * It looks once at what is done, and no more: a driver whose requests take many
 * steps, each done at once, must not keep the loop here.
 */
static void uring_flush(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	try_single_now(u);
	if (!u->queued && !u->waits)
		return;
	submit_queued(u);
	reap_ring(u);
	submit_queued(u);
}

static void uring_reap(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	reap_ring(u);
	if (u->waits)
		engine->due = true;
}

/* All but what the kernel has. */
static void uring_cancel(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;
	struct io_list left;

	io_list_init(&left);
	for (; u->queued; take_newest_back(u)) {
		struct engine_io *io = newest_queued(u);

		u->begun -= io->len;
		u->entries--;
		io_list_add(&left, io);
	}
	io_list_move(&left, &u->waiting);
	u->waits = 0;
	engine_take_back(engine, &left);
}

static void uring_destroy(struct engine *engine)
{
	struct uring *u = (struct uring *)engine;

	if (u->rings)
		munmap(u->rings, u->rings_size);
	if (u->sqes)
		munmap(u->sqes, u->sqes_size);
	if (u->engine.source.fd >= 0)
		close(u->engine.source.fd);
	free(u);
}

/* The best set of flags that this host has. */
static int create_ring(struct io_uring_params *params)
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
		fd = syscall(SYS_io_uring_setup, RING_ENTRIES, params);
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
		     u->engine.source.fd, IORING_OFF_SQ_RING);
	if (rings == MAP_FAILED)
		return -errno;
	u->rings = rings;
	u->sqes_size = p->sq_entries * sizeof(*u->sqes);
	sqes = mmap(NULL, u->sqes_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    u->engine.source.fd, IORING_OFF_SQES);
	if (sqes == MAP_FAILED)
		return -errno;
	u->sqes = sqes;
	u->sq_tail = (void *)(rings + p->sq_off.tail);
	for (uint32_t i = 0; i < p->sq_entries; i++)
		put_le32(rings + p->sq_off.array + i * sizeof(i), i);
	u->sq_mask = p->sq_entries - 1;
	u->cq_head = (void *)(rings + p->cq_off.head);
	u->cq_tail = (void *)(rings + p->cq_off.tail);
	u->cqes = (void *)(rings + p->cq_off.cqes);
	u->cq_mask = p->cq_entries - 1;
	return 0;
}

/*
 * Nothing but these operations, on the registered files; then it is enabled. On
 * a disk that is only read there is none but the first two.
 */
static int restrict_ring(struct uring *u, bool ro)
{
	static const uint8_t ops[] = {
		IORING_OP_READ,	  IORING_OP_READV, IORING_OP_WRITE,
		IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE,
	};
	struct io_uring_restriction rules[3 + ARRAY_LEN(ops)] = {
		{
			.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
			.sqe_flags = IOSQE_FIXED_FILE | IOSQE_ASYNC,
		},
		{
			.opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED,
			.sqe_flags = IOSQE_FIXED_FILE,
		},
		/* For a layer: no filter but the first has io_uring_register */
		{
			.opcode = IORING_RESTRICTION_REGISTER_OP,
			.register_op = IORING_REGISTER_FILES_UPDATE,
		},
	};
	const unsigned count = ro ? 2 : ARRAY_LEN(ops);
	int error;

	for (unsigned i = 0; i < count; i++) {
		rules[3 + i].opcode = IORING_RESTRICTION_SQE_OP;
		rules[3 + i].sqe_op = ops[i];
	}
	error = ring_register(u, IORING_REGISTER_FILES, u->engine.fds,
			      BLOCK_FILES);
	if (!error)
		error = ring_register(u, IORING_REGISTER_RESTRICTIONS, rules,
				      3 + count);
	if (!error)
		error = ring_register(u, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
	return error;
}

static int uring_add_file(struct engine *engine, enum block_file file)
{
	const struct io_uring_files_update update = {
		.offset = file,
		.fds = (uintptr_t)&engine->fds[file],
	};
	const int n = syscall(SYS_io_uring_register, engine->source.fd,
			      IORING_REGISTER_FILES_UPDATE, &update, 1);

	return n < 0 ? -errno : 0;
}

struct engine *uring_create(const struct engine_options *options, int *error)
{
	static const struct engine_ops ops = {
		.name = "io_uring",
		.features = FEATURE_URING,
		.submit = uring_submit,
		.flush = uring_flush,
		.reap = uring_reap,
		.cancel = uring_cancel,
		.destroy = uring_destroy,
		.add_file = uring_add_file,
	};
	struct uring *u = calloc(1, sizeof(*u));
	struct io_uring_params params;
	int fd;

	*error = -ENOMEM;
	if (!u)
		return NULL;
	engine_init(&u->engine, &ops, options);
	io_list_init(&u->waiting);
	u->engine.events = EPOLLIN;
	u->engine.source.fd = fd = create_ring(&params);
	*error = fd < 0 ? fd : map_rings(u, &params);
	if (!*error)
		*error = restrict_ring(u, options->ro);
	if (!*error)
		return &u->engine;
	uring_destroy(&u->engine);
	return NULL;
}
