/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams to port 1234 of the host, `n=` of them (2000) or as many as there may
 * be, each of which sends all that it may (nothing with `idle=1`). It says so,
 * again and again with `repeat=1`, and goes on until mote is stopped.
 */
#include "tests/guest/virtio.h"

enum { RX, TX, EVENT };
enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, CREDIT_UPDATE };

#define SIZE	   128
#define BUFFER	   4096
#define PIECE	   (56u << 10)
#define HOST	   2
#define PORT	   1234
#define FIRST_PORT 10000

static struct vring rx, tx;
static uint8_t in[SIZE][BUFFER], piece[PIECE];
static struct vsock_header got, out;

static bool is_sent(void *arg)
{
	uint32_t id, len;

	return vring_used(arg, &id, &len);
}

static void send(uint16_t op, uint32_t port, uint32_t len)
{
	out = (struct vsock_header){
		.src_cid = reg_read(0, R_CONFIG),
		.dst_cid = HOST,
		.src_port = port,
		.dst_port = PORT,
		.len = len,
		.type = 1,
		.op = op,
		.buf_alloc = BUFFER,
	};
	vring_add(&tx, &out, sizeof(out), len ? D_NEXT : 0);
	if (len)
		vring_add(&tx, piece, len, 0);
	reg_write(0, R_QUEUE_NOTIFY, TX);
	if (!wait_for(is_sent, &tx))
		fail("the host does not take a packet");
}

static bool is_received(void *arg)
{
	uint32_t id, len;

	(void)arg;
	if (!vring_used(&rx, &id, &len))
		return false;
	memcpy(&got, in[id % SIZE], sizeof(got));
	vring_add(&rx, in[id % SIZE], BUFFER, D_WRITE);
	reg_write(0, R_QUEUE_NOTIFY, RX);
	return true;
}

/* All that it may (virtio 1.2, 5.10.6.3): how much that was. */
static uint32_t fill(uint32_t port)
{
	uint32_t sent = 0, room = got.buf_alloc, part;

	while (room) {
		part = room < PIECE ? room : PIECE;
		send(RW, port, part);
		sent += part;
		room -= part;
		/* What it says of credit comes with the packet's being taken.
		 */
		while (is_received(NULL))
			if (got.op == CREDIT_UPDATE && got.dst_port == port)
				room = got.buf_alloc - (sent - got.fwd_cnt);
	}
	return sent;
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned want = cmdline_number("n", 2000);
	unsigned count = 0;
	uint64_t bytes = 0;

	(void)boot_params;
	virtio_init();
	if (!virtio_features(0, F_VERSION_1) ||
	    !virtio_queue(0, RX, &rx, SIZE) || !virtio_queue(0, TX, &tx, SIZE))
		fail("the vsock device does not start");
	reg_write(0, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < SIZE; i++)
		vring_add(&rx, in[i], BUFFER, D_WRITE);
	reg_write(0, R_QUEUE_NOTIFY, RX);
	for (; count < want; count++) {
		send(REQUEST, FIRST_PORT + count, 0);
		do
			if (!wait_for(is_received, NULL))
				fail("no answer to stream %u", count);
		while (got.op != RESPONSE && got.op != RST);
		if (got.op == RST)
			break;
		if (!cmdline_number("idle", 0))
			bytes += fill(FIRST_PORT + count);
	}
	do {
		print("streams %u, KiB %u, done\n", count,
		      (unsigned)(bytes >> 10));
		wait_a_while();
	} while (cmdline_number("repeat", 0));
	halt_forever();
}
