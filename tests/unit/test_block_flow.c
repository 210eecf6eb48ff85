/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c tests/unit/mock_engine.c */
/* ldflags: -Wl,--wrap=log_guest */
/*
 * How requests flow through the block device, with an engine that completes
 * what the test says, when it says, and with what result: whose turn it is,
 * resets in between, results that real files seldom give.
 */
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "tests/unit/block_help.h"
#include "tests/unit/mock_engine.h"

#define SIZE (64 * MIB)
#define ALL  (FLUSH_FEATURE | FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX)

static struct mock_engine *const mock = &mocks[0];

static int64_t as_asked(struct mock_engine *m, struct engine_io *io)
{
	(void)m;
	return io->op == ENGINE_READ || io->op == ENGINE_WRITE
		       ? (int64_t)io->len
		       : 0;
}

/* With one engine for everything. */
static void start(struct block_options options, uint64_t features)
{
	options.engine = BLOCK_ENGINE_URING;
	mock_count = 0;
	mock_result = as_asked;
	options.file.fd = memory_file(SIZE);
	disk_make(&options, features);
}

static void end(void)
{
	disk_destroy();
	expect_no_log();
}

/* The engine says that something is done. */
static void complete(unsigned index, int64_t result)
{
	mock_complete(mock, index, result);
	engine_reports(0);
	collect();
}

static const struct engine_io *newest(void)
{
	assert_true(mock->count);
	assert_int_equal(mock->flushed, mock->submitted);
	return mock->waiting[mock->count - 1];
}

static unsigned put_and_kick(uint32_t type, uint64_t sector, uint32_t len)
{
	unsigned slot = put_request_on(0, type, sector, DATA_AT, len);

	kick_queue(0);
	return slot;
}

static void put_ranges(uint32_t type, unsigned count, uint32_t flags)
{
	for (unsigned i = 0; i < count; i++) {
		uint8_t *at = guest(DATA_AT + i * 16ULL, 16);

		put_le64(at, 64ULL * i);
		put_le32(at + 8, 16);
		put_le32(at + 12, flags);
	}
	put_and_kick(type, 0, 16 * count);
}

/* -- budgets -------------------------------------------------------------- */

static unsigned taken_of(unsigned queue)
{
	return t.device->queue[queue].next_avail;
}

static void fill_queue(unsigned queue, unsigned count)
{
	while (count--)
		put_request_on(queue, BLOCK_IN, 0, DATA_AT, 512);
}

static void test_queue_budgets(void **state)
{
	(void)state;
	start((struct block_options){ .queues = 3 }, ALL);
	fill_queue(0, 256);
	kick_queue(0);
	assert_int_equal(taken_of(0), 128); /* and no more for now */
	fill_queue(1, 256);
	kick_queue(1);
	assert_int_equal(taken_of(1), 128);
	/* The pool is empty: nobody gets anything until something is done. */
	fill_queue(2, 10);
	kick_queue(2);
	assert_true(pump(1000));
	assert_int_equal(taken_of(0) + taken_of(1) + taken_of(2), 256);
	assert_int_equal(t.block->disk.requests.taken, 256);
	assert_false(pump(20));
	/* One by one: each queue has its turn, not only the first. */
	for (unsigned i = 0; i < 12; i++)
		complete(0, 512);
	while (pump(20))
		;
	assert_true(taken_of(0) > 128 && taken_of(1) > 128 && taken_of(2) > 0);
	while (mock->count) {
		complete(0, 512);
		pump(0);
	}
	assert_int_equal(t.back_count, 522);
	assert_int_equal(t.block->disk.requests.taken, 0);
	assert_int_equal(t.block->disk.requests.used, 256);
	end();
}

/* An engine that is done at once, and a driver that always has more. */
static unsigned refills;

static void done_at_once(struct mock_engine *m)
{
	while (m->count)
		mock_complete(m, 0, as_asked(m, m->waiting[0]));
	collect();
	for (unsigned i = 0; i < 3; i++)
		while ((uint16_t)(t.ring[i].avail_idx - t.ring[i].used_idx) <
		       256) {
			put_request_on(i, BLOCK_IN, 0, DATA_AT, 512);
			refills++;
		}
}

static void test_endless_driver(void **state)
{
	(void)state;
	start((struct block_options){ .queues = 3 }, ALL);
	for (unsigned i = 0; i < 3; i++)
		fill_queue(i, 256);
	mock_flushed = done_at_once;
	refills = 0;
	for (unsigned i = 0; i < 3; i++)
		kick_queue(i);
	/* It comes back, and goes on later, with all three. */
	assert_true(refills > 0 && refills < 3000);
	for (unsigned i = 0; i < 30; i++)
		assert_true(pump(1000));
	for (unsigned i = 0; i < 3; i++)
		assert_true(taken_of(i) > 1000);
	mock_flushed = NULL;
	end();
}

