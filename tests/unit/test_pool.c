/* SPDX-License-Identifier: Apache-2.0 */
/* uses: mem/pool.c */
/* Pools: each object once, memory only as deep as used, and given back. */
#include <string.h>
#include <sys/mman.h>

#include "mem/pool.h"
#include "tests/unit/unit.h"

#define COUNT 64u
#define SIZE  4096u

/* Bytes of the pool that the host has given. */
static size_t resident(const struct pool *pool)
{
	unsigned char pages[COUNT];
	size_t count = 0;

	assert_int_equal(mincore(pool->at, COUNT * SIZE, pages), 0);
	for (unsigned i = 0; i < COUNT; i++)
		count += pages[i] & 1;
	return count * SIZE;
}

static void test_each_once(void **state)
{
	struct pool pool;
	uint8_t *object;

	(void)state;
	assert_int_equal(pool_create(&pool, 24, COUNT), 0);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_true(pool_has(&pool));
		object = pool_alloc(&pool);
		assert_ptr_equal(object, pool_object(&pool, i));
		for (unsigned n = 0; n < 24; n++)
			assert_int_equal(object[n], 0);
		memset(object, (int)i + 1, 24);
	}
	assert_false(pool_has(&pool));
	assert_null(pool_alloc(&pool));
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(*(uint8_t *)pool_object(&pool, i), i + 1);
	pool_free(&pool, pool_object(&pool, 3));
	pool_free(&pool, pool_object(&pool, 60));
	assert_int_equal(pool.taken, COUNT - 2);
	assert_ptr_equal(pool_alloc(&pool), pool_object(&pool, 60));
	assert_ptr_equal(pool_alloc(&pool), pool_object(&pool, 3));
	assert_null(pool_alloc(&pool));
	pool_destroy(&pool);
	pool_destroy(&pool);
}

static void test_given_back(void **state)
{
	struct pool pool;

	(void)state;
	assert_int_equal(pool_create(&pool, SIZE, COUNT), 0);
	assert_int_equal(resident(&pool), 0);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20; i++)
			memset(pool_alloc(&pool), 0xff, SIZE);
		assert_int_equal(resident(&pool), 20 * SIZE);
		assert_true(pool_is_deep(&pool));
		for (unsigned i = 20; i--;) {
			assert_false(pool_trim(&pool));
			pool_free(&pool, pool_object(&pool, i));
		}
		assert_int_equal(resident(&pool), 20 * SIZE);
		assert_true(pool_trim(&pool));
		assert_int_equal(resident(&pool), POOL_KEPT);
		assert_false(pool_is_deep(&pool));
	}
	/* As deep as it is used, and no deeper. */
	for (unsigned i = 0; i < 1000; i++)
		pool_free(&pool, pool_alloc(&pool));
	assert_int_equal(resident(&pool), POOL_KEPT);
	pool_destroy(&pool);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_once),
		cmocka_unit_test(test_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
