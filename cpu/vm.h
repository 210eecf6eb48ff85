/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One KVM virtual machine: memory slots, the in-kernel interrupt controllers
 * (IOAPIC and LAPIC; no PIT, the PIC masked) and the two device buses.
 */
#ifndef CPU_VM_H
#define CPU_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/bus.h"
#include "cpu/loop/file.h"
#include "mem/ram.h"

#define VM_GSI_BUTTON 3	 /* ACPI event device */
#define VM_GSI_SERIAL 4	 /* 16550A */
#define VM_GSI_VIRTIO 5	 /* first of the virtio-mmio slots */
#define VM_GSI_COUNT  24 /* pins of KVM's IOAPIC */

#define VM_CPUS_MAX 254 /* xAPIC IDs 0..253; 255 is the broadcast */

/* Of both 8259s, a constant of KVM's: see vm.c. */
extern const uint8_t vm_elcr_mask[2];

struct vm {
	int kvm_fd; /* /dev/kvm */
	int fd;
	size_t run_size;   /* bytes of a vCPU's struct kvm_run mapping */
	unsigned cpus_max; /* what this host allows */
	bool tsc_deadline; /* the LAPIC timer has TSC-deadline mode */
	unsigned slots;	   /* of memory, so far */
	bool keeps_clocks; /* see vm_state.h */
	bool same_boot;	   /* as that of the guest that is restored */
	enum { VM_NOT_ASKED, VM_READONLY, VM_NO_READONLY } readonly;
	struct bus pio, mmio;
};

/*
 * Opens /dev/kvm, or what --kvm says, and checks that it can do what mote
 * needs. 0 or -errno, logged with how to mend it.
 */
int vm_open(struct vm *vm, const struct option_file *kvm);

/*
 * Creates the machine over `ram`, which must outlive it: memory slots, then
 * interrupt controllers, the quickest order. 0 or -errno, logged; vm_destroy
 * also then.
 */
int vm_create(struct vm *vm, const struct ram *ram);

/*
 * The guest reads a page of the host's, which must outlive it, at `at`, without
 * an exit; it cannot write there: that is MMIO, as where no memory is. Before
 * there is a vCPU. Where the host's KVM cannot (KVM_CAP_READONLY_MEM), reads
 * are MMIO, too. 0 or -errno, logged.
 */
int vm_show_page(struct vm *vm, gpa at, const void *page);

/*
 * Raises an edge on `gsi`, for which there is no irqfd: the local APIC has it
 * when this returns. The loop's thread.
 */
void vm_interrupt(const struct vm *vm, unsigned gsi);

/*
 * Each write to the eventfd raises an edge on `gsi` from now on. 0 or -errno,
 * logged.
 */
int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi);

/*
 * Guest writes to the MMIO address `at` count the eventfd up, without an exit:
 * 32-bit ones of the value `match`, or any with VM_IOEVENTFD_ANY. Logs.
 */
#define VM_IOEVENTFD_ANY (-1)
int vm_ioeventfd(struct vm *vm, int event_fd, gpa at, int64_t match);

void vm_destroy(struct vm *vm);

#endif
