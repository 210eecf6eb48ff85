/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/mock_device.c */
/*
 * Virtio devices that are paused, saved, and go on in another machine over the
 * same RAM.
 */
#include <stdio.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/mock_device.h"

#define STATE_MAX 256

/* A slot's record, and where its fields are in it. */
enum {
	SLOT_KIND = 0,
	SLOT_QUEUES = 4,
	SLOT_OFFERED = 8,
	SLOT_ACKED = 16,
	SLOT_STATUS = 24,
	SLOT_INTERRUPT = 28,
	SLOT_QUEUE_SEL = 40,
	SLOT_GENERATION = 44,
	SLOT_IMPOSSIBLE = 48,
	SLOT_CONFIG = 49,
	SLOT_LEN = 113,
};

/* The same of a queue. */
enum {
	QUEUE_NUM = 0,
	QUEUE_READY = 4,
	QUEUE_DESC = 5,
	QUEUE_DRIVER = 13,
	QUEUE_DEVICE = 21,
	QUEUE_AVAIL = 29,
	QUEUE_USED = 31,
	QUEUE_PUBLISHED = 33,
	QUEUE_LEN = 35,
};

static uint8_t slot[SLOT_LEN], queues[QUEUES][QUEUE_LEN];
static unsigned quiets;
static bool quiet_at_once;

/* -- in the loop's thread -------------------------------------------------- */

static void in_loop(void (*function)(void *arg))
{
	assert_int_equal(loop_call(&host.loop, function, NULL), 0);
}

static void count_quiet(void *arg)
{
	assert_ptr_equal(arg, &quiets);
	quiets++;
}

static void do_pause(void *arg)
{
	(void)arg;
	quiet_at_once = mmio_pause(&mock.device, count_quiet, &quiets);
}

static void do_resume(void *arg)
{
	(void)arg;
	mmio_resume(&mock.device);
}

static void do_quiet(void *arg)
{
	(void)arg;
	device_paused(&mock.device);
}

static void do_save(void *arg)
{
	struct state s = state_save(slot, sizeof(slot));

	(void)arg;
	mmio_state_slot(&mock.device, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(s.at, SLOT_LEN);
	for (unsigned i = 0; i < QUEUES; i++) {
		s = state_save(queues[i], QUEUE_LEN);
		mmio_state_queue(&mock.device, i, &s);
		assert_true(state_is_whole(&s));
		assert_int_equal(s.at, QUEUE_LEN);
	}
}

/* -- saving and loading ---------------------------------------------------- */

static void save(void)
{
	host_settle();
	in_loop(do_pause);
	assert_true(quiet_at_once);
	in_loop(do_save);
}

/* NULL, or what is wrong. */
static const char *load_slot(void)
{
	struct state s = state_load(slot, sizeof(slot));

	mmio_state_slot(&mock.device, &s);
	state_is_whole(&s);
	return s.wrong;
}

static const char *load_queue(unsigned i)
{
	struct state s = state_load(queues[i], QUEUE_LEN);

	mmio_state_queue(&mock.device, i, &s);
	state_is_whole(&s);
	return s.wrong;
}

static void load(void)
{
	assert_null(load_slot());
	for (unsigned i = 0; i < QUEUES; i++)
		assert_null(load_queue(i));
}

static void go_on(void)
{
	mmio_restored(&mock.device);
	host_run();
}

/* The guest goes on with a new device. */
static void restore(void)
{
	save();
	move_mock();
	load();
	go_on();
}

/* -- the guest ------------------------------------------------------------- */

static unsigned offered, used;

/* Chains that differ by their length. */
static void offer(unsigned count)
{
	for (; count; count--) {
		const struct ring_buffer buffer = { GPA(0x100000), ++offered,
						    true };

		ring_add_chain(&ring, &buffer, 1);
	}
	notify_queue(0);
}

/* So many have come back, in order, and no more. */
static void expect_used(unsigned count)
{
	uint32_t head = 0, written = 0;

	host_settle();
	while (count--) {
		assert_true(ring_used(&ring, &head, &written));
		assert_int_equal(written, ++used);
	}
	assert_false(ring_used(&ring, &head, &written));
}

static void start_guest(uint64_t features)
{
	offered = used = mock.popped = 0;
	start(FEATURE_VERSION_1 | features);
}

/* -- going on -------------------------------------------------------------- */

/*
 * At every point: so many chains are done with, so many taken and so many not
 * seen by the device, and as many between the pause and the end.
 */
static void go_on_after(uint64_t features, const unsigned n[4])
{
	start_guest(features);
	offer(n[0]);
	host_settle();
	mock.keeps = true;
	offer(n[1]);
	host_settle();
	in_loop(do_pause);
	offer(n[2]);
	expect_used(n[0]);
	assert_int_equal(mock.popped, n[0] + n[1]);
	interrupts();
	in_loop(do_save);
	offer(n[3]);
	move_mock();
	load();
	go_on();
	assert_true(interrupts() > 0);
	assert_int_equal(mock.activated, 1);
	assert_true(mock.acked == (FEATURE_VERSION_1 | features));
	expect_used(n[1] + n[2] + n[3]);
	assert_int_equal(mock.popped, n[1] + n[2] + n[3]);
	ring_set_used_event(&ring, ring.used_idx);
	offer(2);
	expect_used(2);
	assert_int_equal(interrupts(), 1);
}

static void test_restored_goes_on(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const unsigned n[4] = { i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6 };

		go_on_after(i & 1 ? FEATURE_EVENT_IDX : 0, n);
	}
}

