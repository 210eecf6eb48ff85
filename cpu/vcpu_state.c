/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a vCPU.
 *
 * What is loaded is hostile. KVM judges most of it: it takes the same from any
 * program. What it would take and this host or guest could not stand is judged
 * here: features that the host lacks, MSRs that are none of the guest's, and
 * addresses outside of RAM that KVM would write to. No struct of KVM's is ever
 * written whole: they differ by version, and have gaps. Main thread. Owns
 * nothing; what is too large for the stack is shared by all vCPUs.
 */
#include "cpu/vcpu_state.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "cpu/entry.h"
#include "cpu/vm_state.h"
#include "mem/log.h"
#include "mem/util.h"

#define BIT(n) (1u << (n))

typedef struct kvm_cpuid_entry2 entry;

void vcpu_state_before_save(struct vcpu *cpu)
{
	struct kvm_mp_state ignored = { 0 };

	ioctl(cpu->fd, KVM_GET_MP_STATE, &ignored);
}

/* -- CPUID ----------------------------------------------------------------- */

#define CPUID_ENTRY_BYTES 28

enum { EAX, EBX, ECX, EDX, REGISTERS };

/* The registers whose bits are each something that a guest may use. */
static const struct feature_leaf {
	uint32_t function;
	uint8_t index;
	uint8_t registers; /* a bit for each */
} feature_leaves[] = {
	{ 0x00000001, 0, BIT(ECX) | BIT(EDX) },
	{ 0x00000007, 0, BIT(EBX) | BIT(ECX) | BIT(EDX) },
	{ 0x00000007, 1, BIT(EAX) | BIT(EBX) | BIT(ECX) | BIT(EDX) },
	{ 0x00000007, 2, BIT(EDX) },
	{ 0x0000000d, 0, BIT(EAX) | BIT(EDX) },
	{ 0x0000000d, 1, BIT(EAX) | BIT(ECX) | BIT(EDX) },
	{ 0x40000001, 0, BIT(EAX) },
	{ 0x80000001, 0, BIT(ECX) | BIT(EDX) },
	{ 0x80000007, 0, BIT(EBX) | BIT(EDX) },
	{ 0x80000008, 0, BIT(EBX) },
	{ 0x80000021, 0, BIT(EAX) },
};

/* As /proc/cpuinfo names those that hosts most often differ by. */
static const struct feature_name {
	uint8_t leaf; /* of feature_leaves */
	uint8_t reg, bit;
	char name[13];
} feature_names[] = {
	{ 0, ECX, 0, "sse3" },	       { 0, ECX, 1, "pclmulqdq" },
	{ 0, ECX, 9, "ssse3" },	       { 0, ECX, 12, "fma" },
	{ 0, ECX, 13, "cx16" },	       { 0, ECX, 17, "pcid" },
	{ 0, ECX, 19, "sse4_1" },      { 0, ECX, 20, "sse4_2" },
	{ 0, ECX, 21, "x2apic" },      { 0, ECX, 22, "movbe" },
	{ 0, ECX, 23, "popcnt" },      { 0, ECX, 24, "tsc-deadline" },
	{ 0, ECX, 25, "aes" },	       { 0, ECX, 26, "xsave" },
	{ 0, ECX, 28, "avx" },	       { 0, ECX, 29, "f16c" },
	{ 0, ECX, 30, "rdrand" },      { 1, EBX, 3, "bmi1" },
	{ 1, EBX, 4, "hle" },	       { 1, EBX, 5, "avx2" },
	{ 1, EBX, 8, "bmi2" },	       { 1, EBX, 9, "erms" },
	{ 1, EBX, 10, "invpcid" },     { 1, EBX, 11, "rtm" },
	{ 1, EBX, 16, "avx512f" },     { 1, EBX, 17, "avx512dq" },
	{ 1, EBX, 18, "rdseed" },      { 1, EBX, 19, "adx" },
	{ 1, EBX, 28, "avx512cd" },    { 1, EBX, 29, "sha" },
	{ 1, EBX, 30, "avx512bw" },    { 1, EBX, 31, "avx512vl" },
	{ 1, ECX, 1, "avx512vbmi" },   { 1, ECX, 3, "pku" },
	{ 1, ECX, 8, "gfni" },	       { 1, ECX, 9, "vaes" },
	{ 1, ECX, 16, "la57" },	       { 1, EDX, 4, "fsrm" },
	{ 1, EDX, 22, "amx-bf16" },    { 1, EDX, 24, "amx-tile" },
	{ 1, EDX, 25, "amx-int8" },    { 1, EDX, 26, "ibrs" },
	{ 2, EAX, 4, "avx-vnni" },     { 2, EAX, 5, "avx512-bf16" },
	{ 7, ECX, 5, "lzcnt" },	       { 7, ECX, 6, "sse4a" },
	{ 7, EDX, 20, "nx" },	       { 7, EDX, 26, "1gb-pages" },
	{ 8, EDX, 8, "constant-tsc" },
};

