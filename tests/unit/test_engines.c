/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/block/io_uring.c virtio/block/io_thread.c virtio/block/io.c */
/* uses: cpu/loop/thread.c tests/unit/kept_log.c tests/unit/sample_file.c */
/* ldflags: -Wl,--wrap=syscall,--wrap=pthread_create,--wrap=fdatasync */
/* ldflags: -Wl,--wrap=preadv,--wrap=pwritev */
/*
 * The engines by themselves, on a host that answers as the test likes: hosts
 * without io_uring, system calls that fail, data that is in memory or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"
#include "virtio/block/io.h"

#define MIB  (1ULL << 20)
#define SIZE (4 * MIB)

/* -- the host ------------------------------------------------------------- */

/* Call `number` gives `result`, -errno, the next `times` times; 0: for real. */
static struct answer {
	long number, result;
	unsigned times;
	unsigned made; /* calls in all */
} answers[8];

static struct answer *answer_of(long number)
{
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		if (answers[i].number == number || !answers[i].number) {
			answers[i].number = number;
			return &answers[i];
		}
	abort();
}

static void host_answers(long number, long result, unsigned times)
{
	struct answer *answer = answer_of(number);

	answer->result = result;
	answer->times = times;
	answer->made = 0;
}

static unsigned made(long number)
{
	return answer_of(number)->made;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e,
		    long f);

/* Rings have everything but these features. */
static uint32_t no_features;

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	struct answer *answer = answer_of(number);
	long result;

	answer->made++;
	if (!answer->times) {
		result = __real_syscall(number, a, b, c, d, e, f);
		if (number == SYS_io_uring_setup && result >= 0)
			((struct io_uring_params *)b)->features &= ~no_features;
		return result;
	}
	answer->times--;
	if (answer->result < 0) {
		errno = (int)-answer->result;
		return -1;
	}
	return answer->result;
}

static int no_thread;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*run)(void *), void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*run)(void *), void *arg);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
			  void *(*run)(void *), void *arg)
{
	return no_thread ? no_thread
			 : __real_pthread_create(thread, attr, run, arg);
}

static int sync_error; /* of fdatasync */
static _Atomic unsigned syncs;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int __wrap_fdatasync(int fd)
{
	syncs++;
	if (!sync_error)
		return __real_fdatasync(fd);
	errno = sync_error;
	return -1;
}

ssize_t __real_preadv(int fd, const struct iovec *iov, int count, off_t at);
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t at);

/* A pipe stands for a disk that is slow. */
ssize_t __wrap_preadv(int fd, const struct iovec *iov, int count, off_t at)
{
	ssize_t n = __real_preadv(fd, iov, count, at);

	return n < 0 && errno == ESPIPE ? readv(fd, iov, count) : n;
}

static bool gated; /* each write waits for a post */
static sem_t gate;

ssize_t __real_pwritev(int fd, const struct iovec *iov, int count, off_t at);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t at);

ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int count, off_t at)
{
	while (gated && sem_wait(&gate))
		;
	return __real_pwritev(fd, iov, count, at);
}

/* -- an engine ------------------------------------------------------------ */

static struct engine *engine;
static int file;
static uint8_t data[2 * MIB];
static unsigned done_count;
static unsigned again; /* done submits the same once more, so often */
static int64_t last_result;
static const struct iovec whole = { data, sizeof(data) };

static void done(void *arg, struct engine_io *io)
{
	assert_ptr_equal(arg, &file);
	done_count++;
	last_result = io->result;
	if (again) {
		again--;
		engine->ops->submit(engine, io);
	}
}

static struct engine *create(bool uring, int flags, int *error)
{
	struct engine_options options = {
		.fds = { -1, -1, -1, -1 },
		.done = done,
		.arg = &file,
	};

	memset(answers, 0, sizeof(answers));
	file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, SIZE), 0);
	done_count = again = 0;
	options.fds[0] = file;
	return uring ? uring_create(&options, error)
		     : worker_create(&options, error);
}

static void start(void **state, int flags)
{
	int error;

	engine = create(*(bool *)*state, flags, &error);
	assert_non_null(engine);
}

static void end(void)
{
	assert_int_equal(engine->in_flight, 0);
	engine->ops->destroy(engine);
	close(file);
}

