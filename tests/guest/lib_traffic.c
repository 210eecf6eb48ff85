/* SPDX-License-Identifier: Apache-2.0 */
/* Traffic on all devices; see traffic.h. */
#include "tests/guest/traffic.h"

#define IRQ_SLOTS (IRQ_VECTOR + 3)
#define SLEEP	  200000 /* ns */
#define A_WHILE	  50000000
#define LONG	  1200 /* times that */

#define RX   0
#define TX   1
#define SIZE 16

static volatile unsigned ticks;

static void on_tick(void)
{
	ticks++;
}

static void on_slots(void)
{
}

void traffic_sleep(void)
{
	const unsigned before = ticks;

	apic_write(TIMER_INIT, SLEEP);
	while (ticks == before)
		irq_wait();
}

/* Until it is done; false after A_WHILE. */
static bool doze(bool (*done)(void *arg), void *arg)
{
	const unsigned before = ticks;

	apic_write(TIMER_INIT, A_WHILE);
	while (!done(arg)) {
		if (ticks != before)
			return false;
		irq_wait();
	}
	apic_write(TIMER_INIT, 0);
	return true;
}

bool traffic_await(bool (*done)(void *arg), void *arg)
{
	for (unsigned i = 0; i < LONG; i++)
		if (doze(done, arg))
			return true;
	return false;
}

static uint32_t random(void)
{
	static uint32_t x = 2463534242u;

	x ^= x << 13;
	x ^= x >> 17;
	return x ^= x << 5;
}

/* What one buffer after the other of a queue is. */
static void offer(struct vring *ring, unsigned at, void *data, uint32_t len,
		  uint16_t flags)
{
	vring_set(ring, at, (uintptr_t)data, len, flags, 0);
	vring_offer(ring, (uint16_t)at);
}

/* These devices use buffers in order: one that is missed has been lost. */
static bool next_used(struct vring *ring, uint32_t *id, uint32_t *len)
{
	const uint16_t wanted = ring->avail.ring[ring->used_idx % ring->size];

	if (!vring_used(ring, id, len))
		return false;
	if (*id != wanted)
		fail("buffer %u comes back, and %u was lost", *id, wanted);
	return true;
}

/* -- disks ---------------------------------------------------------------- */

#define DISKS  3
#define DEPTH  4
#define BLOCKS 64
#define BLOCK  4096u
#define STEP   64u /* words: one of each sector is looked at */

static struct disk {
	unsigned slot, number;
	bool ro;
	struct vring ring;
	uint32_t version[BLOCKS]; /* 0: as the image has it */
	struct disk_request {
		struct {
			uint32_t type, reserved;
			uint64_t sector;
		} header;
		volatile uint8_t status;
		bool busy;
		unsigned block;
		uint64_t data[BLOCK / 8] __attribute__((aligned(512)));
	} request[DEPTH];
} disks[DISKS];
static unsigned disk_count;

static uint64_t word_of(const struct disk *d, unsigned block, unsigned i)
{
	const uint64_t version = d->version[block];

	/* The image is full of these. */
	return version ? version << 32 | d->number << 24 | block << 16 | i
		       : 0x4d4d4d4d4d4d4d4dULL;
}

static void start_disk(struct disk *d)
{
	d->ro = virtio_offered(d->slot) & BLK_F_RO;
	virtio_start(d->slot, F_VERSION_1 | F_EVENT_IDX | BLK_F_FLUSH,
		     &d->ring);
}

/* As a driver does that saves notifications: only if the device asks for it. */
static void kick_disk(struct disk *d, uint16_t before)
{
	const volatile uint16_t *event =
		(void *)&d->ring.used.ring[d->ring.size];

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((uint16_t)(d->ring.avail_idx - *event - 1) <
	    (uint16_t)(d->ring.avail_idx - before))
		reg_write(d->slot, R_QUEUE_NOTIFY, 0);
}

