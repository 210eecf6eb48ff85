/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks every ACPI table, checks lengths and checksums, and prints what a
 * hardware-reduced kernel would act on.
 */
#include "tests/guest/guest.h"

static const char *const named[] = { "PNP0501",	 "PNP0B00", "ACPI0013",
				     "QEMU0001", "PNP0C0C", "LNRO0005" };

/* EISAID("PNP0501") as AML stores it (ACPI 6.4, 19.3.4). */
static bool find_id(const struct acpi_machine *machine, const char *id)
{
	uint8_t packed[5] = { 0 };
	uint32_t hex = 0;

	if (acpi_find(machine->dsdt, machine->dsdt_size, id))
		return true;
	for (unsigned i = 3; i < 7; i++)
		hex = hex << 4 |
		      (uint32_t)(id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	packed[0] = (uint8_t)((id[0] - '@') << 2 | (id[1] - '@') >> 3);
	packed[1] = (uint8_t)((id[1] - '@') << 5 | (id[2] - '@'));
	packed[2] = (uint8_t)(hex >> 8);
	packed[3] = (uint8_t)hex;
	for (uint32_t i = 0; i + 4 <= machine->dsdt_size; i++)
		if (!memcmp(machine->dsdt + i, packed, 4))
			return true;
	return false;
}

static void print_madt(const struct acpi_machine *machine)
{
	const uint8_t *entry;
	uint32_t at = 0;
	unsigned cpus = 0;

	print("lapic %x\n", get32(machine->madt + 36));
	while ((entry = madt_next(machine, 0, &at)))
		cpus += entry[4] & 1;
	for (at = 0; (entry = madt_next(machine, 9, &at));)
		cpus += entry[8] & 1;
	for (at = 0; (entry = madt_next(machine, 1, &at));)
		print("ioapic %u at %x gsi %u\n", entry[2], get32(entry + 4),
		      get32(entry + 8));
	print("cpus %u\n", cpus);
}

static void check_sum(const uint8_t *from, uint32_t size, const char *name)
{
	if (!sums_to_zero(from, size))
		fail("the checksum of %s", name);
}

static void check_tables(const struct acpi_machine *machine)
{
	const uint8_t *xsdt = at_physical(get64(acpi_rsdp() + 24));
	uint32_t size;

	check_sum(acpi_rsdp(), 20, "RSDP");
	check_sum(acpi_rsdp(), 36, "RSDP");
	check_sum(xsdt, get32(xsdt + 4), "XSDT");
	check_sum(machine->dsdt, machine->dsdt_size, "DSDT");
	for (uint32_t at = 36; at < get32(xsdt + 4); at += 8) {
		const uint8_t *table = at_physical(get64(xsdt + at));
		char name[5] = "";

		memcpy(name, table, 4);
		if (acpi_table(name, &size) != table)
			fail("two tables %s", name);
		check_sum(table, size, name);
		print("table %s revision %u size %u\n", name, table[8], size);
	}
}

void guest_main(const uint8_t *boot_params)
{
	struct acpi_machine machine;

	acpi_load(&machine);
	if (get64(boot_params + BP_ACPI_RSDP) != (uintptr_t)acpi_scan())
		fail("boot_params says RSDP at %lx, found at %p",
		     (unsigned long)get64(boot_params + BP_ACPI_RSDP),
		     (const void *)acpi_scan());
	check_tables(&machine);
	print("fadt %u.%u flags %x\n", machine.fadt[8], machine.fadt[131],
	      machine.flags);
	print("hw_reduced %u\n", !!(machine.flags & FADT_HW_REDUCED));
	print("reset %x=%x sleep %x/%x s5 %u\n", machine.reset_port,
	      machine.reset_value, machine.sleep_control, machine.sleep_status,
	      machine.s5);
	print_madt(&machine);
	for (unsigned i = 0; i < sizeof(named) / sizeof(named[0]); i++)
		print("device %s %u\n", named[i], find_id(&machine, named[i]));
}
