/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/vsock/vsock.c virtio/vsock/conn.c virtio/vsock/host.c */
/* uses: virtio/lazy.c mem/pool.c mem/state.c */
/* uses: virtio/queue.c tests/unit/vsock_check.c tests/unit/mock_broker.c */
/* uses: cpu/loop/loop.c cpu/loop/unixsock.c mem/ram.c cpu/loop/file.c */
/* ldflags: -Wl,--wrap=clock_gettime -Wl,--wrap=loop_timer_set */
/*
 * A guest and programs of the host that do as the input says to one vsock
 * device: packets, good and bad, rings written over at will, clients and
 * listeners that come, write, read and leave at any time, time that passes,
 * resets. The input is a list of commands, a byte each and what it takes.
 *
 * Besides what the sanitizers see: what the device gives the guest are packets
 * of its own, and when all have gone nothing is left. First inputs:
 * corpus/streams.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "mem/log.h"
#include "tests/unit/mock_broker.h"
#include "tests/unit/ring.h"
#include "tests/unit/vsock_check.h"
#include "virtio/vsock/vsock.h"

#define RAM_SIZE  (32u << 20)
#define HEADER	  44u
#define CID	  3u
#define SIZE	  16u
#define RINGS	  0x100000u /* RING_STEP each */
#define RING_STEP 0x10000u
#define RX_DATA	  0x200000u
#define TX_DATA	  0x300000u
#define ENDS	  8u	      /* programs of the host, at most */
#define FILES	  (64u + 64u) /* a table of 64 connections */
#define PORT	  1u	      /* somebody listens there */
#define S	  1000000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns);

static struct ram ram;
static struct ring ring[VSOCK_QUEUES];
static struct loop loop;
static struct vsock *vsock;
static char path[64];
static int listener, end[ENDS];
static uint64_t clock_ns;
static bool honest; /* the rings were not written over */

static const uint8_t *input;
static size_t left;

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* -- surroundings --------------------------------------------------------- */

#define NO_LOG(name)                                                           \
	void name(const char *format, ...)                                     \
	{                                                                      \
		char text[1024];                                               \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		vsnprintf(text, sizeof(text), format, args);                   \
		va_end(args);                                                  \
	}
NO_LOG(log_error)
NO_LOG(log_warn)
NO_LOG(log_info)

void log_guest(struct log_limit *limit, const char *format, ...)
{
	(void)limit;
	(void)format;
}

const char *log_advice(int error)
{
	(void)error;
	return "";
}

int log_errno(const char *call)
{
	(void)call;
	abort();
}

void device_interrupt(struct device *device)
{
	(void)device;
}

void device_broken(struct device *device, const char *why)
{
	must(why != NULL && !honest);
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		device->queue[i].broken = true;
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	memcpy(device->config + offset, bytes, len);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ (time_t)(clock_ns / S),
				  (long)(clock_ns % S) };
	return 0;
}

void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	(void)timer;
	(void)ns;
}

static void pass(uint64_t ns)
{
	clock_ns += ns;
	if (vsock->conns.timer_ns && vsock->conns.timer_ns <= clock_ns)
		vsock->conns.timer.expired(vsock->conns.timer.arg);
}

/* -- the input ------------------------------------------------------------ */

static uint32_t byte(void)
{
	if (!left)
		return 0;
	left--;
	return *input++;
}

static uint32_t word(void)
{
	uint32_t low = byte();

	return low | byte() << 8;
}

/* Numbers that matter, and any. */
static uint32_t number(void)
{
	static const uint32_t telling[] = { 0,
					    1,
					    2,
					    43,
					    44,
					    45,
					    640,
					    65536,
					    65537,
					    VSOCK_BUFFER,
					    VSOCK_BUFFER + 1,
					    0x7fffffff,
					    0x80000000,
					    0xffffffff };
	uint32_t which = byte();

	if (which < ARRAY_LEN(telling))
		return telling[which];
	return which & 1 ? word() : word() << 16 | word();
}

/* -- the guest ------------------------------------------------------------ */

static void start_queue(unsigned i)
{
	struct queue_config config;

	ring_init(&ring[i], &ram, GPA(RINGS + i * RING_STEP), SIZE);
	ring[i].event_idx = i % 2;
	config = ring_config(&ring[i]);
	must(!queue_start(&vsock->device.queue[i], &ram, &config));
}