struct leaf_values {
	uint32_t reg[REGISTERS];
};

/* Of a leaf that is not there: zeros. */
static struct leaf_values leaf_values(const struct cpuid *cpuid,
				      uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < cpuid->header.nent; i++) {
		const entry *e = &cpuid->entry[i];

		if (e->function == function && e->index == index)
			return (struct leaf_values){ { e->eax, e->ebx, e->ecx,
						       e->edx } };
	}
	return (struct leaf_values){ { 0 } };
}

/* Those that mote shows whether KVM says that it supports them or not. */
static uint32_t own_features(const struct vm *vm, unsigned leaf, unsigned reg)
{
	const uint32_t function = feature_leaves[leaf].function;

	if (function == 1 && reg == ECX) /* hypervisor, TSC-deadline */
		return BIT(31) | (vm->tsc_deadline ? BIT(24) : 0);
	if (function == 1 && reg == EDX)
		return BIT(28); /* HTT */
	if (function == 0x80000001 && reg == ECX)
		return BIT(1); /* CmpLegacy */
	return 0;
}

/* Those that KVM shows on processors that lack them, as Linux 6.1's does. */
static uint32_t kvm_features(unsigned leaf, unsigned reg)
{
	const uint32_t function = feature_leaves[leaf].function;

	if (function == 1 && reg == ECX)
		return BIT(21); /* x2APIC */
	if (function == 7 && reg == EBX)
		return BIT(1); /* TSC_ADJUST */
	if (function == 7 && reg == ECX)
		return BIT(2);		 /* UMIP */
	if (function == 7 && reg == EDX) /* IBRS, STIBP, their MSR, SSBD */
		return BIT(26) | BIT(27) | BIT(29) | BIT(31);
	return 0;
}

/* A text that is built; what does not fit is left out at its end. */
struct words {
	size_t len;
	char text[160];
};

static void name_feature(struct words *w, unsigned leaf, unsigned reg,
			 unsigned bit)
{
	const size_t room = sizeof(w->text) - w->len;
	const char *const comma = w->len ? ", " : "";
	int n;

	for (size_t i = 0; i < ARRAY_LEN(feature_names); i++) {
		const struct feature_name *f = &feature_names[i];

		if (f->leaf != leaf || f->reg != reg || f->bit != bit)
			continue;
		n = snprintf(w->text + w->len, room, "%s%s", comma, f->name);
		goto out;
	}
	n = snprintf(w->text + w->len, room, "%sCPUID %x.%u e%cx bit %u", comma,
		     feature_leaves[leaf].function, feature_leaves[leaf].index,
		     (char)('a' + reg), bit);
out:
	if (n > 0 && (size_t)n < room)
		w->len += (size_t)n;
	else
		w->text[w->len] = '\0';
}

static void check_features(const struct vm *vm, const struct cpuid *guest,
			   const struct cpuid *host, struct state *s)
{
	struct words missing = { .len = 0 };

	for (unsigned i = 0; i < ARRAY_LEN(feature_leaves); i++) {
		const struct feature_leaf *leaf = &feature_leaves[i];
		const struct leaf_values used =
			leaf_values(guest, leaf->function, leaf->index);
		const struct leaf_values here =
			leaf_values(host, leaf->function, leaf->index);

		for (unsigned reg = 0; reg < REGISTERS; reg++) {
			uint32_t bits = used.reg[reg] & ~here.reg[reg] &
					~own_features(vm, i, reg);

			if (!(leaf->registers & BIT(reg)))
				continue;
			for (; bits; bits &= bits - 1)
				name_feature(&missing, i, reg,
					     (unsigned)__builtin_ctz(bits));
		}
	}
	if (missing.len)
		state_refuse(s, "the guest may use %s, which this host lacks",
			     missing.text);
}

static void vendor_name(char name[13], const struct cpuid *cpuid)
{
	const struct leaf_values leaf = leaf_values(cpuid, 0, 0);

	put_le32(name, leaf.reg[EBX]);
	put_le32(name + 4, leaf.reg[EDX]);
	put_le32(name + 8, leaf.reg[ECX]);
	name[12] = '\0';
	/* it is shown to a person, and may come from anybody */
	for (unsigned i = 0; i < 12; i++)
		if (name[i] < ' ' || name[i] > '~')
			name[i] = '?';
}