static void do_one_step(struct mock_engine *m)
{
	if (m->count)
		mock_complete(m, 0, 512);
}

/* Steps that are each done at once: so many in a turn, the rest in later ones.
 */
static void test_endless_steps(void **state)
{
	unsigned turns = 0;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	mock_flushed = do_one_step;
	put_and_kick(BLOCK_IN, 0, 100 * 512);
	assert_in_range(mock->submitted, 2, 20);
	while (pump(0))
		turns++;
	assert_in_range(turns, 5, 50);
	assert_int_equal(t.back_count, 1);
	assert_int_equal(status_of(0), BLOCK_OK);
	mock_flushed = NULL;
	end();
}

/* What is done at once makes room for a queue that found no request. */
static void test_starved(void **state)
{
	unsigned turns = 0;

	(void)state;
	start((struct block_options){ .queues = 3 }, ALL);
	for (unsigned i = 0; i < 2; i++) {
		fill_queue(i, 128);
		kick_queue(i);
	}
	while (pump(0))
		;
	assert_int_equal(t.block->disk.requests.taken, 256);
	fill_queue(2, 10);
	kick_queue(2);
	assert_int_equal(taken_of(2), 0);
	mock_flushed = do_one_step;
	complete(0, 512);
	assert_in_range(taken_of(2), 1, 3);
	while (pump(0))
		turns++;
	assert_in_range(turns, 2, 10);
	assert_int_equal(taken_of(2), 10);
	mock_flushed = NULL;
	end();
}

/* -- reset ---------------------------------------------------------------- */