static void submit(struct engine_io *io, enum engine_op op, uint64_t len)
{
	*io = (struct engine_io){ .op = op, .len = len };
	if (op == ENGINE_READ || op == ENGINE_WRITE) {
		static struct iovec vectors[ENGINE_DEPTH];
		static unsigned next;
		struct iovec *iov = &vectors[next++ % ENGINE_DEPTH];

		*iov = whole;
		iov->iov_len = len;
		io->iov = iov;
		io->iov_count = 1;
	}
	engine->ops->submit(engine, io);
}

static void wait_all(void)
{
	while (engine->in_flight) {
		struct pollfd poll_fd = { engine->source.fd, POLLIN, 0 };

		poll(&poll_fd, 1, 100);
		engine->ops->reap(engine);
		engine->ops->flush(engine);
	}
}

#define RING_ENTRIES 64 /* of io_uring.c */

/* The entries that io_uring's engine fills in. */
static struct io_uring_sqe *map_entries(void)
{
	void *at = mmap(NULL, RING_ENTRIES * sizeof(struct io_uring_sqe),
			PROT_READ | PROT_WRITE, MAP_SHARED, engine->source.fd,
			IORING_OFF_SQES);

	assert_true(at != MAP_FAILED);
	return at;
}

/* -- at once -------------------------------------------------------------- */

static void test_now(void **state)
{
	struct engine_io io;

	start(state, 0);
	submit(&io, ENGINE_READ, 4096);
	engine->ops->flush(engine);
	/* Done when flush returns, and by one call. */
	assert_int_equal(done_count, 1);
	assert_int_equal(last_result, 4096);
	assert_int_equal(made(SYS_preadv2), 1);
	assert_int_equal(made(SYS_io_uring_enter), 0);
	/* Short is what it is; nothing is the end of the file. */
	io.offset = SIZE - 512;
	engine->ops->submit(engine, &io);
	engine->ops->flush(engine);
	assert_int_equal(last_result, 512);
	io.offset = SIZE;
	engine->ops->submit(engine, &io);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, 0);
	end();
}

/* Linux 5.9 and 5.10 may say so in the middle of a file. */
static void test_nothing_now(void **state)
{
	struct engine_io io;

	start(state, 0);
	host_answers(SYS_preadv2, 0, 1);
	submit(&io, ENGINE_READ, 4096);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(done_count, 1);
	assert_int_equal(last_result, 4096);
	end();
}

static void test_not_in_memory(void **state)
{
	struct engine_io io;

	start(state, 0);
	host_answers(SYS_preadv2, -EAGAIN, UINT32_MAX);
	for (unsigned i = 0; i < 1000; i++) {
		submit(&io, ENGINE_READ, 4096);
		engine->ops->flush(engine);
		wait_all();
		assert_int_equal(last_result, 4096);
	}
	assert_int_equal(done_count, 1000);
	/* It is tried less and less often, but not given up. */
	assert_in_range(made(SYS_preadv2), 10, 40);
	host_answers(SYS_preadv2, 0, 0);
	for (unsigned i = 0; i < 100; i++) {
		submit(&io, ENGINE_READ, 4096);
		engine->ops->flush(engine);
		wait_all();
	}
	assert_true(made(SYS_preadv2) > 30);
	end();
}

/* A file system that cannot says so once. */
static void test_cannot(void **state)
{
	struct engine_io io;

	start(state, 0);
	host_answers(SYS_pwritev2, -EOPNOTSUPP, UINT32_MAX);
	for (unsigned i = 0; i < 10; i++) {
		submit(&io, ENGINE_WRITE, 4096);
		engine->ops->flush(engine);
		wait_all();
		assert_int_equal(last_result, 4096);
	}
	assert_int_equal(made(SYS_pwritev2), 1);
	end();
}

/* O_DIRECT would wait for the disk, and so does a sync. */
static void test_must_wait(void **state)
{
	struct engine_io io;

	start(state, O_DIRECT);
	submit(&io, ENGINE_READ, 4096);
	engine->ops->flush(engine);
	wait_all();
	submit(&io, ENGINE_FLUSH, 0);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, 0);
	assert_int_equal(made(SYS_preadv2), 0);
	end();
}

