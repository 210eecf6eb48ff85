/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/vsock/vsock.c virtio/vsock/conn.c virtio/vsock/host.c */
/* uses: mem/pool.c */
/* uses: virtio/mmio.c */
/* uses: virtio/lazy.c virtio/queue.c cpu/bus.c */
/* uses: cpu/loop/unixsock.c mem/ram.c mem/log.c */
/*
 * The vsock device between a driver that does what the input says
 * (driver.h) and host programs that do, too: real unix sockets, whose
 * numbers are modulo PROGRAMS.
 *
 *	11 n			program n connects to the device's socket
 *	12 n count8 bytes...	it writes that
 *	13 n			it reads what came
 *	14 n			it closes its end
 *	15 kind ...		kind < 8: the driver sends a packet of that
 *				operation, ports8 flags8 alloc16 len16; else
 *				program n (8 bits) accepts a guest's stream
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

/* uses: tests/fuzz/mmio_input.c cpu/loop/file.c tests/unit/mock_broker.c */
#include "tests/fuzz/driver.h"
#include "tests/unit/mock_broker.h"
#include "virtio/vsock/vsock.h"

#define PROGRAMS     6
#define FILES	     (64 + 16) /* a pool of 16 connections */
#define PACKETS_AT   0x30000
#define HEADER	     44
#define GUEST_CID    3
#define LISTENS_PORT 1

static struct vsock *vsock;
static int program[PROGRAMS], listener = -1;
static char directory[] = "/tmp/fuzz-vsock-XXXXXX";
static char path[64], port_path[72];
static unsigned packets;

static int unix_socket(const char *name, bool listens)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const void *any = &address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	if (fd < 0)
		return fd;
	if (listens ? bind(fd, any, sizeof(address)) || listen(fd, 2)
		    : connect(fd, any, sizeof(address)) && errno != EAGAIN) {
		close(fd);
		return -1;
	}
	return fd;
}

static void set_program(unsigned n, int fd)
{
	if (program[n] >= 0)
		close(program[n]);
	program[n] = fd;
}

/* The packet's header and `len` bytes, as one buffer on the transmit queue. */
static void send_packet(unsigned op)
{
	const uint32_t ports = (uint32_t)take(1), flags = (uint32_t)take(1);
	const uint32_t alloc = (uint32_t)take(2), len = (uint32_t)take(2);
	const uint32_t at = PACKETS_AT + packets++ % 16 * 0x400;
	uint8_t *header = ram_span(&ram, GPA(at), HEADER);
	uint8_t offered[] = { 1, 0, 0, 0, 0, 0 };
	const struct input rest = input;

	put_le64(header, GUEST_CID);
	put_le64(header + 8, 2);
	put_le32(header + 16, ports >> 4);
	put_le32(header + 20, ports & 15);
	put_le32(header + 24, len);
	put_le16(header + 28, 1);
	put_le16(header + 30, (uint16_t)op);
	put_le32(header + 32, flags);
	put_le32(header + 36, alloc);
	put_le32(header + 40, (uint32_t)take(2));
	put_le16(offered + 2, (uint16_t)(at / 4));
	put_le16(offered + 4, (uint16_t)(HEADER + len));
	input = (struct input){ offered, sizeof(offered) };
	offer();
	input = rest;
	reg_write(0x50, 1);
}

static void client(unsigned operation, unsigned n)
{
	static uint8_t bytes[65536];
	size_t len;

	switch (operation) {
	case 0:
		set_program(n, unix_socket(path, false));
		break;
	case 1:
		len = take(1);
		len = len < input.left ? len : input.left;
		if (program[n] >= 0)
			(void)!send(program[n], input.at, len,
				    MSG_DONTWAIT | MSG_NOSIGNAL);
		input.at += len;
		input.left -= len;
		break;
	case 2:
		while (program[n] >= 0 &&
		       recv(program[n], bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		break;
	default:
		set_program(n, -1);
	}
}

void input_host(unsigned operation)
{
	unsigned n = (unsigned)take(1);

	if (operation < 4)
		client(operation, n % PROGRAMS);
	else if (n < 8)
		send_packet(n);
	else
		set_program(n % PROGRAMS,
			    accept4(listener, NULL, NULL,
				    SOCK_NONBLOCK | SOCK_CLOEXEC));
}

static void clean(void)
{
	unlink(path);
	unlink(port_path);
	rmdir(directory);
}

static void start(void)
{
	const struct rlimit files = { FILES, FILES };

	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	must(mkdtemp(directory) && !atexit(clean), "a directory");
	snprintf(path, sizeof(path), "%s/s", directory);
	snprintf(port_path, sizeof(port_path), "%s_%d", path, LISTENS_PORT);
	listener = unix_socket(port_path, true);
	must(listener >= 0 && !setrlimit(RLIMIT_NOFILE, &files), "start");
	for (unsigned i = 0; i < PROGRAMS; i++)
		program[i] = -1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vsock_options options = { .file = { path, -1 },
					       .cid = GUEST_CID };

	if (listener < 0)
		start();
	input_begin(data, size);
	packets = 0;
	must(!vsock_open(&vsock, &options), "open");
	mock_broker_start(vsock, &fake.loop);
	must(!vsock_create(vsock, &fake.loop), "create");
	input_attach(vsock_device(vsock));
	input_run();
	mmio_detach(vsock_device(vsock));
	vsock_destroy(vsock);
	mock_broker_end();
	for (unsigned i = 0; i < LOOP_SOURCES_MAX; i++)
		must(!fake.source[i], "a source is left behind");
	for (unsigned i = 0; i < PROGRAMS; i++)
		set_program(i, -1);
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
		close(fd);
	return 0;
}
