/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads and writes MSRs that no CPU has: each raises #GP, and the machine goes
 * on.
 */
#include "tests/guest/guest.h"

#define EFER 0xC0000080

static const uint32_t unknown[] = { 0x0000C0DE, 0x4B564DFF, 0x12345678,
				    0xC0DEC0DE };

void guest_main(const uint8_t *boot_params)
{
	uint64_t value;
	unsigned faults = 0;

	(void)boot_params;
	irq_init();
	if (msr_read(EFER, &value) || !(value & 0x400))
		fail("EFER is %lx", (unsigned long)value);
	for (unsigned i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
		faults += msr_read(unknown[i], &value) && trap_vector == 13;
		faults += msr_write(unknown[i], 1) && trap_vector == 13;
	}
	print("faults %u\n", faults);
}
