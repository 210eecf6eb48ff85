/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c virtio/limiter.c */
/* uses: virtio/queue.c cpu/loop/loop.c mem/ram.c mem/pool.c */
/* uses: tests/unit/net_help.c tests/unit/net_peer.c */
/*
 * virtio-net that is paused, saved, and goes on as another device, with another
 * connection, over the same RAM.
 */
#include <fcntl.h>

#include "mem/state.h"
#include "tests/unit/net_peer.h"
#include "tests/unit/unit.h"

#define STATE_LEN 8

static uint8_t saved[STATE_LEN];

static void save_net(void)
{
	struct state s = state_save(saved, sizeof(saved));

	net_state(&t.net, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(s.at, STATE_LEN);
}

/* NULL, or what is wrong. */
static const char *load_net(void)
{
	struct state s = state_load(saved, sizeof(saved));

	net_state(&t.net, &s);
	state_is_whole(&s);
	return s.wrong;
}

/* Where the driver's queues are. */
static void queues_of(struct queue_config config[NET_QUEUES])
{
	struct device *device = &t.net.device;

	for (unsigned i = 0; i < NET_QUEUES; i++) {
		const struct queue *q = &device->queue[i];

		config[i] = q->config;
		config[i].next_used = q->next_used;
		config[i].published = q->published;
		config[i].next_avail =
			(uint16_t)(q->next_avail -
				   device->ops->taken(device, i));
		/* Chains go back in order. */
		assert_int_equal(config[i].next_avail, config[i].next_used);
	}
}

static void open_stream(struct net_options options)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	peer_close();
	peer = ends[1];
	assert_int_equal(fcntl(peer, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	options.kind = NET_FD;
	options.file.fd = ends[0];
	net_destroy(&t.net);
	memset(&t.net, 0, sizeof(t.net));
	assert_int_equal(net_open(&t.net, &options, 0), 0);
	assert_int_equal(net_create(&t.net, &t.loop), 0);
}

/* The packet sockets of net_peer.c once more, behind a new device. */
static void become_tap(void)
{
	int ends[2];

	loop_remove(&t.loop, &t.net.source);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends),
		0);
	assert_int_equal(dup2(ends[0], t.net.backend.fd), t.net.backend.fd);
	assert_int_equal(dup2(ends[1], peer), peer);
	close(ends[0]);
	close(ends[1]);
	t.net.backend.ops = &net_tap_ops;
	t.net.backend.tap.header = NET_HEADER;
	t.net.backend.tap.mtu = 1500;
	assert_int_equal(loop_add(&t.loop, &t.net.source, EPOLLIN | EPOLLET),
			 0);
}

/* As mmio_pause and mmio_resume do. */
static void pause_net(void)
{
	assert_null(t.net.device.ops->pause);
	t.net.device.paused = true;
}

static void resume_net(void)
{
	t.net.device.paused = false;
	driver_kick(NET_RX);
	driver_kick(NET_TX);
}

/* The guest goes on with a new device and another peer. */
static void move_net(bool tap)
{
	struct queue_config config[NET_QUEUES];
	struct device *device = &t.net.device;
	uint64_t acked = device->acked;

	pause_net();
	queues_of(config);
	save_net();
	open_stream((struct net_options){ 0 });
	if (tap)
		become_tap();
	assert_null(load_net());
	device->acked = acked;
	for (unsigned i = 0; i < NET_QUEUES; i++)
		assert_int_equal(
			queue_start(&device->queue[i], &t.ram, &config[i]), 0);
	device->active = true;
	device->ops->activate(device);
	driver_kick(NET_RX);
	driver_kick(NET_TX);
}

/* -- packets from the guest ------------------------------------------------ */

/*
 * More than the socket takes, of which the peer has read so many. The new one
 * gets exactly those that the driver does not have back, each whole.
 */
static void test_net_moved_out(void **state)
{
	unsigned sent;

	(void)state;
	for (unsigned read = 0; read < 20; read++) {
		make_stream(0);
		for (unsigned i = 0; i < 40; i++)
			put_packet(60000 - i, i, 1);
		driver_kick(NET_TX);
		assert_true(t.net.blocked);
		for (unsigned i = 0; i < read; i++)
			peer_expect(60000 - i, i);
		if (read % 2)
			run_loop();
		sent = count_sent();
		assert_in_range(sent, read, 39);
		move_net(false);
		for (unsigned i = sent; i < 40; i++)
			peer_expect(60000 - i, i);
		run_loop();
		expect_sent(40 - sent);
		peer_expect_nothing();
		put_packet(100, 99, 1);
		driver_kick(NET_TX);
		peer_expect(100, 99);
		expect_sent(1);
		end_host();
	}
}

