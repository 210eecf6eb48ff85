/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/vcpu_state.c cpu/vm_state.c cpu/vm.c cpu/cpuid.c cpu/bus.c */
/* uses: cpu/loop/file.c cpu/loop/format.c mem/state.c tests/unit/guest_ram.c */
/* ldflags: -Wl,--wrap=ioctl -Wl,--wrap=clock_gettime */
/* ldflags: -Wl,--wrap=cpuid_of_processor */
/*
 * The state of vCPUs and of the VM over a KVM that is this test: each field
 * both ways, what is refused and in which words, which calls come in which
 * order. On a real KVM: test_kvm_state.c.
 */
#include <linux/kvm.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cpu/vcpu_state.h"
#include "cpu/vm_state.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define BIT(n)	   (1u << (n))
#define KVM_FD	   70
#define VM_FD	   71
#define VCPU_FD	   80
#define CPUS	   3
#define RAM_SIZE   (16 * MIB)
#define MSRS_MAX   400
#define SECOND_NS  1000000000ULL
#define RECORD_MAX 32768

/* -- a KVM ----------------------------------------------------------------- */

/* Each struct that is both got and set, as KVM has it. */
enum { REGS, SREGS, XSAVE, XCRS, DEBUGREGS, LAPIC, MP, EVENTS, CLOCK, PARTS };

static const struct kvm_part {
	unsigned long get, set;
	size_t size;
} kvm_parts[PARTS] = {
	[REGS] = { KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs) },
	[SREGS] = { KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs) },
	[XSAVE] = { KVM_GET_XSAVE2, KVM_SET_XSAVE, 8192 },
	[XCRS] = { KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs) },
	[DEBUGREGS] = { KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
			sizeof(struct kvm_debugregs) },
	[LAPIC] = { KVM_GET_LAPIC, KVM_SET_LAPIC,
		    sizeof(struct kvm_lapic_state) },
	[MP] = { KVM_GET_MP_STATE, KVM_SET_MP_STATE,
		 sizeof(struct kvm_mp_state) },
	[EVENTS] = { KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
		     sizeof(struct kvm_vcpu_events) },
	[CLOCK] = { KVM_GET_CLOCK, KVM_SET_CLOCK,
		    sizeof(struct kvm_clock_data) },
};

static struct {
	uint8_t has[PARTS][8192], set[PARTS][8192];
	unsigned set_count;	 /* of all calls that set something */
	unsigned long order[64]; /* of them */
	unsigned long fail;	 /* the request that fails, */
	int error;		 /* with this */
	int xsave_size, tsc_control;
	struct kvm_irqchip chip[3], chip_set[3];
	struct cpuid supported, cpuid_set[CPUS];
	/* MSRs: listed; with values; refused */
	uint32_t listed[MSRS_MAX];
	uint32_t listed_count;
	struct kvm_msr_entry msr[MSRS_MAX];
	unsigned msr_count;
	uint32_t unreadable, refused; /* an index each */
	uint32_t written[MSRS_MAX];
	unsigned written_count;
	/* TSC */
	uint32_t khz, khz_set;
	uint64_t host_tsc, offset[CPUS];
	bool offset_is_fixed;
} kvm;

static uint64_t realtime;

int __wrap_clock_gettime(clockid_t clock, struct timespec *now);
int __real_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
	if (clock != CLOCK_REALTIME)
		return __real_clock_gettime(clock, now);
	now->tv_sec = (time_t)(realtime / SECOND_NS);
	now->tv_nsec = (long)(realtime % SECOND_NS);
	return 0;
}

static struct kvm_msr_entry *kvm_msr(uint32_t index)
{
	for (unsigned i = 0; i < kvm.msr_count; i++)
		if (kvm.msr[i].index == index)
			return &kvm.msr[i];
	return NULL;
}

static int get_msrs(unsigned cpu, struct kvm_msrs *msrs)
{
	assert_true(msrs->nmsrs < 256); /* as KVM has it */
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		struct kvm_msr_entry *e = &msrs->entries[i];
		const struct kvm_msr_entry *has = kvm_msr(e->index);

		if (e->index == 0x10)
			e->data = kvm.host_tsc + kvm.offset[cpu];
		else if (!has || e->index == kvm.unreadable)
			return (int)i;
		else
			e->data = has->data;
	}
	return (int)msrs->nmsrs;
}

static int set_msrs(const struct kvm_msrs *msrs)
{
	assert_true(msrs->nmsrs < 256);
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		const struct kvm_msr_entry *e = &msrs->entries[i];
		struct kvm_msr_entry *has = kvm_msr(e->index);

		assert_int_equal(e->reserved, 0);
		kvm.written[kvm.written_count++] = e->index;
		if (!has || e->index == kvm.refused)
			return (int)i;
		has->data = e->data;
	}
	return (int)msrs->nmsrs;
}

static int list_kvm_msrs(struct kvm_msr_list *list)
{
	assert_true(list->nmsrs >= kvm.listed_count);
	list->nmsrs = kvm.listed_count;
	memcpy(list->indices, kvm.listed, kvm.listed_count * sizeof(uint32_t));
	return 0;
}

static int device_attr(unsigned cpu, unsigned long request,
		       const struct kvm_device_attr *attr)
{
	uint64_t *value = (uint64_t *)(uintptr_t)attr->addr;

	assert_int_equal(attr->group, KVM_VCPU_TSC_CTRL);
	assert_int_equal(attr->attr, KVM_VCPU_TSC_OFFSET);
	if (request == KVM_GET_DEVICE_ATTR)
		*value = kvm.offset[cpu];
	else if (!kvm.offset_is_fixed)
		kvm.offset[cpu] = *value;
	return 0;
}

static int vcpu_call(unsigned cpu, unsigned long request, void *arg)
{
	switch (request) {
	case KVM_SET_CPUID2:
		memcpy(&kvm.cpuid_set[cpu], arg,
		       sizeof(struct kvm_cpuid2) +
			       ((struct kvm_cpuid2 *)arg)->nent *
				       sizeof(struct kvm_cpuid_entry2));
		return 0;
	case KVM_GET_MSRS:
		return get_msrs(cpu, arg);
	case KVM_SET_MSRS:
		return set_msrs(arg);
	case KVM_GET_TSC_KHZ:
		return (int)kvm.khz;
	case KVM_SET_TSC_KHZ:
		kvm.khz_set = (uint32_t)(uintptr_t)arg;
		return 0;
	case KVM_GET_DEVICE_ATTR:
	case KVM_SET_DEVICE_ATTR:
		return device_attr(cpu, request, arg);
	case KVM_KVMCLOCK_CTRL:
		return 0;
	}
	fail_msg("unexpected request 0x%lx", request);
	return -1;
}

