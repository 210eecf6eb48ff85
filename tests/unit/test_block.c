/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c cpu/loop/thread.c virtio/block/io.c */
/* uses: virtio/block/io_uring.c virtio/block/io_thread.c */
/* ldflags: -Wl,--wrap=log_guest,--wrap=fdatasync */
/*
 * The block device with each engine over real files: every kind of request,
 * and every way in which one can be wrong.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/block_help.h"

#define SECTORS 8192u /* 4 MiB */
#define SIZE	(SECTORS * 512ULL)

enum place { ON_DISK, IN_MEMORY };

/* What each test is run with: memory files have no FALLOC_FL_ZERO_RANGE. */
static struct way {
	enum block_engine engine;
	enum place place;
} ways[] = {
	{ BLOCK_ENGINE_URING, ON_DISK },
	{ BLOCK_ENGINE_URING, IN_MEMORY },
	{ BLOCK_ENGINE_THREADS, ON_DISK },
	{ BLOCK_ENGINE_THREADS, IN_MEMORY },
};

/* What the host says of data that is to be safe; a ring does not ask here. */
static int sync_error;

int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

/* An fdatasync waits at the second one, where it is told to. */
static bool sync_waits;
static pthread_barrier_t sync_begun, sync_goes_on;

int __wrap_fdatasync(int fd)
{
	if (sync_waits) {
		pthread_barrier_wait(&sync_begun);
		pthread_barrier_wait(&sync_goes_on);
	}
	if (!sync_error)
		return __real_fdatasync(fd);
	errno = sync_error;
	return -1;
}

/* The test's own descriptor of the disk's file. */
static int file;

static struct block_options options_of(void **state, uint64_t size)
{
	const struct way *way = *state;

	file = way->place == ON_DISK ? unnamed_file("/tmp", size)
				     : memory_file(size);
	return (struct block_options){
		.file.fd = dup(file),
		.engine = way->engine,
	};
}

static void start(void **state, uint64_t features)
{
	struct block_options options = options_of(state, SIZE);

	disk_make(&options, features);
	assert_string_equal(t.block->disk.engines[0]->ops->name,
			    options.engine == BLOCK_ENGINE_URING ? "io_uring"
								 : "threads");
}

static void end(void)
{
	disk_destroy();
	close(file);
	expect_no_log();
}

static void file_has(uint64_t at, const uint8_t *bytes, size_t len)
{
	uint8_t *got = malloc(len);

	assert_int_equal(pread(file, got, len, (off_t)at), len);
	assert_memory_equal(got, bytes, len);
	free(got);
}

static bool all_are(const uint8_t *bytes, size_t len, uint8_t value)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != value)
			return false;
	return true;
}

/* Is the file's range one byte over and over? */
static bool file_is(uint64_t at, size_t len, uint8_t value)
{
	uint8_t *got = malloc(len);
	bool is;

	assert_int_equal(pread(file, got, len, (off_t)at), len);
	is = all_are(got, len, value);
	free(got);
	return is;
}

static void fill_file(uint8_t value)
{
	uint8_t *bytes = malloc(SIZE);

	memset(bytes, value, SIZE);
	assert_int_equal(pwrite(file, bytes, SIZE, 0), SIZE);
	free(bytes);
}

static uint64_t blocks(void)
{
	struct stat st;

	assert_int_equal(fsync(file), 0);
	assert_int_equal(fstat(file, &st), 0);
	return (uint64_t)st.st_blocks;
}

/* -- data ----------------------------------------------------------------- */

