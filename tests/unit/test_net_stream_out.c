/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c virtio/limiter.c */
/* uses: virtio/queue.c cpu/loop/loop.c mem/ram.c mem/pool.c */
/* uses: tests/unit/net_help.c tests/unit/net_peer.c */
/*
 * virtio-net over a stream socket, from the guest: frames of all sizes, more
 * than the socket takes, and what a reset leaves half sent.
 */
#include <arpa/inet.h>
#include <fcntl.h>

#include "tests/unit/net_peer.h"

static void test_stream_send(void **state)
{
	(void)state;
	make_stream(0);
	for (unsigned i = 0; i < 20; i++)
		put_packet(NET_FRAME_MIN + i * 73, i, 1 + i % 3);
	peer_expect_nothing();
	driver_kick(NET_TX);
	expect_sent(20);
	assert_int_equal(t.interrupts, 1);
	for (unsigned i = 0; i < 20; i++)
		peer_expect(NET_FRAME_MIN + i * 73, i);
	peer_expect_nothing();
	assert_int_equal(t.net.out.count, 20);
	end_host();
}

static void test_stream_send_sizes(void **state)
{
	static const size_t good[] = { NET_FRAME_MIN, 60, 1514, 9014,
				       NET_FRAME_MAX };
	static const size_t bad[] = { 0, 1, NET_FRAME_MIN - 1,
				      NET_FRAME_MAX + 1 };
	const struct ring_buffer odd[] = {
		{ GPA(TX_DATA), NET_HEADER - 1, false }, /* no header */
		{ GPA(TX_DATA), 4096, true },		 /* nothing to send */
		{ GPA(0), 16 * MIB, false },
	};

	(void)state;
	make_stream(0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		put_packet(bad[i], 0, 1);
	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		ring_add_chain(&t.ring[NET_TX], &odd[i], 1);
	driver_kick(NET_TX);
	expect_sent(ARRAY_LEN(bad) + ARRAY_LEN(odd));
	assert_int_equal(t.net.out.dropped, ARRAY_LEN(bad) + ARRAY_LEN(odd));
	peer_expect_nothing();
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		put_packet(good[i], i, 2);
		driver_kick(NET_TX);
		peer_expect(good[i], i);
	}
	expect_sent(ARRAY_LEN(good));
	assert_int_equal(t.broken, 0);
	end_host();
}

/* A chain with as many buffers as a ring allows, and more than fit at once. */
static void test_stream_send_scattered(void **state)
{
	struct ring_buffer buffer[256];
	uint8_t bytes[256], got[4 + 256 - NET_HEADER];

	(void)state;
	make_stream_with((struct net_options){ 0 });
	driver_start_sized(FEATURE_INDIRECT_DESC, 256);
	make_frame(bytes, sizeof(bytes), 5);
	ram_write(&t.ram, GPA(TX_DATA), bytes, sizeof(bytes));
	for (unsigned i = 0; i < 256; i++)
		buffer[i] = (struct ring_buffer){ GPA(TX_DATA + i), 1, false };
	for (unsigned i = 0; i < 4; i++)
		ring_add_indirect(&t.ring[NET_TX], GPA(TX_DATA + (1 + i) * MIB),
				  buffer, 256);
	driver_kick(NET_TX);
	expect_sent(4);
	for (unsigned i = 0; i < 4; i++) {
		peer_read(got, sizeof(got));
		assert_int_equal(ntohl(*(uint32_t *)(void *)got), 244);
		assert_memory_equal(got + 4, bytes + NET_HEADER, 244);
	}
	end_host();
}

/*
 * That a packet has gone is seldom waited for: an interrupt for another one
 * that came says it, too, and without one it is said a little later.
 */
static void test_stream_sent_told_later(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX |
		    FEATURE_INDIRECT_DESC);
	put_buffer(2048);
	driver_kick(NET_RX);
	for (uint16_t i = 0; i < 2; i++) {
		t.interrupts = 0;
		ring_set_used_event(&t.ring[NET_TX], i);
		put_packet(100, i, 1);
		driver_kick(NET_TX);
		expect_sent(1);
		peer_expect(100, i);
		assert_int_equal(t.interrupts, 0);
		if (!i)
			peer_send(200, i);
		run_loop_for(100000000);
		assert_int_equal(t.interrupts, 1);
	}
	expect_packet(200, 0);
	/* Not to a driver that is gone. */
	ring_set_used_event(&t.ring[NET_TX], 2);
	t.net.sent.at_once = 0;
	put_packet(100, 2, 1);
	driver_kick(NET_TX);
	peer_expect(100, 2);
	driver_reset();
	run_loop_for(100000000);
	assert_int_equal(t.interrupts, 1);
	end_host();
}

/* More than the socket takes: the rest waits, in order and whole. */
static void test_stream_send_full(void **state)
{
	unsigned sent;

	(void)state;
	make_stream(FEATURE_EVENT_IDX);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000 - i, i, 1);
	driver_kick(NET_TX);
	sent = count_sent();
	assert_in_range(sent, 1, 39);
	assert_true(t.net.blocked);
	/* Kicks do not try again in vain; the socket's own event does. */
	driver_kick(NET_TX);
	run_loop();
	assert_int_equal(count_sent(), 0);
	for (unsigned i = 0; i < 40; i++)
		peer_expect(60000 - i, i);
	run_loop();
	expect_sent(40 - sent);
	peer_expect_nothing();
	put_packet(100, 99, 1);
	driver_kick(NET_TX);
	peer_expect(100, 99);
	end_host();
}

