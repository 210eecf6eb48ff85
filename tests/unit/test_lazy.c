/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/lazy.c tests/unit/queue_help.c */
/*
 * Interrupts that can wait: when they are held back, for how long, and who is
 * told at once all the same.
 */
#include "cpu/loop/loop.h"
#include "tests/unit/queue_help.h"
#include "virtio/lazy.h"

#define PATIENCE 1000u
#define RING	 64

static struct lazy lazy;
static uint64_t now;

uint64_t loop_now(void)
{
	return now;
}

static void start_lazy(bool event_idx, bool indirect)
{
	start_sized(RING, event_idx, indirect);
	lazy_start(&lazy, &queue, PATIENCE);
	now = 5000;
}

/* So many chains were sent. */
static bool send_chains(unsigned count, uint64_t bytes)
{
	while (count--)
		queue_push(&queue, 0, 0);
	return lazy_publish(&lazy, bytes);
}

/* The driver looks: it takes what it sees, and waits for the next. */
static void driver_looks(void)
{
	uint32_t head = 0, written = 0;

	while (ring_used(&ring, &head, &written))
		;
	ring_set_used_event(&ring, ring.used_idx);
}

/* What was sent is visible at once, and told when the time is over. */
static void test_lazy_waits(void **state)
{
	uint32_t head = 0, written = 0;

	(void)state;
	start_lazy(true, true);
	assert_false(lazy_publish(&lazy, 0));
	assert_int_equal(lazy.due_ns, 0);
	assert_false(send_chains(1, 100));
	assert_int_equal(lazy.due_ns, now + PATIENCE);
	assert_true(ring_used(&ring, &head, &written));
	now += 10;
	/* More of it does not put it off. */
	assert_false(send_chains(1, 100));
	assert_int_equal(lazy.due_ns, now - 10 + PATIENCE);
	assert_true(lazy_expired(&lazy));
	assert_int_equal(lazy.due_ns, 0);
	assert_int_equal(queue_untold(&queue), 0);
}

/* Nobody is told what he has seen, or what he is told anyway. */
static void test_lazy_becomes_needless(void **state)
{
	(void)state;
	start_lazy(true, true);
	assert_false(send_chains(3, 100));
	driver_looks();
	assert_false(lazy_expired(&lazy));
	assert_int_equal(lazy.due_ns, 0);
	assert_false(send_chains(3, 100));
	lazy_told(&lazy);
	assert_int_equal(lazy.due_ns, 0);
	driver_looks();
	for (unsigned i = 0; i < 10 * RING; i++) {
		assert_false(send_chains(1, LAZY_BYTES - 1));
		driver_looks();
	}
	/* It wants to hear of nothing: nothing is due. */
	ring_set_used_event(&ring, (uint16_t)(ring.used_idx + 100));
	assert_false(send_chains(1, 100));
	assert_int_equal(lazy.due_ns, 0);
}

/* A driver whose ring or memory may be full does not wait. */
static void test_lazy_bounds(void **state)
{
	(void)state;
	start_lazy(true, true);
	assert_false(send_chains(RING / LAZY_SHARE, 1));
	assert_true(send_chains(1, 1));
	assert_int_equal(lazy.due_ns, 0);
	driver_looks();
	assert_true(send_chains(RING / LAZY_SHARE + 1, 1));
	driver_looks();
	assert_false(send_chains(1, LAZY_BYTES - 1));
	assert_true(send_chains(1, 1));
	driver_looks();
	/* What it has looked at does not count. */
	assert_false(send_chains(1, LAZY_BYTES - 1));
	driver_looks();
	assert_false(send_chains(1, LAZY_BYTES - 1));
}

/* Of others it is not known whether they look, or how full their ring is. */
static void test_lazy_other_drivers(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		start_lazy(i & 1, i & 2);
		assert_true(send_chains(1, 100));
		assert_int_equal(lazy.due_ns, 0);
	}
	start_lazy(false, true);
	ring_set_avail_flags(&ring, 1);
	assert_false(send_chains(1, 100));
}

/* How many of so many batches a driver waits for which does nothing else. */
static unsigned count_waits(unsigned batches)
{
	unsigned waits = 0;

	while (batches--) {
		if (!send_chains(1, 100)) {
			waits++;
			assert_true(lazy_expired(&lazy));
		}
		driver_looks();
	}
	return waits;
}

/* Who does wait for what it sent is seldom kept waiting. */
static void test_lazy_in_vain(void **state)
{
	(void)state;
	start_lazy(true, true);
	assert_int_equal(count_waits(1), 1);
	assert_int_equal(count_waits(1), 0);
	assert_int_equal(count_waits(1), 1);
	assert_in_range(count_waits(10000), 10, 100);
	/* ... until it was of use again. */
	while (send_chains(1, 100))
		driver_looks();
	lazy_told(&lazy);
	driver_looks();
	assert_int_equal(count_waits(1), 1);
	assert_int_equal(count_waits(1), 0);
	assert_int_equal(count_waits(1), 1);
}

/* A queue that was stopped, or broken, has nobody to tell. */
static void test_lazy_stopped(void **state)
{
	(void)state;
	start_lazy(true, true);
	assert_false(send_chains(1, 100));
	queue_stop(&queue);
	assert_false(lazy_expired(&lazy));
	assert_false(send_chains(1, 100));
	assert_int_equal(lazy.due_ns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lazy_waits),
		cmocka_unit_test(test_lazy_becomes_needless),
		cmocka_unit_test(test_lazy_bounds),
		cmocka_unit_test(test_lazy_other_drivers),
		cmocka_unit_test(test_lazy_in_vain),
		cmocka_unit_test(test_lazy_stopped),
	};

	return cmocka_run_group_tests(tests, make, destroy);
}