static int vm_call(unsigned long request, void *arg)
{
	struct kvm_irqchip *chip = arg;

	switch (request) {
	case KVM_CHECK_EXTENSION:
		return (uintptr_t)arg == KVM_CAP_XSAVE2 ? kvm.xsave_size
							: kvm.tsc_control;
	case KVM_GET_IRQCHIP:
		assert_true(chip->chip_id < 3);
		*chip = kvm.chip[chip->chip_id];
		return 0;
	case KVM_SET_IRQCHIP:
		assert_true(chip->chip_id < 3);
		kvm.chip_set[chip->chip_id] = *chip;
		return 0;
	}
	fail_msg("unexpected request 0x%lx", request);
	return -1;
}

static int kvm_call(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_SUPPORTED_CPUID:
		memcpy(arg, &kvm.supported, sizeof(kvm.supported));
		return 0;
	case KVM_GET_MSR_INDEX_LIST:
		return list_kvm_msrs(arg);
	}
	fail_msg("unexpected request 0x%lx", request);
	return -1;
}

static bool part_call(unsigned long request, void *arg)
{
	for (unsigned i = 0; i < PARTS; i++) {
		const struct kvm_part *part = &kvm_parts[i];

		if (request == part->get)
			memcpy(arg, kvm.has[i], part->size);
		else if (request == part->set)
			memcpy(kvm.set[i], arg, part->size);
		else
			continue;
		return true;
	}
	return false;
}

static bool is_setter(unsigned long request)
{
	for (unsigned i = 0; i < PARTS; i++)
		if (request == kvm_parts[i].set)
			return true;
	return request == KVM_SET_CPUID2 || request == KVM_SET_MSRS ||
	       request == KVM_SET_TSC_KHZ || request == KVM_SET_IRQCHIP ||
	       request == KVM_SET_DEVICE_ATTR || request == KVM_KVMCLOCK_CTRL;
}

int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	if (request == kvm.fail) {
		errno = kvm.error;
		return -1;
	}
	if (is_setter(request)) {
		assert_true(kvm.set_count < ARRAY_LEN(kvm.order));
		kvm.order[kvm.set_count++] = request;
	}
	if (fd >= VCPU_FD && fd < VCPU_FD + CPUS)
		return part_call(request, arg)
			       ? 0
			       : vcpu_call((unsigned)(fd - VCPU_FD), request,
					   arg);
	if (fd == VM_FD)
		return part_call(request, arg) ? 0 : vm_call(request, arg);
	assert_int_equal(fd, KVM_FD);
	return kvm_call(request, arg);
}

/* -- a machine over it ----------------------------------------------------- */

static struct ram ram;
static struct vm vm;
static struct platform platform;
static struct vcpus vcpus;
static uint8_t bytes[RECORD_MAX];
static size_t len; /* of what was saved there */

typedef struct kvm_cpuid_entry2 entry;

/* What this host supports; a guest is shown it, too, unless a test differs. */
static const entry host_cpuid[] = {
	{ .function = 0,
	  .eax = 0xd,
	  .ebx = 0x756e6547,
	  .ecx = 0x6c65746e,
	  .edx = 0x49656e69 },
	{ .function = 1, .ebx = 0x800, .ecx = BIT(0) | BIT(9), .edx = 0x3ff },
	{ .function = 7, .ebx = BIT(5) },
	{ .function = 7, .index = 1, .eax = BIT(4) },
	{ .function = 0xd, .eax = 7 },
	{ .function = 0x40000001, .eax = 9 },
	{ .function = 0x80000001, .ecx = 0x21 },
	{ .function = 0x80000007, .edx = BIT(8) },
	{ .function = 0x80000008, .eax = 0x3030 },
	{ .function = 0x80000021, .eax = 1 },
	{ .function = 0xd, .index = 1, .eax = 1 },
	{ .function = 7, .index = 2, .edx = 1 },
};

static void show(struct cpuid *cpuid)
{
	memset(cpuid, 0, sizeof(*cpuid));
	cpuid->header.nent = ARRAY_LEN(host_cpuid);
	memcpy(cpuid->entry, host_cpuid, sizeof(host_cpuid));
}

static void give_msr(uint32_t index, uint64_t value, bool is_listed)
{
	kvm.msr[kvm.msr_count++] =
		(struct kvm_msr_entry){ .index = index, .data = value };
	if (is_listed)
		kvm.listed[kvm.listed_count++] = index;
}

static int setup(void **state)
{
	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	memset(&vcpus, 0, sizeof(vcpus));
	for (unsigned i = 0; i < PARTS; i++)
		for (size_t j = 0; j < sizeof(kvm.has[i]); j++)
			kvm.has[i][j] = (uint8_t)(i * 31 + j * 7 + 1);
	kvm.error = EINVAL;
	kvm.xsave_size = 8192;
	kvm.khz = 2000000;
	kvm.host_tsc = 1000000;
	vm = (struct vm){ .kvm_fd = KVM_FD, .fd = VM_FD };
	make_ram(&ram, RAM_SIZE);
	platform.ram = &ram;
	vcpus.vm = &vm;
	vcpus.platform = &platform;
	vcpus.count = CPUS;
	for (unsigned i = 0; i < CPUS; i++)
		vcpus.cpu[i] = (struct vcpu){ .all = &vcpus,
					      .id = i,
					      .fd = VCPU_FD + (int)i };
	show(&vcpus.cpuid);
	show(&kvm.supported);
	realtime = 1700000000 * SECOND_NS;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	ram_destroy(&ram);
	expect_no_log();
	return 0;
}

typedef void (*vcpu_part)(struct vcpu *cpu, struct state *s);

static const char *save(vcpu_part part, unsigned cpu)
{
	struct state s = state_save(bytes, sizeof(bytes));

	part(&vcpus.cpu[cpu], &s);
	len = s.at;
	return s.wrong;
}

