/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives through many snapshots: each second word that it says is followed by
 * READY, at which mote may save it and another one go on. A timer wakes it in
 * between, a number is kept in a register.
 *
 *	generations=N	of the command line: how many to live through (10)
 */
#include "tests/guest/guest.h"

#define LVT_TIMER    0x320
#define TIMER_INIT   0x380
#define TIMER_DIVIDE 0x3E0
#define DIVIDE_BY_1  0xB
#define SLEEP	     200000 /* ns */

static volatile unsigned ticks;

static void on_tick(void)
{
	ticks++;
}

static void sleep(void)
{
	const unsigned before = ticks;

	apic_write(TIMER_INIT, SLEEP);
	while (ticks == before)
		irq_wait();
}

/* READY is said by an IN, behind which the registers must be as they were. */
static uint8_t say_ready(uint64_t value)
{
	uint64_t kept = 0;
	uint8_t al;

	__asm__ volatile("mov %2, %%r15\n\t"
			 "inb %3, %0\n\t"
			 "mov %%r15, %1"
			 : "=a"(al), "=&r"(kept)
			 : "r"(value), "d"((uint16_t)PORT_READY)
			 : "r15", "memory");
	if (kept != value)
		fail("a register is not what it was");
	return al;
}

void guest_main(const uint8_t *boot_params)
{
	unsigned count = 10;

	(void)boot_params;
	irq_init();
	irq_handle(IRQ_VECTOR, on_tick);
	apic_write(LVT_TIMER, IRQ_VECTOR);
	apic_write(TIMER_DIVIDE, DIVIDE_BY_1);
	for (unsigned i = 1; i <= count; i++) {
		sleep();
		print("generation %u\n", i);
		say_ready(0x123456789abcdef0ULL + i);
	}
}
