/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/queue_help.c */
/* Split queues: chains out, used entries in, notifications both ways. */
#include <errno.h>

#include "tests/unit/queue_help.h"

/* -- starting ------------------------------------------------------------- */

static void test_queue_starts(void **state)
{
	static const struct {
		uint64_t size, desc, driver, device;
		int error;
	} cases[] = {
		{ 1, 0x1000, 0x2000, 0x3000, 0 },
		{ QUEUE_SIZE_MAX, 0x1000, 0x2000, 0x3000, 0 },
		{ SIZE, 0x1010, 0x2002, 0x3004, 0 },
		{ SIZE, RAM_END - 128, 0x2000, 0x3000, 0 },
		{ SIZE, 0x1000, RAM_END - 22, 0x3000, 0 },
		{ SIZE, 0x1000, 0x2000, RAM_END - 72, 0 },
		{ 0, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 3, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 2 * QUEUE_SIZE_MAX, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ 0x8000, 0x1000, 0x2000, 0x3000, -EINVAL },
		{ SIZE, 0x1008, 0x2000, 0x3000, -EINVAL },
		{ SIZE, 0x1000, 0x2001, 0x3000, -EINVAL },
		{ SIZE, 0x1000, 0x2000, 0x3002, -EINVAL },
		{ SIZE, RAM_END - 112, 0x2000, 0x3000, -EINVAL },
		{ SIZE, 0x1000, RAM_END - 20, 0x3000, -EINVAL },
		{ SIZE, 0x1000, 0x2000, RAM_END - 68, -EINVAL },
		{ SIZE, 0xD0000000, 0x2000, 0x3000, -EINVAL },
		{ SIZE, UINT64_MAX - 15, 0x2000, 0x3000, -EINVAL },
		{ SIZE, 0x1000, UINT64_MAX - 1, 0x3000, -EINVAL },
		{ SIZE, 0x1000, 0x2000, UINT64_MAX - 3, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct queue_config config = {
			.size = (uint16_t)cases[i].size,
			.desc = GPA(cases[i].desc),
			.driver = GPA(cases[i].driver),
			.device = GPA(cases[i].device),
		};

		if (queue_start(&queue, &ram, &config) != cases[i].error)
			fail_msg("case %zu", i);
		assert_int_equal(queue.ready, !cases[i].error);
		assert_int_equal(queue_pop(&queue, &chain), 0);
		queue_stop(&queue);
	}
}

static void test_queue_stopped_does_nothing(void **state)
{
	const struct ring_buffer buffer = { GPA(DATA), 1, false };
	uint32_t head = 0, written = 0;

	(void)state;
	start(true, true);
	ring_add_chain(&ring, &buffer, 1);
	queue_stop(&queue);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	queue_push(&queue, 3, 100);
	assert_false(queue_publish(&queue));
	assert_false(queue_want_kick(&queue));
	queue_ignore_kicks(&queue);
	assert_false(ring_used(&ring, &head, &written));
	/* The ring is the driver's again: not a byte of it is written. */
	expect_zero(&ram, ring.used.v, 6 + 8 * SIZE);
}

/* -- chains --------------------------------------------------------------- */

static void test_queue_pops_chains(void **state)
{
	uint16_t head;

	(void)state;
	start(false, false);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	/* Round and round: descriptors 0-3, 4-7, 0-3, ... */
	for (unsigned i = 0; i < 5; i++) {
		head = ring_add_chain(&ring, mixed, 4);
		assert_int_equal(head, i % 2 * 4);
		expect_mixed(head);
		assert_int_equal(queue_pop(&queue, &chain), 0);
	}
}

static void test_queue_pops_indirect_chains(void **state)
{
	uint16_t head;

	(void)state;
	start(false, true);
	for (unsigned i = 0; i < 2 * SIZE; i++) {
		/* 2.7.5.3 asks for no alignment of the table */
		head = ring_add_indirect(&ring, GPA(TABLE + 13 * i), mixed, 4);
		expect_mixed(head);
	}
	/* A chain may begin directly and go on in a table. */
	ring_desc(&ring, ring.desc, 0, DATA, 16, RING_NEXT, 5);
	ring_desc(&ring, ring.desc, 5, TABLE, 3 * RING_DESC, RING_INDIRECT, 0);
	for (uint16_t i = 1; i < 4; i++)
		ring_desc(&ring, GPA(TABLE), i - 1u, mixed[i].at.v,
			  mixed[i].len,
			  (uint16_t)((mixed[i].write ? RING_WRITE : 0) |
				     (i < 3 ? RING_NEXT : 0)),
			  i);
	ring_offer(&ring, 0);
	expect_mixed(0);
	/* The write flag beside INDIRECT is to be ignored (2.7.5.3.2). */
	ring_desc(&ring, ring.desc, 5, TABLE, 3 * RING_DESC,
		  RING_INDIRECT | RING_WRITE, 0);
	ring_offer(&ring, 0);
	expect_mixed(0);
}

/* As many buffers as the ring has, directly and in a table; in any order. */
static void test_queue_pops_the_longest_chain(void **state)
{
	struct ring_buffer buffer[QUEUE_SIZE_MAX];

	(void)state;
	for (unsigned i = 0; i < QUEUE_SIZE_MAX; i++)
		buffer[i] = (struct ring_buffer){ GPA(DATA + 16 * i), i + 1,
						  i >= 100 };
	start_sized(QUEUE_SIZE_MAX, false, true);
	for (unsigned i = 0; i < 2; i++) {
		if (i)
			ring_add_indirect(&ring, GPA(TABLE), buffer,
					  QUEUE_SIZE_MAX);
		else
			ring_add_chain(&ring, buffer, QUEUE_SIZE_MAX);
		assert_int_equal(queue_pop(&queue, &chain), 1);
		assert_int_equal(chain.count, QUEUE_SIZE_MAX);
		assert_int_equal(chain.readable, 100);
		expect_segment(255, DATA + 16 * 255, 256);
	}
}

static void test_queue_unpops(void **state)
{
	uint16_t first, second;

	(void)state;
	start(true, false);
	first = ring_add_chain(&ring, mixed, 4);
	second = ring_add_chain(&ring, mixed, 4);
	expect_mixed(first);
	queue_unpop(&queue);
	expect_mixed(first);
	expect_mixed(second);
	queue_unpop(&queue);
	queue_unpop(&queue);
	/* It waits for more than these two, and they are not more. */
	assert_false(queue_want_kick(&queue));
	assert_int_equal(ring_avail_event(&ring), 2);
	expect_mixed(first);
	expect_mixed(second);
	assert_int_equal(queue_pop(&queue, &chain), 0);
}

/* The indexes pass 2^16. */
static void test_queue_indexes_wrap(void **state)
{
	const struct ring_buffer buffer = { GPA(DATA), 1, true };
	uint32_t head = 0, written = 0;

	(void)state;
	start(true, false);
	for (uint32_t i = 0; i < 0x10000 + 2 * SIZE; i++) {
		ring_set_used_event(&ring, (uint16_t)i);
		ring_add_chain(&ring, &buffer, 1);
		assert_int_equal(queue_pop(&queue, &chain), 1);
		assert_int_equal(chain.head, i % SIZE);
		queue_push(&queue, chain.head, i);
		assert_true(queue_publish(&queue));
		assert_false(queue_publish(&queue));
		assert_true(ring_used(&ring, &head, &written));
		assert_int_equal(head, i % SIZE);
		assert_int_equal(written, i);
		assert_false(queue_want_kick(&queue));
		assert_int_equal(ring_avail_event(&ring), (uint16_t)(i + 1));
	}
}

/* -- used ring and notifications ------------------------------------------ */

static void test_queue_publishes(void **state)
{
	uint32_t head = 0, written = 0;

	(void)state;
	start(false, false);
	assert_false(queue_publish(&queue));
	queue_push(&queue, 3, 100);
	queue_push(&queue, 1, 0);
	assert_false(ring_used(&ring, &head, &written));
	assert_true(queue_publish(&queue));
	assert_true(ring_used(&ring, &head, &written));
	assert_int_equal(head, 3);
	assert_int_equal(written, 100);
	assert_true(ring_used(&ring, &head, &written));
	assert_int_equal(head, 1);
	assert_int_equal(written, 0);
	assert_false(ring_used(&ring, &head, &written));
	ring_set_avail_flags(&ring, 1);
	queue_push(&queue, 2, 7);
	assert_false(queue_publish(&queue));
	assert_true(ring_used(&ring, &head, &written));
}

/* 2.7.7.2: an interrupt exactly where the event lies among the new ones. */
static void test_queue_used_event(void **state)
{
	(void)state;
	for (unsigned before = 0; before < 3; before++) {
		for (int event = -2; event < 8; event++) {
			bool wanted = event >= (int)before && event < 5;

			start(true, false);
			/* The flags mean nothing with EVENT_IDX. */
			ring_set_avail_flags(&ring, 1);
			ring_set_used_event(&ring, 0x1000);
			for (unsigned i = 0; i < before; i++)
				queue_push(&queue, 0, 0);
			assert_false(queue_publish(&queue));
			ring_set_used_event(&ring, (uint16_t)event);
			for (unsigned i = before; i < 5; i++)
				queue_push(&queue, 0, 0);
			assert_int_equal(queue_publish(&queue), wanted);
		}
	}
}

/* What is visible is asked about later, as the driver's event is then. */
static void test_queue_tells_later(void **state)
{
	uint32_t head = 0, written = 0;

	(void)state;
	for (unsigned event_idx = 0; event_idx < 2; event_idx++) {
		start(event_idx, false);
		assert_false(queue_show(&queue));
		queue_push(&queue, 3, 100);
		assert_false(queue_is_awaited(&queue));
		assert_true(queue_show(&queue));
		assert_false(queue_show(&queue));
		assert_true(ring_used(&ring, &head, &written));
		assert_true(queue_is_awaited(&queue));
		assert_int_equal(queue_untold(&queue), 1);
		ring_set_used_event(&ring, 1);
		ring_set_avail_flags(&ring, 1);
		assert_false(queue_is_awaited(&queue));
		queue_push(&queue, 3, 100);
		assert_true(queue_show(&queue));
		assert_int_equal(queue_is_awaited(&queue), event_idx);
		assert_int_equal(queue_untold(&queue), 2);
		ring_set_used_event(&ring, 0);
		ring_set_avail_flags(&ring, 0);
		/* The first is not told yet. */
		assert_true(queue_publish(&queue));
		assert_int_equal(queue_untold(&queue), 0);
		assert_false(queue_is_awaited(&queue));
	}
}

static void test_queue_asks_for_kicks(void **state)
{
	(void)state;
	start(false, false);
	queue_ignore_kicks(&queue);
	assert_int_equal(ring_used_flags(&ring), 1);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	ring_add_chain(&ring, mixed, 4);
	assert_true(queue_want_kick(&queue));
	assert_int_equal(ring_used_flags(&ring), 0);
	expect_mixed(0);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	assert_false(queue_want_kick(&queue));

	start(true, false);
	queue_ignore_kicks(&queue);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	ring_add_chain(&ring, mixed, 4);
	assert_true(queue_want_kick(&queue));
	expect_mixed(0);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	assert_false(queue_want_kick(&queue));
	assert_int_equal(ring_avail_event(&ring), 1);
	assert_int_equal(ring_used_flags(&ring), 0);
}

/* It goes on where another one has been; what cannot be is refused. */
static void test_queue_starts_at_indexes(void **state)
{
	static const struct {
		uint16_t avail, used, published;
		int error;
	} cases[] = {
		{ 0, 0, 0, 0 },
		{ 7, 7, 7, 0 },
		{ 3, UINT16_MAX - 4, UINT16_MAX - 12, 0 },
		{ 8, 0, 0, 0 },
		{ 9, 0, 0, -EINVAL },
		{ 0, 1, 1, -EINVAL },
		{ 8, 8, 0, 0 },
		{ 9, 9, 0, -EINVAL },
		{ 1, 1, 2, -EINVAL },
	};
	uint32_t head = 0, written = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct queue_config config;

		ring_init(&ring, &ram, GPA(RING_AT), SIZE);
		config = ring_config(&ring);
		config.next_avail = cases[i].avail;
		config.next_used = cases[i].used;
		config.published = cases[i].published;
		assert_int_equal(queue_start(&queue, &ram, &config),
				 cases[i].error);
		if (cases[i].error)
			continue;
		ring.avail_idx = cases[i].avail;
		ring.used_idx = cases[i].used;
		ring_put16(&ring, gpa_add(ring.avail, 2), cases[i].avail);
		ring_put16(&ring, gpa_add(ring.used, 2), cases[i].used);
		assert_int_equal(queue_pop(&queue, &chain), 0);
		ring_add_chain(&ring, mixed, 4);
		expect_mixed(0);
		assert_int_equal(queue_pop(&queue, &chain), 0);
		queue_push(&queue, 0, 1);
		queue_publish(&queue);
		assert_true(ring_used(&ring, &head, &written));
		assert_false(ring_used(&ring, &head, &written));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_starts_at_indexes),
		cmocka_unit_test(test_queue_starts),
		cmocka_unit_test(test_queue_stopped_does_nothing),
		cmocka_unit_test(test_queue_pops_chains),
		cmocka_unit_test(test_queue_pops_indirect_chains),
		cmocka_unit_test(test_queue_pops_the_longest_chain),
		cmocka_unit_test(test_queue_unpops),
		cmocka_unit_test(test_queue_indexes_wrap),
		cmocka_unit_test(test_queue_publishes),
		cmocka_unit_test(test_queue_used_event),
		cmocka_unit_test(test_queue_tells_later),
		cmocka_unit_test(test_queue_asks_for_kicks),
	};

	return cmocka_run_group_tests(tests, make, destroy);
}