static const char *load(vcpu_part part, unsigned cpu)
{
	struct state s = state_load(bytes, len);

	part(&vcpus.cpu[cpu], &s);
	state_is_whole(&s);
	return s.wrong;
}

static void must_save(vcpu_part part, unsigned cpu)
{
	const char *wrong = save(part, cpu);

	if (wrong)
		fail_msg("%s", wrong);
	assert_int_equal(kvm.set_count, 0);
}

static void must_load(vcpu_part part, unsigned cpu)
{
	const char *wrong = load(part, cpu);

	if (wrong)
		fail_msg("%s", wrong);
}

/* It is refused in these words, and nothing is given to KVM. */
static void expect_refused(vcpu_part part, unsigned cpu, const char *words)
{
	const char *wrong;

	kvm.set_count = 0;
	wrong = load(part, cpu);
	assert_non_null(wrong);
	assert_string_equal(wrong, words);
	assert_int_equal(kvm.set_count, 0);
}

/* -- all parts ------------------------------------------------------------- */

static void part_ioapic(struct vcpu *cpu, struct state *s)
{
	vm_state_ioapic(cpu->all->vm, s);
}

static void part_pic(struct vcpu *cpu, struct state *s)
{
	vm_state_pic(cpu->all->vm, 1, s);
}

static void part_clock(struct vcpu *cpu, struct state *s)
{
	vm_state_clock(cpu->all->vm, s);
}

static const struct record {
	vcpu_part part;
	size_t len;
	unsigned long get, set;
	const char *name; /* as errors have it */
} records[] = {
	{ vcpu_state_cpuid, 28 * ARRAY_LEN(host_cpuid), 0, KVM_SET_CPUID2,
	  "CPUID" },
	{ vcpu_state_regs, 144, KVM_GET_REGS, KVM_SET_REGS, "registers" },
	{ vcpu_state_sregs, 236, KVM_GET_SREGS, KVM_SET_SREGS,
	  "segment registers" },
	{ vcpu_state_xsave, 8 + 8192, KVM_GET_XSAVE2, KVM_SET_XSAVE,
	  "vector registers" },
	{ vcpu_state_xsave, 8 + 8192, KVM_GET_XCRS, KVM_SET_XCRS, "XCR0" },
	{ vcpu_state_debug, 48, KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS,
	  "debug registers" },
	{ vcpu_state_lapic, 1024, KVM_GET_LAPIC, KVM_SET_LAPIC, "LAPIC" },
	{ vcpu_state_msrs, 32, KVM_GET_MSRS, KVM_SET_MSRS, "MSRs" },
	{ vcpu_state_tsc, 28, KVM_GET_DEVICE_ATTR, KVM_SET_DEVICE_ATTR,
	  "TSC's offset" },
	{ vcpu_state_events, 41, KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
	  "events" },
	{ vcpu_state_events, 41, KVM_GET_MP_STATE, KVM_SET_MP_STATE,
	  "run state" },
	{ part_ioapic, 212, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, "IOAPIC" },
	{ part_pic, 16, KVM_GET_IRQCHIP, KVM_SET_IRQCHIP, "PIC" },
	{ part_clock, 16, KVM_GET_CLOCK, KVM_SET_CLOCK, "clock" },
};

/* What all of the parts can be saved with. */
static void make_valid(void)
{
	struct kvm_sregs *sregs = (void *)kvm.has[SREGS];
	struct kvm_segment *seg[] = { &sregs->cs, &sregs->ds, &sregs->es,
				      &sregs->fs, &sregs->gs, &sregs->ss,
				      &sregs->tr, &sregs->ldt };
	struct kvm_xcrs *xcrs = (void *)kvm.has[XCRS];

	for (unsigned i = 0; i < ARRAY_LEN(seg); i++) {
		seg[i]->type = 11 - (i & 3);
		seg[i]->s = i & 1;
		seg[i]->dpl = i & 3;
		seg[i]->present = i >> 1 & 1;
		seg[i]->unusable = !(i >> 1 & 1);
		seg[i]->avl = i >> 2 & 1;
		seg[i]->l = !(i & 1);
		seg[i]->db = i & 1;
		seg[i]->g = i >> 1 & 1;
	}
	*xcrs = (struct kvm_xcrs){ .nr_xcrs = 1, .xcrs = { { .value = 7 } } };
	((struct kvm_mp_state *)(void *)kvm.has[MP])->mp_state = 3;
	for (unsigned i = 0; i < 3; i++)
		kvm.chip[i].chip_id = i;
	kvm.chip[2].chip.ioapic = (struct kvm_ioapic_state){
		.base_address = 0xfec00000,
		.ioregsel = 0x12,
		.id = 3,
		.irr = 0x800010,
	};
	for (unsigned i = 0; i < 24; i++)
		kvm.chip[2].chip.ioapic.redirtbl[i].bits =
			0x0101010101010101 * i;
	kvm.chip[1].chip.pic = (struct kvm_pic_state){
		.last_irr = 1,
		.irr = 2,
		.imr = 3,
		.isr = 4,
		.priority_add = 5,
		.irq_base = 6,
		.read_reg_select = 7,
		.poll = 8,
		.special_mask = 9,
		.init_state = 3,
		.auto_eoi = 11,
		.rotate_on_auto_eoi = 12,
		.special_fully_nested_mode = 13,
		.init4 = 14,
		.elcr = 0x10,
		.elcr_mask = 0xde,
	};
	give_msr(0x174, 0x5555, true);
	give_msr(0xc0000082, 0x6666, true);
}

static void test_state_records_have_their_sizes(void **state)
{
	(void)state;
	make_valid();
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		must_save(records[i].part, 0);
		assert_int_equal(len, records[i].len);
	}
}

/* Wherever a record ends too early, KVM is given nothing of it. */
static void test_state_too_short_records(void **state)
{
	(void)state;
	make_valid();
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		const size_t step = records[i].len > 1024 ? 97 : 1;

		kvm.set_count = 0;
		must_save(records[i].part, 0);
		for (size_t n = 0; n < records[i].len; n += step) {
			/* whole entries are a shorter list */
			if (records[i].part == vcpu_state_msrs && !(n % 16))
				continue;
			if (records[i].part == vcpu_state_cpuid && n &&
			    !(n % 28))
				continue;
			/* an area of the least size is one */
			if (records[i].part == vcpu_state_xsave &&
			    n >= 8 + 4096)
				continue;
			len = n;
			kvm.set_count = 0;
			assert_non_null(load(records[i].part, 0));
			if (records[i].part != vcpu_state_msrs)
				assert_int_equal(kvm.set_count, 0);
		}
	}
}

