/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's processors.
 *
 * A vCPU thread knows three things: the buses, the platform (to say that the
 * guest has ended) and its own kvm_run page. Nothing that the guest does is
 * trusted: addresses go to bus_read and bus_write, which check them, and
 * lengths come from KVM. An end that mote cannot go on from ends the guest, not
 * mote.
 *
 * To pause and to stop are one state, `wanted`, which changes together with
 * immediate_exit of all vCPUs, under one lock, in the loop's thread alone: a
 * vCPU never writes either. A signal follows whose handler does nothing:
 * whichever comes first, KVM_RUN returns.
 *
 *	running --EINTR, VCPUS_PAUSE--> parked --VCPUS_RUN--> running
 *	either --VCPUS_STOP, or the guest has ended--> over
 *
 * A vCPU parks only when KVM_RUN has said EINTR: where an exit had to be
 * finished (the value of an IN goes into the register, a string goes on), that
 * call did it first, and with immediate_exit set it enters the guest no more.
 */
#include "cpu/vcpu.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/entry.h"
#include "mem/log.h"
#include "mem/util.h"

/*
 * KVM makes a thread of its own for the first KVM_RUN, and where it may not,
 * that says EAGAIN for ever; to a CPU that was waiting for its SIPI, once.
 */
#define REFUSALS_MAX 1000

static void count_exit(struct vcpu *cpu, enum exits_counter counter)
{
	count_up(&cpu->counter[counter], 1);
}

static void exit_io(struct vcpu *cpu)
{
	struct kvm_run *run = cpu->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	count_exit(cpu, EXITS_PIO);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(&cpu->all->vm->pio, run->io.port, data,
				 run->io.size);
		else
			bus_write(&cpu->all->vm->pio, run->io.port, data,
				  run->io.size);
	}
}

static void exit_mmio(struct vcpu *cpu)
{
	struct kvm_run *run = cpu->run;

	count_exit(cpu, EXITS_MMIO);
	if (run->mmio.is_write)
		bus_write(&cpu->all->vm->mmio, run->mmio.phys_addr,
			  run->mmio.data, run->mmio.len);
	else
		bus_read(&cpu->all->vm->mmio, run->mmio.phys_addr,
			 run->mmio.data, run->mmio.len);
}

static void exit_shutdown(struct vcpu *cpu)
{
	platform_reset(cpu->all->platform, true);
}

static void exit_system_event(struct vcpu *cpu)
{
	struct platform *platform = cpu->all->platform;

	switch (cpu->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		platform_end(platform, END_POWEROFF, 0);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		platform_reset(platform, false);
		break;
	default:
		platform_end(platform, END_PANIC, STATUS_CRASH);
	}
}

static uint64_t instruction_pointer(struct vcpu *cpu)
{
	struct kvm_regs regs;

	return ioctl(cpu->fd, KVM_GET_REGS, &regs) ? 0 : regs.rip;
}

static void report_guest_crash(struct vcpu *cpu, const char *what,
			       uint64_t detail)
{
	log_error("the guest crashed: vCPU %u, %s 0x%llx, at RIP 0x%llx",
		  cpu->id, what, (unsigned long long)detail,
		  (unsigned long long)instruction_pointer(cpu));
	platform_end(cpu->all->platform, END_CRASH, STATUS_CRASH);
}

static void exit_internal(struct vcpu *cpu)
{
	struct kvm_run *run = cpu->run;
	const uint8_t *insn = run->emulation_failure.insn_bytes;
	bool emulation = run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
	char what[96];
	size_t len = 0, at;

	if (emulation && run->emulation_failure.ndata >= 1 &&
	    run->emulation_failure.flags &
		    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES)
		len = run->emulation_failure.insn_size;
	if (len > sizeof(run->emulation_failure.insn_bytes))
		len = sizeof(run->emulation_failure.insn_bytes);
	at = (size_t)snprintf(what, sizeof(what), "%s",
			      len ? "KVM cannot emulate" : "KVM");
	for (size_t i = 0; i < len; i++, at += 3)
		snprintf(what + at, sizeof(what) - at, " %02x", insn[i]);
	snprintf(what + at, sizeof(what) - at, ", internal error");
	report_guest_crash(cpu, what, run->internal.suberror);
}

static void exit_entry_failed(struct vcpu *cpu)
{
	report_guest_crash(cpu, "entry refused by the processor, reason",
			   cpu->run->fail_entry.hardware_entry_failure_reason);
}

/* Signals only interrupt; a halt wakes up again by itself. */
static void exit_nothing(struct vcpu *cpu)
{
	(void)cpu;
}

typedef void (*exit_handler)(struct vcpu *cpu);

