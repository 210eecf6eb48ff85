/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resets the machine: by=acpi (the FADT's reset register), by=i8042 (the reset
 * line of its port 0x64) or by=triple (a triple fault), with flag=N (decimal)
 * left at 0x472, or what was there without. Linux leaves 0x1234 = 4660 there
 * for an ordinary reboot and, with reboot=warm,panic_cold, 0 for a panic
 * (arch/x86/kernel/reboot.c).
 */
#include "tests/guest/guest.h"

#define WARM_FLAG 0x472
#define LEAVE	  0x10000

void guest_main(const uint8_t *boot_params)
{
	struct acpi_machine machine;
	unsigned flag = cmdline_number("flag", LEAVE);
	char by[8];

	(void)boot_params;
	acpi_load(&machine);
	if (!cmdline_get("by", by, sizeof(by)))
		fail("no by= on the command line");
	if (flag != LEAVE)
		*(volatile uint16_t *)at_physical(WARM_FLAG) = (uint16_t)flag;
	print("reset by %s\n", by);
	if (!memcmp(by, "acpi", 5))
		acpi_reset(&machine);
	else if (!memcmp(by, "i8042", 6))
		out8(0x64, 0xFE);
	else
		triple_fault();
	halt_forever();
}
