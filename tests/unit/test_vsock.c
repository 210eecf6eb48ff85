/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* How streams of the vsock device begin, from either side. */
#include "tests/unit/vsock_help.h"

static void test_host_connects(void **state)
{
	uint32_t first, second;
	int a, b;

	(void)state;
	guest_start();
	a = host_connects(PORT);
	first = got.src_port;
	assert_int_equal(got.src_cid, 2);
	assert_int_equal(got.type, 1);
	assert_int_equal(got.buf_alloc, VSOCK_BUFFER);
	assert_in_range(first, 1u << 30, (1u << 31) - 1);
	b = host_connects(PORT);
	second = got.src_port;
	assert_int_not_equal(first, second);

	guest_data(first, PORT, "to a", 4);
	guest_data(second, PORT, "to b", 4);
	host_gets_text(b, "to b");
	host_gets_text(a, "to a");
	host_say(a, "from a");
	expect_packet(VSOCK_OP_RW, first, PORT);
	assert_memory_equal(got_data, "from a", 6);
	assert_int_equal(got.len, 6);
	assert_int_equal(got.fwd_cnt, 4);
	host_say(b, "from b!");
	expect_packet(VSOCK_OP_RW, second, PORT);
	assert_int_equal(got.len, 7);
	close(a);
	close(b);
}

/* What comes behind the line, in the same write even, is for the guest. */
static void test_data_behind_command(void **state)
{
	static const char *const lines[] = {
		"CONNECT 77\n",	     "connect 77\n",	"Connect 77\r\n",
		"  CONNECT  77  \n", "CONNECT\t77 x\n", "CONNECT 0000077\n",
	};

	(void)state;
	guest_start();
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		char text[64];
		int fd = host_dial();

		snprintf(text, sizeof(text), "%sand\nmore", lines[i]);
		host_say(fd, text);
		expect_request(77);
		expect_no_packet();
		guest_op(VSOCK_OP_RESPONSE, got.src_port, 77, 0);
		snprintf(text, sizeof(text), "OK %u\n", got.src_port);
		host_gets_text(fd, text);
		expect_packet(VSOCK_OP_RW, got.src_port, 77);
		assert_int_equal(got.len, 8);
		assert_memory_equal(got_data, "and\nmore", 8);
		close(fd);
		expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, 77);
		guest_op(VSOCK_OP_RST, got.src_port, 77, 0);
	}
	assert_int_equal(vsock->conns.count, 0);
}

/* In as many pieces as it has bytes; others do not wait for it. */
static void test_slow_command(void **state)
{
	static const char line[] = "CONNECT 4294967295\n";
	int fd, other;

	(void)state;
	guest_start();
	fd = host_dial();
	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		host_write(fd, line + i, 1);
		run_a_while();
		if (i == 9) {
			other = host_connects(PORT);
			close(other);
			expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, PORT);
			guest_op(VSOCK_OP_RST, got.src_port, PORT, 0);
		}
	}
	expect_request(UINT32_MAX);
	close(fd);
}

static void test_bad_commands(void **state)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT -1\n",
		"CONNECT 12x\n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999999999999\n",
		"CONNECTED 12\n",
		"GET / HTTP/1.1\r\n",
		"CONNECT                               12\n",
		"\xff\xfe\xfd\n",
		"0123456789012345678901234567890123456789",
	};

	(void)state;
	guest_start();
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int fd = host_dial();

		host_say(fd, lines[i]);
		host_gets_eof(fd);
		close(fd);
	}
	/* A zero in the line; and whoever leaves at any place in it. */
	for (size_t i = 0; i <= 11; i++) {
		int fd = host_dial();

		host_write(fd, "CONNECT 1\0002\n", i);
		run_a_while();
		close(fd);
	}
	run_a_while();
	expect_no_packet();
	assert_int_equal(vsock->conns.count, 0);
}

static void test_guest_refuses(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_dial();
	host_say(fd, "CONNECT 9\n");
	expect_request(9);
	guest_op(VSOCK_OP_RST, got.src_port, 9, 0);
	host_gets_eof(fd);
	assert_int_equal(vsock->conns.count, 0);
	close(fd);
}

/* Clients that come before the driver does wait for it. */
static void test_before_the_driver(void **state)
{
	int fd;

	(void)state;
	fd = host_dial();
	host_say(fd, "CONNECT 9\n");
	run_a_while();
	guest_start();
	expect_request(9);
	close(fd);
}