static void guest_start(void)
{
	honest = true;
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		start_queue(i);
	vsock->device.active = true;
	vsock->device.ops->activate(&vsock->device);
}

static void guest_stop(void)
{
	vsock->device.active = false;
	vsock->device.ops->cancel(&vsock->device, DEVICE_ALL_QUEUES);
	must(vsock->conns.count == 0);
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		queue_stop(&vsock->device.queue[i]);
}

static uint32_t any_host_port(void)
{
	uint32_t which = byte();

	/* Some port that a client was given, mostly. */
	return which < 4 ? which : vsock->conns.last_port - which % 4;
}

static void guest_packet(void)
{
	static uint8_t payload[65536];
	const uint32_t strange = byte();
	uint8_t header[HEADER] = { 0 };
	uint32_t real = byte() % 4 ? word() % 300 : word();
	struct ring_buffer buffer[] = {
		{ GPA(TX_DATA), strange & 1 ? byte() % 50 + 1 : HEADER,
		  strange & 2 },
		{ GPA(TX_DATA + HEADER), real, false },
	};

	put_le64(header, strange & 4 ? number() : CID);
	put_le64(header + 8, strange & 8 ? number() : 2);
	put_le32(header + 16, byte() % 4); /* from */
	put_le32(header + 20, any_host_port());
	put_le32(header + 24, strange & 16 ? number() : real);
	put_le16(header + 28, (uint16_t)(strange & 32 ? number() : 1));
	put_le16(header + 30, (uint16_t)(byte() % 9));
	put_le32(header + 32, byte()); /* flags */
	put_le32(header + 36, number());
	put_le32(header + 40, number());
	ram_write(&ram, GPA(TX_DATA), header, sizeof(header));
	ram_write(&ram, GPA(TX_DATA + HEADER), payload, real);
	if (buffer[0].write)
		honest = false; /* what is read comes first, 2.7.4.2 */
	ring_add_chain(&ring[VSOCK_TX], buffer, real ? 2 : 1);
	vsock->device.ops->kick(&vsock->device, VSOCK_TX);
}

/* Buffers that the device has; more than a ring full of them is a breach. */
static unsigned offered(const struct ring *of)
{
	return (uint16_t)(of->avail_idx - of->used_idx);
}

/* A receive buffer in so many pieces of such a size. */
static void guest_buffer(void)
{
	const uint32_t pieces = byte() % 4 + 1, size = word() % 5000 + 1;
	struct ring_buffer buffer[4];

	for (uint32_t i = 0; i < pieces; i++)
		buffer[i] =
			(struct ring_buffer){ GPA(RX_DATA + (uint64_t)i * size),
					      size, true };
	if (size * pieces <= HEADER)
		honest = false;
	if (offered(&ring[VSOCK_RX]) >= SIZE / ARRAY_LEN(buffer))
		return;
	ring_add_chain(&ring[VSOCK_RX], buffer, pieces);
	vsock->device.ops->kick(&vsock->device, VSOCK_RX);
}

static void guest_spoils(void)
{
	const uint32_t at = word() % (VSOCK_QUEUES * RING_STEP);
	const uint8_t value = (uint8_t)byte();

	honest = false;
	ram_write(&ram, GPA(RINGS + at), &value, 1);
	vsock->device.ops->kick(&vsock->device, byte() % VSOCK_QUEUES);
}

static void guest_takes(void)
{
	uint32_t head, written;

	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		for (unsigned n = 0;
		     n < SIZE && ring_used(&ring[i], &head, &written); n++)
			if (honest)
				must(head < SIZE &&
				     (i == VSOCK_TX   ? !written
				      : i == VSOCK_RX ? written >= HEADER
						      : written == 4));
}

static void guest_resets(void)
{
	guest_stop();
	guest_start();
}

/* Its streams end, and the CID that it had counts as another. */
static void guest_is_restored(void)
{
	static uint8_t bytes[16 + 8 * VSOCK_RSTS_ROOM + 1];
	struct state s = state_save(bytes, sizeof(bytes));

	vsock_state(vsock, &s);
	must(state_is_whole(&s));
	bytes[0] = (uint8_t)(VSOCK_CID_MIN + byte() % 8);
	guest_stop();
	s = state_load(bytes, s.at);
	vsock_state(vsock, &s);
	must(state_is_whole(&s));
	guest_start();
}