static void ask_disk(struct disk *d, unsigned i)
{
	struct disk_request *r = &d->request[i];
	const bool write = random() & 1 && !d->ro;
	const unsigned at = 3 * i;

	/* No two requests that are under way have the same block. */
	r->block = random() % (BLOCKS / DEPTH) * DEPTH + i;
	r->header.type = write ? BLK_WRITE : BLK_READ;
	r->header.sector = r->block * (BLOCK / SECTOR);
	r->status = 0xff;
	r->busy = true;
	if (write)
		d->version[r->block]++;
	for (unsigned n = 0; n < BLOCK / 8; n += STEP)
		r->data[n] = write ? word_of(d, r->block, n) : 0;
	vring_set(&d->ring, at, (uintptr_t)&r->header, sizeof(r->header),
		  D_NEXT, (uint16_t)(at + 1));
	vring_set(&d->ring, at + 1, (uintptr_t)r->data, BLOCK,
		  (uint16_t)(D_NEXT | (write ? 0 : D_WRITE)),
		  (uint16_t)(at + 2));
	vring_set(&d->ring, at + 2, (uintptr_t)&r->status, 1, D_WRITE, 0);
	vring_offer(&d->ring, (uint16_t)at);
}

static void begin_disk(struct disk *d)
{
	const uint16_t before = d->ring.avail_idx;

	for (unsigned i = 0; i < DEPTH; i++)
		ask_disk(d, i);
	kick_disk(d, before);
}

static void check_block(const struct disk *d, const struct disk_request *r)
{
	if (r->status)
		fail("disk %u: status %u", d->number, r->status);
	for (unsigned n = 0; n < BLOCK / 8; n += STEP)
		if (r->data[n] != word_of(d, r->block, n))
			fail("disk %u: block %u has %lx at %u and not %lx",
			     d->number, r->block, (unsigned long)r->data[n], n,
			     (unsigned long)word_of(d, r->block, n));
}

static void take_used(struct disk *d)
{
	struct disk_request *r;
	uint32_t id, len;

	while (vring_used(&d->ring, &id, &len)) {
		r = &d->request[id / 3 % DEPTH];
		if (id % 3 || id >= DEPTH * 3 || !r->busy)
			fail("disk %u: used entry %u", d->number, id);
		r->busy = false;
		check_block(d, r);
	}
}

/* None is under way any more; else the next interrupt is asked for. */
static bool disk_is_done(void *arg)
{
	struct disk *d = arg;
	bool busy = false;

	/* again for what has come before that was asked for */
	do {
		take_used(d);
		d->ring.avail.ring[d->ring.size] = d->ring.used_idx;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
	} while (d->ring.used.idx != d->ring.used_idx);
	for (unsigned i = 0; i < DEPTH; i++)
		busy |= d->request[i].busy;
	return !busy;
}

static void end_disk(struct disk *d)
{
	if (!traffic_await(disk_is_done, d))
		fail("disk %u does not answer: of %u it has done %u", d->number,
		     d->ring.avail_idx, d->ring.used_idx);
}

void traffic_restart(void)
{
	static unsigned turn;

	if (disk_count)
		start_disk(&disks[turn++ % disk_count]);
}

void traffic_poll_disk(unsigned slot, struct vring *ring,
		       struct traffic_request *request)
{
	uint32_t id, len;

	request->status = 0xff;
	vring_set(ring, 0, (uintptr_t)&request->header, 16, D_NEXT, 1);
	vring_set(ring, 1, (uintptr_t)request->data, sizeof(request->data),
		  D_NEXT | D_WRITE, 2);
	vring_set(ring, 2, (uintptr_t)&request->status, 1, D_WRITE, 0);
	vring_offer(ring, 0);
	reg_write(slot, R_QUEUE_NOTIFY, 0);
	while (!vring_used(ring, &id, &len))
		pause_cpu();
	if (id || request->status)
		fail("slot %u: entry %u, status %u", slot, id, request->status);
}

/* -- net ------------------------------------------------------------------ */

#define NET_HEADER 12u
#define FRAME	   64u
#define NET_BUFFER 2048u

static struct {
	bool here, sending;
	unsigned slot;
	struct vring rx, tx;
	uint32_t number; /* of the last frame that was sent */
	uint32_t last;	 /* that came back */
	uint8_t in[SIZE][NET_BUFFER], out[NET_HEADER + FRAME];
} net;

static void start_net(void)
{
	if (!virtio_features(net.slot, F_VERSION_1) ||
	    !virtio_queue(net.slot, RX, &net.rx, SIZE) ||
	    !virtio_queue(net.slot, TX, &net.tx, SIZE))
		fail("the network does not start");
	reg_write(net.slot, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < SIZE; i++)
		offer(&net.rx, i, net.in[i], NET_BUFFER, D_WRITE);
	reg_write(net.slot, R_QUEUE_NOTIFY, RX);
}

