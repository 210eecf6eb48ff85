/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c mem/state.c */
/* uses: virtio/net/passt.c cpu/loop/helper.c cpu/loop/file.c */
/*
 * One virtio-net device without a transport, and its driver: see net_help.h.
 */
#include "tests/unit/net_help.h"

#include <signal.h>
#include <sys/eventfd.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define NET_RAM	  (48 * MIB)
#define RX_RING	  0x10000
#define TX_RING	  0x20000
#define DATA_SLOT 0x11000 /* the largest packet, and more */

struct net_test t;

/* -- in place of the transport --------------------------------- */

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
	t.config_changed = len;
}

void device_broken(struct device *device, const char *why)
{
	assert_non_null(why);
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queue[i].broken = true;
	t.broken++;
}

/* -- the device ------------------------------------------------------------ */

int try_net(const struct net_options *options)
{
	int error;

	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	memset(&t, 0, sizeof(t));
	make_ram(&t.ram, NET_RAM);
	assert_int_equal(loop_create(&t.loop), 0);
	error = net_open(&t.net, options, 0);
	if (!error)
		assert_int_equal(net_create(&t.net, &t.loop), 0);
	return error;
}

void end_net(void)
{
	net_destroy(&t.net);
	loop_destroy(&t.loop);
	ram_destroy(&t.ram);
}

void refuse_net(struct net_options options, const char *why)
{
	unsigned fds = count_fds();

	memset(&t, 0, sizeof(t));
	assert_true(net_open(&t.net, &options, 3) < 0);
	expect_log(why);
	assert_memory_equal(logged.last, "net 3 (", 7);
	assert_int_equal(count_fds(), fds);
}

void expect_net_log(const char *fragment)
{
	expect_log(fragment);
}

void expect_no_net_log(void)
{
	expect_no_log();
}

void run_loop(void)
{
	unsigned turns = 0;

	while (loop_turn(&t.loop, 0) > 0)
		assert_true(turns++ < 100000);
}

void run_loop_for(uint64_t ns)
{
	const uint64_t end = loop_now() + ns;

	do {
		run_loop();
		usleep(200);
	} while (loop_now() < end);
}

static void bystander_ready(void *arg, uint32_t events)
{
	struct bystander *bystander = arg;

	(void)events;
	bystander->in = t.net.in.count;
	bystander->out = t.net.out.count;
}

void bystander_add(struct bystander *bystander)
{
	bystander->source = (struct loop_source){ eventfd(1, EFD_CLOEXEC),
						  bystander_ready, bystander };
	assert_true(bystander->source.fd >= 0);
	assert_int_equal(
		loop_add(&t.loop, &bystander->source, EPOLLIN | EPOLLET), 0);
}

void bystander_remove(struct bystander *bystander)
{
	loop_remove(&t.loop, &bystander->source);
	close(bystander->source.fd);
}

/* -- the driver ------------------------------------------------------------ */

void driver_kick(unsigned queue)
{
	t.net.device.ops->kick(&t.net.device, queue);
}

void driver_start_sized(uint64_t features, uint16_t size)
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
	driver_kick(NET_RX);
	driver_kick(NET_TX);
}

void driver_start(uint64_t features)
{
	driver_start_sized(features, 64);
}

void driver_reset(void)
{
	struct device *device = &t.net.device;

	device->ops->cancel(device, DEVICE_ALL_QUEUES);
	device->active = false;
	for (unsigned i = 0; i < NET_QUEUES; i++)
		queue_stop(&device->queue[i]);
}

/* -- frames and buffers ---------------------------------------------------- */

void make_frame(uint8_t *frame, size_t len, unsigned number)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8) * 3 + 1);
}

uint16_t put_packet(size_t len, unsigned number, unsigned parts)
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

uint64_t rx_at(uint32_t head)
{
	return RX_DATA + head * (uint64_t)DATA_SLOT;
}

uint16_t put_buffer(uint32_t len)
{
	struct ring *ring = &t.ring[NET_RX];
	const struct ring_buffer buffer = { GPA(rx_at(ring->next_desc)), len,
					    true };

	memset(ram_span(&t.ram, buffer.at, len), 0xee, len);
	return ring_add_chain(ring, &buffer, 1);
}

unsigned expect_packet(size_t len, unsigned number)
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

void expect_no_packet(void)
{
	uint32_t head = 0, written = 0;

	assert_false(ring_used(&t.ring[NET_RX], &head, &written));
}

void expect_sent(unsigned count)
{
	uint32_t head = 0, written = 0;

	while (count--) {
		assert_true(ring_used(&t.ring[NET_TX], &head, &written));
		assert_int_equal(written, 0);
	}
	assert_false(ring_used(&t.ring[NET_TX], &head, &written));
}

unsigned count_sent(void)
{
	uint32_t head = 0, written = 0;
	unsigned count = 0;

	while (ring_used(&t.ring[NET_TX], &head, &written))
		count++;
	return count;
}

void mark_rx_data(void)
{
	memset(ram_span(&t.ram, GPA(RX_DATA), MIB), 0xaa, MIB);
}

void expect_rx_data_untouched(void)
{
	const uint8_t *data = ram_span(&t.ram, GPA(RX_DATA), MIB);

	for (unsigned i = 0; i < MIB; i++)
		assert_int_equal(data[i], 0xaa);
}
