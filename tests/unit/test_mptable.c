/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/mptable.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* The MultiProcessor table, walked as a kernel walks it. */
#include "boot/layout.h"
#include "cpu/vm.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static uint8_t sum(const uint8_t *bytes, size_t len)
{
	uint8_t total = 0;

	while (len--)
		total = (uint8_t)(total + *bytes++);
	return total;
}

/* MP specification 1.4, table 4-3: the length of an entry by its type. */
static size_t entry_size(uint8_t type)
{
	assert_true(type <= 4);
	return type ? 8 : 20;
}

static void check(unsigned cpus)
{
	unsigned seen[5] = { 0 }, boot = 0, count = 0;
	const uint8_t *mp, *table;
	struct ram ram;
	size_t len;

	make_ram(&ram, 32 * MIB);
	assert_int_equal(mptable_write(&ram, cpus), 0);
	mp = ram_span(&ram, LAYOUT_MPTABLE, 16);
	assert_memory_equal(mp, "_MP_", 4);
	assert_int_equal(mp[8], 1);
	assert_int_equal(sum(mp, 16), 0);
	assert_int_equal(mp[11], 0); /* a table, no default configuration */
	table = ram_span(&ram, GPA(get_le32(mp + 4)), 44);
	assert_memory_equal(table, "PCMP", 4);
	len = get_le16(table + 4);
	assert_true(get_le32(mp + 4) + len <=
		    LAYOUT_MPTABLE.v + LAYOUT_MPTABLE_SIZE);
	assert_int_equal(sum(table, len), 0);
	assert_int_equal(get_le32(table + 36), LAYOUT_LAPIC);
	for (size_t at = 44; at < len; at += entry_size(table[at])) {
		const uint8_t *e = table + at;

		count++;
		switch (e[0]) {
		case 0:
			assert_int_equal(e[1], seen[0]);
			assert_true(e[3] & 1);
			boot += e[3] >> 1 & 1;
			break;
		case 1:
			assert_memory_equal(e + 2, "ISA   ", 6);
			break;
		case 2:
			assert_int_equal(e[1], cpus); /* no processor's ID */
			assert_int_equal(get_le32(e + 4), LAYOUT_IOAPIC);
			break;
		case 3: /* pin N is GSI N */
			assert_int_equal(e[5], seen[3]);
			assert_int_equal(e[7], e[5]);
			assert_int_equal(e[6], cpus);
			break;
		default:
			assert_int_equal(e[1], 1); /* NMI ... */
			assert_int_equal(e[6], 0xff);
			assert_int_equal(e[7], 1); /* ... on LINT1 of all */
		}
		seen[e[0]]++;
	}
	assert_int_equal(get_le16(table + 34), count);
	assert_int_equal(seen[0], cpus);
	assert_int_equal(boot, 1);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 1);
	assert_int_equal(seen[3], VM_GSI_COUNT);
	assert_int_equal(seen[4], 1);
	expect_zero(&ram, get_le32(mp + 4) + len, 64);
	ram_destroy(&ram);
}

static void test_tables(void **state)
{
	(void)state;
	check(1);
	check(2);
	check(64);
	check(VM_CPUS_MAX);
	check(1); /* nothing is left of the last one */
	expect_no_log();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
