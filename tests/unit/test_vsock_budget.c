/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/*
 * What the vsock device does at a time: its budget, so that other devices come
 * in between, and what waits for buffers of the guest's.
 */
#include <sys/eventfd.h>

#include "tests/unit/vsock_help.h"

/* -- another device, which always has something to do ---------------------- */

static struct loop_source other;
static unsigned other_turns;

static void other_ready(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	other_turns++;
}

static int setup_other(void **state)
{
	int error = setup(state);

	other = (struct loop_source){ eventfd(1, 0), other_ready, NULL };
	return error || loop_add(&loop, &other, EPOLLIN);
}

static int teardown_other(void **state)
{
	loop_remove(&loop, &other);
	close(other.fd);
	return teardown(state);
}

/* What run_ticks left of its last turn is no turn of its own. */
static void end_turn(void)
{
	assert_true(loop_turn(&loop, 0) >= 0);
}

/* One turn of the loop, in which the other one's turn comes, too. */
static void turn(void)
{
	other_turns = 0;
	assert_true(loop_turn(&loop, 0) >= 0);
	assert_int_equal(other_turns, 1);
}

/* The driver keeps all buffers, and the device has something for it. */
static void run_dry(void)
{
	unsigned taken = 0;

	guest_withhold();
	for (uint32_t i = 0; taken < RX_SIZE / rx_descs(); i++) {
		guest_op(VSOCK_OP_RW, PORT + 7, i, 0);
		assert_true(packet_came());
		assert_int_equal(got.op, VSOCK_OP_RST);
		taken++;
	}
	assert_false(packet_came());
}

/* -- the budget ------------------------------------------------------------ */

#define MANY  40u /* connections */
#define BATCH 16u /* of them are served in a turn */

static unsigned data_packets(void)
{
	unsigned count = 0;

	while (packet_came()) {
		assert_int_equal(got.op, VSOCK_OP_RW);
		count++;
	}
	return count;
}

/* Many have data for the guest: a few are served, then others' turn comes. */
static void test_budget_to_guest(void **state)
{
	int fd[MANY];

	(void)state;
	guest_start();
	for (unsigned i = 0; i < MANY; i++)
		fd[i] = host_connects(PORT);
	run_dry();
	for (unsigned i = 0; i < MANY; i++)
		host_say(fd[i], "data");
	run_a_while();
	assert_false(packet_came());
	end_turn();
	guest_give_back();
	guest_withhold();
	assert_int_equal(data_packets(), BATCH);
	turn();
	assert_int_equal(data_packets(), BATCH);
	turn();
	assert_int_equal(data_packets(), MANY - 2 * BATCH);
	turn();
	assert_int_equal(data_packets(), 0);
	assert_false(vsock->work.deferred);
	for (unsigned i = 0; i < MANY; i++)
		close(fd[i]);
}

static void queue_packets(unsigned count, uint32_t port, uint32_t len)
{
	static const uint8_t zeros[65536];
	struct vsock_packet packet = guest_packet(
		len ? VSOCK_OP_RW : VSOCK_OP_CREDIT_UPDATE, port, PORT);

	packet.len = len;
	for (unsigned i = 0; i < count; i++)
		guest_queue_raw(&packet, zeros, len);
}

/* The guest has many packets, or large ones: some, then others' turn comes. */
static void test_budget_from_guest(void **state)
{
	uint32_t port;
	int fd;

	(void)state;
	guest_start();
	fd = host_connects(PORT);
	port = got.src_port;
	end_turn();
	queue_packets(100, port, 0);
	guest_kick(VSOCK_TX);
	assert_int_equal(guest_sent(), 64);
	turn();
	assert_int_equal(guest_sent(), 36);
	turn();
	assert_int_equal(guest_sent(), 0);
	/* Nobody reads them, so that none is kept. */
	shutdown(fd, SHUT_RD);
	guest_data(port, PORT, "x", 1);
	while (packet_came())
		;
	queue_packets(20, port, 65536);
	guest_kick(VSOCK_TX);
	assert_int_equal(guest_sent(), 16);
	turn();
	assert_int_equal(guest_sent(), 4);
	close(fd);
}

/* What was put off is no more when the driver resets the device, or at the end
 * of all. */
static void test_reset_with_work_left(void **state)
{
	(void)state;
	for (int round = 0; round < 2; round++) {
		guest_start();
		close(host_connects(PORT));
		end_turn();
		queue_packets(100, got.src_port, 0);
		guest_kick(VSOCK_TX);
		assert_true(vsock->work.deferred);
		guest_stop();
		assert_false(vsock->work.deferred);
		turn();
		guest_sent();
	}
	guest_start();
	queue_packets(100, 1, 0);
	guest_kick(VSOCK_TX);
	assert_true(vsock->work.deferred);
}

