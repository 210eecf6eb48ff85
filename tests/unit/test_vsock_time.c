/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* ldflags: -Wl,--wrap=clock_gettime -Wl,--wrap=loop_timer_set */
/* ldflags: -Wl,--wrap=accept4 */
/* Time limits of the vsock device, by a clock that the tests turn on. */
#include <sys/resource.h>

#include <time.h>

#include "tests/unit/vsock_help.h"

#define S     1000000000ULL
#define MS    1000000ULL
#define STEP  (10 * MS)
#define SLACK (3 * STEP)

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
void __real_loop_timer_set(struct loop_timer *timer, uint64_t ns);
void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns);

static uint64_t clock_ns = 1000 * S;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ (time_t)(clock_ns / S),
				  (long)(clock_ns % S) };
	return 0;
}

static uint64_t expires_ns; /* the device's timer; 0: it is not set */

void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	if (timer == &tick)
		__real_loop_timer_set(timer, ns);
	else
		expires_ns = clock_ns + ns;
}

static void expire(void)
{
	expires_ns = 0;
	vsock->conns.timer.expired(vsock->conns.timer.arg);
}

/* accept4() fails so often with this. */
static int accept_error;
static unsigned accept_failures;

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	if (!accept_failures)
		return __real_accept4(fd, address, len, flags);
	accept_failures--;
	errno = accept_error;
	return -1;
}

/* So much time, and what happens in it; ends early where `done` comes true. */
static bool pass(uint64_t ns, bool (*done)(void))
{
	for (uint64_t end = clock_ns + ns; clock_ns < end;) {
		clock_ns += STEP;
		if (expires_ns && expires_ns <= clock_ns)
			expire();
		run_ticks(2, NULL);
		if (done && done())
			return true;
	}
	return false;
}

/* `done` comes true after that time; not before, and not long after. */
static void expect_after(uint64_t ns, bool (*done)(void))
{
	assert_false(pass(ns - SLACK, done));
	assert_true(pass(2 * SLACK, done));
}

static void test_half_a_command(void **state)
{
	int half, silent, other;

	(void)state;
	guest_start();
	half = host_dial();
	silent = host_dial();
	host_say(half, "CONNE");
	other = host_connects(PORT);
	awaited_fd = half;
	expect_after(10 * S, fd_came);
	host_gets_eof(half);
	host_gets_eof(silent);
	host_say(other, "hello");
	expect_packet(VSOCK_OP_RW, got.src_port, PORT);
	close(other);
	close(silent);
	close(half);
}

static void test_no_response(void **state)
{
	uint32_t port;
	int fd;

	(void)state;
	guest_start();
	fd = host_dial();
	host_say(fd, "CONNECT 5\nwith data behind it");
	expect_request(5);
	port = got.src_port;
	expect_after(5 * S, packet_came);
	assert_int_equal(got.op, VSOCK_OP_RST);
	host_gets_eof(fd);
	/* An answer that comes late is one to nothing. */
	guest_op(VSOCK_OP_RESPONSE, port, 5, 0);
	expect_rst(port, 5);
	assert_int_equal(vsock->conns.count, 0);
	close(fd);
}

/* A listener whose backlog is full gets as long as Linux waits. */
static void test_full_backlog(void **state)
{
	int listener = host_listen_on(PORT, 0), fd;

	(void)state;
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 1, 0);
	expect_after(2 * S, packet_came);
	assert_int_equal(got.op, VSOCK_OP_RST);
	assert_int_equal(got.dst_port, GUEST + 1);
	/* One that accepts after a while is reached. */
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 2, 0);
	assert_false(pass(S, packet_came));
	fd = accept(listener, NULL, NULL);
	assert_true(pass(3 * STEP, packet_came));
	assert_int_equal(got.op, VSOCK_OP_RESPONSE);
	assert_int_equal(got.dst_port, GUEST + 2);
	/* The guest can give up by itself. */
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 3, 0);
	guest_op(VSOCK_OP_RST, PORT, GUEST + 3, 0);
	assert_int_equal(vsock->conns.count, 2);
	close(fd);
	close(listener);
}