static bool has_all(const struct vm *vm, unsigned leaf, unsigned reg,
		    uint32_t used, uint32_t here)
{
	return !(feature_leaves[leaf].registers & BIT(reg)) ||
	       !(used & ~here & ~own_features(vm, leaf, reg) &
		 ~kvm_features(leaf, reg));
}

/*
 * Has the processor itself what the guest was shown? Of leaves that nothing but
 * a processor fills in, those that hosts differ by. A machine that was moved
 * while it ran, or that was itself restored, has not booted since.
 */
static bool processor_has(const struct vm *vm, const struct cpuid *guest)
{
	static const uint8_t leaves[] = { 0, 1, 7 }; /* of feature_leaves */
	bool has = true;

	for (size_t i = 0; i < ARRAY_LEN(leaves) && has; i++) {
		const unsigned n = leaves[i];
		const struct feature_leaf *leaf = &feature_leaves[n];
		const struct leaf_values used =
			leaf_values(guest, leaf->function, leaf->index);
		const entry here =
			cpuid_of_processor(leaf->function, leaf->index);

		has = has_all(vm, n, EBX, used.reg[EBX], here.ebx) &&
		      has_all(vm, n, ECX, used.reg[ECX], here.ecx) &&
		      has_all(vm, n, EDX, used.reg[EDX], here.edx);
	}
	return has;
}

/* Can this host give the guest all that it was shown? */
static void check_host(const struct vm *vm, const struct cpuid *guest,
		       struct state *s)
{
	static struct cpuid host;
	char theirs[13], ours[13];

	if (s->wrong)
		return;
	host.header = (struct kvm_cpuid2){ .nent = CPUID_ENTRIES_MAX };
	if (ioctl(vm->kvm_fd, KVM_GET_SUPPORTED_CPUID, &host.header))
		state_refuse(s, "KVM does not say what CPUID may show: %s",
			     strerror(errno));
	vendor_name(theirs, guest);
	vendor_name(ours, &host);
	if (memcmp(theirs, ours, sizeof(ours)))
		state_refuse(s, "its processor is of %s, this host's of %s",
			     theirs, ours);
	check_features(vm, guest, &host, s);
}

/* VMX or SVM. */
static bool shows_nested(const struct cpuid *cpuid)
{
	return leaf_values(cpuid, 1, 0).reg[ECX] & BIT(5) ||
	       leaf_values(cpuid, 0x80000001, 0).reg[ECX] & BIT(2);
}

/* What is before its padding has no gaps. */
static void cpuid_entry_state(entry *e, struct state *s)
{
	state_bytes(s, e, CPUID_ENTRY_BYTES);
}

/*
 * KVM_GET_CPUID2 would pad it, and show what the guest has switched on since.
 * All vCPUs have the same but for their IDs, which is checked: so it is kept
 * once, for the next snapshot.
 */
void vcpu_state_cpuid(struct vcpu *cpu, struct state *s)
{
	const struct vm *vm = cpu->all->vm;
	struct cpuid *cpuid = &cpu->all->cpuid;
	const size_t left = s->len - s->at;
	uint32_t n = cpuid->header.nent;

	if (s->loading) {
		if (!state_check(s,
				 left && !(left % CPUID_ENTRY_BYTES) &&
					 left / CPUID_ENTRY_BYTES <=
						 CPUID_ENTRIES_MAX,
				 "its CPUID has an impossible length"))
			return;
		n = (uint32_t)(left / CPUID_ENTRY_BYTES);
		if (!cpu->id)
			cpuid->header = (struct kvm_cpuid2){ .nent = n };
	}
	state_check(s, n == cpuid->header.nent,
		    "its CPUID is not that of the first vCPU");
	cpuid_set_id(cpuid, cpu->id);
	for (uint32_t i = 0; i < cpuid->header.nent && !s->wrong; i++) {
		entry e = cpuid->entry[i];

		cpuid_entry_state(&e, s);
		if (cpu->id)
			state_check(s, !memcmp(&e, &cpuid->entry[i], sizeof(e)),
				    "its CPUID is not that of the first vCPU");
		else
			cpuid->entry[i] = e;
	}
	cpuid_set_id(cpuid, cpu->id);
	if (shows_nested(cpuid))
		state_refuse(s, "nested guests cannot be saved yet");
	if (s->loading && !cpu->id && !s->wrong &&
	    !(vm->same_boot && processor_has(vm, cpuid)))
		check_host(vm, cpuid, s);
	vm_state_set(s, cpu->fd, KVM_SET_CPUID2, &cpuid->header, "CPUID");
}

/* -- registers ------------------------------------------------------------- */

