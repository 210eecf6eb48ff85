/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c tests/unit/mock_engine.c */
/* uses: virtio/block/snapshot.c mem/state.c */
/* ldflags: -Wl,--wrap=log_guest,--wrap=pread,--wrap=pwrite,--wrap=lseek */
/*
 * Ephemeral disks against a model, an array in memory: random requests at any
 * sector, several in flight, by an engine that moves as little at a time as it
 * likes. The base never changes. Saved and restored between them, that is as if
 * nothing had been.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/block_help.h"
#include "tests/unit/mock_engine.h"

/* Its last cluster is not whole. */
#define SECTORS (2048u + 5)
#define SIZE	(SECTORS * 512ULL)
#define REGIONS 4u /* each request in flight has one of its own */

static uint8_t model[SIZE], base[SIZE];
static uint64_t base_size; /* of the image; SIZE, but where size= is given */
static int base_fd;
static uint64_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return (uint32_t)(seed >> 33) % below;
}

/* -- the engine ----------------------------------------------------------- */

static enum manner { WHOLE, SHORT, SHORT_AND_POOR } manner;

static int64_t perform(struct mock_engine *mock, struct engine_io *io)
{
	/* A write that never gets past a cluster gets nowhere. */
	uint64_t most = manner == WHOLE ? UINT64_MAX : 4096 + any(9000);

	if (manner == SHORT_AND_POOR && io->op == ENGINE_ALLOCATE)
		return -EOPNOTSUPP;
	return mock_perform(mock, io, most);
}

static void perform_any(struct mock_engine *mock)
{
	while (mock->count) {
		unsigned i = any(mock->count);

		mock_complete(mock, i, perform(mock, mock->waiting[i]));
	}
}

/* -- the disk ------------------------------------------------------------- */

/* Over the base that there is. */
static void open_disk_of_base(void)
{
	struct block_options options = { .ephemeral = true,
					 .engine = BLOCK_ENGINE_URING };

	options.queues = 4;
	options.size = base_size < SIZE ? SIZE : 0;
	options.file.fd = dup(base_fd);
	mock_count = 0;
	assert_int_equal(disk_create(&options), 0);
	expect_no_log();
}

