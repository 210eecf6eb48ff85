/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest finds in the virtio-mmio slots: as many as the DSDT lists
 * (LNRO0005), at their places and at their aliases, which are gone once the
 * ACPI interpreter has said so.
 */
#include "tests/guest/virtio.h"

#define PORT_ACPI 0x508

static uint32_t at(uint64_t base, unsigned slot, unsigned offset)
{
	volatile uint32_t *reg =
		at_physical(base + slot * VIRTIO_SLOT + offset);

	return *reg;
}

static unsigned devices(uint64_t base)
{
	unsigned count = 0;

	for (unsigned slot = 0; slot < VIRTIO_SLOTS; slot++) {
		uint32_t magic = at(base, slot, R_MAGIC);

		if (magic == 0xffffffff)
			continue;
		if (magic != 0x74726976 || at(base, slot, R_VERSION) != 2)
			fail("slot %u: magic %x", slot, magic);
		count += at(base, slot, R_DEVICE_ID) != 0;
	}
	return count;
}

static unsigned listed(void)
{
	struct acpi_machine machine;
	const uint8_t *from, *end;
	unsigned count = 0;

	acpi_load(&machine);
	from = machine.dsdt;
	end = from + machine.dsdt_size;
	while ((from = acpi_find(from, (uint32_t)(end - from), "LNRO0005"))) {
		count++;
		from += 8;
	}
	return count;
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	virtio_init();
	print("listed %u\n", listed());
	print("devices %u\n", devices(VIRTIO_BASE));
	print("aliases %u\n", devices(VIRTIO_ALIAS));
	for (unsigned slot = 0; slot < VIRTIO_SLOTS; slot++)
		if (at(VIRTIO_BASE, slot, R_MAGIC) != 0xffffffff)
			print("slot %u id %u features %lx\n", slot,
			      at(VIRTIO_BASE, slot, R_DEVICE_ID),
			      (unsigned long)virtio_offered(slot));
	out8(PORT_ACPI, 1);
	print("devices with ACPI %u\n", devices(VIRTIO_BASE));
	print("aliases with ACPI %u\n", devices(VIRTIO_ALIAS));
}
