/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ACPI tables as a hardware-reduced kernel reads them (ACPI 6.4): RSDP,
 * XSDT, FADT, MADT and, of the DSDT's AML, the one package that S5 needs.
 * Lengths are verified on the way; checksums are the guest `acpi`'s to judge.
 */
#include "tests/guest/guest.h"

#define SCAN_START 0xE0000 /* ACPI 6.4, 5.2.5.1 */
#define SCAN_END   0x100000
#define RSDP_SIZE  36
#define HEADER	   36

#define SLP_EN	      0x20 /* SLEEP_CONTROL_REG, ACPI 6.4, 4.8.3.7 */
#define SLP_TYP_SHIFT 2
#define GAS_IO	      1

const uint8_t *acpi_scan(void)
{
	for (uint64_t at = SCAN_START; at < SCAN_END; at += 16) {
		const uint8_t *rsdp = at_physical(at);

		if (*rsdp == 'R' && !memcmp(rsdp, "RSD PTR ", 8))
			return rsdp;
	}
	fail("no RSDP below 1 MiB");
}

const uint8_t *acpi_rsdp(void)
{
	const uint8_t *params = at_physical(entry_state.rsi), *rsdp;
	uint64_t given = get64(params + BP_ACPI_RSDP);

	rsdp = given ? at_physical(given) : acpi_scan();
	if (rsdp[15] != 2 || get32(rsdp + 20) != RSDP_SIZE)
		fail("RSDP revision %u length %u", rsdp[15], get32(rsdp + 20));
	return rsdp;
}

static const uint8_t *table_at(uint64_t address, uint32_t *size)
{
	const uint8_t *table = at_physical(address);

	*size = get32(table + 4);
	if (address < 0x400 || address >= (1u << 30) || *size < HEADER ||
	    *size > (1u << 20))
		fail("ACPI table at %lx of %u bytes", (unsigned long)address,
		     *size);
	return table;
}

const uint8_t *acpi_table(const char *signature, uint32_t *size)
{
	uint32_t xsdt_size;
	const uint8_t *xsdt = table_at(get64(acpi_rsdp() + 24), &xsdt_size);

	if (memcmp(xsdt, "XSDT", 4) || (xsdt_size - HEADER) % 8)
		fail("XSDT");
	for (uint32_t at = HEADER; at < xsdt_size; at += 8) {
		const uint8_t *table = table_at(get64(xsdt + at), size);

		if (!memcmp(table, signature, 4))
			return table;
	}
	return NULL;
}

const uint8_t *acpi_find(const uint8_t *from, uint32_t size, const char *text)
{
	size_t len = strlen(text);

	for (; size >= len; from++, size--)
		if (!memcmp(from, text, len))
			return from;
	return NULL;
}

/*
 * \_S5 is `Name (_S5, Package (n) {SLP_TYPa, ...})`: NameOp, the name,
 * PackageOp, PkgLength, NumElements, then the first element, a ZeroOp, OneOp
 * or BytePrefix (ACPI 6.4, 20.2).
 */
static uint8_t find_s5(const uint8_t *dsdt, uint32_t size)
{
	const uint8_t *at = acpi_find(dsdt, size, "_S5_\x12");

	if (!at || (at[-1] != 0x08 && !(at[-1] == '\\' && at[-2] == 0x08)))
		fail("no _S5 package in the DSDT");
	at += 5;
	at += 1 + (at[0] >> 6); /* PkgLength */
	if (!*at++)
		fail("the _S5 package is empty");
	if (*at <= 1)
		return *at;
	if (*at != 0x0A || at[1] > 7)
		fail("SLP_TYP of S5: %x %x", at[0], at[1]);
	return at[1];
}

/* A generic address that must be one byte of I/O space (5.2.3.2). */
static uint16_t io_byte(const uint8_t *gas, const char *name)
{
	if (gas[0] != GAS_IO || gas[1] != 8 || gas[2] || gas[3] > 1 ||
	    get64(gas + 4) > 0xFFFF)
		fail("%s: space %u, %u bits at %u, access %u, address %lx",
		     name, gas[0], gas[1], gas[2], gas[3],
		     (unsigned long)get64(gas + 4));
	return (uint16_t)get64(gas + 4);
}

void acpi_load(struct acpi_machine *machine)
{
	uint32_t size = 0;

	machine->fadt = acpi_table("FACP", &size);
	if (!machine->fadt || size < 268)
		fail("no FADT, or one of %u bytes", size);
	machine->flags = get32(machine->fadt + 112);
	machine->reset_port = io_byte(machine->fadt + 116, "RESET_REG");
	machine->reset_value = machine->fadt[128];
	machine->sleep_control =
		io_byte(machine->fadt + 244, "SLEEP_CONTROL_REG");
	machine->sleep_status =
		io_byte(machine->fadt + 256, "SLEEP_STATUS_REG");
	machine->dsdt =
		table_at(get64(machine->fadt + 140), &machine->dsdt_size);
	if (memcmp(machine->dsdt, "DSDT", 4))
		fail("no DSDT");
	machine->s5 = find_s5(machine->dsdt, machine->dsdt_size);
	machine->madt = acpi_table("APIC", &machine->madt_size);
	if (!machine->madt)
		fail("no MADT");
}

void acpi_sleep_s5(const struct acpi_machine *machine)
{
	out8(machine->sleep_control,
	     (uint8_t)(machine->s5 << SLP_TYP_SHIFT | SLP_EN));
}

void acpi_reset(const struct acpi_machine *machine)
{
	if (!(machine->flags & FADT_RESET_REG_SUP))
		fail("the FADT offers no reset register");
	out8(machine->reset_port, machine->reset_value);
}

const uint8_t *madt_next(const struct acpi_machine *machine, uint8_t type,
			 uint32_t *at)
{
	uint32_t next = *at ? *at : HEADER + 8;

	while (next + 2 <= machine->madt_size) {
		const uint8_t *entry = machine->madt + next;

		if (entry[1] < 2 || entry[1] > machine->madt_size - next)
			fail("MADT entry at %u of %u bytes", next, entry[1]);
		next += entry[1];
		*at = next;
		if (entry[0] == type)
			return entry;
	}
	return NULL;
}
