/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables of reduced hardware (ACPI 6.4, 4.1): no PM timer, no SCI, no
 * fixed events; sleep and reset are ports of cpu/platform, the power button
 * comes through a Generic Event Device.
 *
 * What the interpreter runs is in dsdt.asl and, for one virtio-mmio slot, in
 * ssdt.asl; iasl has made arrays of them. All else is put together here, in a
 * buffer that is then copied to the guest: RSDP, DSDT, FADT, MADT, XSDT. Owns
 * nothing. Main thread, before the vCPUs run.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/dsdt.hex"
#include "boot/layout.h"
#include "boot/ssdt.hex"
#include "cpu/platform.h"
#include "cpu/rtc.h"
#include "cpu/vm.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/devices.h"

#define HEADER_SIZE 36
#define RSDP_SIZE   36
#define FADT_SIZE   276
#define MADT_MAX    (HEADER_SIZE + 8 + VM_CPUS_MAX * 8 + 12 + 6)
#define XSDT_SIZE   (HEADER_SIZE + 2 * 8)
#define SLOT_SIZE   (sizeof(ssdt_aml_code) - HEADER_SIZE)
#define DSDT_MAX    (sizeof(dsdt_aml_code) + DEVICES_MAX * SLOT_SIZE)
#define TABLES_MAX  (FIRST_AT + DSDT_MAX + FADT_SIZE + MADT_MAX + XSDT_SIZE)

/* Between the RSDP and the first table is room for cpu/platform.c's bytes. */
#define FIRST_AT 64

_Static_assert(LAYOUT_ACPI_GPA + RSDP_SIZE <= PLATFORM_GENERATION &&
		       PLATFORM_GENERATION + PLATFORM_GENERATION_BYTES <=
			       LAYOUT_ACPI_GPA + FIRST_AT &&
		       TABLES_MAX <= LAYOUT_ACPI_SIZE,
	       "all of that has its place");

/* Offsets in the FADT: ACPI 6.4, table 5.9. */
enum fadt {
	FADT_CENTURY = 108,
	FADT_IAPC_BOOT_ARCH = 109,
	FADT_FLAGS = 112,
	FADT_RESET_REG = 116,
	FADT_RESET_VALUE = 128,
	FADT_MINOR_REVISION = 131,
	FADT_X_DSDT = 140,
	FADT_SLEEP_CONTROL = 244,
	FADT_SLEEP_STATUS = 256,
	FADT_HYPERVISOR_ID = 268,
};

#define FADT_WBINVD	   (1u << 0)
#define FADT_PWR_BUTTON	   (1u << 4) /* set: no fixed power button */
#define FADT_SLP_BUTTON	   (1u << 5) /* set: no fixed sleep button */
#define FADT_RESET_REG_SUP (1u << 10)
#define FADT_HW_REDUCED	   (1u << 20)
#define BOOT_ARCH_NO_VGA   (1u << 2)
#define BOOT_ARCH_NO_MSI   (1u << 3)

struct acpi_tables {
	uint8_t bytes[TABLES_MAX];
	size_t len;
};

static void append_bytes(struct acpi_tables *t, const void *bytes, size_t len)
{
	memcpy(t->bytes + t->len, bytes, len);
	t->len += len;
}

/* ACPI 6.4, 5.2.6: the header of every table but the RSDP. */
static void append_header(struct acpi_tables *t, const char *signature,
			  uint8_t revision)
{
	uint8_t header[HEADER_SIZE] = { 0 };

	memcpy(header, signature, 4);
	header[8] = revision;
	memcpy(header + 10, "MOTE  ", 6);
	memcpy(header + 16, "MOTEGST ", 8);
	put_le32(header + 24, 1);
	memcpy(header + 28, "MOTE", 4);
	put_le32(header + 32, 1);
	append_bytes(t, header, sizeof(header));
}

/* Length and checksum of the table that began at `start`; returns where. */
static uint64_t close_table(struct acpi_tables *t, size_t start)
{
	uint8_t *table = t->bytes + start;

	put_le32(table + 4, (uint32_t)(t->len - start));
	table[9] = layout_checksum(table, t->len - start);
	return LAYOUT_ACPI.v + start;
}

/* ACPI 6.4, 5.2.3.2: a one-byte register among the ports. */
static void put_port_register(uint8_t *to, uint16_t port)
{
	memset(to, 0, 12);
	to[0] = 1; /* system I/O */
	to[1] = 8; /* bits */
	to[3] = 1; /* byte access */
	put_le64(to + 4, port);
}