static void guest_event(void)
{
	const struct ring_buffer buffer = { GPA(RX_DATA), 4, true };

	if (byte() % 2)
		guest_is_restored();
	else if (offered(&ring[VSOCK_EVENT]) < SIZE)
		ring_add_chain(&ring[VSOCK_EVENT], &buffer, 1);
	vsock->device.ops->kick(&vsock->device, VSOCK_EVENT);
}

/* -- the host ------------------------------------------------------------- */

static int *any_end(void)
{
	return &end[byte() % ENDS];
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void host_dials(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const char *const lines[] = { "CONNECT 1\n", "connect 2\nmore",
					     "CONN", "CONNECT x\n" };
	const char *line = lines[byte() % ARRAY_LEN(lines)];
	int *fd = any_end();

	drop(fd);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	*fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	if (connect(*fd, (void *)&address, sizeof(address)))
		drop(fd);
	else
		must(send(*fd, line, strlen(line), MSG_NOSIGNAL) > 0);
}

static void host_accepts(void)
{
	int *fd = any_end();

	drop(fd);
	*fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
}

static void host_writes(void)
{
	int *fd = any_end();
	uint32_t len = byte() % 4 ? word() % 100 : word();

	if (*fd >= 0)
		send(*fd, input, len < left ? len : left, MSG_NOSIGNAL);
}

static void host_fills(void)
{
	static const uint8_t zero[65536];
	int *fd = any_end();

	if (*fd >= 0)
		send(*fd, zero, sizeof(zero), MSG_NOSIGNAL);
}

static void host_reads(void)
{
	static uint8_t room[65536];
	int *fd = any_end();

	if (*fd >= 0 && read(*fd, room, word() + 1u) < 0)
		return;
}

static void host_closes(void)
{
	drop(any_end());
}

static void host_half_closes(void)
{
	int *fd = any_end();

	if (*fd >= 0)
		shutdown(*fd, (int)(byte() % 3));
}

static void time_passes(void)
{
	pass(1ULL << byte() % 35);
}

static void host_runs(void)
{
	must(loop_turn(&loop, 0) >= 0);
}

/* -- an input ------------------------------------------------------------- */

static void (*const commands[])(void) = {
	guest_packet, guest_packet, guest_packet,     guest_packet,
	guest_buffer, guest_buffer, guest_buffer,     guest_spoils,
	guest_resets, guest_event,  host_dials,	      host_dials,
	host_accepts, host_writes,  host_fills,	      host_reads,
	host_closes,  host_runs,    host_half_closes, time_passes,
};

static void make_all(void)
{
	static struct vsock_options options = { .file = { path, -1 },
						.cid = CID };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct rlimit files = { FILES, FILES };

	must(!setrlimit(RLIMIT_NOFILE, &files));
	must(!ram_create(&ram, &(struct ram_options){ .size = RAM_SIZE }));
	must(!loop_create(&loop));
	snprintf(path, sizeof(path), "/tmp/mote-fuzz-%d", (int)getpid());
	must(!vsock_open(&vsock, &options));
	mock_broker_start(vsock, &loop);
	must(!vsock_create(vsock, &loop));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s_%u", path,
		 PORT);
	unlink(address.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	must(!bind(listener, (void *)&address, sizeof(address)) &&
	     !listen(listener, 2));
	for (unsigned i = 0; i < ENDS; i++)
		end[i] = -1;
}

/* Sockets' files outlive a crash, not an end. */
static void remove_all(void)
{
	char name[80];

	snprintf(name, sizeof(name), "%s_%u", path, PORT);
	unlink(name);
	vsock_destroy(vsock);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	int fd;

	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	if (!vsock) {
		make_all();
		atexit(remove_all);
	}
	input = bytes;
	left = len;
	guest_start();
	while (left) {
		commands[byte() % ARRAY_LEN(commands)]();
		host_runs();
		guest_takes();
		must(!vsock_check(&vsock->conns));
	}
	guest_stop();
	while (vsock->conns.dials)
		host_runs();
	for (unsigned i = 0; i < ENDS; i++)
		drop(&end[i]);
	while ((fd = accept(listener, NULL, NULL)) >= 0)
		close(fd);
	/* Clients that nobody let in are turned away next time: let them go. */
	while ((fd = accept(vsock->conns.host.fd, NULL, NULL)) >= 0)
		close(fd);
	return 0;
}
