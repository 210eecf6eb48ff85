/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/vcpu_state.c cpu/vm_state.c cpu/vcpu.c cpu/vm.c mem/state.c */
/* uses: cpu/cpuid.c cpu/entry.c cpu/bus.c cpu/loop/file.c cpu/loop/thread.c */
/* uses: cpu/loop/format.c tests/unit/guest_ram.c */
/*
 * On a real /dev/kvm: a guest sets what it can set, all records of it are saved
 * and loaded into a second machine, and saved there again. They must be equal,
 * but for the clocks; and the guest goes on. Without /dev/kvm it is skipped.
 */
#include <linux/kvm.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/vcpu_state.h"
#include "cpu/vm_state.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define RAM_SIZE   (16 * MIB)
#define CODE	   0x100000
#define AP_VECTOR  0x08 /* where its SIPI starts one: page 8 */
#define PORT	   0x10
#define HOUR_NS	   3600000000000ULL
#define SECOND_NS  1000000000ULL
#define RECORD_MAX 20480
#define CPUS_MAX   3

/*
 * The first vCPU: all kinds of registers get a value that none has at reset,
 * the others are sent INIT and SIPI, and an OUT says that it is done. After the
 * second one RBX has what it had, and RAX what the vector registers had.
 */
extern const uint8_t guest_code[], guest_code_end[], ap_code[], ap_code_end[];

__asm__(".pushsection .rodata\n"
	".code64\n"
	".macro set_msr index, low, high=0\n"
	"	mov $\\index, %ecx\n"
	"	mov $\\low, %eax\n"
	"	mov $\\high, %edx\n"
	"	wrmsr\n"
	".endm\n"
	"guest_code:\n"
	"	mov $0x1b, %ecx\n" /* x2APIC */
	"	rdmsr\n"
	"	or $0x400, %eax\n"
	"	wrmsr\n"
	"	set_msr 0x80f, 0x1ff\n"
	"	set_msr 0x832, 0x40040\n" /* timer: deadline, vector 0x40 */
	"	set_msr 0x6e0, 0, 0x100000\n"
	"	set_msr 0x277, 0x05010406, 0x05010406\n" /* PAT */
	"	set_msr 0xc0000100, 0x3456789a, 0x12\n"	 /* FS base */
	"	set_msr 0xc0000102, 0x55667788, 0x44\n"	 /* kernel GS base */
	"	set_msr 0xc0000082, 0x11223344, 0x55\n"	 /* LSTAR */
	"	set_msr 0x200, 0x6\n"			 /* an MTRR */
	"	set_msr 0x201, 0xff000800, 0xf\n"
	"	set_msr 0x4b564d00, 0x21000\n"
	"	set_msr 0x4b564d01, 0x20001\n"
	"	set_msr 0x830, 0x000c4500\n" /* INIT, to all others */
	"	set_msr 0x830, 0x000c4608\n" /* SIPI, page 8 */
	"	mov %cr4, %rax\n"
	"	or $0x600, %eax\n" /* OSFXSR, OSXMMEXCPT */
	"	mov %rax, %cr4\n"
	"	mov $0x1122334455667788, %rax\n"
	"	mov %rax, 0x6000\n"
	"	movups 0x6000, %xmm7\n"
	"	mov $0x1234, %eax\n"
	"	mov %rax, %db0\n"
	"	mov $0x5678, %eax\n"
	"	mov %rax, %cr2\n"
	"	mov $3, %eax\n"
	"	mov %rax, %cr8\n"
	"	mov $0x99aabbccddeeff00, %rbx\n"
	"	mov $0x20, %r15d\n"
	"	mov $0x7000, %esp\n"
	"	mov $1, %eax\n"
	"	out %al, $0x10\n"
	"	movups %xmm7, 0x6010\n"
	"	mov 0x6010, %rax\n"
	"	out %al, $0x10\n"
	"	hlt\n"
	"guest_code_end:\n"
	".code16\n"
	"ap_code:\n"
	"	mov $0x41, %al\n"
	"	out %al, $0x10\n"
	"	hlt\n"
	"ap_code_end:\n"
	".code64\n"
	".popsection\n");

/* One record of a vCPU or of the VM, in the order of loading. */
typedef void (*vcpu_part)(struct vcpu *cpu, struct state *s);

enum { CPUID, SREGS, REGS, XSAVE, DEBUG, LAPIC, TSC, MSRS, EVENTS, PARTS };