#define REG(field) VM_STATE_FIELD(kvm_regs, field)

void vcpu_state_regs(struct vcpu *cpu, struct state *s)
{
	static const struct vm_state_field fields[] = {
		REG(rax), REG(rbx), REG(rcx), REG(rdx), REG(rsi), REG(rdi),
		REG(rsp), REG(rbp), REG(r8),  REG(r9),	REG(r10), REG(r11),
		REG(r12), REG(r13), REG(r14), REG(r15), REG(rip), REG(rflags),
	};
	struct kvm_regs regs = { 0 };

	vm_state_get(s, cpu->fd, KVM_GET_REGS, &regs, "registers");
	vm_state_fields(s, &regs, fields, ARRAY_LEN(fields));
	vm_state_set(s, cpu->fd, KVM_SET_REGS, &regs, "registers");
}

/* As in a descriptor (Intel SDM volume 3, 3.4.5); bit 8: unusable. */
#define ATTRIBUTES_NONE 0x0e00u

static void segment_state(struct kvm_segment *seg, struct state *s)
{
	static const struct vm_state_field fields[] = {
		VM_STATE_FIELD(kvm_segment, base),
		VM_STATE_FIELD(kvm_segment, limit),
		VM_STATE_FIELD(kvm_segment, selector),
	};
	uint16_t bits = (uint16_t)(seg->type | seg->s << 4 | seg->dpl << 5 |
				   seg->present << 7 | seg->unusable << 8 |
				   seg->avl << 12 | seg->l << 13 |
				   seg->db << 14 | seg->g << 15);

	vm_state_fields(s, seg, fields, ARRAY_LEN(fields));
	state_u16(s, &bits);
	state_check(s, !(bits & ATTRIBUTES_NONE),
		    "its segment registers are impossible");
	seg->type = bits & 0xf;
	seg->s = bits >> 4 & 1;
	seg->dpl = bits >> 5 & 3;
	seg->present = bits >> 7 & 1;
	seg->unusable = bits >> 8 & 1;
	seg->avl = bits >> 12 & 1;
	seg->l = bits >> 13 & 1;
	seg->db = bits >> 14 & 1;
	seg->g = bits >> 15 & 1;
}

#define SREG(field) VM_STATE_FIELD(kvm_sregs, field)

void vcpu_state_sregs(struct vcpu *cpu, struct state *s)
{
	static const struct vm_state_field fields[] = {
		SREG(gdt.base),	 SREG(gdt.limit), SREG(idt.base),
		SREG(idt.limit), SREG(cr0),	  SREG(cr2),
		SREG(cr3),	 SREG(cr4),	  SREG(cr8),
		SREG(efer),	 SREG(apic_base), SREG(interrupt_bitmap),
	};
	struct kvm_sregs sregs = { 0 };
	struct kvm_segment *const segments[] = {
		&sregs.cs, &sregs.ds, &sregs.es, &sregs.fs,
		&sregs.gs, &sregs.ss, &sregs.tr, &sregs.ldt,
	};

	vm_state_get(s, cpu->fd, KVM_GET_SREGS, &sregs, "segment registers");
	for (size_t i = 0; i < ARRAY_LEN(segments); i++)
		segment_state(segments[i], s);
	vm_state_fields(s, &sregs, fields, ARRAY_LEN(fields));
	vm_state_set(s, cpu->fd, KVM_SET_SREGS, &sregs, "segment registers");
}

/*
 * KVM copies as much as KVM_CAP_XSAVE2 says, in and out: by the features of the
 * host. All that KVM does not know of its header it refuses.
 */
