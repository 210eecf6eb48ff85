/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU is before its first instruction: the state in which it enters a
 * 64-bit guest (entry.c), and what CPUID shows it (cpuid.c).
 */
#ifndef CPU_ENTRY_H
#define CPU_ENTRY_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/ram.h"

/*
 * The boot processor's state: long mode, flat segments, the first GiB mapped
 * one to one (Documentation/arch/x86/boot.rst, "64-bit boot protocol").
 */
#define ENTRY_GDT	  GPA(0x500)
#define ENTRY_PAGE_TABLES GPA(0x9000) /* three pages */
#define ENTRY_MAPPED	  (1ULL << 30)

/* Writes GDT and page tables to RAM: 0 or -EFAULT. */
int entry_write_tables(const struct ram *ram);

/* Sets a vCPU up to start at `rip` with `boot_params` in RSI; logs. */
int entry_set_vcpu(int vcpu_fd, gpa rip, gpa boot_params);

/* MSRs that firmware would have set, on any vCPU; logs. */
int entry_set_msrs(int vcpu_fd);

/*
 * What CPUID shows to a guest: all that KVM supports, one package of `count`
 * single-threaded cores, the TSC's frequency, no PMU, and nested virtualisation
 * only where asked for.
 */
#define CPUID_ENTRIES_MAX 256

struct cpuid_options {
	unsigned count;	   /* vCPUs of the guest */
	uint32_t tsc_khz;  /* of the guest; 0 where it is not known */
	bool tsc_deadline; /* KVM's LAPIC timer has the mode */
	bool nested;	   /* show VMX or SVM */
};

/* Laid out as struct kvm_cpuid2 wants it: the entries follow the header. */
struct cpuid {
	struct kvm_cpuid2 header;
	struct kvm_cpuid_entry2 entry[CPUID_ENTRIES_MAX];
};

/*
 * Asks `kvm_fd` for what it supports and fills in what all vCPUs share. 0 or
 * -errno, logged.
 */
int cpuid_create(struct cpuid *cpuid, int kvm_fd,
		 const struct cpuid_options *options);

/* The same on entries that are already there (for tests). */
void cpuid_apply(struct cpuid *cpuid, const struct cpuid_options *options);

/* What this host's processor itself says: an exit where the host is a guest. */
struct kvm_cpuid_entry2 cpuid_of_processor(uint32_t function, uint32_t index);

/* Fills in the APIC ID of one vCPU; call before each KVM_SET_CPUID2. */
void cpuid_set_id(struct cpuid *cpuid, uint32_t apic_id);

#endif