/* What would keep the loop for long is left to others. */
static void test_large(void **state)
{
	struct engine_io io[4];

	start(state, 0);
	submit(&io[0], ENGINE_READ, MIB + 4096);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, MIB + 4096);
	assert_int_equal(made(SYS_preadv2), 0);
	for (unsigned i = 0; i < ARRAY_LEN(io); i++)
		submit(&io[i], ENGINE_READ, MIB);
	engine->ops->flush(engine);
	wait_all();
	assert_true(made(SYS_preadv2) <= 1);
	submit(&io[0], ENGINE_READ, MIB);
	engine->ops->flush(engine);
	assert_true(made(SYS_preadv2) >= 1);
	wait_all();
	assert_int_equal(done_count, 6);
	end();
}

/* Steps that are each done at once, without end: flush comes back. */
static void test_endless(void **state)
{
	struct engine_io io;

	start(state, 0);
	again = 100000;
	submit(&io, ENGINE_READ, 512);
	engine->ops->flush(engine);
	assert_in_range(done_count, 1, 100);
	again = 200;
	wait_all();
	assert_true(done_count > 200);
	end();
}

/* A FLUSH is one fdatasync of the disk's file, and what that says counts. */
static void test_worker_syncs(void **state)
{
	struct engine_io io;

	(void)state;
	start((void *[]){ &(bool){ false } }, 0);
	for (unsigned i = 0; i < 2; i++) {
		sync_error = i ? EIO : 0;
		syncs = 0;
		submit(&io, ENGINE_FLUSH, 0);
		engine->ops->flush(engine);
		wait_all();
		assert_int_equal(syncs, 1);
		assert_int_equal(last_result, -sync_error);
	}
	sync_error = 0;
	end();
}

/* The same as an entry of the ring, whose call nobody can stand in for. */
static void test_uring_syncs(void **state)
{
	struct io_uring_sqe *sqes;
	struct engine_io io;
	unsigned found = 0;

	(void)state;
	start((void *[]){ &(bool){ true } }, 0);
	sqes = map_entries();
	submit(&io, ENGINE_FLUSH, 0);
	for (unsigned i = 0; i < RING_ENTRIES; i++)
		if (sqes[i].user_data == (uintptr_t)&io) {
			assert_int_equal(sqes[i].opcode, IORING_OP_FSYNC);
			assert_int_equal(sqes[i].fsync_flags,
					 IORING_FSYNC_DATASYNC);
			assert_int_equal(sqes[i].off | sqes[i].len, 0);
			assert_int_equal(sqes[i].fd, 0);
			found++;
		}
	assert_int_equal(found, 1);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, 0);
	munmap(sqes, RING_ENTRIES * sizeof(*sqes));
	end();
}

static void test_depth(void **state)
{
	static struct engine_io io[ENGINE_DEPTH];

	start(state, 0);
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < ENGINE_DEPTH; i++)
			submit(&io[i],
			       i % 3 == 2 ? ENGINE_FLUSH
			       : i % 3	  ? ENGINE_WRITE
					  : ENGINE_READ,
			       4096);
		assert_int_equal(engine->in_flight, ENGINE_DEPTH);
		engine->ops->flush(engine);
		wait_all();
	}
	assert_int_equal(done_count, 5 * ENGINE_DEPTH);
	end();
}

/* -- batches -------------------------------------------------------------- */

/* How often the loop would have been woken since it was last asked. */
static uint64_t wakes(void)
{
	uint64_t count = 0;

	if (read(engine->source.fd, &count, sizeof(count)) < 0)
		assert_int_equal(errno, EAGAIN);
	return count;
}

static void start_gated(unsigned count, uint64_t len)
{
	static struct engine_io io[64];
	int error;

	sem_init(&gate, 0, 0);
	gated = true;
	engine = create(false, 0, &error);
	assert_non_null(engine);
	memset(engine->writes_now, 0, sizeof(engine->writes_now));
	for (unsigned i = 0; i < count; i++)
		submit(&io[i], ENGINE_WRITE, len);
	engine->ops->flush(engine);
	assert_int_equal(wakes(), 0);
}

static void let_write(unsigned count)
{
	while (count--)
		sem_post(&gate);
}

static void end_gated(void)
{
	gated = false;
	end();
	sem_destroy(&gate);
}

