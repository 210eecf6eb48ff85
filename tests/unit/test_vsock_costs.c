/* uses: virtio/vsock.c virtio/vsock_rx.c virtio/vsock_conn.c */
/* uses: virtio/vsock_pool.c virtio/vsock_unix.c virtio/queue.c */
/* uses: virtio/vsock_listen.c */
/* uses: cpu/loop.c cpu/unixsock.c mem/ram.c */
/* ldflags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap */
/* What a stream and what goes through it cost: no memory is allocated. */
#include "tests/unit/count_allocations.h"
#include "tests/unit/vsock_help.h"

#define STREAMS 200u
#define ROUNDS	10u

static void test_no_allocation(void **state)
{
	static uint8_t bytes[2000];
	int listener = host_listen_on(PORT, 40);
	unsigned before;

	(void)state;
	guest_start();
	/* It is counted, where there is any: the device's set-up. */
	assert_true(allocations > 0);
	before = allocations;
	for (uint32_t i = 0; i < STREAMS; i++) {
		int fd = guest_connects(listener, GUEST + i);

		for (unsigned j = 0; j < ROUNDS; j++) {
			memset(bytes, (int)(i + j), sizeof(bytes));
			guest_data(PORT, GUEST + i, bytes, sizeof(bytes));
			host_gets(fd, bytes, sizeof(bytes));
			host_write(fd, bytes, sizeof(bytes));
			expect_packet(VSOCK_OP_RW, PORT, GUEST + i);
			assert_int_equal(got.len, sizeof(bytes));
			assert_memory_equal(got_data, bytes, sizeof(bytes));
		}
		guest_op(VSOCK_OP_RST, PORT, GUEST + i, 0);
		close(fd);
	}
	assert_int_equal(allocations, before);
	assert_int_equal(vsock->count, 0);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_no_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