static void fill_frame(uint8_t *frame, uint32_t number)
{
	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x02mote!\x88\xb5", 8);
	memcpy(frame + 14, &number, sizeof(number));
	for (unsigned i = 18; i < FRAME; i++)
		frame[i] = (uint8_t)(number * 7 + i);
}

static void begin_net(void)
{
	uint32_t id, len;

	if (!net.here)
		return;
	if (next_used(&net.tx, &id, &len))
		net.sending = false;
	if (net.sending)
		return;
	net.sending = true;
	memset(net.out, 0, NET_HEADER);
	fill_frame(net.out + NET_HEADER, ++net.number);
	offer(&net.tx, net.number % SIZE, net.out, sizeof(net.out), 0);
	reg_write(net.slot, R_QUEUE_NOTIFY, TX);
}

static void take_frame(const uint8_t *frame, uint32_t len)
{
	uint8_t wanted[FRAME];
	uint32_t number;

	/* Others may be on the same network. */
	if (len != sizeof(net.out) || memcmp(frame + 6, "\x02mote!", 6) != 0)
		return;
	memcpy(&number, frame + 14, sizeof(number));
	fill_frame(wanted, number);
	if (number > net.number || memcmp(frame, wanted, FRAME) != 0)
		fail("frame %u has come, of %u, and is not what it was", number,
		     net.number);
	net.last = number;
}

static bool net_is_done(void *arg)
{
	uint32_t id, len;

	(void)arg;
	while (next_used(&net.rx, &id, &len)) {
		take_frame(net.in[id % SIZE] + NET_HEADER, len);
		offer(&net.rx, id % SIZE, net.in[id % SIZE], NET_BUFFER,
		      D_WRITE);
		reg_write(net.slot, R_QUEUE_NOTIFY, RX);
	}
	return net.last == net.number;
}

static void end_net(void)
{
	unsigned tries = LONG;

	while (net.here && !doze(net_is_done, NULL)) {
		if (!tries--)
			fail("of %u frames the last one to come back was %u",
			     net.number, net.last);
		begin_net();
	}
}

/* -- vsock ---------------------------------------------------------------- */

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE };

#define HOST	     2
#define STREAM	     1
#define HOST_PORT    1234
#define PIECE	     100u
#define CREDIT	     65536
#define VSOCK_BUFFER 4096u

static struct {
	bool here, sending;
	enum { VSOCK_NONE, VSOCK_ASKED, VSOCK_OPEN } stream;
	unsigned slot;
	struct vring rx, tx;
	uint32_t port, forwarded, resets;
	uint32_t piece, back; /* its number, and how much of it came back */
	bool asked;	      /* a piece is under way */
	uint8_t in[SIZE][VSOCK_BUFFER];
	struct {
		struct vsock_header header;
		uint8_t data[PIECE];
	} out;
} vsock;

static void start_vsock(void)
{
	if (!virtio_features(vsock.slot, F_VERSION_1) ||
	    !virtio_queue(vsock.slot, RX, &vsock.rx, SIZE) ||
	    !virtio_queue(vsock.slot, TX, &vsock.tx, SIZE))
		fail("the vsock does not start");
	reg_write(vsock.slot, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < SIZE; i++)
		offer(&vsock.rx, i, vsock.in[i], VSOCK_BUFFER, D_WRITE);
	reg_write(vsock.slot, R_QUEUE_NOTIFY, RX);
	vsock.port = 100;
}

static void send_packet(uint16_t op, uint32_t len)
{
	vsock.sending = true;
	vsock.out.header = (struct vsock_header){
		.src_cid = reg_read(vsock.slot, R_CONFIG),
		.dst_cid = HOST,
		.src_port = vsock.port,
		.dst_port = HOST_PORT,
		.len = len,
		.type = STREAM,
		.op = op,
		.buf_alloc = CREDIT,
		.fwd_cnt = vsock.forwarded,
	};
	offer(&vsock.tx, vsock.tx.avail_idx % SIZE, &vsock.out,
	      (uint32_t)sizeof(vsock.out.header) + len, 0);
	reg_write(vsock.slot, R_QUEUE_NOTIFY, TX);
}

static uint8_t byte_of_piece(unsigned i)
{
	return (uint8_t)(vsock.piece * 13 + i);
}

