/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All devices that there are, busy at once, by a guest that counts what it asks
 * of them and what it is told; at the end it says so, as the object of an event
 * (cpu/loop/counters.h), for the test to compare.
 *
 *	disks	for `rounds=` (8) rounds on all of their queues a batch of
 *		requests, some of which have to fail: past the end, of no kind
 *		that there is, or what a disk that is read only does not do
 *	net	frames, each of which comes back, and some that are none
 *	vsock	in each round a stream to port 1234 of the host, where what
 *		it sends is sent back, which every other time stays open, and
 *		one to a port where nobody is
 *
 *	clients=N	takes N connections of the host's after that: to port
 *			52, whose stream it ends, and to others, which it
 *			refuses
 *	queued=N	instead of rounds: N reads of each disk and N frames,
 *			of all of which a device is told at once
 *	ready=1		is saved then, and does its rounds in another process,
 *			counting anew
 *	again=1		does its rounds once more at the end
 *	seed=		of what is asked for
 */
#include "tests/guest/virtio.h"

#define BLK_DISCARD	 11
#define BLK_WRITE_ZEROES 13
#define F_MQ		 (1UL << 12)
#define F_ZEROES	 (1UL << 14)
#define CONFIG_QUEUES	 32 /* its upper half: virtio 1.2, 5.2.4 */
#define DISKS_MAX	 4
#define QUEUES_MAX	 4
#define BATCH		 5 /* of three descriptors each */
#define SIZE		 16
#define DATA_SECTORS	 8

enum { RX, TX };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE };
#define FRAMES	   4 /* in a round */
#define HEADER	   12
#define FRAME_MIN  14
#define BUFFER	   4096
#define HOST	   2
#define ECHO_PORT  1234
#define EMPTY_PORT 4321
#define OUR_PORT   52
#define FIRST_PORT 7000

static uint32_t random_state;

/* A linear congruential generator, of which the upper bits are good. */
static uint32_t random_below(uint32_t limit)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % limit;
}

/* -- disks ----------------------------------------------------------------- */

static struct disk {
	unsigned slot, queues;
	uint64_t sectors;
	struct vring ring[QUEUES_MAX];
	struct request {
		struct {
			uint32_t type, reserved;
			uint64_t sector;
		} header;
		struct {
			uint64_t sector;
			uint32_t sectors, flags;
		} range[2];
		uint8_t data[DATA_SECTORS * SECTOR];
		uint64_t bytes; /* that are done if it is */
		volatile uint8_t status;
	} request[QUEUES_MAX][SIZE];
	struct {
		uint64_t reads, read_bytes, writes, written_bytes, flushes,
			discards, discarded_bytes, errors;
	} did;
} disk[DISKS_MAX];
static unsigned disks;

static void start_disk(unsigned slot)
{
	const uint64_t wanted = F_VERSION_1 | BLK_F_FLUSH | BLK_F_DISCARD |
				F_ZEROES | F_MQ | F_EVENT_IDX;
	struct disk *d = &disk[disks++];

	if (disks > DISKS_MAX)
		fail("too many disks");
	d->slot = slot;
	if (!virtio_features(slot, wanted & virtio_offered(slot)))
		fail("a disk's features are refused");
	d->sectors = reg_read(slot, R_CONFIG);
	d->queues = reg_read(slot, R_CONFIG + CONFIG_QUEUES) >> 16;
	if (d->queues > QUEUES_MAX)
		d->queues = QUEUES_MAX;
	for (unsigned i = 0; i < d->queues; i++)
		if (!virtio_queue(slot, i, &d->ring[i], SIZE))
			fail("a disk's queue is refused");
	reg_write(slot, R_STATUS, S_RUNNING);
}

static void submit(struct vring *ring, struct request *r, uint32_t len)
{
	const bool in = r->header.type == BLK_READ;
	const bool ranges = r->header.type == BLK_DISCARD ||
			    r->header.type == BLK_WRITE_ZEROES;

	r->status = 0xff;
	vring_add(ring, &r->header, sizeof(r->header), D_NEXT);
	if (ranges)
		vring_add(ring, r->range, len, D_NEXT);
	else if (len)
		vring_add(ring, r->data, len,
			  (uint16_t)(in ? D_NEXT | D_WRITE : D_NEXT));
	vring_add(ring, &r->status, 1, D_WRITE);
}

