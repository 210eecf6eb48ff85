/*
 * For tests of virtio-net: one device with its event loop, driven without a
 * transport; the driver's side of its two rings, with buffers; frames whose
 * every byte is told by a number. Included by one C file of a test program.
 */
#ifndef TESTS_UNIT_NET_HELP_H
#define TESTS_UNIT_NET_HELP_H

#include <errno.h>
#include <sys/socket.h>

#include "tests/unit/boot_help.h"
#include "tests/unit/ring.h"
#include "virtio/net/backend.h"
#include "virtio/net/net.h"

#define NET_RAM	  (48 * MIB)
#define RX_RING	  0x10000
#define TX_RING	  0x20000
#define RX_DATA	  0x100000 /* a slot for each descriptor */
#define TX_DATA	  0x1200000
#define DATA_SLOT 0x11000 /* the largest packet, and more */

static struct {
	struct ram ram;
	struct loop loop;
	struct net net;
	struct ring ring[NET_QUEUES];
	unsigned interrupts, broken, config_changes;
} t;

/* -- in place of the transport and the log --------------------------------- */

void device_interrupt(struct device *device)
{
	assert_ptr_equal(device, &t.net.device);
	t.interrupts++;
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	assert_true(offset + len <= device->config_len);
	memcpy(device->config + offset, bytes, len);
	t.config_changes++;
}

void device_broken(struct device *device, const char *why)
{
	assert_non_null(why);
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queue[i].broken = true;
	t.broken++;
}

int log_errno(const char *call)
{
	int error = errno;

	log_error("%s: %s", call, strerror(error));
	return -error;
}

/* -- the device ------------------------------------------------------------ */

/* Device, loop and RAM; `fd` is the host's side. */
static inline int try_net(const struct net_options *options)
{
	int error;

	memset(&t, 0, sizeof(t));
	make_ram(&t.ram, NET_RAM);
	assert_int_equal(loop_create(&t.loop), 0);
	error = net_open(&t.net, options, 0);
	if (!error)
		assert_int_equal(net_create(&t.net, &t.loop), 0);
	return error;
}

static inline void end_net(void)
{
	net_destroy(&t.net);
	loop_destroy(&t.loop);
	ram_destroy(&t.ram);
}

/* The events that are there, until there are none. */
static inline void pump(void)
{
	struct epoll_event event;
	unsigned rounds = 0;

	while (epoll_wait(t.loop.epoll_fd, &event, 1, 0) > 0) {
		const struct loop_source *source = event.data.ptr;

		source->ready(source->arg, event.events);
		assert_true(rounds++ < 100000);
	}
}

/* The same, with the timer's, for some time. */
static inline void pump_for(uint64_t ns)
{
	const uint64_t end = loop_now() + ns;

	do {
		pump();
		usleep(200);
	} while (loop_now() < end);
}

/* -- the driver ------------------------------------------------------------ */

static inline void kick(unsigned queue)
{
	t.net.device.ops->kick(&t.net.device, queue);
}

static inline void drive_sized(uint64_t features, uint16_t size)
{
	static const gpa at[] = { { RX_RING }, { TX_RING } };
	struct device *device = &t.net.device;

	device->acked = features | FEATURE_VERSION_1;
	for (unsigned i = 0; i < NET_QUEUES; i++) {
		struct queue_config config;

		ring_init(&t.ring[i], &t.ram, at[i], size);
		t.ring[i].event_idx = features & FEATURE_EVENT_IDX;
		t.ring[i].indirect = features & FEATURE_INDIRECT_DESC;
		config = ring_config(&t.ring[i]);
		assert_int_equal(
			queue_start(&device->queue[i], &t.ram, &config), 0);
	}
	device->active = true;
	device->ops->activate(device);
	kick(NET_RX);
	kick(NET_TX);
}

static inline void drive(uint64_t features)
{
	drive_sized(features, 64);
}

static inline void reset(void)
{
	struct device *device = &t.net.device;

	device->ops->reset(device);
	device->active = false;
	for (unsigned i = 0; i < NET_QUEUES; i++)
		queue_stop(&device->queue[i]);
}

/* -- frames and buffers ---------------------------------------------------- */

static inline void make_frame(uint8_t *frame, size_t len, unsigned number)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8) * 3 + 1);
}

/* A packet for the device to send: header and frame, in `parts` buffers. */
static inline uint16_t put_packet(size_t len, unsigned number, unsigned parts)
{
	static uint8_t bytes[NET_HEADER + NET_FRAME_MAX + 1];
	struct ring *ring = &t.ring[NET_TX];
	const uint64_t at = TX_DATA + (uint64_t)ring->next_desc * DATA_SLOT;
	struct ring_buffer buffer[16];
	uint32_t done = 0, all = (uint32_t)(NET_HEADER + len);

	memset(bytes, 0, NET_HEADER);
	make_frame(bytes + NET_HEADER, len, number);
	assert_int_equal(ram_write(&t.ram, GPA(at), bytes, all), 0);
	for (unsigned i = 0; i < parts; i++) {
		/* the first ends within the header */
		uint32_t part =
			i + 1 < parts ? (i ? all / parts : 5) : all - done;

		buffer[i] = (struct ring_buffer){ GPA(at + done), part, false };
		done += part;
	}
	return ring_add_chain(ring, buffer, parts);
}

/* Where the receive buffer of this head begins. */
static inline uint64_t rx_at(uint32_t head)
{
	return RX_DATA + head * (uint64_t)DATA_SLOT;
}

/* An empty buffer of so many bytes, full of 0xee. */
static inline uint16_t put_buffer(uint32_t len)
{
	struct ring *ring = &t.ring[NET_RX];
	const struct ring_buffer buffer = { GPA(rx_at(ring->next_desc)), len,
					    true };

	memset(ram_span(&t.ram, buffer.at, len), 0xee, len);
	return ring_add_chain(ring, &buffer, 1);
}

/* The next packet that the driver has got is this one; the chains it took. */
static inline unsigned expect_packet(size_t len, unsigned number)
{
	static uint8_t got[NET_HEADER + NET_FRAME_MAX], wanted[NET_FRAME_MAX];
	static const uint8_t zeros[NET_HEADER_NUM_BUFFERS];
	size_t have = 0;
	unsigned chains = 0;
	uint32_t head = 0, written = 0;

	while (have < NET_HEADER + len) {
		if (!ring_used(&t.ring[NET_RX], &head, &written))
			fail_msg("packet %u: %zu bytes of %zu", number, have,
				 NET_HEADER + len);
		assert_true(have + written <= sizeof(got));
		assert_int_equal(
			ram_read(&t.ram, got + have, GPA(rx_at(head)), written),
			0);
		have += written;
		chains++;
	}
	make_frame(wanted, len, number);
	assert_int_equal(have, NET_HEADER + len);
	assert_memory_equal(got, zeros, sizeof(zeros));
	assert_int_equal(get_le16(got + NET_HEADER_NUM_BUFFERS), chains);
	assert_memory_equal(got + NET_HEADER, wanted, len);
	return chains;
}

static inline void expect_no_packet(void)
{
	uint32_t head = 0, written = 0;

	assert_false(ring_used(&t.ring[NET_RX], &head, &written));
}

/* So many packets have come back sent. */
static inline void expect_sent(unsigned count)
{
	uint32_t head = 0, written = 0;

	while (count--) {
		assert_true(ring_used(&t.ring[NET_TX], &head, &written));
		assert_int_equal(written, 0);
	}
	assert_false(ring_used(&t.ring[NET_TX], &head, &written));
}

#endif
