/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/queue_help.c */
/* Split queues: each way in which a driver may lie. */
#include "tests/unit/queue_help.h"

/* -- malformed rings ------------------------------------------------------ */

static void expect_broken(void)
{
	uint32_t head, written;

	assert_int_equal(queue_pop(&queue, &chain), -EPROTO);
	assert_true(queue.broken);
	/* From now on nothing, however good. */
	ring_init(&ring, &ram, GPA(RING_AT), SIZE);
	ring_add_chain(&ring, mixed, 4);
	assert_int_equal(queue_pop(&queue, &chain), -EPROTO);
	queue_push(&queue, 3, 1);
	assert_false(queue_publish(&queue));
	assert_false(queue_want_kick(&queue));
	assert_false(ring_used(&ring, &head, &written));
	expect_zero(&ram, ring.used.v, 4 + 8 * SIZE);
}

/* One direct chain: desc[i] leads to desc[i + 1] as long as NEXT says so. */
struct bad_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};
#define OK_DESC                                                                \
	{                                                                      \
		DATA, 16, RING_NEXT, 1                                         \
	}
static const struct bad_chain {
	const char *what;
	struct bad_desc desc[3];
	uint16_t head;
} bad_chains[] = {
	{ "head past the table", { { DATA, 16, 0, 0 } }, SIZE },
	{ "head far past the table", { { DATA, 16, 0, 0 } }, 0xffff },
	{ "next past the table", { { DATA, 16, RING_NEXT, SIZE } }, 0 },
	{ "a loop to itself", { { DATA, 16, RING_NEXT, 0 } }, 0 },
	{ "a loop of two", { OK_DESC, { DATA, 16, RING_NEXT, 0 } }, 0 },
	{ "empty buffer", { { DATA, 0, 0, 0 } }, 0 },
	{ "empty second buffer", { OK_DESC, { DATA, 0, 0, 0 } }, 0 },
	{ "outside of RAM", { { RAM_END, 1, 0, 0 } }, 0 },
	{ "the device window", { { 0xD0000000, 4, 0, 0 } }, 0 },
	{ "over RAM's end", { { RAM_END - 15, 16, 0, 0 } }, 0 },
	{ "address wraps", { { UINT64_MAX - 7, 16, 0, 0 } }, 0 },
	{ "longer than RAM", { { 0, UINT32_MAX, 0, 0 } }, 0 },
	{ "second out of RAM", { OK_DESC, { RAM_END, 1, 0, 0 } }, 0 },
	{ "write before read",
	  { { DATA, 16, RING_NEXT | RING_WRITE, 1 }, { DATA, 16, 0, 0 } },
	  0 },
	{ "write between reads",
	  { OK_DESC,
	    { DATA, 16, RING_NEXT | RING_WRITE, 2 },
	    { DATA, 16, 0, 0 } },
	  0 },
	{ "indirect, not negotiated",
	  { { TABLE, 2 * RING_DESC, RING_INDIRECT, 0 } },
	  0 },
};

static void test_queue_refuses_bad_chains(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_chains); i++) {
		const struct bad_chain *bad = &bad_chains[i];

		print_message("# %s\n", bad->what);
		start(false, false);
		/* A good one first: the second breaks the queue. */
		ring_desc(&ring, ring.desc, 7, DATA, 1, 0, 0);
		ring_offer(&ring, 7);
		for (unsigned d = 0; d < ARRAY_LEN(bad->desc); d++)
			ring_desc(&ring, ring.desc, d, bad->desc[d].addr,
				  bad->desc[d].len, bad->desc[d].flags,
				  bad->desc[d].next);
		ring_desc(&ring, GPA(TABLE), 0, DATA, 1, 0, 0);
		ring_offer(&ring, bad->head);
		assert_int_equal(queue_pop(&queue, &chain), 1);
		expect_broken();
	}
}

/* The table is what an indirect descriptor in desc[0] refers to. */
static const struct bad_table {
	const char *what;
	struct bad_desc outer;
	struct bad_desc desc[2];
} bad_tables[] = {
	{ "empty table",
	  { TABLE, 0, RING_INDIRECT, 0 },
	  { { DATA, 1, 0, 0 } } },
	{ "half a descriptor",
	  { TABLE, 24, RING_INDIRECT, 0 },
	  { { DATA, 1, 0, 0 } } },
	{ "table outside of RAM",
	  { RAM_END, 16, RING_INDIRECT, 0 },
	  { { DATA, 1, 0, 0 } } },
	{ "table over RAM's end",
	  { RAM_END - 16, 32, RING_INDIRECT, 0 },
	  { { DATA, 1, 0, 0 } } },
	{ "indirect and next",
	  { TABLE, 32, RING_INDIRECT | RING_NEXT, 1 },
	  { { DATA, 1, 0, 0 } } },
	{ "table in a table",
	  { TABLE, 32, RING_INDIRECT, 0 },
	  { { TABLE, 32, RING_INDIRECT, 0 } } },
	{ "the descriptor table as its own table",
	  { RING_AT, SIZE *RING_DESC, RING_INDIRECT, 0 },
	  { { DATA, 1, 0, 0 } } },
	{ "next past the table",
	  { TABLE, 32, RING_INDIRECT, 0 },
	  { { DATA, 1, RING_NEXT, 2 } } },
	{ "a loop in the table",
	  { TABLE, 32, RING_INDIRECT, 0 },
	  { { DATA, 1, RING_NEXT, 1 }, { DATA, 1, RING_NEXT, 0 } } },
	{ "empty buffer in the table",
	  { TABLE, 32, RING_INDIRECT, 0 },
	  { { DATA, 0, 0, 0 } } },
	{ "write before read in the table",
	  { TABLE, 32, RING_INDIRECT, 0 },
	  { { DATA, 1, RING_NEXT | RING_WRITE, 1 }, { DATA, 1, 0, 0 } } },
};

