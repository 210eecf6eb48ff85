/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CPUID.
 *
 * KVM_GET_SUPPORTED_CPUID is the base. A table names the leaves that need more
 * and the function that does it; leaves that KVM may not list (topology, TSC)
 * are added. Sources: Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E;
 * Linux, Documentation/virt/kvm/x86/cpuid.rst. Trusts the host's kernel. Owns
 * nothing. Main thread, before the vCPUs run.
 */
#include "cpu/entry.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "mem/log.h"
#include "mem/util.h"

#define BIT(n) (1u << (n))

/* KVM's LAPIC timer counts nanoseconds (APIC_BUS_CYCLE_NS is 1). */
#define APIC_BUS_HZ 1000000000u

typedef struct kvm_cpuid_entry2 entry;

/* Bits that an APIC ID needs for `count` cores. */
static unsigned id_bits(unsigned count)
{
	unsigned bits = 0;

	while ((1u << bits) < count)
		bits++;
	return bits;
}

static void mask_features(entry *e, const struct cpuid_options *o)
{
	unsigned logical = 1u << id_bits(o->count);

	e->ebx &= 0x0000ffff;
	e->ebx |= (logical > 255 ? 255 : logical) << 16;
	e->ecx |= BIT(31);  /* hypervisor */
	e->ecx &= ~BIT(15); /* PDCM: no PMU */
	e->ecx &= ~BIT(3);  /* MONITOR */
	if (!o->nested)
		e->ecx &= ~BIT(5); /* VMX */
	e->ecx &= ~BIT(24);
	if (o->tsc_deadline)
		e->ecx |= BIT(24); /* TSC-deadline */
	e->edx &= ~BIT(28);
	if (o->count > 1)
		e->edx |= BIT(28); /* HTT: EBX[23:16] is valid */
}

/* Intel's and AMD's cache leaves have the sharing field in the same place. */
static void cache_sharing(entry *e, const struct cpuid_options *o)
{
	unsigned level = e->eax >> 5 & 7;
	unsigned sharing = level >= 3 ? (1u << id_bits(o->count)) - 1 : 0;

	e->eax = (e->eax & ~(0xfffu << 14)) | sharing << 14;
}

static void intel_cache(entry *e, const struct cpuid_options *o)
{
	unsigned cores = (1u << id_bits(o->count)) - 1;

	if (!(e->eax & 0x1f))
		return; /* no more caches */
	cache_sharing(e, o);
	e->eax = (e->eax & 0x03ffffff) | (cores > 63 ? 63 : cores) << 26;
}

static void amd_cache(entry *e, const struct cpuid_options *o)
{
	if (e->eax & 0x1f)
		cache_sharing(e, o);
}

static void clear_leaf_bits(entry *e, const struct cpuid_options *o)
{
	(void)o;
	e->eax = e->ebx = e->ecx = e->edx = 0;
}

static void amd_features(entry *e, const struct cpuid_options *o)
{
	/* no PERFCTR_CORE, PERFCTR_NB, PERFCTR_LLC: no PMU */
	e->ecx &= ~(BIT(23) | BIT(24) | BIT(28));
	if (!o->nested)
		e->ecx &= ~BIT(2); /* SVM */
	e->ecx &= ~BIT(1);
	if (o->count > 1)
		e->ecx |= BIT(1); /* CmpLegacy */
}

static void keep_or_hide_svm(entry *e, const struct cpuid_options *o)
{
	if (!o->nested)
		clear_leaf_bits(e, o);
}

static void amd_cores(entry *e, const struct cpuid_options *o)
{
	e->ecx &= ~0xf0ffu;
	e->ecx |= (o->count - 1) & 0xff;
	e->ecx |= id_bits(o->count) << 12;
}

/* Threads per core 1, node 0 of 1; the IDs are cpuid_set_id's. */
static void amd_topology(entry *e, const struct cpuid_options *o)
{
	clear_leaf_bits(e, o);
}

static const struct leaf {
	uint32_t function;
	void (*apply)(entry *e, const struct cpuid_options *o);
} leaves[] = {
	{ 0x00000001, mask_features },
	{ 0x00000004, intel_cache },
	{ 0x0000000a, clear_leaf_bits }, /* architectural PMU */
	{ 0x80000001, amd_features },
	{ 0x80000008, amd_cores },
	{ 0x8000000a, keep_or_hide_svm },
	{ 0x8000001d, amd_cache },
	{ 0x8000001e, amd_topology },
	{ 0x80000022, clear_leaf_bits }, /* AMD PMU version 2 */
};