static uint64_t append_fadt(struct acpi_tables *t, uint64_t dsdt)
{
	size_t start = t->len;
	uint8_t *fadt = t->bytes + start;

	append_header(t, "FACP", 6);
	t->len = start + FADT_SIZE;
	fadt[FADT_CENTURY] = RTC_CENTURY;
	put_le16(fadt + FADT_IAPC_BOOT_ARCH,
		 BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_MSI);
	put_le32(fadt + FADT_FLAGS,
		 FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON |
			 FADT_RESET_REG_SUP | FADT_HW_REDUCED);
	put_port_register(fadt + FADT_RESET_REG, PLATFORM_PORT_RESET);
	fadt[FADT_RESET_VALUE] = PLATFORM_RESET_VALUE;
	fadt[FADT_MINOR_REVISION] = 4;
	put_le64(fadt + FADT_X_DSDT, dsdt);
	put_port_register(fadt + FADT_SLEEP_CONTROL, PLATFORM_PORT_SLEEP);
	put_port_register(fadt + FADT_SLEEP_STATUS, PLATFORM_PORT_STATUS);
	memcpy(fadt + FADT_HYPERVISOR_ID, "MOTE", 4);
	return close_table(t, start);
}

/* ACPI 6.4, 5.2.12: local APICs, the IOAPIC, NMI on LINT1. */
static uint64_t append_madt(struct acpi_tables *t, unsigned cpus)
{
	uint8_t fixed[8] = { 0 };
	uint8_t ioapic[12] = { 1, sizeof(ioapic) };
	const uint8_t nmi[6] = { 4, sizeof(nmi), 0xff, 0, 0, 1 };
	size_t start = t->len;

	append_header(t, "APIC", 5);
	put_le32(fixed, LAYOUT_LAPIC);
	append_bytes(t, fixed, sizeof(fixed));
	for (unsigned i = 0; i < cpus; i++) {
		const uint8_t lapic[8] = { 0, sizeof(lapic), (uint8_t)i,
					   (uint8_t)i, 1 };

		append_bytes(t, lapic, sizeof(lapic));
	}
	put_le32(ioapic + 4, LAYOUT_IOAPIC);
	append_bytes(t, ioapic, sizeof(ioapic));
	append_bytes(t, nmi, sizeof(nmi));
	return close_table(t, start);
}

/* Writes `value` where ssdt.asl has four bytes that spell `stand_in`. */
static void patch_slot(uint8_t *terms, const char *stand_in, uint32_t value)
{
	put_le32(memmem(terms, SLOT_SIZE, stand_in, 4), value);
}

static void append_slot(struct acpi_tables *t, unsigned slot)
{
	uint8_t *terms = t->bytes + t->len;
	char name[5];

	append_bytes(t, ssdt_aml_code + HEADER_SIZE, SLOT_SIZE);
	snprintf(name, sizeof(name), "VI%02X", slot & 0xff);
	patch_slot(terms, "VI__", get_le32(name));
	patch_slot(terms, "UID_", slot);
	patch_slot(terms, "BASE", LAYOUT_VIRTIO + slot * LAYOUT_VIRTIO_SLOT);
	patch_slot(terms, "GSI_", VM_GSI_VIRTIO + slot);
}

/*
 * A table of AML is a header and a list of terms (ACPI 6.4, 20.2.1). So what
 * iasl made goes without its header, and one list is appended to another.
 */
static uint64_t append_dsdt(struct acpi_tables *t, unsigned slots)
{
	size_t start = t->len;

	append_header(t, "DSDT", 2);
	append_bytes(t, dsdt_aml_code + HEADER_SIZE,
		     sizeof(dsdt_aml_code) - HEADER_SIZE);
	for (unsigned i = 0; i < slots; i++)
		append_slot(t, i);
	return close_table(t, start);
}

static uint64_t append_xsdt(struct acpi_tables *t, const uint64_t tables[2])
{
	size_t start = t->len;

	append_header(t, "XSDT", 1);
	append_bytes(t, tables, 2 * sizeof(tables[0]));
	return close_table(t, start);
}

/* ACPI 6.4, 5.2.5.3: one checksum for what ACPI 1.0 has of it, one for all. */
static void put_rsdp(uint8_t *to, uint64_t xsdt)
{
	memcpy(to, "RSD PTR ", 8);
	memcpy(to + 9, "MOTE  ", 6);
	to[15] = 2;
	put_le32(to + 20, RSDP_SIZE);
	put_le64(to + 24, xsdt);
	to[8] = layout_checksum(to, 20);
	to[32] = layout_checksum(to, RSDP_SIZE);
}

int acpi_write(const struct ram *ram, unsigned cpus, unsigned slots)
{
	struct acpi_tables t = { .len = FIRST_AT };
	uint64_t dsdt, tables[2];

	dsdt = append_dsdt(&t, slots);
	tables[0] = append_fadt(&t, dsdt);
	tables[1] = append_madt(&t, cpus);
	put_rsdp(t.bytes, append_xsdt(&t, tables));
	if (ram_write(ram, LAYOUT_ACPI, t.bytes, t.len)) {
		log_error("the ACPI tables do not fit into RAM; give "
			  "a larger --memory");
		return -ENOSPC;
	}
	return 0;
}
