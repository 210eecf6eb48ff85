/* SPDX-License-Identifier: Apache-2.0 */
/* uses: mem/state.c */
/* State as bytes: one list of fields, both ways. */
#include "tests/unit/unit.h"

#include "mem/state.h"
#include "mem/util.h"

struct fields {
	uint8_t a;
	uint16_t b;
	uint32_t c;
	uint64_t d;
	bool e;
	unsigned f;
	uint8_t g[3];
};

static const struct fields some = {
	1, 0x203, 0x4050607, 0x8090a0b0c0d0e0fULL, true, 77, { 1, 2, 3 }
};

/* 1 + 2 + 4 + 8 + 1 + 4 + 3 */
#define FIELDS_LEN 23

static void fields_state(struct fields *f, struct state *s)
{
	state_u8(s, &f->a);
	state_u16(s, &f->b);
	state_u32(s, &f->c);
	state_u64(s, &f->d);
	state_bool(s, &f->e);
	state_unsigned(s, &f->f);
	state_bytes(s, f->g, sizeof(f->g));
}

static void must_be_some(const struct fields *f)
{
	assert_int_equal(f->a, some.a);
	assert_int_equal(f->b, some.b);
	assert_int_equal(f->c, some.c);
	assert_true(f->d == some.d);
	assert_true(f->e);
	assert_int_equal(f->f, some.f);
	assert_memory_equal(f->g, some.g, sizeof(f->g));
}

static void test_state_both_ways(void **state)
{
	uint8_t bytes[FIELDS_LEN];
	struct fields f = some, loaded = { 0 };
	struct state s = state_save(bytes, sizeof(bytes));

	(void)state;
	fields_state(&f, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(s.at, FIELDS_LEN);
	must_be_some(&f);
	/* little-endian, without gaps */
	assert_int_equal(bytes[1], 0x03);
	assert_int_equal(bytes[2], 0x02);
	assert_int_equal(bytes[3], 0x07);
	s = state_load(bytes, sizeof(bytes));
	fields_state(&loaded, &s);
	assert_true(state_is_whole(&s));
	must_be_some(&loaded);
}

/* Whatever is missing, what could not be loaded is 0. */
static void test_state_short(void **state)
{
	static const uint8_t zeros[sizeof(struct fields)];
	uint8_t bytes[FIELDS_LEN];
	struct fields f = some;
	struct state s = state_save(bytes, sizeof(bytes));

	(void)state;
	fields_state(&f, &s);
	for (size_t len = 0; len < FIELDS_LEN; len++) {
		memset(&f, 0xff, sizeof(f));
		s = state_load(bytes, len);
		fields_state(&f, &s);
		assert_false(state_is_whole(&s));
		assert_string_equal(s.wrong, "it is too short");
		assert_memory_equal(f.g, zeros, sizeof(f.g));
		f = some;
		s = state_save(bytes, len);
		fields_state(&f, &s);
		assert_false(state_is_whole(&s));
		assert_string_equal(s.wrong, "there is no room for it");
		must_be_some(&f);
		s = state_save(bytes, sizeof(bytes));
		fields_state(&f, &s);
	}
}

static void test_state_long(void **state)
{
	static const uint8_t bytes[FIELDS_LEN + 1];
	struct fields f;
	struct state s = state_load(bytes, sizeof(bytes));

	(void)state;
	fields_state(&f, &s);
	assert_null(s.wrong);
	assert_false(state_is_whole(&s));
	assert_string_equal(s.wrong, "it is too long");
}

/* The first that is wrong counts; nothing is judged while saving. */
static void test_state_wrong(void **state)
{
	uint8_t bytes[2] = { 2, 3 };
	struct state s = state_load(bytes, sizeof(bytes));
	bool flag = true;
	uint8_t value = 7;

	(void)state;
	state_bool(&s, &flag);
	assert_string_equal(s.wrong, "a flag is neither 0 nor 1");
	state_u8(&s, &value);
	assert_int_equal(value, 0);
	assert_false(state_check(&s, false, "something else"));
	assert_string_equal(s.wrong, "a flag is neither 0 nor 1");
	s = state_save(bytes, sizeof(bytes));
	assert_true(state_check(&s, false, "something else"));
}

static void test_state_words_made_here(void **state)
{
	uint8_t bytes[4] = { 0 };
	struct state s = state_save(bytes, sizeof(bytes));
	uint32_t value = 7;

	(void)state;
	state_refuse(&s, "disk %u does not answer", 3);
	state_refuse(&s, "not this");
	assert_string_equal(s.wrong, "disk 3 does not answer");
	state_u32(&s, &value);
	assert_int_equal(s.at, 0);
	assert_false(state_is_whole(&s));
	/* the words of others stay */
	s = state_load(bytes, 0);
	state_u32(&s, &value);
	state_refuse(&s, "not this");
	assert_string_equal(s.wrong, "it is too short");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_both_ways),
		cmocka_unit_test(test_state_short),
		cmocka_unit_test(test_state_long),
		cmocka_unit_test(test_state_wrong),
		cmocka_unit_test(test_state_words_made_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