static void test_state_too_long_records(void **state)
{
	(void)state;
	make_valid();
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		kvm.set_count = 0;
		must_save(records[i].part, 0);
		len++;
		assert_non_null(load(records[i].part, 0));
		show(&vcpus.cpuid);
	}
}

static void test_state_kvm_says_no(void **state)
{
	char words[128];

	(void)state;
	make_valid();
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		const struct record *r = &records[i];

		kvm.set_count = 0;
		kvm.fail = 0;
		must_save(r->part, 0);
		kvm.fail = r->set;
		snprintf(words, sizeof(words),
			 "KVM refuses its %s: Invalid argument", r->name);
		assert_string_equal(load(r->part, 0), words);
		if (!r->get)
			continue;
		kvm.fail = r->get;
		snprintf(words, sizeof(words),
			 "KVM does not give its %s: Invalid argument", r->name);
		assert_string_equal(save(r->part, 0), words);
	}
}

/* -- registers ------------------------------------------------------------- */

static void test_state_registers_both_ways(void **state)
{
	const struct kvm_sregs *had = (void *)kvm.has[SREGS],
			       *set = (void *)kvm.set[SREGS];
	const struct kvm_debugregs *debug_had = (void *)kvm.has[DEBUGREGS],
				   *debug_set = (void *)kvm.set[DEBUGREGS];

	(void)state;
	make_valid();
	must_save(vcpu_state_regs, 0);
	must_load(vcpu_state_regs, 0);
	assert_memory_equal(kvm.set[REGS], kvm.has[REGS],
			    sizeof(struct kvm_regs));
	kvm.set_count = 0;
	must_save(vcpu_state_sregs, 0);
	must_load(vcpu_state_sregs, 0);
	for (unsigned i = 0; i < 8; i++) {
		struct kvm_segment a = (&had->cs)[i], b = (&set->cs)[i];

		a.padding = b.padding;
		assert_memory_equal(&a, &b, sizeof(a));
	}
	assert_true(set->gdt.base == had->gdt.base);
	assert_int_equal(set->gdt.limit, had->gdt.limit);
	assert_true(set->idt.base == had->idt.base);
	assert_int_equal(set->idt.limit, had->idt.limit);
	assert_memory_equal(&set->cr0, &had->cr0,
			    sizeof(*had) - offsetof(struct kvm_sregs, cr0));
	kvm.set_count = 0;
	must_save(vcpu_state_debug, 0);
	must_load(vcpu_state_debug, 0);
	assert_memory_equal(debug_set->db, debug_had->db, 32);
	assert_true(debug_set->dr6 == debug_had->dr6);
	assert_true(debug_set->dr7 == debug_had->dr7);
	assert_true(debug_set->flags == 0);
	kvm.set_count = 0;
	must_save(vcpu_state_lapic, 0);
	must_load(vcpu_state_lapic, 0);
	assert_memory_equal(kvm.set[LAPIC], kvm.has[LAPIC], 1024);
}

static void test_state_impossible_segments(void **state)
{
	(void)state;
	make_valid();
	must_save(vcpu_state_sregs, 0);
	for (unsigned i = 0; i < 8; i++)
		for (unsigned bit = 9; bit < 12; bit++) {
			bytes[i * 16 + 15] ^= 1 << (bit - 8);
			expect_refused(vcpu_state_sregs, 0,
				       "its segment registers are impossible");
			bytes[i * 16 + 15] ^= 1 << (bit - 8);
		}
	must_load(vcpu_state_sregs, 0);
}

static void test_state_vector_registers(void **state)
{
	const struct kvm_xcrs *set = (void *)kvm.set[XCRS];

	(void)state;
	make_valid();
	must_save(vcpu_state_xsave, 0);
	must_load(vcpu_state_xsave, 0);
	assert_memory_equal(kvm.set[XSAVE], kvm.has[XSAVE], 8192);
	assert_int_equal(set->nr_xcrs, 1);
	assert_int_equal(set->xcrs[0].xcr, 0);
	assert_true(set->xcrs[0].value == 7);
	assert_int_equal(kvm.order[0], KVM_SET_XSAVE);
	/* a host that has less */
	kvm.xsave_size = 4096;
	expect_refused(vcpu_state_xsave, 0,
		       "its XSAVE area has 8192 bytes, this host's 4096");
	kvm.xsave_size = 8192;
	len = 8 + 20000; /* more than there is room for anywhere */
	expect_refused(vcpu_state_xsave, 0,
		       "its XSAVE area has 20000 bytes, this host's 8192");
	kvm.xsave_size = 4096;
	/* one that has more: the rest is as at reset */
	kvm.set_count = 0;
	must_save(vcpu_state_xsave, 0);
	assert_int_equal(len, 8 + 4096);
	kvm.xsave_size = 8192;
	must_load(vcpu_state_xsave, 0);
	assert_memory_equal(kvm.set[XSAVE], kvm.has[XSAVE], 4096);
	for (size_t i = 4096; i < 8192; i++)
		assert_int_equal(kvm.set[XSAVE][i], 0);
	len = 8 + 4095;
	expect_refused(vcpu_state_xsave, 0, "its XSAVE area is too short");
	/* and one that cannot do it at all */
	kvm.xsave_size = 0;
	assert_non_null(strstr(save(vcpu_state_xsave, 0), "Linux 5.17"));
	kvm.xsave_size = 1 << 20;
	assert_non_null(save(vcpu_state_xsave, 0));
}

static void test_state_without_xsave(void **state)
{
	(void)state;
	make_valid();
	memset(kvm.has[XCRS], 0, sizeof(struct kvm_xcrs));
	must_save(vcpu_state_xsave, 0);
	must_load(vcpu_state_xsave, 0);
	assert_int_equal(kvm.set_count, 1);
}