static const exit_handler exit_handlers[] = {
	[KVM_EXIT_IO] = exit_io,
	[KVM_EXIT_MMIO] = exit_mmio,
	[KVM_EXIT_INTR] = exit_nothing,
	[KVM_EXIT_SHUTDOWN] = exit_shutdown,
	[KVM_EXIT_SYSTEM_EVENT] = exit_system_event,
	[KVM_EXIT_INTERNAL_ERROR] = exit_internal,
	[KVM_EXIT_FAIL_ENTRY] = exit_entry_failed,
};

static void handle_exit(struct vcpu *cpu)
{
	uint32_t reason = cpu->run->exit_reason;

	count_exit(cpu, EXITS_TOTAL);
	cpu->refusals = 0;
	if (reason < ARRAY_LEN(exit_handlers) && exit_handlers[reason])
		exit_handlers[reason](cpu);
	else
		report_guest_crash(cpu, "unexpected KVM exit", reason);
}

/* -- parking --------------------------------------------------------------- */

/* With the lock. */
static void leave_running(struct vcpus *all)
{
	if (!--all->running && all->parked_fd >= 0)
		eventfd_raise(all->parked_fd);
}

/* Where it is to pause: waits for what is wanted next. */
static void park_vcpu(struct vcpus *all)
{
	if (atomic_load_explicit(&all->wanted, memory_order_acquire) !=
	    VCPUS_PAUSE)
		return;
	pthread_mutex_lock(&all->lock);
	leave_running(all);
	while (all->wanted == VCPUS_PAUSE)
		pthread_cond_wait(&all->changed, &all->lock);
	all->running++;
	pthread_mutex_unlock(&all->lock);
}

/*
 * KVM has no page for it: no SIGBUS comes, as it does where mote itself reads
 * there. One vCPU says so for all.
 */
static void end_without_memory(struct vcpu *cpu)
{
	static atomic_flag said = ATOMIC_FLAG_INIT;

	if (!cpu->all->platform->ram->mapping_count) {
		report_guest_crash(
			cpu,
			"memory that the host cannot give (is it full?), errno",
			EFAULT);
		return;
	}
	if (!atomic_flag_test_and_set(&said))
		log_error(RAM_FILE_LOST);
	platform_end(cpu->all->platform, END_ERROR, STATUS_ERROR);
}

/* KVM_RUN failed: true where the vCPU can go on. */
static bool handle_error(struct vcpu *cpu, int error)
{
	switch (error) {
	case EINTR:
		/*
		 * A kick, or SIGSTOP and SIGCONT: the guest's watchdogs are
		 * told that time has passed. EINVAL: it has no kvmclock.
		 */
		count_exit(cpu, EXITS_SIGNAL);
		park_vcpu(cpu->all);
		ioctl(cpu->fd, KVM_KVMCLOCK_CTRL, 0);
		return true;
	case EAGAIN:
		if (++cpu->refusals < REFUSALS_MAX)
			return true;
		log_error("KVM_RUN: %s%s", strerror(error), log_advice(error));
		platform_end(cpu->all->platform, END_ERROR, STATUS_ERROR);
		return false;
	case EFAULT:
		end_without_memory(cpu);
		return false;
	default:
		report_guest_crash(cpu, "KVM_RUN failed, errno",
				   (uint64_t)error);
		return false;
	}
}

static void run_guest(struct vcpu *cpu)
{
	struct vcpus *all = cpu->all;

	while (atomic_load_explicit(&all->wanted, memory_order_acquire) !=
		       VCPUS_STOP &&
	       !atomic_load_explicit(&all->platform->ending,
				     memory_order_relaxed)) {
		if (!ioctl(cpu->fd, KVM_RUN, 0))
			handle_exit(cpu);
		else if (!handle_error(cpu, errno))
			break;
	}
}

static void vcpu_thread(void *arg)
{
	struct vcpu *cpu = arg;

	if (thread_await_all())
		platform_end(cpu->all->platform, END_ERROR, STATUS_ERROR);
	else
		run_guest(cpu);
	pthread_mutex_lock(&cpu->all->lock);
	leave_running(cpu->all);
	pthread_mutex_unlock(&cpu->all->lock);
}

static int create_vcpu(struct vcpu *cpu, struct vm *vm)
{
	void *run;

	cpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, cpu->id);
	if (cpu->fd < 0)
		return log_errno("KVM_CREATE_VCPU");
	run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   cpu->fd, 0);
	if (run == MAP_FAILED)
		return log_errno("mmap of a vCPU");
	cpu->run = run;
	return 0;
}

static int set_cpuid(struct vcpus *vcpus, const struct vcpu_options *options)
{
	struct cpuid *cpuid = &vcpus->cpuid;
	int khz = ioctl(vcpus->cpu[0].fd, KVM_GET_TSC_KHZ, 0);
	const struct cpuid_options shown = {
		.count = vcpus->count,
		.tsc_khz = khz > 0 ? (uint32_t)khz : 0,
		.tsc_deadline = vcpus->vm->tsc_deadline,
		.nested = options->nested,
	};
	int error = cpuid_create(cpuid, vcpus->vm->kvm_fd, &shown);

	for (unsigned i = 0; i < vcpus->count && !error; i++) {
		cpuid_set_id(cpuid, i);
		if (ioctl(vcpus->cpu[i].fd, KVM_SET_CPUID2, &cpuid->header))
			error = log_errno("KVM_SET_CPUID2");
	}
	return error;
}