static void test_read_write(void **state)
{
	static const struct {
		uint64_t sector;
		uint32_t len;
		unsigned pieces;
	} cases[] = {
		{ 0, 512, 1 },	  { 1, 512, 1 },    { SECTORS - 1, 512, 1 },
		{ 3, 4096, 1 },	  { 8, 4096, 8 },   { 8, 4096, 3 },
		{ 5, 65536, 17 }, { 100, MIB, 1 },  { 100, MIB, 250 },
		{ 0, SIZE, 2 },	  { 16, 512, 251 }, { 9, 4096, 254 },
	};

	start(state, FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const uint32_t len = cases[i].len;
		uint8_t *out = guest(DATA_AT, len);
		uint8_t *in = guest(DATA_AT + SIZE, len + 512);
		unsigned slot;

		fill(out, len);
		out[0] = (uint8_t)i;
		slot = put_pieces(0, BLOCK_OUT, cases[i].sector, DATA_AT, len,
				  cases[i].pieces, false);
		kick_queue(0);
		wait_back(t.back_count + 1);
		assert_int_equal(status_of(slot), BLOCK_OK);
		assert_int_equal(t.written[slot], 1);
		file_has(cases[i].sector * 512, out, len);
		memset(in, 0x5a, len + 512);
		slot = put_pieces(0, BLOCK_IN, cases[i].sector, DATA_AT + SIZE,
				  len, cases[i].pieces, true);
		kick_queue(0);
		wait_back(t.back_count + 1);
		assert_int_equal(status_of(slot), BLOCK_OK);
		assert_int_equal(t.written[slot], len + 1);
		assert_memory_equal(in, out, len);
		assert_true(all_are(in + len, 512, 0x5a));
	}
	end();
}

/* 2.7.4: the driver may cut a request into buffers wherever it likes. */
static void test_any_layout(void **state)
{
	const uint64_t at = HEADERS_AT;
	uint8_t *header;

	start(state, FLUSH_FEATURE);
	fill_file(0x77);
	header = header_of(0);
	put_le32(header, BLOCK_IN);
	put_le64(header + 8, 2);
	/* The header in three buffers; data and status in one. */
	put_chain(0,
		  (struct ring_buffer[]){
			  { GPA(at), 3, false },
			  { GPA(at + 3), 6, false },
			  { GPA(at + 9), 7, false },
			  { GPA(DATA_AT), 513, true },
		  },
		  4, 0);
	kick_queue(0);
	wait_back(1);
	assert_true(all_are(guest(DATA_AT, 512), 512, 0x77));
	assert_int_equal(*guest(DATA_AT + 512, 1), BLOCK_OK);
	assert_int_equal(t.written[0], 513);
	/* Header and data of a write in one buffer. */
	header = guest(DATA_AT, 16 + 1024);
	memset(header, 0, 16);
	put_le32(header, BLOCK_OUT);
	put_le64(header + 8, 4);
	memset(header + 16, 0x31, 1024);
	put_chain(0,
		  (struct ring_buffer[]){
			  { GPA(DATA_AT), 16 + 1024, false },
			  { GPA(at + 600), 1, true },
		  },
		  2, 0);
	kick_queue(0);
	wait_back(2);
	assert_int_equal(*guest(at + 600, 1), BLOCK_OK);
	assert_true(file_is(4 * 512, 1024, 0x31));
	assert_true(file_is(6 * 512, 512, 0x77));
	end();
}