static void test_state_events_both_ways(void **state)
{
	struct kvm_vcpu_events a, b;

	(void)state;
	make_valid();
	must_save(vcpu_state_events, 0);
	must_load(vcpu_state_events, 0);
	memcpy(&a, kvm.has[EVENTS], sizeof(a));
	memcpy(&b, kvm.set[EVENTS], sizeof(b));
	a.nmi.pad = 0;
	memset(a.reserved, 0, sizeof(a.reserved));
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(kvm.order[0], KVM_SET_MP_STATE);
	assert_int_equal(kvm.order[1], KVM_SET_VCPU_EVENTS);
	assert_int_equal(kvm.order[2], KVM_KVMCLOCK_CTRL);
	assert_int_equal(kvm.set_count, 3);
	assert_int_equal(kvm.set[MP][0], 3);
	bytes[len - 4] = 5;
	expect_refused(vcpu_state_events, 0, "its run state is impossible");
}

/* -- CPUID ----------------------------------------------------------------- */

static void test_state_cpuid_of_each_vcpu(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CPUS; i++) {
		kvm.set_count = 0;
		must_save(vcpu_state_cpuid, i);
		if (!i)
			memset(&vcpus.cpuid, 0, sizeof(vcpus.cpuid));
		must_load(vcpu_state_cpuid, i);
		assert_int_equal(kvm.cpuid_set[i].header.nent,
				 ARRAY_LEN(host_cpuid));
		assert_int_equal(kvm.cpuid_set[i].entry[1].ebx >> 24, i);
		assert_int_equal(kvm.cpuid_set[i].entry[2].ebx, BIT(5));
	}
	/* the next snapshot has them, too */
	kvm.set_count = 0;
	must_save(vcpu_state_cpuid, 0);
	assert_int_equal(get_le32(bytes + 28), 1);
	assert_int_equal(get_le32(bytes + 28 + 16) >> 24, 0);
	/* a bit of the third vCPU that the first one has not; a longer list */
	must_save(vcpu_state_cpuid, 2);
	bytes[28 + 20] ^= 2;
	expect_refused(vcpu_state_cpuid, 2,
		       "its CPUID is not that of the first vCPU");
	bytes[28 + 20] ^= 2;
	len += 28;
	expect_refused(vcpu_state_cpuid, 2,
		       "its CPUID is not that of the first vCPU");
}

static void test_state_cpuid_of_impossible_length(void **state)
{
	static const size_t lens[] = { 0, 27, 29, 28 * 257 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		must_save(vcpu_state_cpuid, 0);
		len = lens[i];
		expect_refused(vcpu_state_cpuid, 0,
			       "its CPUID has an impossible length");
		kvm.set_count = 0;
	}
}

static void test_state_nested_is_refused(void **state)
{
	static const char words[] = "nested guests cannot be saved yet";

	(void)state;
	must_save(vcpu_state_cpuid, 0);
	bytes[28 + 20] |= BIT(5); /* VMX */
	expect_refused(vcpu_state_cpuid, 0, words);
	show(&vcpus.cpuid);
	vcpus.cpuid.entry[6].ecx |= BIT(2); /* SVM */
	assert_string_equal(save(vcpu_state_cpuid, 0), words);
}

static void test_state_features_that_the_host_lacks(void **state)
{
	static const struct {
		unsigned entry, reg; /* of host_cpuid */
		uint32_t bits;
		const char *names;
	} cases[] = {
		{ 1, 2, BIT(28), "avx" },
		{ 1, 2, BIT(24), "tsc-deadline" },
		{ 1, 3, BIT(31), "CPUID 1.0 edx bit 31" },
		{ 2, 1, BIT(16) | BIT(30), "avx512f, avx512bw" },
		{ 2, 2, BIT(31), "CPUID 7.0 ecx bit 31" },
		{ 2, 2, BIT(1), "avx512vbmi" },
		{ 6, 2, BIT(6), "sse4a" },
		{ 7, 3, BIT(9), "CPUID 80000007.0 edx bit 9" },
		{ 8, 1, BIT(3), "CPUID 80000008.0 ebx bit 3" },
		{ 9, 0, BIT(2), "CPUID 80000021.0 eax bit 2" },
		{ 10, 0, BIT(1), "CPUID d.1 eax bit 1" },
		{ 11, 3, BIT(1), "CPUID 7.2 edx bit 1" },
		{ 2, 3, BIT(24), "amx-tile" },
		{ 3, 0, BIT(5), "avx512-bf16" },
		{ 3, 1, BIT(1), "CPUID 7.1 ebx bit 1" },
		{ 4, 0, BIT(9), "CPUID d.0 eax bit 9" },
		{ 5, 0, BIT(24), "CPUID 40000001.0 eax bit 24" },
		{ 6, 3, BIT(26), "1gb-pages" },
	};
	char words[160];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		entry *e;

		show(&vcpus.cpuid);
		e = &vcpus.cpuid.entry[cases[i].entry];
		*(&e->eax + cases[i].reg) |= cases[i].bits;
		kvm.set_count = 0;
		must_save(vcpu_state_cpuid, 0);
		snprintf(words, sizeof(words),
			 "the guest may use %s, which this host lacks",
			 cases[i].names);
		expect_refused(vcpu_state_cpuid, 0, words);
	}
}

/* What mote shows by itself is no feature of the host's; and other edges. */
static void test_state_features_that_mote_adds(void **state)
{
	(void)state;
	show(&vcpus.cpuid);
	vcpus.cpuid.entry[1].ecx |= BIT(31) | BIT(24);
	vcpus.cpuid.entry[1].edx |= BIT(28);
	vcpus.cpuid.entry[6].ecx |= BIT(1);
	vm.tsc_deadline = true;
	must_save(vcpu_state_cpuid, 0);
	must_load(vcpu_state_cpuid, 0);
	/* a host with more is fine; one without the leaf is not */
	kvm.supported.entry[2].ebx = ~0u;
	must_load(vcpu_state_cpuid, 0);
	kvm.supported.entry[2].function = 0x99;
	expect_refused(vcpu_state_cpuid, 0,
		       "the guest may use avx2, which this host lacks");
	/* so many that they do not fit */
	vcpus.cpuid.entry[2].ebx = vcpus.cpuid.entry[2].ecx = ~0u;
	kvm.set_count = 0;
	must_save(vcpu_state_cpuid, 0);
	assert_non_null(
		strstr(load(vcpu_state_cpuid, 0), ", which this host lacks"));
}

