/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mote's init in the guest, in a session that somebody on the host has begun:
 * the input is all that he sends, frames or not. First come the orders; then
 * his frames, for a command that has written something to stdout and stderr and
 * reads its stdin now and then. The files of init are this program's own, as
 * they have no libc: their memory is behind the heap's end, and where they
 * would end the process, the input has been looked at.
 *
 * What comes is judged, whatever it is; and there are arguments, each with an
 * end, and an environment, where a command would be started.
 */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* What they call otherwise here, or have the names of libc's for. */
#define memcpy	 init_memcpy
#define memset	 init_memset
#define memcmp	 init_memcmp
#define sys_exit init_sys_exit
#include "boot/init/init.h"
#undef sys_exit

static jmp_buf ended;

static void __attribute__((noreturn)) sys_exit(void)
{
	longjmp(ended, 1);
}

/* NOLINTBEGIN(bugprone-suspicious-include): with other system calls */
#include "boot/init/orders.c"
#undef STEP_MS
#include "boot/init/relay.c"
#include "boot/init/stream.c"
#include "boot/init/text.c"
/* NOLINTEND(bugprone-suspicious-include) */
#undef memcpy
#undef memset
#undef memcmp

#define NO_PROCESS 0x3fffffff /* above any number of one */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* -- in place of the rest of init ------------------------------------------ */

void clock_ask(void)
{
}

void clock_obey(const struct frame *frame)
{
	(void)frame;
	abort(); /* the guest's time is not theirs to say */
}

bool clock_is_asked(void)
{
	return false;
}

void clock_await(void)
{
}

void net_set_name(const char *name)
{
	(void)name;
}

void net_add_order(const char *order)
{
	(void)order;
}

void net_apply(void)
{
}

void net_set_mac(const char *order)
{
	(void)order;
}

void root_leave(bool apart)
{
	(void)apart;
	abort();
}

unsigned long root_operations(void)
{
	return 0;
}

unsigned child_start(struct child *child, struct run *run)
{
	(void)child, (void)run;
	abort();
}

void session_listen(bool wanted)
{
	(void)wanted;
}

int session_fd(void)
{
	return -1;
}

bool session_accept(void)
{
	abort();
}

void session_ended(int pid)
{
	(void)pid;
}

/* -- the session ------------------------------------------------------------
 */

static char *variables[] = { (char[]){ "PATH=/bin" }, (char[]){ "A=first" },
			     NULL };
static int pipes[PROTOCOL_STREAMS][2];

static void require(bool promise)
{
	if (!promise)
		abort();
}

static void check_orders(const struct run *run)
{
	size_t inherited = 0;

	require(run->argv[0] != NULL);
	for (char **at = run->argv; *at; at++)
		require(text_len(*at) < RUN_MAX);
	for (char **at = run->env; *at; at++)
		inherited += text_after(*at, "PATH=") != NULL;
	require(inherited > 0);
}

/* As child_start would leave it. */
static void start_command(const struct run *run)
{
	relay_become_session();
	relay.tty = run->tty != NULL;
	relay.child.pid = NO_PROCESS;
	relay.child.in = dup(pipes[0][1]);
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++) {
		relay.child.out[i] = dup(pipes[i][0]);
		relay.credit[i] = PROTOCOL_CREDIT;
		require(write(pipes[i][1], "some", 4) == 4);
	}
}

static void session(void)
{
	struct run run = { .env = variables, .workdir = "/first" };
	char read_some[300];

	if (setjmp(ended))
		return;
	orders_hear(&run);
	check_orders(&run);
	start_command(&run);
	while (relay_step(&run)) {
		if (relay.ring_len > 1000)
			require(read(pipes[0][0], read_some,
				     sizeof(read_some)) != 0);
		require(relay.ring_len <= PROTOCOL_CREDIT);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static long heap;
	int pair[2], room = 4 << 20;
	char drop[4096];

	if (!heap)
		heap = SYS(brk, 0);
	SYS(brk, heap);
	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	for (unsigned i = 0; i < PROTOCOL_STREAMS; i++)
		require(!pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK));
	require(send(pair[1], data, size, MSG_DONTWAIT) == (ssize_t)size);
	shutdown(pair[1], SHUT_WR);
	stream.fd = pair[0];
	stream.is_session = true;
	stream.in_len = stream.in_taken = 0;
	relay.child.in = -1;
	session();
	relay_close(&relay.child.in);
	for (unsigned i = PROTOCOL_STDOUT; i < PROTOCOL_STREAMS; i++)
		relay_close(&relay.child.out[i]);
	while (recv(pair[1], drop, sizeof(drop), MSG_DONTWAIT) > 0)
		;
	for (unsigned i = 0; i < PROTOCOL_STREAMS; i++)
		for (int j = 0; j < 2; j++)
			close(pipes[i][j]);
	close(pair[0]);
	close(pair[1]);
	return 0;
}
