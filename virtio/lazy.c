/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When an interrupt that can wait is raised after all.
 *
 * A driver says by its used_event which entry it wants to hear of (virtio 1.2,
 * 2.7.7). If it has looked at that entry before it was told, it has moved the
 * event on, and wants nothing any more. So an interrupt is held back until
 *
 *	the driver has looked by itself		it never comes
 *	another queue needs one			it was that one
 *	an eighth of the ring, or LAZY_BYTES,	now: the driver may have no
 *	waits to be looked at			room to go on
 *	the time is over			now
 *
 * The last is how a driver fares that does wait for what it sent: a program
 * with a tiny buffer, say. Then holding back was in vain, and is given up for
 * some time, twice as long after each time in vain (LAZY_PENALTY_MAX batches at
 * most), until it has been of use again. Such a program loses less than a
 * hundredth of the patience for each packet.
 *
 * Only of a driver that has taken EVENT_IDX and INDIRECT_DESC is it known what
 * it waits for and how full its ring is: all others are told at once.
 *
 * Owns nothing. The loop's thread.
 */
#include "virtio/lazy.h"

#include "cpu/loop/loop.h"

#define LAZY_PENALTY_MAX 127u

static void lazy_settle(struct lazy *lazy)
{
	queue_told(lazy->queue);
	lazy->due_ns = lazy->bytes = 0;
}

void lazy_start(struct lazy *lazy, struct queue *queue, uint64_t patience_ns)
{
	*lazy = (struct lazy){ .queue = queue, .patience_ns = patience_ns };
}

void lazy_told(struct lazy *lazy)
{
	if (!lazy->due_ns)
		return;
	lazy_settle(lazy);
	lazy->penalty = 0;
}

static bool lazy_may_wait(struct lazy *lazy)
{
	const struct queue *queue = lazy->queue;

	if (!queue->config.event_idx || !queue->config.indirect)
		return false;
	if (lazy->at_once) {
		lazy->at_once--;
		return false;
	}
	return lazy->bytes < LAZY_BYTES &&
	       queue_untold(queue) <= queue->config.size / LAZY_SHARE;
}

bool lazy_publish(struct lazy *lazy, uint64_t bytes)
{
	struct queue *queue = lazy->queue;

	/* Has the driver looked at what it was shown the last time? */
	if (lazy->due_ns && !queue_is_awaited(queue))
		lazy_told(lazy);
	if (!queue_show(queue))
		return false;
	lazy->bytes += bytes;
	if (!queue_is_awaited(queue)) {
		lazy_settle(lazy);
		return false;
	}
	if (!lazy_may_wait(lazy)) {
		lazy_settle(lazy);
		return true;
	}
	if (!lazy->due_ns)
		lazy->due_ns = loop_now() + lazy->patience_ns;
	return false;
}

bool lazy_expired(struct lazy *lazy)
{
	if (!queue_is_awaited(lazy->queue)) {
		lazy_told(lazy);
		return false;
	}
	lazy_settle(lazy);
	if (lazy->penalty < LAZY_PENALTY_MAX)
		lazy->penalty = (uint8_t)(2 * lazy->penalty + 1);
	lazy->at_once = lazy->penalty;
	return true;
}
