/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program in the guest that connects to port 1234 of the host, again and
 * again until somebody is there, sends a line and prints the answer.
 */
#include "tests/guest/virtio.h"

#define SLOT	   0
#define RINGS	   16
#define PORT	   1234
#define PIECE	   512
#define HOST_CID   2
#define OP_REQUEST 1
#define OP_ANSWER  2
#define OP_RESET   3
#define OP_DATA	   5

/* virtio 1.2, 5.10.6 */
struct packet {
	uint64_t from_cid, to_cid;
	uint32_t from_port, to_port, len;
	uint16_t type, op;
	uint32_t flags, room, taken;
	char data[PIECE];
} __attribute__((packed));

#define HEADER (sizeof(struct packet) - PIECE)

static struct vring to_guest, to_host;
static struct packet received[RINGS], sent;
static const struct packet *last;

static void offer(unsigned i)
{
	vring_add(&to_guest, &received[i], sizeof(received[i]), D_WRITE);
	reg_write(SLOT, R_QUEUE_NOTIFY, 0);
}

static bool was_taken(void *arg)
{
	uint32_t id, len;

	(void)arg;
	return vring_used(&to_host, &id, &len);
}

static void send(uint16_t op, uint32_t port, const char *text)
{
	uint32_t len = 0;

	for (; text[len]; len++)
		sent.data[len] = text[len];
	sent.from_cid = reg_read(SLOT, R_CONFIG);
	sent.to_cid = HOST_CID;
	sent.from_port = port;
	sent.to_port = PORT;
	sent.len = len;
	sent.type = 1; /* a stream */
	sent.op = op;
	sent.room = PIECE * RINGS;
	vring_add(&to_host, &sent, (uint32_t)HEADER + len, 0);
	reg_write(SLOT, R_QUEUE_NOTIFY, 1);
	if (!wait_for(was_taken, NULL))
		fail("the device takes no packet");
}

static bool has_come(void *arg)
{
	uint32_t id, len;

	(void)arg;
	if (!vring_used(&to_guest, &id, &len))
		return false;
	last = &received[id];
	return true;
}

/* What comes next; the buffer is the device's again when this is called anew.
 */
static uint16_t await(void)
{
	if (last)
		offer((unsigned)(last - received));
	last = NULL;
	if (!wait_for(has_come, NULL))
		fail("no packet comes");
	return last->op;
}

void guest_main(const uint8_t *boot_params)
{
	uint32_t port = 5000;

	(void)boot_params;
	virtio_init();
	if (!virtio_features(SLOT, F_VERSION_1) ||
	    !virtio_queue(SLOT, 0, &to_guest, RINGS) ||
	    !virtio_queue(SLOT, 1, &to_host, RINGS))
		fail("the vsock device does not start");
	reg_write(SLOT, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < RINGS; i++)
		offer(i);
	print("dialling\n");
	for (send(OP_REQUEST, port, ""); await() != OP_ANSWER;
	     send(OP_REQUEST, ++port, ""))
		wait_a_while();
	send(OP_DATA, port, "guest calling\n");
	while (await() != OP_DATA)
		if (last->op == OP_RESET)
			fail("the host hangs up");
	for (uint32_t i = 0; i < last->len && i < PIECE; i++)
		print("%c", last->data[i]);
}