static void submit_any(const struct disk *d, struct vring *ring,
		       struct request *r)
{
	static const uint32_t types[] = {
		BLK_READ,    BLK_READ,	       BLK_READ,   BLK_WRITE,
		BLK_WRITE,   BLK_FLUSH,	       BLK_GET_ID, BLK_DISCARD,
		BLK_DISCARD, BLK_WRITE_ZEROES, 77,	   BLK_WRITE,
	};
	const uint32_t sectors = 1 + random_below(DATA_SECTORS);
	const uint64_t most = d->sectors - 2UL * DATA_SECTORS;
	uint32_t len = sectors * SECTOR;

	r->header.type = types[random_below(sizeof(types) / sizeof(*types))];
	r->header.sector = random_below((uint32_t)most);
	if (r->header.type == BLK_READ && !random_below(4))
		r->header.sector = d->sectors + 1 - sectors;
	r->bytes = len;
	if (r->header.type == BLK_DISCARD ||
	    r->header.type == BLK_WRITE_ZEROES) {
		for (unsigned i = 0; i < 2; i++) {
			r->range[i].sector = random_below((uint32_t)most);
			r->range[i].sectors = sectors + i;
			r->range[i].flags = 0;
		}
		r->bytes += len + SECTOR;
		len = sizeof(r->range);
	} else if (r->header.type == BLK_FLUSH ||
		   r->header.type == BLK_GET_ID) {
		len = 0;
	}
	submit(ring, r, len);
}

static void count_request(struct disk *d, const struct request *r)
{
	if (r->status == 0xff)
		fail("a request has no status");
	if (r->status) {
		d->did.errors++;
		return;
	}
	switch (r->header.type) {
	case BLK_READ:
		d->did.reads++;
		d->did.read_bytes += r->bytes;
		break;
	case BLK_WRITE:
		d->did.writes++;
		d->did.written_bytes += r->bytes;
		break;
	case BLK_FLUSH:
		d->did.flushes++;
		break;
	case BLK_DISCARD:
	case BLK_WRITE_ZEROES:
		d->did.discards++;
		d->did.discarded_bytes += r->bytes;
		break;
	}
}

static bool has_used(void *arg)
{
	uint32_t id, len;

	return vring_used(arg, &id, &len);
}

static void await_used(struct vring *ring, unsigned count, const char *what)
{
	while (count--)
		if (!wait_for(has_used, ring))
			fail("%s does not come back", what);
}

static void begin_batches(struct disk *d)
{
	for (unsigned q = 0; q < d->queues; q++) {
		for (unsigned i = 0; i < BATCH; i++)
			submit_any(d, &d->ring[q], &d->request[q][i]);
		reg_write(d->slot, R_QUEUE_NOTIFY, q);
	}
}

static void end_batches(struct disk *d)
{
	for (unsigned q = 0; q < d->queues; q++) {
		await_used(&d->ring[q], BATCH, "a request");
		for (unsigned i = 0; i < BATCH; i++)
			count_request(d, &d->request[q][i]);
	}
}

/* -- a network ------------------------------------------------------------- */

static struct {
	unsigned slot;
	bool there;
	struct vring rx, tx;
	uint8_t in[SIZE][BUFFER], out[SIZE][BUFFER];
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes, tx_dropped;
} net;

static void offer_buffers(unsigned slot, struct vring *ring,
			  uint8_t (*in)[BUFFER])
{
	for (unsigned i = 0; i < SIZE; i++)
		vring_add(ring, in[i], BUFFER, D_WRITE);
	reg_write(slot, R_QUEUE_NOTIFY, RX);
}

static void start_net(unsigned slot)
{
	net.slot = slot;
	net.there = true;
	if (!virtio_features(slot, F_VERSION_1) ||
	    !virtio_queue(slot, RX, &net.rx, SIZE) ||
	    !virtio_queue(slot, TX, &net.tx, SIZE))
		fail("the network does not start");
	reg_write(slot, R_STATUS, S_RUNNING);
	offer_buffers(slot, &net.rx, net.in);
}

static void submit_frame(unsigned i, uint32_t len)
{
	memset(net.out[i], 0, HEADER);
	memset(net.out[i] + HEADER, (int)(0x40 + i), len);
	vring_add(&net.tx, net.out[i], HEADER + len, 0);
	if (len < FRAME_MIN) {
		net.tx_dropped++;
		return;
	}
	net.tx_packets++;
	net.tx_bytes += len;
}

/* The last of them is none. */
static void begin_frames(void)
{
	for (unsigned i = 0; i < FRAMES; i++)
		submit_frame(i, FRAME_MIN + random_below(1500));
	submit_frame(FRAMES, random_below(FRAME_MIN));
	reg_write(net.slot, R_QUEUE_NOTIFY, TX);
}