/* A hundred times, so that each index runs through the ring. */
static void test_restored_again(void **state)
{
	(void)state;
	start_guest(FEATURE_EVENT_IDX | FEATURE_INDIRECT_DESC);
	for (unsigned i = 0; i < 100; i++) {
		offer(i % 5);
		restore();
		expect_used(i % 5);
		assert_int_equal(reg_read(R_STATUS), 15);
		assert_int_equal(reg_read(R_INTERRUPT_STATUS), 1);
	}
	/* A queue that is stopped then is nowhere. */
	reg_write(R_QUEUE_SEL, 0);
	reg_write(R_QUEUE_READY, 0);
	restore();
	assert_int_equal(get_le16(queues[0] + QUEUE_AVAIL), 0);
	assert_int_equal(reg_read(R_QUEUE_READY), 0);
}

/* Where the indexes wrap around. */
static void test_restored_wraps(void **state)
{
	const uint16_t at = UINT16_MAX - 5;

	(void)state;
	start_guest(FEATURE_EVENT_IDX);
	save();
	move_mock();
	put_le16(queues[0] + QUEUE_AVAIL, at);
	put_le16(queues[0] + QUEUE_USED, at);
	put_le16(queues[0] + QUEUE_PUBLISHED, at);
	ring.avail_idx = ring.used_idx = at;
	ring_put16(&ring, gpa_add(ring.avail, 2), at);
	ring_put16(&ring, gpa_add(ring.used, 2), at);
	load();
	go_on();
	/* The driver waits for the last of six. */
	ring_set_used_event(&ring, at + 5);
	offer(5);
	expect_used(5);
	interrupts();
	offer(4);
	expect_used(4);
	assert_int_equal(interrupts(), 1);
	restore();
	offer(3);
	expect_used(3);
}

/* Whoever took the snapshot goes on as well, and nothing is lost there. */
static void test_source_goes_on(void **state)
{
	(void)state;
	start_guest(0);
	for (unsigned i = 0; i < 20; i++) {
		offer(2);
		host_settle();
		save();
		offer(3);
		expect_used(2);
		interrupts();
		in_loop(do_resume);
		expect_used(3);
		assert_int_equal(interrupts(), 1);
	}
	assert_int_equal(mock.pauses, 20);
	assert_int_equal(mock.resumes, 20);
	assert_int_equal(mock.activated, 1);
}

/* -- paused ---------------------------------------------------------------- */

static void test_paused_is_silent(void **state)
{
	unsigned kicks;

	(void)state;
	start_guest(0);
	in_loop(do_pause);
	kicks = mock.kicks[0];
	offer(5);
	notify_queue(0);
	notify_queue(1);
	expect_used(0);
	assert_int_equal(mock.kicks[0], kicks);
	assert_int_equal(interrupts(), 0);
	assert_int_equal(reg_read(R_STATUS), 15);
	in_loop(do_resume);
	assert_int_equal(mock.kicks[0], kicks + 1);
	expect_used(5);
	assert_int_equal(interrupts(), 1);
}

