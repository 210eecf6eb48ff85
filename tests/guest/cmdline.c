/*
 * Prints its command line between two bars.
 */
/* uses: tests/guest/lib.c tests/guest/lib_acpi.c */
#include "tests/guest/guest.h"

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	print("|%s|\n", cmdline());
}
