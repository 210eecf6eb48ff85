/*
 * Where things stand in a guest's address space. RAM ends at 3 GiB and goes on
 * at 4 GiB (mem/ram.h); ports are their devices' own (cpu/console/uart.h,
 * cpu/platform.h).
 */
#ifndef BOOT_LAYOUT_H
#define BOOT_LAYOUT_H

#include "mem/gpa.h"

/* GDT and first page tables: cpu/entry.h */
#define LAYOUT_BOOT_PARAMS  GPA(0x7000)
#define LAYOUT_SETUP_DATA   GPA(0x8000)
#define LAYOUT_CMDLINE	    GPA(0x20000)
#define LAYOUT_LOW_END	    0x9fc00ULL /* RAM ends here, tables may begin */
#define LAYOUT_ACPI	    GPA(0xe0000)
#define LAYOUT_ACPI_SIZE    0x10000ULL
#define LAYOUT_MPTABLE	    GPA(0xf0000)
#define LAYOUT_MPTABLE_SIZE 0x10000ULL
#define LAYOUT_HIGH_START   0x100000ULL /* kernels, from 1 MiB */

#define LAYOUT_LAPIC  0xfee00000U
#define LAYOUT_IOAPIC 0xfec00000U

/* virtio-mmio register files, one 4 KiB slot each, GSI VM_GSI_VIRTIO up */
#define LAYOUT_VIRTIO	   0xd0000000U
#define LAYOUT_VIRTIO_SLOT 0x1000U

/*
 * The same slots once more, for kernels without ACPI: what their command line
 * names. Gone as soon as the guest's ACPI interpreter has started, so that a
 * kernel which reads both finds each device once.
 */
#define LAYOUT_VIRTIO_ALIAS 0xd0100000U

#endif