/* The driver may do meanwhile whatever it likes. */
static void test_paused_reset(void **state)
{
	(void)state;
	start_guest(FEATURE_EVENT_IDX);
	offer(3);
	expect_used(3);
	in_loop(do_pause);
	offer(1);
	reg_write(R_STATUS, 0);
	assert_int_equal(mock.resets, 1);
	assert_int_equal(reg_read(R_STATUS), 0);
	start_guest(0);
	assert_int_equal(mock.activated, 2);
	offer(4);
	expect_used(0);
	in_loop(do_resume);
	expect_used(4);
	/* A queue that was stopped meanwhile stays so. */
	in_loop(do_pause);
	offer(1);
	reg_write(R_QUEUE_SEL, 0);
	reg_write(R_QUEUE_READY, 0);
	assert_int_equal(mock.stopped[0], 1);
	in_loop(do_resume);
	expect_used(0);
	in_loop(do_pause);
	in_loop(do_save);
	assert_int_equal(queues[0][QUEUE_READY], 0);
	assert_int_equal(get_le16(queues[0] + QUEUE_AVAIL), 0);
	move_mock();
	load();
	go_on();
	expect_used(0);
	reg_write(R_QUEUE_SEL, 0);
	assert_int_equal(reg_read(R_QUEUE_READY), 0);
	start_guest(0);
	offer(1);
	expect_used(1);
}

/* Started while it is paused, saved so, and never kicked where it was. */
static void test_paused_start(void **state)
{
	(void)state;
	in_loop(do_pause);
	start_guest(FEATURE_EVENT_IDX);
	offer(3);
	expect_used(0);
	assert_int_equal(mock.kicks[0], 0);
	in_loop(do_save);
	move_mock();
	load();
	go_on();
	expect_used(3);
}

static void test_pause_waits(void **state)
{
	(void)state;
	start_guest(0);
	quiets = 0;
	atomic_store(&mock.in_flight, true);
	for (unsigned i = 1; i <= 2; i++) {
		in_loop(do_pause);
		assert_false(quiet_at_once);
		assert_true(mmio_is_busy(&mock.device));
		assert_int_equal(quiets, i - 1);
		/* Once, however often the device says it. */
		in_loop(do_quiet);
		in_loop(do_quiet);
		assert_false(mmio_is_busy(&mock.device));
		assert_int_equal(quiets, i);
		in_loop(do_resume);
	}
	/* Not any more, where nobody waits for it. */
	in_loop(do_pause);
	in_loop(do_resume);
	assert_false(mmio_is_busy(&mock.device));
	in_loop(do_quiet);
	assert_int_equal(quiets, 2);
}

/* A FLUSH that a reset does not wait for is waited for all the same. */
static void test_pause_outlasts_reset(void **state)
{
	(void)state;
	start_guest(0);
	quiets = 0;
	atomic_store(&mock.flushes, true);
	in_loop(do_pause);
	assert_false(quiet_at_once);
	reg_write(R_STATUS, 0);
	assert_int_equal(mock.resets, 1);
	assert_int_equal(quiets, 0);
	assert_true(mmio_is_busy(&mock.device));
	in_loop(do_quiet);
	assert_int_equal(quiets, 1);
	in_loop(do_resume);
}

/* -- what is in the registers ---------------------------------------------- */

/* A driver that has not finished sets up goes on with it. */
static void test_restored_not_started(void **state)
{
	(void)state;
	ring_init(&ring, &host.ram, GPA(RING_AT), 16);
	assert_true(driver_features(FEATURE_VERSION_1 | FEATURE_B));
	assert_true(driver_queue(0, &ring));
	reg_write(R_QUEUE_SEL, 1);
	reg_write(R_QUEUE_NUM, 8);
	reg_write64(R_QUEUE_DESC, 0x123456789);
	reg_write(R_FEATURES_SEL, 1);
	restore();
	assert_int_equal(mock.activated, 0);
	assert_int_equal(reg_read(R_STATUS), 11);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 0);
	assert_int_equal(interrupts(), 0);
	assert_int_equal(reg_read(R_FEATURES), (uint32_t)(FEATURE_B >> 32) | 1);
	assert_int_equal(reg_read(R_QUEUE_READY), 0);
	save();
	assert_int_equal(get_le32(queues[1] + QUEUE_NUM), 8);
	assert_true(get_le64(queues[1] + QUEUE_DESC) == 0x123456789);
	reg_write(R_QUEUE_SEL, 0);
	assert_int_equal(reg_read(R_QUEUE_READY), 1);
	in_loop(do_resume);
	driver_ok();
	assert_int_equal(mock.activated, 1);
	assert_true(mock.acked == (FEATURE_VERSION_1 | FEATURE_B));
	offered = used = 0;
	offer(1);
	expect_used(1);
	/* Between those: bits that nobody has are still remembered. */
	reg_write(R_STATUS, 0);
	reg_write(R_DRIVER_FEATURES_SEL, 2);
	reg_write(R_DRIVER_FEATURES, 1);
	restore();
	reg_write(R_STATUS, 1);
	reg_write(R_STATUS, 3);
	reg_write(R_STATUS, 11);
	assert_int_equal(reg_read(R_STATUS), 3 | S_NEEDS_RESET);
	expect_log("features that were not offered");
}

