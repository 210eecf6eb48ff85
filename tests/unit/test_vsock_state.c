/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* vsock: paused, saved, and gone on with by another device over the same RAM.
 */
#include "mem/state.h"
#include "mem/util.h"
#include "tests/unit/vsock_help.h"

/* A record: CID, whether a reset is due, last port, number of streams, ports.
 */
#define AT_RESET 8
#define AT_PORT	 9
#define AT_COUNT 13
#define AT_PORTS 17

static uint8_t saved[AT_PORTS + 8 * (VSOCK_RSTS_ROOM + 1)];
static size_t saved_len;

static void save_vsock(void)
{
	struct state s = state_save(saved, sizeof(saved));

	vsock_state(vsock, &s);
	assert_true(state_is_whole(&s));
	saved_len = s.at;
	assert_int_equal(saved_len, AT_PORTS + 8 * get_le32(saved + AT_COUNT));
}

/* NULL, or what is wrong. */
static const char *load_vsock(void)
{
	struct state s = state_load(saved, saved_len);

	vsock_state(vsock, &s);
	state_is_whole(&s);
	return s.wrong;
}

static uint32_t saved_streams(void)
{
	return get_le32(saved + AT_COUNT);
}

/* As mmio_pause and mmio_resume do. */
static void pause_vsock(void)
{
	assert_null(vsock->device.ops->pause);
	assert_null(vsock->device.ops->taken);
	vsock->device.paused = true;
}

static void resume_vsock(void)
{
	vsock->device.paused = false;
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		guest_kick(i);
}

static struct queue_config config[VSOCK_QUEUES];

/* The guest is where it is; what comes next is a device that is not started. */
static void leave_vsock(unsigned cid)
{
	pause_vsock();
	for (unsigned i = 0; i < VSOCK_QUEUES; i++) {
		const struct queue *q = &vsock->device.queue[i];

		config[i] = q->config;
		config[i].next_avail = q->next_avail;
		config[i].next_used = q->next_used;
		config[i].published = q->published;
		/* Between turns it has none of the guest's chains. */
		assert_int_equal(q->next_avail, q->next_used);
		assert_int_equal(q->next_avail, q->published);
	}
	save_vsock();
	close_vsock();
	open_vsock(cid);
}

static void enter_vsock(void)
{
	assert_null(load_vsock());
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		assert_int_equal(
			queue_start(&vsock->device.queue[i], &ram, &config[i]),
			0);
	vsock->device.active = true;
	vsock->device.ops->activate(&vsock->device);
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		guest_kick(i);
}

static void move_vsock(void)
{
	leave_vsock(CID);
	enter_vsock();
}

/* -- streams --------------------------------------------------------------- */

/* Each stream that the guest knows gets one RST, whatever its state. */
static void test_moved_streams(void **state)
{
	int listener = host_listen_on(PORT, 9), fd[4];
	uint32_t first, requested;

	(void)state;
	guest_start();
	fd[0] = host_connects(80);
	first = got.src_port;
	fd[1] = guest_connects(listener, GUEST);
	/* One that the guest has not answered, one that waits for its line. */
	fd[2] = host_dial();
	host_say(fd[2], "CONNECT 81\n");
	expect_request(81);
	requested = got.src_port;
	fd[3] = host_dial();
	host_say(fd[3], "CONN");
	/* One that waits for the broker. */
	mock_broker_stop();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 1, 0);
	run_a_while();
	move_vsock();
	assert_int_equal(saved_streams(), 4);
	for (unsigned i = 0; i < 4; i++)
		host_gets_eof(fd[i]);
	expect_rst(first, 80);
	expect_rst(PORT, GUEST);
	expect_rst(requested, 81);
	expect_rst(PORT, GUEST + 1);
	expect_no_packet();
	/* Ports go on, and all works. */
	close(host_connects(80));
	assert_int_equal(got.src_port, requested + 1);
	expect_packet(VSOCK_OP_SHUTDOWN, requested + 1, 80);
	close(guest_connects(listener, GUEST));
	for (unsigned i = 0; i < 4; i++)
		close(fd[i]);
	close(listener);
}

