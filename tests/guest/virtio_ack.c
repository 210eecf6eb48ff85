/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to a disk for ever, block after block in a circle: the number of the
 * write, over and over; flushes; and only then says so. Whatever ends it, what
 * it said must be on the disk. `blocks=` of 4 KiB each.
 */
#include "tests/guest/virtio.h"

#define BLOCK 4096

static struct vring ring;
static uint32_t data[BLOCK / 4] __attribute__((aligned(512)));

static void must_be_done(int status, const char *what)
{
	if (status)
		fail("%s: status %d", what, status);
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned blocks = cmdline_number("blocks", 16);

	(void)boot_params;
	virtio_init();
	virtio_start(0, F_VERSION_1 | F_EVENT_IDX | BLK_F_FLUSH, &ring);
	for (unsigned n = 1;; n++) {
		for (unsigned i = 0; i < BLOCK / 4; i++)
			data[i] = n;
		must_be_done(block_request(0, &ring, BLK_WRITE,
					   n % blocks * (BLOCK / SECTOR), data,
					   BLOCK),
			     "write");
		must_be_done(block_request(0, &ring, BLK_FLUSH, 0, NULL, 0),
			     "flush");
		print("ack %u\n", n);
	}
}