static void test_flush_and_id(void **state)
{
	struct block_options options = options_of(state, SIZE);
	char id[24] = { 0 };

	options.serial = "0123456789abcdefghij";
	disk_make(&options, FLUSH_FEATURE);
	assert_int_equal(do_request(BLOCK_FLUSH, 0, 0, 0), BLOCK_OK);
	assert_int_equal(last_written(), 1);
	memset(guest(DATA_AT, 64), 0x5a, 64);
	assert_int_equal(do_request(BLOCK_GET_ID, 0, DATA_AT, 20), BLOCK_OK);
	assert_int_equal(last_written(), 21);
	memcpy(id, guest(DATA_AT, 20), 20);
	assert_string_equal(id, options.serial);
	assert_true(all_are(guest(DATA_AT + 20, 44), 44, 0x5a));
	/* Less room: what fits; more: the rest is left alone. */
	assert_int_equal(do_request(BLOCK_GET_ID, 0, DATA_AT + 32, 4),
			 BLOCK_OK);
	assert_memory_equal(guest(DATA_AT + 32, 5), "0123\x5a", 5);
	assert_int_equal(do_request(BLOCK_GET_ID, 0, DATA_AT + 64, 30),
			 BLOCK_OK);
	assert_int_equal(last_written(), 20);
	end();
	options = options_of(state, SIZE);
	options.serial = "short";
	disk_make(&options, FLUSH_FEATURE);
	memset(guest(DATA_AT, 20), 0x5a, 20);
	assert_int_equal(do_request(BLOCK_GET_ID, 0, DATA_AT, 20), BLOCK_OK);
	assert_memory_equal(guest(DATA_AT, 20),
			    "short\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	end();
	options = options_of(state, SIZE);
	disk_make(&options, FLUSH_FEATURE);
	memset(guest(DATA_AT, 20), 0x5a, 20);
	assert_int_equal(do_request(BLOCK_GET_ID, 0, DATA_AT, 20), BLOCK_OK);
	assert_true(all_are(guest(DATA_AT, 20), 20, 0));
	end();
}

/* A FLUSH of the guest's asks the host, and what the host says reaches it. */
static void test_flush_fails(void **state)
{
	start(state, FLUSH_FEATURE);
	assert_int_equal(do_request(BLOCK_OUT, 0, DATA_AT, 4096), BLOCK_OK);
	assert_int_equal(do_request(BLOCK_FLUSH, 0, 0, 0), BLOCK_OK);
	sync_error = EIO;
	assert_int_equal(do_request(BLOCK_FLUSH, 0, 0, 0), BLOCK_IOERR);
	expect_log("may be lost");
	/* Once told of, the host forgets it; it is lost all the same. */
	sync_error = 0;
	assert_int_equal(do_request(BLOCK_FLUSH, 0, 0, 0), BLOCK_IOERR);
	end();
	/* Without FLUSH the driver takes each write for safe. */
	start(state, 0);
	sync_error = EIO;
	assert_int_equal(do_request(BLOCK_OUT, 0, DATA_AT, 512), BLOCK_IOERR);
	expect_log("may be lost");
	sync_error = 0;
	end();
}

/* -- discard and write zeroes --------------------------------------------- */

static void test_discard(void **state)
{
	uint64_t before;

	start(state, FLUSH_FEATURE);
	fill_file(0x11);
	before = blocks();
	assert_true(before >= SECTORS);
	assert_int_equal(do_range(BLOCK_DISCARD, 8, SECTORS / 2, 0), BLOCK_OK);
	/* The space is given back, and the size stays. */
	assert_true(blocks() <= before - SECTORS / 2 + 64);
	assert_int_equal(lseek(file, 0, SEEK_END), SIZE);
	assert_true(file_is(0, 4096, 0x11));
	assert_true(file_is(4096, SIZE / 2, 0));
	assert_true(file_is(4096 + SIZE / 2, SIZE / 2 - 4096, 0x11));
	end();
}

static void test_write_zeroes(void **state)
{
	start(state, FLUSH_FEATURE);
	fill_file(0x11);
	/* From and to any sector, with and without giving the space back. */
	assert_int_equal(do_range(BLOCK_WRITE_ZEROES, 3, 21, 0), BLOCK_OK);
	assert_true(file_is(0, 3 * 512, 0x11));
	assert_true(file_is(3 * 512, 21 * 512, 0));
	assert_true(file_is(24 * 512, SIZE - 24 * 512, 0x11));
	assert_int_equal(do_range(BLOCK_WRITE_ZEROES, 101, 4099, 1), BLOCK_OK);
	assert_true(file_is(101 * 512, 4099 * 512, 0));
	assert_true(file_is(4200 * 512, 512, 0x11));
	/* More than one write of zeros where zeros have to be written. */
	fill_file(0x12);
	assert_int_equal(do_range(BLOCK_WRITE_ZEROES, 1, SECTORS - 2, 0),
			 BLOCK_OK);
	assert_true(file_is(512, SIZE - 1024, 0));
	assert_true(file_is(0, 512, 0x12));
	assert_true(file_is(SIZE - 512, 512, 0x12));
	end();
}

static void put_range(uint8_t *at, uint64_t sector, uint32_t sectors,
		      uint32_t flags)
{
	put_le64(at, sector);
	put_le32(at + 8, sectors);
	put_le32(at + 12, flags);
}

static void test_many_ranges(void **state)
{
	uint8_t *at;

	start(state, FLUSH_FEATURE);
	fill_file(0x11);
	at = guest(DATA_AT, 17ULL * 16);
	for (unsigned i = 0; i < 16; i++)
		put_range(at + (size_t)i * 16, 64ULL * i, i % 4 ? 32 : 0,
			  i & 1);
	assert_int_equal(do_request(BLOCK_WRITE_ZEROES, 0, DATA_AT, 256),
			 BLOCK_OK);
	for (unsigned i = 0; i < 16; i++) {
		assert_true(
			file_is(64ULL * 512 * i, 32 * 512, i % 4 ? 0 : 0x11));
		assert_true(
			file_is(64ULL * 512 * i + 32 * 512, 32 * 512, 0x11));
	}
	/* One more than is offered; and where one is wrong, none is done. */
	put_range(at + 256, 0, 8, 0);
	assert_int_equal(do_request(BLOCK_WRITE_ZEROES, 0, DATA_AT, 272),
			 BLOCK_UNSUPP);
	put_range(at, 2048, 8, 0);
	put_range(at + 16, SECTORS, 8, 0);
	assert_int_equal(do_request(BLOCK_WRITE_ZEROES, 0, DATA_AT, 32),
			 BLOCK_IOERR);
	assert_true(file_is(2048 * 512, 4096, 0x11));
	end();
}

/* -- what is wrong -------------------------------------------------------- */

static const struct {
	uint32_t type;
	uint64_t sector;
	uint32_t len;
	int status;
} wrong_cases[] = {
	{ BLOCK_IN, SECTORS, 512, BLOCK_IOERR },
	{ BLOCK_IN, SECTORS - 1, 1024, BLOCK_IOERR },
	{ BLOCK_IN, UINT64_MAX, 512, BLOCK_IOERR },
	{ BLOCK_IN, UINT64_MAX / 512, 512, BLOCK_IOERR },
	{ BLOCK_IN, UINT64_MAX / 512 + 1, 512, BLOCK_IOERR },
	{ BLOCK_IN, 0, 511, BLOCK_IOERR },
	{ BLOCK_IN, 0, 513, BLOCK_IOERR },
	{ BLOCK_IN, 0, SIZE + 512, BLOCK_IOERR },
	{ BLOCK_OUT, SECTORS, 512, BLOCK_IOERR },
	{ BLOCK_OUT, SECTORS - 7, 4096, BLOCK_IOERR },
	{ BLOCK_OUT, UINT64_MAX, 512, BLOCK_IOERR },
	{ BLOCK_OUT, 0, 1, BLOCK_IOERR },
	{ BLOCK_DISCARD, 0, 15, BLOCK_UNSUPP },
	{ BLOCK_DISCARD, 0, 0, BLOCK_UNSUPP },
	{ BLOCK_WRITE_ZEROES, 0, 17, BLOCK_UNSUPP },
	{ 2, 0, 512, BLOCK_UNSUPP },
	{ 3, 0, 512, BLOCK_UNSUPP },
	{ 5, 0, 512, BLOCK_UNSUPP },
	{ 10, 0, 512, BLOCK_UNSUPP },
	{ 14, 0, 512, BLOCK_UNSUPP },
	{ UINT32_MAX, 0, 512, BLOCK_UNSUPP },
};

static const struct {
	uint32_t type;
	uint64_t sector;
	uint32_t sectors, flags;
	int status;
} wrong_ranges[] = {
	{ BLOCK_DISCARD, 0, 8, 1, BLOCK_UNSUPP },
	{ BLOCK_DISCARD, 0, 8, 2, BLOCK_UNSUPP },
	{ BLOCK_WRITE_ZEROES, 0, 8, 2, BLOCK_UNSUPP },
	{ BLOCK_WRITE_ZEROES, 0, 8, 1u << 31, BLOCK_UNSUPP },
	{ BLOCK_DISCARD, SECTORS, 1, 0, BLOCK_IOERR },
	{ BLOCK_DISCARD, SECTORS - 1, 2, 0, BLOCK_IOERR },
	{ BLOCK_DISCARD, UINT64_MAX, 1, 0, BLOCK_IOERR },
	{ BLOCK_DISCARD, 0, UINT32_MAX, 0, BLOCK_IOERR },
	{ BLOCK_WRITE_ZEROES, UINT64_MAX / 512, 8, 0, BLOCK_IOERR },
	{ BLOCK_DISCARD, 0, 0, 0, BLOCK_OK },
};

static void test_wrong(void **state)
{
	start(state, FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
	fill_file(0x11);
	for (size_t i = 0; i < ARRAY_LEN(wrong_cases); i++) {
		assert_int_equal(do_request(wrong_cases[i].type,
					    wrong_cases[i].sector, DATA_AT,
					    wrong_cases[i].len),
				 wrong_cases[i].status);
		if (wrong_cases[i].type != BLOCK_IN)
			assert_int_equal(last_written(), 1);
	}
	for (size_t i = 0; i < ARRAY_LEN(wrong_ranges); i++)
		assert_int_equal(do_range(wrong_ranges[i].type,
					  wrong_ranges[i].sector,
					  wrong_ranges[i].sectors,
					  wrong_ranges[i].flags),
				 wrong_ranges[i].status);
	assert_true(file_is(0, SIZE, 0x11));
	assert_int_equal(t.breaks, 0);
	/* An empty read or write is no request for anything, and is done. */
	assert_int_equal(do_request(BLOCK_IN, 0, DATA_AT, 0), BLOCK_OK);
	assert_int_equal(do_request(BLOCK_OUT, 0, DATA_AT, 0), BLOCK_OK);
	end();
}

/* A header that is too short is an I/O error; without a status, no request. */
static void test_malformed(void **state)
{
	const struct ring_buffer shorter[] = {
		{ GPA(HEADERS_AT), 15, false },
		{ GPA(HEADERS_AT + STATUS_AT), 1, true },
	};
	const struct ring_buffer no_header[] = {
		{ GPA(HEADERS_AT + STATUS_AT), 1, true },
	};
	const struct ring_buffer no_status[] = {
		{ GPA(HEADERS_AT), 16, false },
	};

	start(state, FLUSH_FEATURE);
	put_chain(0, shorter, 2, 0);
	kick_queue(0);
	wait_back(1);
	assert_int_equal(status_of(0), BLOCK_IOERR);
	header_of(0)[STATUS_AT] = 0xee;
	put_chain(0, no_header, 1, 0);
	kick_queue(0);
	wait_back(2);
	assert_int_equal(status_of(0), BLOCK_IOERR);
	assert_int_equal(t.breaks, 0);
	put_chain(0, no_status, 1, 0);
	kick_queue(0);
	assert_int_equal(t.breaks, 1);
	assert_int_equal(t.block->disk.requests.taken, 0);
	disk_reset();
	disk_activate(FLUSH_FEATURE);
	assert_int_equal(do_request(BLOCK_FLUSH, 0, 0, 0), BLOCK_OK);
	end();
}

static void test_read_only(void **state)
{
	struct block_options options = options_of(state, SIZE);

	fill_file(0x11);
	options.ro = true;
	disk_make(&options, FLUSH_FEATURE);
	/* The descriptor would allow it: the monitor does not. */
	assert_true(t.device->features & 1u << 5);
	assert_false(t.device->features & (1u << 13 | 1u << 14));
	assert_int_equal(do_request(BLOCK_OUT, 0, DATA_AT, 512), BLOCK_IOERR);
	assert_int_equal(do_range(BLOCK_DISCARD, 0, 8, 0), BLOCK_IOERR);
	assert_int_equal(do_range(BLOCK_WRITE_ZEROES, 0, 8, 0), BLOCK_IOERR);
	assert_int_equal(do_request(BLOCK_FLUSH, 0, 0, 0), BLOCK_OK);
	assert_int_equal(do_request(BLOCK_IN, 0, DATA_AT, 4096), BLOCK_OK);
	assert_true(all_are(guest(DATA_AT, 4096), 4096, 0x11));
	assert_true(file_is(0, SIZE, 0x11));
	end();
}

/* The host's file got shorter: an I/O error, and the bytes that were there. */
static void test_shrunk(void **state)
{
	start(state, FLUSH_FEATURE);
	fill_file(0x11);
	assert_int_equal(ftruncate(file, 8192 + 512), 0);
	assert_int_equal(do_request(BLOCK_IN, 8, DATA_AT, 4096), BLOCK_OK);
	expect_no_log();
	assert_int_equal(do_request(BLOCK_IN, 16, DATA_AT, 4096), BLOCK_IOERR);
	expect_log("shrunk");
	assert_int_equal(do_request(BLOCK_IN, SECTORS - 1, DATA_AT, 512),
			 BLOCK_IOERR);
	expect_log("shrunk");
	/* A write there makes it longer again. */
	assert_int_equal(do_request(BLOCK_OUT, SECTORS - 1, DATA_AT, 512),
			 BLOCK_OK);
	assert_int_equal(do_request(BLOCK_IN, 16, DATA_AT, 4096), BLOCK_OK);
	end();
}

/* -- queues --------------------------------------------------------------- */

/* As many as a ring holds, several queues: all come back, each once. */
static void test_many(void **state)
{
	const unsigned queues = 4, each = 85;
	struct block_options options = options_of(state, SIZE);
	unsigned total = 0;

	options.queues = queues;
	disk_make(&options, FLUSH_FEATURE | FEATURE_EVENT_IDX);
	assert_int_equal(get_le16(t.device->config + 34), queues);
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < queues * each; i++) {
			uint64_t at = DATA_AT + i * 4096ULL;

			*guest(at, 1) = (uint8_t)(i + round);
			put_request_on(i % queues,
				       round & 1 ? BLOCK_IN : BLOCK_OUT,
				       i * 8ULL, at, 4096);
		}
		for (unsigned i = 0; i < queues; i++)
			kick_queue(i);
		wait_back(total += queues * each);
		for (unsigned i = 0; i < queues * each; i++)
			assert_int_equal(status_of(t.slots - 1 - i), BLOCK_OK);
	}
	assert_int_equal(t.block->disk.requests.taken, 0);
	end();
}

