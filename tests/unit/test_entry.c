/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/entry.c tests/unit/guest_ram.c */
/* ldflags: -Wl,--wrap=ioctl */
/* The state on entry: page tables and GDT as a processor reads them, and what
 * KVM is told, its refusals of MSRs included. */
#include <linux/kvm.h>

#include "cpu/entry.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static struct {
	unsigned long fail; /* the request that fails */
	uint64_t refused;   /* MSRs, a bit for each in the order of calls */
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	unsigned msrs_tried, msrs_set;
	uint32_t last[8];
} kvm;

static int set_msrs(const struct kvm_msrs *msrs)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		if (kvm.refused >> kvm.msrs_tried++ & 1)
			return (int)i;
		assert_true(kvm.msrs_set < ARRAY_LEN(kvm.last));
		kvm.last[kvm.msrs_set++] = msrs->entries[i].index;
	}
	return (int)msrs->nmsrs;
}

int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	assert_int_equal(fd, 77);
	errno = EIO;
	if (request == kvm.fail)
		return -1;
	switch (request) {
	case KVM_GET_SREGS:
		memset(arg, 0, sizeof(kvm.sregs));
		((struct kvm_sregs *)arg)->apic_base = 0xfee00900;
		return 0;
	case KVM_SET_SREGS:
		memcpy(&kvm.sregs, arg, sizeof(kvm.sregs));
		return 0;
	case KVM_SET_REGS:
		memcpy(&kvm.regs, arg, sizeof(kvm.regs));
		return 0;
	case KVM_SET_MSRS:
		return set_msrs(arg);
	default:
		fail_msg("unexpected request 0x%lx", request);
		return -1;
	}
}

static uint64_t entry_at(const struct ram *ram, uint64_t table, uint64_t index)
{
	uint8_t bytes[8];

	assert_int_equal(ram_read(ram, bytes, GPA(table + index * 8), 8), 0);
	return get_le64(bytes);
}

/* Intel SDM volume 3, 4.5: the walk for a 2 MiB page. */
static uint64_t translate(const struct ram *ram, uint64_t address)
{
	const uint64_t frame = 0xffffffffff000ULL;
	uint64_t table = ENTRY_PAGE_TABLES.v, e = 0;

	for (unsigned shift = 39; shift >= 21; shift -= 9) {
		e = entry_at(ram, table, address >> shift & 511);
		if (!(e & 1))
			return UINT64_MAX;
		assert_true(e & 2);
		assert_int_equal(!!(e & 0x80), shift == 21);
		table = e & frame;
	}
	return (e & frame & ~0x1fffffULL) | (address & 0x1fffff);
}

static void test_entry_writes_tables(void **state)
{
	static const uint64_t same[] = { 0,	    0x1000,    0x1fffff,
					 0x200000,  0x1234567, 0x3ff00000,
					 0x3fffffff };
	struct ram ram;

	(void)state;
	make_ram(&ram, 32 * MIB);
	assert_int_equal(entry_write_tables(&ram), 0);
	for (size_t i = 0; i < ARRAY_LEN(same); i++)
		assert_int_equal(translate(&ram, same[i]), same[i]);
	assert_true(translate(&ram, ENTRY_MAPPED) == UINT64_MAX);
	assert_true(translate(&ram, 1ULL << 39) == UINT64_MAX);
	/* boot.rst: __BOOT_CS 0x10 is code for long mode, __BOOT_DS 0x18. */
	assert_int_equal(entry_at(&ram, ENTRY_GDT.v, 0), 0);
	assert_int_equal(entry_at(&ram, ENTRY_GDT.v, 2), 0x00af9b000000ffff);
	assert_int_equal(entry_at(&ram, ENTRY_GDT.v, 3), 0x00cf93000000ffff);
	ram_destroy(&ram);
}

static void test_entry_has_no_room(void **state)
{
	struct ram_options options = { .size = 0x8000 };
	struct ram ram;

	(void)state;
	assert_int_equal(ram_create(&ram, &options), 0);
	assert_int_equal(entry_write_tables(&ram), -EFAULT);
	ram_destroy(&ram);
}

static void test_entry_sets_registers(void **state)
{
	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	assert_int_equal(entry_set_vcpu(77, GPA(0x1000200), GPA(0x7000)), 0);
	assert_int_equal(kvm.regs.rip, 0x1000200);
	assert_int_equal(kvm.regs.rsi, 0x7000);
	assert_int_equal(kvm.regs.rflags, 2); /* interrupts are off */
	assert_int_equal(kvm.sregs.cr0, 0x80000031);
	assert_int_equal(kvm.sregs.cr3, ENTRY_PAGE_TABLES.v);
	assert_int_equal(kvm.sregs.cr4, 0x20);
	assert_int_equal(kvm.sregs.efer, 0x500);
	assert_int_equal(kvm.sregs.cs.selector, 0x10);
	assert_int_equal(kvm.sregs.cs.l, 1);
	assert_int_equal(kvm.sregs.cs.db, 0);
	assert_int_equal(kvm.sregs.ss.selector, 0x18);
	assert_int_equal(kvm.sregs.gdt.base, ENTRY_GDT.v);
	assert_int_equal(kvm.sregs.apic_base, 0xfee00900); /* as KVM has it */
	expect_no_log();
}

static void test_entry_passes_errors_on(void **state)
{
	static const struct {
		unsigned long request;
		const char *name;
	} cases[] = {
		{ KVM_GET_SREGS, "KVM_GET_SREGS" },
		{ KVM_SET_SREGS, "KVM_SET_SREGS" },
		{ KVM_SET_REGS, "KVM_SET_REGS" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		memset(&kvm, 0, sizeof(kvm));
		kvm.fail = cases[i].request;
		assert_int_equal(entry_set_vcpu(77, GPA(0), GPA(0)), -EIO);
		expect_log(cases[i].name);
	}
	memset(&kvm, 0, sizeof(kvm));
	kvm.fail = KVM_SET_MSRS;
	assert_int_equal(entry_set_msrs(77), -EIO);
	expect_log("KVM_SET_MSRS");
}

/* Whichever MSRs are refused, every other one is set. */
static void test_entry_sets_every_msr_it_may(void **state)
{
	unsigned all;

	(void)state;
	memset(&kvm, 0, sizeof(kvm));
	assert_int_equal(entry_set_msrs(77), 0);
	all = kvm.msrs_set;
	assert_true(all >= 2);
	for (uint64_t refused = 0; refused < 1ULL << all; refused++) {
		memset(&kvm, 0, sizeof(kvm));
		kvm.refused = refused;
		assert_int_equal(entry_set_msrs(77), 0);
		assert_int_equal(kvm.msrs_tried, all);
		assert_int_equal(kvm.msrs_set,
				 all - (unsigned)__builtin_popcountll(refused));
	}
	expect_no_log(); /* a host that refuses some is no fault of the user */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_writes_tables),
		cmocka_unit_test(test_entry_has_no_room),
		cmocka_unit_test(test_entry_sets_registers),
		cmocka_unit_test(test_entry_passes_errors_on),
		cmocka_unit_test(test_entry_sets_every_msr_it_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