static void start(enum manner how, uint64_t size)
{
	base_size = size;
	seed = 42 + how;
	manner = how;
	mock_result = perform;
	fill(base, sizeof(base));
	memset(model, 0, sizeof(model));
	memcpy(model, base, size);
	base_fd = file_of(base, sizeof(base));
	assert_int_equal(ftruncate(base_fd, (off_t)size), 0);
	open_disk_of_base();
	disk_activate(FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
}

static void end(void)
{
	uint8_t *now = malloc(sizeof(base));

	disk_destroy();
	assert_int_equal(pread(base_fd, now, sizeof(base), 0), base_size);
	assert_memory_equal(now, base, base_size);
	free(now);
	close(base_fd);
	expect_no_log();
}

static void run_all(unsigned expected)
{
	while (mocks[0].count || t.block->disk.deferred) {
		perform_any(&mocks[0]);
		engine_reports(0);
		pump(0); /* what has to wait for the next turn */
	}
	wait_back(t.back_count);
	assert_int_equal(t.back_count, expected);
}

/* -- against the model ---------------------------------------------------- */

struct random_request {
	uint32_t type, sector, sectors;
	uint64_t data;
	unsigned slot;
};

static void put_random(struct random_request *r, unsigned region)
{
	static const uint32_t types[] = {
		BLOCK_IN,  BLOCK_IN,	  BLOCK_OUT,
		BLOCK_OUT, BLOCK_DISCARD, BLOCK_WRITE_ZEROES,
	};
	const uint32_t first = SECTORS / REGIONS * region;
	const uint32_t end = region + 1 == REGIONS
				     ? SECTORS
				     : SECTORS / REGIONS * (region + 1);
	uint8_t *bytes;

	/* Whole clusters, and requests to the very end, often. */
	*r = (struct random_request){
		.type = types[any(ARRAY_LEN(types))],
		.sector = first + any(end - first),
		.data = DATA_AT + region * 4 * MIB,
	};
	if (any(3) == 0)
		r->sector =
			r->sector / 8 * 8 < first ? first : r->sector / 8 * 8;
	r->sectors =
		any(4) == 0
			? end - r->sector
			: 1 + any(end - r->sector < 64 ? end - r->sector : 64);
	bytes = guest(r->data, SIZE);
	if (r->type == BLOCK_IN || r->type == BLOCK_OUT) {
		for (uint32_t i = 0; i < r->sectors * 512; i++)
			bytes[i] = (uint8_t)any(256);
		r->slot = put_pieces(0, r->type, r->sector, r->data,
				     r->sectors * 512, 1 + any(20),
				     r->type == BLOCK_IN);
		return;
	}
	put_le64(bytes, r->sector);
	put_le32(bytes + 8, r->sectors);
	put_le32(bytes + 12, r->type == BLOCK_WRITE_ZEROES && any(2));
	r->slot = put_request_on(0, r->type, 0, r->data, 16);
}

static void check_and_follow(const struct random_request *r)
{
	uint8_t *at = model + r->sector * 512ULL;
	const size_t len = r->sectors * 512ULL;

	assert_int_equal(status_of(r->slot), BLOCK_OK);
	if (r->type == BLOCK_IN)
		assert_memory_equal(guest(r->data, len), at, len);
	else if (r->type == BLOCK_OUT)
		memcpy(at, guest(r->data, len), len);
	else
		memset(at, 0, len);
}

static void check_all(void)
{
	uint8_t *got = guest(DATA_AT, SIZE);

	put_request_on(0, BLOCK_IN, 0, DATA_AT, SIZE);
	kick_queue(0);
	run_all(t.back_count + 1);
	assert_memory_equal(got, model, SIZE);
}

static void random_rounds(unsigned rounds)
{
	struct random_request requests[REGIONS];

	for (unsigned round = 0; round < rounds; round++) {
		const unsigned count = 1 + any(REGIONS);

		for (unsigned i = 0; i < count; i++)
			put_random(&requests[i], i);
		kick_queue(0);
		run_all(t.back_count + count);
		for (unsigned i = 0; i < count; i++)
			check_and_follow(&requests[i]);
	}
	check_all();
}

static void random_run(enum manner how, uint64_t size, unsigned rounds)
{
	start(how, size);
	random_rounds(rounds);
	end();
}

static void test_whole(void **state)
{
	(void)state;
	random_run(WHOLE, SIZE, 2000);
}

static void test_short(void **state)
{
	(void)state;
	random_run(SHORT, SIZE, 2000);
}

/* A file system that can neither punch holes nor zero a range. */
static void test_poor(void **state)
{
	(void)state;
	random_run(SHORT_AND_POOR, SIZE, 2000);
}

/* Larger than its image, which ends at a cluster, in one, or in the first. */
static void test_larger_than_its_image(void **state)
{
	static const uint64_t sizes[] = { SIZE / 2 / 4096 * 4096,
					  SIZE / 3 / 4096 * 4096 + 3 * 512,
					  512 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		for (enum manner how = WHOLE; how <= SHORT_AND_POOR; how++) {
			start(how, sizes[i]);
			assert_true(get_le64(t.device->config) == SECTORS);
			check_all();
			end();
			random_run(how, sizes[i], 300);
		}
}

/* -- single cases --------------------------------------------------------- */

/* Space that the guest has discarded is the host's again. */
static void test_discard_frees(void **state)
{
	struct stat full, empty;

	(void)state;
	start(WHOLE, SIZE);
	put_request_on(0, BLOCK_OUT, 0, DATA_AT, SIZE);
	kick_queue(0);
	run_all(1);
	assert_int_equal(fstat(t.block->backing.overlay_fd, &full), 0);
	assert_true(full.st_blocks >= SECTORS);
	put_le64(guest(DATA_AT, 16), 0);
	put_le32(guest(DATA_AT + 8, 4), SECTORS);
	put_le32(guest(DATA_AT + 12, 4), 0);
	put_request_on(0, BLOCK_DISCARD, 0, DATA_AT, 16);
	kick_queue(0);
	run_all(2);
	assert_int_equal(fstat(t.block->backing.overlay_fd, &empty), 0);
	assert_true(empty.st_blocks <= 64);
	memset(model, 0, SIZE);
	check_all();
	end();
}

static int64_t full(struct mock_engine *mock, struct engine_io *io)
{
	if (io->op == ENGINE_WRITE)
		return -ENOSPC;
	return mock_perform(mock, io, UINT64_MAX);
}

/* A write that failed leaves what was there before. */
static void test_no_space(void **state)
{
	(void)state;
	start(WHOLE, SIZE);
	put_request_on(0, BLOCK_OUT, 8, DATA_AT, 8192);
	kick_queue(0);
	mock_complete(&mocks[0], 0, full(&mocks[0], mocks[0].waiting[0]));
	engine_reports(0);
	collect();
	assert_int_equal(status_of(0), BLOCK_IOERR);
	expect_log("its overlay in /");
	check_all();
	/* So much short that no cluster is whole: an error, and no loop. */
	put_request_on(0, BLOCK_OUT, 8, DATA_AT, 8192);
	kick_queue(0);
	mock_complete(&mocks[0], 0, 4095);
	engine_reports(0);
	collect();
	assert_int_equal(status_of(2), BLOCK_IOERR);
	expect_log("full");
	check_all();
	end();
}

/* The engine carries out and completes one of those in flight. */
static void finish(unsigned index, int64_t (*how)(struct mock_engine *mock,
						  struct engine_io *io))
{
	mock_complete(&mocks[0], index,
		      how(&mocks[0], mocks[0].waiting[index]));
	engine_reports(0);
	collect();
}

/*
 * A part of a cluster is written while a write of the whole of it, and more, is
 * in flight and in the file already, but not done: the part that only that one
 * covers is not the base's afterwards.
 */
static void test_overlapping(void **state)
{
	const uint32_t first = SECTORS - 13, len = 13 * 512;
	int64_t moved;

	(void)state;
	start(WHOLE, SIZE);
	memset(guest(DATA_AT, len), 1, len);
	memset(guest(DATA_AT + MIB, 512), 1, 512);
	put_request_on(0, BLOCK_OUT, first, DATA_AT, len);
	kick_queue(0);
	moved = perform(&mocks[0], mocks[0].waiting[0]);
	put_request_on(0, BLOCK_OUT, SECTORS - 2, DATA_AT + MIB, 512);
	kick_queue(0);
	mock_complete(&mocks[0], 0, moved);
	run_all(2);
	memset(model + first * 512ULL, 1, len);
	check_all();
	end();
}

/*
 * A part of a cluster of which all is being written waits for that to end:
 * until then the base is to be seen, and where it fails the base is what is
 * around it.
 */
static void test_overlapping_failed(void **state)
{
	(void)state;
	start(WHOLE, SIZE);
	put_request_on(0, BLOCK_OUT, 16, DATA_AT, 9 * 512);
	memset(guest(DATA_AT + MIB, 512), 2, 512);
	put_request_on(0, BLOCK_OUT, 18, DATA_AT + MIB, 512);
	kick_queue(0);
	assert_int_equal(mocks[0].count, 1);
	put_request_on(0, BLOCK_IN, 16, DATA_AT + 2 * MIB, 8 * 512);
	kick_queue(0);
	finish(1, perform);
	assert_int_equal(status_of(2), BLOCK_OK);
	assert_memory_equal(guest(DATA_AT + 2 * MIB, 8 * 512), model + 16 * 512,
			    8 * 512);
	finish(0, full);
	assert_int_equal(status_of(0), BLOCK_IOERR);
	expect_log(strerror(ENOSPC));
	pump(0);
	finish(0, perform);
	assert_int_equal(status_of(1), BLOCK_OK);
	memset(model + 18 * 512, 2, 512);
	check_all();
	end();
}

/* Many wait for one write: they go on one by one, as each is a copy. */
static void test_many_overlapping(void **state)
{
	const unsigned count = 40;
	unsigned turns = 0;

	(void)state;
	for (unsigned way = 0; way < 3; way++) {
		start(WHOLE, SIZE);
		memset(guest(DATA_AT, count * 4096), 1, count * 4096);
		memset(guest(DATA_AT + MIB, 512), 2, 512);
		put_request_on(0, BLOCK_OUT, 0, DATA_AT, count * 4096);
		for (unsigned i = 0; i < count; i++)
			put_request_on(0, BLOCK_OUT, 8 * i + 3, DATA_AT + MIB,
				       512);
		kick_queue(0);
		assert_int_equal(mocks[0].count, 1);
		if (way == 0) {
			finish(0, full);
			expect_log(strerror(ENOSPC));
			assert_in_range(mocks[0].count, 0, 1);
			while (pump(0))
				turns++;
			assert_in_range(turns, count - 1, count + 1);
			assert_int_equal(mocks[0].count, count);
			run_all(count + 1);
			for (unsigned i = 0; i < count; i++)
				memset(model + 4096 * i + 3 * 512, 2, 512);
		} else if (way == 1) {
			/* The queue ends: what waited is over, not done. */
			assert_false(disk_cancel(1u << 0));
			disk_waits();
			assert_int_equal(t.canceled, 1);
			collect();
			memset(model, 1, count * 4096);
			for (unsigned i = 1; i <= count; i++)
				assert_int_equal(status_of(i), 0xee);
		} else {
			disk_reset();
			memset(model, 1, count * 4096);
		}
		if (way) {
			disk_reset();
			disk_activate(FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
		}
		assert_null(t.block->disk.deferred);
		assert_int_equal(t.block->disk.requests.taken, 0);
		check_all();
		end();
	}
}

/*
 * The loop waits for each copy of a cluster: a turn has one, whatever queues
 * the writes come from, and also where one write takes two.
 */
static void test_copies_of_a_turn(void **state)
{
	const unsigned count = 20;
	unsigned copied = 0, before, turns = 0;

	(void)state;
	start(WHOLE, SIZE);
	for (unsigned i = 0; i < count; i++)
		put_request_on(i % 4, BLOCK_OUT, 16 * i + 3, DATA_AT,
			       i % 5 ? 512 : 4096);
	for (unsigned queue = 0; queue < 4; queue++)
		kick_queue(queue);
	do {
		before = copied;
		copied = 0;
		for (unsigned i = 0; i < 2 * count; i++)
			copied += overlay_has(&t.block->overlay, 4096 * i);
		assert_in_range(copied, before, before + 1);
		turns++;
	} while (pump(0));
	assert_in_range(turns, count, 2 * count);
	assert_int_equal(mocks[0].count, count);
	run_all(count);
	end();
}

/* A reset in the middle of a write: it is there as a whole, or not at all. */
static void test_reset(void **state)
{
	(void)state;
	start(WHOLE, SIZE);
	for (unsigned i = 0; i < 100; i++) {
		uint32_t sector = any(SECTORS / 8 - 4) * 8, len = 4 * 4096;
		uint8_t *bytes = guest(DATA_AT, len);

		memset(bytes, (int)i + 1, len);
		put_request_on(0, BLOCK_OUT, sector, DATA_AT, len);
		kick_queue(0);
		disk_reset(); /* which waits for it */
		memcpy(model + sector * 512ULL, bytes, len);
		disk_activate(FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
		check_all();
	}
	end();
}

/* No room for a cluster of which a part is written. */
static void test_no_space_for_a_copy(void **state)
{
	int overlay_fd, full_fd = open("/dev/full", O_RDWR | O_CLOEXEC);

	(void)state;
	start(WHOLE, SIZE);
	overlay_fd = t.block->overlay.fd;
	t.block->overlay.fd = full_fd;
	put_request_on(0, BLOCK_OUT, 9, DATA_AT, 512);
	kick_queue(0);
	collect();
	assert_int_equal(status_of(0), BLOCK_IOERR);
	assert_non_null(strstr(logged.last, strerror(ENOSPC)));
	expect_log("its overlay in /");
	t.block->overlay.fd = overlay_fd;
	check_all();
	end();
	close(full_fd);
}

/* The base got shorter, or cannot be read where a cluster is to be copied. */
static void test_short_base(void **state)
{
	(void)state;
	start(WHOLE, SIZE);
	assert_int_equal(ftruncate(base_fd, 4096), 0);
	put_request_on(0, BLOCK_OUT, 9, DATA_AT, 512);
	kick_queue(0);
	collect();
	assert_int_equal(status_of(0), BLOCK_IOERR);
	/* Of the image, and so it is said. */
	assert_null(strstr(logged.last, "overlay"));
	expect_log("I/O error");
	put_request_on(0, BLOCK_OUT, 16, DATA_AT, 4096);
	kick_queue(0);
	run_all(2);
	assert_int_equal(status_of(1), BLOCK_OK);
	put_request_on(0, BLOCK_IN, 16, DATA_AT + MIB, 4096);
	kick_queue(0);
	run_all(3);
	assert_int_equal(status_of(2), BLOCK_OK);
	assert_int_equal(pwrite(base_fd, base, SIZE, 0), SIZE);
	end();
}

/* Five gigabytes cost nothing but the address space of a map. */
static void test_large(void **state)
{
	struct block_options options = { .ephemeral = true,
					 .engine = BLOCK_ENGINE_URING };
	struct stat st;

	(void)state;
	mock_count = 0;
	manner = WHOLE;
	base_fd = memory_file(5 * GIB);
	options.file.fd = dup(base_fd);
	disk_make(&options, FLUSH_FEATURE);
	assert_int_equal(fstat(t.block->backing.overlay_fd, &st), 0);
	assert_int_equal(st.st_size, 5 * GIB);
	assert_int_equal(st.st_blocks, 0);
	fill(guest(DATA_AT, 4096), 4096);
	put_request_on(0, BLOCK_OUT, 5 * GIB / 512 - 8, DATA_AT, 4096);
	kick_queue(0);
	run_all(1);
	put_request_on(0, BLOCK_IN, 5 * GIB / 512 - 16, DATA_AT + MIB, 8192);
	kick_queue(0);
	run_all(2);
	expect_zero(&t.ram, DATA_AT + MIB, 4096);
	assert_memory_equal(guest(DATA_AT + MIB + 4096, 4096),
			    guest(DATA_AT, 4096), 4096);
	disk_destroy();
	close(base_fd);
	expect_no_log();
}

/*
 * The cluster behind the last whole one is the first of a new word of the map,
 * and the only one of a new page of it; only a part of it is on the disk.
 */
static void last_cluster(unsigned sectors, unsigned written)
{
	const uint64_t whole = 128 * MIB, size = whole + sectors * 512ULL;
	struct block_options options = { .ephemeral = true,
					 .engine = BLOCK_ENGINE_URING };
	uint8_t bytes[2 * 4096] = { 0 }, now[sizeof(bytes)] = { 0 };
	const size_t len = 4096 + sectors * 512ULL;

	mock_count = 0;
	manner = WHOLE;
	base_fd = memory_file(size);
	fill(bytes, len);
	assert_int_equal(pwrite(base_fd, bytes, len, (off_t)whole - 4096), len);
	options.file.fd = dup(base_fd);
	disk_make(&options, FLUSH_FEATURE);
	assert_true(t.block->overlay.bits_size > whole / 4096 / 8);
	memset(guest(DATA_AT, 512), 0xa5, 512);
	put_request_on(0, BLOCK_OUT, whole / 512 + written, DATA_AT, 512);
	kick_queue(0);
	run_all(1);
	assert_int_equal(status_of(0), BLOCK_OK);
	assert_true(overlay_has(&t.block->overlay, whole));
	assert_false(overlay_has(&t.block->overlay, whole - 1));
	put_request_on(0, BLOCK_IN, whole / 512 - 8, DATA_AT + MIB,
		       (uint32_t)len);
	kick_queue(0);
	run_all(2);
	assert_int_equal(status_of(1), BLOCK_OK);
	memset(bytes + 4096 + written * 512ULL, 0xa5, 512);
	assert_memory_equal(guest(DATA_AT + MIB, len), bytes, len);
	/* The base is as it was, and the overlay no longer than the disk. */
	assert_int_equal(pread(base_fd, now, len, (off_t)whole - 4096), len);
	fill(bytes, len);
	assert_memory_equal(now, bytes, len);
	assert_int_equal(lseek(t.block->backing.overlay_fd, 0, SEEK_END), size);
	disk_destroy();
	close(base_fd);
	expect_no_log();
}

static void test_last_cluster(void **state)
{
	(void)state;
	last_cluster(1, 0);
	/* One that is written in part. */
	last_cluster(3, 0);
	last_cluster(3, 1);
	last_cluster(7, 6);
}

/* -- layers --------------------------------------------------------------- */

/* Where they lie in a snapshot's file, which has something else around. */
#define MAP_AT	    8192ULL
#define MAP_BYTES   40ULL
#define CLUSTERS_AT 20480ULL
#define CLUSTERS    ((SIZE + 4095) / 4096)
#define FILE_BYTES  (CLUSTERS_AT + CLUSTERS * 4096 + 4096)

/* The host says this to the so-manieth call that saving makes; 0: to none. */
static unsigned fails_at, calls;
static int fails_with;
static bool no_seek, short_writes;

ssize_t __real_pread(int fd, void *to, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t at);
ssize_t __real_pwrite(int fd, const void *from, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t at);
off_t __real_lseek(int fd, off_t at, int whence);
off_t __wrap_lseek(int fd, off_t at, int whence);

static bool fails(void)
{
	if (!fails_at || ++calls < fails_at)
		return false;
	errno = fails_with;
	return true;
}

ssize_t __wrap_pread(int fd, void *to, size_t len, off_t at)
{
	return fails() ? -1 : __real_pread(fd, to, len, at);
}

/* A disk that is full takes a part first. */
ssize_t __wrap_pwrite(int fd, const void *from, size_t len, off_t at)
{
	if (!fails())
		return __real_pwrite(fd, from,
				     short_writes && len > 512 ? 512 : len, at);
	if (calls == fails_at && len > 512 && fails_with == ENOSPC)
		return __real_pwrite(fd, from, 512, at);
	return -1;
}

off_t __wrap_lseek(int fd, off_t at, int whence)
{
	errno = EINVAL;
	return no_seek && whence == SEEK_DATA ? -1
					      : __real_lseek(fd, at, whence);
}

static int save_layer(int fd)
{
	uint64_t at = 0;
	int left;

	short_writes = manner == SHORT;
	do
		left = block_save_layer(t.block, fd, MAP_AT, CLUSTERS_AT, &at);
	while (left > 0);
	short_writes = false;
	return left;
}

static int saved_file(void)
{
	const int fd = memory_file(FILE_BYTES);

	assert_int_equal(save_layer(fd), 0);
	return fd;
}

static const char *use_layer(int fd)
{
	const char *wrong;
	const int error =
		block_use_layer(t.block, fd, MAP_AT, CLUSTERS_AT, &wrong);

	assert_int_equal(error, wrong ? -EINVAL : 0);
	return wrong;
}

static void restore_from(int fd)
{
	open_disk_of_base();
	assert_null(use_layer(fd));
	disk_activate(FLUSH_FEATURE | FEATURE_INDIRECT_DESC);
}

/* The next one goes on from the file of the one before. */
static void generations(enum manner how, uint64_t size, unsigned count)
{
	static uint8_t before[FILE_BYTES], after[FILE_BYTES];
	int fd, older = -1;

	start(how, size);
	for (unsigned i = 0; i < count; i++) {
		random_rounds(i ? 80 : 40);
		assert_true(disk_pause());
		fd = saved_file();
		disk_resume();
		/* What the file has is the snapshot's, whoever runs on. */
		assert_int_equal(pread(fd, before, FILE_BYTES, 0), FILE_BYTES);
		if (i % 2) {
			uint8_t *then = malloc(SIZE);

			memcpy(then, model, SIZE);
			random_rounds(20);
			memcpy(model, then, SIZE);
			free(then);
		}
		disk_destroy();
		if (older >= 0)
			close(older);
		older = fd;
		restore_from(fd);
		check_all();
		random_rounds(30);
		assert_int_equal(pread(fd, after, FILE_BYTES, 0), FILE_BYTES);
		assert_memory_equal(before, after, FILE_BYTES);
	}
	end();
	close(older);
}

static void test_generations(void **state)
{
	static const uint64_t sizes[] = { SIZE, SIZE / 2 / 4096 * 4096,
					  SIZE / 3 / 4096 * 4096 + 3 * 512,
					  512 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		for (enum manner how = WHOLE; how <= SHORT_AND_POOR; how++) {
			no_seek = how == SHORT;
			generations(how, sizes[i], 6);
		}
	no_seek = false;
}

static void put_bytes(uint64_t sector, uint32_t len, uint8_t value)
{
	memset(guest(DATA_AT, len), value, len);
	memset(model + sector * 512, value, len);
	put_request_on(0, BLOCK_OUT, sector, DATA_AT, len);
	kick_queue(0);
	run_all(t.back_count + 1);
	assert_int_equal(status_of(t.slots - 1), BLOCK_OK);
}

static void discard(uint32_t sector, uint32_t sectors)
{
	put_le64(guest(DATA_AT, 16), sector);
	put_le32(guest(DATA_AT + 8, 4), sectors);
	put_le32(guest(DATA_AT + 12, 4), 0);
	memset(model + sector * 512ULL, 0, sectors * 512ULL);
	put_request_on(0, BLOCK_DISCARD, 0, DATA_AT, 16);
	kick_queue(0);
	run_all(t.back_count + 1);
}

static unsigned blocks_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, FILE_BYTES);
	return (unsigned)st.st_blocks;
}

/* What was never written takes no room; nor do zeros, and what was discarded.
 */
static void test_layer_is_sparse(void **state)
{
	int fd, next;

	(void)state;
	start(WHOLE, SIZE);
	fd = saved_file();
	assert_int_equal(blocks_of(fd), 0);
	close(fd);
	put_bytes(16, 8192, 1);
	put_bytes(1016, 4096, 0);
	put_bytes(1100, 512, 3);
	fd = saved_file();
	/* Three clusters, and a page of the map. */
	assert_int_equal(blocks_of(fd), 4 * 8);
	disk_destroy();
	restore_from(fd);
	check_all();
	discard(16, 16);
	put_bytes(24, 512, 7);
	next = saved_file();
	assert_int_equal(blocks_of(next), 3 * 8);
	disk_destroy();
	restore_from(next);
	check_all();
	end();
	close(fd);
	close(next);
}

/* Parts of clusters that the layer has are copied from there, not the base. */
static void test_parts_of_a_layer(void **state)
{
	int fd;

	(void)state;
	start(WHOLE, SIZE);
	put_bytes(16, 3 * 4096, 1);
	put_bytes(SECTORS - 5, 5 * 512, 2);
	fd = saved_file();
	disk_destroy();
	restore_from(fd);
	put_bytes(19, 512, 9);
	put_bytes(24 + 7, 1024, 8);
	put_bytes(SECTORS - 1, 512, 7);
	/* And none of the base's. */
	put_bytes(80, 512, 6);
	check_all();
	/* What is read lies in three files. */
	put_request_on(0, BLOCK_IN, 0, DATA_AT, 64 * 4096);
	kick_queue(0);
	assert_int_equal(mocks[0].waiting[0]->file, BLOCK_FILE_BASE);
	run_all(t.back_count + 1);
	assert_memory_equal(guest(DATA_AT, 64 * 4096), model, 64 * 4096);
	end();
	close(fd);
}

/* The layer cannot be read: the guest's read fails, and says of what. */
static void test_layer_is_cut_off(void **state)
{
	int fd, next;

	(void)state;
	start(WHOLE, SIZE);
	put_bytes(16, 8192, 1);
	fd = saved_file();
	disk_destroy();
	restore_from(fd);
	assert_int_equal(ftruncate(fd, CLUSTERS_AT), 0);
	put_request_on(0, BLOCK_IN, 16, DATA_AT, 512);
	kick_queue(0);
	run_all(1);
	assert_int_equal(status_of(0), BLOCK_IOERR);
	expect_log("its layer in the snapshot: its file has shrunk");
	put_request_on(0, BLOCK_OUT, 17, DATA_AT, 512);
	kick_queue(0);
	run_all(2);
	assert_int_equal(status_of(1), BLOCK_IOERR);
	expect_log("its layer in the snapshot: Input/output error");
	/* Nor can it be saved. */
	next = memory_file(FILE_BYTES);
	assert_int_equal(save_layer(next), -EIO);
	close(next);
	expect_log("its layer in the snapshot cannot be read: Input/output");
	end();
	close(fd);
}

/* -- hostile layers ------------------------------------------------------- */

static void put_map(int fd, unsigned bit)
{
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, (off_t)MAP_AT + bit / 8), 1);
	byte = (uint8_t)(byte | 1u << bit % 8);
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)MAP_AT + bit / 8), 1);
}

