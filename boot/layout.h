/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where things stand in a guest's address space, and what writes the tables
 * that a kernel reads there. RAM ends at 3 GiB and goes on at 4 GiB
 * (mem/ram.h); ports are their devices' own (cpu/console/uart.h,
 * cpu/platform.h).
 */
#ifndef BOOT_LAYOUT_H
#define BOOT_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "mem/ram.h"

/* GDT and first page tables: cpu/entry.h */
#define LAYOUT_BOOT_PARAMS  GPA(0x7000)
#define LAYOUT_CMDLINE	    GPA(0x20000)
#define LAYOUT_SETUP_DATA   GPA(0x20800) /* in the same page */
#define LAYOUT_LOW_END	    0x9fc00ULL	 /* RAM ends here, tables may begin */
#define LAYOUT_ACPI_GPA	    0xe0000	 /* with cpu/platform.h's generation */
#define LAYOUT_ACPI	    GPA(LAYOUT_ACPI_GPA)
#define LAYOUT_ACPI_SIZE    0x10000ULL
#define LAYOUT_MPTABLE	    GPA(0xf0000)
#define LAYOUT_MPTABLE_SIZE 0x10000ULL
#define LAYOUT_HIGH_START   0x100000ULL /* kernels, from 1 MiB */

#define LAYOUT_LAPIC  0xfee00000U
#define LAYOUT_IOAPIC 0xfec00000U

/*
 * virtio-mmio registers, one slot of two pages each, GSI VM_GSI_VIRTIO up. They
 * lie across the border of the two (virtio/mmio.h).
 */
#define LAYOUT_VIRTIO	     0xd0000fa0U
#define LAYOUT_VIRTIO_SLOT   0x2000U
#define LAYOUT_VIRTIO_WINDOW 0x200U

/*
 * The same slots once more, for kernels without ACPI: what their command line
 * names. Gone as soon as the guest's ACPI interpreter has started, so that a
 * kernel which reads both finds each device once.
 */
#define LAYOUT_VIRTIO_ALIAS 0xd0100fa0U

struct cmdline;
struct initrd;
struct kernel_image;

/*
 * All of these: 0 or -errno, logged. The main thread calls them before the
 * vCPUs run. `cpus` are VM_CPUS_MAX at most and have the local APIC IDs from 0.
 *
 * ACPI of reduced hardware, so that stock kernels find the processors, the
 * serial port, `slots` virtio-mmio slots (DEVICES_MAX at most, from the first
 * one), the power button and how to switch off. The RSDP is at LAYOUT_ACPI,
 * RSDP, DSDT, FADT, MADT and XSDT one behind the other.
 */
int acpi_write(const struct ram *ram, unsigned cpus, unsigned slots);

/*
 * The MultiProcessor table, for kernels built without ACPI, at LAYOUT_MPTABLE
 * (Intel MultiProcessor Specification 1.4, chapter 4).
 */
int mptable_write(const struct ram *ram, unsigned cpus);

/*
 * The "zero page", boot_params, which says where all else is, at
 * LAYOUT_BOOT_PARAMS (Linux, Documentation/arch/x86/boot.rst and
 * zero-page.rst); the command line at LAYOUT_CMDLINE and a random seed at
 * LAYOUT_SETUP_DATA.
 */
int params_write(const struct ram *ram, const struct kernel_image *kernel,
		 const struct initrd *initrd, const struct cmdline *cmdline);

/* The byte that makes a table sum to zero; where it goes, there is 0 so far. */
static inline uint8_t layout_checksum(const uint8_t *table, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *table++);
	return (uint8_t)-sum;
}

#endif
