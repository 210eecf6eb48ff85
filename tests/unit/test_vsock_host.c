/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/vsock/host.c cpu/loop/loop.c cpu/loop/unixsock.c */
/* uses: cpu/loop/helper.c */
/* uses: cpu/loop/file.c cpu/loop/broker.c tests/unit/kept_log.c */
/*
 * The host's end of vsock, with the loop and nothing above it: a socket that is
 * closed is heard of no more, even where the loop has its event already.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"
#include "virtio/vsock/host.h"

#define SOCKETS 8u

static struct loop loop;
static struct vsock_socket sockets[SOCKETS];
static int peers[SOCKETS];
static unsigned calls;

/* Whoever comes first closes all of them. */
static void close_all(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	calls++;
	for (unsigned i = 0; i < SOCKETS; i++)
		vsock_host_close(&sockets[i]);
}

static void test_vsock_host_closed_in_one_batch(void **state)
{
	(void)state;
	assert_int_equal(loop_create(&loop), 0);
	for (unsigned i = 0; i < SOCKETS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX,
					    SOCK_STREAM | SOCK_NONBLOCK, 0,
					    pair),
				 0);
		assert_int_equal(vsock_host_watch(&sockets[i], &loop, pair[0],
						  close_all, NULL),
				 0);
		peers[i] = pair[1];
		assert_int_equal(write(pair[1], "x", 1), 1);
	}
	assert_int_equal(loop_turn(&loop, 0), 1);
	assert_int_equal(loop_turn(&loop, 0), 0);
	assert_int_equal(calls, 1);
	for (unsigned i = 0; i < SOCKETS; i++) {
		char byte;

		assert_int_equal(sockets[i].source.fd, -1);
		assert_true(sockets[i].eof && sockets[i].gone);
		/* The other end sees it, and that its byte was not read. */
		assert_int_equal(read(peers[i], &byte, 1), -1);
		assert_int_equal(errno, ECONNRESET);
		close(peers[i]);
	}
	loop_destroy(&loop);
	expect_no_log();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vsock_host_closed_in_one_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
