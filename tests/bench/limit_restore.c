/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The barest restore: what KVM itself costs. It reads a snapshot that mote has
 * made of a guest with one vCPU and no devices, maps its memory copy-on-write,
 * makes the KVM calls that any monitor must, in the order of limit.c, sets the
 * state, runs it, and serves two ports as limit.c does. Nothing else: no check
 * of the file, no look at the host, no signals, no second thread, no identity.
 *
 *	limit_restore SNAPSHOT
 *
 * mote's time from exec to a clone's first instruction is given as a ratio to
 * this program's, so it must stay as fast as it can be made. It trusts its
 * input, and that is what this mote writes (boot/snapshot/file.h has the form,
 * snapshot.c the tags): it is for measuring only.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEADER	  4096
#define STATE_MAX 20480
#define TSS	  0xFFFBD000
#define GAP_START 0xC0000000ULL
#define GAP_END	  0x100000000ULL

#define SERIAL	    0x3F8
#define SERIAL_LSR  0x3FD
#define LSR_EMPTY   0x60
#define PORT_EXIT   0x506
#define ENTRIES_MAX 512
#define STATUS_FAIL 125

enum tag {
	CLOCK = 3,
	CPUID,
	SREGS,
	REGS,
	XSAVE,
	DEBUG,
	LAPIC,
	TSC,
	MSRS,
	EVENTS,
	IOAPIC,
	PIC
};

static struct {
	uint8_t header[HEADER];
	_Alignas(8) uint8_t state[STATE_MAX];
} file;

static int vm, vcpu;
static const uint8_t *at; /* of the record's bytes */

static void die(const char *what)
{
	fprintf(stderr, "limit_restore: %s: %s\n", what, strerror(errno));
	exit(STATUS_FAIL);
}

static int must(int result, const char *what)
{
	if (result < 0)
		die(what);
	return result;
}

static void take(void *to, size_t len)
{
	memcpy(to, at, len);
	at += len;
}

#define TAKE(field) take(&(field), sizeof(field))

static uint64_t header_u64(size_t offset)
{
	uint64_t value;

	memcpy(&value, file.header + offset, sizeof(value));
	return value;
}

/* -- what each record says ------------------------------------------------- */

static void set_clock(size_t len)
{
	struct kvm_clock_data clock = { 0 };

	(void)len;
	TAKE(clock.clock);
	must(ioctl(vm, KVM_SET_CLOCK, &clock), "KVM_SET_CLOCK");
}

static void set_cpuid(size_t len)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[ENTRIES_MAX];
	} cpuid;
	const size_t each = offsetof(struct kvm_cpuid_entry2, padding);

	cpuid.head.nent = (uint32_t)(len / each);
	for (uint32_t i = 0; i < cpuid.head.nent; i++)
		take(&cpuid.entry[i], each);
	must(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "KVM_SET_CPUID2");
}

static void take_segment(struct kvm_segment *s)
{
	uint16_t bits;

	TAKE(s->base);
	TAKE(s->limit);
	TAKE(s->selector);
	TAKE(bits);
	s->type = bits & 0xF;
	s->s = bits >> 4 & 1;
	s->dpl = bits >> 5 & 3;
	s->present = bits >> 7 & 1;
	s->unusable = bits >> 8 & 1;
	s->avl = bits >> 12 & 1;
	s->l = bits >> 13 & 1;
	s->db = bits >> 14 & 1;
	s->g = bits >> 15 & 1;
}

static void set_sregs(size_t len)
{
	struct kvm_sregs s = { 0 };
	struct kvm_segment *const segments[] = { &s.cs, &s.ds,	&s.es,
						 &s.fs, &s.gs,	&s.ss,
						 &s.tr, &s.ldt, NULL };

	(void)len;
	for (unsigned i = 0; segments[i]; i++)
		take_segment(segments[i]);
	TAKE(s.gdt.base);
	TAKE(s.gdt.limit);
	TAKE(s.idt.base);
	TAKE(s.idt.limit);
	TAKE(s.cr0);
	TAKE(s.cr2);
	TAKE(s.cr3);
	TAKE(s.cr4);
	TAKE(s.cr8);
	TAKE(s.efer);
	TAKE(s.apic_base);
	TAKE(s.interrupt_bitmap);
	must(ioctl(vcpu, KVM_SET_SREGS, &s), "KVM_SET_SREGS");
}

