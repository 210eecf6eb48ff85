/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* ldflags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap */
/*
 * What the data of a stream costs: no memory is allocated for it, and no system
 * call is made but those that move it and those of timers and epoll. The second
 * is shown by a child process that may not make any other (seccomp), and is
 * killed if it does.
 */
/* uses: tests/unit/costs.c */
#include "tests/unit/costs.h"
#include "tests/unit/vsock_help.h"

#define MANY 1000u

static uint8_t data[8192];

/* The host's end of a stream, by bare calls that nothing else here makes. */
static void host_puts(int fd, size_t len)
{
	assert_int_equal(
		syscall(SYS_sendto, fd, data, len, MSG_DONTWAIT, NULL, 0), len);
}

static size_t host_takes(int fd)
{
	static uint8_t room[1 << 16];
	long n;
	size_t all = 0;

	while ((n = syscall(SYS_recvfrom, fd, room, sizeof(room), MSG_DONTWAIT,
			    NULL, NULL)) > 0)
		all += (size_t)n;
	return all;
}

/* So many times some bytes both ways: how many were lost. */
static size_t work(int fd, unsigned count, uint32_t len)
{
	size_t to_host = 0, to_guest = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned tries = 0;

		guest_data(PORT, GUEST, data, len);
		host_puts(fd, len);
		while (to_guest < (i + 1) * (size_t)len && tries++ < SOON) {
			run_ticks(1, NULL);
			while (packet_came())
				if (got.op == VSOCK_OP_RW)
					to_guest += got.len;
			guest_fwd = (uint32_t)to_guest;
			to_host += host_takes(fd);
		}
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	}
	to_host += host_takes(fd);
	return 2 * (size_t)count * len - to_host - to_guest;
}

static void test_no_allocation(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	assert_true(allocations > 0); /* it does count: the device's making */
	guest_start();
	fd = guest_connects(listener, GUEST);
	allocations = 0;
	assert_int_equal(work(fd, MANY, 100), 0);
	assert_int_equal(work(fd, MANY, sizeof(data)), 0);
	assert_int_equal(allocations, 0);
	close(fd);
	close(listener);
}

struct calls {
	const unsigned *calls;
	unsigned count;
	int fd;
};

/*
 * Ends the child, whatever the sanitizers would like to do yet. Before the
 * filter closes in, the socket has been full and was read: it takes more then.
 */
static void child(const void *how)
{
	const struct calls *c = how;

	if (work(c->fd, 2, sizeof(data)) || !allow_only(c->calls, c->count))
		_exit(2);
	syscall(SYS_exit_group, work(c->fd, MANY / 5,
				     100) || work(c->fd, MANY / 5, sizeof(data))
					? 3
					: 0);
}

static void test_no_system_call(void **state)
{
	/* Of the last four the ticks' timer and epoll are the test's too. */
	static const unsigned calls[] = {
		SYS_readv,	     SYS_writev,	SYS_sendto,
		SYS_recvfrom,	     SYS_epoll_wait,	SYS_epoll_pwait,
		SYS_timerfd_settime, SYS_clock_gettime, SYS_read,
		SYS_exit_group
	};
	struct calls c = { calls, ARRAY_LEN(calls), -1 };
	int listener = host_listen_on(PORT, 4);

	(void)state;
	guest_start();
	c.fd = guest_connects(listener, GUEST);
	assert_int_equal(status_of_child(child, &c), 0);
	/* The filter does kill: the first of the list is missed at once. */
	c.calls++;
	c.count--;
	assert_true(killed_by_filter(status_of_child(child, &c)));
	close(c.fd);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_no_allocation),
		vsock_test(test_no_system_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
