/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints the initrd's place, size and checksum (BSD's sum -r).
 */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	uint32_t at = get32(boot_params + BP_RAMDISK);
	uint32_t size = get32(boot_params + BP_RAMDISK_SIZE);
	const uint8_t *data = at_physical(at);
	uint16_t sum = 0;

	map_memory(1ULL << 32);
	for (uint32_t i = 0; i < size; i++)
		sum = (uint16_t)((sum >> 1 | sum << 15) + data[i]);
	if (size && at < (uintptr_t)image_end)
		fail("the initrd at %x lies over the kernel", at);
	print("initrd at %x size %u sum %u\n", at, size, sum);
}