static void test_restored_broken(void **state)
{
	(void)state;
	start_guest(0);
	offer(3);
	expect_used(3);
	ring_offer(&ring, 99);
	notify_queue(0);
	host_settle();
	assert_int_equal(reg_read(R_STATUS), 15 | S_NEEDS_RESET);
	expect_log("a malformed ring");
	restore();
	/* Where it was is of no use, and may be impossible. */
	assert_int_equal(get_le16(queues[0] + QUEUE_AVAIL), 0);
	assert_int_equal(reg_read(R_STATUS), 15 | S_NEEDS_RESET);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	assert_int_equal(mock.activated, 0);
	assert_true(interrupts() > 0);
	notify_queue(0);
	host_settle();
	assert_int_equal(mock.kicks[0], 0);
	start_guest(0);
	offer(1);
	expect_used(1);
	expect_no_log();
}

static void test_restored_config(void **state)
{
	const uint8_t news[2] = { 0x77, 0x88 };

	(void)state;
	device_set_config(&mock.device, 4, news, 2);
	start_guest(0);
	restore();
	/* The driver has seen these two. */
	assert_int_equal(reg_read(R_GENERATION), 2);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	assert_int_equal(reg_read(R_CONFIG + 4), 0x08070605);
	assert_int_equal(interrupts(), 1);
	/* It is told until it says that it knows. */
	save();
	move_mock();
	load();
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	go_on();
	assert_int_equal(reg_read(R_GENERATION), 2);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	reg_write(R_INTERRUPT_ACK, 3);
	restore();
	assert_int_equal(reg_read(R_GENERATION), 2);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 1);
}

/* Until mmio_restored the guest's page shows what it has shown. */
static void test_loaded_config(void **state)
{
	(void)state;
	start_guest(0);
	save();
	move_mock();
	slot[SLOT_CONFIG + 9] = 0x99;
	slot[SLOT_CONFIG + 63] = 0x63;
	put_le32(slot + SLOT_GENERATION, UINT32_MAX);
	put_le32(slot + SLOT_INTERRUPT, 0);
	load();
	assert_int_equal(reg_read(R_GENERATION), UINT32_MAX);
	assert_int_equal(reg_read(R_CONFIG + 8), 0x9909);
	assert_int_equal(reg_read(R_CONFIG + 60), 0x63000000);
	mmio_restored(&mock.device);
	assert_int_equal(reg_read(R_GENERATION), 0);
	assert_int_equal(reg_read(R_CONFIG + 8), 0x0a09);
	assert_int_equal(reg_read(R_CONFIG + 60), 0);
	/* While a driver runs it always says so much. */
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	host_run();
}

/* -- what is refused ------------------------------------------------------- */