static void test_queue_refuses_bad_tables(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_tables); i++) {
		const struct bad_table *bad = &bad_tables[i];

		print_message("# %s\n", bad->what);
		start(false, true);
		for (unsigned d = 0; d < ARRAY_LEN(bad->desc); d++)
			ring_desc(&ring, GPA(TABLE), d, bad->desc[d].addr,
				  bad->desc[d].len, bad->desc[d].flags,
				  bad->desc[d].next);
		ring_desc(&ring, ring.desc, 0, bad->outer.addr, bad->outer.len,
			  bad->outer.flags, bad->outer.next);
		ring_offer(&ring, 0);
		expect_broken();
	}
}

/*
 * What lies behind a table is no part of it, however good it looks: each place
 * that an index past the table's end would lead to holds a descriptor.
 */
static void test_queue_takes_no_decoys(void **state)
{
	static const uint16_t past[] = { SIZE, SIZE + 1, 0x7fff, 0xffff };

	(void)state;
	for (size_t i = 0; i < 3 * ARRAY_LEN(past); i++) {
		const uint16_t index = past[i / 3];
		const bool indirect = i % 3 == 2;
		struct queue_config config;
		gpa table;

		ring_init(&ring, &ram, GPA(RING_AT), SIZE);
		/* The rings out of the way of what follows the table. */
		ring.avail = GPA(0x2000);
		ring.used = GPA(0x3000);
		ram_clear(&ram, GPA(0), RING_AT);
		ring.indirect = true;
		config = ring_config(&ring);
		assert_int_equal(queue_start(&queue, &ram, &config), 0);
		/* As a chain's head, as its second, as a table's second. */
		if (indirect)
			ring_desc(&ring, ring.desc, 0, TABLE, SIZE * RING_DESC,
				  RING_INDIRECT, 0);
		table = indirect ? GPA(TABLE) : ring.desc;
		ring_desc(&ring, table, 0, DATA, 16, RING_NEXT, index);
		ring_desc(&ring, table, index, DATA, 16, 0, 0);
		ring_offer(&ring, i % 3 ? 0 : index);
		expect_broken();
	}
}

/* One buffer more than the ring has, in a table that is long enough. */
static void test_queue_refuses_too_long_a_chain(void **state)
{
	struct ring_buffer buffer[SIZE + 1];

	(void)state;
	for (unsigned i = 0; i < SIZE + 1; i++)
		buffer[i] = (struct ring_buffer){ GPA(DATA), 1, false };
	start(false, true);
	ring_add_indirect(&ring, GPA(TABLE), buffer, SIZE);
	assert_int_equal(queue_pop(&queue, &chain), 1);
	ring_add_indirect(&ring, GPA(TABLE), buffer, SIZE + 1);
	expect_broken();
}

/* 2^32 bytes in all, each buffer within RAM. */
static void test_queue_refuses_too_many_bytes(void **state)
{
	struct ram_options options = { .size = 3 * GIB };
	struct ram saved = ram;
	const struct ring_buffer buffer[] = {
		{ GPA(0), 1u << 31, false },
		{ GPA(0), 1u << 30, true },
		{ GPA(0), 1u << 30, true },
	};

	(void)state;
	assert_int_equal(ram_create(&ram, &options), 0);
	start(false, false);
	ring_add_chain(&ring, buffer, 2);
	assert_int_equal(queue_pop(&queue, &chain), 1);
	assert_int_equal(chain.read_len, 1u << 31);
	assert_int_equal(chain.write_len, 1u << 30);
	ring_add_chain(&ring, buffer, 3);
	expect_broken();
	ram_destroy(&ram);
	ram = saved;
}

static void test_queue_refuses_an_index_jump(void **state)
{
	static const uint16_t jumps[] = { SIZE + 1, 0x7fff, 0x8000, 0xffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
		start(true, false);
		ring_add_chain(&ring, mixed, 4);
		expect_mixed(0);
		ring.avail_idx = jumps[i];
		ring_offer(&ring, 0);
		/* Somebody must look in order to hear of it. */
		assert_true(queue_want_kick(&queue));
		expect_broken();
	}
	/* A whole ring at once is no jump. */
	start(true, false);
	for (uint16_t i = 0; i < SIZE; i++)
		ring_desc(&ring, ring.desc, i, DATA, 1, 0, 0);
	for (uint16_t i = 0; i < SIZE; i++)
		ring_offer(&ring, i);
	for (uint16_t i = 0; i < SIZE; i++)
		assert_int_equal(queue_pop(&queue, &chain), 1);
	assert_int_equal(queue_pop(&queue, &chain), 0);
	/* And going back is one, seen from here. */
	ring.avail_idx = SIZE - 2;
	ring_offer(&ring, 0);
	expect_broken();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_refuses_bad_chains),
		cmocka_unit_test(test_queue_refuses_bad_tables),
		cmocka_unit_test(test_queue_takes_no_decoys),
		cmocka_unit_test(test_queue_refuses_too_long_a_chain),
		cmocka_unit_test(test_queue_refuses_too_many_bytes),
		cmocka_unit_test(test_queue_refuses_an_index_jump),
	};

	return cmocka_run_group_tests(tests, make, destroy);
}
