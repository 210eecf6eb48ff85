/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says that it is ready, as one that is saved there; its clones write some
 * pages of 16 MiB and above, and read others, then power off.
 */
#include "tests/guest/guest.h"

#define PAGE 4096

/* How many pages from which on; what is in between is read. */
static const struct {
	uint32_t first, count;
} written[] = { { 0x1000, 3 }, { 0x1004, 1 }, { 0x1800, 64 } };

void guest_main(const uint8_t *boot_params)
{
	unsigned sum = 0;

	(void)boot_params;
	(void)in8(PORT_READY);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned n = 0; n < written[i].count; n++)
			*(volatile uint8_t *)((written[i].first + n) *
					      (uintptr_t)PAGE) = 1;
	for (uintptr_t page = 0x1100; page < 0x1200; page++)
		sum += *(volatile uint8_t *)(page * PAGE);
	print(sum ? "memory is not empty\n" : "written\n");
}
