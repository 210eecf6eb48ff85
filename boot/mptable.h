/*
 * The MultiProcessor table, for kernels built without ACPI (Intel
 * MultiProcessor Specification 1.4, chapter 4).
 */
#ifndef BOOT_MPTABLE_H
#define BOOT_MPTABLE_H

#include "mem/ram.h"

/* Writes it at LAYOUT_MPTABLE. `cpus`: VM_CPUS_MAX at most. 0 or -errno,
 * logged. */
int mptable_write(const struct ram *ram, unsigned cpus);

#endif
