/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/limiter.c */
/* Token buckets: what passes when, and that no token is lost or invented. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "virtio/limiter.h"

#define S 1000000000ULL

static struct limiter limiter;

static void test_limiter_unlimited(void **state)
{
	struct limiter zero = { 0 };

	(void)state;
	limiter_init(&limiter, 0, 1);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(limiter_take(&limiter, UINT64_MAX, 5), 0);
		assert_int_equal(limiter_take(&zero, UINT64_MAX, 5), 0);
	}
}

/* The burst at once, then one at a time at the rate. */
static void test_limiter_bursts_then_keeps_the_rate(void **state)
{
	uint64_t now = 77 * S;

	(void)state;
	limiter_init(&limiter, 100, 10);
	for (int i = 0; i < 10; i++)
		assert_int_equal(limiter_take(&limiter, 1, now), 0);
	assert_int_equal(limiter_take(&limiter, 1, now), S / 100);
	assert_int_equal(limiter_take(&limiter, 1, now + S / 200), S / 200);
	assert_int_equal(limiter_take(&limiter, 1, now + S / 100 - 1), 1);
	assert_int_equal(limiter_take(&limiter, 1, now + S / 100), 0);
	assert_int_equal(limiter_take(&limiter, 1, now + S / 100), S / 100);
	/* However long it rests, it holds no more than the burst. */
	now += 1000 * S;
	for (int i = 0; i < 10; i++)
		assert_int_equal(limiter_take(&limiter, 1, now), 0);
	assert_int_equal(limiter_take(&limiter, 1, now), S / 100);
}

/* What is larger than the burst passes once and is waited for afterwards. */
static void test_limiter_lets_one_overdraw(void **state)
{
	(void)state;
	limiter_init(&limiter, 1000, 10);
	assert_int_equal(limiter_take(&limiter, 1010, S), 0);
	/* 1000 below zero: a second to zero, and one token more. */
	assert_int_equal(limiter_take(&limiter, 1, S), S + S / 1000);
	assert_int_equal(limiter_take(&limiter, 0, 2 * S), S / 1000);
	assert_int_equal(limiter_take(&limiter, 5000, 2 * S + S / 1000), 0);
	assert_int_equal(limiter_take(&limiter, 1, 2 * S + S / 1000), 5 * S);
}

static void test_limiter_of_a_zero_burst(void **state)
{
	(void)state;
	limiter_init(&limiter, 1, 0);
	assert_int_equal(limiter_take(&limiter, 1, 0), 0);
	assert_int_equal(limiter_take(&limiter, 1, 0), S);
	assert_int_equal(limiter_take(&limiter, 1, S), 0);
}

static void test_limiter_while_the_clock_stands(void **state)
{
	(void)state;
	limiter_init(&limiter, 10, 1);
	assert_int_equal(limiter_take(&limiter, 1, 5 * S), 0);
	assert_int_equal(limiter_take(&limiter, 1, 4 * S), S / 10);
	assert_int_equal(limiter_take(&limiter, 1, 5 * S), S / 10);
	assert_int_equal(limiter_take(&limiter, 1, 5 * S + S / 10), 0);
}

/*
 * Against a model that knows only sums. Whoever waits exactly as long as told
 * passes then, and not a nanosecond earlier; what passed and what is left is
 * the burst and what the rate gave since, to the token. (The burst is large
 * enough for the bucket not to be full again: then tokens are lost by design.)
 */
static void check_sums(uint64_t rate, uint64_t burst, uint64_t largest)
{
	unsigned __int128 passed = 0, given;
	uint64_t now = 3, tokens, wait;

	limiter_init(&limiter, rate, burst);
	for (int i = 0; i < 2000; i++) {
		tokens = 1 + (uint64_t)rand() % largest;
		wait = limiter_take(&limiter, tokens, now);
		if (wait > 2) {
			now += (uint64_t)rand() % (wait - 1);
			wait = limiter_take(&limiter, tokens, now);
			assert_int_not_equal(wait, 0);
		}
		if (wait) {
			if (wait > 1)
				assert_int_not_equal(
					limiter_take(&limiter, tokens,
						     now + wait - 1),
					0);
			now += wait;
			assert_int_equal(limiter_take(&limiter, tokens, now),
					 0);
		}
		passed += tokens;
		given = (unsigned __int128)rate * (now - 3) / S + burst;
		assert_true(passed + (unsigned __int128)limiter.level == given);
	}
}

static void test_limiter_adds_up(void **state)
{
	(void)state;
	srand(1);
	check_sums(1, 2, 3);
	check_sums(3, 7, 10);
	check_sums(999999937, 4096, 65536);
	check_sums(10000000000ULL, 1 << 20, 1 << 20);
	check_sums(7, 1000000, 100000);
}

static void test_limiter_loses_nothing_by_rounding(void **state)
{
	uint64_t now = 0, passed = 0;

	(void)state;
	/* 3 per second looked at every 100 us: a third of it lost if rounded */
	limiter_init(&limiter, 3, 2);
	for (; now <= 1000 * S; now += S / 10000)
		passed += !limiter_take(&limiter, 1, now);
	assert_int_equal(passed, 3 * 1000 + 2);
}

static void test_limiter_of_extreme_rates(void **state)
{
	(void)state;
	limiter_init(&limiter, 1, UINT64_MAX);
	for (int i = 0; i < 4; i++)
		limiter_take(&limiter, UINT64_MAX, (uint64_t)i);
	assert_in_range(limiter_take(&limiter, 1, 4), S - 4, UINT64_MAX / 2);
	limiter_init(&limiter, UINT64_MAX, UINT64_MAX);
	for (int i = 0; i < 4; i++)
		assert_int_equal(limiter_take(&limiter, UINT64_MAX,
					      UINT64_MAX / 4 * (uint64_t)i),
				 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limiter_unlimited),
		cmocka_unit_test(test_limiter_bursts_then_keeps_the_rate),
		cmocka_unit_test(test_limiter_lets_one_overdraw),
		cmocka_unit_test(test_limiter_of_a_zero_burst),
		cmocka_unit_test(test_limiter_while_the_clock_stands),
		cmocka_unit_test(test_limiter_adds_up),
		cmocka_unit_test(test_limiter_loses_nothing_by_rounding),
		cmocka_unit_test(test_limiter_of_extreme_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
