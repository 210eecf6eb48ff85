/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says hello and powers off: text, data and bss are where the ELF file says.
 */
#include "tests/guest/guest.h"

static const char rodata[] = "hello from the guest";
static unsigned long data = 0x1122334455667788;
static unsigned long bss[1024];

void guest_main(const uint8_t *boot_params)
{
	for (size_t i = 0; i < sizeof(bss) / sizeof(bss[0]); i++)
		if (((volatile unsigned long *)bss)[i])
			fail("bss is not zero at %lu", (unsigned long)i);
	if (*(volatile unsigned long *)&data != 0x1122334455667788)
		fail("data is %lx", data);
	if (!boot_params)
		fail("RSI is 0");
	print("%s\n", rodata);
}