/* -- a dry receive ring ---------------------------------------------------- */

/* Which packets came, by operation, for one port of the guest's each. */
static unsigned came[VSOCK_OPS];

static void collect(void)
{
	static const uint32_t from[VSOCK_OPS] = {
		[VSOCK_OP_CREDIT_UPDATE] = GUEST,
		[VSOCK_OP_SHUTDOWN] = GUEST + 1,
		[VSOCK_OP_RST] = GUEST + 2,
		[VSOCK_OP_RESPONSE] = GUEST + 3,
		[VSOCK_OP_REQUEST] = GUEST + 4,
	};

	memset(came, 0, sizeof(came));
	while (run_ticks(10, packet_came)) {
		assert_in_range(got.op, 1, VSOCK_OPS - 1);
		assert_int_equal(got.dst_port, from[got.op]);
		came[got.op]++;
		if (got.op == VSOCK_OP_CREDIT_UPDATE)
			assert_int_equal(got.fwd_cnt, 3);
		if (got.op == VSOCK_OP_SHUTDOWN)
			assert_int_equal(got.flags, VSOCK_SHUT_BOTH);
	}
}

/* All that is said while the guest has no buffer is said when it has one. */
static void test_control_packets_wait_for_buffers(void **state)
{
	int listener = host_listen_on(PORT, 4), fd[3], client;

	(void)state;
	guest_start();
	for (uint32_t i = 0; i < 3; i++)
		fd[i] = guest_connects(listener, GUEST + i);
	run_dry();
	guest_data(PORT, GUEST, "abc", 3);
	host_gets_text(fd[0], "abc");
	guest_op(VSOCK_OP_CREDIT_REQUEST, PORT, GUEST, 0);
	close(fd[1]);
	guest_op(VSOCK_OP_INVALID, PORT, GUEST + 2, 0);
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 3, 0);
	client = host_dial();
	host_say(client, "CONNECT 5004\n");
	run_a_while();
	host_gets_eof(fd[2]);
	assert_false(packet_came());
	expect_sound();
	/* Kicks of other queues change nothing. */
	guest_kick(VSOCK_TX);
	guest_kick(VSOCK_EVENT);
	assert_false(packet_came());
	guest_give_back();
	collect();
	for (unsigned op = VSOCK_OP_REQUEST; op < VSOCK_OPS; op++)
		assert_int_equal(came[op],
				 op <= VSOCK_OP_SHUTDOWN ||
					 op == VSOCK_OP_CREDIT_UPDATE);
	assert_int_equal(vsock->conns.count, 4);
	/* And they are as good as any. */
	host_say(fd[0], "well");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	guest_data(PORT, GUEST + 3, "well", 4);
	close(fd[2]);
	fd[2] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (fd[2] >= 0 && recv(fd[2], got_data, 4, MSG_DONTWAIT) != 4) {
		close(fd[2]);
		fd[2] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	}
	assert_memory_equal(got_data, "well", 4);
	close(fd[0]);
	close(fd[2]);
	close(client);
	close(listener);
}

/* The same for RSTs that answer packets of no connection. */
static void test_rst_queue_waits_for_buffers(void **state)
{
	(void)state;
	guest_start();
	run_dry();
	for (uint32_t i = 0; i < 10; i++)
		guest_op(VSOCK_OP_RW, PORT, GUEST + i, 0);
	assert_false(packet_came());
	guest_give_back();
	for (uint32_t i = 0; i < 10; i++)
		expect_rst(PORT, GUEST + i);
	expect_no_packet();
}

/* A connection that ends while it waits for a buffer is not heard of again. */
static void test_ends_without_a_buffer(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	run_dry();
	guest_op(VSOCK_OP_CREDIT_REQUEST, PORT, GUEST, 0);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	expect_sound();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 1, 0);
	guest_op(VSOCK_OP_INVALID, PORT, GUEST + 1, 0);
	guest_op(VSOCK_OP_RST, PORT, GUEST + 1, 0);
	expect_sound();
	assert_int_equal(vsock->conns.count, 0);
	guest_give_back();
	expect_no_packet();
	/* All at once, by a reset. */
	run_dry();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 2, 0);
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 3, 0);
	guest_stop();
	expect_sound();
	guest_start();
	expect_no_packet();
	close(fd);
	close(listener);
}

#define budget_test(name)                                                      \
	cmocka_unit_test_setup_teardown(name, setup_other, teardown_other)

int main(void)
{
	const struct CMUnitTest tests[] = {
		budget_test(test_budget_to_guest),
		budget_test(test_budget_from_guest),
		budget_test(test_reset_with_work_left),
		vsock_test(test_control_packets_wait_for_buffers),
		vsock_test(test_rst_queue_waits_for_buffers),
		vsock_test(test_ends_without_a_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