/* They are there to be had before the loop is woken for them. */
static void test_batch(void **state)
{
	(void)state;
	start_gated(32, 4096);
	for (unsigned i = 1; i <= 32; i++) {
		let_write(1);
		while (done_count < i)
			engine->ops->reap(engine);
	}
	while (!wakes())
		;
	usleep(1000);
	assert_int_equal(wakes(), 0); /* that was the only one */
	end_gated();
}

/* Who does not look has a half, and then the rest. */
static void test_batch_of_a_half(void **state)
{
	uint64_t count = 0;

	(void)state;
	start_gated(32, 4096);
	let_write(17);
	while (!(count += wakes()))
		;
	engine->ops->reap(engine);
	assert_in_range(done_count, 16, 17);
	let_write(14);
	usleep(20000);
	assert_int_equal(wakes(), 0); /* the last one is no more than a wake */
	let_write(1);
	while (!wakes())
		;
	engine->ops->reap(engine);
	assert_int_equal(done_count, 32);
	end_gated();
}

/* Large ones come one by one. */
static void test_batch_of_bytes(void **state)
{
	(void)state;
	start_gated(3, MIB);
	for (unsigned i = 1; i <= 3; i++) {
		let_write(1);
		while (!wakes())
			;
		engine->ops->reap(engine);
		assert_int_equal(done_count, i);
	}
	end_gated();
}

/* -- what is not begun ---------------------------------------------------- */

static unsigned taken_back;

static void note_taken_back(void *arg, struct engine_io *io)
{
	(void)arg;
	done_count++;
	taken_back += io->not_begun && io->result == -ECANCELED;
	io->not_begun = false;
}

/* On an empty pipe: whoever reads it waits until something is written. */
static int start_on_pipe(bool uring)
{
	struct engine_options options = {
		.fds = { -1, -1, -1, -1 },
		.done = note_taken_back,
	};
	int ends[2], error;

	memset(answers, 0, sizeof(answers));
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	file = options.fds[0] = ends[0];
	done_count = taken_back = 0;
	engine = uring ? uring_create(&options, &error)
		       : worker_create(&options, &error);
	assert_non_null(engine);
	/* A pipe cannot be tried; nor is it to be. */
	memset(engine->reads_now, 0, sizeof(engine->reads_now));
	return ends[1];
}

/* Of the worker's: until the thread is at the first one. */
static void let_begin(void)
{
	engine->ops->flush(engine);
	usleep(50000);
}

static void finish_one(int end_fd)
{
	const unsigned before = done_count;

	assert_int_equal(write(end_fd, "x", 1), 1);
	while (done_count == before) {
		struct pollfd poll_fd = { engine->source.fd, POLLIN, 0 };

		poll(&poll_fd, 1, 100);
		engine->ops->reap(engine);
		engine->ops->flush(engine);
	}
}

/* However much is asked for: what cannot be taken back has a bound. */
static void test_bound(void **state)
{
	static struct engine_io io[2 * ENGINE_DEPTH];
	const bool uring = *(bool *)*state;
	const unsigned begun = uring ? ENGINE_BYTES / MIB : 1;
	int end_fd = start_on_pipe(uring);

	for (unsigned i = 0; i < ENGINE_DEPTH; i++)
		submit(&io[i], ENGINE_READ, MIB);
	let_begin();
	assert_int_equal(engine->in_flight, ENGINE_DEPTH);
	engine->ops->cancel(engine);
	assert_int_equal(taken_back, ENGINE_DEPTH - begun);
	assert_int_equal(engine->in_flight, begun);
	/* Nothing is left to be taken. */
	engine->ops->cancel(engine);
	assert_int_equal(engine->in_flight, begun);
	/* What was begun makes room for what comes behind it. */
	for (unsigned i = 0; i < 3; i++)
		submit(&io[ENGINE_DEPTH + i], ENGINE_READ, MIB);
	let_begin();
	for (unsigned i = 0; i < 3; i++)
		finish_one(end_fd);
	close(end_fd);
	wait_all();
	assert_int_equal(done_count, ENGINE_DEPTH + 3);
	assert_int_equal(taken_back, ENGINE_DEPTH - begun);
	end();
}

