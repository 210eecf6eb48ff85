/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c tests/unit/mock_engine.c */
/* ldflags: -Wl,--wrap=log_guest */
/* ldflags: -Wl,--wrap=loop_now,--wrap=loop_timer_set */
/*
 * bw= and iops= of a disk, by a clock that the test winds: a driver that always
 * has more gets what it may, over seconds, and not more.
 */
#include <linux/falloc.h>

#include "tests/unit/block_help.h"
#include "tests/unit/mock_engine.h"

#define SIZE	 (64 * MIB)
#define SECOND	 1000000000ULL
#define FEATURES (FLUSH_FEATURE | FEATURE_INDIRECT_DESC | FEATURE_EVENT_IDX)

static uint64_t now, alarm_at; /* 0: none is set */

uint64_t __wrap_loop_now(void);
void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns);

uint64_t __wrap_loop_now(void)
{
	return now;
}

void __wrap_loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	assert_ptr_equal(timer, &t.block->timer);
	alarm_at = ns ? now + ns : 0;
}

static uint64_t moved;

static int64_t perform(struct mock_engine *mock, struct engine_io *io)
{
	(void)mock;
	if (io->op == ENGINE_ALLOCATE)
		return -EOPNOTSUPP;
	moved += io->len;
	return (int64_t)io->len;
}

/* A host that can punch holes. */
static void allocate_all(void)
{
	while (mocks[0].count)
		mock_complete(&mocks[0], 0, 0);
	engine_reports(0);
}

static void at_once(struct mock_engine *mock)
{
	while (mock->count)
		mock_complete(mock, 0, perform(mock, mock->waiting[0]));
}

static void start(struct block_options options)
{
	mock_count = 0;
	mock_flushed = at_once;
	mock_result = perform;
	now = 5 * SECOND;
	moved = alarm_at = 0;
	options.file.fd = memory_file(SIZE);
	disk_make(&options, FEATURES);
}

static void end(void)
{
	disk_destroy();
	expect_no_log();
}

/* Requests done in so many seconds, of `len` bytes each, from all queues. */
static unsigned run(unsigned seconds, uint32_t type, uint32_t len)
{
	const uint64_t until = now + seconds * SECOND;
	const unsigned before = t.back_count;

	while (now < until) {
		/* As much as it takes, until it has to wait for the clock. */
		for (unsigned i = 0; !t.block->limited; i++) {
			unsigned queue = i % t.device->queue_count;

			assert_true(i < 100000);
			while ((uint16_t)(t.ring[queue].avail_idx -
					  t.ring[queue].used_idx) < 64)
				put_request_on(queue, type, 0, DATA_AT, len);
			kick_queue(queue);
			pump(0);
		}
		now = alarm_at < until ? alarm_at : until;
		alarm_at = 0;
		t.block->timer.expired(t.block);
		collect();
	}
	return t.back_count - before;
}

/* Within a percent, and a burst of a tenth of a second at the start. */
static void expect_rate(uint64_t got, uint64_t rate, unsigned seconds,
			uint64_t request)
{
	const uint64_t wanted = rate * seconds;

	if (got + request < wanted - wanted / 100 ||
	    got > wanted + wanted / 100 + rate / 10 + request)
		fail_msg("%llu in %u s at %llu/s", (unsigned long long)got,
			 seconds, (unsigned long long)rate);
}

static void test_iops(void **state)
{
	static const uint64_t rates[] = { 1, 7, 100, 1000, 10000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
		start((struct block_options){ .ops_per_s = rates[i],
					      .queues = 2 });
		expect_rate(run(10, BLOCK_IN, 512), rates[i], 10, 1);
		end();
	}
}

