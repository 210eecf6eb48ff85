/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c tests/unit/mock_engine.c */
/* ldflags: -Wl,--wrap=log_guest */
/*
 * A disk that is paused takes nothing more, lets all that it has taken be done
 * and given back, and says when that is so; afterwards nothing was lost.
 */
#include <stdlib.h>
#include <unistd.h>

#include "tests/unit/block_help.h"
#include "tests/unit/mock_engine.h"

#define SIZE (64 * MIB)
#define ALL  (FLUSH_FEATURE | FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX)

static struct mock_engine *const mock = &mocks[0];

static int64_t carry_out(struct mock_engine *m, struct engine_io *io)
{
	return mock_perform(m, io, UINT64_MAX);
}

static void start(struct block_options options)
{
	options.engine = BLOCK_ENGINE_URING;
	mock_count = 0;
	mock_result = carry_out;
	options.file.fd = memory_file(SIZE);
	disk_make(&options, ALL);
}

static void end(void)
{
	disk_destroy();
	expect_no_log();
}

/* The engine is done with one of those in flight. */
static void finish(unsigned index)
{
	mock_complete(mock, index, carry_out(mock, mock->waiting[index]));
	engine_reports(0);
	collect();
}

static void all_are_done(struct mock_engine *m)
{
	while (m->count)
		mock_complete(m, 0, carry_out(m, m->waiting[0]));
}

static unsigned taken_of(unsigned queue)
{
	return t.device->queue[queue].next_avail;
}

/* Until it is quiet: how many of the engine's operations that took. */
static unsigned finish_all(void)
{
	const unsigned before = t.quiet;
	unsigned count = 0;

	while (t.quiet == before) {
		if (mock->count) {
			finish(0);
			count++;
		} else {
			assert_true(pump(0));
		}
	}
	assert_int_equal(t.quiet, before + 1);
	assert_int_equal(mock->count, 0);
	assert_null(t.block->disk.deferred);
	assert_int_equal(t.block->disk.requests.taken, 0);
	/* What was taken has been given back, and published. */
	for (unsigned i = 0; i < t.device->queue_count; i++) {
		const struct queue *queue = &t.device->queue[i];

		assert_int_equal(queue->next_avail, queue->next_used);
		assert_int_equal(queue->next_used, queue->published);
	}
	return count;
}

/* Nothing happens of itself in a pause, whatever comes. */
static void expect_quiet(void)
{
	const unsigned submitted = mock->submitted, back = t.back_count;
	const unsigned queues = t.device->queue_count;
	unsigned taken[DEVICE_QUEUES_MAX];

	for (unsigned i = 0; i < queues; i++) {
		taken[i] = taken_of(i);
		put_request_on(i, BLOCK_IN, 0, DATA_AT, 512);
		kick_queue(i);
	}
	t.block->timer.expired(t.block);
	while (pump(5))
		;
	for (unsigned i = 0; i < queues; i++)
		assert_int_equal(taken_of(i), taken[i]);
	assert_int_equal(mock->submitted, submitted);
	assert_int_equal(t.back_count, back);
	assert_int_equal(t.quiet, 1);
}

/* All that was ever put comes back, */
static void wait_for_all(void)
{
	disk_resume();
	while (t.back_count < t.slots)
		if (mock->count)
			finish(0);
		else
			assert_true(pump(PATIENCE_MS));
	assert_int_equal(t.quiet, 1);
}

/* and well: of as many as there are indirect tables. */
static void finish_after_resume(void)
{
	wait_for_all();
	assert_in_range(t.slots, 1, 64);
	for (unsigned i = 0; i < t.slots; i++)
		assert_int_equal(status_of(i), BLOCK_OK);
}

/* -- what it waits for ---------------------------------------------------- */

static void test_nothing(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	assert_true(disk_pause());
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	while (pump(0))
		;
	assert_int_equal(mock->count, 0);
	/* Once more is no harm. */
	assert_true(disk_pause());
	disk_resume();
	assert_int_equal(mock->count, 1);
	finish(0);
	assert_int_equal(status_of(0), BLOCK_OK);
	assert_int_equal(t.quiet, 0);
	end();
}

/* One with many steps has all of them. */
static void test_in_flight(void **state)
{
	(void)state;
	start((struct block_options){ .queues = 2 });
	put_request_on(0, BLOCK_OUT, 0, DATA_AT, 10 * MIB);
	for (unsigned i = 0; i < 16; i++) {
		put_le64(guest(DATA_AT + 16 * MIB + i * 16, 16), 8ULL * i);
		put_le32(guest(DATA_AT + 16 * MIB + i * 16 + 8, 4), 1);
		put_le32(guest(DATA_AT + 16 * MIB + i * 16 + 12, 4), 0);
	}
	put_request_on(1, BLOCK_WRITE_ZEROES, 0, DATA_AT + 16 * MIB, 16 * 16);
	put_request_on(1, BLOCK_IN, 8, DATA_AT + 17 * MIB, 512);
	kick_queue(0);
	kick_queue(1);
	assert_int_equal(mock->count, 3);
	assert_false(disk_pause());
	/* One is tried in a way that files in memory do not know. */
	assert_int_equal(finish_all(), 3 + 1 + 16 + 1);
	assert_int_equal(t.back_count, 3);
	expect_quiet();
	finish_after_resume();
	end();
}