static const struct {
	unsigned at;
	uint64_t value;
	unsigned len;
	const char *wrong;
} bad_slots[] = {
	{ SLOT_KIND, 1, 4, "it was another kind of device" },
	{ SLOT_KIND, UINT32_MAX, 4, "it was another kind of device" },
	{ SLOT_QUEUES, 2, 4, "it had another number of queues" },
	{ SLOT_QUEUES, 4, 4, "it had another number of queues" },
	{ SLOT_STATUS, 16, 4, "its status is impossible" },
	{ SLOT_STATUS, 1u << 31, 4, "its status is impossible" },
	{ SLOT_STATUS, 7, 4, "its status is impossible" },
	{ SLOT_INTERRUPT, 4, 4, "its interrupt status is impossible" },
	{ SLOT_INTERRUPT, 1u << 31, 4, "its interrupt status is impossible" },
	{ SLOT_ACKED, 0, 8, "its features are impossible" },
	{ SLOT_IMPOSSIBLE, 1, 1, "its features are impossible" },
	{ SLOT_IMPOSSIBLE, 2, 1, "a flag is neither 0 nor 1" },
	{ SLOT_ACKED, FEATURE_VERSION_1 | 1ULL << 13, 8,
	  "the guest uses DISCARD, which this one does not do" },
	{ SLOT_ACKED, FEATURE_VERSION_1 | 1ULL << 63, 8,
	  "the guest uses feature bit 63, which this one does not do" },
	{ SLOT_ACKED, FEATURE_VERSION_1 | 1ULL << 0, 8,
	  "the guest uses feature bit 0, which this one does not do" },
	{ SLOT_OFFERED, FEATURE_VERSION_1 | 1ULL << 5, 8,
	  "it was read-only, this one is not" },
};

/* Nothing of it is taken. */
static void expect_untouched(void)
{
	assert_int_equal(reg_read(R_STATUS), 0);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 0);
	assert_int_equal(reg_read(R_GENERATION), 0);
	assert_int_equal(reg_read(R_CONFIG), 0x04030201);
	assert_int_equal(reg_read(R_FEATURES), (uint32_t)(ALWAYS | FEATURE_A));
	assert_int_equal(reg_read(R_QUEUE_NUM_MAX), 64);
	assert_int_equal(reg_read(R_QUEUE_READY), 0);
}

static void test_slot_refused(void **state)
{
	uint8_t good[SLOT_LEN], bytes[8];

	(void)state;
	start_guest(0);
	reg_write(R_QUEUE_SEL, 2);
	device_set_config(&mock.device, 0, "other", 5);
	save();
	move_mock();
	memcpy(good, slot, SLOT_LEN);
	for (size_t i = 0; i < ARRAY_LEN(bad_slots); i++) {
		put_le64(bytes, bad_slots[i].value);
		memcpy(slot, good, SLOT_LEN);
		memcpy(slot + bad_slots[i].at, bytes, bad_slots[i].len);
		assert_non_null(load_slot());
		assert_string_equal(load_slot(), bad_slots[i].wrong);
		expect_untouched();
	}
	for (size_t len = 0; len < SLOT_LEN; len++) {
		struct state s = state_load(good, len);

		mmio_state_slot(&mock.device, &s);
		assert_string_equal(s.wrong, "it is too short");
		expect_untouched();
	}
	memcpy(slot, good, SLOT_LEN);
	assert_null(load_slot());
	assert_int_equal(reg_read(R_STATUS), 15);
	host_run();
}

/* What the driver has not agreed to may still be withdrawn; not if seen. */
static void test_slot_features_offered(void **state)
{
	static const struct {
		uint32_t status;
		bool refused;
	} cases[] = { { 0, false }, { 1, false }, { 3, true }, { 11, false } };

	(void)state;
	start_guest(0);
	save();
	move_mock();
	put_le64(slot + SLOT_OFFERED, ALWAYS | FEATURE_A | 1ULL << 14);
	put_le32(slot + SLOT_INTERRUPT, 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_le32(slot + SLOT_STATUS, cases[i].status);
		if (cases[i].refused)
			assert_string_equal(load_slot(),
					    "the guest uses WRITE_ZEROES, "
					    "which this one does not do");
		else
			assert_null(load_slot());
	}
	host_run();
}

/* Of a network it is said what it is for. */
static void test_slot_features_of_a_net(void **state)
{
	static const struct {
		unsigned bit;
		const char *name;
	} cases[] = {
		{ 0, "checksum offload" },
		{ 7, "TSO" },
		{ 12, "TSO" },
		{ 13, "TSO with ECN" },
		{ 3, "an MTU of the host's" },
		{ 15, "feature bit 15" },
	};
	char words[100];

	(void)state;
	start_guest(0);
	save();
	move_mock();
	mock.device.id = DEVICE_NET;
	mock.device.features = 0;
	put_le32(slot + SLOT_KIND, DEVICE_NET);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		put_le64(slot + SLOT_ACKED,
			 FEATURE_VERSION_1 | 1ULL << cases[i].bit);
		snprintf(words, sizeof(words),
			 "the guest uses %s, which this one does not do",
			 cases[i].name);
		assert_string_equal(load_slot(), words);
	}
	host_run();
}