/* A budget has an end: others are served, and then it goes on. */
static void test_stream_send_budget(void **state)
{
	struct bystander bystander;

	(void)state;
	make_stream_with((struct net_options){ 0 });
	driver_start_sized(0, 256);
	bystander_add(&bystander);
	for (unsigned i = 0; i < 250; i++)
		put_packet(64, i, 1);
	driver_kick(NET_TX);
	assert_int_equal(t.net.out.count, NET_BUDGET);
	/* The rest needs no event: the loop comes back to it by itself. */
	assert_int_equal(loop_turn(&t.loop, -1), 2);
	assert_int_equal(bystander.out, NET_BUDGET);
	assert_int_equal(t.net.out.count, 250);
	assert_int_equal(loop_turn(&t.loop, 0), 0);
	expect_sent(250);
	for (unsigned i = 0; i < 250; i++)
		peer_expect(64, i);
	bystander_remove(&bystander);
	end_host();
}

static void skip_cut_frame(size_t len, size_t have, unsigned number)
{
	static uint8_t got[4 + NET_FRAME_MAX], wanted[4 + NET_FRAME_MAX];

	/* The beginning as it was, the rest zeros; together a frame. */
	make_stream_bytes(wanted, len, number);
	peer_read(got, 4 + len);
	assert_memory_equal(got, wanted, have);
	memset(wanted + have, 0, 4 + len - have);
	assert_memory_equal(got + have, wanted + have, 4 + len - have);
}

/* More than the socket takes: how many frames of it, and of the next one. */
static unsigned send_too_much(size_t *part)
{
	const struct net_stream *s = &t.net.backend.stream;

	make_stream(0);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	assert_in_range(s->out[s->sent].left, 1, 60003);
	*part = 60004 - s->out[s->sent].left;
	return (unsigned)t.net.out.count - s->frames + s->sent;
}

static void test_stream_send_reset(void **state)
{
	size_t gone;
	unsigned frame = send_too_much(&gone);

	(void)state;
	driver_reset();
	/* What was the driver's memory is not looked at any more. */
	memset(ram_span(&t.ram, GPA(TX_DATA), MIB), 0x55, MIB);
	driver_start(0);
	put_packet(500, 77, 1);
	for (unsigned i = 0; i < frame; i++)
		peer_expect(60000, i);
	skip_cut_frame(60000, gone, frame);
	driver_kick(NET_TX);
	peer_expect(500, 77);
	expect_sent(1);
	peer_expect_nothing();
	end_host();
}

/* A driver that stops its transmit queue has its memory back. */
static void test_stream_send_stopped(void **state)
{
	struct device *device = &t.net.device;
	size_t gone;
	unsigned frame = send_too_much(&gone);

	(void)state;
	device->ops->cancel(device, 1u << NET_TX);
	queue_stop(&device->queue[NET_TX]);
	memset(ram_span(&t.ram, GPA(TX_DATA), MIB), 0x55, MIB);
	for (unsigned i = 0; i < frame; i++)
		peer_expect(60000, i);
	run_loop();
	skip_cut_frame(60000, gone, frame);
	run_loop();
	peer_expect_nothing();
	end_host();
}

/* Cut within the prefix: the length still arrives as it was. */
static void test_stream_send_reset_in_prefix(void **state)
{
	static const uint8_t prefix[] = { 0, 0, 60000 >> 8, 60000 & 255 };
	struct net_stream *s = &t.net.backend.stream;

	(void)state;
	for (unsigned cut = 1; cut < 4; cut++) {
		make_stream(0);
		for (unsigned i = 0; i < 40; i++)
			put_packet(60000, i, 1);
		driver_kick(NET_TX);
		/* As if the socket had taken `cut` bytes of the next frame. */
		assert_true(s->sent + 1 < s->frames);
		s->sent++;
		s->first = 0;
		s->iov[0] =
			(struct iovec){ s->out[s->sent].prefix + cut, 4 - cut };
		s->out[s->sent].left -= cut;
		driver_reset();
		assert_int_equal(s->frames, 1);
		assert_int_equal(s->iov[0].iov_len, 4 - cut);
		assert_memory_equal(s->iov[0].iov_base, prefix + cut, 4 - cut);
		/* Behind it as much as it says, and no more. */
		assert_int_equal(s->end, 2);
		assert_int_equal(s->iov[1].iov_len, 60000);
		end_host();
	}
}

/* fd=0 is a descriptor like any other: standard input may be the socket. */
static void test_stream_descriptor_0(void **state)
{
	const int kept = dup(STDIN_FILENO);

	(void)state;
	close(STDIN_FILENO);
	make_stream(0);
	assert_int_equal(t.net.backend.fd, 0);
	put_packet(100, 1, 1);
	driver_kick(NET_TX);
	peer_expect(100, 1);
	expect_sent(1);
	put_buffer(2048);
	driver_kick(NET_RX);
	peer_send(200, 2);
	run_loop();
	expect_packet(200, 2);
	end_host();
	/* It was closed in the end. */
	assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
	if (kept >= 0) {
		dup2(kept, STDIN_FILENO);
		close(kept);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stream_send),
		cmocka_unit_test(test_stream_send_sizes),
		cmocka_unit_test(test_stream_send_scattered),
		cmocka_unit_test(test_stream_sent_told_later),
		cmocka_unit_test(test_stream_send_full),
		cmocka_unit_test(test_stream_send_budget),
		cmocka_unit_test(test_stream_send_reset),
		cmocka_unit_test(test_stream_send_stopped),
		cmocka_unit_test(test_stream_send_reset_in_prefix),
		cmocka_unit_test(test_stream_descriptor_0),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
