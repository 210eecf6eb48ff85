/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts every CPU of the MADT; each says its APIC id, then adds to one counter
 * at the same time as the others. Of many CPUs only the first few do that, and
 * the others halt, because waiting by spinning is dear on a small host.
 */
#include "tests/guest/guest.h"

#define ADDS   1000
#define ADDERS 7

static volatile unsigned counter, finished, go;
static volatile uint32_t ids[256];

static void run(unsigned index)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	ids[index] = r[1] >> 24;
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
	if (index >= ADDERS)
		return;
	while (!go)
		pause_cpu();
	for (unsigned i = 0; i < ADDS; i++)
		__atomic_add_fetch(&counter, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
}

static void await(unsigned count)
{
	for (unsigned n = 0; finished < count; n++) {
		if (n == 5000000)
			fail("%u of %u came", finished, count);
		in8(0x80);
	}
}

void guest_main(const uint8_t *boot_params)
{
	struct acpi_machine machine;
	const uint8_t *entry;
	uint32_t at = 0, own, r[4];
	unsigned others = 0, adders;

	(void)boot_params;
	acpi_load(&machine);
	irq_init();
	cpuid(1, 0, r);
	own = r[1] >> 24;
	while ((entry = madt_next(&machine, 0, &at))) {
		if (!(entry[4] & 1) || entry[3] == own)
			continue;
		if (!smp_start(entry[3], others, run))
			fail("CPU %u did not start", entry[3]);
		others++;
		await(others);
		if (ids[others - 1] != entry[3])
			fail("CPU %u says that it is %u", entry[3],
			     ids[others - 1]);
	}
	adders = others < ADDERS ? others : ADDERS;
	finished = 0;
	go = 1;
	await(adders);
	if (counter != adders * ADDS)
		fail("the CPUs counted %u", counter);
	print("cpus %u\n", others + 1);
}