/* One that cannot be sent does not overtake those that wait. */
static void test_net_moved_with_a_bad_packet(void **state)
{
	uint32_t head = 0, written = 0;
	uint16_t heads[40];
	unsigned back = 0;

	(void)state;
	make_stream(0);
	for (unsigned i = 0; i < 40; i++)
		heads[i] = put_packet(i == 15 ? 3 : 60000 - i, i, 1);
	driver_kick(NET_TX);
	for (; ring_used(&t.ring[NET_TX], &head, &written); back++)
		assert_int_equal(head, heads[back]);
	assert_in_range(back, 1, 15);
	move_net(false);
	for (unsigned i = back; i < 40; i++)
		if (i != 15)
			peer_expect(60000 - i, i);
	run_loop();
	for (; ring_used(&t.ring[NET_TX], &head, &written); back++)
		assert_int_equal(head, heads[back]);
	assert_int_equal(back, 40);
	assert_int_equal(t.net.out.dropped, 1);
	peer_expect_nothing();
	end_host();
}

/* What a reset has left half sent is no driver's. */
static void test_net_moved_after_reset(void **state)
{
	(void)state;
	make_stream(0);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	assert_true(t.net.blocked);
	driver_reset();
	driver_start(0);
	put_packet(200, 1, 1);
	driver_kick(NET_TX);
	assert_int_equal(t.net.backend.stream.frames, 1);
	move_net(false);
	peer_expect(200, 1);
	peer_expect_nothing();
	expect_sent(1);
	end_host();
}

/* -- packets to the guest -------------------------------------------------- */

/* Half a frame has come; the buffers that it lies in are the next one's. */
static void test_net_moved_in(void **state)
{
	static uint8_t bytes[4 + 3000];
	const size_t len = make_stream_bytes(bytes, 3000, 7);

	(void)state;
	for (size_t cut = 0; cut < len; cut += 1 + cut / 2) {
		make_stream(NET_F_MRG_RXBUF);
		for (unsigned i = 0; i < 8; i++)
			put_buffer(1000);
		driver_kick(NET_RX);
		peer_send(500, 1);
		run_loop();
		expect_packet(500, 1);
		peer_write(bytes, cut);
		run_loop();
		move_net(false);
		peer_send(3000, 2);
		peer_send(2500, 3);
		run_loop();
		assert_int_equal(expect_packet(3000, 2), 4);
		assert_int_equal(expect_packet(2500, 3), 3);
		expect_no_packet();
		/* All are back; the next one needs more. */
		peer_send(100, 4);
		run_loop();
		expect_no_packet();
		put_buffer(1000);
		driver_kick(NET_RX);
		expect_packet(100, 4);
		end_host();
	}
}

static void tap_send_packet(size_t len, unsigned number)
{
	uint8_t bytes[NET_HEADER + 2000] = { 0 };

	make_frame(bytes + NET_HEADER, len, number);
	peer_write(bytes, NET_HEADER + len);
}

/* A tap takes buffers in advance, for the largest packet that may come. */
static void test_net_moved_tap(void **state)
{
	(void)state;
	for (unsigned before = 0; before < 6; before++) {
		make_packet_tap(NET_F_MRG_RXBUF);
		for (unsigned i = 0; i < 10; i++)
			put_buffer(400);
		driver_kick(NET_RX);
		for (unsigned i = 0; i < before; i++)
			tap_send_packet(300, i);
		run_loop();
		assert_true(t.net.rx.chains > 0);
		move_net(true);
		for (unsigned i = before; i < 6; i++)
			tap_send_packet(300, i);
		run_loop();
		for (unsigned i = 0; i < 6; i++)
			assert_int_equal(expect_packet(300, i), 1);
		expect_no_packet();
		/* The last four are there for it. */
		tap_send_packet(1500, 6);
		for (unsigned i = 0; i < 4; i++)
			put_buffer(400);
		driver_kick(NET_RX);
		run_loop();
		assert_int_equal(expect_packet(1500, 6), 4);
		put_packet(700, 8, 2);
		driver_kick(NET_TX);
		expect_sent(1);
		end_host();
	}
}

/* -- paused ---------------------------------------------------------------- */

static void test_net_paused(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 8; i++)
		put_buffer(2048);
	driver_kick(NET_RX);
	t.interrupts = 0;
	pause_net();
	peer_send(300, 1);
	put_packet(200, 2, 1);
	run_loop_for(20000000);
	driver_kick(NET_RX);
	driver_kick(NET_TX);
	run_loop();
	expect_no_packet();
	expect_sent(0);
	peer_expect_nothing();
	assert_int_equal(t.interrupts, 0);
	resume_net();
	expect_packet(300, 1);
	peer_expect(200, 2);
	expect_sent(1);
	assert_int_equal(t.interrupts, 2);
	end_host();
}

/* Neither what it waited for, nor an end of the pause, is lost. */
static void test_net_paused_full(void **state)
{
	unsigned sent;

	(void)state;
	make_stream(0);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	sent = count_sent();
	assert_true(t.net.blocked);
	pause_net();
	for (unsigned i = 0; i < sent; i++)
		peer_expect(60000, i);
	run_loop();
	assert_int_equal(count_sent(), 0);
	resume_net();
	for (unsigned i = sent; i < 40; i++)
		peer_expect(60000, i);
	run_loop();
	expect_sent(40 - sent);
	end_host();
}

