/*
 * ACPI tables of reduced hardware (ACPI 6.4, 4.1): no PM timer, no SCI, no
 * fixed events; sleep and reset are ports of cpu/platform, the power button
 * comes through a Generic Event Device. Built in a buffer, then copied to the
 * guest. Owns nothing. Main thread, before the vCPUs run.
 */
#include "boot/acpi.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/aml.h"
#include "boot/layout.h"
#include "cpu/console/uart.h"
#include "cpu/platform.h"
#include "cpu/vm.h"
#include "mem/log.h"
#include "mem/util.h"

#define HEADER_SIZE 36
#define RSDP_SIZE   36
#define FADT_SIZE   276

/* Offsets in the FADT: ACPI 6.4, table 5.9. */
enum fadt {
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
#define BOOT_ARCH_NO_RTC   (1u << 5)

static void close_table(uint8_t *table, size_t len, size_t sum_at)
{
	uint8_t sum = 0;

	table[sum_at] = 0;
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + table[i]);
	table[sum_at] = (uint8_t)-sum;
}

/* ACPI 6.4, 5.2.6: the header of every table but the RSDP. */
static void put_header(struct aml *t, const char *signature, uint8_t revision)
{
	uint8_t header[HEADER_SIZE] = { 0 };

	memcpy(header, signature, 4);
	header[8] = revision;
	memcpy(header + 10, "MOTE  ", 6);
	memcpy(header + 16, "MOTEGST ", 8);
	put_le32(header + 24, 1);
	memcpy(header + 28, "MOTE", 4);
	put_le32(header + 32, 1);
	aml_bytes(t, header, sizeof(header));
}

