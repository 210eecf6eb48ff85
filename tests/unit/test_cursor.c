/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/queue_help.c */
/* Cursors over the buffers of a chain. */
#include "tests/unit/queue_help.h"

/* -- cursors -------------------------------------------------------------- */

static void take_mixed_text(void)
{
	static const struct ring_buffer text[] = {
		{ { DATA }, 3, false },		{ { DATA + 0x100 }, 1, false },
		{ { DATA + 0x200 }, 6, false }, { { DATA + 0x300 }, 2, true },
		{ { DATA + 0x400 }, 4, true },
	};

	start(false, false);
	ram_write(&ram, GPA(DATA), "abc", 3);
	ram_write(&ram, GPA(DATA + 0x100), "d", 1);
	ram_write(&ram, GPA(DATA + 0x200), "efghij", 6);
	ram_clear(&ram, GPA(DATA + 0x300), 0x200);
	ring_add_chain(&ring, text, ARRAY_LEN(text));
	assert_int_equal(queue_pop(&queue, &chain), 1);
}

static void test_cursor_gets_and_skips(void **state)
{
	char out[11] = "";
	struct cursor cursor;

	(void)state;
	for (size_t step = 1; step <= 10; step++) {
		take_mixed_text();
		cursor = chain_reader(&chain);
		for (size_t at = 0; at < 10; at += step) {
			size_t n = 10 - at < step ? 10 - at : step;

			assert_int_equal(cursor.left, 10 - at);
			assert_true(cursor_get(&cursor, out + at, n));
		}
		assert_string_equal(out, "abcdefghij");
		assert_false(cursor_get(&cursor, out, 1));
		assert_true(cursor_get(&cursor, out, 0));
		cursor = chain_reader(&chain);
		assert_false(cursor_get(&cursor, out, 11));
		assert_true(cursor_skip(&cursor, step - 1));
		assert_true(cursor_get(&cursor, out, 1));
		assert_int_equal(out[0], "abcdefghij"[step - 1]);
		assert_false(cursor_skip(&cursor, 11 - step));
		assert_true(cursor_skip(&cursor, 10 - step));
		assert_int_equal(cursor.left, 0);
	}
}

static void test_cursor_puts(void **state)
{
	struct cursor cursor;

	(void)state;
	take_mixed_text();
	cursor = chain_writer(&chain);
	assert_int_equal(cursor.left, 6);
	assert_false(cursor_put(&cursor, "1234567", 7));
	expect_zero(&ram, DATA + 0x300, 0x200);
	assert_true(cursor_put(&cursor, "123", 3));
	assert_true(cursor_put(&cursor, "45", 2));
	assert_false(cursor_put(&cursor, "67", 2));
	assert_true(cursor_put(&cursor, "6", 1));
	expect_bytes(&ram, DATA + 0x300, "12", 2);
	expect_zero(&ram, DATA + 0x302, 0x100 - 2);
	expect_bytes(&ram, DATA + 0x400, "3456", 4);
	expect_zero(&ram, DATA + 0x404, 8);
	/* A part that a chain does not have is empty. */
	chain.readable = chain.count;
	chain.write_len = 0;
	cursor = chain_writer(&chain);
	assert_false(cursor_put(&cursor, "1", 1));
	assert_false(cursor_skip(&cursor, 1));
}

static void test_cursor_makes_iovecs(void **state)
{
	struct iovec iov[8];
	struct cursor cursor;
	size_t bytes;

	(void)state;
	take_mixed_text();
	cursor = chain_reader(&chain);
	assert_int_equal(cursor_iov(&cursor, 100, iov, 8, &bytes), 3);
	assert_int_equal(bytes, 10);
	assert_memory_equal(iov[2].iov_base, "efghij", 6);
	assert_int_equal(cursor_iov(&cursor, 100, iov, 8, &bytes), 0);
	assert_int_equal(bytes, 0);

	cursor = chain_reader(&chain);
	assert_true(cursor_skip(&cursor, 1));
	assert_int_equal(cursor_iov(&cursor, 5, iov, 8, &bytes), 3);
	assert_int_equal(bytes, 5);
	assert_memory_equal(iov[0].iov_base, "bc", 2);
	assert_int_equal(iov[0].iov_len, 2);
	assert_int_equal(iov[2].iov_len, 2);
	assert_int_equal(cursor_iov(&cursor, 5, iov, 8, &bytes), 1);
	assert_int_equal(bytes, 4);
	assert_memory_equal(iov[0].iov_base, "ghij", 4);

	cursor = chain_reader(&chain);
	assert_int_equal(cursor_iov(&cursor, 100, iov, 2, &bytes), 2);
	assert_int_equal(bytes, 4);
	assert_int_equal(cursor_iov(&cursor, 100, iov, 0, &bytes), 0);
	assert_int_equal(bytes, 0);
	assert_int_equal(cursor.left, 6);
	assert_int_equal(cursor_iov(&cursor, 0, iov, 2, &bytes), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cursor_gets_and_skips),
		cmocka_unit_test(test_cursor_puts),
		cmocka_unit_test(test_cursor_makes_iovecs),
	};

	return cmocka_run_group_tests(tests, make, destroy);
}
