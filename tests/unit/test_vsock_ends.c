/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* How streams of the vsock device end, by either side and in any state. */
#include "tests/unit/vsock_help.h"

static uint8_t pattern[1 << 20];

static void fill_pattern(void)
{
	uint32_t value = 12345;

	for (size_t i = 0; i < sizeof(pattern); i++) {
		value = value * 1664525u + 1013904223u;
		pattern[i] = (uint8_t)(value >> 24);
	}
}

static void test_guest_half_closes(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_data(PORT, GUEST, "last", 4);
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST, VSOCK_SHUT_SEND);
	host_gets_text(fd, "last");
	host_gets_eof(fd);
	host_say(fd, "answer");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_int_equal(got.len, 6);
	close(fd);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	expect_no_packet();
	assert_int_equal(vsock->conns.count, 0);
	close(listener);
}

static void test_host_half_closes(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	host_say(fd, "last");
	shutdown(fd, SHUT_WR);
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_SEND);
	guest_data(PORT, GUEST, "answer", 6);
	host_gets_text(fd, "answer");
	/* close() in the guest */
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST,
		 VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	expect_rst(PORT, GUEST);
	host_gets_eof(fd);
	assert_int_equal(vsock->conns.count, 0);
	close(fd);
	close(listener);
}

/* The guest will not read any more: the host's writes fail. */
static void test_guest_stops_reading(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST, VSOCK_SHUT_RCV);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	guest_data(PORT, GUEST, "still", 5);
	host_gets_text(fd, "still");
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST, VSOCK_SHUT_SEND);
	expect_rst(PORT, GUEST);
	host_gets_eof(fd);
	close(fd);
	close(listener);
}

/* The host will not read any more: the guest is told, and may be read on. */
static void test_host_stops_reading(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	shutdown(fd, SHUT_RD);
	guest_data(PORT, GUEST, "in vain", 7);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_RCV);
	host_say(fd, "hear me");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	close(fd);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	assert_int_equal(vsock->conns.count, 0);
	close(listener);
}

/* The host closes with data under way: all of it arrives before the end. */
static void test_host_closes_behind_data(void **state)
{
	const size_t total = 150000;
	size_t done = 0;
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	guest_alloc = 10000;
	fd = guest_connects(listener, GUEST);
	host_write(fd, pattern, total);
	close(fd);
	do {
		assert_true(run_ticks(SOON, packet_came));
		if (got.op == VSOCK_OP_RW) {
			assert_memory_equal(got_data, pattern + done, got.len);
			done += got.len;
		}
		guest_fwd = (uint32_t)done;
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	} while (got.op != VSOCK_OP_SHUTDOWN || !(got.flags & VSOCK_SHUT_SEND));
	assert_int_equal(done, total);
	/* And what the guest sends now is swallowed. */
	guest_data(PORT, GUEST, "late", 4);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	expect_no_packet();
	assert_int_equal(vsock->conns.count, 0);
	close(listener);
}

/* The guest closes with data under way to a reader that takes its time. */
static void close_behind_data(bool forgets)
{
	uint32_t sent = 0, fwd = 0;
	int listener = host_listen_on(PORT, 4), fd;

	guest_start();
	fd = guest_connects(listener, GUEST);
	for (; sent - fwd < VSOCK_BUFFER && sent < sizeof(pattern);) {
		guest_data(PORT, GUEST, pattern + sent, 1024);
		sent += 1024;
		while (packet_came())
			fwd = got.fwd_cnt;
	}
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST,
		 VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	expect_no_packet();
	/* Linux waits for 8 s; then it sends RST and may use the port again. */
	if (forgets) {
		guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
		close(guest_connects(listener, GUEST));
		expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	}
	host_gets(fd, pattern, sent);
	host_gets_eof(fd);
	if (!forgets)
		expect_rst(PORT, GUEST);
	else
		guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	assert_int_equal(vsock->conns.count, 0);
	close(fd);
	close(listener);
	guest_stop();
}

static void test_guest_closes_behind_data(void **state)
{
	(void)state;
	close_behind_data(false);
	close_behind_data(true);
}

/* The host closes without having read: that is no ordinary end. */
static void test_host_aborts(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_data(PORT, GUEST, "unread", 6);
	close(fd);
	expect_rst(PORT, GUEST);
	assert_int_equal(vsock->conns.count, 0);
	close(listener);
}

static void test_guest_aborts(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	host_gets_eof(fd);
	expect_no_packet();
	assert_int_equal(vsock->conns.count, 0);
	close(fd);
	close(listener);
}

/* A client that leaves before the guest answers, with and without data. */
static void test_client_leaves_early(void **state)
{
	(void)state;
	guest_start();
	for (int data = 0; data < 2; data++) {
		int fd = host_dial();

		host_say(fd, data ? "CONNECT 9\ndata" : "CONNECT 9\n");
		expect_request(9);
		close(fd);
		run_a_while();
		guest_op(VSOCK_OP_RESPONSE, got.src_port, 9, 0);
		if (data) {
			expect_packet(VSOCK_OP_RW, got.src_port, 9);
			assert_int_equal(got.len, 4);
			expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, 9);
			assert_int_equal(got.flags, VSOCK_SHUT_RCV);
		}
		expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, 9);
		assert_int_equal(got.flags, VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
		guest_op(VSOCK_OP_RST, got.src_port, 9, 0);
		assert_int_equal(vsock->conns.count, 0);
	}
}

