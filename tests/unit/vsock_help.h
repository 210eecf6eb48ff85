/*
 * For the tests of virtio/vsock*.c: a device whose driver is in vsock_guest.h,
 * a loop, and a directory for sockets. Included by one C file of a test
 * program. expect_* waits for what the device does, host_* is its other side.
 */
#ifndef TESTS_UNIT_VSOCK_HELP_H
#define TESTS_UNIT_VSOCK_HELP_H

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/unit/vsock_guest.h"

#define PORT  1234u /* a port of whoever listens */
#define GUEST 5000u /* a port of the guest's client */
#define OWN   77u   /* the port whose stream ends inside mote, */

static int own_fd = -1; /* in this socket, where there is one */

static struct loop loop;
static char dir[32], path[64];

/* -- the loop ------------------------------------------------------------- */

#define TICK_NS 100000u

static struct loop_timer tick;
static bool (*tick_done)(void);
static unsigned ticks_left;
static bool was_done;

static inline void ticked(void *arg)
{
	(void)arg;
	was_done = tick_done && tick_done();
	if (was_done || !--ticks_left)
		loop_stop(&loop);
	else
		loop_timer_set(&tick, TICK_NS);
}

/* Whether `done` came true within some time. */
static inline bool run_ticks(unsigned ticks, bool (*done)(void))
{
	if (done && done())
		return true;
	tick_done = done;
	ticks_left = ticks;
	loop_timer_set(&tick, TICK_NS);
	assert_int_equal(loop_run(&loop), 0);
	return was_done;
}

#define SOON 20000 /* at most */

static inline void run_a_while(void)
{
	run_ticks(10, NULL);
}

/* -- expectations --------------------------------------------------------- */

static struct vsock_packet got;
static uint8_t got_data[RX_STEP];

static inline bool packet_came(void)
{
	return guest_take(&got, got_data);
}

static inline void expect_packet(enum vsock_op op, uint32_t host_port,
				 uint32_t guest_port)
{
	assert_true(run_ticks(SOON, packet_came));
	assert_int_equal(got.op, op);
	assert_int_equal(got.src_port, host_port);
	assert_int_equal(got.dst_port, guest_port);
}

/* From whatever port the device has chosen. */
static inline void expect_request(uint32_t guest_port)
{
	assert_true(run_ticks(SOON, packet_came));
	assert_int_equal(got.op, VSOCK_OP_REQUEST);
	assert_int_equal(got.dst_port, guest_port);
}

static inline void expect_no_packet(void)
{
	run_a_while();
	assert_false(packet_came());
}

static inline void expect_rst(uint32_t host_port, uint32_t guest_port)
{
	expect_packet(VSOCK_OP_RST, host_port, guest_port);
	assert_int_equal(got.len, 0);
}

static int awaited_fd;

static inline bool fd_came(void)
{
	char byte;

	return recv(awaited_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 ||
	       errno != EAGAIN;
}

/* Reads exactly that from a socket of the host. */
static inline void host_gets(int fd, const void *bytes, size_t len)
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

static inline void host_gets_text(int fd, const char *text)
{
	host_gets(fd, text, strlen(text));
}

static inline void host_gets_eof(int fd)
{
	char byte;

	awaited_fd = fd;
	assert_true(run_ticks(SOON, fd_came));
	assert_true(recv(fd, &byte, 1, MSG_DONTWAIT) <= 0);
}

/* -- the host ------------------------------------------------------------- */

static inline int host_dial(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (void *)&address, sizeof(address)), 0);
	return fd;
}

static inline void host_write(int fd, const void *bytes, size_t len)
{
	assert_int_equal(send(fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT),
			 len);
}

static inline void host_say(int fd, const char *text)
{
	host_write(fd, text, strlen(text));
}

static inline int host_listen_on(unsigned port, int backlog)
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
static inline int host_connects(uint32_t port)
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
static inline int guest_connects(int listener, uint32_t guest_port)
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

static inline int setup(void **state)
{
	struct vsock_options options = {
		.file = { path, -1 },
		.cid = CID,
		.internal = own_fd >= 0,
		.internal_port = OWN,
		.internal_fd = own_fd < 0 ? -1 : dup(own_fd),
	};

	(void)state;
	alarm(300);
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/v", dir);
	assert_int_equal(
		ram_create(&ram, &(struct ram_options){ .size = RAM_SIZE }), 0);
	shape = TWO;
	interrupts = breaks = 0;
	assert_int_equal(loop_create(&loop), 0);
	assert_int_equal(loop_timer_create(&loop, &tick, ticked, NULL), 0);
	assert_int_equal(vsock_open(&vsock, &options), 0);
	assert_int_equal(vsock_create(vsock, &loop), 0);
	return 0;
}

static inline int teardown(void **state)
{
	char command[80];

	(void)state;
	vsock_destroy(vsock);
	vsock = NULL;
	loop_timer_destroy(&loop, &tick);
	loop_destroy(&loop);
	ram_destroy(&ram);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

#define vsock_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