/* What it was to be told, and had no buffers for, it is told later. */
static void test_moved_rsts(void **state)
{
	int fd[2];

	(void)state;
	guest_start();
	fd[0] = host_connects(80);
	/* All buffers are full of answers that the guest does not look at. */
	for (unsigned i = 0; i < RX_SIZE / 2 + 3; i++) {
		struct vsock_packet packet =
			guest_packet(VSOCK_OP_RW, 9, 1000 + i);

		guest_send_raw(&packet, NULL, 0);
	}
	assert_int_equal(vsock->conns.rst_count, 3);
	/* Killed by what it does; and not yet known to the guest. */
	guest_op(VSOCK_OP_INVALID, got.src_port, 80, 0);
	fd[1] = host_dial();
	host_say(fd[1], "CONNECT 81\n");
	run_a_while();
	assert_int_equal(vsock->conns.count, 2);
	leave_vsock(CID);
	assert_int_equal(saved_streams(), 4);
	enter_vsock();
	for (unsigned i = 0; i < RX_SIZE / 2; i++)
		expect_rst(9, 1000 + i);
	expect_rst(got.src_port = get_le32(saved + AT_PORTS), 80);
	for (unsigned i = RX_SIZE / 2; i < RX_SIZE / 2 + 3; i++)
		expect_rst(9, 1000 + i);
	expect_no_packet();
	close(fd[0]);
	close(fd[1]);
}

/* An answer in another's name is no stream: it is not worth keeping. */
static void test_moved_strangers(void **state)
{
	struct vsock_packet packet;

	(void)state;
	guest_start();
	for (unsigned i = 0; i < RX_SIZE / 2 + 2; i++) {
		packet = guest_packet(VSOCK_OP_RW, 9, 1000 + i);
		if (i == RX_SIZE / 2)
			packet.dst_cid = 99;
		if (i == RX_SIZE / 2 + 1)
			packet.type = 7;
		guest_send_raw(&packet, NULL, 0);
	}
	assert_int_equal(vsock->conns.rst_count, 2);
	leave_vsock(CID);
	assert_int_equal(saved_streams(), 0);
}

/*
 * What the guest had sent and the device not seen: data of a stream that is no
 * more, and a new stream, which is begun.
 */
static void test_moved_packets(void **state)
{
	int listener = host_listen_on(PORT, 9), fd;
	struct vsock_packet packet;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	pause_vsock();
	packet = guest_packet(VSOCK_OP_RW, PORT, GUEST);
	packet.len = 5;
	guest_queue_raw(&packet, "hello", 5);
	packet = guest_packet(VSOCK_OP_REQUEST, PORT, GUEST + 1);
	guest_queue_raw(&packet, NULL, 0);
	guest_kick(VSOCK_TX);
	assert_int_equal(guest_sent(), 0);
	move_vsock();
	assert_int_equal(guest_sent(), 2);
	expect_rst(PORT, GUEST);
	expect_rst(PORT, GUEST);
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST + 1);
	close(fd);
	fd = accept(listener, NULL, NULL);
	guest_data(PORT, GUEST + 1, "once", 4);
	host_gets_text(fd, "once");
	close(fd);
	close(listener);
}

static void put_ports(uint32_t count)
{
	put_le32(saved + AT_COUNT, count);
	for (uint32_t i = 0; i < count; i++) {
		put_le32(saved + AT_PORTS + (size_t)8 * i, i);
		put_le32(saved + AT_PORTS + (size_t)8 * i + 4, ~i);
	}
	saved_len = AT_PORTS + (size_t)8 * count;
}