static void test_hostile_map(void **state)
{
	uint64_t map_bytes, clusters_bytes;

	(void)state;
	start(WHOLE, SIZE);
	block_layer_sizes(t.block, &map_bytes, &clusters_bytes);
	assert_true(block_has_layer(t.block));
	assert_int_equal(map_bytes, MAP_BYTES);
	assert_int_equal(clusters_bytes, CLUSTERS * 4096);
	/* Each bit is one of the disk's, or behind its end. */
	for (unsigned bit = 0; bit < MAP_BYTES * 8; bit++) {
		int fd = memory_file(FILE_BYTES);

		put_map(fd, bit);
		disk_destroy();
		open_disk_of_base();
		if (bit >= CLUSTERS) {
			assert_string_equal(use_layer(fd),
					    "its layer has clusters behind the "
					    "disk's end");
			/* And nothing of it is used. */
			assert_null(t.block->overlay.layer.bits);
		} else {
			assert_null(use_layer(fd));
		}
		close(fd);
	}
	end();
}

/* Is any file of the test's mapped? */
static bool layer_is_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps))
		found |= strstr(line, "mote-test") != NULL;
	fclose(maps);
	return found;
}

static void test_hostile_places(void **state)
{
	static const struct {
		uint64_t map, clusters;
	} places[] = {
		{ MAP_AT + 1, CLUSTERS_AT },	 { MAP_AT, CLUSTERS_AT + 512 },
		{ 0, INT64_MAX - 4095 },	 { UINT64_MAX - 4095, 0 },
		{ 0, UINT64_MAX - 4095 },	 { MAP_AT, 1ULL << 63 },
		{ 1ULL << 63, CLUSTERS_AT },	 { INT64_MAX - 4095, 0 },
		{ FILE_BYTES, CLUSTERS_AT },	 { 1ULL << 40, CLUSTERS_AT },
		{ FILE_BYTES / 4096 * 4096, 0 },
	};
	const size_t wrapped = 7; /* or not at a page's border */
	const char *wrong;
	int fd;

	(void)state;
	start(WHOLE, SIZE);
	fd = memory_file(FILE_BYTES);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		assert_int_equal(block_use_layer(t.block, fd, places[i].map,
						 places[i].clusters, &wrong),
				 -EINVAL);
		assert_string_equal(wrong, i < wrapped ? "its layer is at an "
							 "impossible place"
						       : "its layer is "
							 "incomplete");
		assert_null(t.block->overlay.layer.bits);
	}
	/* Cut within the map. */
	assert_int_equal(ftruncate(fd, MAP_AT + MAP_BYTES - 1), 0);
	assert_string_equal(use_layer(fd), "its layer is incomplete");
	assert_int_equal(ftruncate(fd, FILE_BYTES), 0);
	assert_false(layer_is_mapped());
	assert_null(use_layer(fd));
	assert_true(layer_is_mapped());
	assert_string_equal(use_layer(fd), "it has two layers");
	check_all();
	end();
	assert_false(layer_is_mapped());
	close(fd);
}

