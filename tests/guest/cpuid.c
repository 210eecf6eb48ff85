/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what CPUID says, one fact a line, for the test to judge.
 */
#include "tests/guest/guest.h"

#define HYPERVISOR_BASE 0x40000000

static bool bit(uint32_t word, unsigned n)
{
	return word >> n & 1;
}

static void features(void)
{
	uint32_t r[4];

	cpuid(1, 0, r);
	print("hypervisor %u\ntsc_deadline %u\nx2apic %u\nvmx %u\n",
	      bit(r[2], 31), bit(r[2], 24), bit(r[2], 21), bit(r[2], 5));
	print("apic_id %u\nlogical %u\n", r[1] >> 24, r[1] >> 16 & 0xFF);
	cpuid(0x80000000, 0, r);
	if (r[0] >= 0x80000001) {
		cpuid(0x80000001, 0, r);
		print("svm %u\nlong_mode %u\n", bit(r[2], 2), bit(r[3], 29));
	}
	cpuid(0, 0, r);
	print("max_leaf %x\n", r[0]);
	if (r[0] >= 10) {
		cpuid(10, 0, r);
		print("pmu %u\n", r[0] & 0xFF);
	}
}

/* Each level's number of CPUs: a level of type 0 ends the list. */
static void topology(uint32_t leaf)
{
	uint32_t r[4];

	cpuid(0, 0, r);
	if (r[0] < leaf)
		return;
	for (unsigned level = 0; level < 8; level++) {
		cpuid(leaf, level, r);
		if (!(r[2] >> 8 & 0xFF))
			break;
		print("topology_%x level %u type %u shift %u cpus %u id %u\n",
		      leaf, level, r[2] >> 8 & 0xFF, r[0] & 0x1F, r[1] & 0xFFFF,
		      r[3]);
	}
}

static void hypervisor(void)
{
	uint32_t r[4];
	char name[13] = "";

	cpuid(HYPERVISOR_BASE, 0, r);
	memcpy(name, &r[1], 12);
	print("hypervisor_name %s\nhypervisor_max %x\n", name, r[0]);
	if (r[0] >= HYPERVISOR_BASE + 0x10) {
		cpuid(HYPERVISOR_BASE + 0x10, 0, r);
		print("tsc_khz %u\n", r[0]);
	}
	cpuid(0x15, 0, r);
	print("leaf_15 %u/%u %u\n", r[1], r[0], r[2]);
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	irq_init();
	features();
	topology(0x0B);
	topology(0x1F);
	hypervisor();
	print("apic_register %u\n", apic_read(0x20) >> 24);
}
