/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot keeps of the virtual machine itself: its clock and interrupt
 * controllers. Each function saves and loads (mem/state.h), by KVM's calls; a
 * call that fails is what is wrong. All vCPUs are parked, or not started yet.
 */
#ifndef CPU_VM_STATE_H
#define CPU_VM_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/vm.h"
#include "mem/state.h"

/*
 * kvmclock, and when it was read. It is loaded before the vCPUs: KVM computes
 * from it what some of their MSRs make it write.
 */
void vm_state_clock(struct vm *vm, struct state *s);

/*
 * The interrupt controllers, after the LAPICs both ways: KVM passes on to them
 * what is pending here.
 */
void vm_state_ioapic(struct vm *vm, struct state *s);
void vm_state_pic(struct vm *vm, unsigned chip, struct state *s); /* 0, 1 */

/* CLOCK_REALTIME in nanoseconds. */
uint64_t vm_state_now(void);

/*
 * By how many nanoseconds a clock moves on that was saved at `realtime`: as
 * much as has passed since, or nothing with vm->keeps_clocks; never back.
 */
uint64_t vm_state_moved(const struct vm *vm, uint64_t realtime);

/*
 * KVM's call that gives a part where one is saved, or takes it where one is
 * loaded; the other way, and after something was wrong, they do nothing. `part`
 * as in "KVM refuses its registers".
 */
void vm_state_get(struct state *s, int fd, unsigned long request, void *arg,
		  const char *part);
void vm_state_set(struct state *s, int fd, unsigned long request, void *arg,
		  const char *part);

/* A field of a struct of KVM's, or an array of fields that has no gaps. */
struct vm_state_field {
	uint16_t offset, size;
};

#define VM_STATE_FIELD(type, field)                                            \
	{                                                                      \
		offsetof(struct type, field),                                  \
			sizeof(((struct type *)0)->field)                      \
	}

/* Saves or loads them. The host is little-endian, as what is saved. */
void vm_state_fields(struct state *s, void *of,
		     const struct vm_state_field *fields, size_t count);

#endif
