/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/cpuid.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=ioctl */
/* CPUID as guests see it, made from lists like those of Intel's and AMD's. */
#include "cpu/entry.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define BIT(n)	(1u << (n))
#define TSC_KHZ 2400000u

typedef struct kvm_cpuid_entry2 entry;

static const entry intel[] = {
	{ .function = 0, .eax = 0xd, .ebx = 0x756e6547, .ecx = 0x6c65746e },
	{ .function = 1,
	  .eax = 0x50654,
	  .ebx = 0x07200800,
	  .ecx = 0xfffaffff & ~BIT(31),
	  .edx = 0xbfebfbff },
	{ .function = 4, .index = 0, .eax = 0x1c004121, .ebx = 0x01c0003f },
	{ .function = 4, .index = 1, .eax = 0x1c004122, .ebx = 0x01c0003f },
	{ .function = 4, .index = 2, .eax = 0x1c004143, .ebx = 0x03c0003f },
	{ .function = 4, .index = 3, .eax = 0x1c03c163, .ebx = 0x0280003f },
	{ .function = 4, .index = 4, .eax = 0 },
	{ .function = 7, .ebx = 0xd39ffffb },
	{ .function = 0xa, .eax = 0x07300404, .edx = 0x603 },
	{ .function = 0xb, .index = 0, .eax = 1, .ebx = 2, .ecx = 0x100 },
	{ .function = 0xb, .index = 1, .eax = 6, .ebx = 40, .ecx = 0x201 },
	{ .function = 0x40000000, .eax = 0x40000001 },
	{ .function = 0x80000001, .ecx = 0x121, .edx = 0x2c100800 },
	{ .function = 0x80000008, .eax = 0x302e },
};

static const entry amd[] = {
	{ .function = 0, .eax = 0x10, .ebx = 0x68747541, .ecx = 0x444d4163 },
	{ .function = 1, .ebx = 0x04080800, .ecx = 0x7efa3203 },
	{ .function = 0x80000000, .eax = 0x80000022 },
	{ .function = 0x80000001, .ecx = 0x75c237ff, .edx = 0x2fd3fbff },
	{ .function = 0x80000008, .eax = 0x3030, .ecx = 0x7007 },
	{ .function = 0x8000000a, .eax = 1, .ebx = 8, .edx = 0x119b9cff },
	{ .function = 0x8000001d, .index = 0, .eax = 0x4121 },
	{ .function = 0x8000001d, .index = 1, .eax = 0x4122 },
	{ .function = 0x8000001d, .index = 2, .eax = 0x4143 },
	{ .function = 0x8000001d, .index = 3, .eax = 0x1c163 },
	{ .function = 0x8000001d, .index = 4, .eax = 0 },
	{ .function = 0x8000001e, .eax = 7, .ebx = 0x103, .ecx = 0x100 },
	{ .function = 0x80000022, .eax = 1, .ebx = 6 },
};

static const struct count {
	unsigned cpus, bits; /* that an ID takes */
} counts[] = { { 1, 0 }, { 2, 1 }, { 6, 3 }, { 8, 3 }, { 254, 8 } };

static struct cpuid cpuid;

static void fill_list(const entry *list, size_t count)
{
	memset(&cpuid, 0, sizeof(cpuid));
	memcpy(cpuid.entry, list, count * sizeof(*list));
	cpuid.header.nent = (uint32_t)count;
}

static const entry *find(uint32_t function, uint32_t index)
{
	const entry *found = NULL;

	for (uint32_t i = 0; i < cpuid.header.nent; i++) {
		const entry *e = &cpuid.entry[i];

		if (e->function != function || e->index != index)
			continue;
		if (found)
			fail_msg("0x%x.%u is there twice", function, index);
		found = e;
	}
	return found;
}

static const entry *get(uint32_t function, uint32_t index)
{
	const entry *e = find(function, index);

	if (!e)
		fail_msg("0x%x.%u is not there", function, index);
	return e;
}

static void expect_clear(uint32_t function)
{
	const entry *e = get(function, 0);

	assert_int_equal(e->eax | e->ebx | e->ecx | e->edx, 0);
}