static void test_bw(void **state)
{
	static const struct {
		uint64_t rate;
		uint32_t len;
	} cases[] = {
		{ MIB, 512 },	    { MIB, 4096 }, { MIB, MIB },
		{ 100 * MIB, MIB }, { 1000, 512 }, { 100 * MIB, 65536 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (unsigned write = 0; write < 2; write++) {
			start((struct block_options){
				.bytes_per_s = cases[i].rate,
			});
			run(10, write ? BLOCK_OUT : BLOCK_IN, cases[i].len);
			expect_rate(moved, cases[i].rate, 10, cases[i].len);
			end();
		}
}

/* The stricter of two holds. */
static void test_both(void **state)
{
	(void)state;
	start((struct block_options){ .bytes_per_s = MIB, .ops_per_s = 10 });
	expect_rate(run(10, BLOCK_IN, 512), 10, 10, 1);
	end();
	start((struct block_options){ .bytes_per_s = MIB, .ops_per_s = 10 });
	run(10, BLOCK_IN, MIB);
	expect_rate(moved, MIB, 10, MIB);
	end();
}

/* Zeros that have to be written count, although no data came for them. */
static void test_zeros_count(void **state)
{
	(void)state;
	start((struct block_options){ .bytes_per_s = MIB });
	put_le64(guest(DATA_AT, 16), 0);
	put_le32(guest(DATA_AT + 8, 4), 8 * MIB / 512);
	put_le32(guest(DATA_AT + 12, 4), 0);
	put_request_on(0, BLOCK_WRITE_ZEROES, 0, DATA_AT, 16);
	kick_queue(0);
	while (t.block->disk.requests.taken) {
		at_once(&mocks[0]);
		engine_reports(0);
	}
	collect();
	assert_int_equal(moved, 8 * MIB);
	assert_int_equal(t.back_count, 1);
	/* The next one pays for that. */
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	assert_in_range(alarm_at - now, 7 * SECOND, 9 * SECOND);
	end();
}

/*
 * A cluster that is written in part is copied first, read and written: writes
 * of a sector each, none to the same cluster, and what they move in all.
 */
static unsigned copies_in(unsigned seconds, struct block_options options)
{
	const uint64_t until = (5 + seconds) * SECOND;
	unsigned next = 0;

	options.ephemeral = true;
	start(options);
	while (now < until) {
		for (unsigned i = 0; !t.block->limited; i++) {
			assert_true(i < 100000);
			while ((uint16_t)(t.ring[0].avail_idx -
					  t.ring[0].used_idx) < 64)
				put_request_on(0, BLOCK_OUT,
					       next++ % (SIZE / 4096) * 8 + 1,
					       DATA_AT, 512);
			kick_queue(0);
			pump(0);
		}
		now = alarm_at < until ? alarm_at : until;
		alarm_at = 0;
		t.block->timer.expired(t.block);
		collect();
	}
	next = t.back_count;
	end();
	return next;
}

static void test_copies_count(void **state)
{
	const uint64_t each = 512 + 2 * 4096;

	(void)state;
	expect_rate(
		copies_in(10, (struct block_options){ .bytes_per_s = MIB }) *
			each,
		MIB, 10, each);
	/* The guest's write, and two for the copy. */
	expect_rate(copies_in(10, (struct block_options){ .ops_per_s = 300 }) *
			    3ULL,
		    300, 10, 3);
}

/* Every other cluster is the overlay's: each is an operation of its own. */
static void test_runs_count(void **state)
{
	(void)state;
	start((struct block_options){ .ops_per_s = 1000, .ephemeral = true });
	for (unsigned i = 0; i < 64; i += 2)
		put_request_on(0, BLOCK_OUT, i * 8ULL, DATA_AT, 4096);
	kick_queue(0);
	now += 10 * SECOND;
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 64 * 4096);
	kick_queue(0);
	while (t.block->disk.requests.taken) {
		at_once(&mocks[0]);
		engine_reports(0);
	}
	assert_int_equal(t.block->ops.level, 100 - 64);
	collect();
	assert_int_equal(t.back_count, 33);
	end();
}

/* A range is one, however large; and so is a FLUSH that nobody asked for. */
static void test_ranges_count(void **state)
{
	uint8_t *ranges;

	(void)state;
	start((struct block_options){ .ops_per_s = 1000 });
	ranges = guest(DATA_AT, 16 * 16);
	for (unsigned i = 0; i < 16; i++) {
		put_le64(ranges + 16 * i, 0);
		put_le32(ranges + 16 * i + 8, SIZE / 512);
		put_le32(ranges + 16 * i + 12, 0);
	}
	mock_flushed = NULL;
	put_request_on(0, BLOCK_DISCARD, 0, DATA_AT, 16 * 16);
	t.block->disk.write_through = true;
	kick_queue(0);
	while (t.block->disk.requests.taken)
		allocate_all();
	assert_int_equal(t.block->ops.level, 100 - 17);
	end();
}

/* A reset forgets the wait; the debt stays. */
static void test_reset(void **state)
{
	(void)state;
	start((struct block_options){ .ops_per_s = 1 });
	for (unsigned i = 0; i < 3; i++)
		put_request_on(0, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	assert_true(alarm_at);
	disk_reset();
	assert_false(alarm_at);
	disk_activate(FEATURES);
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	assert_in_range(alarm_at - now, SECOND / 2, SECOND);
	end();
}

/* None asked for: the clock is not even looked at. */
static void test_none(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	for (unsigned i = 0; i < 50; i++)
		put_request_on(0, BLOCK_IN, 0, DATA_AT, 65536);
	kick_queue(0);
	collect();
	assert_int_equal(t.back_count, 50);
	assert_int_equal(alarm_at, 0);
	end();
}

/* -- what else the clock is for ------------------------------------------- */

static void first_is_done(struct mock_engine *mock)
{
	if (mock->count)
		mock_complete(mock, 0, perform(mock, mock->waiting[0]));
}

static void timer_expires(void)
{
	now = alarm_at;
	alarm_at = 0;
	t.block->timer.expired(t.block);
	collect();
}

/* What is done waits a millisecond at most for what takes longer. */
static void test_batch_has_a_bound(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	mock_flushed = NULL;
	mocks[1].engine.batches = true; /* which has the writes */
	put_request_on(0, BLOCK_OUT, 0, DATA_AT, 4096);
	kick_queue(0);
	assert_int_equal(alarm_at, 0); /* nothing that it could wait for */
	for (unsigned i = 0; i < 2; i++)
		put_request_on(0, BLOCK_OUT, 0, DATA_AT, 4096);
	kick_queue(0);
	assert_int_equal(alarm_at, now + SECOND / 1000);
	mock_reaped = first_is_done;
	for (unsigned i = 1; i < 3; i++) {
		timer_expires();
		assert_int_equal(t.back_count, i);
	}
	/* The last one is told of by the engine. */
	assert_int_equal(alarm_at, 0);
	mock_reaped = NULL;
	end();
}

/* What a burst has touched goes back a second later, once it is over. */
static void test_burst_is_given_back(void **state)
{
	struct pool *requests, *pages;

	(void)state;
	start((struct block_options){ 0 });
	requests = &t.block->disk.requests;
	pages = &t.block->disk.pages;
	mock_flushed = NULL;
	for (unsigned i = 0; i < 32; i++)
		put_request_on(0, BLOCK_IN, 0, DATA_AT, 4096);
	kick_queue(0);
	assert_in_range(requests->used * requests->size, 1, 8192);
	assert_int_equal(pages->used, 0);
	assert_int_equal(alarm_at, 0);
	for (unsigned i = 0; i < 5; i++)
		put_pieces(0, BLOCK_IN, 0, DATA_AT, 65536, 16, true);
	kick_queue(0);
	assert_int_equal(pages->used, 5);
	assert_int_equal(alarm_at, now + SECOND);
	timer_expires(); /* not in the midst of it */
	assert_int_equal(pages->used, 5);
	assert_int_equal(alarm_at, now + SECOND);
	at_once(&mocks[0]);
	engine_reports(0);
	timer_expires();
	assert_int_equal(t.back_count, 37);
	assert_int_equal(requests->used + pages->used, 0);
	assert_int_equal(alarm_at, 0);
	end();
}

static uint64_t counted(enum disk_counter counter)
{
	uint64_t value[DISK_COUNTERS];

	block_counters(t.block, value);
	return value[counter];
}

static void pass_time(uint64_t ns)
{
	now += ns;
	t.block->timer.expired(t.block);
	pump(0);
	collect();
}

/* A request that waits counts once, however often it is looked at. */
static void test_throttled(void **state)
{
	(void)state;
	start((struct block_options){ .ops_per_s = 1, .queues = 2 });
	for (unsigned i = 0; i < 4; i++)
		put_request_on(i % 2, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	pump(0);
	assert_int_equal(counted(DISK_READS), 1);
	assert_int_equal(counted(DISK_THROTTLED), 1);
	kick_queue(1);
	assert_int_equal(counted(DISK_THROTTLED), 2);
	/* Too early, and looked at because of a kick, or of a pause. */
	pass_time(SECOND / 2);
	kick_queue(0);
	assert_true(disk_pause());
	disk_resume();
	assert_int_equal(counted(DISK_THROTTLED), 2);
	assert_int_equal(counted(DISK_READS), 1);
	/* One of them goes, and the one behind it has not been looked at. */
	pass_time(SECOND / 2);
	assert_int_equal(counted(DISK_READS), 2);
	pass_time(SECOND);
	assert_int_equal(counted(DISK_READS), 3);
	/* The last in its queue waits for the first time, or goes. */
	assert_in_range(counted(DISK_THROTTLED), 2, 3);
	/* What a reset has taken back was nothing; the next one is another. */
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	disk_reset();
	disk_activate(FEATURES);
	assert_int_equal(counted(DISK_READS), 3);
	const uint64_t before = counted(DISK_THROTTLED);
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 512);
	kick_queue(0);
	assert_int_equal(counted(DISK_THROTTLED), before + 1);
	assert_int_equal(counted(DISK_READ_BYTES), 3 * 512);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch_has_a_bound),
		cmocka_unit_test(test_burst_is_given_back),
		cmocka_unit_test(test_iops),
		cmocka_unit_test(test_throttled),
		cmocka_unit_test(test_bw),
		cmocka_unit_test(test_both),
		cmocka_unit_test(test_zeros_count),
		cmocka_unit_test(test_copies_count),
		cmocka_unit_test(test_runs_count),
		cmocka_unit_test(test_ranges_count),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