static void drop_leaf(struct cpuid *c, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->header.nent; i++)
		if (c->entry[i].function != function)
			c->entry[kept++] = c->entry[i];
	c->header.nent = kept;
}

static void add_leaf(struct cpuid *c, const entry *e)
{
	if (c->header.nent < CPUID_ENTRIES_MAX)
		c->entry[c->header.nent++] = *e;
}

/* Leaves 0xB and 0x1F: SMT level of one thread, core level of all. */
static void add_topology(struct cpuid *c, uint32_t function, unsigned count)
{
	const entry levels[] = {
		{ .index = 0, .eax = 0, .ebx = 1, .ecx = 1 << 8 | 0 },
		{ .index = 1,
		  .eax = id_bits(count),
		  .ebx = count,
		  .ecx = 2 << 8 | 1 },
		{ .index = 2, .ecx = 2 },
	};

	drop_leaf(c, function);
	for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
		entry e = levels[i];

		e.function = function;
		e.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		add_leaf(c, &e);
	}
}

/*
 * Leaf 0x15: the crystal is the LAPIC timer's clock, so that a guest that
 * reads it gets both frequencies right: TSC = crystal * EBX / EAX.
 */
static void add_tsc(struct cpuid *c, uint32_t khz)
{
	drop_leaf(c, 0x15);
	drop_leaf(c, 0x16);
	add_leaf(c, &(entry){ .function = 0x15,
			      .eax = APIC_BUS_HZ / 1000,
			      .ebx = khz,
			      .ecx = APIC_BUS_HZ });
	add_leaf(c, &(entry){ .function = 0x16,
			      .eax = khz / 1000,
			      .ebx = khz / 1000,
			      .ecx = 100 });
}

static entry *find_leaf(struct cpuid *c, uint32_t function)
{
	for (uint32_t i = 0; i < c->header.nent; i++)
		if (c->entry[i].function == function)
			return &c->entry[i];
	return NULL;
}

void cpuid_apply(struct cpuid *c, const struct cpuid_options *o)
{
	entry *max;

	for (uint32_t i = 0; i < c->header.nent; i++)
		for (size_t j = 0; j < ARRAY_LEN(leaves); j++)
			if (c->entry[i].function == leaves[j].function)
				leaves[j].apply(&c->entry[i], o);
	max = find_leaf(c, 0);
	if (!max)
		return;
	if (max->eax < 0xb)
		max->eax = 0xb;
	if (o->tsc_khz && max->eax < 0x16)
		max->eax = 0x16;
	/* Raising the maximum must not show leaves that nobody filled in. */
	if (max->eax >= 0x1f)
		add_topology(c, 0x1f, o->count);
	add_topology(c, 0xb, o->count);
	if (o->tsc_khz)
		add_tsc(c, o->tsc_khz);
}

int cpuid_create(struct cpuid *c, int kvm_fd, const struct cpuid_options *o)
{
	/* Entries beyond that are nobody's, and their pages are not touched. */
	c->header = (struct kvm_cpuid2){
		.nent = CPUID_ENTRIES_MAX - 8, /* room for those we add */
	};
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &c->header)) {
		int error = errno;

		log_error("KVM_GET_SUPPORTED_CPUID: %s", strerror(error));
		return -error;
	}
	cpuid_apply(c, o);
	return 0;
}

struct kvm_cpuid_entry2 cpuid_of_processor(uint32_t function, uint32_t index)
{
	entry e = { .function = function, .index = index };

	__cpuid_count(function, index, e.eax, e.ebx, e.ecx, e.edx);
	return e;
}

void cpuid_set_id(struct cpuid *c, uint32_t apic_id)
{
	for (uint32_t i = 0; i < c->header.nent; i++) {
		entry *e = &c->entry[i];

		switch (e->function) {
		case 0x1:
			e->ebx = (e->ebx & 0x00ffffff) | apic_id << 24;
			break;
		case 0xb:
		case 0x1f:
			e->edx = apic_id;
			break;
		case 0x8000001e:
			e->eax = apic_id;
			e->ebx = apic_id & 0xff;
			break;
		}
	}
}