/* An interrupt that is held back comes all the same. */
static void test_net_paused_interrupt(void **state)
{
	(void)state;
	make_stream(FEATURE_EVENT_IDX | FEATURE_INDIRECT_DESC);
	ring_set_used_event(&t.ring[NET_TX], 0);
	put_packet(100, 1, 1);
	driver_kick(NET_TX);
	expect_sent(1);
	assert_int_equal(t.interrupts, 0);
	pause_net();
	run_loop_for(20000000);
	resume_net();
	run_loop_for(20000000);
	assert_int_equal(t.interrupts, 1);
	end_host();
}

static void test_net_paused_reset(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	put_buffer(2048);
	driver_kick(NET_RX);
	put_packet(100, 1, 1);
	pause_net();
	driver_reset();
	driver_start(NET_F_MRG_RXBUF);
	put_buffer(2048);
	put_packet(100, 2, 1);
	peer_send(400, 3);
	driver_kick(NET_TX);
	run_loop();
	expect_no_packet();
	peer_expect_nothing();
	resume_net();
	expect_packet(400, 3);
	peer_expect(100, 2);
	expect_sent(1);
	end_host();
}

/* -- what is saved --------------------------------------------------------- */

static const uint8_t its_mac[] = { 0x02, 1, 2, 3, 4, 5 };

static void test_net_mac(void **state)
{
	static const struct net_options given = {
		.mac_text = "02:09:09:09:09:09",
		.mac = { 0x02, 9, 9, 9, 9, 9 },
	};
	struct net_options options = { .mac_text = "" };
	uint8_t fresh[NET_MAC_BYTES];

	(void)state;
	memcpy(options.mac, its_mac, sizeof(its_mac));
	make_stream_with(options);
	save_net();
	assert_memory_equal(saved, its_mac, sizeof(its_mac));
	/* It is kept, */
	open_stream((struct net_options){ 0 });
	assert_memory_not_equal(t.net.mac, its_mac, sizeof(its_mac));
	assert_null(load_net());
	assert_memory_equal(t.net.mac, its_mac, sizeof(its_mac));
	assert_memory_equal(t.net.device.config, its_mac, sizeof(its_mac));
	/* unless another one is asked for, */
	open_stream(given);
	assert_null(load_net());
	assert_memory_equal(t.net.mac, given.mac, sizeof(given.mac));
	assert_memory_equal(t.net.device.config, given.mac, sizeof(given.mac));
	/* or it has to be new. */
	open_stream((struct net_options){ 0 });
	memcpy(fresh, t.net.mac, sizeof(fresh));
	net_renew_mac(&t.net);
	assert_null(load_net());
	assert_memory_equal(t.net.mac, fresh, sizeof(fresh));
	assert_memory_equal(t.net.device.config, fresh, sizeof(fresh));
	end_host();
}

static void test_net_mtu(void **state)
{
	(void)state;
	make_stream_with((struct net_options){ .mtu = 9000 });
	save_net();
	open_stream((struct net_options){ .mtu = 1400 });
	assert_null(load_net());
	assert_int_equal(get_le16(t.net.device.config + 10), 9000);
	/* One that had none leaves the device what it says itself. */
	put_le16(saved + 6, 0);
	open_stream((struct net_options){ .mtu = 1400 });
	assert_null(load_net());
	assert_int_equal(get_le16(t.net.device.config + 10), 1400);
	/* A tap that carries less. */
	put_le16(saved + 6, 9000);
	open_stream((struct net_options){ 0 });
	become_tap();
	assert_null(load_net());
	expect_net_log("the guest's MTU is 9000 and the interface's 1500");
	put_le16(saved + 6, 1500);
	assert_null(load_net());
	end_host();
}

static void test_net_refused(void **state)
{
	uint8_t config[12];
	struct state s;

	(void)state;
	make_stream_with((struct net_options){ 0 });
	memcpy(config, t.net.device.config, sizeof(config));
	save_net();
	saved[1] ^= 0xff;
	for (size_t len = 0; len < STATE_LEN; len++) {
		s = state_load(saved, len);
		net_state(&t.net, &s);
		assert_string_equal(s.wrong, "it is too short");
		assert_memory_equal(t.net.device.config, config, 12);
	}
	saved[0] |= 1;
	assert_string_equal(load_net(),
			    "its address is not one of a single guest's");
	assert_memory_equal(t.net.device.config, config, 12);
	assert_memory_equal(t.net.mac, config, NET_MAC_BYTES);
	end_host();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net_moved_out),
		cmocka_unit_test(test_net_moved_with_a_bad_packet),
		cmocka_unit_test(test_net_moved_after_reset),
		cmocka_unit_test(test_net_moved_in),
		cmocka_unit_test(test_net_moved_tap),
		cmocka_unit_test(test_net_paused),
		cmocka_unit_test(test_net_paused_full),
		cmocka_unit_test(test_net_paused_interrupt),
		cmocka_unit_test(test_net_paused_reset),
		cmocka_unit_test(test_net_mac),
		cmocka_unit_test(test_net_mtu),
		cmocka_unit_test(test_net_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
