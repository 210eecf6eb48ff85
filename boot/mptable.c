/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The MultiProcessor table: processors, one ISA bus, the IOAPIC with every GSI
 * wired to the pin of the same number, NMI on LINT1. No ExtINT entry: the PIC
 * is masked. Owns nothing. Main thread, before the vCPUs run.
 */
#include <errno.h>
#include <string.h>

#include "boot/layout.h"
#include "cpu/vm.h"
#include "mem/log.h"
#include "mem/util.h"

#define POINTER_SIZE 16
#define HEADER_SIZE  44
#define TABLE_MAX    (HEADER_SIZE + VM_CPUS_MAX * 20 + (3 + VM_GSI_COUNT) * 8)

#define SPEC_REVISION  4
#define APIC_VERSION   0x14
#define IOAPIC_VERSION 0x11

enum entry_type { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INT, ENTRY_LOCAL };

enum interrupt_type { TYPE_INT, TYPE_NMI };

#define CPU_ENABLED	  1
#define CPU_BOOT	  2
#define FEATURES_FPU_APIC 0x201 /* CPUID.1:EDX, the bits that are required */

struct mp_table {
	uint8_t bytes[TABLE_MAX];
	size_t len;
	uint16_t entries;
};

static void append_mp_entry(struct mp_table *t, const void *entry, size_t len)
{
	memcpy(t->bytes + t->len, entry, len);
	t->len += len;
	t->entries++;
}

static void append_mp_cpus(struct mp_table *t, unsigned cpus)
{
	for (unsigned i = 0; i < cpus; i++) {
		uint8_t cpu[20] = { ENTRY_CPU, (uint8_t)i, APIC_VERSION,
				    CPU_ENABLED };

		if (!i)
			cpu[3] |= CPU_BOOT;
		put_le32(cpu + 4, 0x600); /* family 6 */
		put_le32(cpu + 8, FEATURES_FPU_APIC);
		append_mp_entry(t, cpu, sizeof(cpu));
	}
}

static void append_mp_interrupts(struct mp_table *t, uint8_t ioapic_id)
{
	const uint8_t nmi[8] = { ENTRY_LOCAL, TYPE_NMI, 0, 0, 0, 0, 0xff, 1 };

	for (uint8_t i = 0; i < VM_GSI_COUNT; i++) {
		const uint8_t line[8] = {
			ENTRY_INT, TYPE_INT, 0, 0, 0, i, ioapic_id, i,
		};

		append_mp_entry(t, line, sizeof(line));
	}
	append_mp_entry(t, nmi, sizeof(nmi));
}

static void finish_mp_table(struct mp_table *t, uint8_t *pointer)
{
	memcpy(t->bytes, "PCMP", 4);
	put_le16(t->bytes + 4, (uint16_t)t->len);
	t->bytes[6] = SPEC_REVISION;
	memcpy(t->bytes + 8, "MOTE    ", 8);
	memcpy(t->bytes + 16, "MOTEGUEST   ", 12);
	put_le16(t->bytes + 34, t->entries);
	put_le32(t->bytes + 36, LAYOUT_LAPIC);
	t->bytes[7] = layout_checksum(t->bytes, t->len);

	memcpy(pointer, "_MP_", 4);
	put_le32(pointer + 4, (uint32_t)LAYOUT_MPTABLE.v + POINTER_SIZE);
	pointer[8] = 1;
	pointer[9] = SPEC_REVISION;
	pointer[10] = layout_checksum(pointer, POINTER_SIZE);
}

int mptable_write(const struct ram *ram, unsigned cpus)
{
	struct mp_table t = { .len = HEADER_SIZE };
	const uint8_t ioapic_id = (uint8_t)cpus;
	const uint8_t bus[8] = { ENTRY_BUS, 0, 'I', 'S', 'A', ' ', ' ', ' ' };
	uint8_t ioapic[8] = { ENTRY_IOAPIC, ioapic_id, IOAPIC_VERSION, 1 };
	uint8_t pointer[POINTER_SIZE] = { 0 };

	put_le32(ioapic + 4, LAYOUT_IOAPIC);
	append_mp_cpus(&t, cpus);
	append_mp_entry(&t, bus, sizeof(bus));
	append_mp_entry(&t, ioapic, sizeof(ioapic));
	append_mp_interrupts(&t, ioapic_id);
	finish_mp_table(&t, pointer);
	if (ram_write(ram, LAYOUT_MPTABLE, pointer, sizeof(pointer)) ||
	    ram_write(ram, gpa_add(LAYOUT_MPTABLE, POINTER_SIZE), t.bytes,
		      t.len)) {
		log_error("the MultiProcessor table does not fit");
		return -ENOSPC;
	}
	return 0;
}
