/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_guest.c tests/unit/vsock_check.c */
/* uses: tests/unit/mock_broker.c */
#include "tests/unit/vsock_help.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/vsock_check.h"

struct loop loop;
struct loop_timer tick;
char dir[32], path[64];
int internal_fd = -1, awaited_fd;
uint64_t guest_memory = 64ULL << 30;
struct vsock_packet got;
uint8_t got_data[RX_STEP];

/* -- the loop ------------------------------------------------------------- */

#define TICK_NS 100000u

static bool (*tick_done)(void);
static unsigned ticks_left;
static bool was_done;

static void ticked(void *arg)
{
	(void)arg;
	was_done = tick_done && tick_done();
	if (was_done || !--ticks_left)
		loop_stop(&loop);
	else
		loop_timer_set(&tick, TICK_NS);
}

/* Whether `done` came true within some time. */
bool run_ticks(unsigned ticks, bool (*done)(void))
{
	if (done && done())
		return true;
	tick_done = done;
	ticks_left = ticks;
	loop_timer_set(&tick, TICK_NS);
	assert_int_equal(loop_run(&loop), 0);
	return was_done;
}

void run_a_while(void)
{
	run_ticks(10, NULL);
}

/* -- expectations --------------------------------------------------------- */

bool packet_came(void)
{
	return guest_take(&got, got_data);
}

void expect_packet(enum vsock_op op, uint32_t host_port, uint32_t guest_port)
{
	assert_true(run_ticks(SOON, packet_came));
	expect_sound();
	assert_int_equal(got.op, op);
	assert_int_equal(got.src_port, host_port);
	assert_int_equal(got.dst_port, guest_port);
}

/* From whatever port the device has chosen. */
void expect_request(uint32_t guest_port)
{
	assert_true(run_ticks(SOON, packet_came));
	assert_int_equal(got.op, VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, guest_port);
}

void expect_no_packet(void)
{
	run_a_while();
	assert_false(packet_came());
}

void expect_rst(uint32_t host_port, uint32_t guest_port)
{
	expect_packet(VSOCK_OP_RST, host_port, guest_port);
	assert_int_equal(got.len, 0);
}

bool fd_came(void)
{
	char byte;

	return recv(awaited_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
	       errno != EAGAIN;
}

/* Reads exactly that from a socket of the host. */
void host_gets(int fd, const void *bytes, size_t len)
{
	static uint8_t room[1 << 20];

	for (size_t done = 0; done < len;) {
		ssize_t some;

		awaited_fd = fd;
		assert_true(run_ticks(SOON, fd_came));
		some = recv(fd, room, len - done, MSG_DONTWAIT);
		assert_true(some > 0);
		assert_memory_equal(room, (const uint8_t *)bytes + done, some);
		done += (size_t)some;
	}
}

void host_gets_text(int fd, const char *text)
{
	host_gets(fd, text, strlen(text));
}

void host_gets_eof(int fd)
{
	char byte;

	awaited_fd = fd;
	assert_true(run_ticks(SOON, fd_came));
	assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
}

void expect_sound(void)
{
	const char *wrong = vsock_check(&vsock->conns);

	if (wrong)
		fail_msg("%s", wrong);
}

/* -- the host ------------------------------------------------------------- */

int host_dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (void *)&address, sizeof(address)), 0);
	return fd;
}

void host_write(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT),
			 len);
}

void host_say(int fd, const char *text)
{
	host_write(fd, text, strlen(text));
}

int host_listen_on(unsigned port, int backlog)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s_%u", path,
		 port);
	unlink(address.sun_path);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

/* A stream that a client of the host began: its fd; `got` has the ports. */
int host_connects(uint32_t port)
{
	char text[40];
	int fd = host_dial();

	snprintf(text, sizeof(text), "CONNECT %u\n", port);
	host_say(fd, text);
	expect_request(port);
	guest_op(VSOCK_OP_RESPONSE, got.src_port, port, 0);
	snprintf(text, sizeof(text), "OK %u\n", got.src_port);
	host_gets_text(fd, text);
	return fd;
}

/* A stream that the guest began; `listener` is at PORT. */
int guest_connects(int listener, uint32_t guest_port)
{
	int fd;

	guest_op(VSOCK_OP_REQUEST, PORT, guest_port, 0);
	expect_packet(VSOCK_OP_RESPONSE, PORT, guest_port);
	assert_int_equal(got.buf_alloc, VSOCK_BUFFER);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return fd;
}

/* -- set-up --------------------------------------------------------------- */

void open_vsock(unsigned cid)
{
	const struct vsock_options options = {
		.file = { path, -1 },
		.cid = cid,
		.memory = guest_memory,
		.internal = internal_fd >= 0,
		.internal_port = INTERNAL,
		.internal_fd = internal_fd < 0 ? -1 : dup(internal_fd),
	};

	assert_int_equal(vsock_open(&vsock, &options), 0);
	mock_broker_start(vsock, &loop);
	assert_int_equal(vsock_create(vsock, &loop), 0);
}

void close_vsock(void)
{
	expect_sound();
	vsock_destroy(vsock);
	vsock = NULL;
	mock_broker_end();
}

int setup(void **state)
{
	(void)state;
	alarm(300);
	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	assert_int_equal(
		ram_create(&ram, &(struct ram_options){ .size = RAM_SIZE }), 0);
	shape = TWO;
	interrupts = breaks = 0;
	assert_int_equal(loop_create(&loop), 0);
	assert_int_equal(loop_timer_create(&loop, &tick, ticked, NULL), 0);
	open_vsock(CID);
	return 0;
}

int teardown(void **state)
{
	char command[80];

	(void)state;
	close_vsock();
	loop_timer_destroy(&loop, &tick);
	loop_destroy(&loop);
	ram_destroy(&ram);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}