/* The record has the fields in KVM's order, without a gap. */
static void set_regs(size_t len)
{
	struct kvm_regs regs;

	take(&regs, len);
	must(ioctl(vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static void set_xsave(size_t len)
{
	static uint8_t area[16384];
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };

	TAKE(xcrs.xcrs[0].value);
	take(area, len - 8);
	must(ioctl(vcpu, KVM_SET_XSAVE, area), "KVM_SET_XSAVE");
	if (xcrs.xcrs[0].value)
		must(ioctl(vcpu, KVM_SET_XCRS, &xcrs), "KVM_SET_XCRS");
}

static void set_debug(size_t len)
{
	struct kvm_debugregs regs = { .flags = 0 };

	take(&regs, len);
	must(ioctl(vcpu, KVM_SET_DEBUGREGS, &regs), "KVM_SET_DEBUGREGS");
}

static void set_lapic(size_t len)
{
	struct kvm_lapic_state lapic;

	take(&lapic, len);
	must(ioctl(vcpu, KVM_SET_LAPIC, &lapic), "KVM_SET_LAPIC");
}

/* As it was: it does not move on. */
static void set_tsc(size_t len)
{
	uint64_t offset;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uintptr_t)&offset };

	(void)len;
	at += 4;
	TAKE(offset);
	must(ioctl(vcpu, KVM_SET_DEVICE_ATTR, &attr), "KVM_VCPU_TSC_OFFSET");
}

/* What KVM refuses is left out, as in mote where the value is what it was. */
static void set_msrs(size_t len)
{
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry[ENTRIES_MAX];
	} msrs;
	uint32_t left = (uint32_t)(len / sizeof(struct kvm_msr_entry));

	while (left) {
		uint32_t done;

		msrs.head.nmsrs = left;
		memcpy(msrs.entry, at, left * sizeof(*msrs.entry));
		done = (uint32_t)must(ioctl(vcpu, KVM_SET_MSRS, &msrs),
				      "KVM_SET_MSRS");
		done += done < left;
		at += done * sizeof(*msrs.entry);
		left -= done;
	}
}

static void set_events(size_t len)
{
	struct kvm_vcpu_events e = { .flags = 0 };
	struct kvm_mp_state mp;

	(void)len;
	TAKE(e.exception.injected);
	TAKE(e.exception.nr);
	TAKE(e.exception.has_error_code);
	TAKE(e.exception.pending);
	TAKE(e.exception.error_code);
	TAKE(e.interrupt);
	TAKE(e.nmi.injected);
	TAKE(e.nmi.pending);
	TAKE(e.nmi.masked);
	TAKE(e.sipi_vector);
	TAKE(e.flags);
	TAKE(e.smi);
	TAKE(e.triple_fault);
	TAKE(e.exception_has_payload);
	TAKE(e.exception_payload);
	TAKE(mp.mp_state);
	must(ioctl(vcpu, KVM_SET_MP_STATE, &mp), "KVM_SET_MP_STATE");
	must(ioctl(vcpu, KVM_SET_VCPU_EVENTS, &e), "KVM_SET_VCPU_EVENTS");
}

static void set_chip(unsigned id, size_t len)
{
	struct kvm_irqchip chip = { .chip_id = id };

	if (id == KVM_IRQCHIP_IOAPIC) {
		struct kvm_ioapic_state *ioapic = &chip.chip.ioapic;

		TAKE(ioapic->base_address);
		TAKE(ioapic->ioregsel);
		TAKE(ioapic->id);
		TAKE(ioapic->irr);
		TAKE(ioapic->redirtbl);
	} else {
		take(&chip.chip.pic, len);
	}
	must(ioctl(vm, KVM_SET_IRQCHIP, &chip), "KVM_SET_IRQCHIP");
}