static void test_state_other_vendor(void **state)
{
	(void)state;
	must_save(vcpu_state_cpuid, 0);
	put_le32(bytes + 16, 0x68747541); /* Auth enti cAMD */
	put_le32(bytes + 24, 0x69746e65);
	put_le32(bytes + 20, 0x444d4163);
	expect_refused(vcpu_state_cpuid, 0,
		       "its processor is of AuthenticAMD, this host's of "
		       "GenuineIntel");
	kvm.fail = KVM_GET_SUPPORTED_CPUID;
	expect_refused(vcpu_state_cpuid, 0,
		       "KVM does not say what CPUID may show: Invalid "
		       "argument");
	kvm.fail = 0;
	bytes[16] = '\n';
	expect_refused(vcpu_state_cpuid, 0,
		       "its processor is of ?uthenticAMD, this host's of "
		       "GenuineIntel");
}

static entry processor[ARRAY_LEN(host_cpuid)];

entry __wrap_cpuid_of_processor(uint32_t function, uint32_t index);

entry __wrap_cpuid_of_processor(uint32_t function, uint32_t index)
{
	for (unsigned i = 0; i < ARRAY_LEN(processor); i++)
		if (processor[i].function == function &&
		    processor[i].index == index)
			return processor[i];
	return (entry){ .function = function, .index = index };
}

/*
 * KVM is not asked where the host has not booted since, and has the processor
 * that it had: what KVM shows by itself does not count.
 */
static void test_state_same_boot(void **state)
{
	static const struct {
		unsigned leaf; /* of host_cpuid */
		uint32_t ebx, ecx, edx;
		bool asked;
	} lacks[] = {
		{ 1, 0, 0, 0, false },
		{ 1, 0, BIT(21) | BIT(31), BIT(28), false },
		{ 2, BIT(1), BIT(2), BIT(26) | BIT(29), false },
		{ 6, 0, BIT(1), 0, false },
		{ 1, 0, BIT(9), 0, true },
		{ 1, 0, 0, BIT(3), true },
		{ 2, BIT(5), 0, 0, true },
		{ 6, 0, BIT(5), 0, true },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(lacks); i++) {
		entry *e = &processor[lacks[i].leaf];
		entry *shown = &vcpus.cpuid.entry[lacks[i].leaf];

		show(&vcpus.cpuid);
		shown->ebx |= lacks[i].ebx;
		shown->ecx |= lacks[i].ecx;
		shown->edx |= lacks[i].edx;
		must_save(vcpu_state_cpuid, 0);
		memcpy(processor, vcpus.cpuid.entry, sizeof(processor));
		e->ebx &= ~lacks[i].ebx;
		e->ecx &= ~lacks[i].ecx;
		e->edx &= ~lacks[i].edx;
		kvm.fail = KVM_GET_SUPPORTED_CPUID;
		vm.same_boot = true;
		if (lacks[i].asked)
			expect_refused(vcpu_state_cpuid, 0,
				       "KVM does not say what CPUID may show: "
				       "Invalid argument");
		else
			must_load(vcpu_state_cpuid, 0);
		vm.same_boot = false;
		expect_refused(vcpu_state_cpuid, 0,
			       "KVM does not say what CPUID may show: Invalid "
			       "argument");
		kvm.fail = 0;
	}
}

/* -- MSRs ------------------------------------------------------------------ */

static unsigned saved_msrs(void)
{
	assert_int_equal(len % 16, 0);
	return (unsigned)(len / 16);
}

static bool msr_is_saved(uint32_t index, uint64_t *value)
{
	for (unsigned i = 0; i < saved_msrs(); i++) {
		if (get_le32(bytes + 16 * i) != index)
			continue;
		*value = get_le64(bytes + 16 * i + 8);
		return true;
	}
	return false;
}

static void add_saved_msr(uint32_t index, uint64_t value)
{
	put_le32(bytes + len, index);
	put_le32(bytes + len + 4, 0);
	put_le64(bytes + len + 8, value);
	len += 16;
}

static void test_state_msrs_that_are_kept(void **state)
{
	static const uint32_t dropped[] = { 0x10,	0x11,	    0x12,
					    0x40000000, 0x400000f0, 0x4b564d00,
					    0x4b564d08 };
	uint64_t value = 0;

	(void)state;
	for (uint32_t i = 0; i < 150; i++)
		give_msr(0xc0010000 + i, i, true);
	for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
		give_msr(dropped[i], 1, true);
	give_msr(0x2ff, 0xc06, false);	    /* KVM does not list it */
	give_msr(0x4b564d04, 0x5000, true); /* it does */
	give_msr(0x48, 3, true);
	must_save(vcpu_state_msrs, 0);
	assert_int_equal(saved_msrs(), 150 + 3);
	kvm.unreadable = 0xc0010050;
	must_save(vcpu_state_msrs, 0);
	assert_int_equal(saved_msrs(), 149 + 3);
	for (size_t i = 0; i < ARRAY_LEN(dropped); i++)
		assert_false(msr_is_saved(dropped[i], &value));
	assert_false(msr_is_saved(0xc0010050, &value));
	assert_true(msr_is_saved(0xc0010080, &value));
	assert_int_equal(value, 0x80);
	assert_true(msr_is_saved(0x2ff, &value));
	assert_int_equal(value, 0xc06);
	for (unsigned i = 0; i < kvm.msr_count; i++)
		kvm.msr[i].data = 0;
	must_load(vcpu_state_msrs, 0);
	assert_int_equal(kvm.written_count, 149 + 3);
	assert_int_equal(kvm_msr(0xc0010095)->data, 0x95);
	assert_int_equal(kvm_msr(0xc0010050)->data, 0);
	assert_int_equal(kvm_msr(0x2ff)->data, 0xc06);
	assert_int_equal(kvm_msr(0x48)->data, 3);
}

/* It needs the timer's mode and the TSC. */
static void test_state_deadline_is_last(void **state)
{
	(void)state;
	give_msr(0x6e0, 0x777, true);
	give_msr(0x174, 1, true);
	give_msr(0x175, 2, true);
	must_save(vcpu_state_msrs, 0);
	must_load(vcpu_state_msrs, 0);
	assert_int_equal(kvm.written_count, 3);
	assert_int_equal(kvm.written[2], 0x6e0);
	assert_int_equal(kvm_msr(0x6e0)->data, 0x777);
}