/* -- a stream that ends inside mote ---------------------------------------- */

static int internal_end;

static int setup_internal(void **state)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		return -1;
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

static void test_internal_stream(void **state)
{
	(void)state;
	guest_start();
	guest_op(VSOCK_OP_REQUEST, INTERNAL, GUEST, 0);
	expect_packet(VSOCK_OP_RESPONSE, INTERNAL, GUEST);
	guest_data(INTERNAL, GUEST, "hello", 5);
	host_gets(internal_end, "hello", 5);
	host_say(internal_end, "back");
	expect_packet(VSOCK_OP_RW, INTERNAL, GUEST);
	assert_int_equal(got.len, 4);
	assert_memory_equal(got_data, "back", 4);
	/* There is one, and one only, also when that is over. */
	guest_op(VSOCK_OP_REQUEST, INTERNAL, GUEST + 1, 0);
	expect_rst(INTERNAL, GUEST + 1);
	guest_op(VSOCK_OP_RST, INTERNAL, GUEST, 0);
	guest_op(VSOCK_OP_REQUEST, INTERNAL, GUEST + 2, 0);
	expect_rst(INTERNAL, GUEST + 2);
}

/* Others are refused, as where nobody listens. */
static void test_internal_stream_alone(void **state)
{
	const struct vsock_options alone = {
		.file = { NULL, -1 },
		.cid = CID,
		.internal = true,
		.internal_port = INTERNAL,
		.internal_fd = dup(internal_fd),
	};

	(void)state;
	vsock_destroy(vsock);
	assert_int_equal(vsock_open(&vsock, &alone), 0);
	assert_int_equal(vsock_create(vsock, &loop), 0);
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	guest_op(VSOCK_OP_REQUEST, INTERNAL, GUEST, 0);
	expect_packet(VSOCK_OP_RESPONSE, INTERNAL, GUEST);
	for (unsigned i = 1; i < 100; i++) {
		guest_op(VSOCK_OP_REQUEST, PORT + i, GUEST, 0);
		expect_rst(PORT + i, GUEST);
	}
}

static void expect_counters(uint64_t open, uint64_t streams, uint64_t refused)
{
	uint64_t value[VSOCK_COUNTERS];

	vsock_counters(vsock, value);
	assert_int_equal(value[VSOCK_COUNT_OPEN], open);
	assert_int_equal(value[VSOCK_COUNT_STREAMS], streams);
	assert_int_equal(value[VSOCK_COUNT_REFUSED], refused);
}

/* What is a stream, what was one, and what never was. */
static void test_counters(void **state)
{
	int listener = host_listen_on(PORT, 4), fd, client;
	uint64_t value[VSOCK_COUNTERS];

	(void)state;
	guest_start();
	expect_counters(0, 0, 0);
	fd = guest_connects(listener, GUEST);
	expect_counters(1, 1, 0);
	guest_data(PORT, GUEST, "to the host", 11);
	host_gets_text(fd, "to the host");
	host_say(fd, "guest");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	vsock_counters(vsock, value);
	assert_int_equal(value[VSOCK_COUNT_TX_BYTES], 11);
	assert_int_equal(value[VSOCK_COUNT_RX_BYTES], 5);
	/* Nobody listens there; and a request that is not for this host. */
	guest_op(VSOCK_OP_REQUEST, PORT + 1, GUEST + 1, 0);
	expect_rst(PORT + 1, GUEST + 1);
	expect_counters(1, 1, 1);
	/* A client whose port the guest does not have, and one that goes. */
	client = host_dial();
	host_say(client, "CONNECT 80\n");
	expect_request(80);
	expect_counters(1, 1, 1);
	guest_op(VSOCK_OP_RST, got.src_port, 80, 0);
	host_gets_eof(client);
	expect_counters(1, 1, 2);
	close(client);
	client = host_dial();
	run_a_while();
	close(client);
	run_a_while();
	expect_counters(1, 1, 3);
	/* The guest breaks the rules: that ends a stream, and is no refusal. */
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	expect_counters(0, 1, 3);
	close(fd);
	/* A reset of the device ends all of them. */
	fd = guest_connects(listener, GUEST + 2);
	expect_counters(1, 2, 3);
	vsock->device.ops->cancel(&vsock->device, DEVICE_ALL_QUEUES);
	expect_counters(0, 2, 3);
	close(fd);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_guest_half_closes),
		vsock_test(test_counters),
		vsock_test(test_host_half_closes),
		vsock_test(test_guest_stops_reading),
		vsock_test(test_host_stops_reading),
		vsock_test(test_host_closes_behind_data),
		vsock_test(test_guest_closes_behind_data),
		vsock_test(test_host_aborts),
		vsock_test(test_guest_aborts),
		vsock_test(test_client_leaves_early),
		cmocka_unit_test_setup_teardown(test_internal_stream,
						setup_internal,
						teardown_internal),
		cmocka_unit_test_setup_teardown(test_internal_stream_alone,
						setup_internal,
						teardown_internal),
	};

	fill_pattern();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