/* As many as there can be, also those of the one before that nobody took. */
static void test_moved_many(void **state)
{
	(void)state;
	guest_start();
	leave_vsock(CID);
	put_ports(VSOCK_RSTS_ROOM);
	enter_vsock();
	for (uint32_t i = 0; i < 1000; i++)
		expect_rst(i, ~i);
	leave_vsock(CID);
	/* Those that lie in the guest's buffers are not saved. */
	assert_int_equal(saved_streams(), VSOCK_RSTS_ROOM - 1000 - RX_SIZE / 2);
	enter_vsock();
	for (uint32_t i = 1000; i < VSOCK_RSTS_ROOM; i++)
		expect_rst(i, ~i);
	expect_no_packet();
	/* From now on the limit is what it was. */
	guest_withhold();
	for (unsigned i = 0; i < RX_SIZE / 2 + VSOCK_RSTS_MAX + 9; i++)
		guest_op(VSOCK_OP_RW, 9, i, 0);
	assert_int_equal(vsock->conns.rst_count, VSOCK_RSTS_MAX);
}

/* -- the CID --------------------------------------------------------------- */

static void offer_event(void)
{
	const struct ring_buffer buffer = { GPA(EV_DATA), 4, true };

	ram_write(&ram, GPA(EV_DATA), "none", 4);
	ring_add_chain(&ev, &buffer, 1);
	guest_kick(VSOCK_EVENT);
}

static bool event_came(void)
{
	uint32_t head = 0, written = 0;
	uint8_t event[4];

	if (!ring_used(&ev, &head, &written))
		return false;
	assert_int_equal(written, 4);
	ram_read(&ram, event, GPA(EV_DATA), 4);
	assert_int_equal(get_le32(event), 0);
	return true;
}

static void test_moved_cid(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(80);
	/* The same: no event. */
	offer_event();
	move_vsock();
	assert_false(event_came());
	expect_rst(get_le32(saved + AT_PORTS), 80);
	close(fd);
	/* Another one; the streams are those of the old one. */
	fd = host_connects(80);
	leave_vsock(CID + 1);
	assert_int_equal(get_le64(saved), CID);
	enter_vsock();
	assert_int_equal(get_le64(vsock->device.config), CID + 1);
	assert_true(event_came());
	expect_rst(get_le32(saved + AT_PORTS), 80);
	close(fd);
	/* Without a buffer it comes later, from whom it may be. */
	leave_vsock(CID);
	enter_vsock();
	leave_vsock(CID);
	assert_int_equal(saved[AT_RESET], 1);
	enter_vsock();
	assert_false(event_came());
	offer_event();
	assert_true(event_came());
	offer_event();
	assert_false(event_came());
	leave_vsock(CID);
	assert_int_equal(saved[AT_RESET], 0);
}

/* An event buffer of three bytes. */
static void test_moved_event_refused(void **state)
{
	(void)state;
	guest_start();
	ring_add_chain(&ev, &(struct ring_buffer){ GPA(EV_DATA), 3, true }, 1);
	leave_vsock(CID + 1);
	enter_vsock();
	assert_int_equal(breaks, 1);
	assert_string_equal(broken_why,
			    "an event buffer has no room for an event");
}

/* -- paused ---------------------------------------------------------------- */

static void test_paused(void **state)
{
	int listener = host_listen_on(PORT, 9), fd[2];

	(void)state;
	guest_start();
	fd[0] = guest_connects(listener, GUEST);
	interrupts = 0;
	pause_vsock();
	host_say(fd[0], "down");
	fd[1] = host_dial();
	host_say(fd[1], "CONNECT 80\n");
	guest_data(PORT, GUEST, "up", 2);
	run_a_while();
	assert_false(packet_came());
	assert_int_equal(guest_sent(), 0);
	assert_int_equal(interrupts, 0);
	ring_set_used_event(&rx, rx.used_idx);
	resume_vsock();
	assert_int_equal(guest_sent(), 1);
	host_gets_text(fd[0], "up");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_memory_equal(got_data, "down", 4);
	expect_request(80);
	assert_true(interrupts > 0);
	close(fd[0]);
	close(fd[1]);
	close(listener);
}

