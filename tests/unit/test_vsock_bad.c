/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* The vsock device and guests that misbehave, or reset it. */
#include "tests/unit/vsock_help.h"

static uint8_t bytes[VSOCK_BUFFER + 1];

/* -- packets -------------------------------------------------------------- */

/* With no connection, with another's, and with what never was one. */
static void test_answered_by_rst(void **state)
{
	static const struct bad {
		uint64_t src_cid, dst_cid;
		uint16_t type, op;
	} bad[] = {
		{ CID, 2, 1, VSOCK_OP_INVALID },
		{ CID, 2, 1, VSOCK_OP_RESPONSE },
		{ CID, 2, 1, VSOCK_OP_SHUTDOWN },
		{ CID, 2, 1, VSOCK_OP_RW },
		{ CID, 2, 1, VSOCK_OP_CREDIT_UPDATE },
		{ CID, 2, 1, VSOCK_OP_CREDIT_REQUEST },
		{ CID, 2, 1, 8 },
		{ CID, 2, 1, 0xffff },
		{ CID, 2, 0, VSOCK_OP_REQUEST }, /* type */
		{ CID, 2, 2, VSOCK_OP_REQUEST },
		{ CID, 2, 0xffff, VSOCK_OP_RW },
		{ CID, 0, 1, VSOCK_OP_REQUEST }, /* to whom */
		{ CID, 1, 1, VSOCK_OP_REQUEST },
		{ CID, CID, 1, VSOCK_OP_REQUEST },
		{ CID, 1ULL << 32 | 2, 1, VSOCK_OP_REQUEST },
		{ CID, UINT64_MAX, 1, VSOCK_OP_RW },
		{ CID + 1, 2, 1, VSOCK_OP_REQUEST }, /* from whom */
		{ 1ULL << 32 | CID, 2, 1, VSOCK_OP_REQUEST },
		{ 0, 2, 1, VSOCK_OP_RW },
	};
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST + 1);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct vsock_packet packet =
			guest_packet((enum vsock_op)bad[i].op, PORT, GUEST);

		packet.src_cid = bad[i].src_cid;
		packet.dst_cid = bad[i].dst_cid;
		packet.type = bad[i].type;
		guest_send_raw(&packet, NULL, 0);
		expect_rst(PORT, GUEST);
		assert_int_equal(got.type, bad[i].type);
		assert_true(got.src_cid == bad[i].dst_cid);
		/* RST itself is never answered. */
		packet.op = VSOCK_OP_RST;
		guest_send_raw(&packet, NULL, 0);
	}
	expect_no_packet();
	guest_data(PORT, GUEST + 1, "well", 4);
	host_gets_text(fd, "well");
	assert_int_equal(breaks, 0);
	close(fd);
	close(listener);
}

/* What ends a connection that is open: by the operation, on a good one. */
static void test_breaches(void **state)
{
	static const struct breach {
		uint32_t len, real;
		uint16_t op;
		bool after_send; /* after SHUTDOWN (SEND) */
	} breaches[] = {
		{ 0, 0, VSOCK_OP_INVALID, false },
		{ 0, 0, VSOCK_OP_REQUEST, false },
		{ 0, 0, VSOCK_OP_RESPONSE, false },
		{ 0, 0, 8, false },
		{ 2, 1, VSOCK_OP_RW, false }, /* longer than its buffers */
		{ UINT32_MAX, 100, VSOCK_OP_RW, false },
		{ 1, 0, VSOCK_OP_CREDIT_UPDATE, false },
		{ 1, 1, VSOCK_OP_RW, true },
	};
	int listener = host_listen_on(PORT, 4), fd, other;

	(void)state;
	guest_start();
	other = guest_connects(listener, GUEST + 1);
	for (size_t i = 0; i < ARRAY_LEN(breaches); i++) {
		struct vsock_packet packet;

		fd = guest_connects(listener, GUEST);
		if (breaches[i].after_send)
			guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST,
				 VSOCK_SHUT_SEND);
		packet = guest_packet((enum vsock_op)breaches[i].op, PORT,
				      GUEST);
		packet.len = breaches[i].len;
		guest_send_raw(&packet, bytes, breaches[i].real);
		expect_rst(PORT, GUEST);
		host_gets_eof(fd);
		assert_int_equal(vsock->conns.count, 1);
		close(fd);
	}
	guest_data(PORT, GUEST + 1, "well", 4);
	host_gets_text(other, "well");
	close(other);
	close(listener);
}