/* Reads, writes and a FLUSH; and those that wait for that FLUSH. */
static void test_flush(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	put_request_on(0, BLOCK_OUT, 0, DATA_AT, 4096);
	for (unsigned i = 0; i < 3; i++)
		put_request_on(0, BLOCK_FLUSH, 0, 0, 0);
	kick_queue(0);
	assert_int_equal(mock->count, 2);
	assert_non_null(t.block->disk.deferred);
	assert_false(disk_pause());
	finish(0);
	assert_int_equal(t.quiet, 0);
	finish_all();
	assert_int_equal(t.back_count, 4);
	expect_quiet();
	finish_after_resume();
	end();
}

/* Writes that wait for copies of clusters: one in a turn, and for each other.
 */
static void test_copies(void **state)
{
	const unsigned count = 30;

	(void)state;
	start((struct block_options){ .ephemeral = true, .queues = 2 });
	put_request_on(1, BLOCK_OUT, 8, DATA_AT, 64 * 4096);
	kick_queue(1);
	for (unsigned i = 0; i < count; i++)
		put_request_on(0, BLOCK_OUT, 16 * i + 3, DATA_AT, 512);
	kick_queue(0);
	assert_non_null(t.block->disk.deferred);
	assert_false(disk_pause());
	finish_all();
	assert_int_equal(t.back_count, count + 1);
	expect_quiet();
	finish_after_resume();
	end();
}

/* -- what it takes no more of --------------------------------------------- */

/* A limit's timer brings nothing; what is left in the queue comes later. */
static void test_limited(void **state)
{
	(void)state;
	start((struct block_options){ .ops_per_s = 200 });
	for (unsigned i = 0; i < 40; i++)
		put_request_on(0, BLOCK_IN, 8, DATA_AT, 512);
	kick_queue(0);
	assert_int_equal(taken_of(0), 20);
	assert_true(t.block->limited);
	assert_false(disk_pause());
	finish_all();
	assert_int_equal(t.back_count, 20);
	usleep(20000);
	expect_quiet();
	finish_after_resume();
	assert_int_equal(t.back_count, 41);
	end();
}

/* The budget of a turn, or all requests: the queues have more. */
static void test_unfinished_and_starved(void **state)
{
	(void)state;
	start((struct block_options){ .queues = 3 });
	for (unsigned i = 0; i < 3 * 200; i++)
		put_request_on(i / 200, BLOCK_IN, 8, DATA_AT, 512);
	for (unsigned i = 0; i < 3; i++)
		kick_queue(i);
	assert_int_equal(taken_of(0), 128);
	assert_true(t.block->unfinished);
	assert_true(t.block->starved);
	assert_false(disk_pause());
	finish_all();
	assert_int_equal(t.back_count, 256);
	expect_quiet();
	wait_for_all();
	assert_int_equal(t.back_count, 603);
	end();
}

/* What is done and not told of yet is given back at once. */
static void test_batch(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	mock->engine.batches = true;
	for (unsigned i = 0; i < 5; i++)
		put_request_on(0, BLOCK_OUT, 8 * i, DATA_AT, 4096);
	kick_queue(0);
	mock_reaped = all_are_done;
	assert_true(disk_pause());
	mock_reaped = NULL;
	collect();
	assert_int_equal(t.back_count, 5);
	disk_resume();
	assert_int_equal(t.quiet, 0);
	end();
}

/* -- what comes in between ------------------------------------------------ */

static void activate_in_pause(void)
{
	disk_activate(ALL);
	t.slots = t.back_count = 0;
}

/* A reset works as ever: what was not begun is over, the rest waited for. */
static void test_reset(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	put_request_on(0, BLOCK_OUT, 8, DATA_AT, 4096);
	put_request_on(0, BLOCK_FLUSH, 0, 0, 0);
	put_request_on(0, BLOCK_FLUSH, 0, 0, 0);
	kick_queue(0);
	assert_false(disk_pause());
	assert_false(disk_cancel(DEVICE_ALL_QUEUES));
	assert_null(t.block->disk.deferred);
	finish(0);
	assert_int_equal(t.canceled, 1);
	assert_true(disk_cancel(DEVICE_ALL_QUEUES));
	/* A reset does not wait for the FLUSH; a pause does. */
	while (pump(0))
		;
	assert_int_equal(t.quiet, 0);
	activate_in_pause();
	finish_all();
	assert_int_equal(status_of(0), 0xee);
	expect_quiet();
	finish_after_resume();
	end();
}