/* Alone, but not never. */
static void test_larger_than_bound(void **state)
{
	static uint8_t room[ENGINE_BYTES + 4096];
	const struct iovec iov = { room, sizeof(room) };
	struct engine_io io[3], flush;
	int end_fd = start_on_pipe(*(bool *)*state);

	for (unsigned i = 0; i < 3; i++) {
		io[i] = (struct engine_io){ .op = ENGINE_READ,
					    .len = sizeof(room),
					    .iov = &iov,
					    .iov_count = 1 };
		engine->ops->submit(engine, &io[i]);
	}
	submit(&flush, ENGINE_FLUSH, 0);
	let_begin();
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(done_count, i);
		finish_one(end_fd);
	}
	wait_all();
	assert_int_equal(done_count, 4);
	assert_int_equal(taken_back, 0);
	close(end_fd);
	end();
}

/* Submitted, and not even handed over. */
static void test_never_begun(void **state)
{
	struct engine_io io[3];

	close(start_on_pipe(*(bool *)*state));
	for (unsigned i = 0; i < 3; i++)
		submit(&io[i], ENGINE_READ, 4096);
	engine->ops->cancel(engine);
	assert_int_equal(taken_back, 3);
	assert_int_equal(made(SYS_io_uring_enter), 0);
	submit(&io[0], ENGINE_READ, 4096);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(done_count, 4);
	end();
}

/* -- io_uring that fails -------------------------------------------------- */

static void test_enter_fails(void **state)
{
	static struct engine_io io[10];
	static const long errors[] = { -EBADF, -EINVAL, -EFAULT, -EAGAIN,
				       -EBUSY };

	(void)state;
	start((void *[]){ &(bool){ true } }, 0);
	for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
		host_answers(SYS_io_uring_enter, errors[e], UINT32_MAX);
		for (unsigned i = 0; i < ARRAY_LEN(io); i++)
			submit(&io[i], ENGINE_WRITE, 4096);
		engine->ops->flush(engine);
		/* None is lost, and nothing hangs. */
		assert_int_equal(done_count, 10 * (e + 1));
		assert_int_equal(last_result, errors[e]);
	}
	/* It is over when the host has recovered; and an EINTR is nothing. */
	host_answers(SYS_io_uring_enter, -EINTR, 3);
	for (unsigned i = 0; i < ARRAY_LEN(io); i++)
		submit(&io[i], ENGINE_WRITE, 4096);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, 4096);
	assert_int_equal(done_count, 60);
	end();
}

/* With more than may be begun: none of it is forgotten either. */
static void test_enter_fails_with_many(void **state)
{
	static struct engine_io io[ENGINE_DEPTH];

	(void)state;
	start((void *[]){ &(bool){ true } }, 0);
	host_answers(SYS_io_uring_enter, -EAGAIN, UINT32_MAX);
	for (unsigned i = 0; i < ENGINE_DEPTH; i++)
		submit(&io[i], ENGINE_WRITE, MIB);
	engine->ops->flush(engine);
	assert_int_equal(done_count, ENGINE_DEPTH);
	assert_int_equal(last_result, -EAGAIN);
	end();
}

/* Busy, with operations in flight: it waits for those, and goes on. */
static void test_busy(void **state)
{
	static struct engine_io io[20];

	(void)state;
	start((void *[]){ &(bool){ true } }, 0);
	for (unsigned i = 0; i < 10; i++)
		submit(&io[i], ENGINE_WRITE, 2 * MIB);
	engine->ops->flush(engine);
	host_answers(SYS_io_uring_enter, -EBUSY, 1);
	for (unsigned i = 10; i < 20; i++)
		submit(&io[i], ENGINE_WRITE, 4096);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(done_count, 20);
	assert_true(last_result > 0);
	end();
}

/* -- hosts without -------------------------------------------------------- */

/* Pages of rings that are mapped: proc(5), /proc/pid/maps */
static unsigned ring_mappings(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	char line[512];

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		count += strstr(line, "[io_uring]") != NULL;
	fclose(maps);
	return count;
}