static void test_guest_connects(void **state)
{
	int listener = host_listen_on(PORT, 4), a, b;

	(void)state;
	guest_start();
	a = guest_connects(listener, GUEST);
	b = guest_connects(listener, GUEST + 1);
	guest_data(PORT, GUEST + 1, "bbb", 3);
	guest_data(PORT, GUEST, "aa", 2);
	host_gets_text(a, "aa");
	host_gets_text(b, "bbb");
	host_say(b, "x");
	expect_packet(VSOCK_OP_RW, PORT, GUEST + 1);
	assert_int_equal(got.fwd_cnt, 3);
	close(a);
	close(b);
	close(listener);
}

/* The host's side writes before the guest has heard that it is connected. */
static void test_early_data(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	/* The broker has connected; the device is told in the next turn. */
	assert_true(loop_turn(&loop, 0) > 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	host_say(fd, "hi");
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_int_equal(got.len, 2);
	close(fd);
	close(listener);
}

static void test_nobody_listens(void **state)
{
	int listener = host_listen_on(PORT, 4);
	char name[80];

	(void)state;
	close(listener); /* its file stays */
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	guest_op(VSOCK_OP_REQUEST, PORT + 1, GUEST, 0);
	expect_rst(PORT + 1, GUEST);
	snprintf(name, sizeof(name), "%s_%u", path, PORT + 2);
	assert_int_equal(mkdir(name, 0700), 0);
	guest_op(VSOCK_OP_REQUEST, PORT + 2, GUEST, 0);
	expect_rst(PORT + 2, GUEST);
	assert_int_equal(vsock->conns.count, 0);
}

/* -- interrupts ----------------------------------------------------------- */

/* The driver wants to hear of the next packet. */
static void want_interrupt(void)
{
	ring_set_used_event(&rx, rx.used_idx);
}

/* Either ring's news raise one, where the driver has asked for it. */
static void test_interrupts(void **state)
{
	int fd;

	(void)state;
	guest_start();
	guest_kick(VSOCK_RX);
	guest_kick(VSOCK_EVENT);
	assert_int_equal(interrupts, 0);
	ring_set_used_event(&tx, UINT16_MAX);
	fd = host_connects(PORT); /* REQUEST */
	assert_int_equal(interrupts, 1);
	host_say(fd, "not asked for");
	expect_packet(VSOCK_OP_RW, got.src_port, PORT);
	guest_op(VSOCK_OP_CREDIT_UPDATE, got.src_port, PORT, 0);
	assert_int_equal(interrupts, 1);
	want_interrupt();
	expect_no_packet();
	assert_int_equal(interrupts, 1);
	host_say(fd, "asked for");
	expect_packet(VSOCK_OP_RW, got.src_port, PORT);
	assert_int_equal(interrupts, 2);
	/* Two at once: one. */
	want_interrupt();
	ring_set_used_event(&tx, tx.used_idx);
	guest_op(VSOCK_OP_CREDIT_REQUEST, got.src_port, PORT, 0);
	expect_packet(VSOCK_OP_CREDIT_UPDATE, got.src_port, PORT);
	assert_int_equal(interrupts, 3);
	close(fd);
}

static unsigned interrupts_before;

static bool was_interrupted(void)
{
	return interrupts > interrupts_before;
}

/* That a packet is taken is told a little later, or with the next for it. */
static void test_interrupts_of_sent(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(PORT);
	for (unsigned i = 0; i < 2; i++) {
		interrupts_before = interrupts;
		ring_set_used_event(&tx, tx.used_idx);
		guest_op(VSOCK_OP_CREDIT_UPDATE, got.src_port, PORT, 0);
		assert_int_equal(interrupts, interrupts_before);
		if (i) {
			want_interrupt();
			host_say(fd, "at once");
			expect_packet(VSOCK_OP_RW, got.src_port, PORT);
			vsock->sent.at_once = 0;
		}
		assert_true(run_ticks(SOON, was_interrupted));
		run_a_while();
		assert_int_equal(interrupts, interrupts_before + 1);
		vsock->sent.at_once = 0;
	}
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_host_connects),
		vsock_test(test_data_behind_command),
		vsock_test(test_slow_command),
		vsock_test(test_bad_commands),
		vsock_test(test_guest_refuses),
		vsock_test(test_before_the_driver),
		vsock_test(test_guest_connects),
		vsock_test(test_early_data),
		vsock_test(test_nobody_listens),
		vsock_test(test_interrupts),
		vsock_test(test_interrupts_of_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