static void test_layer_of_another_disk(void **state)
{
	struct block_options options = { .engine = BLOCK_ENGINE_URING };
	int fd = memory_file(FILE_BYTES);

	(void)state;
	mock_count = 0;
	options.file.fd = memory_file(SIZE);
	disk_make(&options, FLUSH_FEATURE);
	assert_false(block_has_layer(t.block));
	assert_string_equal(use_layer(fd), "it is not ephemeral");
	disk_destroy();
	close(fd);
}

/* -- saving that fails ---------------------------------------------------- */

/* Each call fails once: the disk is what it was, and can be saved later. */
static void test_save_fails(void **state)
{
	static const int errors[] = { ENOSPC, EIO, EDQUOT, EFBIG };
	unsigned most = 0;
	int fd, last;

	(void)state;
	start(WHOLE, SIZE);
	random_rounds(10);
	fd = saved_file();
	disk_destroy();
	restore_from(fd);
	random_rounds(10);
	for (size_t i = 0; i < ARRAY_LEN(errors); i++)
		for (fails_at = 1; fails_at; fails_at++) {
			int next = memory_file(FILE_BYTES), error;

			calls = 0;
			fails_with = errors[i];
			assert_true(disk_pause());
			error = save_layer(next);
			most = most < fails_at ? fails_at : most;
			if (!error)
				fails_at = UINT32_MAX;
			else
				expect_log(strerror(errors[i]));
			assert_true(!error || error == -errors[i]);
			close(next);
			disk_resume();
			if (!error)
				break;
		}
	assert_true(most > 20);
	fails_at = 0;
	check_all();
	random_rounds(10);
	last = saved_file();
	disk_destroy();
	close(fd);
	restore_from(last);
	check_all();
	end();
	close(last);
}

