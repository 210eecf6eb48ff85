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

#include "cpu/loop/thread.h"
#include "cpu/platform.h"
#include "cpu/vm.h"
#include "mem/ram.h"

struct kvm_run;
struct vcpus;

/* Exits of a vCPU by kind; written by its thread, read by any. */
enum vcpu_counter {
	VCPU_EXITS,
	VCPU_PIO,
	VCPU_MMIO,
	VCPU_SIGNALS,
	VCPU_COUNTERS
};

struct vcpu {
	struct vcpus *all;
	unsigned id;
	int fd;
	struct thread thread;
	struct kvm_run *run;
	unsigned refusals; /* EAGAIN of KVM_RUN */
	_Atomic uint64_t counter[VCPU_COUNTERS];
};

struct vcpus {
	struct vm *vm;
	struct platform *platform;
	unsigned count;
	struct thread_hook hook;
	atomic_bool stop;
	struct vcpu cpu[VM_CPUS_MAX];
};

struct vcpu_options {
	unsigned count;
	bool nested;
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

/* Makes every vCPU leave the guest and joins its thread. */
void vcpus_stop(struct vcpus *vcpus);
void vcpus_destroy(struct vcpus *vcpus);

/* The sum over all vCPUs. */
uint64_t vcpus_counter(const struct vcpus *vcpus, enum vcpu_counter counter);

#endif