void vcpu_state_xsave(struct vcpu *cpu, struct state *s)
{
	/* with AMX's tiles it is 11,008 bytes; it grows by features */
	static _Alignas(64) uint8_t room[16384];
	uint8_t *area = room;
	struct kvm_xcrs xcrs = { .nr_xcrs = 1 };
	const int here =
		ioctl(cpu->all->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
	uint64_t xcr0 = 0;
	size_t len = here > 0 ? (size_t)here : 0;

	if (len < sizeof(struct kvm_xsave) || len > sizeof(room))
		state_refuse(s, "this host's KVM has no vector registers to "
				"save (that takes Linux 5.17)");
	vm_state_get(s, cpu->fd, KVM_GET_XSAVE2, area, "vector registers");
	vm_state_get(s, cpu->fd, KVM_GET_XCRS, &xcrs, "XCR0");
	/* a host without XSAVE has none */
	if (!s->loading && xcrs.nr_xcrs)
		xcr0 = xcrs.xcrs[0].value;
	state_u64(s, &xcr0);
	if (s->loading && !s->wrong) {
		if (s->len - s->at > len)
			state_refuse(s,
				     "its XSAVE area has %zu bytes, this "
				     "host's %zu",
				     s->len - s->at, len);
		len = s->len - s->at;
		state_check(s, len >= sizeof(struct kvm_xsave),
			    "its XSAVE area is too short");
	}
	if (s->wrong)
		return;
	/* As a rule KVM takes as much as there is. */
	if (s->loading && len == (size_t)here) {
		area = s->bytes + s->at;
		s->at += len;
	} else {
		if (s->loading)
			memset(room, 0, sizeof(room));
		state_bytes(s, area, len);
	}
	vm_state_set(s, cpu->fd, KVM_SET_XSAVE, area, "vector registers");
	xcrs = (struct kvm_xcrs){ .nr_xcrs = 1, .xcrs = { { .value = xcr0 } } };
	if (xcr0)
		vm_state_set(s, cpu->fd, KVM_SET_XCRS, &xcrs, "XCR0");
}

#define DEBUGREG(field) VM_STATE_FIELD(kvm_debugregs, field)

void vcpu_state_debug(struct vcpu *cpu, struct state *s)
{
	static const struct vm_state_field fields[] = { DEBUGREG(db),
							DEBUGREG(dr6),
							DEBUGREG(dr7) };
	struct kvm_debugregs regs = { 0 };

	vm_state_get(s, cpu->fd, KVM_GET_DEBUGREGS, &regs, "debug registers");
	vm_state_fields(s, &regs, fields, ARRAY_LEN(fields));
	vm_state_set(s, cpu->fd, KVM_SET_DEBUGREGS, &regs, "debug registers");
}

/* The page of registers, as the processor has it. */
void vcpu_state_lapic(struct vcpu *cpu, struct state *s)
{
	struct kvm_lapic_state lapic = { { 0 } };

	vm_state_get(s, cpu->fd, KVM_GET_LAPIC, &lapic, "LAPIC");
	state_bytes(s, lapic.regs, sizeof(lapic.regs));
	vm_state_set(s, cpu->fd, KVM_SET_LAPIC, &lapic, "LAPIC");
}

/* -- MSRs ------------------------------------------------------------------ */

#define MSR_BYTES 16
#define MSRS_MAX  512
#define MSRS_ONCE 128 /* KVM takes fewer than 256 in a call */

#define MSR_TSC		 0x10
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_KVM_FIRST	 0x4b564d01 /* see msrs_dropped */
#define MSR_KVM_LAST	 0x4b564d07

/* Intel SDM volume 3, 11.11: KVM has eight variable ranges. */
static const struct msr_range {
	uint32_t first, last;
} msrs_unlisted[] = {
	{ 0x200, 0x20f }, { 0x250, 0x250 }, { 0x258, 0x259 },
	{ 0x268, 0x26f }, { 0x2ff, 0x2ff }, { MSR_KVM_FIRST, MSR_KVM_LAST },
};

/*
 * What KVM lists and is not kept: the TSC, which is kept by itself; the old
 * numbers of kvmclock's two MSRs; those for Windows, which mote's guests are
 * never shown; and what else is in KVM's own range. The wall clock's is one of
 * them, since it is no state: by it a guest has the time written to its memory
 * at once, and what is there afterwards is the guest's own.
 */
static const struct msr_range msrs_dropped[] = {
	{ MSR_TSC, 0x12 },
	{ 0x40000000, MSR_KVM_FIRST - 1 },
	{ MSR_KVM_LAST + 1, 0x4b564dff },
};

typedef struct kvm_msr_entry msr;

static bool msr_is_in(uint32_t index, const struct msr_range *range,
		      size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (index >= range[i].first && index <= range[i].last)
			return true;
	return false;
}

static msr *find_msr(msr *list, size_t n, uint32_t index)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].index == index)
			return &list[i];
	return NULL;
}

static size_t add_msr(msr *list, size_t n, uint32_t index)
{
	if (n == MSRS_MAX)
		return n;
	list[n] = (msr){ .index = index };
	return n + 1;
}

/* The MSRs that are kept, and may be set: their number. */
static size_t list_msrs(int kvm_fd, msr list[MSRS_MAX], struct state *s)
{
	static struct {
		struct kvm_msr_list header;
		uint32_t index[MSRS_MAX];
	} known;
	size_t n = 0;

	known.header.nmsrs = MSRS_MAX;
	if (ioctl(kvm_fd, KVM_GET_MSR_INDEX_LIST, &known.header)) {
		state_refuse(s, "KVM does not list its MSRs: %s",
			     strerror(errno));
		return 0;
	}
	for (uint32_t i = 0; i < known.header.nmsrs; i++)
		if (!msr_is_in(known.index[i], msrs_dropped,
			       ARRAY_LEN(msrs_dropped)) &&
		    !msr_is_in(known.index[i], msrs_unlisted,
			       ARRAY_LEN(msrs_unlisted)))
			n = add_msr(list, n, known.index[i]);
	for (size_t i = 0; i < ARRAY_LEN(msrs_unlisted); i++)
		for (uint32_t index = msrs_unlisted[i].first;
		     index <= msrs_unlisted[i].last; index++)
			n = add_msr(list, n, index);
	return n;
}

