/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c cpu/loop/thread.c virtio/block/io.c */
/* uses: virtio/block/io_uring.c virtio/block/io_thread.c */
/* ldflags: -Wl,--wrap=log_guest */
/*
 * A disk has slots for so many requests. A bad chain must give its slot back:
 * a guest may send any number of them, with a reset after each.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/block_help.h"

#define SIZE (1u << 20)

static void after_many_bad(const struct ring_buffer *bad)
{
	struct block_options options = {
		.file.fd = memfd_create("mote-test", MFD_CLOEXEC),
		.engine = BLOCK_ENGINE_THREADS,
	};
	const unsigned rounds = 2 * ENGINE_DEPTH;

	assert_int_equal(ftruncate(options.file.fd, SIZE), 0);
	disk_make(&options, FLUSH_FEATURE);
	for (unsigned i = 0; i < rounds; i++) {
		put_chain(0, bad, 1, 0);
		kick_queue(0);
		assert_int_equal(t.breaks, i + 1);
		disk_reset();
		disk_activate(FLUSH_FEATURE);
	}
	/* There are slots still, for more than one. */
	for (unsigned i = 0; i < QUEUE_SIZE_MAX / 3; i++)
		put_request_on(0, BLOCK_IN, i, DATA_AT + i * 512ULL, 512);
	kick_queue(0);
	wait_back(QUEUE_SIZE_MAX / 3);
	for (unsigned i = 0; i < QUEUE_SIZE_MAX / 3; i++)
		assert_int_equal(status_of(rounds + i), BLOCK_OK);
	disk_destroy();
}

static void test_block_keeps_its_slots_after_bad_chains(void **state)
{
	const struct ring_buffer outside = { GPA(RAM_BYTES), 16, false };

	(void)state;
	after_many_bad(&outside);
}

static void test_block_keeps_its_slots_after_no_status(void **state)
{
	const struct ring_buffer no_status = { GPA(HEADERS_AT), 16, false };

	(void)state;
	after_many_bad(&no_status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_block_keeps_its_slots_after_bad_chains),
		cmocka_unit_test(test_block_keeps_its_slots_after_no_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
