/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state in which the boot processor enters a 64-bit guest: long mode, flat
 * segments, the first GiB mapped one to one (Documentation/arch/x86/boot.rst,
 * "64-bit boot protocol").
 */
#ifndef CPU_ENTRY_H
#define CPU_ENTRY_H

#include "mem/ram.h"

#define ENTRY_GDT	  GPA(0x500)
#define ENTRY_PAGE_TABLES GPA(0x9000) /* three pages */
#define ENTRY_MAPPED	  (1ULL << 30)

/* Writes GDT and page tables to RAM: 0 or -EFAULT. */
int entry_write_tables(const struct ram *ram);

/* Sets a vCPU up to start at `rip` with `boot_params` in RSI; logs. */
int entry_set_vcpu(int vcpu_fd, gpa rip, gpa boot_params);

/* MSRs that firmware would have set, on any vCPU; logs. */
int entry_set_msrs(int vcpu_fd);

#endif
