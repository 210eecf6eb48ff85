/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One KVM virtual machine.
 *
 * The order of the calls: memory slots before the interrupt controllers before
 * the vCPUs, because every change of a slot or a route after a vCPU exists
 * waits for a grace period (milliseconds instead of a third of one). There is
 * no PIT: timers are the LAPIC's. KVM's irqchip always brings a PIC; its inputs
 * are masked here, since a guest with reduced-hardware ACPI never initialises
 * it and must not get its interrupts. Trusts the host's kernel. Owns the two
 * descriptors. Main thread.
 */
#include "cpu/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

/* Three pages that Intel's real mode emulation needs, outside of RAM. */
#define TSS_ADDRESS 0xFFFBD000UL

static int open_kvm(const struct option_file *kvm)
{
	static const struct file_advice advice[] = {
		{ ENOENT,
		  "this machine has no KVM: load kvm-intel or kvm-amd, and "
		  "switch virtualisation on in its firmware or its host" },
		{ EACCES, "you may not use it: 'sudo usermod -aG kvm $USER', "
			  "then log in again" },
		{ EPERM, "you may not use it here: let this container or "
			 "cgroup have the device" },
		{ ENODEV,
		  "its module finds no virtualisation in this processor: "
		  "switch it on in this machine's firmware or its host" },
		{ ENXIO,
		  "its module is not loaded: load kvm-intel or kvm-amd" },
		{ 0, "check the device" },
	};
	const struct option_file by_default = { .path = "/dev/kvm", .fd = -1 };

	if (kvm->fd >= 0)
		return kvm->fd;
	return file_open(kvm->path ? kvm : &by_default, "", O_RDWR, 0, advice);
}

static const struct needed_cap {
	int cap;
	const char *name;
} needed_caps[] = {
	{ KVM_CAP_IRQCHIP, "an in-kernel interrupt controller" },
	{ KVM_CAP_USER_MEMORY, "memory slots" },
	{ KVM_CAP_EXT_CPUID, "KVM_GET_SUPPORTED_CPUID" },
	{ KVM_CAP_IRQFD, "irqfd" },
	{ KVM_CAP_IOEVENTFD, "ioeventfd" },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, "ioeventfd of any length (Linux 4.4)" },
	{ KVM_CAP_IMMEDIATE_EXIT, "immediate_exit (Linux 4.13)" },
};

static int check_caps(struct vm *vm)
{
	for (size_t i = 0; i < ARRAY_LEN(needed_caps); i++) {
		if (ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, needed_caps[i].cap) >
		    0)
			continue;
		log_error("/dev/kvm lacks %s; this host's kernel is too old "
			  "or built without it",
			  needed_caps[i].name);
		return -ENOSYS;
	}
	return 0;
}

/* Whatever was opened: is it KVM? */
static int check_api(const struct vm *vm, const struct option_file *kvm)
{
	int n = ioctl(vm->kvm_fd, KVM_GET_API_VERSION, 0), error = errno;

	if (n == KVM_API_VERSION)
		return 0;
	if (n < 0 && kvm->fd >= 0)
		log_error("--kvm fd=%d: it is not /dev/kvm: %s", kvm->fd,
			  strerror(error));
	else if (n < 0)
		log_error("%s is not KVM: %s",
			  kvm->path ? kvm->path : "/dev/kvm", strerror(error));
	else
		log_error("KVM's API version is %d, not %d", n,
			  KVM_API_VERSION);
	return -ENODEV;
}

int vm_open(struct vm *vm, const struct option_file *kvm)
{
	int n, error;

	*vm = (struct vm){ .kvm_fd = -1, .fd = -1 };
	vm->kvm_fd = open_kvm(kvm);
	if (vm->kvm_fd < 0)
		return vm->kvm_fd;
	error = check_api(vm, kvm);
	if (!error)
		error = check_caps(vm);
	if (error)
		goto out;
	n = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	vm->cpus_max = n < 1 ? 1 : (unsigned)n;
	if (vm->cpus_max > VM_CPUS_MAX)
		vm->cpus_max = VM_CPUS_MAX;
	vm->tsc_deadline = ioctl(vm->kvm_fd, KVM_CHECK_EXTENSION,
				 KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	n = ioctl(vm->kvm_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (n < (int)sizeof(struct kvm_run)) {
		log_error("/dev/kvm gives %d bytes for a vCPU, not %zu; this "
			  "host's kernel is too old",
			  n, sizeof(struct kvm_run));
		error = -ENODEV;
	}
	vm->run_size = (size_t)n;
out:
	if (error)
		vm_destroy(vm);
	return error;
}

static int add_memory(struct vm *vm, gpa at, const void *host, uint64_t size,
		      uint32_t flags)
{
	struct kvm_userspace_memory_region slot = {
		.slot = vm->slots++,
		.flags = flags,
		.guest_phys_addr = at.v,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &slot)
		       ? log_errno("KVM_SET_USER_MEMORY_REGION")
		       : 0;
}

static int add_ram(struct vm *vm, const struct ram *ram)
{
	int error = 0;

	for (unsigned i = 0; i < ARRAY_LEN(ram->region) && !error; i++) {
		const struct ram_region *region = &ram->region[i];

		if (region->size)
			error = add_memory(vm, region->start, region->host,
					   region->size, 0);
	}
	return error;
}

/*
 * What KVM's own reset leaves (arch/x86/kvm/i8259.c): the lines that may be
 * level-triggered.
 */
const uint8_t vm_elcr_mask[] = { 0xf8, 0xde };

/* Both 8259s with every input masked. */
static int mask_pic(struct vm *vm)
{
	for (unsigned i = 0; i < ARRAY_LEN(vm_elcr_mask); i++) {
		struct kvm_irqchip chip = { .chip_id = i };

		chip.chip.pic.imr = 0xff;
		chip.chip.pic.elcr_mask = vm_elcr_mask[i];
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip))
			return log_errno("KVM_SET_IRQCHIP");
	}
	return 0;
}

