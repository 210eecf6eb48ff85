/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot keeps of a vCPU. Each function saves and loads (mem/state.h)
 * by KVM's calls; a call that fails is what is wrong. The vCPU is parked; or it
 * was created to be restored and has not run, and guest memory is there.
 *
 * To save: vcpu_state_before_save, then all, in any order but events last. To
 * load: in the order in which they stand here, those of the first vCPU before
 * all others', and after vm_state_clock.
 */
#ifndef CPU_VCPU_STATE_H
#define CPU_VCPU_STATE_H

#include "cpu/vcpu.h"
#include "mem/state.h"

/* KVM takes in an INIT or SIPI that was sent: that may change the LAPIC. */
void vcpu_state_before_save(struct vcpu *cpu);

/*
 * What CPUID shows. All that the guest may use of it this host must have. A
 * guest that may have guests of its own is refused: they are not saved.
 */
void vcpu_state_cpuid(struct vcpu *cpu, struct state *s);

void vcpu_state_sregs(struct vcpu *cpu, struct state *s);
void vcpu_state_regs(struct vcpu *cpu, struct state *s);
void vcpu_state_xsave(struct vcpu *cpu, struct state *s);
void vcpu_state_debug(struct vcpu *cpu, struct state *s);
void vcpu_state_lapic(struct vcpu *cpu, struct state *s);

/*
 * The time stamp counter: it moves on as vm_state_moved says. The first vCPU's
 * is set, and the others keep their difference from it.
 */
void vcpu_state_tsc(struct vcpu *cpu, struct state *s);

/* All MSRs that this host's KVM names but the TSC; MTRRs; KVM's own. */
void vcpu_state_msrs(struct vcpu *cpu, struct state *s);

/* What is pending, and whether it runs at all. */
void vcpu_state_events(struct vcpu *cpu, struct state *s);

/*
 * Where it was saved behind an IN of a byte: that was answered with `al`. After
 * vcpu_state_regs. 0 or -errno, logged.
 */
int vcpu_state_answer(struct vcpu *cpu, uint8_t al);

#endif