static void set_state(size_t len)
{
	static void (*const set[])(size_t len) = {
		[CLOCK] = set_clock,   [CPUID] = set_cpuid, [SREGS] = set_sregs,
		[REGS] = set_regs,     [XSAVE] = set_xsave, [DEBUG] = set_debug,
		[LAPIC] = set_lapic,   [TSC] = set_tsc,	    [MSRS] = set_msrs,
		[EVENTS] = set_events,
	};
	const uint8_t *next = file.state;

	while (next < file.state + len) {
		struct {
			uint16_t tag, index;
			uint32_t len;
		} record;

		at = next;
		TAKE(record);
		next = at + (record.len + 7) / 8 * 8;
		if (record.tag == IOAPIC)
			set_chip(KVM_IRQCHIP_IOAPIC, record.len);
		else if (record.tag == PIC)
			set_chip(record.index, record.len);
		else if (record.tag < IOAPIC && set[record.tag])
			set[record.tag](record.len);
	}
}

/* -- the machine ---------------------------------------------------------- */

static void set_slot(uint32_t slot, uint64_t gpa, uint8_t *host, uint64_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "memory slot");
}

static void map_memory(int fd)
{
	const uint64_t size = header_u64(56);
	const uint64_t low = size < GAP_START ? size : GAP_START;
	uint8_t *ram =
		mmap(NULL, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_NORESERVE, fd, (off_t)header_u64(48));

	if (ram == MAP_FAILED)
		die("mmap");
	set_slot(0, 0, ram, low);
	if (size > low)
		set_slot(1, GAP_END, ram + low, size - low);
}

static void serve_port(const struct kvm_run *run)
{
	uint8_t *data = (uint8_t *)(uintptr_t)run + run->io.data_offset;

	if (run->io.direction == KVM_EXIT_IO_IN)
		memset(data, run->io.port == SERIAL_LSR ? LSR_EMPTY : 0xFF,
		       (size_t)run->io.size * run->io.count);
	else if (run->io.port == SERIAL)
		must((int)write(STDOUT_FILENO, data, run->io.count), "write");
	else if (run->io.port == PORT_EXIT)
		_exit(*data);
}

static int run_guest(struct kvm_run *run)
{
	for (;;) {
		if (ioctl(vcpu, KVM_RUN, 0) && errno != EINTR)
			die("KVM_RUN");
		if (run->exit_reason == KVM_EXIT_IO)
			serve_port(run);
		else if (run->exit_reason != KVM_EXIT_MMIO &&
			 run->exit_reason != KVM_EXIT_INTR)
			break;
	}
	fprintf(stderr, "limit_restore: exit reason %u\n", run->exit_reason);
	return STATUS_FAIL;
}

int main(int argc, char **argv)
{
	int kvm, fd;
	struct kvm_run *run;
	ssize_t len;

	if (argc != 2) {
		fprintf(stderr, "limit_restore SNAPSHOT\n");
		return STATUS_FAIL;
	}
	kvm = must(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	fd = must(open(argv[1], O_RDONLY | O_CLOEXEC), argv[1]);
	/* the state is behind the header, and what follows is not looked at */
	len = pread(fd, &file, sizeof(file), 0);
	if (len < HEADER || header_u64(32) != HEADER ||
	    header_u64(40) > (uint64_t)len - HEADER)
		die(argv[1]);

	vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	must(ioctl(vm, KVM_SET_TSS_ADDR, TSS), "KVM_SET_TSS_ADDR");
	map_memory(fd);
	must(ioctl(vm, KVM_CREATE_IRQCHIP, 0), "KVM_CREATE_IRQCHIP");
	vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	run = mmap(NULL,
		   (size_t)must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
				"KVM_GET_VCPU_MMAP_SIZE"),
		   PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap of the vCPU");
	set_state(header_u64(40));
	return run_guest(run);
}
