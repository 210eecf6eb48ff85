/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c cpu/loop/thread.c virtio/block/io.c */
/* uses: virtio/block/io_uring.c virtio/block/io_thread.c */
/* ldflags: -Wl,--wrap=log_guest */
/* ldflags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap */
/*
 * What a request costs: no memory is allocated for it, and no system call is
 * made but for the I/O itself and for notifications. The second is shown by a
 * child process that may not make any other (seccomp), and is killed if it
 * does.
 */
#include <unistd.h>

#include "tests/unit/block_help.h"
/* uses: tests/unit/costs.c */
#include "tests/unit/costs.h"

#define SIZE (16 * MIB)
#define MANY 20000u
#define ALL  (FLUSH_FEATURE | FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX)

static enum block_engine engines[] = { BLOCK_ENGINE_URING,
				       BLOCK_ENGINE_THREADS };

static void start(enum block_engine engine, bool ephemeral, uint64_t iops)
{
	struct block_options options = {
		.file.fd = unnamed_file("/tmp", SIZE),
		.engine = engine,
		.queues = 2,
		.ephemeral = ephemeral,
		.ops_per_s = iops,
	};

	disk_make(&options, ALL);
}

/* `depth` requests at a time of all kinds: how many were not done. */
static unsigned work(unsigned count, unsigned depth)
{
	static const uint32_t types[] = { BLOCK_OUT, BLOCK_IN, BLOCK_OUT,
					  BLOCK_IN, BLOCK_FLUSH };
	unsigned bad = 0;

	for (unsigned i = 0; i < count; i += depth) {
		const unsigned wanted = t.back_count + depth;

		for (unsigned j = 0; j < depth; j++) {
			uint32_t type = types[(i + j) % ARRAY_LEN(types)];

			put_pieces(j % 2, type, (i + j) % 1000 * 8,
				   DATA_AT + j * 8192ULL,
				   type == BLOCK_FLUSH ? 0 : 8192, 1 + j % 3,
				   type == BLOCK_IN);
		}
		kick_queue(0);
		kick_queue(1);
		collect();
		while (t.back_count < wanted)
			pump(PATIENCE_MS);
		for (unsigned j = 0; j < depth; j++)
			bad += status_of(t.slots - 1 - j) != BLOCK_OK;
	}
	return bad;
}

static void test_no_allocation(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(engines); i++)
		for (unsigned way = 0; way < 3; way++) {
			start(engines[i], way == 1, way == 2 ? 1000000 : 0);
			assert_true(allocations > 0); /* it does count */
			allocations = 0;
			assert_int_equal(work(MANY / 10, 1), 0);
			assert_int_equal(work(MANY / 10, 32), 0);
			assert_int_equal(allocations, 0);
			disk_destroy();
			expect_no_log();
		}
}

/* -- system calls --------------------------------------------------------- */

struct calls {
	enum block_engine engine;
	const unsigned *calls;
	unsigned count;
};

/* Ends the child, whatever the sanitizers would like to do yet. */
static void child(const void *how)
{
	const struct calls *c = how;

	start(c->engine, false, 0);
	if (work(100, 10) || !allow_only(c->calls, c->count))
		_exit(2);
	syscall(SYS_exit_group,
		work(MANY / 10, 1) || work(MANY / 10, 50) ? 3 : 0);
}

static void test_no_system_call(void **state)
{
	/* epoll_wait is the test's; so is exit_group. */
	static const unsigned uring[] = { SYS_io_uring_enter, SYS_preadv2,
					  SYS_pwritev2, SYS_epoll_wait,
					  SYS_exit_group };
	static const unsigned threads[] = {
		SYS_preadv2, SYS_pwritev2, SYS_preadv, SYS_pwritev,
		SYS_fdatasync, SYS_futex, SYS_write, /* of the eventfd */
		/* once in a ms of batches */
		SYS_timerfd_settime, SYS_read, SYS_epoll_wait, SYS_exit_group
	};
	struct calls by_uring = { BLOCK_ENGINE_URING, uring, ARRAY_LEN(uring) };
	struct calls by_threads = { BLOCK_ENGINE_THREADS, threads,
				    ARRAY_LEN(threads) };

	(void)state;
	assert_int_equal(status_of_child(child, &by_uring), 0);
	assert_int_equal(status_of_child(child, &by_threads), 0);
	/* The filter does kill: the first of the list is missed at once. */
	by_uring.calls++;
	by_uring.count--;
	assert_true(killed_by_filter(status_of_child(child, &by_uring)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_allocation),
		cmocka_unit_test(test_no_system_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