static void expect_topology(uint32_t function, const struct count *count)
{
	const entry *e = get(function, 0);

	assert_int_equal(e->eax, 0);
	assert_int_equal(e->ebx, 1);
	assert_int_equal(e->ecx, 0x100);
	e = get(function, 1);
	assert_int_equal(e->eax, count->bits);
	assert_int_equal(e->ebx, count->cpus);
	assert_int_equal(e->ecx, 0x201);
	e = get(function, 2); /* the level that ends the list */
	assert_int_equal(e->eax | e->ebx, 0);
	assert_int_equal(e->ecx, 2);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(get(function, i)->flags &
			    KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
}

/* Leaf 1 is the same for both makers. */
static void expect_features(const struct cpuid_options *o, unsigned bits)
{
	const entry *e = get(1, 0);
	unsigned logical = bits == 8 ? 255 : 1u << bits;

	assert_int_equal(e->ebx >> 16, logical);
	assert_int_equal(e->ebx & 0xffff, 0x0800);
	assert_int_equal(!!(e->edx & BIT(28)), o->count > 1);
	assert_true(e->ecx & BIT(31));
	assert_false(e->ecx & (BIT(15) | BIT(3)));
	assert_int_equal(!!(e->ecx & BIT(24)), o->tsc_deadline);
}

static void expect_tsc(void)
{
	const entry *e = get(0x15, 0);
	uint64_t hz = (uint64_t)e->ecx * e->ebx / e->eax;

	assert_int_equal(hz, TSC_KHZ * 1000ULL);
	assert_int_equal(get(0x16, 0)->eax, TSC_KHZ / 1000);
}

static void test_cpuid_of_intel(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts) * 4; i++) {
		const struct count *count = &counts[i / 4];
		const struct cpuid_options o = {
			.count = count->cpus,
			.tsc_khz = TSC_KHZ,
			.nested = i & 1,
			.tsc_deadline = i & 2,
		};
		unsigned all = (1u << count->bits) - 1;

		fill_list(intel, ARRAY_LEN(intel));
		cpuid_apply(&cpuid, &o);
		expect_features(&o, count->bits);
		assert_int_equal(!!(get(1, 0)->ecx & BIT(5)), o.nested);
		assert_int_equal(get(0, 0)->eax, 0x16);
		for (uint32_t j = 0; j < 4; j++) {
			uint32_t eax = get(4, j)->eax;

			assert_int_equal(eax & 0x3fff,
					 intel[2 + j].eax & 0x3fff);
			assert_int_equal(eax >> 14 & 0xfff, j == 3 ? all : 0);
			assert_int_equal(eax >> 26, all > 63 ? 63 : all);
			assert_int_equal(get(4, j)->ebx, intel[2 + j].ebx);
		}
		assert_int_equal(get(4, 4)->eax, 0);
		assert_int_equal(get(7, 0)->ebx, 0xd39ffffb);
		expect_clear(0xa);
		expect_topology(0xb, count);
		assert_null(find(0x1f, 0));
		expect_tsc();
	}
}

static void test_cpuid_of_amd(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counts) * 2; i++) {
		const struct count *count = &counts[i / 2];
		const struct cpuid_options o = {
			.count = count->cpus,
			.tsc_khz = TSC_KHZ,
			.nested = i & 1,
		};
		uint32_t ecx;

		fill_list(amd, ARRAY_LEN(amd));
		cpuid_apply(&cpuid, &o);
		expect_features(&o, count->bits);
		ecx = get(0x80000001, 0)->ecx;
		assert_int_equal(!!(ecx & BIT(2)), o.nested);
		assert_int_equal(!!(ecx & BIT(1)), o.count > 1);
		assert_false(ecx & (BIT(23) | BIT(24) | BIT(28)));
		assert_int_equal(ecx | 0x11800006, 0x75c237ff | 0x11800006);
		ecx = get(0x80000008, 0)->ecx;
		assert_int_equal(ecx & 0xff, o.count - 1);
		assert_int_equal(ecx >> 12 & 0xf, count->bits);
		if (o.nested)
			assert_int_equal(get(0x8000000a, 0)->edx, 0x119b9cff);
		else
			expect_clear(0x8000000a);
		for (uint32_t j = 0; j < 4; j++)
			assert_int_equal(get(0x8000001d, j)->eax >> 14,
					 j == 3 ? (1u << count->bits) - 1 : 0);
		assert_int_equal(get(0x8000001d, 4)->eax, 0);
		expect_clear(0x80000022);
		expect_topology(0xb, count);
	}
}