static void test_reset_ends_steps(void **state)
{
	unsigned steps;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	put_ranges(BLOCK_WRITE_ZEROES, 16, 0);
	put_and_kick(BLOCK_IN, 8, 65536);
	put_and_kick(BLOCK_OUT, 8, 65536);
	steps = mock->submitted;
	assert_int_equal(steps, 3);
	/* What was begun is waited for, by nobody here. */
	assert_false(disk_cancel(DEVICE_ALL_QUEUES));
	assert_int_equal(mock->count, 3);
	complete(1, 4096);
	complete(1, -EIO);
	assert_int_equal(t.canceled, 0);
	assert_false(disk_cancel(DEVICE_ALL_QUEUES));
	complete(0, 0);
	assert_int_equal(t.canceled, 1);
	assert_true(disk_cancel(DEVICE_ALL_QUEUES));
	/* Nothing more was begun, and the driver has heard of nothing. */
	assert_int_equal(mock->submitted, steps);
	assert_int_equal(t.block->disk.requests.taken, 0);
	assert_int_equal(t.back_count, 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(status_of(i), 0xee);
	disk_activate(ALL);
	put_and_kick(BLOCK_IN, 8, 512);
	assert_int_equal(mock->submitted, steps + 1);
	complete(0, 512);
	assert_int_equal(status_of(3), BLOCK_OK);
	end();
}

static int64_t fails(struct mock_engine *m, struct engine_io *io)
{
	(void)m;
	(void)io;
	return -EIO;
}

static void test_reset_with_errors(void **state)
{
	(void)state;
	start((struct block_options){ 0 }, ALL);
	for (unsigned i = 0; i < 50; i++)
		put_request_on(0, i & 1 ? BLOCK_IN : BLOCK_OUT, 8, DATA_AT,
			       4096);
	kick_queue(0);
	mock_result = fails;
	disk_reset();
	assert_int_equal(t.block->disk.requests.taken, 0);
	/* Stalled and starved queues are forgotten with the rest. */
	disk_activate(ALL);
	fill_queue(0, 256);
	kick_queue(0);
	assert_true(t.block->unfinished);
	disk_reset();
	assert_false(t.block->unfinished | t.block->starved | t.block->limited |
		     t.block->dirty);
	assert_false(pump(20));
	end();
}

/* 4.2.2.1: behind QueueReady's 0 nothing of that queue is touched any more. */
static void test_stop_queue(void **state)
{
	unsigned other;

	(void)state;
	start((struct block_options){ .queues = 2 }, ALL);
	put_ranges(BLOCK_WRITE_ZEROES, 16, 0);
	put_and_kick(BLOCK_IN, 8, 65536);
	other = put_request_on(1, BLOCK_IN, 8, DATA_AT, 4096);
	kick_queue(1);
	assert_int_equal(mock->count, 3);
	assert_false(disk_cancel(1u << 0));
	complete(0, 0);
	assert_int_equal(t.canceled, 0);
	complete(0, 65536);
	assert_int_equal(t.canceled, 1);
	assert_true(disk_cancel(1u << 0));
	/* What was begun there has ended, and nothing more was begun. */
	assert_int_equal(mock->submitted, 3);
	assert_int_equal(mock->count, 1);
	/* The other queue goes on. */
	complete(0, 1024);
	assert_int_equal(mock->count, 1);
	complete(0, 3072);
	assert_int_equal(status_of(other), BLOCK_OK);
	assert_int_equal(t.block->disk.requests.taken, 0);
	end();
}

/*
 * What an engine has not begun it gives back: that is over at once, and what
 * comes from other queues is begun once more, however often.
 */
static void test_take_back(void **state)
{
	unsigned other, flush;

	(void)state;
	start((struct block_options){ .queues = 16 }, ALL);
	put_and_kick(BLOCK_IN, 8, 4096);
	flush = put_request_on(15, BLOCK_FLUSH, 0, 0, 0);
	other = put_request_on(15, BLOCK_OUT, 8, DATA_AT, 4096);
	kick_queue(15);
	for (unsigned i = 0; i < 15; i++) {
		mock->queued = mock->count;
		assert_true(disk_cancel(1u << i));
		assert_int_equal(mock->count, 2);
		assert_int_equal(mock->flushed, mock->submitted);
	}
	complete(0, 0);
	complete(0, 4096);
	assert_int_equal(t.back_count, 2);
	assert_int_equal(status_of(flush), BLOCK_OK);
	assert_int_equal(status_of(other), BLOCK_OK);
	assert_int_equal(status_of(0), 0xee);
	/* All of it, and the next FLUSH does not wait for one never begun. */
	flush = put_request_on(15, BLOCK_FLUSH, 0, 0, 0);
	kick_queue(15);
	mock->queued = mock->count;
	assert_true(disk_cancel(DEVICE_ALL_QUEUES));
	assert_int_equal(mock->count, 0);
	assert_int_equal(t.block->disk.requests.taken, 0);
	assert_int_equal(status_of(flush), 0xee);
	disk_activate(ALL);
	put_and_kick(BLOCK_FLUSH, 0, 0);
	complete(0, 0);
	assert_int_equal(t.back_count, 3);
	end();
}

/* What comes back after the driver broke the rules is for nobody. */
static void test_broken_in_flight(void **state)
{
	(void)state;
	start((struct block_options){ 0 }, ALL);
	put_and_kick(BLOCK_IN, 8, 512);
	ring_desc(&t.ring[0], t.ring[0].desc, 7, 0, 0, 0, 0);
	ring_offer(&t.ring[0], 7);
	kick_queue(0);
	assert_int_equal(t.breaks, 1);
	complete(0, 512);
	assert_int_equal(t.back_count, 0);
	assert_int_equal(t.interrupts, 0);
	assert_int_equal(t.block->disk.requests.taken, 0);
	end();
}

/* -- results -------------------------------------------------------------- */

static void test_order(void **state)
{
	unsigned slots[4];

	(void)state;
	start((struct block_options){ 0 }, ALL);
	for (unsigned i = 0; i < 4; i++)
		slots[i] = put_and_kick(BLOCK_IN, i, 512);
	complete(2, 512);
	assert_true(t.back[slots[2]] && t.back_count == 1);
	complete(2, 512);
	assert_true(t.back[slots[3]] && t.back_count == 2);
	complete(0, 512);
	complete(0, 512);
	assert_int_equal(t.back_count, 4);
	end();
}

static void test_errors(void **state)
{
	static const int errors[] = { EIO,   ENOSPC, EFAULT, EDQUOT,
				      EROFS, EFBIG,  EINVAL };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		unsigned slot;

		start((struct block_options){ 0 }, ALL);
		slot = put_and_kick(BLOCK_IN, 0, 512);
		complete(0, -errors[i]);
		assert_int_equal(status_of(slot), BLOCK_IOERR);
		assert_int_equal(t.written[slot], 0);
		expect_log(strerror(errors[i]));
		slot = put_and_kick(BLOCK_OUT, 0, 512);
		complete(0, -errors[i]);
		assert_int_equal(status_of(slot), BLOCK_IOERR);
		assert_int_equal(t.written[slot], 1);
		expect_log(strerror(errors[i]));
		slot = put_and_kick(BLOCK_FLUSH, 0, 0);
		complete(0, -errors[i]);
		assert_int_equal(status_of(slot), BLOCK_IOERR);
		expect_log(strerror(errors[i]));
		end();
	}
}