/* What was to be said before is not said behind the RST. */
static void test_breach_is_the_last_word(void **state)
{
	int listener = host_listen_on(PORT, 4);
	const unsigned buffers = RX_SIZE / rx_descs();

	(void)state;
	guest_start();
	close(guest_connects(listener, GUEST));
	/* So many RSTs that there is no buffer for the SHUTDOWN. */
	for (unsigned i = 0; i < buffers; i++)
		guest_op(VSOCK_OP_RW, PORT, GUEST + 1 + i, 0);
	run_a_while();
	guest_op(VSOCK_OP_INVALID, PORT, GUEST, 0);
	for (unsigned i = 0; i < buffers; i++)
		expect_rst(PORT, GUEST + 1 + i);
	expect_rst(PORT, GUEST);
	expect_no_packet();
	close(listener);
}

/* More than it was told that there is room for. */
static void test_too_much_data(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;
	uint32_t sent = 0;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	do {
		guest_data(PORT, GUEST, bytes, 65536);
		sent += 65536;
		run_ticks(1, NULL);
		while (packet_came() && got.op == VSOCK_OP_CREDIT_UPDATE)
			;
	} while (got.op != VSOCK_OP_RST && sent < 4 * VSOCK_BUFFER);
	assert_int_equal(got.op, VSOCK_OP_RST);
	assert_true(sent > VSOCK_BUFFER);
	assert_int_equal(vsock->conns.count, 0);
	/* In one packet. */
	close(fd);
	close(guest_connects(listener, GUEST));
	close(listener);
}

static void test_short_packets(void **state)
{
	uint32_t head = 0, written = 0;

	(void)state;
	guest_start();
	for (uint32_t len = 1; len < HEADER; len++) {
		struct ring_buffer buffer = { GPA(TX_DATA), len, false };

		ring_add_chain(&tx, &buffer, 1);
		guest_kick(VSOCK_TX);
		assert_true(ring_used(&tx, &head, &written));
	}
	/* Nothing to read at all. */
	ring_add_chain(&tx, &(struct ring_buffer){ GPA(TX_DATA), 4096, true },
		       1);
	guest_kick(VSOCK_TX);
	assert_true(ring_used(&tx, &head, &written));
	assert_int_equal(written, 0);
	expect_no_packet();
	assert_int_equal(breaks, 0);
}

/* Whatever a guest says of its credit, it gets what its buffers hold. */
static void test_strange_credit(void **state)
{
	static const uint32_t strange[][2] = {
		{ 0, 1 },	 { 0, UINT32_MAX },	   { UINT32_MAX, 0 },
		{ 1, 1u << 31 }, { UINT32_MAX, 1u << 31 }, { 0, 0 },
	};
	int listener = host_listen_on(PORT, 4), fd, other;

	(void)state;
	guest_start();
	other = guest_connects(listener, GUEST + 1);
	fd = guest_connects(listener, GUEST);
	host_write(fd, bytes, 100000);
	for (unsigned i = 0; i < 60; i++) {
		guest_alloc = strange[i % ARRAY_LEN(strange)][0];
		guest_fwd = strange[i % ARRAY_LEN(strange)][1];
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
		run_ticks(1, NULL);
		while (packet_came())
			assert_int_not_equal(got.op, VSOCK_OP_RST);
	}
	guest_alloc = WINDOW;
	guest_fwd = 0;
	guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST + 1, 0);
	host_write(other, "well", 4);
	expect_packet(VSOCK_OP_RW, PORT, GUEST + 1);
	close(fd);
	close(other);
	close(listener);
}