/* Leaf 0x1f is made where the processor has it, never left as the host's. */
static void test_cpuid_makes_leaf_1f(void **state)
{
	const struct cpuid_options o = { .count = 6 };
	entry list[ARRAY_LEN(intel) + 2];

	(void)state;
	memcpy(list, intel, sizeof(intel));
	list[0].eax = 0x20;
	list[ARRAY_LEN(intel)] = (entry){ .function = 0x1f, .ebx = 99 };
	list[ARRAY_LEN(intel) + 1] =
		(entry){ .function = 0x1f, .index = 5, .ebx = 99 };
	fill_list(list, ARRAY_LEN(list));
	cpuid_apply(&cpuid, &o);
	expect_topology(0x1f, &counts[2]);
	assert_null(find(0x1f, 5));
	assert_int_equal(get(0, 0)->eax, 0x20);
	/* The TSC's frequency is not known: nothing is said of it. */
	assert_null(find(0x15, 0));
}

static void test_cpuid_sets_cpu_ids(void **state)
{
	static const uint32_t ids[] = { 0, 1, 5, 253, 2 };
	const struct cpuid_options o = { .count = 254 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
		if (!i) {
			fill_list(amd, ARRAY_LEN(amd));
			cpuid_apply(&cpuid, &o);
		}
		cpuid_set_id(&cpuid, ids[i]);
		assert_int_equal(get(1, 0)->ebx, ids[i] << 24 | 0xff0800);
		for (uint32_t level = 0; level < 3; level++)
			assert_int_equal(get(0xb, level)->edx, ids[i]);
		assert_int_equal(get(0x8000001e, 0)->eax, ids[i]);
		assert_int_equal(get(0x8000001e, 0)->ebx, ids[i]);
		assert_int_equal(get(0x8000001e, 0)->ecx, 0);
		assert_int_equal(get(0x80000008, 0)->ecx & 0xff, 253);
	}
}

/* All that is added fits into what cpuid_create leaves; no more is written. */
static void test_cpuid_fills_no_more_than_its_room(void **state)
{
	const struct cpuid_options o = { .count = 2, .tsc_khz = TSC_KHZ };
	static const unsigned used[] = { CPUID_ENTRIES_MAX - 8,
					 CPUID_ENTRIES_MAX - 3,
					 CPUID_ENTRIES_MAX };
	static struct {
		struct cpuid cpuid;
		uint8_t after[64];
	} room;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(used); i++) {
		memset(&room, 0x5a, sizeof(room));
		room.cpuid.header.nent = used[i];
		for (unsigned j = 0; j < used[i]; j++)
			room.cpuid.entry[j] =
				(entry){ .function = 0x50000000 + j };
		room.cpuid.entry[0] = (entry){ .function = 0, .eax = 0x20 };
		cpuid_apply(&room.cpuid, &o);
		assert_int_equal(room.cpuid.header.nent, CPUID_ENTRIES_MAX);
		for (size_t j = 0; j < sizeof(room.after); j++)
			assert_int_equal(room.after[j], 0x5a);
		cpuid = room.cpuid;
		assert_int_equal(!!find(0x16, 0),
				 used[i] == CPUID_ENTRIES_MAX - 8);
	}
	/* Without leaf 0 there is no maximum to raise. */
	fill_list(intel + 1, 3);
	cpuid_apply(&cpuid, &o);
	assert_int_equal(cpuid.header.nent, 3);
}

static int fake_error;
int __wrap_ioctl(int fd, unsigned long request, struct kvm_cpuid2 *list);

int __wrap_ioctl(int fd, unsigned long request, struct kvm_cpuid2 *list)
{
	assert_int_equal(fd, 77);
	assert_int_equal(request, KVM_GET_SUPPORTED_CPUID);
	assert_true(list->nent <= CPUID_ENTRIES_MAX - 8);
	memcpy(list->entries, intel, sizeof(intel));
	list->nent = ARRAY_LEN(intel);
	errno = fake_error;
	return fake_error ? -1 : 0;
}

static void test_cpuid_created_from_kvm(void **state)
{
	const struct cpuid_options o = { .count = 2 };

	(void)state;
	memset(&cpuid, 0xff, sizeof(cpuid));
	assert_int_equal(cpuid_create(&cpuid, 77, &o), 0);
	expect_topology(0xb, &counts[1]);
	assert_int_equal(cpuid.header.padding, 0);
	expect_no_log();
	fake_error = E2BIG;
	assert_int_equal(cpuid_create(&cpuid, 77, &o), -E2BIG);
	expect_log("KVM_GET_SUPPORTED_CPUID");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cpuid_of_intel),
		cmocka_unit_test(test_cpuid_of_amd),
		cmocka_unit_test(test_cpuid_makes_leaf_1f),
		cmocka_unit_test(test_cpuid_sets_cpu_ids),
		cmocka_unit_test(test_cpuid_fills_no_more_than_its_room),
		cmocka_unit_test(test_cpuid_created_from_kvm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