/* With EVENT_IDX the driver says when it wants to be interrupted. */
static void test_event_idx(void **state)
{
	start(state, FLUSH_FEATURE | FEATURE_EVENT_IDX);
	ring_set_used_event(&t.ring[0], 2);
	do_request(BLOCK_IN, 0, DATA_AT, 512);
	do_request(BLOCK_IN, 0, DATA_AT, 512);
	assert_int_equal(t.interrupts, 0);
	/* What it has not been told of it asks a notification for. */
	assert_int_equal(ring_avail_event(&t.ring[0]), 2);
	do_request(BLOCK_IN, 0, DATA_AT, 512);
	assert_int_equal(t.interrupts, 1);
	do_request(BLOCK_IN, 0, DATA_AT, 512);
	assert_int_equal(t.interrupts, 1);
	end();
	start(state, FLUSH_FEATURE);
	do_request(BLOCK_IN, 0, DATA_AT, 512);
	assert_int_equal(t.interrupts, 1);
	assert_int_equal(ring_used_flags(&t.ring[0]), 0);
	ring_set_avail_flags(&t.ring[0], 1);
	do_request(BLOCK_IN, 0, DATA_AT, 512);
	assert_int_equal(t.interrupts, 1);
	end();
}

/* A reset with much in flight: nothing touches the guest's memory after it. */
static void test_reset(void **state)
{
	start(state, FLUSH_FEATURE);
	fill_file(0x11);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 60; i++)
			put_request_on(0, BLOCK_IN, i * 8ULL,
				       DATA_AT + i * 65536ULL, 65536);
		kick_queue(0);
		disk_reset();
		assert_int_equal(t.block->disk.requests.taken, 0);
		memset(guest(DATA_AT, 60ULL * 65536), 0x5a, 60ULL * 65536);
		pump(0);
		assert_true(all_are(guest(DATA_AT, 60ULL * 65536),
				    60ULL * 65536, 0x5a));
		memset(t.back, 0, sizeof(t.back));
		disk_activate(FLUSH_FEATURE);
		assert_int_equal(do_request(BLOCK_IN, 0, DATA_AT, 512),
				 BLOCK_OK);
		assert_true(all_are(guest(DATA_AT, 512), 512, 0x11));
	}
	end();
}

