/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token bucket: so many tokens (bytes, operations, packets) per second, and
 * a burst of so many at once. Arithmetic only: the caller brings the time, and
 * arms its own loop_timer for as long as it is told to wait.
 */
#ifndef VIRTIO_LIMITER_H
#define VIRTIO_LIMITER_H

#include <stdint.h>

/* All zero is a limiter that limits nothing. */
struct limiter {
	uint64_t rate;	    /* tokens per second; 0: no limit */
	uint64_t burst;	    /* what the bucket holds */
	int64_t level;	    /* what is in it; below 0: overdrawn */
	uint64_t fraction;  /* of a token, in 10^-9 */
	uint64_t filled_ns; /* when it was last filled up */
};

/* Starts full. A burst of 0 is taken for 1: nothing would ever pass. */
void limiter_init(struct limiter *limiter, uint64_t rate_per_s, uint64_t burst);

/*
 * Takes tokens: 0, go on; else nothing was taken, and the nanoseconds to wait
 * before trying again. While there is a token in the bucket any number can be
 * taken, and what it lacks is made up by waiting afterwards: so what is larger
 * than the burst passes too, and the rate holds on average. `now_ns` never goes
 * back (CLOCK_MONOTONIC).
 */
uint64_t limiter_take(struct limiter *limiter, uint64_t tokens,
		      uint64_t now_ns);

/* Takes tokens although there may be none: for what cannot wait any more. */
void limiter_owe(struct limiter *limiter, uint64_t tokens);

#endif