/*
 * Gets or sets as many in one call as may be: how many were, before the first
 * that KVM refuses; or -1.
 */
static int call_msrs(int fd, unsigned long request, msr *list, size_t n)
{
	struct {
		struct kvm_msrs header;
		msr entry[MSRS_ONCE];
	} call;
	int done;

	if (n > MSRS_ONCE)
		n = MSRS_ONCE;
	call.header = (struct kvm_msrs){ .nmsrs = (uint32_t)n };
	memcpy(call.entry, list, n * sizeof(*list));
	done = ioctl(fd, request, &call);
	memcpy(list, call.entry, n * sizeof(*list));
	return done;
}

/* One that cannot be read has no value but 0. */
static uint64_t msr_value(int fd, uint32_t index)
{
	msr m = { .index = index };

	return call_msrs(fd, KVM_GET_MSRS, &m, 1) == 1 ? m.data : 0;
}

/* Those that KVM refuses are left out: how many there are then. */
static size_t read_msrs(int fd, msr *list, size_t n, struct state *s)
{
	size_t at = 0, kept = 0;

	while (at < n) {
		const size_t most = n - at < MSRS_ONCE ? n - at : MSRS_ONCE;
		const int done = call_msrs(fd, KVM_GET_MSRS, &list[at], most);

		if (done < 0) {
			state_refuse(s, "KVM does not give its MSRs: %s",
				     strerror(errno));
			return 0;
		}
		memmove(&list[kept], &list[at], (size_t)done * sizeof(*list));
		kept += (size_t)done;
		at += (size_t)done + ((size_t)done < most);
	}
	return kept;
}

/* Hosts differ: one that has no say for this guest is none to refuse it for. */
static void judge_refused_msr(int fd, const msr *m, struct state *s)
{
	if (m->data != msr_value(fd, m->index))
		state_refuse(s, "KVM refuses its MSR 0x%x, value 0x%llx",
			     m->index, m->data);
	else
		log_debug("KVM refuses MSR 0x%x, which has its value already",
			  m->index);
}

static void write_msrs(int fd, msr *list, size_t n, struct state *s)
{
	size_t at = 0;

	while (at < n && !s->wrong) {
		const size_t most = n - at < MSRS_ONCE ? n - at : MSRS_ONCE;
		const int done = call_msrs(fd, KVM_SET_MSRS, &list[at], most);

		if (done < 0) {
			state_refuse(s, "KVM refuses its MSRs: %s",
				     strerror(errno));
			return;
		}
		at += (size_t)done;
		if ((size_t)done < most)
			judge_refused_msr(fd, &list[at++], s);
	}
}

/*
 * KVM's own MSRs by which it writes to guest memory (Linux,
 * Documentation/virt/kvm/x86/msr.rst).
 */
static const struct msr_address {
	uint32_t index;
	uint8_t flags; /* the bits that are not of the address; bit 0: on */
	uint8_t size;
} msr_addresses[] = {
	{ 0x4b564d01, 1, 32 },	  /* kvmclock */
	{ 0x4b564d02, 0x3f, 64 }, /* asynchronous page faults */
	{ 0x4b564d03, 0x3f, 64 }, /* stolen time */
	{ 0x4b564d04, 3, 4 },	  /* ends of interrupts */
};

static bool msr_is_in_ram(const msr *m, const struct ram *ram)
{
	for (size_t i = 0; i < ARRAY_LEN(msr_addresses); i++) {
		const struct msr_address *a = &msr_addresses[i];

		if (m->index != a->index || !(m->data & 1))
			continue;
		return ram_span(ram, GPA(m->data & ~(uint64_t)a->flags),
				a->size);
	}
	return true;
}

/* It has no gaps. */
static void msr_state(msr *m, struct state *s)
{
	state_bytes(s, m, MSR_BYTES);
}

/*
 * If the LVT's timer is in TSC-deadline mode and may interrupt (Intel SDM
 * volume 3, 11.5.4), a deadline of 0 is one that has passed, it may be, and
 * whose interrupt KVM has not injected yet: nothing else tells.
 */