/* What the worker has done before it, it has not told when the reset comes. */
static void test_reset_at_a_flush(void **state)
{
	pthread_barrier_init(&sync_begun, NULL, 2);
	pthread_barrier_init(&sync_goes_on, NULL, 2);
	start(state, FLUSH_FEATURE);
	put_request_on(0, BLOCK_OUT, 0, DATA_AT, 262144);
	put_request_on(0, BLOCK_FLUSH, 0, 0, 0);
	sync_waits = true;
	kick_queue(0);
	pthread_barrier_wait(&sync_begun);
	disk_reset(); /* it returns although the FLUSH does not */
	sync_waits = false;
	pthread_barrier_wait(&sync_goes_on);
	end();
}

static void test_config(void **state)
{
	struct block_options options = options_of(state, SIZE + 300);
	const uint8_t *config;

	options.queues = 3;
	assert_int_equal(disk_create(&options), 0);
	/* 300 bytes are no sector. */
	expect_log("last 300 bytes");
	disk_activate(FLUSH_FEATURE);
	config = t.device->config;
	assert_int_equal(t.device->id, DEVICE_BLOCK);
	assert_int_equal(t.device->features, 1u << 2 | 1u << 6 | 1u << 9 |
						     1u << 10 | 1u << 12 |
						     1u << 13 | 1u << 14);
	assert_int_equal(t.device->config_len, 60);
	/* virtio 1.2, 5.2.4 */
	assert_int_equal(get_le64(config), SECTORS);
	assert_int_equal(get_le32(config + 12), 254);
	assert_int_equal(get_le32(config + 20), 512);
	assert_int_equal(config[24], 3); /* 2^3 sectors: 4096 */
	assert_int_equal(get_le16(config + 34), 3);
	assert_int_equal(get_le32(config + 36), 0x200000);
	assert_int_equal(get_le32(config + 40), 16);
	assert_int_equal(get_le32(config + 44), 8);
	assert_int_equal(get_le32(config + 48), 0x200000);
	assert_int_equal(get_le32(config + 52), 16);
	assert_int_equal(config[56], 1);
	assert_int_equal(do_request(BLOCK_IN, SECTORS, DATA_AT, 512),
			 BLOCK_IOERR);
	end();
}