static const char badly_placed[] =
	"a queue's size, address or index is impossible";
static const struct {
	unsigned at;
	uint64_t value;
	unsigned len;
	const char *wrong;
} bad_queues[] = {
	{ QUEUE_NUM, 0, 4, badly_placed },
	{ QUEUE_NUM, 3, 4, badly_placed },
	{ QUEUE_NUM, 128, 4, badly_placed },
	{ QUEUE_NUM, 0x10010, 4, badly_placed },
	{ QUEUE_READY, 2, 1, "a flag is neither 0 nor 1" },
	{ QUEUE_READY, 0, 1, "a queue that is not ready has indexes" },
	{ QUEUE_DESC, RING_AT + 1, 8, badly_placed },
	{ QUEUE_DESC, 32 * MIB, 8, badly_placed },
	{ QUEUE_DESC, UINT64_MAX - 15, 8, badly_placed },
	{ QUEUE_DRIVER, 32 * MIB - 2, 8, badly_placed },
	{ QUEUE_DRIVER, RING_AT + 1, 8, badly_placed },
	{ QUEUE_DEVICE, 0xD0000000, 8, badly_placed },
	{ QUEUE_DEVICE, RING_AT + 2, 8, badly_placed },
	{ QUEUE_AVAIL, 3 + 17, 2, badly_placed },
	{ QUEUE_AVAIL, 2, 2, badly_placed },
	{ QUEUE_USED, 2, 2, badly_placed },
	{ QUEUE_PUBLISHED, 4, 2, badly_placed },
};

static void test_queue_refused(void **state)
{
	uint8_t good[QUEUE_LEN], bytes[8];

	(void)state;
	start_guest(0);
	offer(3);
	expect_used(3);
	save();
	move_mock();
	memcpy(good, queues[0], QUEUE_LEN);
	assert_int_equal(get_le16(good + QUEUE_AVAIL), 3);
	for (size_t i = 0; i < ARRAY_LEN(bad_queues); i++) {
		put_le64(bytes, bad_queues[i].value);
		memcpy(queues[0], good, QUEUE_LEN);
		memcpy(queues[0] + bad_queues[i].at, bytes, bad_queues[i].len);
		if (!load_queue(0))
			fail_msg("%zu", i);
		assert_string_equal(load_queue(0), bad_queues[i].wrong);
		expect_untouched();
	}
	for (size_t len = 0; len < QUEUE_LEN; len++) {
		struct state s = state_load(good, len);

		mmio_state_queue(&mock.device, 0, &s);
		assert_string_equal(s.wrong, "it is too short");
		expect_untouched();
	}
	host_run();
}

/* An avail->idx that has jumped breaks the queue, as ever. */
static void test_restored_jump(void **state)
{
	(void)state;
	start_guest(0);
	offer(3);
	expect_used(3);
	save();
	move_mock();
	put_le16(queues[0] + QUEUE_AVAIL, 3 - 16);
	put_le16(queues[0] + QUEUE_USED, 3 - 16);
	put_le16(queues[0] + QUEUE_PUBLISHED, 3 - 16);
	load();
	ring_offer(&ring, 0);
	go_on();
	assert_int_equal(reg_read(R_STATUS), 15 | S_NEEDS_RESET);
	expect_log("a malformed ring");
	start_guest(0);
	offer(1);
	expect_used(1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_WAYS(test_restored_goes_on),
		BOTH_WAYS(test_restored_again),
		BOTH_WAYS(test_restored_wraps),
		BOTH_WAYS(test_source_goes_on),
		BOTH_WAYS(test_paused_is_silent),
		BOTH_WAYS(test_paused_reset),
		BOTH_WAYS(test_paused_start),
		BOTH_WAYS(test_pause_waits),
		BOTH_WAYS(test_pause_outlasts_reset),
		BOTH_WAYS(test_restored_not_started),
		BOTH_WAYS(test_restored_broken),
		BOTH_WAYS(test_restored_config),
		BOTH_WAYS(test_loaded_config),
		BOTH_WAYS(test_slot_refused),
		BOTH_WAYS(test_slot_features_offered),
		BOTH_WAYS(test_slot_features_of_a_net),
		BOTH_WAYS(test_queue_refused),
		BOTH_WAYS(test_restored_jump),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
