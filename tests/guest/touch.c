/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes to each page of as much memory as mib= says, from 16 MiB on, and says
 * how much that was: a guest that uses memory, for limits of the host's.
 */
#include "tests/guest/guest.h"

#define FROM (16ULL << 20)
#define PAGE 4096ULL

void guest_main(const uint8_t *boot_params)
{
	unsigned mib = cmdline_number("mib", 1);
	volatile uint8_t *byte = (volatile uint8_t *)FROM;

	(void)boot_params;
	for (uint64_t i = 0; i < (uint64_t)mib << 20; i += PAGE)
		byte[i] = 1;
	print("%u MiB\n", mib);
}