static const vcpu_part parts[PARTS] = {
	[CPUID] = vcpu_state_cpuid,   [SREGS] = vcpu_state_sregs,
	[REGS] = vcpu_state_regs,     [XSAVE] = vcpu_state_xsave,
	[DEBUG] = vcpu_state_debug,   [LAPIC] = vcpu_state_lapic,
	[TSC] = vcpu_state_tsc,	      [MSRS] = vcpu_state_msrs,
	[EVENTS] = vcpu_state_events,
};

struct record {
	size_t len;
	uint8_t bytes[RECORD_MAX];
};

struct saved {
	struct record clock, ioapic, pic[2], cpu[CPUS_MAX][PARTS];
};

static struct saved first, second;

struct machine {
	struct ram ram;
	struct vm vm;
	struct platform platform;
	struct vcpus vcpus;
};

static struct machine one, two;

/* -- in place of the platform ---------------------------------------------- */

void platform_end(struct platform *platform, enum end_reason reason,
		  unsigned status)
{
	(void)platform, (void)reason, (void)status;
	fail();
}

void platform_reset(struct platform *platform, bool triple_fault)
{
	(void)platform, (void)triple_fault;
	fail_msg("a triple fault");
}

/* -- machines -------------------------------------------------------------- */

static void create(struct machine *m, unsigned cpus, bool restored)
{
	const struct option_file kvm = { .fd = -1 };
	const struct vcpu_options options = {
		.count = cpus,
		.restored = restored,
		.entry = GPA(CODE),
	};

	memset(m, 0, sizeof(*m));
	make_ram(&m->ram, RAM_SIZE);
	m->platform.ram = &m->ram;
	assert_int_equal(vm_open(&m->vm, &kvm), 0);
	assert_int_equal(vm_create(&m->vm, &m->ram), 0);
	assert_int_equal(
		vcpus_create(&m->vcpus, &m->vm, &m->platform, &options), 0);
}

static void destroy(struct machine *m)
{
	for (unsigned i = 0; i < m->vcpus.count; i++) {
		munmap(m->vcpus.cpu[i].run, m->vm.run_size);
		close(m->vcpus.cpu[i].fd);
	}
	vm_destroy(&m->vm);
	ram_destroy(&m->ram);
}

/* Runs it to its next OUT, which is finished then: the value. */
static uint8_t run_to_out(struct vcpu *cpu)
{
	struct kvm_run *run = cpu->run;
	uint8_t value;
	int n;

	do
		n = ioctl(cpu->fd, KVM_RUN, 0);
	while (n && errno == EAGAIN); /* it was waiting for its SIPI */
	assert_int_equal(n, 0);
	if (run->exit_reason != KVM_EXIT_IO) {
		struct kvm_regs regs;

		assert_int_equal(ioctl(cpu->fd, KVM_GET_REGS, &regs), 0);
		fail_msg("vCPU %u: exit %u at 0x%llx", cpu->id,
			 run->exit_reason, regs.rip);
	}
	assert_int_equal(run->io.port, PORT);
	value = *((uint8_t *)run + run->io.data_offset);
	run->immediate_exit = 1;
	assert_int_equal(ioctl(cpu->fd, KVM_RUN, 0), -1);
	assert_int_equal(errno, EINTR);
	run->immediate_exit = 0;
	return value;
}

/* -- records --------------------------------------------------------------- */

static struct state save_to(struct record *r)
{
	return state_save(r->bytes, sizeof(r->bytes));
}

static struct state load_from(const struct record *r)
{
	return state_load(r->bytes, r->len);
}

static void done(struct record *r, struct state *s)
{
	if (!state_is_whole(s))
		fail_msg("%s", s->wrong);
	if (!s->loading)
		r->len = s->at;
}

static void save_all(struct machine *m, struct saved *to)
{
	struct state s;

	memset(to, 0, sizeof(*to));
	for (unsigned i = 0; i < m->vcpus.count; i++)
		vcpu_state_before_save(&m->vcpus.cpu[i]);
	for (unsigned i = 0; i < m->vcpus.count; i++)
		for (unsigned p = 0; p < PARTS; p++) {
			s = save_to(&to->cpu[i][p]);
			parts[p](&m->vcpus.cpu[i], &s);
			done(&to->cpu[i][p], &s);
		}
	s = save_to(&to->ioapic);
	vm_state_ioapic(&m->vm, &s);
	done(&to->ioapic, &s);
	for (unsigned i = 0; i < 2; i++) {
		s = save_to(&to->pic[i]);
		vm_state_pic(&m->vm, i, &s);
		done(&to->pic[i], &s);
	}
	s = save_to(&to->clock);
	vm_state_clock(&m->vm, &s);
	done(&to->clock, &s);
}