static void test_no_uring(void **state)
{
	static const long calls[] = { SYS_io_uring_setup,
				      SYS_io_uring_register };
	static const int errors[] = { EPERM, ENOSYS, ENOMEM, EINVAL };
	struct engine_options options = { .fds = { -1, -1, -1, -1 },
					  .done = done };
	unsigned before = count_fds();
	int error;

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(calls); c++)
		for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
			memset(answers, 0, sizeof(answers));
			host_answers(calls[c], -errors[e], UINT32_MAX);
			error = 0;
			assert_null(uring_create(&options, &error));
			assert_int_equal(error, -errors[e]);
			assert_int_equal(count_fds(), before);
			assert_int_equal(ring_mappings(), 0);
		}
	/* Flags that an older host does not know are left out. */
	memset(answers, 0, sizeof(answers));
	host_answers(SYS_io_uring_setup, -EINVAL, 2);
	engine = uring_create(&options, &error);
	assert_non_null(engine);
	assert_int_equal(made(SYS_io_uring_setup), 3);
	assert_int_equal(ring_mappings(), 2);
	engine->ops->destroy(engine);
	assert_int_equal(count_fds(), before);
	assert_int_equal(ring_mappings(), 0);
}

/* A ring of a host that is too old for the way it is used. */
static void test_old_uring(void **state)
{
	static const uint32_t needed[] = { IORING_FEAT_SINGLE_MMAP,
					   IORING_FEAT_NODROP,
					   IORING_FEAT_SUBMIT_STABLE };
	struct engine_options options = { .fds = { -1, -1, -1, -1 },
					  .done = done };
	unsigned before = count_fds();
	int error = 0;

	(void)state;
	memset(answers, 0, sizeof(answers));
	for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
		no_features = needed[i];
		assert_null(uring_create(&options, &error));
		assert_int_equal(error, -ENOSYS);
		assert_int_equal(count_fds(), before);
	}
	no_features = 0;
}

static void test_no_thread(void **state)
{
	struct engine_options options = { .fds = { -1, -1, -1, -1 },
					  .done = done };
	unsigned before = count_fds();
	int error = 0;

	(void)state;
	no_thread = EAGAIN;
	assert_null(worker_create(&options, &error));
	assert_int_equal(error, -EAGAIN);
	no_thread = 0;
	assert_int_equal(count_fds(), before);
}

/* The ring of a disk that is only read, whatever its descriptor could. */
static void test_restricted_to_reads(void **state)
{
	static const enum engine_op writes[] = { ENGINE_WRITE, ENGINE_FLUSH,
						 ENGINE_ALLOCATE };
	struct engine_options options = { .fds = { -1, -1, -1, -1 },
					  .done = done,
					  .arg = &file,
					  .ro = true };
	struct engine_io io;
	char byte = 1;
	int error;

	(void)state;
	memset(answers, 0, sizeof(answers));
	file = options.fds[0] =
		open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(file, SIZE), 0);
	engine = uring_create(&options, &error);
	assert_non_null(engine);
	memset(data, 0xee, 4096);
	for (size_t i = 0; i < ARRAY_LEN(writes); i++)
		for (unsigned count = 1; count <= 2; count++) {
			const struct iovec iov[] = { { data, 512 },
						     { data + 512, 512 } };

			io = (struct engine_io){ .op = writes[i],
						 .len = 512 * count,
						 .iov = iov,
						 .iov_count = count };
			memset(engine->writes_now, 0,
			       sizeof(engine->writes_now));
			engine->ops->submit(engine, &io);
			engine->ops->flush(engine);
			wait_all();
			assert_int_equal(last_result, -EACCES);
		}
	assert_int_equal(pread(file, &byte, 1, 0), 1);
	assert_int_equal(byte, 0);
	host_answers(SYS_preadv2, -EAGAIN, UINT32_MAX);
	submit(&io, ENGINE_READ, 4096);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, 4096);
	end();
}