#define LVT_TIMER	   0x320
#define LVT_TIMER_MASK	   0x70000 /* its mode, and whether it is masked */
#define LVT_TIMER_DEADLINE 0x40000

static bool timer_may_have_passed(int fd)
{
	struct kvm_lapic_state lapic;

	return !ioctl(fd, KVM_GET_LAPIC, &lapic) &&
	       (get_le32(lapic.regs + LVT_TIMER) & LVT_TIMER_MASK) ==
		       LVT_TIMER_DEADLINE;
}

static void save_msrs(int fd, msr *list, size_t n, struct state *s)
{
	msr *deadline;

	n = read_msrs(fd, list, n, s);
	deadline = find_msr(list, n, MSR_TSC_DEADLINE);
	if (deadline && !deadline->data && timer_may_have_passed(fd))
		deadline->data = msr_value(fd, MSR_TSC);
	for (size_t i = 0; i < n; i++)
		msr_state(&list[i], s);
}

/* Those that this host's KVM does not name are never given to it. */
static size_t load_msrs(msr *list, size_t n, msr *known, size_t known_count,
			const struct ram *ram, struct state *s)
{
	size_t kept = 0;

	for (size_t i = 0; i < n && !s->wrong; i++) {
		msr m = { 0 };

		msr_state(&m, s);
		state_check(s, !m.reserved, "its MSRs are impossible");
		state_check(s, msr_is_in_ram(&m, ram),
			    "it has KVM write where no memory is");
		/* on the same host they are in the same order */
		if ((i < known_count && known[i].index == m.index) ||
		    find_msr(known, known_count, m.index))
			list[kept++] = m;
		else if (m.data)
			state_refuse(s,
				     "its MSR 0x%x has the value 0x%llx, and "
				     "this host's KVM does not know it",
				     m.index, m.data);
	}
	return kept;
}

void vcpu_state_msrs(struct vcpu *cpu, struct state *s)
{
	static msr known[MSRS_MAX], list[MSRS_MAX];
	const size_t known_count = list_msrs(cpu->all->vm->kvm_fd, known, s);
	size_t n = (s->len - s->at) / MSR_BYTES;
	msr *deadline;

	if (s->wrong)
		return;
	if (!s->loading) {
		save_msrs(cpu->fd, known, known_count, s);
		return;
	}
	if (!state_check(s, n <= MSRS_MAX, "it has too many MSRs"))
		return;
	n = load_msrs(list, n, known, known_count, cpu->all->platform->ram, s);
	/* it needs the others, and the TSC */
	deadline = find_msr(list, n, MSR_TSC_DEADLINE);
	if (deadline) {
		const msr last = list[n - 1];

		list[n - 1] = *deadline;
		*deadline = last;
	}
	write_msrs(cpu->fd, list, n, s);
}

/* -- the time stamp counter ------------------------------------------------ */

/* As KVM's tsc_tolerance_ppm: what it does not scale for either. */
#define TSC_TOLERANCE_PPM 250

/*
 * Where KVM cannot scale, KVM_SET_TSC_KHZ fails, and changes what the guest is
 * told all the same: so it is asked before.
 */
static void set_tsc_khz(struct vcpu *cpu, uint32_t khz, struct state *s)
{
	const int n = ioctl(cpu->fd, KVM_GET_TSC_KHZ, 0);
	const uint32_t here = n > 0 ? (uint32_t)n : 0;
	const uint64_t apart = here > khz ? here - khz : khz - here;

	if (s->wrong || !khz ||
	    apart * 1000000 <= (uint64_t)khz * TSC_TOLERANCE_PPM)
		return;
	if (ioctl(cpu->all->vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_TSC_CONTROL) <=
	    0)
		state_refuse(s,
			     "its clock ran at %u kHz, this host's at %u and "
			     "its KVM cannot scale it",
			     khz, here);
	else if (ioctl(cpu->fd, KVM_SET_TSC_KHZ, (unsigned long)khz))
		state_refuse(s, "KVM refuses its clock of %u kHz: %s", khz,
			     strerror(errno));
}

static uint64_t cycles_of(uint64_t ns, uint32_t khz)
{
	return ns / 1000000 * khz + ns % 1000000 * khz / 1000000;
}

/* All of it is modulo 2^64, as the offsets are. */
struct tsc {
	uint32_t khz;
	uint64_t offset; /* that KVM adds to the host's, scaled */
	uint64_t value, realtime;
};

/*
 * By the offset, not by writing the MSR: KVM takes a value that is near to what
 * it expects, as that of a guest in its first second, for the attempt to
 * synchronise it, and sets another one.
 */
