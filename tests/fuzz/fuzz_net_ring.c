/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/passt.c cpu/loop/helper.c cpu/loop/file.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c */
/* uses: virtio/limiter.c virtio/queue.c cpu/loop/loop.c mem/ram.c mem/log.c */
/* uses: mem/pool.c mem/state.c */
/*
 * virtio-net between a driver and a peer that both do as the input says, over
 * a socket pair. Besides what the sanitizers see: the device gives back no
 * more than it took, writes nothing once it is broken or reset, and the stream
 * to the peer stays in step, whatever was interrupted.
 *
 *	byte 0	bit 0 MRG_RXBUF, 1 EVENT_IDX, 2 INDIRECT, 3 limits, 4-6 log2
 *		of the rings' size
 *	then	operations, a byte each and its arguments: see the table
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"
#include "tests/unit/ring.h"
#include "virtio/net/net.h"

#define RAM_SIZE (32ULL << 20)
#define RX_RING	 0x10000
#define TX_RING	 0x20000
#define TABLE	 0x30000
#define DATA	 0x100000

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static struct {
	const uint8_t *bytes;
	size_t left;
	struct ram ram;
	struct loop loop;
	struct net net;
	struct ring ring[NET_QUEUES];
	uint64_t features;
	uint16_t size;
	bool broken, lied, closed;
	int peer;
	uint32_t frame; /* bytes of the frame that the peer is reading */
	uint8_t prefix[4];
	unsigned prefix_have;
} f;

static void ring_must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

/* -- in place of the transport --------------------------------------------- */

void device_interrupt(struct device *device)
{
	ring_must(device->active && !f.broken,
		  "interrupt while it does not run");
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	ring_must(offset + len <= device->config_len, "configuration");
	memcpy(device->config + offset, bytes, len);
}

void device_broken(struct device *device, const char *why)
{
	ring_must(why && !f.broken, "broken once");
	ring_must(f.lied, "a polite driver breaks nothing");
	f.broken = true;
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queue[i].broken = true;
}

/* -- the input ------------------------------------------------------------- */

static uint8_t next_byte(void)
{
	if (!f.left)
		return 0;
	f.left--;
	return *f.bytes++;
}

static uint32_t next_u16(void)
{
	uint32_t low = next_byte();

	return low | (uint32_t)next_byte() << 8;
}

/* -- what the driver does -------------------------------------------------- */

static void driver_start(void)
{
	static const gpa at[] = { { RX_RING }, { TX_RING } };
	struct device *device = &f.net.device;

	if (device->active)
		return;
	f.broken = f.lied = false;
	device->acked = f.features;
	for (unsigned i = 0; i < NET_QUEUES; i++) {
		struct queue_config config;

		ring_init(&f.ring[i], &f.ram, at[i], f.size);
		f.ring[i].event_idx = f.features & FEATURE_EVENT_IDX;
		f.ring[i].indirect = f.features & FEATURE_INDIRECT_DESC;
		config = ring_config(&f.ring[i]);
		ring_must(!queue_start(&device->queue[i], &f.ram, &config),
			  "start");
	}
	device->active = true;
	device->ops->activate(device);
}

static void driver_stop(void)
{
	struct device *device = &f.net.device;

	if (!device->active)
		return;
	device->ops->cancel(device, DEVICE_ALL_QUEUES);
	device->active = false;
	for (unsigned i = 0; i < NET_QUEUES; i++)
		queue_stop(&device->queue[i]);
}

static void ring_kick(unsigned queue)
{
	struct queue *q = &f.net.device.queue[queue];

	if (q->ready && !q->broken)
		f.net.device.ops->kick(&f.net.device, queue);
}

/* How many chains are out; a polite driver has no more than the ring. */
static unsigned outstanding(unsigned queue)
{
	struct ring *ring = &f.ring[queue];
	uint32_t head, written;

	while (ring_used(ring, &head, &written)) {
		ring_must(f.lied || head < ring->size, "a head that was given");
		ring_must(f.lied || written <= 4 * 0x20000u, "written");
	}
	return (uint16_t)(ring->avail_idx - ring->used_idx);
}

static void ring_add_any(unsigned queue, uint8_t shape)
{
	struct ring *ring = &f.ring[queue];
	struct ring_buffer buffer[4];
	const unsigned count = 1 + shape % 4;
	const bool indirect = ring->indirect && shape & 0x10;

	for (unsigned i = 0; i < count; i++)
		buffer[i] = (struct ring_buffer){
			.at = GPA(DATA + (uint64_t)next_u16() * 64),
			.len = (shape & 0x20 ? 32u : 1u) * next_u16() + 1,
			.write = queue == NET_RX,
		};
	if (shape & 0x40)
		buffer[count - 1].write = true;
	if (shape & 0x80)
		buffer[0].write = false;
	/* each chain takes four descriptors, whatever it needs */
	if ((outstanding(queue) + 1) * 4 > f.size)
		return;
	if (indirect)
		ring_add_indirect(
			ring,
			GPA(TABLE + (ring->next_desc + 256 * queue) * 64ULL),
			buffer, count);
	else
		ring_add_chain(ring, buffer, count);
	/* nothing can be received there */
	if (queue == NET_RX && !buffer[count - 1].write)
		f.lied = true;
	/* readable after writable is no chain */
	if (count > 1 && buffer[0].write && !buffer[count - 1].write)
		f.lied = true;
	ring->next_desc = (uint16_t)((ring->next_desc + 3) & ~3) % ring->size;
}

