/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's processors: one thread each, which runs KVM_RUN and answers what
 * it exits with.
 */
#ifndef CPU_VCPU_H
#define CPU_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/entry.h"
#include "cpu/loop/counters.h"
#include "cpu/loop/thread.h"
#include "cpu/platform.h"
#include "cpu/vm.h"
#include "mem/ram.h"

struct kvm_run;
struct vcpus;

struct vcpu {
	struct vcpus *all;
	unsigned id;
	int fd;
	struct thread thread;
	struct kvm_run *run;
	unsigned refusals;			  /* EAGAIN of KVM_RUN */
	_Atomic uint64_t counter[EXITS_COUNTERS]; /* its thread's; see util.h */
};

/* What their threads are to do. */
enum vcpus_wanted { VCPUS_RUN, VCPUS_PAUSE, VCPUS_STOP };

struct vcpus {
	struct vm *vm;
	struct platform *platform;
	unsigned count;
	struct thread_hook hook;
	/* Changes under `lock`, and with it the immediate_exit of all. */
	_Atomic enum vcpus_wanted wanted;
	pthread_mutex_t lock; /* also of what follows */
	pthread_cond_t changed;
	unsigned running;   /* threads that are neither parked nor over */
	int parked_fd;	    /* while they are to pause; else -1 */
	uint64_t tsc_moved; /* see vcpu_state_tsc */
	/*
	 * What CPUID shows, as it was given to KVM, which adds to it; the IDs
	 * are those of any vCPU (cpuid_set_id).
	 */
	struct cpuid cpuid;
	struct vcpu cpu[VM_CPUS_MAX];
};

struct vcpu_options {
	unsigned count;
	bool nested;
	bool restored; /* by vcpu_state.h: they get no state here */
	gpa entry, boot_params;
	struct thread_hook hook; /* of its threads; the number is the vCPU's */
};

/*
 * Creates all vCPUs in their start state: the first at the entry, the others
 * waiting for its INIT and SIPI. 0 or -errno, logged; destroy also then.
 */
int vcpus_create(struct vcpus *vcpus, struct vm *vm, struct platform *platform,
		 const struct vcpu_options *options);

/*
 * Starts the threads, which run the guest once all threads are ready (see
 * thread.h). 0 or -errno, logged.
 */
int vcpus_start(struct vcpus *vcpus);

/*
 * Makes every vCPU leave the guest and wait, and asks for nothing more: when
 * the last one has parked, `parked_fd` (an eventfd, the caller's) is raised,
 * once. Until then the loop must go on, since a vCPU may be in a loop_call,
 * which ends first. A vCPU that is parked has finished the exit that it was at:
 * its registers are those of a guest between two instructions, and the loop's
 * thread may read and set them. A vCPU whose thread is over counts as parked.
 * After vcpus_start, in the loop's thread.
 */
void vcpus_pause(struct vcpus *vcpus, int parked_fd);

/* The guest goes on, and is told that time has passed (KVM_KVMCLOCK_CTRL). */
void vcpus_resume(struct vcpus *vcpus);

/* Makes every vCPU leave the guest, also a parked one, and joins its thread. */
void vcpus_stop(struct vcpus *vcpus);
void vcpus_destroy(struct vcpus *vcpus);

/* Exits by kind, of all vCPUs: from any thread, or a handler of signals. */
void vcpus_counters(const struct vcpus *vcpus, uint64_t value[EXITS_COUNTERS]);

#endif