/* The ring can do nothing but what disks need, and on their files alone. */
static void test_restricted(void **state)
{
	static const uint8_t forbidden[] = {
		IORING_OP_NOP,	   IORING_OP_OPENAT,   IORING_OP_CONNECT,
		IORING_OP_SENDMSG, IORING_OP_CLOSE,    IORING_OP_UNLINKAT,
		IORING_OP_SPLICE,  IORING_OP_POLL_ADD,
	};
	struct io_uring_probe *probe =
		calloc(1, sizeof(*probe) + 256 * sizeof(probe->ops[0]));
	struct io_uring_sqe *sqes;
	struct engine_io io;

	(void)state;
	start((void *[]){ &(bool){ true } }, 0);
	/* Registering anything but another file is refused. */
	assert_int_equal(__real_syscall(SYS_io_uring_register,
					engine->source.fd,
					IORING_REGISTER_PROBE, probe, 256),
			 -1);
	assert_int_equal(errno, EACCES);
	free(probe);
	/* The entries that the engine fills in, with another operation. */
	sqes = map_entries();
	for (size_t i = 0; i < ARRAY_LEN(forbidden); i++) {
		submit(&io, ENGINE_FLUSH, 0);
		for (unsigned j = 0; j < RING_ENTRIES; j++)
			if (sqes[j].user_data == (uintptr_t)&io)
				sqes[j].opcode = forbidden[i];
		engine->ops->flush(engine);
		wait_all();
		assert_int_equal(last_result, -EACCES);
		for (unsigned j = 0; j < RING_ENTRIES; j++)
			sqes[j].user_data = 0;
	}
	/* A read of a file that is not registered. */
	submit(&io, ENGINE_FLUSH, 0);
	for (unsigned j = 0; j < RING_ENTRIES; j++)
		if (sqes[j].user_data == (uintptr_t)&io)
			sqes[j].flags = 0;
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, -EACCES);
	munmap(sqes, RING_ENTRIES * sizeof(*sqes));
	end();
}

/* One more file, when the engine is ready: it is read as the others are. */
static void test_file_is_added(void **state)
{
	struct engine_io io;
	int added, readable;
	char path[32];

	start(state, 0);
	added = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	memset(data, 0x5a, 4096);
	assert_int_equal(pwrite(added, data, 4096, 0), 4096);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", added);
	readable = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(engine_add_file(engine, BLOCK_FILE_LAYER, readable),
			 0);
	for (unsigned at_once = 0; at_once < 2; at_once++) {
		if (!at_once)
			host_answers(SYS_preadv2, -EAGAIN, 1);
		memset(data, 0, 4096);
		io = (struct engine_io){ .op = ENGINE_READ,
					 .file = BLOCK_FILE_LAYER,
					 .len = 4096,
					 .iov = &whole,
					 .iov_count = 1 };
		engine->ops->submit(engine, &io);
		engine->ops->flush(engine);
		wait_all();
		assert_int_equal(last_result, 4096);
		assert_int_equal(data[0], 0x5a);
		assert_int_equal(made(SYS_preadv2), 1 + at_once);
	}
	/* And never written. */
	io.op = ENGINE_WRITE;
	engine->ops->submit(engine, &io);
	engine->ops->flush(engine);
	wait_all();
	assert_int_equal(last_result, -EBADF);
	end();
	close(added);
	close(readable);
}

/* The host takes none: it is said. */
static void test_file_is_not_added(void **state)
{
	(void)state;
	start((void *[]){ &(bool){ true } }, 0);
	host_answers(SYS_io_uring_register, -ENOMEM, 1);
	assert_int_equal(engine_add_file(engine, BLOCK_FILE_LAYER, file),
			 -ENOMEM);
	end();
}

int main(void)
{
	static bool engines[] = { true, false };
#define BOTH(name)                                                             \
	{ #name ", io_uring", name, NULL, NULL, &engines[0] },                 \
	{                                                                      \
#name ", threads", name, NULL, NULL, &engines[1]               \
	}
	const struct CMUnitTest tests[] = {
		BOTH(test_now),
		BOTH(test_nothing_now),
		BOTH(test_not_in_memory),
		BOTH(test_cannot),
		BOTH(test_must_wait),
		BOTH(test_large),
		BOTH(test_endless),
		BOTH(test_depth),
		BOTH(test_bound),
		BOTH(test_larger_than_bound),
		BOTH(test_never_begun),
		BOTH(test_file_is_added),
		cmocka_unit_test(test_file_is_not_added),
		cmocka_unit_test(test_worker_syncs),
		cmocka_unit_test(test_uring_syncs),
		cmocka_unit_test(test_enter_fails),
		cmocka_unit_test(test_enter_fails_with_many),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_batch_of_a_half),
		cmocka_unit_test(test_batch_of_bytes),
		cmocka_unit_test(test_no_uring),
		cmocka_unit_test(test_old_uring),
		cmocka_unit_test(test_no_thread),
		cmocka_unit_test(test_restricted),
		cmocka_unit_test(test_restricted_to_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
