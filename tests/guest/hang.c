/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Halts for ever with interrupts off: only a signal or a timeout ends it. With
 * loop=1 it burns the CPU instead.
 */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	print("hanging\n");
	if (!cmdline_number("loop", 0))
		halt_forever();
	for (;;)
		pause_cpu();
}