static void end_table(struct aml *t, size_t start)
{
	if (t->overflow)
		return;
	put_le32(t->bytes + start + 4, (uint32_t)(t->len - start));
	close_table(t->bytes + start, t->len - start, 9);
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

static void put_fadt(struct aml *t, uint64_t dsdt)
{
	uint8_t fadt[FADT_SIZE] = { 0 };
	size_t start = t->len;

	put_header(t, "FACP", 6);
	put_le16(fadt + FADT_IAPC_BOOT_ARCH,
		 BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_MSI | BOOT_ARCH_NO_RTC);
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
	aml_bytes(t, fadt + HEADER_SIZE, sizeof(fadt) - HEADER_SIZE);
	end_table(t, start);
}

/* ACPI 6.4, 5.2.12: local APICs, the IOAPIC, NMI on LINT1. */
static void put_madt(struct aml *t, unsigned cpus)
{
	uint8_t fixed[8] = { 0 };
	uint8_t ioapic[12] = { 1, sizeof(ioapic) };
	const uint8_t nmi[6] = { 4, sizeof(nmi), 0xff, 0, 0, 1 };
	size_t start = t->len;

	put_header(t, "APIC", 5);
	put_le32(fixed, LAYOUT_LAPIC);
	aml_bytes(t, fixed, sizeof(fixed));
	for (unsigned i = 0; i < cpus; i++) {
		const uint8_t lapic[8] = { 0, sizeof(lapic), (uint8_t)i,
					   (uint8_t)i, 1 };

		aml_bytes(t, lapic, sizeof(lapic));
	}
	put_le32(ioapic + 4, LAYOUT_IOAPIC);
	aml_bytes(t, ioapic, sizeof(ioapic));
	aml_bytes(t, nmi, sizeof(nmi));
	end_table(t, start);
}

static void put_serial(struct aml *t)
{
	size_t device = aml_device(t, "COM1"), resources;

	aml_name(t, "_HID");
	aml_eisa_id(t, "PNP0501");
	aml_name(t, "_UID");
	aml_integer(t, 0);
	resources = aml_resources(t);
	aml_resource_port(t, UART_PORT, UART_REGISTERS);
	aml_resource_irq(t, VM_GSI_SERIAL);
	aml_resources_end(t, resources);
	aml_end(t, device);
}

static void put_pvpanic(struct aml *t)
{
	size_t device = aml_device(t, "PEVT"), resources;

	aml_name(t, "_HID");
	aml_string(t, "QEMU0001");
	resources = aml_resources(t);
	aml_resource_port(t, PLATFORM_PORT_PVPANIC, 1);
	aml_resources_end(t, resources);
	aml_end(t, device);
}

/*
 * ACPI 6.4, 5.6.9: the Generic Event Device runs _EVT when its interrupt
 * comes; it reads which events are pending and tells the power button.
 */
static void put_power_button(struct aml *t)
{
	static const uint8_t region[] = { 0x5b, 0x80, 'E', 'V', 'R', 'G', 1 };
	static const uint8_t field[] = { 'E', 'V', 'S', 'T', 8 };
	/* If (EVST & 1) { Notify (PWRB, 0x80) } */
	static const uint8_t test[] = { 0x7b, 'E', 'V', 'S', 'T', 1, 0 };
	static const uint8_t notify[] = {
		0x86, 'P', 'W', 'R', 'B', 0x0a, 0x80
	};
	size_t device, block, inner;

	device = aml_device(t, "PWRB");
	aml_name(t, "_HID");
	aml_eisa_id(t, "PNP0C0C");
	aml_name(t, "_UID");
	aml_integer(t, 0);
	aml_end(t, device);

	device = aml_device(t, "GED0");
	aml_name(t, "_HID");
	aml_string(t, "ACPI0013");
	aml_name(t, "_UID");
	aml_integer(t, 0);
	block = aml_resources(t);
	aml_resource_irq(t, VM_GSI_BUTTON);
	aml_resources_end(t, block);
	aml_bytes(t, region, sizeof(region));
	aml_integer(t, PLATFORM_PORT_BUTTON);
	aml_integer(t, 1);
	block = aml_field(t, "EVRG", 1); /* byte access */
	aml_bytes(t, field, sizeof(field));
	aml_end(t, block);
	block = aml_method(t, "_EVT", 1);
	inner = aml_if(t);
	aml_bytes(t, test, sizeof(test));
	aml_bytes(t, notify, sizeof(notify));
	aml_end(t, inner);
	aml_end(t, block);
	aml_end(t, device);
}

/*
 * ACPI 6.4, 6.5.1: _INI runs when the interpreter starts, before it looks for
 * devices; it says that these tables are being read (see layout.h).
 */
static void put_ini(struct aml *t)
{
	static const uint8_t region[] = { 0x5b, 0x80, 'I', 'N', 'I', 'R', 1 };
	static const uint8_t field[] = { 'I', 'N', 'I', 'B', 8 };
	/* Store (1, INIB) */
	static const uint8_t store[] = { 0x70, 1, 'I', 'N', 'I', 'B' };
	size_t block;

	aml_bytes(t, region, sizeof(region));
	aml_integer(t, PLATFORM_PORT_ACPI);
	aml_integer(t, 1);
	block = aml_field(t, "INIR", 1); /* byte access */
	aml_bytes(t, field, sizeof(field));
	aml_end(t, block);
	block = aml_method(t, "_INI", 0);
	aml_bytes(t, store, sizeof(store));
	aml_end(t, block);
}

static void put_virtio(struct aml *t, unsigned slot)
{
	size_t device, resources;
	char name[] = "VIxx";

	snprintf(name + 2, 3, "%02X", slot & 0xff);
	device = aml_device(t, name);
	aml_name(t, "_HID");
	aml_string(t, "LNRO0005");
	aml_name(t, "_UID");
	aml_integer(t, slot);
	aml_name(t, "_CCA");
	aml_integer(t, 1);
	resources = aml_resources(t);
	aml_resource_memory(t, LAYOUT_VIRTIO + slot * LAYOUT_VIRTIO_SLOT,
			    LAYOUT_VIRTIO_SLOT);
	aml_resource_irq(t, VM_GSI_VIRTIO + slot);
	aml_resources_end(t, resources);
	aml_end(t, device);
}

static void put_dsdt(struct aml *t, const struct acpi_options *options)
{
	size_t start = t->len, block;

	put_header(t, "DSDT", 2);
	aml_name(t, "_S5_");
	block = aml_package(t, 4);
	aml_integer(t, PLATFORM_S5_TYPE);
	for (unsigned i = 1; i < 4; i++)
		aml_integer(t, 0);
	aml_end(t, block);
	block = aml_scope(t, "\\_SB_");
	put_serial(t);
	put_pvpanic(t);
	put_power_button(t);
	if (options->virtio)
		put_ini(t);
	for (unsigned i = 0; i < options->virtio; i++)
		put_virtio(t, i);
	aml_end(t, block);
	end_table(t, start);
}

static void put_xsdt(struct aml *t, const uint64_t *tables, unsigned count)
{
	size_t start = t->len;

	put_header(t, "XSDT", 1);
	for (unsigned i = 0; i < count; i++)
		aml_bytes(t, &tables[i], sizeof(tables[i]));
	end_table(t, start);
}

/* ACPI 6.4, 5.2.5.3 */
static void put_rsdp(uint8_t *to, uint64_t xsdt)
{
	memcpy(to, "RSD PTR ", 8);
	memcpy(to + 9, "MOTE  ", 6);
	to[15] = 2;
	put_le32(to + 20, RSDP_SIZE);
	put_le64(to + 24, xsdt);
	close_table(to, 20, 8);
	close_table(to, RSDP_SIZE, 32);
}

int acpi_write(const struct ram *ram, const struct acpi_options *options)
{
	static uint8_t bytes[LAYOUT_ACPI_SIZE / 4];
	static const uint8_t rsdp_room[RSDP_SIZE];
	struct aml t = { .bytes = bytes, .max = sizeof(bytes) };
	uint64_t dsdt, tables[2], xsdt;

	memset(bytes, 0, RSDP_SIZE);
	aml_bytes(&t, rsdp_room, sizeof(rsdp_room));
	dsdt = LAYOUT_ACPI.v + t.len;
	put_dsdt(&t, options);
	tables[0] = LAYOUT_ACPI.v + t.len;
	put_fadt(&t, dsdt);
	tables[1] = LAYOUT_ACPI.v + t.len;
	put_madt(&t, options->cpus);
	xsdt = LAYOUT_ACPI.v + t.len;
	put_xsdt(&t, tables, ARRAY_LEN(tables));
	put_rsdp(bytes, xsdt);
	if (t.overflow || ram_write(ram, LAYOUT_ACPI, bytes, t.len)) {
		log_error("the ACPI tables do not fit");
		return -ENOSPC;
	}
	return 0;
}
