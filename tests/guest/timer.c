/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clock that a kernel without PIT lives by: the local APIC's timer in
 * TSC-deadline mode wakes the CPU from HLT, again and again, never early; and
 * in one-shot mode, for kernels that do not use deadlines.
 */
#include "tests/guest/guest.h"

#define LVT_TIMER    0x320
#define LVT_DEADLINE (2u << 17)
#define TIMER_INIT   0x380
#define TIMER_DIVIDE 0x3E0
#define DIVIDE_BY_1  0xB
#define MSR_DEADLINE 0x6E0
#define TICKS	     20
#define INTERVAL     2000000 /* cycles: about 1 ms */

static volatile unsigned ticks;

static uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static void on_tick(void)
{
	ticks++;
}

void guest_main(const uint8_t *boot_params)
{
	uint32_t r[4];

	(void)boot_params;
	irq_init();
	irq_handle(IRQ_VECTOR, on_tick);
	cpuid(1, 0, r);
	if (!(r[2] >> 24 & 1))
		fail("CPUID offers no TSC-deadline timer");
	apic_write(LVT_TIMER, LVT_DEADLINE | IRQ_VECTOR);
	for (unsigned i = 1; i <= TICKS; i++) {
		uint64_t deadline = rdtsc() + INTERVAL;

		if (msr_write(MSR_DEADLINE, deadline))
			fail("no MSR for the TSC deadline");
		while (ticks < i)
			irq_wait();
		if (rdtsc() < deadline)
			fail("tick %u came early", i);
	}
	print("deadlines %u\n", ticks);
	apic_write(LVT_TIMER, IRQ_VECTOR);
	apic_write(TIMER_DIVIDE, DIVIDE_BY_1);
	apic_write(TIMER_INIT, 1000000);
	while (ticks == TICKS)
		irq_wait();
	print("one-shot %u\n", ticks - TICKS);
}