static void test_state_deadline_that_has_passed(void **state)
{
	static const struct {
		uint32_t lvt;
		uint64_t deadline, saved;
	} cases[] = {
		{ 0x400ec, 0, 1000000 }, /* it may have expired */
		{ 0x400ec, 99, 99 },	 { 0x500ec, 0, 0 }, /* masked */
		{ 0x200ec, 0, 0 },			    /* periodic */
		{ 0x000ec, 0, 0 },			    /* one-shot */
	};
	uint64_t value = 0;

	(void)state;
	give_msr(0x6e0, 0, true);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_le32(kvm.has[LAPIC] + 0x320, cases[i].lvt);
		kvm.msr[0].data = cases[i].deadline;
		must_save(vcpu_state_msrs, 0);
		assert_true(msr_is_saved(0x6e0, &value));
		assert_true(value == cases[i].saved);
	}
}

static void test_state_msrs_that_kvm_does_not_take(void **state)
{
	(void)state;
	give_msr(0x174, 7, true);
	give_msr(0x175, 8, true);
	must_save(vcpu_state_msrs, 0);
	/* not listed here: it must have no value, and is not given to KVM */
	add_saved_msr(0xc0000104, 0);
	must_load(vcpu_state_msrs, 0);
	assert_int_equal(kvm.written_count, 2);
	bytes[len - 8] = 1;
	kvm.set_count = 0;
	assert_string_equal(load(vcpu_state_msrs, 0),
			    "its MSR 0xc0000104 has the value 0x1, and this "
			    "host's KVM does not know it");
	assert_int_equal(kvm.set_count, 0);
	len -= 16;
	/* refused, and it has that value; another one */
	kvm.refused = 0x174;
	kvm.written_count = 0;
	kvm.msr[1].data = 0;
	must_load(vcpu_state_msrs, 0);
	assert_int_equal(kvm.written_count, 2);
	assert_int_equal(kvm.msr[1].data, 8);
	bytes[8] = 9;
	assert_string_equal(load(vcpu_state_msrs, 0),
			    "KVM refuses its MSR 0x174, value 0x9");
	/* one that cannot even be read */
	kvm.unreadable = 0x174;
	bytes[8] = 0;
	must_load(vcpu_state_msrs, 0);
	/* the gap is none */
	bytes[4] = 1;
	expect_refused(vcpu_state_msrs, 0, "its MSRs are impossible");
	/* the TSC has a record of its own */
	bytes[4] = 0;
	add_saved_msr(0x10, 5);
	expect_refused(vcpu_state_msrs, 0,
		       "its MSR 0x10 has the value 0x5, and this host's KVM "
		       "does not know it");
}

static void test_state_too_many_msrs(void **state)
{
	(void)state;
	memset(bytes, 0, sizeof(bytes));
	len = 513 * 16;
	expect_refused(vcpu_state_msrs, 0, "it has too many MSRs");
	kvm.fail = KVM_GET_MSR_INDEX_LIST;
	kvm.error = E2BIG;
	assert_string_equal(save(vcpu_state_msrs, 0),
			    "KVM does not list its MSRs: Argument list too "
			    "long");
}

static void test_state_msrs_point_into_ram(void **state)
{
	const uint64_t end = RAM_SIZE;
	const struct {
		uint32_t index;
		uint64_t value;
		bool good;
	} cases[] = {
		{ 0x4b564d01, (end - 32) | 1, true },
		{ 0x4b564d01, end | 1, false },
		{ 0x4b564d01, end, true }, /* switched off */
		{ 0x4b564d01, (end - 16) | 1, false },
		{ 0x4b564d02, (end - 64) | 0xb, true },
		{ 0x4b564d02, end | 0xb, false },
		{ 0x4b564d02, end | 0xa, true },
		{ 0x4b564d03, (end - 64) | 1, true },
		{ 0x4b564d03, 0xfffffffffffff001, false },
		{ 0x4b564d04, (end - 4) | 1, true },
		{ 0x4b564d04, end | 1, false },
		{ 0x4b564d05, end | 1, true }, /* no address */
	};

	(void)state;
	for (uint32_t i = 0; i < 8; i++)
		give_msr(0x4b564d00 + i, 0, true);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		len = 0;
		add_saved_msr(cases[i].index, cases[i].value);
		if (cases[i].good)
			must_load(vcpu_state_msrs, 0);
		else
			expect_refused(vcpu_state_msrs, 0,
				       "it has KVM write where no memory is");
	}
}

/* -- clocks ---------------------------------------------------------------- */

static void save_tscs(uint8_t saved[CPUS][28])
{
	for (unsigned i = 0; i < CPUS; i++) {
		kvm.set_count = 0;
		must_save(vcpu_state_tsc, i);
		memcpy(saved[i], bytes, 28);
	}
}

static void load_tscs(uint8_t saved[CPUS][28])
{
	memset(kvm.offset, 0, sizeof(kvm.offset));
	kvm.set_count = 0;
	for (unsigned i = 0; i < CPUS; i++) {
		memcpy(bytes, saved[i], 28);
		len = 28;
		must_load(vcpu_state_tsc, i);
	}
}

static uint64_t tsc_of(unsigned cpu)
{
	return kvm.host_tsc + kvm.offset[cpu];
}

static void test_state_tsc_moves_on(void **state)
{
	uint8_t saved[CPUS][28];
	const uint64_t offset[CPUS] = { 5000, 5000, 4321 };

	(void)state;
	memcpy(kvm.offset, offset, sizeof(offset));
	save_tscs(saved);
	/* another boot of the host, 1.5 s later: 3,000,000,000 cycles */
	kvm.host_tsc = 77;
	realtime += SECOND_NS * 3 / 2;
	load_tscs(saved);
	assert_true(tsc_of(0) == 1005000 + 3000000000);
	assert_true(tsc_of(1) == 1005000 + 3000000000);
	assert_true(tsc_of(2) == 1004321 + 3000000000);
	assert_int_equal(kvm.khz_set, 0);
	/* with clock=keep; and where the host's clock went back */
	vm.keeps_clocks = true;
	load_tscs(saved);
	assert_true(tsc_of(0) == 1005000);
	assert_true(tsc_of(2) == 1004321);
	vm.keeps_clocks = false;
	realtime -= 100 * SECOND_NS;
	load_tscs(saved);
	assert_true(tsc_of(0) == 1005000);
	/* a hundred days: no product overflows */
	realtime += (100 * 86400 + 100) * SECOND_NS;
	load_tscs(saved);
	assert_true(tsc_of(0) - 1005000 ==
		    2000000ull * 1000 * (100 * 86400 + 1) + 1000000000);
}