static bool is_frame_back(void *arg)
{
	uint32_t id, len;

	(void)arg;
	if (!vring_used(&net.rx, &id, &len))
		return false;
	net.rx_packets++;
	net.rx_bytes += len - HEADER;
	vring_add(&net.rx, net.in[id % SIZE], BUFFER, D_WRITE);
	reg_write(net.slot, R_QUEUE_NOTIFY, RX);
	return true;
}

static void end_frames(unsigned sent, unsigned echoed)
{
	await_used(&net.tx, sent, "a frame's buffer");
	while (echoed--)
		if (!wait_for(is_frame_back, NULL))
			fail("a frame does not come back");
}

/* -- a vsock --------------------------------------------------------------- */

static struct {
	unsigned slot;
	bool there;
	struct vring rx, tx;
	uint8_t in[SIZE][BUFFER];
	struct {
		struct vsock_header header;
		uint8_t data[BUFFER];
	} out;
	struct vsock_header got;
	uint32_t forwarded; /* of the one that is talked over */
	uint64_t open, streams, refused, rx_bytes, tx_bytes;
} vsock;

static void start_vsock(unsigned slot)
{
	vsock.slot = slot;
	vsock.there = true;
	if (!virtio_features(slot, F_VERSION_1) ||
	    !virtio_queue(slot, RX, &vsock.rx, SIZE) ||
	    !virtio_queue(slot, TX, &vsock.tx, SIZE))
		fail("the vsock does not start");
	reg_write(slot, R_STATUS, S_RUNNING);
	offer_buffers(slot, &vsock.rx, vsock.in);
}

static void send(uint16_t op, uint32_t from, uint32_t to, uint32_t len)
{
	vsock.out.header = (struct vsock_header){
		.src_cid = reg_read(vsock.slot, R_CONFIG),
		.dst_cid = HOST,
		.src_port = from,
		.dst_port = to,
		.len = len,
		.type = 1,
		.op = op,
		.flags = op == SHUTDOWN ? 3 : 0,
		.buf_alloc = 65536,
		.fwd_cnt = vsock.forwarded,
	};
	vsock.tx_bytes += len;
	vring_add(&vsock.tx, &vsock.out,
		  (uint32_t)sizeof(vsock.out.header) + len, 0);
	reg_write(vsock.slot, R_QUEUE_NOTIFY, TX);
	await_used(&vsock.tx, 1, "a packet");
}

static bool is_packet_here(void *arg)
{
	uint32_t id, len;

	(void)arg;
	if (!vring_used(&vsock.rx, &id, &len))
		return false;
	memcpy(&vsock.got, vsock.in[id % SIZE], sizeof(vsock.got));
	vring_add(&vsock.rx, vsock.in[id % SIZE], BUFFER, D_WRITE);
	reg_write(vsock.slot, R_QUEUE_NOTIFY, RX);
	return true;
}

static uint16_t receive(void)
{
	if (!wait_for(is_packet_here, NULL))
		fail("no packet comes");
	if (vsock.got.op == RW) {
		vsock.rx_bytes += vsock.got.len;
		vsock.forwarded += vsock.got.len;
	}
	return vsock.got.op;
}

static bool connect(uint32_t from, uint32_t to)
{
	uint16_t op;

	vsock.forwarded = 0;
	send(REQUEST, from, to, 0);
	do
		op = receive();
	while ((op != RESPONSE && op != RST) || vsock.got.dst_port != from);
	vsock.streams += op == RESPONSE;
	vsock.open += op == RESPONSE;
	vsock.refused += op == RST;
	return op == RESPONSE;
}

/* Over a stream of its own, which every other time stays open. */
static void talk(unsigned round)
{
	const uint32_t port = FIRST_PORT + 2 * round;
	const uint32_t len = 1 + random_below(BUFFER - 1);
	uint32_t left = len;

	if (connect(port + 1, EMPTY_PORT))
		fail("somebody is where nobody should be");
	if (!connect(port, ECHO_PORT))
		fail("nobody answers at port %u", ECHO_PORT);
	memset(vsock.out.data, 'v', len);
	send(RW, port, ECHO_PORT, len);
	while (left)
		if (receive() == RW)
			left -= vsock.got.len;
	if (round % 2)
		return;
	send(SHUTDOWN, port, ECHO_PORT, 0);
	while (receive() != RST || vsock.got.dst_port != port)
		;
	vsock.open--;
}