static int set_start_state(struct vcpus *vcpus,
			   const struct vcpu_options *options)
{
	int error = set_cpuid(vcpus, options);

	for (unsigned i = 0; i < vcpus->count && !error; i++)
		error = entry_set_msrs(vcpus->cpu[i].fd);
	if (!error)
		error = entry_set_vcpu(vcpus->cpu[0].fd, options->entry,
				       options->boot_params);
	return error;
}

int vcpus_create(struct vcpus *vcpus, struct vm *vm, struct platform *platform,
		 const struct vcpu_options *options)
{
	int error = 0;

	vcpus->vm = vm;
	vcpus->platform = platform;
	vcpus->hook = options->hook;
	pthread_mutex_init(&vcpus->lock, NULL);
	pthread_cond_init(&vcpus->changed, NULL);
	vcpus->parked_fd = -1;
	for (unsigned i = 0; i < options->count && !error; i++) {
		struct vcpu *cpu = &vcpus->cpu[vcpus->count++];

		cpu->all = vcpus;
		cpu->id = i;
		error = create_vcpu(cpu, vm);
	}
	if (!error && !options->restored)
		error = set_start_state(vcpus, options);
	return error;
}

static int start_vcpu(struct vcpus *vcpus, struct vcpu *cpu)
{
	int error;

	cpu->thread = (struct thread){ .hook = vcpus->hook,
				       .name = "vCPU",
				       .number = cpu->id,
				       .run = vcpu_thread,
				       .arg = cpu };
	error = thread_start(&cpu->thread);
	if (error)
		log_error("cannot start a vCPU's thread: %s%s",
			  strerror(-error), log_advice(-error));
	return error;
}

int vcpus_start(struct vcpus *vcpus)
{
	int error = 0;

	vcpus->running = vcpus->count;
	for (unsigned i = 0; i < vcpus->count && !error; i++)
		error = start_vcpu(vcpus, &vcpus->cpu[i]);
	return error;
}

static void kick_vcpus(struct vcpus *vcpus)
{
	for (unsigned i = 0; i < vcpus->count; i++)
		if (vcpus->cpu[i].thread.started)
			thread_kick(&vcpus->cpu[i].thread);
}

/* `parked_fd`: see vcpus_pause; else -1. */
static void set_wanted(struct vcpus *vcpus, enum vcpus_wanted wanted,
		       int parked_fd)
{
	pthread_mutex_lock(&vcpus->lock);
	atomic_store_explicit(&vcpus->wanted, wanted, memory_order_release);
	/* KVM_RUN reads it before it enters the guest */
	for (unsigned i = 0; i < vcpus->count; i++)
		if (vcpus->cpu[i].run)
			*(volatile uint8_t *)&vcpus->cpu[i]
				 .run->immediate_exit = wanted != VCPUS_RUN;
	vcpus->parked_fd = parked_fd;
	if (parked_fd >= 0 && !vcpus->running)
		eventfd_raise(parked_fd);
	pthread_cond_broadcast(&vcpus->changed);
	pthread_mutex_unlock(&vcpus->lock);
}

void vcpus_pause(struct vcpus *vcpus, int parked_fd)
{
	set_wanted(vcpus, VCPUS_PAUSE, parked_fd);
	kick_vcpus(vcpus);
}

void vcpus_resume(struct vcpus *vcpus)
{
	set_wanted(vcpus, VCPUS_RUN, -1);
}

void vcpus_stop(struct vcpus *vcpus)
{
	set_wanted(vcpus, VCPUS_STOP, -1);
	thread_give_up();
	kick_vcpus(vcpus);
	for (unsigned i = 0; i < vcpus->count; i++)
		thread_join(&vcpus->cpu[i].thread);
}

void vcpus_destroy(struct vcpus *vcpus)
{
	vcpus_stop(vcpus);
	for (unsigned i = 0; i < vcpus->count; i++) {
		struct vcpu *cpu = &vcpus->cpu[i];

		if (cpu->run)
			munmap(cpu->run, vcpus->vm->run_size);
		if (cpu->fd >= 0)
			close(cpu->fd);
	}
	vcpus->count = 0;
}

void vcpus_counters(const struct vcpus *vcpus, uint64_t value[EXITS_COUNTERS])
{
	for (unsigned i = 0; i < EXITS_COUNTERS; i++)
		value[i] = 0;
	for (unsigned i = 0; i < vcpus->count; i++)
		for (unsigned j = 0; j < EXITS_COUNTERS; j++)
			value[j] += counted_up(&vcpus->cpu[i].counter[j]);
}