/* RSTs for a guest that takes none: a bounded number is kept. */
static void test_flood(void **state)
{
	unsigned rsts = 0;
	uint32_t head = 0, written = 0;

	(void)state;
	guest_start();
	for (unsigned i = 0; i < 3 * VSOCK_RSTS_MAX; i++)
		guest_op(VSOCK_OP_RW, PORT, i, 0);
	assert_int_equal(vsock->conns.rst_count, VSOCK_RSTS_MAX);
	for (; run_ticks(5, packet_came); rsts++)
		assert_int_equal(got.op, VSOCK_OP_RST);
	assert_int_equal(rsts, VSOCK_RSTS_MAX + RX_SIZE / rx_descs());
	assert_false(ring_used(&rx, &head, &written));
	assert_int_equal(breaks, 0);
}

/* One at a time they need the place of one, not in turn that of all. */
static void test_rsts_one_by_one(void **state)
{
	(void)state;
	guest_start();
	for (unsigned i = 0; i < 100; i++) {
		guest_op(VSOCK_OP_RW, PORT, i, 0);
		expect_rst(PORT, i);
	}
	assert_int_equal(vsock->conns.rst[1].op, VSOCK_OP_INVALID);
}

/* -- rings ---------------------------------------------------------------- */

/* Broken: whoever is connected is cut off; after a reset all is well again. */
static void expect_broken_and_mend(int fd, const char *why)
{
	assert_int_equal(breaks, 1);
	assert_non_null(strstr(broken_why, why));
	host_gets_eof(fd);
	close(fd);
	assert_int_equal(vsock->conns.count, 0);
	guest_stop();
	guest_start();
	close(host_connects(PORT));
	assert_int_equal(breaks, 1);
}

static void test_bad_receive_ring(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(PORT);
	/* The ring turns bad behind the buffers that are there. */
	while (rx.avail_idx % RX_SIZE)
		ring_offer(&rx, RX_SIZE);
	for (unsigned i = 0; i < 100 && !breaks; i++)
		guest_op(VSOCK_OP_RW, PORT, i, 0);
	expect_broken_and_mend(fd, "receive ring");
}

static void test_bad_transmit_ring(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(PORT);
	ring_put16(&tx, gpa_add(tx.avail, 2), 0x8000);
	guest_kick(VSOCK_TX);
	expect_broken_and_mend(fd, "transmit ring");
}

static void test_small_receive_buffers(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(PORT);
	while (rx.avail_idx % RX_SIZE)
		ring_add_chain(
			&rx,
			&(struct ring_buffer){ GPA(RX_DATA), HEADER, true }, 1);
	for (unsigned i = 0; i < 100 && !breaks; i++)
		guest_op(VSOCK_OP_RW, PORT, i, 0);
	expect_broken_and_mend(fd, "no room for data");
}

/* -- resets --------------------------------------------------------------- */

static void test_reset(void **state)
{
	int listener = host_listen_on(PORT, 4), fd[3];

	(void)state;
	for (int round = 0; round < 3; round++) {
		guest_start();
		fd[0] = host_connects(PORT);
		fd[1] = guest_connects(listener, GUEST);
		fd[2] = host_dial();
		host_say(fd[2], "CONNECT");
		host_say(fd[0], "unread");
		guest_data(PORT, GUEST, "last", 4);
		guest_stop();
		host_gets_eof(fd[0]);
		host_gets_text(fd[1], "last");
		host_gets_eof(fd[1]);
		for (int i = 0; i < 3; i++)
			close(fd[i]);
		assert_int_equal(vsock->conns.count, 0);
		run_a_while();
	}
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_answered_by_rst),
		vsock_test(test_breaches),
		vsock_test(test_breach_is_the_last_word),
		vsock_test(test_too_much_data),
		vsock_test(test_short_packets),
		vsock_test(test_strange_credit),
		vsock_test(test_flood),
		vsock_test(test_rsts_one_by_one),
		vsock_test(test_bad_receive_ring),
		vsock_test(test_bad_transmit_ring),
		vsock_test(test_small_receive_buffers),
		vsock_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