static void ring_lie_byte(void)
{
	const uint32_t at = next_u16() % 0x22000;
	uint8_t byte = next_byte();

	f.lied = true;
	ram_write(&f.ram, GPA(RX_RING + at), &byte, 1);
}

static void ring_lie_head(unsigned queue)
{
	f.lied = true;
	ring_offer(&f.ring[queue], (uint16_t)next_u16());
}

/* -- what the peer does ---------------------------------------------------- */

/* Its own writes to a device that has hung up must not end the test. */
static void peer_send(struct iovec *iov, unsigned count)
{
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };

	if (f.peer >= 0 &&
	    sendmsg(f.peer, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return;
}

static void peer_write(size_t len)
{
	uint8_t bytes[16];
	struct iovec iov = { bytes, len };

	for (size_t i = 0; i < len; i++)
		bytes[i] = next_byte();
	peer_send(&iov, 1);
}

static void peer_frame(uint32_t len)
{
	static uint8_t zeros[NET_FRAME_MAX];
	uint32_t prefix = htonl(len);
	struct iovec iov[] = { { &prefix, 4 }, { zeros, len } };

	if (len <= NET_FRAME_MAX)
		peer_send(iov, 2);
}

/* Frames and nothing else come from the device. */
static void parse_frames(const uint8_t *at, size_t len)
{
	while (len) {
		uint32_t part = f.frame < len ? f.frame : (uint32_t)len;

		if (part) {
			f.frame -= part;
			at += part;
			len -= part;
			continue;
		}
		f.prefix[f.prefix_have++] = *at++;
		len--;
		if (f.prefix_have < sizeof(f.prefix))
			continue;
		f.prefix_have = 0;
		f.frame = (uint32_t)f.prefix[0] << 24 | f.prefix[1] << 16 |
			  f.prefix[2] << 8 | f.prefix[3];
		ring_must(f.frame >= NET_FRAME_MIN && f.frame <= NET_FRAME_MAX,
			  "the stream to the peer is in step");
	}
}

static void peer_read(size_t len)
{
	static uint8_t bytes[70000];
	ssize_t got = 1;

	while (f.peer >= 0 && len && got > 0) {
		got = recv(f.peer, bytes,
			   len < sizeof(bytes) ? len : sizeof(bytes),
			   MSG_DONTWAIT);
		if (got <= 0)
			return;
		parse_frames(bytes, (size_t)got);
		len -= (size_t)got;
	}
}

static void peer_close(void)
{
	if (f.peer >= 0)
		close(f.peer);
	f.peer = -1;
}

/* -- and the loop ---------------------------------------------------------- */

static void run_loop(void)
{
	unsigned turns = 0;

	/* A limit's timer may come again and again: enough is enough. */
	while (turns++ < 1000 && loop_turn(&f.loop, 0) > 0)
		;
}

static void ring_operate(uint8_t operation)
{
	switch (operation % 16) {
	case 0:
		run_loop();
		break;
	case 1:
	case 2:
	case 3:
		ring_add_any(operation / 16 % 2, next_byte());
		break;
	case 4:
		ring_kick(NET_RX);
		break;
	case 5:
		ring_kick(NET_TX);
		break;
	case 6:
		peer_write(operation / 16);
		break;
	case 7:
		peer_frame(next_u16());
		break;
	case 8:
		peer_read(next_u16());
		break;
	case 9:
		driver_stop();
		break;
	case 10:
		driver_start();
		break;
	case 11:
		ring_lie_byte();
		break;
	case 12:
		ring_lie_head(operation / 16 % 2);
		break;
	case 13:
		queue_stop(&f.net.device.queue[operation / 16 % 2]);
		break;
	case 14:
		if (operation / 16 == 15)
			peer_close();
		else
			peer_frame(60);
		break;
	default:
		/* a whole packet, as an ordinary driver sends it */
		ring_add_any(NET_TX, 0x20);
		ring_kick(NET_TX);
		break;
	}
}

static void open_pair(uint8_t how)
{
	struct net_options options = { .kind = NET_FD };
	const int small = 4608;
	int ends[2];

	ring_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends),
		  "socketpair");
	/* so that frames go in parts */
	setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	options.file.fd = ends[0];
	f.peer = ends[1];
	if (how & 8) {
		options.bytes_per_s = 1 << 20;
		options.packets_per_s = 1000;
	}
	memset(&f.net, 0, sizeof(f.net));
	ring_must(!net_open(&f.net, &options, 0), "open");
	ring_must(!net_create(&f.net, &f.loop), "create");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const struct ram_options ram = { .size = RAM_SIZE };
	uint8_t how;

	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	memset(&f, 0, sizeof(f));
	f.bytes = bytes;
	f.left = len;
	how = next_byte();
	log_set_level(LOG_ERROR);
	ring_must(!ram_create(&f.ram, &ram) && !loop_create(&f.loop), "set-up");
	f.features = FEATURE_VERSION_1 | (how & 1 ? NET_F_MRG_RXBUF : 0) |
		     (how & 2 ? FEATURE_EVENT_IDX : 0) |
		     (how & 4 ? FEATURE_INDIRECT_DESC : 0);
	f.size = (uint16_t)(4u << (how >> 4 & 7) > QUEUE_SIZE_MAX
				    ? QUEUE_SIZE_MAX
				    : 4u << (how >> 4 & 7));
	open_pair(how);
	driver_start();
	while (f.left)
		ring_operate(next_byte());
	run_loop();
	/* What is still in the socket is in step, too. */
	peer_read(SIZE_MAX);
	driver_stop();
	net_destroy(&f.net);
	peer_close();
	loop_destroy(&f.loop);
	ram_destroy(&f.ram);
	return 0;
}
