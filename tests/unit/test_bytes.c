/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian fields and checked arithmetic (mem/util.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mem/util.h"

static void test_bytes_little_endian(void **state)
{
	const uint8_t bytes[9] = { 0xee, 1, 2, 3, 4, 5, 6, 7, 0x88 };
	uint8_t out[9] = { 0 };

	(void)state;
	assert_int_equal(get_le16(bytes + 1), 0x0201);
	assert_int_equal(get_le32(bytes + 1), 0x04030201);
	assert_true(get_le64(bytes + 1) == 0x8807060504030201);
	put_le64(out + 1, 0x8807060504030201);
	assert_memory_equal(out + 1, bytes + 1, 8);
	assert_int_equal(out[0], 0);
	put_le32(out, 0xa1b2c3d4);
	put_le16(out + 1, 0xbeef);
	assert_int_equal(get_le32(out), 0xa1beefd4);
}

static void test_bytes_sums_and_rounding(void **state)
{
	uint64_t sum;

	(void)state;
	assert_false(add_wraps(UINT64_MAX - 1, 1, &sum));
	assert_true(sum == UINT64_MAX);
	assert_true(add_wraps(UINT64_MAX, 1, &sum));
	assert_true(add_wraps(1ULL << 63, 1ULL << 63, &sum));
	assert_true(round_up(0, 4096) == 0);
	assert_true(round_up(1, 4096) == 4096);
	assert_true(round_up(4096, 4096) == 4096);
	assert_true(round_up(0xfffff001, 4096) == 0x100000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes_little_endian),
		cmocka_unit_test(test_bytes_sums_and_rounding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