static void test_paused_reset(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(80);
	pause_vsock();
	guest_stop();
	host_gets_eof(fd);
	close(fd);
	guest_start();
	fd = host_dial();
	host_say(fd, "CONNECT 80\n");
	guest_op(VSOCK_OP_RW, 9, 9, 0);
	run_a_while();
	assert_false(packet_came());
	resume_vsock();
	expect_rst(9, 9);
	expect_request(80);
	close(fd);
}

/* -- the internal stream -------------------------------------------------- */

static int internal_end;

static int setup_internal(void **state)
{
	int pair[2];

	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	internal_end = pair[0];
	internal_fd = pair[1];
	return setup(state);
}

static int teardown_internal(void **state)
{
	close(internal_end);
	close(internal_fd);
	internal_fd = -1;
	return teardown(state);
}

static void connect_inside(uint32_t port)
{
	guest_op(VSOCK_OP_REQUEST, INTERNAL, port, 0);
	expect_packet(VSOCK_OP_RESPONSE, INTERNAL, port);
}

/* After a restore it is the new device's own socket that is taken. */
static void test_internal_moved(void **state)
{
	(void)state;
	guest_start();
	connect_inside(1);
	move_vsock();
	expect_rst(INTERNAL, 1);
	connect_inside(2);
	guest_data(INTERNAL, 2, "two", 3);
	host_gets_text(internal_end, "two");
}

/* -- what is refused ------------------------------------------------------ */

static const struct {
	unsigned at;
	uint64_t value;
	unsigned len;
	const char *wrong;
} bad_vsocks[] = {
	{ 0, 2, 8, "its CID is impossible" },
	{ 0, 0xffffffff, 8, "its CID is impossible" },
	{ 0, 1ULL << 32 | 7, 8, "its CID is impossible" },
	{ AT_RESET, 2, 1, "a flag is neither 0 nor 1" },
	{ AT_COUNT, 3, 4, "it is too short" },
	{ AT_COUNT, 1, 4, "it is too long" },
	{ AT_COUNT, VSOCK_RSTS_ROOM, 4, "it is too short" },
	{ AT_COUNT, VSOCK_RSTS_ROOM + 1, 4,
	  "it had more streams than there can be" },
	{ AT_COUNT, UINT32_MAX, 4, "it had more streams than there can be" },
};

static void test_vsock_refused(void **state)
{
	uint8_t good[AT_PORTS + 16], bytes[8];
	struct state s;

	(void)state;
	guest_start();
	leave_vsock(CID);
	put_ports(2);
	put_le32(saved + AT_PORT, 5);
	memcpy(good, saved, sizeof(good));
	for (size_t i = 0; i < ARRAY_LEN(bad_vsocks); i++) {
		put_le64(bytes, bad_vsocks[i].value);
		memcpy(saved, good, sizeof(good));
		memcpy(saved + bad_vsocks[i].at, bytes, bad_vsocks[i].len);
		assert_string_equal(load_vsock(), bad_vsocks[i].wrong);
	}
	for (size_t len = 0; len < sizeof(good); len++) {
		s = state_load(good, len);
		vsock_state(vsock, &s);
		assert_string_equal(s.wrong, "it is too short");
		assert_int_equal(vsock->conns.rst_count, 0);
	}
	put_ports(VSOCK_RSTS_ROOM + 1);
	assert_string_equal(load_vsock(),
			    "it had more streams than there can be");
	assert_false(vsock->event_due);
}

int main(void)
{
#define INSIDE(test)                                                           \
	cmocka_unit_test_setup_teardown(test, setup_internal, teardown_internal)
	const struct CMUnitTest tests[] = {
		vsock_test(test_moved_streams),
		vsock_test(test_moved_rsts),
		vsock_test(test_moved_strangers),
		vsock_test(test_moved_packets),
		vsock_test(test_moved_many),
		vsock_test(test_moved_cid),
		vsock_test(test_moved_event_refused),
		vsock_test(test_paused),
		vsock_test(test_paused_reset),
		INSIDE(test_internal_moved),
		vsock_test(test_vsock_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