/* Whatever is to be said next, where something is. */
static void speak(void)
{
	if (vsock.sending)
		return;
	if (vsock.stream == VSOCK_NONE) {
		vsock.port++;
		vsock.forwarded = vsock.back = 0;
		vsock.asked = false;
		vsock.stream = VSOCK_ASKED;
		send_packet(REQUEST, 0);
	} else if (vsock.stream == VSOCK_OPEN && !vsock.asked) {
		vsock.asked = true;
		for (unsigned i = 0; i < PIECE; i++)
			vsock.out.data[i] = byte_of_piece(i);
		send_packet(RW, PIECE);
	}
}

static void take_data(const struct vsock_header *header, const uint8_t *data)
{
	if (!vsock.asked || header->len > PIECE - vsock.back)
		fail("%u bytes too many of a stream", header->len);
	for (unsigned i = 0; i < header->len; i++)
		if (data[i] != byte_of_piece(vsock.back + i))
			fail("byte %u of piece %u is %x", vsock.back + i,
			     vsock.piece, data[i]);
	vsock.back += header->len;
	vsock.forwarded += header->len;
}

static void take_packet(const uint8_t *packet)
{
	struct vsock_header header;

	memcpy(&header, packet, sizeof(header));
	/* of a stream that was reset before */
	if (header.dst_port != vsock.port)
		return;
	if (header.op == RST || header.op == SHUTDOWN) {
		vsock.resets++;
		vsock.stream = VSOCK_NONE;
	} else if (header.op == RESPONSE) {
		vsock.stream = VSOCK_OPEN;
	} else if (header.op == RW) {
		take_data(&header, packet + sizeof(header));
	}
}

static bool vsock_is_done(void *arg)
{
	uint32_t id, len;

	(void)arg;
	while (next_used(&vsock.tx, &id, &len))
		vsock.sending = false;
	while (next_used(&vsock.rx, &id, &len)) {
		take_packet(vsock.in[id % SIZE]);
		offer(&vsock.rx, id % SIZE, vsock.in[id % SIZE], VSOCK_BUFFER,
		      D_WRITE);
		reg_write(vsock.slot, R_QUEUE_NOTIFY, RX);
	}
	speak();
	return vsock.asked && vsock.back == PIECE;
}

static void begin_vsock(void)
{
	if (!vsock.here)
		return;
	if (vsock.asked && vsock.back == PIECE) {
		vsock.piece++;
		vsock.back = 0;
		vsock.asked = false;
	}
	vsock_is_done(NULL);
}

static void end_vsock(void)
{
	if (vsock.here && !traffic_await(vsock_is_done, NULL))
		fail("piece %u of a stream: %u bytes came back; state %u, "
		     "asked %u, sending %u, after %u resets",
		     vsock.piece, vsock.back, vsock.stream, vsock.asked,
		     vsock.sending, vsock.resets);
}

/* -- all of them ---------------------------------------------------------- */

void traffic_init(void)
{
	irq_init();
	virtio_init();
	irq_handle(IRQ_VECTOR, on_tick);
	irq_handle(IRQ_SLOTS, on_slots);
	irq_route(VIRTIO_GSI, IRQ_SLOTS, false);
	apic_write(LVT_TIMER, IRQ_VECTOR);
	apic_write(TIMER_DIVIDE, DIVIDE_BY_1);
}

static void find_devices(void)
{
	uint32_t id;

	for (unsigned slot = 0; slot < VIRTIO_SLOTS; slot++) {
		id = reg_read(slot, R_DEVICE_ID);
		if (id == ID_BLOCK && disk_count < DISKS) {
			disks[disk_count].number = disk_count;
			disks[disk_count++].slot = slot;
		} else if (id == ID_NET) {
			net.here = true;
			net.slot = slot;
		} else if (id == ID_VSOCK) {
			vsock.here = true;
			vsock.slot = slot;
		}
	}
}

unsigned traffic_start(unsigned spared)
{
	find_devices();
	if (spared > disk_count)
		spared = disk_count;
	disk_count -= spared;
	for (unsigned i = 0; i < disk_count; i++)
		start_disk(&disks[i]);
	if (net.here)
		start_net();
	if (vsock.here)
		start_vsock();
	return spared ? disks[disk_count].slot : VIRTIO_SLOTS;
}

void traffic_begin(void)
{
	for (unsigned i = 0; i < disk_count; i++)
		begin_disk(&disks[i]);
	begin_net();
	begin_vsock();
}

void traffic_end(void)
{
	for (unsigned i = 0; i < disk_count; i++)
		end_disk(&disks[i]);
	end_net();
	end_vsock();
}

void traffic_name(void)
{
	print("%u disks, %u net, %u vsock", disk_count, net.here, vsock.here);
}