static void test_state_tsc_rate(void **state)
{
	uint8_t saved[CPUS][28];

	(void)state;
	save_tscs(saved);
	kvm.khz = 2000500; /* 250 ppm */
	load_tscs(saved);
	assert_int_equal(kvm.khz_set, 0);
	kvm.khz = 2000501;
	len = 28;
	memcpy(bytes, saved[0], 28);
	expect_refused(vcpu_state_tsc, 0,
		       "its clock ran at 2000000 kHz, this host's at 2000501 "
		       "and its KVM cannot scale it");
	kvm.khz = 1999499;
	expect_refused(vcpu_state_tsc, 0,
		       "its clock ran at 2000000 kHz, this host's at 1999499 "
		       "and its KVM cannot scale it");
	kvm.tsc_control = 1;
	load_tscs(saved);
	assert_int_equal(kvm.khz_set, 2000000);
	kvm.fail = KVM_SET_TSC_KHZ;
	assert_string_equal(load(vcpu_state_tsc, 0),
			    "KVM refuses its clock of 2000000 kHz: Invalid "
			    "argument");
	kvm.fail = 0;
	/* a source that did not know it */
	memset(saved[0], 0, 4);
	memset(saved[1], 0, 4);
	memset(saved[2], 0, 4);
	kvm.khz_set = 0;
	load_tscs(saved);
	assert_int_equal(kvm.khz_set, 0);
}

/* A KVM that takes the offset and does nothing: the clock must not go back. */
static void test_state_tsc_that_cannot_be_set(void **state)
{
	uint8_t saved[CPUS][28];

	(void)state;
	kvm.offset_is_fixed = true;
	save_tscs(saved);
	kvm.host_tsc += 5;
	load_tscs(saved);
	kvm.host_tsc = 10;
	memcpy(bytes, saved[0], 28);
	assert_string_equal(load(vcpu_state_tsc, 0),
			    "this host's KVM cannot set its clock, which is "
			    "ahead of the host's");
}

static void test_state_kvmclock_moves_on(void **state)
{
	struct kvm_clock_data *has = (void *)kvm.has[CLOCK],
			      *set = (void *)kvm.set[CLOCK];

	(void)state;
	has->clock = 12345678;
	must_save(part_clock, 0);
	realtime += 42;
	must_load(part_clock, 0);
	assert_int_equal(set->clock, 12345678 + 42);
	assert_int_equal(set->flags, 0);
	vm.keeps_clocks = true;
	must_load(part_clock, 0);
	assert_int_equal(set->clock, 12345678);
	vm.keeps_clocks = false;
	realtime -= 1000;
	must_load(part_clock, 0);
	assert_int_equal(set->clock, 12345678);
}

/* -- interrupt controllers ------------------------------------------------- */

static void test_state_chips_both_ways(void **state)
{
	(void)state;
	make_valid();
	must_save(part_ioapic, 0);
	must_load(part_ioapic, 0);
	kvm.set_count = 0;
	must_save(part_pic, 0);
	must_load(part_pic, 0);
	assert_memory_equal(&kvm.chip_set[2].chip.ioapic,
			    &kvm.chip[2].chip.ioapic,
			    sizeof(struct kvm_ioapic_state));
	assert_memory_equal(&kvm.chip_set[1].chip.pic, &kvm.chip[1].chip.pic,
			    sizeof(struct kvm_pic_state));
}

static void test_state_impossible_chips(void **state)
{
	static const struct {
		vcpu_part part;
		size_t at; /* of the byte that gets this value */
		uint8_t value;
	} cases[] = {
		{ part_ioapic, 0, 1 },	{ part_ioapic, 7, 1 },
		{ part_ioapic, 9, 1 },	{ part_ioapic, 12, 0x10 },
		{ part_ioapic, 19, 1 }, { part_pic, 4, 8 },
		{ part_pic, 9, 4 },	{ part_pic, 14, 1 },
		{ part_pic, 15, 0xdf },
	};

	(void)state;
	make_valid();
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		kvm.set_count = 0;
		must_save(cases[i].part, 0);
		bytes[cases[i].at] = cases[i].value;
		expect_refused(cases[i].part, 0,
			       cases[i].part == part_pic
				       ? "its PIC's registers are impossible"
				       : "its IOAPIC's registers are "
					 "impossible");
	}
}

/* KVM_GET_MP_STATE may change the LAPIC: it comes first. */
static void test_state_before_save(void **state)
{
	(void)state;
	kvm.fail = KVM_GET_MP_STATE; /* and may fail: it is asked again */
	vcpu_state_before_save(&vcpus.cpu[0]);
	assert_int_equal(kvm.set_count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_state_records_have_their_sizes),
		TEST(test_state_too_short_records),
		TEST(test_state_too_long_records),
		TEST(test_state_kvm_says_no),
		TEST(test_state_registers_both_ways),
		TEST(test_state_impossible_segments),
		TEST(test_state_vector_registers),
		TEST(test_state_without_xsave),
		TEST(test_state_events_both_ways),
		TEST(test_state_cpuid_of_each_vcpu),
		TEST(test_state_cpuid_of_impossible_length),
		TEST(test_state_nested_is_refused),
		TEST(test_state_features_that_the_host_lacks),
		TEST(test_state_features_that_mote_adds),
		TEST(test_state_other_vendor),
		TEST(test_state_same_boot),
		TEST(test_state_msrs_that_are_kept),
		TEST(test_state_deadline_is_last),
		TEST(test_state_deadline_that_has_passed),
		TEST(test_state_msrs_that_kvm_does_not_take),
		TEST(test_state_too_many_msrs),
		TEST(test_state_msrs_point_into_ram),
		TEST(test_state_tsc_moves_on),
		TEST(test_state_tsc_rate),
		TEST(test_state_tsc_that_cannot_be_set),
		TEST(test_state_kvmclock_moves_on),
		TEST(test_state_chips_both_ways),
		TEST(test_state_impossible_chips),
		TEST(test_state_before_save),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
