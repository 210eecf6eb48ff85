/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/vsock/vsock.c virtio/vsock/conn.c virtio/vsock/host.c */
/* uses: virtio/lazy.c mem/pool.c mem/state.c */
/* uses: virtio/queue.c cpu/loop/loop.c cpu/loop/unixsock.c mem/ram.c */
/* uses: cpu/loop/helper.c */
/* uses: tests/unit/kept_log.c cpu/loop/file.c cpu/loop/broker.c */
#include "tests/unit/vsock_guest.h"

struct ram ram;
struct ring rx, tx, ev;
struct vsock *vsock;
unsigned interrupts, breaks;
const char *broken_why;
enum shape shape;
uint32_t guest_alloc = WINDOW, guest_fwd;

static bool withholds;
static unsigned withheld[RX_SIZE], withheld_count;

/* -- in place of the transport -------------------------------------------- */

void device_interrupt(struct device *device)
{
	(void)device;
	interrupts++;
}

void device_broken(struct device *device, const char *why)
{
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		device->queue[i].broken = true;
	breaks++;
	broken_why = why;
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	memcpy(device->config + offset, bytes, len);
}

/* -- the driver ----------------------------------------------------------- */

static void guest_offer_rx(unsigned i)
{
	const uint64_t at = RX_DATA + (uint64_t)i * RX_STEP;
	struct ring_buffer buffer[16];
	unsigned count = 0;

	if (shape == TWO) {
		buffer[count++] = (struct ring_buffer){ GPA(at), 44, true };
		buffer[count++] =
			(struct ring_buffer){ GPA(at + 44), 4096, true };
	} else if (shape == ONE) {
		buffer[count++] = (struct ring_buffer){ GPA(at), 3776, true };
	} else {
		for (uint32_t done = 0; done < 44 + 60; done += 13)
			buffer[count++] = (struct ring_buffer){ GPA(at + done),
								13, true };
	}
	/* All buffers have as many descriptors: the head says which it is. */
	ring_add_chain(&rx, buffer, count);
}

unsigned rx_descs(void)
{
	return shape == TWO ? 2 : shape == ONE ? 1 : 8;
}

static void guest_start_queue(unsigned i, struct ring *ring, uint32_t at,
			      uint16_t size)
{
	struct queue_config config;

	ring_init(ring, &ram, GPA(at), size);
	ring->event_idx = ring->indirect = true;
	config = ring_config(ring);
	assert_int_equal(queue_start(&vsock->device.queue[i], &ram, &config),
			 0);
}

/* As a driver does: rings, buffers, DRIVER_OK. */
void guest_start(void)
{
	guest_start_queue(VSOCK_RX, &rx, RX_RING, RX_SIZE);
	guest_start_queue(VSOCK_TX, &tx, TX_RING, TX_SIZE);
	guest_start_queue(VSOCK_EVENT, &ev, EV_RING, 8);
	guest_fwd = 0;
	withholds = false;
	guest_alloc = WINDOW;
	for (unsigned i = 0; i < RX_SIZE / rx_descs(); i++)
		guest_offer_rx(i);
	vsock->device.active = true;
	vsock->device.ops->activate(&vsock->device);
}

void guest_stop(void)
{
	vsock->device.active = false;
	vsock->device.ops->cancel(&vsock->device, DEVICE_ALL_QUEUES);
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		queue_stop(&vsock->device.queue[i]);
}

void guest_kick(unsigned queue)
{
	vsock->device.ops->kick(&vsock->device, queue);
}

static void guest_header(uint8_t *to, const struct vsock_packet *p)
{
	put_le64(to, p->src_cid);
	put_le64(to + 8, p->dst_cid);
	put_le32(to + 16, p->src_port);
	put_le32(to + 20, p->dst_port);
	put_le32(to + 24, p->len);
	put_le16(to + 28, p->type);
	put_le16(to + 30, p->op);
	put_le32(to + 32, p->flags);
	put_le32(to + 36, p->buf_alloc);
	put_le32(to + 40, p->fwd_cnt);
}

