/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says through the ready port that it is up, then powers off.
 */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	out8(PORT_READY, 1);
	print("ready was said\n");
}
