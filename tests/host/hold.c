/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold: keeps two idle virtual machines open in the test host, for ever.
 *
 * QEMU 7.2 has a race (cured in 8.1 by locking pages before translation):
 * when one emulated CPU patches kernel text that another one is about to
 * run, the other may keep the int3 that Linux puts there in between, and
 * loop in it for ever.  KVM patches text whenever its first VM comes and its
 * last one goes (preempt notifiers), or the first and last vCPU without a
 * local APIC or with a disabled one.  With these two machines there, it never
 * again does: host.init starts the agent, which calls this, while only one
 * CPU is online.  Nothing ever runs in them.
 */
#include "hold.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>

static int hold(int kvm, int irqchip)
{
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);

	if (vm < 0)
		return -1;
	if (irqchip && ioctl(vm, KVM_CREATE_IRQCHIP, 0))
		return -1;
	return ioctl(vm, KVM_CREATE_VCPU, 0) < 0 ? -1 : 0;
}

void hold_kvm(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	/* the fds stay open; KVM marks its own close-on-exec */
	if (kvm < 0 || hold(kvm, 0) || hold(kvm, 1))
		perror("agent: /dev/kvm");
}
