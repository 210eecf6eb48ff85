/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/helper.c */
/* uses: cpu/loop/broker.c */
#include "tests/unit/mock_broker.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu/loop/broker.h"

static struct loop *loop_of_broker;
static struct loop_source asked = { .fd = -1 };
static int ours = -1, directory = -1;

/* It looks names up where the sockets are. */
static void broker_asked(void *arg, uint32_t events)
{
	int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool served;

	(void)arg;
	(void)events;
	if (here < 0) /* no descriptors: the test wants it so */
		return;
	if (fchdir(directory))
		abort();
	served = broker_serve(asked.fd);
	if (fchdir(here))
		abort();
	close(here);
	if (!served)
		mock_broker_stop();
}

void mock_broker_start(struct vsock *vsock, struct loop *loop)
{
	struct unixsock *const files[BROKER_FILES] = { vsock_file(vsock) };
	int pair[2];

	directory = dup(files[0]->dir_fd);
	if (directory < 0 || broker_map(files) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		abort();
	ours = pair[0];
	asked = (struct loop_source){ pair[1], broker_asked, NULL };
	loop_of_broker = loop;
	if (loop_add(loop, &asked, EPOLLIN))
		abort();
	vsock_set_broker(vsock, ours);
}

void mock_broker_stop(void)
{
	if (loop_of_broker)
		loop_remove(loop_of_broker, &asked);
	loop_of_broker = NULL;
}

void mock_broker_lose(void)
{
	mock_broker_stop();
	if (asked.fd >= 0)
		close(asked.fd);
	asked.fd = -1;
}

void mock_broker_end(void)
{
	mock_broker_lose();
	close(ours);
	close(directory);
	munmap((void *)BROKER_AT, 2 * BROKER_PAGE);
}
