/*
 * The guest's ACPI tables: hardware-reduced, so that stock kernels find the
 * processors, the serial port, the virtio-mmio devices, the power button and
 * how to switch off.
 */
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H

#include "mem/gpa.h"
#include "mem/ram.h"

struct acpi_options {
	unsigned cpus;	 /* local APIC IDs 0 .. cpus - 1; VM_CPUS_MAX at most */
	unsigned virtio; /* virtio-mmio slots in use, from the first */
};

/*
 * Writes RSDP, XSDT, FADT, MADT and DSDT from LAYOUT_ACPI on; the RSDP is the
 * first of them. 0 or -errno, logged.
 */
int acpi_write(const struct ram *ram, const struct acpi_options *options);

#endif