void guest_queue_raw(const struct vsock_packet *packet, const void *data,
		     uint32_t real)
{
	static unsigned next;
	const uint64_t at = TX_DATA + (uint64_t)(next++ % 8) * TX_STEP;
	const struct ring_buffer buffer[] = {
		{ GPA(at), HEADER, false },
		{ GPA(at + HEADER), real, false },
	};
	uint8_t header[HEADER];

	guest_header(header, packet);
	assert_int_equal(ram_write(&ram, GPA(at), header, sizeof(header)), 0);
	if (real)
		assert_int_equal(ram_write(&ram, GPA(at + HEADER), data, real),
				 0);
	ring_add_chain(&tx, buffer, real ? 2 : 1);
}

unsigned guest_sent(void)
{
	uint32_t head, written;
	unsigned count = 0;

	for (; ring_used(&tx, &head, &written); count++)
		assert_int_equal(written, 0);
	return count;
}

void guest_send_raw(const struct vsock_packet *packet, const void *data,
		    uint32_t real)
{
	guest_queue_raw(packet, data, real);
	guest_kick(VSOCK_TX);
	guest_sent();
}

struct vsock_packet guest_packet(enum vsock_op op, uint32_t host_port,
				 uint32_t guest_port)
{
	return (struct vsock_packet){
		.src_cid = CID,
		.dst_cid = 2,
		.src_port = guest_port,
		.dst_port = host_port,
		.type = 1,
		.op = (uint16_t)op,
		.buf_alloc = guest_alloc,
		.fwd_cnt = guest_fwd,
	};
}

void guest_op(enum vsock_op op, uint32_t host_port, uint32_t guest_port,
	      uint32_t flags)
{
	struct vsock_packet packet = guest_packet(op, host_port, guest_port);

	packet.flags = flags;
	guest_send_raw(&packet, NULL, 0);
}

void guest_data(uint32_t host_port, uint32_t guest_port, const void *data,
		uint32_t len)
{
	struct vsock_packet packet =
		guest_packet(VSOCK_OP_RW, host_port, guest_port);

	packet.len = len;
	guest_send_raw(&packet, data, len);
}

bool guest_take(struct vsock_packet *p, void *data)
{
	uint8_t bytes[RX_STEP];
	uint32_t head, written;
	uint64_t at;

	if (!ring_used(&rx, &head, &written))
		return false;
	assert_in_range(written, HEADER, RX_STEP);
	at = RX_DATA + (uint64_t)(head / rx_descs()) * RX_STEP;
	ram_read(&ram, bytes, GPA(at), written);
	*p = (struct vsock_packet){
		.src_cid = get_le64(bytes),
		.dst_cid = get_le64(bytes + 8),
		.src_port = get_le32(bytes + 16),
		.dst_port = get_le32(bytes + 20),
		.len = get_le32(bytes + 24),
		.type = get_le16(bytes + 28),
		.op = get_le16(bytes + 30),
		.flags = get_le32(bytes + 32),
		.buf_alloc = get_le32(bytes + 36),
		.fwd_cnt = get_le32(bytes + 40),
	};
	assert_int_equal(p->len, written - HEADER);
	assert_int_equal(p->dst_cid, CID);
	if (data)
		memcpy(data, bytes + HEADER, p->len);
	if (withholds) {
		withheld[withheld_count++] = (unsigned)head / rx_descs();
		return true;
	}
	guest_offer_rx((unsigned)head / rx_descs());
	guest_kick(VSOCK_RX);
	return true;
}

void guest_withhold(void)
{
	withholds = true;
	withheld_count = 0;
}

void guest_give_back(void)
{
	withholds = false;
	for (unsigned i = 0; i < withheld_count; i++)
		guest_offer_rx(withheld[i]);
	guest_kick(VSOCK_RX);
}