static uint64_t moved_offset(struct vcpu *cpu, const struct tsc *tsc)
{
	const uint64_t ns = vm_state_moved(cpu->all->vm, tsc->realtime);
	struct vcpus *all = cpu->all;
	uint64_t offset = 0;
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset,
	};

	if (!cpu->id) {
		ioctl(cpu->fd, KVM_GET_DEVICE_ATTR, &attr);
		offset += tsc->value + cycles_of(ns, tsc->khz) -
			  msr_value(cpu->fd, MSR_TSC);
		all->tsc_moved = offset - tsc->offset;
	}
	return tsc->offset + all->tsc_moved;
}

void vcpu_state_tsc(struct vcpu *cpu, struct state *s)
{
	struct tsc tsc = { .khz = 0 };
	struct kvm_device_attr attr = {
		.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&tsc.offset,
	};

	vm_state_get(s, cpu->fd, KVM_GET_DEVICE_ATTR, &attr, "TSC's offset");
	if (!s->loading) {
		const int n = ioctl(cpu->fd, KVM_GET_TSC_KHZ, 0);

		tsc.khz = n > 0 ? (uint32_t)n : 0;
		tsc.value = msr_value(cpu->fd, MSR_TSC);
		tsc.realtime = vm_state_now();
	}
	state_u32(s, &tsc.khz);
	state_u64(s, &tsc.offset);
	state_u64(s, &tsc.value);
	state_u64(s, &tsc.realtime);
	if (!s->loading || s->wrong)
		return;
	set_tsc_khz(cpu, tsc.khz, s);
	tsc.offset = moved_offset(cpu, &tsc);
	vm_state_set(s, cpu->fd, KVM_SET_DEVICE_ATTR, &attr, "TSC's offset");
	/* A KVM without hardware may take it, and let the guest see its own. */
	if (!cpu->id && (int64_t)(msr_value(cpu->fd, MSR_TSC) - tsc.value) < 0)
		state_refuse(s, "this host's KVM cannot set its clock, which "
				"is ahead of the host's");
}

/* -- what is pending ------------------------------------------------------- */

#define EVENT(field) VM_STATE_FIELD(kvm_vcpu_events, field)

/*
 * The state of KVM's scheduling first: an INIT or SIPI changes the rest. The
 * guest's watchdogs are told that time has passed, last of all: that is in
 * kvmclock's page from its next entry on. EINVAL: it has no kvmclock.
 */
void vcpu_state_events(struct vcpu *cpu, struct state *s)
{
	static const struct vm_state_field fields[] = {
		EVENT(exception.injected),
		EVENT(exception.nr),
		EVENT(exception.has_error_code),
		EVENT(exception.pending),
		EVENT(exception.error_code),
		EVENT(interrupt.injected),
		EVENT(interrupt.nr),
		EVENT(interrupt.soft),
		EVENT(interrupt.shadow),
		EVENT(nmi.injected),
		EVENT(nmi.pending),
		EVENT(nmi.masked),
		EVENT(sipi_vector),
		EVENT(flags),
		EVENT(smi.smm),
		EVENT(smi.pending),
		EVENT(smi.smm_inside_nmi),
		EVENT(smi.latched_init),
		EVENT(triple_fault.pending),
		EVENT(exception_has_payload),
		EVENT(exception_payload),
	};
	struct kvm_vcpu_events events = { .flags = 0 };
	struct kvm_mp_state mp = { .mp_state = 0 };

	vm_state_get(s, cpu->fd, KVM_GET_MP_STATE, &mp, "run state");
	vm_state_get(s, cpu->fd, KVM_GET_VCPU_EVENTS, &events, "events");
	vm_state_fields(s, &events, fields, ARRAY_LEN(fields));
	state_u32(s, &mp.mp_state);
	state_check(s, mp.mp_state <= KVM_MP_STATE_SIPI_RECEIVED,
		    "its run state is impossible");
	vm_state_set(s, cpu->fd, KVM_SET_MP_STATE, &mp, "run state");
	vm_state_set(s, cpu->fd, KVM_SET_VCPU_EVENTS, &events, "events");
	if (s->loading && !s->wrong)
		ioctl(cpu->fd, KVM_KVMCLOCK_CTRL, 0);
}

int vcpu_state_answer(struct vcpu *cpu, uint8_t al)
{
	struct kvm_regs regs;

	if (ioctl(cpu->fd, KVM_GET_REGS, &regs))
		return log_errno("KVM_GET_REGS");
	regs.rax = (regs.rax & ~0xffULL) | al;
	return ioctl(cpu->fd, KVM_SET_REGS, &regs) ? log_errno("KVM_SET_REGS")
						   : 0;
}
