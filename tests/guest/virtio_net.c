/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network driven politely, by polling: sends a frame now and then and takes
 * what comes, until `frames=` have come (1) or, with `until=down`, the link is
 * down. The frames sent are of the EtherType for experiments, to all.
 */
#include "tests/guest/virtio.h"

#define F_GUEST_CSUM  (1UL << 1)
#define CONFIG_STATUS 6 /* virtio 1.2, 5.1.4 */

#define RX	      0
#define TX	      1
#define SIZE	      16
#define HEADER	      12
#define FRAME	      60
#define BUFFER	      2048
#define SEND_EVERY    2000u
#define TURNS_AT_MOST (1UL << 28)

static struct vring rx, tx;
static uint8_t in[SIZE][BUFFER], out[HEADER + FRAME];

static void start(void)
{
	const uint64_t wanted = F_VERSION_1 | F_GUEST_CSUM;

	if (!virtio_features(0, wanted & virtio_offered(0)))
		fail("its features are refused");
	if (!virtio_queue(0, RX, &rx, SIZE) || !virtio_queue(0, TX, &tx, SIZE))
		fail("a queue is refused");
	reg_write(0, R_STATUS, S_RUNNING);
	for (unsigned i = 0; i < SIZE; i++)
		vring_add(&rx, in[i], BUFFER, D_WRITE);
	reg_write(0, R_QUEUE_NOTIFY, RX);
}

static void make_frame(void)
{
	uint8_t *frame = out + HEADER;

	memset(frame, 0xff, 6);
	memcpy(frame + 6, "\x02mote!", 6);
	frame[12] = 0x88; /* IEEE 802: local experimental */
	frame[13] = 0xb5;
	memcpy(frame + 14, "a frame of the guest", 20);
}

static bool link_is_up(void)
{
	return reg_read(0, R_CONFIG + CONFIG_STATUS / 4 * 4) >> 16 & 1;
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned wanted = cmdline_number("frames", 1);
	const bool until_down = cmdline_number("down", 0);
	unsigned sent = 0, received = 0;
	bool sending = false;
	uint32_t id, len;

	(void)boot_params;
	virtio_init();
	if (reg_read(0, R_DEVICE_ID) != ID_NET)
		fail("slot 0 is no network");
	start();
	make_frame();
	print("driving\n");
	for (uint64_t turn = 0; turn < TURNS_AT_MOST; turn++) {
		if (sending && vring_used(&tx, &id, &len))
			sending = false;
		if (!sending && turn % SEND_EVERY == 0) {
			vring_add(&tx, out, sizeof(out), 0);
			reg_write(0, R_QUEUE_NOTIFY, TX);
			sending = true;
			sent++;
		}
		if (vring_used(&rx, &id, &len)) {
			received++;
			vring_add(&rx, in[id % SIZE], BUFFER, D_WRITE);
			reg_write(0, R_QUEUE_NOTIFY, RX);
		}
		if (until_down ? turn % SEND_EVERY == 0 && !link_is_up()
			       : received >= wanted && sent && !sending)
			break;
		pause_cpu();
	}
	print("%s\n", received >= wanted ? "received" : "nothing came");
	print("link %s\n", link_is_up() ? "up" : "down");
}
