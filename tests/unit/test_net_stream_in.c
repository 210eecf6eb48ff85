/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c virtio/limiter.c */
/* uses: virtio/queue.c cpu/loop/loop.c mem/ram.c mem/pool.c */
/* uses: tests/unit/net_help.c tests/unit/net_peer.c */
/*
 * virtio-net over a stream socket, to the guest: frames cut anywhere, more than
 * there are buffers for; and drivers whose buffers are not what they should be.
 */
#include <stdlib.h>

#include "tests/unit/net_peer.h"

static void test_stream_receive(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 20; i++)
		peer_send(60 + i, i);
	run_loop();
	expect_no_packet();
	for (unsigned i = 0; i < 20; i++)
		put_buffer(1526);
	driver_kick(NET_RX);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(expect_packet(60 + i, i), 1);
	expect_no_packet();
	assert_int_equal(t.interrupts, 1);
	assert_int_equal(t.net.in.count, 20);
	/* With buffers there already the socket's event is enough. */
	put_buffer(1526);
	peer_send(1500, 21);
	run_loop();
	expect_packet(1500, 21);
	end_host();
}

static void test_stream_receive_merged(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 60; i++)
		put_buffer(i % 7 ? 1536 : 5); /* the header in three of them */
	peer_send(40000, 1);
	peer_send(NET_FRAME_MIN, 2);
	peer_send(1536 - NET_HEADER, 3);
	run_loop();
	assert_in_range(expect_packet(40000, 1), 27, 33);
	expect_packet(NET_FRAME_MIN, 2);
	expect_packet(1536 - NET_HEADER, 3);
	expect_no_packet();
	end_host();
}

static void test_stream_receive_whole(void **state)
{
	(void)state;
	make_stream(0);
	put_buffer(1526);
	put_buffer(2000);
	peer_send(1514, 1);
	peer_send(1515, 2); /* no: the first buffer has gone, the next fits */
	peer_send(5000, 3); /* too much for any */
	run_loop();
	assert_int_equal(expect_packet(1514, 1), 1);
	assert_int_equal(expect_packet(1515, 2), 1);
	put_buffer(1526);
	peer_send(64, 4);
	run_loop();
	driver_kick(NET_RX);
	assert_int_equal(expect_packet(64, 4), 1);
	assert_int_equal(t.net.in.dropped, 1);
	end_host();
}

/* The stream comes one byte at a time, and in pieces of any length. */
static void test_stream_receive_pieces(void **state)
{
	static uint8_t bytes[3 * NET_FRAME_MAX];
	static const size_t lens[] = { NET_FRAME_MIN, 100, 9014, 61, 20000 };
	size_t len = 0, at = 0, part;

	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	srand(1);
	for (unsigned i = 0; i < 60; i++)
		put_buffer(1536);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		len += make_stream_bytes(bytes + len, lens[i], i);
	while (at < len) {
		part = at < 300 ? 1 : 1 + (size_t)rand() % 3000;
		part = part < len - at ? part : len - at;
		peer_write(bytes + at, part);
		run_loop();
		at += part;
	}
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		expect_packet(lens[i], i);
	end_host();
}

/* Buffers come in the middle of a batch; nothing is lost or read twice. */
static void test_stream_receive_starved(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX);
	for (unsigned i = 0; i < 100; i++) {
		peer_send(1500, i);
		peer_send(3000, i + 1000);
		put_buffer(1600);
		put_buffer(1600);
		driver_kick(NET_RX);
		run_loop();
		expect_packet(1500, i);
		expect_no_packet();
		/* It asks to be told of the next buffer. */
		assert_int_equal(ring_avail_event(&t.ring[NET_RX]),
				 t.ring[NET_RX].avail_idx);
		put_buffer(1600);
		driver_kick(NET_RX);
		expect_packet(3000, i + 1000);
	}
	end_host();
}

static void test_stream_receive_reset(void **state)
{
	static uint8_t bytes[4 + 9000];

	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 10; i++)
		put_buffer(1536);
	make_stream_bytes(bytes, 9000, 1);
	peer_write(bytes, 4000);
	run_loop();
	driver_reset();
	/* The buffers are the driver's again: nothing may be written there. */
	mark_rx_data();
	peer_write(bytes + 4000, 4 + 5000);
	peer_send(200, 2);
	run_loop();
	expect_rx_data_untouched();
	driver_start(NET_F_MRG_RXBUF);
	put_buffer(1536);
	driver_kick(NET_RX);
	run_loop();
	expect_packet(200, 2);
	end_host();
}

/* 5.1.6.3.1: a receive buffer has room for a header at least. */
static void test_stream_useless_buffer(void **state)
{
	const struct ring_buffer readable = { GPA(RX_DATA), 1536, false };

	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	peer_send(100, 1);
	ring_add_chain(&t.ring[NET_RX], &readable, 1);
	driver_kick(NET_RX);
	run_loop();
	assert_int_equal(t.broken, 1);
	driver_reset();
	driver_start(NET_F_MRG_RXBUF);
	put_buffer(1536);
	driver_kick(NET_RX);
	expect_packet(100, 1);
	end_host();
}

/* Larger than all the buffers that the ring has: it is lost, no more. */
static void test_stream_larger_than_ring(void **state)
{
	(void)state;
	make_stream_with((struct net_options){ 0 });
	driver_start_sized(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX, 16);
	for (unsigned i = 0; i < 16; i++)
		put_buffer(1536);
	driver_kick(NET_RX);
	peer_send(30000, 1);
	peer_send(100, 2);
	run_loop();
	expect_packet(100, 2);
	assert_int_equal(t.net.in.dropped, 1);
	/* What lacks buffers for now waits for them. */
	peer_send(24000, 3);
	run_loop();
	expect_no_packet();
	put_buffer(1536);
	driver_kick(NET_RX);
	run_loop();
	expect_packet(24000, 3);
	end_host();
}

/* A driver that stops its receive queue has its buffers back. */
static void test_stream_stopped_queue(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	put_buffer(1536);
	put_buffer(1536);
	peer_send(2000, 1); /* both are taken */
	run_loop();
	expect_packet(2000, 1);
	put_buffer(1536);
	peer_send(2000, 2);
	run_loop();
	queue_stop(&t.net.device.queue[NET_RX]);
	mark_rx_data();
	driver_kick(NET_RX);
	peer_send(100, 3);
	run_loop();
	expect_rx_data_untouched();
	end_host();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_receive),
		cmocka_unit_test(test_stream_receive_merged),
		cmocka_unit_test(test_stream_receive_whole),
		cmocka_unit_test(test_stream_receive_pieces),
		cmocka_unit_test(test_stream_receive_starved),
		cmocka_unit_test(test_stream_receive_reset),
		cmocka_unit_test(test_stream_useless_buffer),
		cmocka_unit_test(test_stream_larger_than_ring),
		cmocka_unit_test(test_stream_stopped_queue),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
