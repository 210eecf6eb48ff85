/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Echoes what the serial port receives, by polling, until it is a q.
 */
#include "tests/guest/guest.h"

#define LSR    (SERIAL + 5)
#define LSR_DR 1

void guest_main(const uint8_t *boot_params)
{
	unsigned long count = 0;
	char c = 0;

	(void)boot_params;
	out8(SERIAL + 2, 1);
	print("echo\n");
	while (c != 'q') {
		if (!(in8(LSR) & LSR_DR)) {
			pause_cpu();
			continue;
		}
		c = (char)in8(SERIAL);
		count++;
		put(c);
	}
	print("\necho %lu\n", count);
}
