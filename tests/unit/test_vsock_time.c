/* uses: virtio/vsock.c virtio/vsock_rx.c virtio/vsock_conn.c */
/* uses: virtio/vsock_pool.c virtio/vsock_unix.c virtio/queue.c */
/* uses: cpu/loop.c cpu/unixsock.c mem/ram.c */
/* ldflags: -Wl,--wrap=clock_gettime -Wl,--wrap=loop_timer_set */
/* Time limits of the vsock device. Here time passes SPEED times as fast. */
#include <time.h>

#include "tests/unit/vsock_help.h"

#define SPEED 50
#define S     1000000000ULL

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
void __real_loop_timer_set(struct loop_timer *timer, uint64_t ns);
void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	uint64_t ns;

	__real_clock_gettime(clock, now);
	ns = ((uint64_t)now->tv_sec * S + (uint64_t)now->tv_nsec) * SPEED;
	now->tv_sec = (time_t)(ns / S);
	now->tv_nsec = (long)(ns % S);
	return 0;
}

void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	if (timer != &tick)
		ns = ns && ns < SPEED ? 1 : ns / SPEED;
	__real_loop_timer_set(timer, ns);
}

/* Seconds, as the device counts them. */
static double since(uint64_t began)
{
	return (double)(vsock_now() - began) / (double)S;
}

/* Lateness is the machine's; earliness would be ours. */
static void expect_took(uint64_t began, double least, double most)
{
	double took = since(began);

	if (took < least || took > most)
		fail_msg("%.2f s, not %.2f to %.2f", took, least, most);
}

static void test_half_a_command(void **state)
{
	uint64_t began = vsock_now();
	int fd, silent, other;

	(void)state;
	guest_start();
	fd = host_dial();
	silent = host_dial();
	host_say(fd, "CONNE");
	other = host_connects(PORT);
	host_say(other, "hello");
	expect_packet(VSOCK_OP_RW, got.src_port, PORT);
	host_gets_eof(fd);
	host_gets_eof(silent);
	expect_took(began, 10, 30);
	host_say(other, "hello");
	expect_packet(VSOCK_OP_RW, got.src_port, PORT);
	close(other);
	close(silent);
	close(fd);
}

static void test_no_response(void **state)
{
	uint64_t began = vsock_now();
	uint32_t port;
	int fd;

	(void)state;
	guest_start();
	fd = host_dial();
	host_say(fd, "CONNECT 5\nwith data behind it");
	expect_request(5);
	port = got.src_port;
	expect_rst(port, 5);
	expect_took(began, 5, 20);
	host_gets_eof(fd);
	/* An answer that comes late is one to nothing. */
	guest_op(VSOCK_OP_RESPONSE, port, 5, 0);
	expect_rst(port, 5);
	assert_int_equal(vsock->count, 0);
	close(fd);
}

/* A listener whose backlog is full gets as long as Linux waits. */
static void test_full_backlog(void **state)
{
	int listener = host_listen_on(PORT, 0), fd;
	uint64_t began;

	(void)state;
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	began = vsock_now();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 1, 0);
	expect_rst(PORT, GUEST + 1);
	expect_took(began, 2, 10);
	/* One that accepts after a while is reached. */
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 2, 0);
	run_ticks(50, NULL);
	assert_false(packet_came());
	fd = accept(listener, NULL, NULL);
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST + 2);
	/* The guest can give up by itself. */
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 3, 0);
	guest_op(VSOCK_OP_RST, PORT, GUEST + 3, 0);
	assert_int_equal(vsock->count, 2);
	close(fd);
	close(listener);
}

/* The guest does not answer when both directions are closed. */
static void test_no_answer_to_shutdown(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;
	uint64_t began;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	began = vsock_now();
	close(fd);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	expect_rst(PORT, GUEST);
	expect_took(began, 8, 30);
	assert_int_equal(vsock->count, 0);
	close(listener);
}

/*
 * Without credit the guest is asked, ever less often; and it is not asked
 * before it knows that there is a connection.
 */
static void test_credit_requests(void **state)
{
	int listener = host_listen_on(PORT, 4), fd, early;
	unsigned requests = 0;
	uint64_t began;

	(void)state;
	guest_start();
	guest_alloc = 0;
	early = host_dial();
	host_say(early, "CONNECT 5\nearly");
	expect_request(5);
	run_ticks(50, NULL);
	assert_false(packet_came());
	close(early);
	guest_op(VSOCK_OP_RST, got.src_port, 5, 0);

	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	fd = accept(listener, NULL, NULL);
	host_say(fd, "hello");
	run_a_while();
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	began = vsock_now();
	while (since(began) < 10) {
		run_ticks(1, NULL);
		if (!packet_came())
			continue;
		assert_int_equal(got.op, VSOCK_OP_CREDIT_REQUEST);
		requests++;
		/* An answer that brings nothing is no reason to hurry. */
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	}
	assert_in_range(requests, 4, 9);
	guest_alloc = 5;
	guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_int_equal(got.len, 5);
	guest_fwd = 5;
	guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	began = vsock_now();
	while (since(began) < 5) {
		run_ticks(1, NULL);
		assert_false(packet_came());
	}
	close(fd);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_half_a_command),
		vsock_test(test_no_response),
		vsock_test(test_full_backlog),
		vsock_test(test_no_answer_to_shutdown),
		vsock_test(test_credit_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
