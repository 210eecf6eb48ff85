/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints its command line between two bars.
 */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	print("|%s|\n", cmdline());
}
