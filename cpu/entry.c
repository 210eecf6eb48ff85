/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entry state of the boot processor. Sources: Intel SDM volume 3, 4.5 (page
 * tables), 3.4.5 (descriptors), 11.11 (MTRRs); boot.rst for what Linux expects:
 * __BOOT_CS 0x10 and __BOOT_DS 0x18 flat, interrupts off, RSI = boot_params.
 * Owns nothing. Main thread, before the vCPUs run.
 */
#include "cpu/entry.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#include "mem/log.h"
#include "mem/util.h"

#define SELECTOR_CODE 0x10
#define SELECTOR_DATA 0x18
#define SELECTOR_TSS  0x20

#define CR0_PE	 0x1ULL
#define CR0_ET	 0x10ULL
#define CR0_NE	 0x20ULL
#define CR0_PG	 0x80000000ULL
#define CR4_PAE	 0x20ULL
#define EFER_LME 0x100ULL
#define EFER_LMA 0x400ULL

#define PTE_PRESENT_RW 0x3ULL
#define PTE_LARGE      0x80ULL
#define ENTRIES	       512

#define MSR_MTRR_DEF_TYPE	0x2ff
#define MTRR_ENABLE_WRITE_BACK	0x806
#define MSR_MISC_ENABLE		0x1a0
#define MISC_ENABLE_FAST_STRING 1

static const uint64_t gdt[] = {
	0,
	0,
	0x00af9b000000ffff, /* 0x10: code, 64-bit, 0..4 GiB */
	0x00cf93000000ffff, /* 0x18: data, 0..4 GiB */
	0x00008b0000000067, /* 0x20: TSS, which VMX wants to be there */
	0,
};

int entry_write_tables(const struct ram *ram)
{
	uint64_t table[ENTRIES] = { 0 };
	gpa at = ENTRY_PAGE_TABLES;

	/* Two with one entry each, which leads to the next. */
	for (unsigned level = 0; level < 2; level++) {
		table[0] = (at.v + sizeof(table)) | PTE_PRESENT_RW;
		if (ram_write(ram, at, table, sizeof(table)))
			return -EFAULT;
		at = gpa_add(at, sizeof(table));
	}
	for (uint64_t i = 0; i < ENTRIES; i++)
		table[i] = i << 21 | PTE_LARGE | PTE_PRESENT_RW;
	if (ram_write(ram, at, table, sizeof(table)))
		return -EFAULT;
	return ram_write(ram, ENTRY_GDT, gdt, sizeof(gdt));
}

static void set_segments(struct kvm_sregs *sregs)
{
	const struct kvm_segment code = {
		.limit = 0xffffffff,
		.selector = SELECTOR_CODE,
		.type = 11,
		.present = 1,
		.s = 1,
		.l = 1,
		.g = 1,
	};
	const struct kvm_segment data = {
		.limit = 0xffffffff,
		.selector = SELECTOR_DATA,
		.type = 3,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};

	sregs->cs = code;
	sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
	sregs->tr = (struct kvm_segment){
		.limit = 0x67,
		.selector = SELECTOR_TSS,
		.type = 11,
		.present = 1,
	};
	sregs->gdt = (struct kvm_dtable){
		.base = ENTRY_GDT.v,
		.limit = sizeof(gdt) - 1,
	};
	sregs->idt = (struct kvm_dtable){ 0 };
}

int entry_set_vcpu(int vcpu_fd, gpa rip, gpa boot_params)
{
	struct kvm_regs regs = {
		.rip = rip.v,
		.rsi = boot_params.v,
		.rflags = 2,
	};
	struct kvm_sregs sregs;

	/* read first: the APIC base and CR8 stay as KVM made them */
	if (ioctl(vcpu_fd, KVM_GET_SREGS, &sregs))
		return log_errno("KVM_GET_SREGS");
	set_segments(&sregs);
	sregs.cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	sregs.cr3 = ENTRY_PAGE_TABLES.v;
	sregs.cr4 = CR4_PAE;
	sregs.efer = EFER_LME | EFER_LMA;
	if (ioctl(vcpu_fd, KVM_SET_SREGS, &sregs))
		return log_errno("KVM_SET_SREGS");
	if (ioctl(vcpu_fd, KVM_SET_REGS, &regs))
		return log_errno("KVM_SET_REGS");
	return 0;
}

static const struct kvm_msr_entry msr_values[] = {
	/* else Linux takes all of memory to be uncached, and skips PAT */
	{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ENABLE_WRITE_BACK },
	{ .index = MSR_MISC_ENABLE, .data = MISC_ENABLE_FAST_STRING },
};

int entry_set_msrs(int vcpu_fd)
{
	struct {
		struct kvm_msrs header;
		struct kvm_msr_entry entry[ARRAY_LEN(msr_values)];
	} msrs;
	size_t done = 0;

	/* KVM_SET_MSRS stops at the first that the host refuses: step past */
	while (done < ARRAY_LEN(msr_values)) {
		size_t left = ARRAY_LEN(msr_values) - done;
		int n;

		msrs.header = (struct kvm_msrs){ .nmsrs = (uint32_t)left };
		memcpy(msrs.entry, &msr_values[done],
		       left * sizeof(*msr_values));
		n = ioctl(vcpu_fd, KVM_SET_MSRS, &msrs);
		if (n < 0)
			return log_errno("KVM_SET_MSRS");
		done += (size_t)n;
		if ((size_t)n < left)
			log_debug("the host refuses MSR 0x%x",
				  msr_values[done++].index);
	}
	return 0;
}