#define WAITERS 500

/* Connections that wait to be tried again. */
static unsigned waiting(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < vsock->conns.touched; i++)
		count += vsock->conns.conn[i].wait == VSOCK_WAIT_RETRY;
	return count;
}

static bool all_wait(void)
{
	return waiting() == WAITERS;
}

/* Many that wait for a listener do not keep the loop from its other sources. */
static void test_many_wait(void **state)
{
	int listener = host_listen_on(PORT, 0);
	unsigned turns = 0, left = WAITERS;

	(void)state;
	assert_true(vsock->conns.max > WAITERS);
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	for (unsigned i = 1; i <= WAITERS; i++)
		guest_op(VSOCK_OP_REQUEST, PORT, GUEST + i, 0);
	assert_true(run_ticks(SOON, all_wait));
	clock_ns += STEP;
	for (; left; turns++) {
		const unsigned before = left;

		assert_true(expires_ns);
		if (clock_ns < expires_ns)
			clock_ns = expires_ns;
		expire();
		left = waiting();
		assert_in_range(before - left, 1, 64);
	}
	assert_in_range(turns, WAITERS / 64, STEP / MS);
	close(listener);
}

/* The guest does not answer when both directions are closed. */
static void test_no_answer_to_shutdown(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	close(fd);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	expect_after(8 * S, packet_came);
	assert_int_equal(got.op, VSOCK_OP_RST);
	assert_int_equal(vsock->conns.count, 0);
	close(listener);
}

static uint8_t bytes[65536];

static bool slot_free(void)
{
	return !vsock->conns.count;
}

/* More than the host's socket takes, and the guest forgets the connection. */
static int leave_data(int listener, uint32_t guest_port)
{
	int fd = guest_connects(listener, guest_port);

	for (unsigned i = 0; i < 4; i++)
		guest_data(PORT, guest_port, bytes, 65536);
	guest_op(VSOCK_OP_SHUTDOWN, PORT, guest_port,
		 VSOCK_SHUT_RCV | VSOCK_SHUT_SEND);
	guest_op(VSOCK_OP_RST, PORT, guest_port, 0);
	return fd;
}

static int leave_data_started(int listener)
{
	int fd;

	guest_start();
	fd = leave_data(listener, GUEST);
	while (packet_came())
		assert_int_equal(got.op, VSOCK_OP_CREDIT_UPDATE);
	return fd;
}

/*
 * What a guest sent before it forgot the connection waits for a host that does
 * not read: while there is room for others, and while it reads a little.
 */
static void test_slow_reader(void **state)
{
	int listener = host_listen_on(PORT, 4), fd, other;
	const unsigned max = vsock->conns.max;

	(void)state;
	fd = leave_data_started(listener);
	vsock->conns.max = 1;
	for (unsigned i = 0; i < 4; i++) {
		if (!pass(25 * S, slot_free)) {
			guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 1, 0);
			expect_rst(PORT, GUEST + 1);
		}
		host_gets(fd, bytes, 65536);
	}
	assert_true(slot_free());
	host_gets_eof(fd);
	close(fd);
	/* One that reads no more gives way, when its place is needed. */
	fd = leave_data(listener, GUEST);
	pass(25 * S, slot_free);
	while (packet_came())
		assert_int_equal(got.op, VSOCK_OP_CREDIT_UPDATE);
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 1, 0);
	expect_rst(PORT, GUEST + 1);
	assert_false(pass(100 * S, slot_free));
	other = guest_connects(listener, GUEST + 1);
	assert_int_equal(vsock->conns.count, 1);
	vsock->conns.max = max;
	close(other);
	close(fd);
	close(listener);
}

