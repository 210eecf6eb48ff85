/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends through the exit status port with the status=N of its command line.
 */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	unsigned status = cmdline_number("status", STATUS_FAIL);

	(void)boot_params;
	print("status %u\n", status);
	guest_exit((uint8_t)status);
}
