/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c virtio/limiter.c */
/* uses: virtio/queue.c cpu/loop/loop.c mem/ram.c mem/pool.c */
/* uses: tests/unit/net_help.c tests/unit/net_peer.c */
/* ldflags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap */
/*
 * What a packet costs: no memory is allocated for it, and there is one system
 * call that moves it. The second is shown by a child process that may not make
 * any other (seccomp), and is killed if it does. A tap is stood in for by a
 * pair of message sockets: it, too, takes and gives one packet a call.
 */
#include <fcntl.h>

/* uses: tests/unit/costs.c */
#include "tests/unit/costs.h"
#include "tests/unit/net_peer.h"

#define MANY 2000u

static void start_backend(bool tap)
{
	if (tap)
		make_packet_tap(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX);
	else
		make_stream(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX);
}

/* Takes what is there; this is not the device's call. */
static size_t peer_take(void)
{
	static uint8_t bytes[1 << 18];
	size_t all = 0;

	for (;;) {
		long n = syscall(SYS_recvfrom, peer, bytes, sizeof(bytes), 0,
				 NULL, NULL);

		if (n <= 0)
			return all;
		all += (size_t)n;
	}
}

/* A packet as the host's side gives it, with what comes before the frame. */
static void peer_give(bool tap, size_t len, unsigned number)
{
	static uint8_t bytes[NET_HEADER + NET_FRAME_MAX];
	const size_t before = tap ? NET_HEADER : 4;

	memset(bytes, 0, before);
	if (!tap)
		put_le32(bytes, __builtin_bswap32((uint32_t)len));
	make_frame(bytes + before, len, number);
	syscall(SYS_sendto, peer, bytes, before + len, 0, NULL, 0);
}

/* Packets both ways, some at a time: how many have not arrived. */
static unsigned exchange_packets(bool tap, unsigned count, unsigned at_once)
{
	const size_t before = tap ? NET_HEADER : 4, len = 700;
	uint32_t head, written;
	unsigned bad = 0;

	for (unsigned i = 0; i < count; i += at_once) {
		unsigned got = 0, sent = 0;

		for (unsigned j = 0; j < at_once; j++) {
			put_packet(len, i + j, 1 + j % 3);
			put_buffer(2048);
			peer_give(tap, len, i + j);
		}
		driver_kick(NET_RX);
		driver_kick(NET_TX);
		run_loop();
		while (ring_used(&t.ring[NET_TX], &head, &written))
			sent++;
		while (ring_used(&t.ring[NET_RX], &head, &written))
			got += written == NET_HEADER + len;
		bad += got != at_once || sent != at_once ||
		       peer_take() != at_once * (before + len);
	}
	return bad;
}

static void test_net_no_allocation(void **state)
{
	(void)state;
	for (unsigned tap = 0; tap < 2; tap++) {
		allocations = 0;
		start_backend(tap);
		assert_true(allocations > 0); /* it does count */
		allocations = 0;
		assert_int_equal(exchange_packets(tap, MANY, 1), 0);
		assert_int_equal(exchange_packets(tap, MANY, 16), 0);
		assert_int_equal(allocations, 0);
		end_host();
	}
}

struct how {
	bool tap;
	const unsigned *calls;
	unsigned count;
};

/* Ends the child, whatever the sanitizers would like to do yet. */
static void exchange_in_child(const void *arg)
{
	const struct how *how = arg;

	start_backend(how->tap);
	if (exchange_packets(how->tap, 100, 4) ||
	    !allow_only(how->calls, how->count))
		_exit(2);
	syscall(SYS_exit_group,
		exchange_packets(how->tap, MANY, 1) ||
				exchange_packets(how->tap, MANY, 16)
			? 3
			: 0);
}

static void test_net_no_system_call(void **state)
{
	/* The last four are the test's. A stream's length comes by itself. */
	static const unsigned tap[] = { SYS_readv,	SYS_writev,
					SYS_epoll_wait, SYS_sendto,
					SYS_recvfrom,	SYS_exit_group };
	static const unsigned stream[] = { SYS_readv,	 SYS_writev,
					   SYS_recvfrom, SYS_epoll_wait,
					   SYS_sendto,	 SYS_exit_group };
	struct how by_tap = { true, tap, ARRAY_LEN(tap) };
	struct how by_stream = { false, stream, ARRAY_LEN(stream) };

	(void)state;
	assert_int_equal(status_of_child(exchange_in_child, &by_tap), 0);
	assert_int_equal(status_of_child(exchange_in_child, &by_stream), 0);
	/* The filter does kill: the first of the list is missed at once. */
	by_tap.calls++;
	by_tap.count--;
	assert_true(
		killed_by_filter(status_of_child(exchange_in_child, &by_tap)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net_no_allocation),
		cmocka_unit_test(test_net_no_system_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