static void load_all(struct machine *m, struct saved *from)
{
	struct state s = load_from(&from->clock);

	vm_state_clock(&m->vm, &s);
	done(&from->clock, &s);
	for (unsigned i = 0; i < m->vcpus.count; i++)
		for (unsigned p = 0; p < PARTS; p++) {
			s = load_from(&from->cpu[i][p]);
			parts[p](&m->vcpus.cpu[i], &s);
			done(&from->cpu[i][p], &s);
		}
	s = load_from(&from->ioapic);
	vm_state_ioapic(&m->vm, &s);
	done(&from->ioapic, &s);
	for (unsigned i = 0; i < 2; i++) {
		s = load_from(&from->pic[i]);
		vm_state_pic(&m->vm, i, &s);
		done(&from->pic[i], &s);
	}
}

static void expect_same(const struct record *a, const struct record *b)
{
	assert_int_equal(a->len, b->len);
	assert_memory_equal(a->bytes, b->bytes, a->len);
}

/* vcpu_state_tsc: khz, offset, value, realtime. */
static uint64_t tsc_offset(const struct saved *of, unsigned cpu)
{
	return get_le64(of->cpu[cpu][TSC].bytes + 4);
}

static uint64_t tsc_value(const struct saved *of, unsigned cpu)
{
	return get_le64(of->cpu[cpu][TSC].bytes + 12);
}

static uint64_t tsc_ns(const struct saved *of, unsigned cpu)
{
	const uint32_t khz = get_le32(of->cpu[cpu][TSC].bytes);

	assert_true(khz);
	return tsc_value(of, cpu) / khz * 1000000;
}

static void expect_all_same(unsigned cpus)
{
	expect_same(&first.ioapic, &second.ioapic);
	expect_same(&first.pic[0], &second.pic[0]);
	expect_same(&first.pic[1], &second.pic[1]);
	for (unsigned i = 0; i < cpus; i++)
		for (unsigned p = 0; p < PARTS; p++)
			if (p != TSC)
				expect_same(&first.cpu[i][p],
					    &second.cpu[i][p]);
}

/* It was saved so long ago. */
static void age(struct saved *of, unsigned cpus, uint64_t ns)
{
	uint8_t *at = of->clock.bytes + 8;

	put_le64(at, get_le64(at) - ns);
	for (unsigned i = 0; i < cpus; i++) {
		at = of->cpu[i][TSC].bytes + 20;
		put_le64(at, get_le64(at) - ns);
	}
}

/* As the record of the first vCPU has it: 16 bytes each. */
static uint64_t saved_msr(const struct saved *of, uint32_t index)
{
	const struct record *r = &of->cpu[0][MSRS];

	for (size_t at = 0; at < r->len; at += 16)
		if (get_le32(r->bytes + at) == index)
			return get_le64(r->bytes + at + 8);
	fail_msg("MSR 0x%x was not saved", index);
	return 0;
}

static void expect_values(const struct saved *of)
{
	static const struct {
		uint32_t index;
		uint64_t value;
	} msrs[] = {
		{ 0x200, 6 },
		{ 0x277, 0x0501040605010406 },
		{ 0x2ff, 0x806 },
		{ 0x6e0, 0x10000000000000 },
		{ 0x4b564d01, 0x20001 },
		{ 0xc0000082, 0x5511223344 },
	};

	for (size_t i = 0; i < ARRAY_LEN(msrs); i++)
		assert_true(saved_msr(of, msrs[i].index) == msrs[i].value);
	assert_int_equal(get_le64(of->cpu[0][DEBUG].bytes), 0x1234);
	/* the base of FS, the third segment but for CS: 16 bytes each */
	assert_true(get_le64(of->cpu[0][SREGS].bytes + 3 * 16) == 0x123456789a);
	assert_true(get_le64(of->cpu[0][REGS].bytes + 8) == 0x99aabbccddeeff00);
}

static void start_and_save(unsigned cpus)
{
	struct vcpu *cpu = one.vcpus.cpu;

	create(&one, cpus, false);
	assert_int_equal(entry_write_tables(&one.ram), 0);
	assert_int_equal(ram_write(&one.ram, GPA(CODE), guest_code,
				   (uint64_t)(guest_code_end - guest_code)),
			 0);
	assert_int_equal(ram_write(&one.ram, GPA(AP_VECTOR << 12), ap_code,
				   (uint64_t)(ap_code_end - ap_code)),
			 0);
	assert_int_equal(run_to_out(&cpu[0]), 1);
	/* one has begun, the other is still to see its SIPI */
	if (cpus > 1)
		assert_int_equal(run_to_out(&cpu[1]), 'A');
	save_all(&one, &first);
	expect_values(&first);
}