/*
 * Pauses in the midst of much: nothing is taken any more, all that was is given
 * back before it is quiet, and each request is done in the end.
 */
static void test_pause(void **state)
{
	struct block_options options = options_of(state, SIZE);
	unsigned quiet = 0;

	options.queues = 2;
	disk_make(&options, FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
	for (unsigned round = 0; round < 60; round++) {
		for (unsigned i = 0; i < 30; i++)
			put_request_on(i % 2,
				       i % 7 == 6   ? BLOCK_FLUSH
				       : i % 3 == 0 ? BLOCK_OUT
						    : BLOCK_IN,
				       8ULL * i, DATA_AT + 65536ULL * i,
				       i % 7 == 6 ? 0 : 512 << i % 8);
		kick_queue(0);
		kick_queue(1);
		for (unsigned i = round % 4; i; i--)
			pump(0);
		if (!disk_pause())
			for (quiet++; t.quiet < quiet;)
				pump(PATIENCE_MS);
		assert_int_equal(t.block->disk.requests.taken, 0);
		collect();
		for (unsigned i = 0; i < 2; i++) {
			const struct queue *queue = &t.device->queue[i];

			assert_int_equal(queue->next_avail, queue->published);
		}
		disk_resume();
		wait_back(30 * (round + 1));
		for (unsigned i = 1; i <= 30; i++)
			assert_int_equal(status_of(t.slots - i), BLOCK_OK);
	}
	assert_int_equal(t.quiet, quiet);
	end();
}

/* What a disk had open is closed with it, and its lock is another's to take. */
static void test_nothing_left_open(void **state)
{
	for (unsigned how = 0; how < 3; how++) {
		struct block_options options = options_of(state, SIZE);
		unsigned before = count_fds();
		struct block_backing other;
		int again = dup(file);

		options.ro = how == 1;
		options.ephemeral = how == 2;
		disk_make(&options, FLUSH_FEATURE);
		assert_int_equal(do_request(BLOCK_IN, 0, DATA_AT, 512),
				 BLOCK_OK);
		disk_destroy();
		/* `again` came, and what the disk was given went. */
		assert_int_equal(count_fds(), before);
		options = (struct block_options){ .file.fd = again };
		assert_int_equal(block_open(&other, &options, 1), 0);
		block_close(&other);
		assert_int_equal(count_fds(), before - 1);
		close(file);
		expect_no_log();
	}
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
	bool threads_only;
} bodies[] = {
	{ "read and write", test_read_write, false },
	{ "any layout", test_any_layout, false },
	{ "flush and id", test_flush_and_id, false },
	{ "a flush that fails", test_flush_fails, true },
	{ "discard", test_discard, false },
	{ "write zeroes", test_write_zeroes, false },
	{ "many ranges", test_many_ranges, false },
	{ "wrong requests", test_wrong, false },
	{ "malformed requests", test_malformed, false },
	{ "read-only", test_read_only, false },
	{ "a file that shrank", test_shrunk, false },
	{ "many at once", test_many, false },
	{ "event idx", test_event_idx, false },
	{ "reset", test_reset, false },
	{ "a reset at a FLUSH", test_reset_at_a_flush, true },
	{ "pauses", test_pause, false },
	{ "configuration", test_config, false },
	{ "nothing is left open", test_nothing_left_open, false },
};

#define TESTS (ARRAY_LEN(bodies) * ARRAY_LEN(ways))

int main(void)
{
	static const char *const names[] = { "io_uring, file",
					     "io_uring, memory",
					     "threads, file",
					     "threads, memory" };
	static char text[TESTS][64];
	struct CMUnitTest tests[TESTS] = { 0 };
	size_t n = 0;

	for (size_t w = 0; w < ARRAY_LEN(ways); w++)
		for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
			if (bodies[i].threads_only &&
			    ways[w].engine != BLOCK_ENGINE_THREADS)
				continue;
			snprintf(text[n], sizeof(text[n]), "%s: %s", names[w],
				 bodies[i].name);
			tests[n].name = text[n];
			tests[n].test_func = bodies[i].run;
			tests[n++].initial_state = &ways[w];
		}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