/* One of the host's programs'. */
static void take_client(void)
{
	uint32_t peer;

	while (receive() != REQUEST)
		;
	peer = vsock.got.src_port;
	if (vsock.got.dst_port != OUR_PORT) {
		send(RST, vsock.got.dst_port, peer, 0);
		vsock.refused++;
		return;
	}
	vsock.forwarded = 0;
	vsock.streams++;
	memcpy(vsock.out.data, "hello", 5);
	send(RESPONSE, OUR_PORT, peer, 0);
	send(RW, OUR_PORT, peer, 5);
	send(SHUTDOWN, OUR_PORT, peer, 0);
	while (receive() != RST)
		;
}

/* -- all ------------------------------------------------------------------- */

static void do_rounds(unsigned rounds)
{
	static unsigned round; /* ports are not used twice */

	for (const unsigned end = round + rounds; round < end; round++) {
		for (unsigned i = 0; i < disks; i++)
			begin_batches(&disk[i]);
		if (net.there)
			begin_frames();
		if (vsock.there)
			talk(round);
		for (unsigned i = 0; i < disks; i++)
			end_batches(&disk[i]);
		if (net.there)
			end_frames(FRAMES + 1, FRAMES);
	}
}

static void do_queued(unsigned count)
{
	for (unsigned i = 0; i < disks; i++) {
		for (unsigned j = 0; j < count; j++) {
			disk[i].request[0][j].bytes = SECTOR;
			submit(&disk[i].ring[0], &disk[i].request[0][j],
			       SECTOR);
		}
		reg_write(disk[i].slot, R_QUEUE_NOTIFY, 0);
	}
	for (unsigned i = 0; net.there && i < count; i++)
		submit_frame(i, 60);
	if (net.there)
		reg_write(net.slot, R_QUEUE_NOTIFY, TX);
	for (unsigned i = 0; i < disks; i++) {
		await_used(&disk[i].ring[0], count, "a request");
		for (unsigned j = 0; j < count; j++)
			count_request(&disk[i], &disk[i].request[0][j]);
	}
	if (net.there)
		end_frames(count, count);
}

static void say_disk(unsigned i, const struct disk *d)
{
	print("\"disk%u\":{\"reads\":%lu,\"read_bytes\":%lu,\"writes\":%lu,"
	      "\"written_bytes\":%lu,\"flushes\":%lu,\"discards\":%lu,"
	      "\"discarded_bytes\":%lu,\"errors\":%lu},",
	      i, d->did.reads, d->did.read_bytes, d->did.writes,
	      d->did.written_bytes, d->did.flushes, d->did.discards,
	      d->did.discarded_bytes, d->did.errors);
}

static void say_all(void)
{
	print("{");
	for (unsigned i = 0; i < disks; i++)
		say_disk(i, &disk[i]);
	if (net.there)
		print("\"net0\":{\"rx_packets\":%lu,\"rx_bytes\":%lu,"
		      "\"rx_dropped\":0,\"tx_packets\":%lu,\"tx_bytes\":%lu,"
		      "\"tx_dropped\":%lu},",
		      net.rx_packets, net.rx_bytes, net.tx_packets,
		      net.tx_bytes, net.tx_dropped);
	if (vsock.there)
		print("\"vsock\":{\"open\":%lu,\"streams\":%lu,\"refused\":%lu,"
		      "\"rx_bytes\":%lu,\"tx_bytes\":%lu},",
		      vsock.open, vsock.streams, vsock.refused, vsock.rx_bytes,
		      vsock.tx_bytes);
	print("\"serial\":{\"dropped_bytes\":0}}\n");
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned clients = cmdline_number("clients", 0);
	const unsigned queued = cmdline_number("queued", 0);
	const unsigned rounds = cmdline_number("rounds", 8);

	(void)boot_params;
	random_state = cmdline_number("seed", 1);
	virtio_init();
	for (unsigned slot = 0; slot < VIRTIO_SLOTS; slot++)
		switch (reg_read(slot, R_DEVICE_ID)) {
		case ID_BLOCK:
			start_disk(slot);
			break;
		case ID_NET:
			start_net(slot);
			break;
		case ID_VSOCK:
			start_vsock(slot);
			break;
		}
	if (queued)
		do_queued(queued);
	else
		do_rounds(rounds);
	if (cmdline_number("ready", 0)) {
		in8(PORT_READY);
		for (unsigned i = 0; i < disks; i++)
			memset(&disk[i].did, 0, sizeof(disk[i].did));
		do_rounds(rounds);
	}
	if (clients)
		print("listening\n");
	for (unsigned i = 0; i < clients; i++)
		take_client();
	if (cmdline_number("again", 0))
		do_rounds(rounds);
	say_all();
}
