/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the virtual machine: kvmclock, IOAPIC, PIC. KVM is given what it
 * checks itself; what it does not is checked here. No struct of KVM's is ever
 * written whole: they differ by version, and have gaps. Owns nothing. Main
 * thread.
 */
#include "cpu/vm_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "mem/util.h"

#define IOAPIC_BASE	0xfec00000
#define PIC_INIT_STATES 4

void vm_state_get(struct state *s, int fd, unsigned long request, void *arg,
		  const char *part)
{
	if (!s->loading && !s->wrong && ioctl(fd, request, arg) < 0)
		state_refuse(s, "KVM does not give its %s: %s", part,
			     strerror(errno));
}

void vm_state_set(struct state *s, int fd, unsigned long request, void *arg,
		  const char *part)
{
	if (s->loading && !s->wrong && ioctl(fd, request, arg) < 0)
		state_refuse(s, "KVM refuses its %s: %s", part,
			     strerror(errno));
}

void vm_state_fields(struct state *s, void *of,
		     const struct vm_state_field *fields, size_t count)
{
	for (size_t i = 0; i < count; i++)
		state_bytes(s, (uint8_t *)of + fields[i].offset,
			    fields[i].size);
}

uint64_t vm_state_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t vm_state_moved(const struct vm *vm, uint64_t realtime)
{
	const uint64_t now = vm_state_now();

	return vm->keeps_clocks || now < realtime ? 0 : now - realtime;
}

/*
 * Not KVM_CLOCK_REALTIME, by which KVM would move the clock on by itself: the
 * TSC has to move by the same (vcpu_state_tsc), or not at all.
 */
void vm_state_clock(struct vm *vm, struct state *s)
{
	struct kvm_clock_data clock = { 0 };
	uint64_t kvmclock, realtime;

	vm_state_get(s, vm->fd, KVM_GET_CLOCK, &clock, "clock");
	kvmclock = clock.clock;
	realtime = vm_state_now();
	state_u64(s, &kvmclock);
	state_u64(s, &realtime);
	clock = (struct kvm_clock_data){
		.clock = kvmclock + vm_state_moved(vm, realtime),
	};
	vm_state_set(s, vm->fd, KVM_SET_CLOCK, &clock, "clock");
}

#define IOAPIC(field) VM_STATE_FIELD(kvm_ioapic_state, field)

void vm_state_ioapic(struct vm *vm, struct state *s)
{
	static const struct vm_state_field fields[] = {
		IOAPIC(base_address), IOAPIC(ioregsel), IOAPIC(id),
		IOAPIC(irr),	      IOAPIC(redirtbl),
	};
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_ioapic_state *ioapic = &chip.chip.ioapic;

	vm_state_get(s, vm->fd, KVM_GET_IRQCHIP, &chip, "IOAPIC");
	vm_state_fields(s, ioapic, fields, ARRAY_LEN(fields));
	state_check(s,
		    ioapic->base_address == IOAPIC_BASE &&
			    ioapic->ioregsel <= 0xff && ioapic->id <= 0xf &&
			    ioapic->irr < 1u << KVM_IOAPIC_NUM_PINS,
		    "its IOAPIC's registers are impossible");
	vm_state_set(s, vm->fd, KVM_SET_IRQCHIP, &chip, "IOAPIC");
}

#define PIC(field) VM_STATE_FIELD(kvm_pic_state, field)

/*
 * Few guests have a use for it, but all may write to its ports. KVM takes
 * whatever it is given: elcr_mask is what no guest can change.
 */
void vm_state_pic(struct vm *vm, unsigned chip, struct state *s)
{
	static const struct vm_state_field fields[] = {
		PIC(last_irr),
		PIC(irr),
		PIC(imr),
		PIC(isr),
		PIC(priority_add),
		PIC(irq_base),
		PIC(read_reg_select),
		PIC(poll),
		PIC(special_mask),
		PIC(init_state),
		PIC(auto_eoi),
		PIC(rotate_on_auto_eoi),
		PIC(special_fully_nested_mode),
		PIC(init4),
		PIC(elcr),
		PIC(elcr_mask),
	};
	struct kvm_irqchip arg = { .chip_id = chip };
	struct kvm_pic_state *pic = &arg.chip.pic;

	vm_state_get(s, vm->fd, KVM_GET_IRQCHIP, &arg, "PIC");
	vm_state_fields(s, pic, fields, ARRAY_LEN(fields));
	state_check(s,
		    pic->elcr_mask == vm_elcr_mask[chip] &&
			    !(pic->elcr & ~pic->elcr_mask) &&
			    pic->init_state < PIC_INIT_STATES &&
			    pic->priority_add < 8,
		    "its PIC's registers are impossible");
	vm_state_set(s, vm->fd, KVM_SET_IRQCHIP, &arg, "PIC");
}
