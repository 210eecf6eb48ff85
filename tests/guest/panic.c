/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Panics as a kernel with the pvpanic driver does
 * (docs/specs/pvpanic.rst of QEMU): asks which events there are, says PANICKED,
 * and would then loop for ever.
 */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	uint8_t events = in8(PORT_PVPANIC);

	(void)boot_params;
	if (!(events & PVPANIC_PANICKED))
		fail("pvpanic offers %x", events);
	print("Kernel panic - not syncing: by choice\n");
	out8(PORT_PVPANIC, PVPANIC_PANICKED);
	halt_forever();
}
