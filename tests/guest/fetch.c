/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs code where there is no memory: KVM cannot emulate that and gives up.
 */
#include "tests/guest/guest.h"

#define NOWHERE 0xD8000000

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	irq_init();
	print("jumping to %x\n", NOWHERE);
	((void (*)(void))(uintptr_t)NOWHERE)();
	fail("came back");
}
