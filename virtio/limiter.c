/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token buckets, for bw=, iops= and pps= of disks and nets.
 *
 * The level is kept in whole tokens and a fraction of 10^-9, so that nothing
 * is lost to rounding however often it is filled up: a rate of R per second
 * gives exactly R tokens in each second. Products of rates and times need 128
 * bits; what leaves them is bounded before it is stored.
 *
 * Trusts its caller for the time. Owns nothing; the caller's thread.
 */
#include "virtio/limiter.h"

#define NS_PER_S 1000000000u

typedef unsigned __int128 wide;

/* Neither a bucket nor a debt is larger: sums of two stay in an int64_t. */
#define LEVEL_MAX (UINT64_C(1) << 62)

static uint64_t smaller_of(uint64_t value, uint64_t max)
{
	return value < max ? value : max;
}

void limiter_init(struct limiter *limiter, uint64_t rate_per_s, uint64_t burst)
{
	burst = burst ? smaller_of(burst, LEVEL_MAX) : 1;
	*limiter = (struct limiter){
		.rate = rate_per_s,
		.burst = burst,
		.level = (int64_t)burst,
	};
}

static void add_tokens(struct limiter *limiter, uint64_t now_ns)
{
	uint64_t room = limiter->burst - (uint64_t)limiter->level;
	wide parts;

	if (now_ns <= limiter->filled_ns)
		return;
	parts = (wide)(now_ns - limiter->filled_ns) * limiter->rate +
		limiter->fraction;
	limiter->filled_ns = now_ns;
	if (parts / NS_PER_S >= room) {
		limiter->level = (int64_t)limiter->burst;
		limiter->fraction = 0;
		return;
	}
	limiter->level += (int64_t)(parts / NS_PER_S);
	limiter->fraction = (uint64_t)(parts % NS_PER_S);
}

/* Until there is one token, rounded up. */
static uint64_t wait_ns(const struct limiter *limiter)
{
	uint64_t lack = (uint64_t)(1 - limiter->level);
	wide parts = (wide)lack * NS_PER_S - limiter->fraction;
	wide ns = (parts + limiter->rate - 1) / limiter->rate;

	return ns < LEVEL_MAX ? (uint64_t)ns : LEVEL_MAX;
}

static void take_tokens(struct limiter *limiter, uint64_t tokens)
{
	const uint64_t room = (uint64_t)limiter->level + LEVEL_MAX;

	limiter->level -=
		(int64_t)smaller_of(smaller_of(tokens, LEVEL_MAX), room);
}

uint64_t limiter_take(struct limiter *limiter, uint64_t tokens, uint64_t now_ns)
{
	if (!limiter->rate)
		return 0;
	add_tokens(limiter, now_ns);
	if (limiter->level <= 0)
		return wait_ns(limiter);
	take_tokens(limiter, tokens);
	return 0;
}

void limiter_owe(struct limiter *limiter, uint64_t tokens)
{
	if (limiter->rate)
		take_tokens(limiter, tokens);
}