/* A reservation conflict, which musl has no words for. */
static void test_reserved(void **state)
{
	(void)state;
	start((struct block_options){ 0 }, ALL);
	put_and_kick(BLOCK_OUT, 0, 512);
	complete(0, -EBADE);
	expect_log(": another machine has reserved it; the guest gets an I/O "
		   "error");
	put_and_kick(BLOCK_FLUSH, 0, 0);
	complete(0, -EBADE);
	expect_log("another machine has reserved it: what was written may be "
		   "lost");
	end();
}

static void test_short(void **state)
{
	unsigned slot;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	slot = put_pieces(0, BLOCK_IN, 8, DATA_AT, 8192, 4, true);
	kick_queue(0);
	assert_int_equal(newest()->iov_count, 4);
	complete(0, 3000);
	/* It goes on where that ended, in the second buffer. */
	assert_int_equal(newest()->offset, 4096 + 3000);
	assert_int_equal(newest()->len, 5192);
	assert_int_equal(newest()->iov_count, 3);
	assert_ptr_equal(newest()->iov[0].iov_base, guest(DATA_AT + 3000, 1));
	assert_int_equal(newest()->iov[0].iov_len, 1096);
	complete(0, 1);
	assert_int_equal(newest()->len, 5191);
	complete(0, -EIO);
	assert_int_equal(status_of(slot), BLOCK_IOERR);
	assert_int_equal(t.written[slot], 3001);
	expect_log(strerror(EIO));
	slot = put_and_kick(BLOCK_OUT, 8, 4096);
	complete(0, 4095);
	assert_int_equal(newest()->len, 1);
	complete(0, 1);
	assert_int_equal(status_of(slot), BLOCK_OK);
	slot = put_and_kick(BLOCK_OUT, 8, 4096);
	complete(0, 0);
	assert_int_equal(status_of(slot), BLOCK_IOERR);
	expect_log("full");
	end();
}

static void test_retries(void **state)
{
	static const int again[] = { EAGAIN, EINTR };
	unsigned slot, tries;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	for (size_t i = 0; i < ARRAY_LEN(again); i++) {
		slot = put_and_kick(BLOCK_IN, 8, 512);
		for (unsigned j = 0; j < 5; j++)
			complete(0, -again[i]);
		complete(0, 512);
		assert_int_equal(status_of(slot), BLOCK_OK);
		/* But not for ever: 8 times, and each step anew. */
		slot = put_and_kick(BLOCK_IN, 8, 8192);
		for (unsigned j = 0; i && j < 5; j++)
			complete(0, -again[i]);
		if (i)
			complete(0, 512);
		for (tries = 0; mock->count && tries < 100; tries++)
			complete(0, -again[i]);
		assert_int_equal(tries, 9);
		assert_int_equal(status_of(slot), BLOCK_IOERR);
		expect_log(strerror(again[i]));
	}
	end();
}

/* -- kinds of zeros ------------------------------------------------------- */

static const int punch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
static const int zero = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;

static void test_discard_refused(void **state)
{
	static const int refusals[] = { EOPNOTSUPP, ENOSYS };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		start((struct block_options){ 0 }, ALL);
		put_ranges(BLOCK_DISCARD, 3, 0);
		assert_int_equal(newest()->op, ENGINE_ALLOCATE);
		assert_int_equal(newest()->mode, punch);
		complete(0, 0);
		assert_int_equal(newest()->offset, 64 * 512);
		complete(0, -refusals[i]);
		/* It is advice: nothing went wrong, and it is not tried again
		 */
		assert_int_equal(status_of(0), BLOCK_OK);
		put_ranges(BLOCK_DISCARD, 3, 0);
		assert_int_equal(mock->count, 0);
		collect();
		assert_int_equal(status_of(1), BLOCK_OK);
		end();
	}
	/* Other errors are errors. */
	start((struct block_options){ 0 }, ALL);
	put_ranges(BLOCK_DISCARD, 3, 0);
	complete(0, -EIO);
	assert_int_equal(status_of(0), BLOCK_IOERR);
	expect_log(strerror(EIO));
	end();
}