/*
 * vCPUs get the rate that the host's TSC has by now. Else it is the one that
 * KVM saw when it was loaded, and the kernel may have measured better since:
 * where both differ by more than 250 ppm, KVM without TSC scaling fails to set
 * it, silently, and guests' timers stand still (arch/x86/kvm/x86.c,
 * set_tsc_khz). Before Linux 5.18 there is no such call for all of a VM; it
 * stays as it was.
 */
static void set_tsc_rate(struct vm *vm)
{
	ioctl(vm->fd, KVM_SET_TSC_KHZ, 0);
}

int vm_create(struct vm *vm, const struct ram *ram)
{
	int error;

	do
		vm->fd = ioctl(vm->kvm_fd, KVM_CREATE_VM, 0);
	while (vm->fd < 0 && errno == EINTR);
	if (vm->fd < 0) {
		error = errno;
		log_error("KVM_CREATE_VM: %s%s", strerror(error),
			  error == EBUSY ? "; another hypervisor has the "
					   "processor: stop it"
					 : log_advice(error));
		return -error;
	}
	set_tsc_rate(vm);
	error = add_ram(vm, ram);
	if (error)
		return error;
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS))
		return log_errno("KVM_SET_TSS_ADDR");
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0))
		return log_errno("KVM_CREATE_IRQCHIP");
	return mask_pic(vm);
}

int vm_show_page(struct vm *vm, gpa at, const void *page)
{
	if (vm->readonly == VM_NOT_ASKED) {
		vm->readonly = ioctl(vm->fd, KVM_CHECK_EXTENSION,
				     KVM_CAP_READONLY_MEM) > 0
				       ? VM_READONLY
				       : VM_NO_READONLY;
		if (vm->readonly == VM_NO_READONLY)
			log_info("this host's KVM has no read-only memory: "
				 "devices' interrupts take the guest longer");
	}
	return vm->readonly == VM_READONLY
		       ? add_memory(vm, at, page, RAM_PAGE, KVM_MEM_READONLY)
		       : 0;
}

/*
 * Two calls, and yet a third less work than an irqfd: KVM injects that at once
 * for an MSI only; for a pin of the IOAPIC it wakes a kernel's worker, which
 * then does just this (virt/kvm/eventfd.c, irqfd_wakeup and irqfd_inject).
 */
void vm_interrupt(const struct vm *vm, unsigned gsi)
{
	struct kvm_irq_level line = { .irq = gsi, .level = 1 };

	ioctl(vm->fd, KVM_IRQ_LINE, &line);
	line.level = 0;
	ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)event_fd, .gsi = gsi };

	return ioctl(vm->fd, KVM_IRQFD, &irqfd) ? log_errno("KVM_IRQFD") : 0;
}

int vm_ioeventfd(struct vm *vm, int event_fd, gpa at, int64_t match)
{
	struct kvm_ioeventfd ioeventfd = {
		.addr = at.v,
		.len = 4,
		.fd = event_fd,
		.datamatch = (uint64_t)match,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	if (match == VM_IOEVENTFD_ANY)
		ioeventfd.len = ioeventfd.datamatch = ioeventfd.flags = 0;
	return ioctl(vm->fd, KVM_IOEVENTFD, &ioeventfd)
		       ? log_errno("KVM_IOEVENTFD")
		       : 0;
}

void vm_destroy(struct vm *vm)
{
	if (vm->fd >= 0)
		close(vm->fd);
	if (vm->kvm_fd >= 0)
		close(vm->kvm_fd);
	vm->fd = vm->kvm_fd = -1;
}