/* Descriptors may run out before connections do. */
static void test_no_descriptors(void **state)
{
	int listener = host_listen_on(PORT, 4), client, next;
	const int fd = leave_data_started(listener);
	struct rlimit limit, few;

	(void)state;
	assert_false(pass(100 * S, slot_free));
	client = host_dial();
	host_say(client, "CONNECT 77\n");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	few = limit;
	next = dup(client);
	close(next);
	few.rlim_cur = (rlim_t)next;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	run_a_while();
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	expect_request(77);
	assert_int_equal(vsock->conns.count, 1);
	close(client);
	close(fd);
	close(listener);
}

/* Which failures pass by themselves, and which take a while. */
static void test_accept_fails(void **state)
{
	static const int passing[] = { EINTR, ECONNABORTED };
	const unsigned lines = logged.count;
	int client;

	(void)state;
	guest_start();
	for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
		accept_error = passing[i];
		accept_failures = 2;
		close(host_connects(PORT));
		assert_int_equal(accept_failures, 0);
		expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, PORT);
		guest_op(VSOCK_OP_RST, got.src_port, PORT, 0);
	}
	assert_int_equal(logged.count, lines);
	accept_error = ENFILE;
	accept_failures = 1;
	client = host_dial();
	host_say(client, "CONNECT 8\n");
	expect_no_packet();
	assert_int_equal(accept_failures, 0);
	assert_int_equal(logged.count, lines + 1);
	assert_non_null(strstr(logged.last, "accept: Too many open files in "
					    "system; clients have to wait"));
	expect_after(100 * MS, packet_came);
	assert_int_equal(got.op, VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, 8);
	close(client);
}

/* An answer that brings nothing is no reason to hurry. */
static unsigned requests;

static bool request_came(void)
{
	if (packet_came()) {
		assert_int_equal(got.op, VSOCK_OP_CREDIT_REQUEST);
		requests++;
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	}
	return false;
}

/*
 * Without credit the guest is asked, ever less often; and it is not asked
 * before it knows that there is a connection.
 */
static void test_credit_requests(void **state)
{
	int listener = host_listen_on(PORT, 4), fd, early;

	(void)state;
	guest_start();
	guest_alloc = 0;
	early = host_dial();
	host_say(early, "CONNECT 5\nearly");
	expect_request(5);
	assert_false(pass(S, packet_came));
	close(early);
	guest_op(VSOCK_OP_RST, got.src_port, 5, 0);

	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	run_a_while();
	fd = accept(listener, NULL, NULL);
	host_say(fd, "hello");
	run_a_while();
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	requests = 0;
	pass(S, request_came);
	assert_int_equal(requests, 3);
	pass(9 * S, request_came);
	assert_in_range(requests, 6, 9);
	guest_alloc = 5;
	guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_int_equal(got.len, 5);
	guest_fwd = 5;
	guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	assert_false(pass(5 * S, packet_came));
	close(fd);
	close(listener);
}

static void want_interrupt_of_sent(uint16_t at)
{
	ring_put16(&tx, gpa_add(tx.avail, 4 + 2u * TX_SIZE), at);
}

/* An interrupt that is held back comes, whatever the timer was set for. */
static void test_held_interrupt(void **state)
{
	const uint64_t start = clock_ns;

	(void)state;
	guest_start();
	expires_ns = 0;
	interrupts = 0;
	want_interrupt_of_sent(0);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	assert_int_equal(interrupts, 0);
	assert_int_equal(expires_ns, start + 4 * MS);
	clock_ns += 3 * MS;
	want_interrupt_of_sent(1); /* the driver has looked by itself */
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	clock_ns = start + 4 * MS;
	expire();
	assert_int_equal(interrupts, 0);
	assert_int_equal(expires_ns, start + 7 * MS);
	clock_ns = start + 7 * MS;
	expire();
	assert_int_equal(interrupts, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_half_a_command),
		vsock_test(test_no_response),
		vsock_test(test_full_backlog),
		vsock_test(test_many_wait),
		vsock_test(test_no_answer_to_shutdown),
		vsock_test(test_slow_reader),
		vsock_test(test_no_descriptors),
		vsock_test(test_accept_fails),
		vsock_test(test_credit_requests),
		vsock_test(test_held_interrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