/* Others have pages of the device in their cache: that may pass, or not. */
static void complete_all_busy(void)
{
	const unsigned before = t.back_count;
	const enum engine_op op = newest()->op;

	for (unsigned i = 0;
	     i < 20 && t.back_count == before && newest()->op == op; i++)
		complete(0, -EBUSY);
}

static void test_busy(void **state)
{
	(void)state;
	start((struct block_options){ 0 }, ALL);
	put_ranges(BLOCK_DISCARD, 1, 0);
	complete(0, -EBUSY);
	assert_int_equal(newest()->op, ENGINE_ALLOCATE);
	complete(0, 0);
	assert_int_equal(status_of(0), BLOCK_OK);
	put_ranges(BLOCK_DISCARD, 1, 0);
	complete_all_busy();
	assert_int_equal(status_of(1), BLOCK_OK);
	put_ranges(BLOCK_WRITE_ZEROES, 1, 1);
	complete_all_busy();
	assert_int_equal(newest()->op, ENGINE_WRITE);
	complete(0, 16 * 512);
	assert_int_equal(status_of(2), BLOCK_OK);
	/* The next one is tried, and so it is after one that was not aligned.
	 */
	put_ranges(BLOCK_DISCARD, 1, 0);
	assert_int_equal(newest()->op, ENGINE_ALLOCATE);
	complete(0, -EINVAL);
	assert_int_equal(status_of(3), BLOCK_OK);
	put_ranges(BLOCK_WRITE_ZEROES, 1, 1);
	assert_int_equal(newest()->op, ENGINE_ALLOCATE);
	complete(0, -EINVAL);
	assert_int_equal(newest()->op, ENGINE_WRITE);
	complete(0, 16 * 512);
	assert_int_equal(status_of(4), BLOCK_OK);
	/* Data that is not safe is said to be so. */
	put_and_kick(BLOCK_FLUSH, 0, 0);
	while (mock->count)
		complete(0, -EBUSY);
	assert_int_equal(status_of(5), BLOCK_IOERR);
	expect_log(strerror(EBUSY));
	end();
}

static void test_zeros_refused(void **state)
{
	(void)state;
	start((struct block_options){ 0 }, ALL);
	put_ranges(BLOCK_WRITE_ZEROES, 2, 1);
	assert_int_equal(newest()->mode, punch);
	complete(0, -EOPNOTSUPP);
	assert_int_equal(newest()->mode, zero);
	complete(0, -EOPNOTSUPP);
	assert_int_equal(newest()->op, ENGINE_WRITE);
	assert_int_equal(newest()->len, 16 * 512);
	complete(0, 512); /* short: only the rest once more */
	assert_int_equal(newest()->offset, 512);
	complete(0, 15 * 512);
	assert_int_equal(newest()->offset, 64 * 512);
	complete(0, 16 * 512);
	assert_int_equal(status_of(0), BLOCK_OK);
	end();
	start((struct block_options){ 0 }, ALL);
	put_ranges(BLOCK_WRITE_ZEROES, 1, 0);
	assert_int_equal(newest()->mode, zero);
	complete(0, -ENOSPC);
	assert_int_equal(status_of(0), BLOCK_IOERR);
	expect_log(strerror(ENOSPC));
	end();
}

/* Without FLUSH the driver takes what is done for what is safe (5.2.6.2). */
static void test_write_through(void **state)
{
	(void)state;
	start((struct block_options){ 0 }, FEATURE_INDIRECT_DESC);
	put_and_kick(BLOCK_OUT, 0, 512);
	complete(0, 512);
	assert_int_equal(newest()->op, ENGINE_FLUSH);
	assert_false(t.back[0]);
	complete(0, 0);
	assert_int_equal(status_of(0), BLOCK_OK);
	put_ranges(BLOCK_WRITE_ZEROES, 1, 0);
	complete(0, 0);
	assert_int_equal(newest()->op, ENGINE_FLUSH);
	assert_false(t.back[1]);
	complete(0, 0);
	assert_int_equal(status_of(1), BLOCK_OK);
	end();
	start((struct block_options){ 0 }, ALL);
	put_and_kick(BLOCK_OUT, 0, 512);
	complete(0, 512);
	assert_int_equal(status_of(0), BLOCK_OK);
	end();
	/* What vanishes with mote need not be safe. */
	start((struct block_options){ .ephemeral = true },
	      FEATURE_INDIRECT_DESC);
	put_and_kick(BLOCK_OUT, 0, 4096);
	complete(0, 4096);
	assert_int_equal(status_of(0), BLOCK_OK);
	put_and_kick(BLOCK_FLUSH, 0, 0);
	assert_int_equal(mock->count, 0);
	end();
}