/* -- pieces --------------------------------------------------------------- */

/* 160 GiB, discarded as a file system does it when it is made. */
static void test_pieces(void **state)
{
	const uint64_t size = 160 * GIB, map_bytes = size / 4096 / 8;
	struct block_options options = { .ephemeral = true,
					 .engine = BLOCK_ENGINE_URING };
	const char *wrong;
	unsigned pieces = 0;
	uint64_t at = 0;
	struct stat st;
	int fd, left;

	(void)state;
	mock_count = 0;
	manner = WHOLE;
	options.file.fd = memory_file(size);
	disk_make(&options, FLUSH_FEATURE);
	memset(t.block->overlay.bits, 0xff, map_bytes);
	memset(guest(DATA_AT, 4 * MIB), 7, 4 * MIB);
	for (unsigned i = 0; i < 10; i++) {
		put_request_on(0, BLOCK_OUT, 16 * GIB / 512 + i * 8192, DATA_AT,
			       4 * MIB);
		kick_queue(0);
		run_all(t.back_count + 1);
	}
	fd = memory_file(CLUSTERS_AT * 1024 + size);
	do {
		const uint64_t before = at;
		struct stat then;

		assert_int_equal(fstat(fd, &then), 0);
		left = block_save_layer(t.block, fd, 4096, CLUSTERS_AT * 1024,
					&at);
		assert_int_equal(fstat(fd, &st), 0);
		/* Each gets on, and none looks at or writes too much. */
		assert_true(at > before);
		assert_in_range(at - before, 0, 68 * GIB);
		assert_in_range(st.st_blocks - then.st_blocks, 0,
				(16 * MIB + 65536) / 512);
		pieces++;
	} while (left > 0);
	assert_int_equal(left, 0);
	assert_in_range(pieces, 4, 200);
	assert_int_equal(st.st_blocks, (40 * MIB + map_bytes) / 512);
	disk_destroy();
	/* Its map is full to the last bit, and taken. */
	mock_count = 0;
	options.file.fd = memory_file(size);
	disk_make(&options, FLUSH_FEATURE);
	assert_int_equal(
		block_use_layer(t.block, fd, 4096, CLUSTERS_AT * 1024, &wrong),
		0);
	put_request_on(0, BLOCK_IN, 16 * GIB / 512 + 77, DATA_AT, 4096);
	kick_queue(0);
	run_all(1);
	assert_int_equal(*guest(DATA_AT, 1), 7);
	disk_destroy();
	close(fd);
	expect_no_log();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_poor),
		cmocka_unit_test(test_larger_than_its_image),
		cmocka_unit_test(test_discard_frees),
		cmocka_unit_test(test_overlapping),
		cmocka_unit_test(test_overlapping_failed),
		cmocka_unit_test(test_many_overlapping),
		cmocka_unit_test(test_copies_of_a_turn),
		cmocka_unit_test(test_no_space),
		cmocka_unit_test(test_no_space_for_a_copy),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_short_base),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_last_cluster),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_layer_is_sparse),
		cmocka_unit_test(test_parts_of_a_layer),
		cmocka_unit_test(test_layer_is_cut_off),
		cmocka_unit_test(test_hostile_map),
		cmocka_unit_test(test_hostile_places),
		cmocka_unit_test(test_layer_of_another_disk),
		cmocka_unit_test(test_save_fails),
		cmocka_unit_test(test_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
