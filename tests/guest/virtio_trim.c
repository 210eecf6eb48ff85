/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's DISCARD and WRITE_ZEROES (virtio 1.2, 5.2.6): says what came of
 * each, and what the sectors hold afterwards.
 */
#include "tests/guest/virtio.h"

#define BLK_DISCARD	 11
#define BLK_WRITE_ZEROES 13
#define SECTORS		 16

static struct vring ring;
static uint8_t data[SECTORS * SECTOR] __attribute__((aligned(512)));
static struct {
	uint64_t sector;
	uint32_t sectors, flags;
} range = { .sectors = SECTORS };

static void try(const char *what, uint32_t type, uint32_t flags)
{
	unsigned zeros = 0;
	int status;

	memset(data, 'x', sizeof(data));
	if (block_request(0, &ring, BLK_WRITE, 0, data, sizeof(data)))
		fail("a write failed");
	if (block_request(0, &ring, BLK_FLUSH, 0, NULL, 0))
		fail("a flush failed");
	range.flags = flags;
	status = block_request(0, &ring, type, 0, &range, sizeof(range));
	if (block_request(0, &ring, BLK_READ, 0, data, sizeof(data)))
		fail("a read failed");
	while (zeros < sizeof(data) && !data[zeros])
		zeros++;
	print("%s %d, zeros %u\n", what, status, zeros);
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	virtio_init();
	virtio_start(0, F_VERSION_1 | BLK_F_FLUSH | BLK_F_DISCARD | 1UL << 14,
		     &ring);
	try("discard", BLK_DISCARD, 0);
	try("zeroes", BLK_WRITE_ZEROES, 0);
	try("zeroes unmapped", BLK_WRITE_ZEROES, 1);
}
