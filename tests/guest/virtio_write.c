/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One write to a disk and its read, for what the host's side makes of it: fills
 * `sectors=` from `sector=` on with `byte=`, and says what was there and what
 * came of that.
 */
#include "tests/guest/virtio.h"

#define SECTORS_MAX 64

static struct vring ring;
static uint8_t data[SECTORS_MAX * SECTOR] __attribute__((aligned(512)));

void guest_main(const uint8_t *boot_params)
{
	const unsigned sector = cmdline_number("sector", 0);
	const unsigned sectors = cmdline_number("sectors", 1);
	const unsigned askew = cmdline_number("askew", 0);
	const uint8_t byte = (uint8_t)cmdline_number("byte", 'x');
	uint32_t len = sectors * SECTOR;
	unsigned same = 0;

	(void)boot_params;
	if (sectors + 1 > SECTORS_MAX)
		fail("so many sectors");
	virtio_init();
	virtio_start(0, F_VERSION_1 | F_EVENT_IDX | BLK_F_FLUSH, &ring);
	print("offered %s%s%s\n", virtio_offered(0) & BLK_F_RO ? "ro " : "",
	      virtio_offered(0) & BLK_F_DISCARD ? "discard " : "",
	      virtio_offered(0) & BLK_F_FLUSH ? "flush" : "");
	block_request(0, &ring, BLK_READ, sector, data + askew, len);
	print("capacity %u, was %u and %u\n", reg_read(0, R_CONFIG),
	      data[askew], data[askew + len - 1]);
	memset(data, byte, sizeof(data));
	print("write %d\n",
	      block_request(0, &ring, BLK_WRITE, sector, data + askew, len));
	print("flush %d\n", block_request(0, &ring, BLK_FLUSH, 0, NULL, 0));
	memset(data, ~byte, sizeof(data));
	print("read %d\n",
	      block_request(0, &ring, BLK_READ, sector, data + askew, len));
	while (same < len && data[askew + same] == byte)
		same++;
	print("same %u of %u, then %u\n", same, len, data[askew + same]);
}
