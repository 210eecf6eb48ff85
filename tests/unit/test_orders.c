/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/orders.c mem/state.c */
/* ldflags: -Wl,--wrap=realloc */
/* What init is told: how it is put together, and what a snapshot may have. */
#include <stdlib.h>

#include "cpu/command/orders.h"
#include "mem/util.h"
#include "tests/unit/unit.h"

static struct orders orders;
static uint8_t bytes[1 << 16];

void *__wrap_realloc(void *at, size_t size);

/* libc moves what is long by mremap(2), which the sandbox does not allow. */
void *__wrap_realloc(void *at, size_t size)
{
	(void)at;
	(void)size;
	fail_msg("realloc");
	return NULL;
}

static int clean(void **state)
{
	(void)state;
	orders_free(&orders);
	return 0;
}

static void must_be(const char *text, size_t len)
{
	assert_false(orders.failed);
	assert_int_equal(orders.len, len);
	assert_memory_equal(orders.bytes, text, len);
}
#define MUST_BE(text) must_be(text, sizeof(text) - 1)

static void test_orders_added(void **state)
{
	(void)state;
	orders_add(&orders, RUN_ARGUMENT, "ls");
	orders_add(&orders, RUN_ARGUMENT, "");
	orders_add_pair(&orders, RUN_ENV, "A", "b=c");
	orders_add_mac(&orders, (const uint8_t[6]){ 2, 0, 0xab, 0, 0, 1 },
		       (const uint8_t[6]){ 2, 1, 2, 3, 4, 0xff });
	MUST_BE("als\0a\0eA=b=c\0M02:00:ab:00:00:01 02:01:02:03:04:ff\0");
	orders_free(&orders);
	assert_int_equal(orders.len, 0);
	orders_free(&orders);
}

static void test_orders_long(void **state)
{
	static char word[3000];
	const unsigned count = 100;

	(void)state;
	memset(word, 'x', sizeof(word) - 1);
	for (unsigned i = 0; i < count; i++)
		orders_add(&orders, RUN_ARGUMENT, word);
	assert_false(orders.failed);
	assert_int_equal(orders.len, count * (1 + sizeof(word)));
	for (unsigned i = 0; i < count; i++) {
		const char *at = orders.bytes + i * (1 + sizeof(word));

		assert_int_equal(*at, RUN_ARGUMENT);
		assert_string_equal(at + 1, word);
	}
}

/* No two guests have the same. */
static void test_orders_random(void **state)
{
	char first[64];

	(void)state;
	orders_add_random(&orders);
	assert_int_equal(orders.len, 1 + 64 + 1);
	assert_int_equal(orders.bytes[0], RUN_RANDOM);
	assert_int_equal(strspn(orders.bytes + 1, "0123456789abcdef"), 64);
	memcpy(first, orders.bytes + 1, sizeof(first));
	orders_free(&orders);
	orders_add_random(&orders);
	assert_memory_not_equal(first, orders.bytes + 1, sizeof(first));
}

static size_t save(uint32_t len)
{
	struct state s = state_save(bytes, sizeof(bytes));

	orders_state(&orders, len, &s);
	assert_true(state_is_whole(&s));
	return s.at;
}

/* What is one clone's own does not go into a snapshot. */
static void test_orders_saved(void **state)
{
	struct state s;
	size_t len;

	(void)state;
	orders_add(&orders, RUN_ARGUMENT, "ls");
	orders_add_pair(&orders, RUN_ENV, "A", "");
	orders_add(&orders, RUN_WORKDIR, "/");
	orders_add(&orders, RUN_USER, "1:2");
	orders_add(&orders, RUN_HOSTNAME, "it");
	orders_add(&orders, RUN_TTY, "");
	orders_add(&orders, RUN_NO_SERIAL, "");
	orders_add(&orders, RUN_PROGRAM, "");
	orders_add(&orders, RUN_EXEC, "");
	len = orders.len;
	orders_add_random(&orders);
	assert_int_equal(save((uint32_t)len), 4 + len);
	orders_free(&orders);
	s = state_load(bytes, 4 + len);
	orders_state(&orders, 0, &s);
	assert_true(state_is_whole(&s));
	MUST_BE("als\0eA=\0w/\0u1:2\0Hit\0t\0s\0p\0x\0");
	/* and can be added to */
	orders_add(&orders, RUN_HOSTNAME, "me");
	MUST_BE("als\0eA=\0w/\0u1:2\0Hit\0t\0s\0p\0x\0Hme\0");
}

static const char *load(const void *strings, uint32_t said, size_t len)
{
	struct state s;

	put_le32(bytes, said);
	memcpy(bytes + 4, strings, len);
	s = state_load(bytes, 4 + len);
	orders_state(&orders, 0, &s);
	state_is_whole(&s);
	return s.wrong;
}

static void test_orders_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
	} bad[] = {
		{ "", 0 },	    { "\0", 1 },       { "a", 1 },
		{ "als", 3 },	   /* no end */
		{ "eA=1\0", 5 },   /* no argument */
		{ "als\0\0", 5 },  /* no type */
		{ "als\0z\0", 6 }, /* not this one */
		{ "als\0R0\0", 7 }, { "als\0M\0", 6 }, { "als\0t\0w", 7 },
	};
	static const uint8_t zeros[64];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_string_equal(
			load(bad[i].text, (uint32_t)bad[i].len, bad[i].len),
			"its command makes no sense");
	/* Nothing is allocated for what is not there. */
	for (uint32_t said = 5; said; said <<= 1)
		assert_string_equal(load("als\0", said, 4),
				    "its command is longer than what there is "
				    "of it");
	assert_string_equal(load(zeros, UINT32_MAX, sizeof(zeros)),
			    "its command is longer than what there is of it");
	assert_string_equal(load("als\0", 4, 5), "it is too long");
	assert_null(load("als\0", 4, 4));
	/* the length itself is cut off */
	for (size_t len = 0; len < 4; len++) {
		struct state s = state_load(bytes, len);

		orders_state(&orders, 0, &s);
		assert_string_equal(s.wrong, "it is too short");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_orders_added, clean),
		cmocka_unit_test_teardown(test_orders_long, clean),
		cmocka_unit_test_teardown(test_orders_random, clean),
		cmocka_unit_test_teardown(test_orders_saved, clean),
		cmocka_unit_test_teardown(test_orders_refused, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