/* One at a time, and the next one for all that came meanwhile. */
static void test_flushes(void **state)
{
	unsigned slots[5];

	(void)state;
	start((struct block_options){ .queues = 2 }, ALL);
	for (unsigned i = 0; i < 4; i++) {
		slots[i] = put_request_on(i & 1, BLOCK_FLUSH, 0, 0, 0);
		kick_queue(i & 1);
	}
	assert_int_equal(mock->submitted, 1);
	complete(0, 0);
	assert_int_equal(t.back_count, 1);
	assert_int_equal(mock->submitted, 2);
	/* This one came when that had begun. */
	slots[4] = put_and_kick(BLOCK_FLUSH, 0, 0);
	complete(0, 0);
	assert_int_equal(t.back_count, 4);
	assert_int_equal(mock->submitted, 3);
	complete(0, 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(status_of(slots[i]), BLOCK_OK);
	assert_int_equal(t.back_count, 5);
	/* A queue that ends, and all of them. */
	for (unsigned i = 0; i < 4; i++) {
		put_request_on(i & 1, BLOCK_FLUSH, 0, 0, 0);
		kick_queue(i & 1);
	}
	assert_true(disk_cancel(1u << 1));
	put_and_kick(BLOCK_FLUSH, 0, 0);
	assert_true(disk_cancel(DEVICE_ALL_QUEUES));
	assert_null(t.block->disk.deferred);
	/* It takes as long as it likes; the next one comes behind it. */
	assert_int_equal(mock->count, 1);
	disk_activate(ALL);
	slots[0] = put_and_kick(BLOCK_FLUSH, 0, 0);
	assert_int_equal(mock->count, 1);
	complete(0, 0);
	assert_int_equal(mock->count, 1);
	assert_int_equal(status_of(slots[0]), 0xee);
	complete(0, 0);
	assert_int_equal(status_of(slots[0]), BLOCK_OK);
	assert_int_equal(t.block->disk.requests.taken, 0);
	end();
}

/* Linux tells once that data was lost; it is lost all the same. */
static void test_flush_failed(void **state)
{
	unsigned slots[3];

	(void)state;
	start((struct block_options){ 0 }, ALL);
	for (unsigned i = 0; i < 2; i++)
		slots[i] = put_and_kick(BLOCK_FLUSH, 0, 0);
	complete(0, -EIO);
	assert_int_equal(mock->count, 0);
	disk_reset();
	disk_activate(ALL);
	slots[2] = put_and_kick(BLOCK_FLUSH, 0, 0);
	collect();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(status_of(slots[i]), BLOCK_IOERR);
	expect_log(strerror(EIO));
	end();
	/* Whatever the kernel says; unless it never heard of the FLUSH. */
	start((struct block_options){ 0 }, ALL);
	slots[0] = put_and_kick(BLOCK_FLUSH, 0, 0);
	slots[1] = put_and_kick(BLOCK_FLUSH, 0, 0);
	for (unsigned i = 0; mock->count && !t.back_count; i++) {
		assert_true(i < 20);
		mock->waiting[0]->not_begun = true;
		complete(0, -EAGAIN);
	}
	expect_log(strerror(EAGAIN));
	complete(0, 0);
	assert_int_equal(status_of(slots[0]), BLOCK_IOERR);
	assert_int_equal(status_of(slots[1]), BLOCK_OK);
	slots[2] = put_and_kick(BLOCK_FLUSH, 0, 0);
	complete(0, -EAGAIN);
	assert_int_equal(status_of(slots[2]), BLOCK_IOERR);
	assert_int_equal(mock->count, 0);
	expect_log(strerror(EAGAIN));
	end();
}

/* Who cancels waits for the steps in flight, so none of them moves all there
 * is. */
static void test_step_sizes(void **state)
{
	const uint64_t all = 9 * MIB;
	uint64_t moved, len;
	unsigned steps = 0;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	for (unsigned i = 0; i < 2; i++) {
		put_and_kick(i ? BLOCK_OUT : BLOCK_IN, 0, (uint32_t)all);
		for (moved = 0; moved < all; moved += len) {
			assert_int_equal(newest()->offset, moved);
			len = newest()->len;
			assert_true(len && len <= 4 * MIB);
			complete(0, (int64_t)len);
		}
		assert_int_equal(moved, all);
		assert_int_equal(status_of(i), BLOCK_OK);
	}
	put_le64(guest(DATA_AT, 8), 0);
	put_le64(guest(DATA_AT + 8, 8), SIZE / 512);
	put_and_kick(BLOCK_WRITE_ZEROES, 0, 16);
	for (moved = 0; mock->count; steps++) {
		assert_int_equal(newest()->op, ENGINE_ALLOCATE);
		assert_int_equal(newest()->offset, moved);
		moved += newest()->len;
		complete(0, 0);
	}
	assert_true(moved == SIZE && steps >= 4);
	assert_int_equal(status_of(2), BLOCK_OK);
	end();
}

/* A host's block device: BLKDISCARD, by the worker where io_uring has none. */
static void test_block_device(void **state)
{
	struct block_backing backing = { .fd = -1,
					 .buffered_fd = -1,
					 .overlay_fd = -1,
					 .is_device = true,
					 .size = SIZE,
					 .logical = 4096,
					 .physical = 4096,
					 .name = "disk 0 (sdz)" };
	struct block_options options = { .queues = 1 };

	(void)state;
	memset(&t, 0, sizeof(t));
	mock_count = 0;
	make_ram(&t.ram, RAM_BYTES);
	assert_int_equal(loop_create(&t.loop), 0);
	t.block = block_create(&backing, &options, &t.loop);
	assert_non_null(t.block);
	t.device = block_device(t.block);
	disk_activate(ALL);
	assert_int_equal(mock_count, 2);
	assert_int_equal(get_le32(t.device->config + 20), 4096);
	assert_int_equal(t.device->config[24], 0);
	put_ranges(BLOCK_DISCARD, 2, 0);
	assert_int_equal(mock->count, 0);
	assert_int_equal(mocks[1].count, 1);
	assert_int_equal(mocks[1].waiting[0]->op, ENGINE_DISCARD);
	mock_complete(&mocks[1], 0, 0);
	assert_int_equal(mocks[1].waiting[0]->offset, 64 * 512);
	put_and_kick(BLOCK_IN, 8, 4096);
	assert_int_equal(mock->count, 1);
	/* A reset waits for both. */
	disk_reset();
	assert_int_equal(t.block->disk.requests.taken, 0);
	disk_activate(ALL);
	put_ranges(BLOCK_DISCARD, 2, 0);
	mock_complete(&mocks[1], 0, -EOPNOTSUPP);
	engine_reports(1);
	collect();
	assert_int_equal(status_of(2), BLOCK_OK);
	put_ranges(BLOCK_WRITE_ZEROES, 1, 0);
	assert_int_equal(newest()->mode, zero);
	complete(0, 0);
	end();
	/* Read-only, none is needed. */
	backing.ro = true;
	mock_count = 0;
	assert_int_equal(loop_create(&t.loop), 0);
	t.block = block_create(&backing, &options, &t.loop);
	assert_int_equal(mock_count, 1);
	block_destroy(t.block);
	loop_destroy(&t.loop);
}

static void start_auto(struct block_options options)
{
	mock_count = 0;
	options.file.fd = memory_file(SIZE);
	disk_make(&options, ALL);
}

/* Writes through the page cache are the worker's, nothing else is. */
static void test_writes_by_worker(void **state)
{
	(void)state;
	start_auto((struct block_options){ 0 });
	assert_int_equal(mock_count, 2);
	put_and_kick(BLOCK_OUT, 0, 512);
	put_and_kick(BLOCK_IN, 0, 512);
	put_and_kick(BLOCK_FLUSH, 0, 0);
	assert_int_equal(mocks[1].count, 1);
	assert_int_equal(mocks[1].flushed, 1);
	assert_int_equal(mocks[1].waiting[0]->op, ENGINE_WRITE);
	assert_int_equal(mock->count, 2);
	complete(0, 512);
	complete(0, 0);
	mock_complete(&mocks[1], 0, 512);
	engine_reports(1);
	collect();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(status_of(i), BLOCK_OK);
	/* A reset waits for both. */
	put_and_kick(BLOCK_OUT, 0, 512);
	put_and_kick(BLOCK_IN, 0, 512);
	disk_reset();
	assert_int_equal(t.block->disk.requests.taken, 0);
	end();
	/* What is written is the overlay, whatever way the base is read. */
	start_auto((struct block_options){ .ephemeral = true });
	put_and_kick(BLOCK_OUT, 0, 4096);
	assert_int_equal(mocks[1].waiting[0]->file, BLOCK_FILE_OVERLAY);
	mock_complete(&mocks[1], 0, 4096);
	end();
	/* A queue is stopped: its write is waited for, no other's read. */
	start_auto((struct block_options){ .queues = 2 });
	put_request_on(1, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(1);
	put_and_kick(BLOCK_OUT, 0, 512);
	assert_false(disk_cancel(1u << 0));
	mock_complete(&mocks[1], 0, 512);
	engine_reports(1);
	assert_int_equal(t.canceled, 1);
	assert_int_equal(mock->count, 1);
	complete(0, 512);
	end();
	/* A host that lets it have no thread. */
	mock_no_worker = -EAGAIN;
	start_auto((struct block_options){ 0 });
	mock_no_worker = 0;
	put_and_kick(BLOCK_OUT, 0, 512);
	complete(0, 512);
	assert_int_equal(status_of(0), BLOCK_OK);
	end();
	/* Nothing to be written: no thread. */
	start_auto((struct block_options){ .ro = true });
	assert_int_equal(mock_count, 1);
	end();
}

/* O_DIRECT refuses what is not aligned: that goes through the page cache. */
static void test_misaligned(void **state)
{
	unsigned slot;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	t.block->backing.buffered_fd = memory_file(SIZE);
	slot = put_and_kick(BLOCK_OUT, 1, 512);
	complete(0, -EINVAL);
	assert_int_equal(newest()->file, BLOCK_FILE_BUFFERED);
	assert_int_equal(newest()->len, 512);
	complete(0, 512);
	assert_int_equal(status_of(slot), BLOCK_OK);
	/* The next one is tried as asked for; twice refused is an error. */
	slot = put_and_kick(BLOCK_IN, 8, 4096);
	assert_int_equal(newest()->file, BLOCK_FILE_BASE);
	complete(0, -EINVAL);
	complete(0, -EINVAL);
	assert_int_equal(status_of(slot), BLOCK_IOERR);
	expect_log(strerror(EINVAL));
	end();
}

/* -- hosts without io_uring ----------------------------------------------- */

static int create_with(enum block_engine engine)
{
	struct block_options options = {
		.file.fd = memory_file(SIZE),
		.engine = engine,
	};

	mock_count = 0;
	return disk_create(&options);
}

static void test_engine_choice(void **state)
{
	(void)state;
	assert_int_equal(create_with(BLOCK_ENGINE_AUTO), 0);
	assert_string_equal(t.block->disk.engines[0]->ops->name, "mock");
	end();
	assert_int_equal(create_with(BLOCK_ENGINE_THREADS), 0);
	assert_string_equal(t.block->disk.engines[0]->ops->name, "mock worker");
	end();
	/* kernel.io_uring_disabled=2, or a container's filter */
	mock_no_uring = -EPERM;
	assert_int_equal(create_with(BLOCK_ENGINE_AUTO), 0);
	assert_string_equal(t.block->disk.engines[0]->ops->name, "mock worker");
	end();
	assert_int_equal(create_with(BLOCK_ENGINE_URING), -EIO);
	expect_log("leave engine=uring out");
	loop_destroy(&t.loop);
	ram_destroy(&t.ram);
	mock_no_worker = -EAGAIN;
	assert_int_equal(create_with(BLOCK_ENGINE_AUTO), -EIO);
	expect_log("worker thread");
	loop_destroy(&t.loop);
	ram_destroy(&t.ram);
	mock_no_uring = mock_no_worker = 0;
}

/* A copy of its descriptor is what a ring has until it is gone. */
static void test_end_unlocks(void **state)
{
	char path[32];
	int copy, other;

	(void)state;
	start((struct block_options){ 0 }, ALL);
	copy = dup(t.block->backing.fd);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", copy);
	other = open(path, O_RDWR);
	assert_true(other >= 0);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
	end();
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), 0);
	close(other);
	close(copy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue_budgets),
		cmocka_unit_test(test_endless_driver),
		cmocka_unit_test(test_endless_steps),
		cmocka_unit_test(test_starved),
		cmocka_unit_test(test_reset_ends_steps),
		cmocka_unit_test(test_reset_with_errors),
		cmocka_unit_test(test_stop_queue),
		cmocka_unit_test(test_take_back),
		cmocka_unit_test(test_broken_in_flight),
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_retries),
		cmocka_unit_test(test_discard_refused),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_zeros_refused),
		cmocka_unit_test(test_write_through),
		cmocka_unit_test(test_flushes),
		cmocka_unit_test(test_flush_failed),
		cmocka_unit_test(test_step_sizes),
		cmocka_unit_test(test_block_device),
		cmocka_unit_test(test_writes_by_worker),
		cmocka_unit_test(test_misaligned),
		cmocka_unit_test(test_engine_choice),
		cmocka_unit_test(test_end_unlocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