/* The second machine, with the first one's memory. */
static void restore(unsigned cpus, bool keeps_clocks)
{
	create(&two, cpus, true);
	two.vm.keeps_clocks = keeps_clocks;
	memcpy(ram_span(&two.ram, GPA(0), RAM_SIZE),
	       ram_span(&one.ram, GPA(0), RAM_SIZE), RAM_SIZE);
	load_all(&two, &first);
}

static void goes_on(unsigned cpus)
{
	struct vcpu *cpu = two.vcpus.cpu;
	struct kvm_regs regs;

	assert_int_equal(run_to_out(&cpu[0]), 0x88);
	assert_int_equal(ioctl(cpu[0].fd, KVM_GET_REGS, &regs), 0);
	assert_true(regs.rax == 0x1122334455667788);
	assert_true(regs.rbx == 0x99aabbccddeeff00);
	assert_int_equal(regs.r15, 0x20);
	if (cpus > 2)
		assert_int_equal(run_to_out(&cpu[2]), 'A');
}

static void round_trip(unsigned cpus)
{
	start_and_save(cpus);
	restore(cpus, false);
	save_all(&two, &second);
	expect_all_same(cpus);
	/* the clocks went on, together */
	assert_true(get_le64(second.clock.bytes) > get_le64(first.clock.bytes));
	for (unsigned i = 0; i < cpus; i++) {
		assert_true(tsc_value(&second, i) > tsc_value(&first, i));
		assert_true(tsc_offset(&second, i) - tsc_offset(&second, 0) ==
			    tsc_offset(&first, i) - tsc_offset(&first, 0));
	}
	goes_on(cpus);
	destroy(&two);
	destroy(&one);
	expect_no_log();
}

static void test_kvm_one_vcpu_goes_on_elsewhere(void **state)
{
	(void)state;
	round_trip(1);
}

static void test_kvm_three_vcpus_go_on_elsewhere(void **state)
{
	(void)state;
	round_trip(3);
}

/* How far the clocks have moved, in nanoseconds. */
static uint64_t clock_moved(void)
{
	return get_le64(second.clock.bytes) - get_le64(first.clock.bytes);
}

static uint64_t tsc_moved(void)
{
	return tsc_ns(&second, 0) - tsc_ns(&first, 0);
}

/* One that runs guests without hardware lets them see the host's TSC. */
static bool kvm_sets_tsc(void)
{
	uint64_t offset = UINT64_MAX / 2;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	create(&one, 1, true);
	assert_int_equal(ioctl(one.vcpus.cpu[0].fd, KVM_SET_DEVICE_ATTR, &attr),
			 0);
	assert_int_equal(ioctl(one.vcpus.cpu[0].fd, KVM_GET_DEVICE_ATTR, &attr),
			 0);
	destroy(&one);
	return offset == UINT64_MAX / 2;
}

static void test_kvm_clocks_move_by_wall_time(void **state)
{
	const bool sets_tsc = kvm_sets_tsc();

	(void)state;
	start_and_save(1);
	age(&first, 1, HOUR_NS);
	restore(1, false);
	save_all(&two, &second);
	assert_in_range(clock_moved(), HOUR_NS, HOUR_NS + 60 * SECOND_NS);
	if (sets_tsc)
		assert_in_range(tsc_moved(), HOUR_NS, HOUR_NS + 60 * SECOND_NS);
	destroy(&two);
	restore(1, true);
	save_all(&two, &second);
	assert_in_range(clock_moved(), 1, 60 * SECOND_NS);
	assert_in_range(tsc_moved(), 1, 60 * SECOND_NS);
	destroy(&two);
	/* saved by a host that is ahead: never back */
	age(&first, 1, -2 * HOUR_NS);
	restore(1, false);
	save_all(&two, &second);
	assert_in_range(clock_moved(), 1, 60 * SECOND_NS);
	assert_in_range(tsc_moved(), 1, 60 * SECOND_NS);
	destroy(&two);
	destroy(&one);
}

static int needs_kvm(void **state)
{
	(void)state;
	if (!access("/dev/kvm", R_OK | W_OK))
		return 0;
	print_message("1..0 # SKIP there is no /dev/kvm here\n");
	exit(0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kvm_one_vcpu_goes_on_elsewhere),
		cmocka_unit_test(test_kvm_three_vcpus_go_on_elsewhere),
		cmocka_unit_test(test_kvm_clocks_move_by_wall_time),
	};

	return cmocka_run_group_tests(tests, needs_kvm, NULL);
}