/* Where a reset leaves nothing, whoever pauses hears of it, too; but later. */
static void test_reset_leaves_nothing(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	put_request_on(0, BLOCK_OUT, 8, DATA_AT, 4096);
	kick_queue(0);
	assert_false(disk_pause());
	mock->queued = 1; /* the engine has not begun it */
	assert_true(disk_cancel(DEVICE_ALL_QUEUES));
	assert_int_equal(t.quiet, 0);
	activate_in_pause();
	finish_all();
	expect_quiet();
	finish_after_resume();
	end();
}

/* One queue is stopped: the others' requests are done and given back. */
static void test_stop_queue(void **state)
{
	unsigned other;

	(void)state;
	start((struct block_options){ .queues = 2 });
	put_request_on(0, BLOCK_IN, 8, DATA_AT, 4096);
	other = put_request_on(1, BLOCK_IN, 8, DATA_AT, 4096);
	kick_queue(0);
	kick_queue(1);
	assert_false(disk_pause());
	assert_false(disk_cancel(1u << 0));
	finish(0);
	assert_int_equal(t.canceled, 1);
	assert_int_equal(t.quiet, 0);
	finish(0);
	assert_int_equal(t.quiet, 1);
	assert_int_equal(status_of(other), BLOCK_OK);
	assert_int_equal(status_of(0), 0xee);
	end();
}

/* Whoever waited too long goes on, and may pause again. */
static void test_resume_before_quiet(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	put_request_on(0, BLOCK_FLUSH, 0, 0, 0);
	kick_queue(0);
	assert_false(disk_pause());
	put_request_on(0, BLOCK_IN, 8, DATA_AT, 512);
	disk_resume();
	assert_int_equal(mock->count, 2);
	assert_false(disk_pause());
	finish_all();
	expect_quiet();
	finish_after_resume();
	/* Once more; and what is done is found by the next one. */
	put_request_on(0, BLOCK_OUT, 8, DATA_AT, 4096);
	kick_queue(0);
	assert_false(disk_pause());
	disk_resume();
	mock->engine.batches = true;
	mock_reaped = all_are_done;
	assert_true(disk_pause());
	mock_reaped = NULL;
	while (pump(0))
		;
	assert_int_equal(t.quiet, 1);
	end();
}

/* A driver that broke the rules is one thing, what is in flight another. */
static void test_broken(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	put_request_on(0, BLOCK_IN, 8, DATA_AT, 512);
	kick_queue(0);
	ring_desc(&t.ring[0], t.ring[0].desc, 7, 0, 0, 0, 0);
	ring_offer(&t.ring[0], 7);
	kick_queue(0);
	assert_int_equal(t.breaks, 1);
	assert_false(disk_pause());
	finish(0);
	assert_int_equal(t.quiet, 1);
	assert_int_equal(t.back_count, 0);
	end();
}

/* -- at any moment -------------------------------------------------------- */

static uint32_t any(uint32_t below)
{
	static uint64_t seed = 1;

	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % below;
}

static void put_any(bool ephemeral)
{
	static const uint32_t types[] = { BLOCK_IN, BLOCK_OUT, BLOCK_FLUSH };
	const uint32_t type = types[any(3)];

	put_request_on(any(3), type, any(200),
		       DATA_AT + any(64) * (ephemeral ? 4096 : 512),
		       type == BLOCK_FLUSH ? 0 : (1 + any(16)) * 512);
}

static void pause_at_random(bool ephemeral)
{
	start((struct block_options){ .queues = 3, .ephemeral = ephemeral });
	for (unsigned round = 0; round < 400; round++) {
		/* No slot is used again before it came back. */
		assert_true(t.slots - t.back_count < SLOTS / 2);
		for (unsigned i = any(20); i; i--)
			put_any(ephemeral);
		for (unsigned i = 0; i < 3; i++)
			if (any(2))
				kick_queue(i);
		for (unsigned i = any(10); i && mock->count; i--)
			finish(any(mock->count));
		if (any(2))
			pump(0);
		if (!disk_pause())
			finish_all();
		t.quiet = 1;
		collect();
		expect_quiet();
		disk_resume();
		for (unsigned i = any(30); i && mock->count; i--)
			finish(any(mock->count));
		t.quiet = 0;
	}
	t.quiet = 1;
	wait_for_all();
	end();
}

static void test_at_random(void **state)
{
	(void)state;
	pause_at_random(false);
	pause_at_random(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_in_flight),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_limited),
		cmocka_unit_test(test_unfinished_and_starved),
		cmocka_unit_test(test_batch),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_reset_leaves_nothing),
		cmocka_unit_test(test_stop_queue),
		cmocka_unit_test(test_resume_before_quiet),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
