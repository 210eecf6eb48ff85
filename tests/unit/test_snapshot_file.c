/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/snapshot/file.c mem/state.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=pwrite -Wl,--wrap=pread -Wl,--wrap=fdatasync */
/*
 * The file of a snapshot: where things lie, what is written last, each thing
 * that can be wrong with a header, and records.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/snapshot/file.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define STATE_LEN 100u
#define MEM_LEN	  (32ULL << 20)

/* Where fields are in the header. */
enum {
	AT_VERSION = 8,
	AT_FLAGS = 12,
	AT_STATE_OFF = 32,
	AT_STATE_LEN = 40,
	AT_MEM_OFF = 48,
	AT_MEM_LEN = 56,
	AT_STATE_CRC = 64,
	AT_CRC = 68,
	AT_FILE_LEN = 72,
	AT_AREAS = 80,
	AREA_LEN = 24,
	AREA_DEVICE = 16,
	AREA_KIND = 20,
};

static uint8_t saved[STATE_LEN], bytes[SNAPSHOT_HEADER];
static struct snapshot_header header;
static int fd;

/* -- system calls ---------------------------------------------------------- */

static struct {
	int error;	 /* of each write; 0: none */
	size_t most;	 /* of one call; 0: no bound */
	bool interrupts; /* each second one */
	unsigned turn;
	uint64_t last_off; /* of the last write */
	unsigned writes, synced_at;
} calls;

static bool is_interrupted(void)
{
	errno = EINTR;
	return calls.interrupts && calls.turn++ % 2 == 0;
}

ssize_t __real_pwrite(int to, const void *from, size_t len, off_t off);
ssize_t __wrap_pwrite(int to, const void *from, size_t len, off_t off);
ssize_t __wrap_pwrite(int to, const void *from, size_t len, off_t off)
{
	if (is_interrupted())
		return -1;
	if (calls.error) {
		errno = calls.error;
		return calls.error > 0 ? -1 : 0;
	}
	calls.writes++;
	calls.last_off = (uint64_t)off;
	if (calls.most && len > calls.most)
		len = calls.most;
	return __real_pwrite(to, from, len, off);
}

ssize_t __real_pread(int from, void *to, size_t len, off_t off);
ssize_t __wrap_pread(int from, void *to, size_t len, off_t off);
ssize_t __wrap_pread(int from, void *to, size_t len, off_t off)
{
	if (is_interrupted())
		return -1;
	if (calls.most && len > calls.most)
		len = calls.most;
	return __real_pread(from, to, len, off);
}

int __wrap_fdatasync(int of);
int __wrap_fdatasync(int of)
{
	(void)of;
	calls.synced_at = calls.writes;
	errno = EDQUOT;
	return calls.error ? -1 : 0;
}

/* -- help ------------------------------------------------------------------ */

/* A file as one is written, with two areas. */
static void make_file(void)
{
	for (unsigned i = 0; i < STATE_LEN; i++)
		saved[i] = (uint8_t)(i * 7 + 1);
	header = (struct snapshot_header){
		.version = 77, /* which place sets */
		.flags = SNAPSHOT_HAS_COMMAND,
		.id = { 1, 2, 3 },
		.state_len = STATE_LEN,
		.mem_len = MEM_LEN,
		.area = { { 0, 5000, 0, SNAPSHOT_AREA_WORDS },
			  { 0, 8, 3, SNAPSHOT_AREA_BITMAP },
			  { 0, 12288, 3, SNAPSHOT_AREA_CLUSTERS } },
	};
	snapshot_header_place(&header);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, (off_t)header.file_len), 0);
	assert_int_equal(snapshot_header_write(&header, saved, fd, false), 0);
	assert_int_equal(pread(fd, bytes, sizeof(bytes), 0), sizeof(bytes));
}

/* Its check sum is made right, by the plain algorithm. */
static uint32_t slow_crc(const uint8_t *at, size_t len)
{
	uint32_t crc = UINT32_MAX;

	while (len--) {
		crc ^= *at++;
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
	}
	return ~crc;
}

static void write_header(void)
{
	put_le32(bytes + AT_CRC, 0);
	put_le32(bytes + AT_CRC, slow_crc(bytes, sizeof(bytes)));
	assert_int_equal(__real_pwrite(fd, bytes, sizeof(bytes), 0),
			 sizeof(bytes));
}

static void refuses(const char *words)
{
	struct snapshot_header read;

	assert_int_equal(snapshot_header_read(&read, fd, "x.snap"), -EINVAL);
	assert_memory_equal(logged.last, "snapshot x.snap: ", 17);
	expect_log(words);
}

static int setup(void **state)
{
	(void)state;
	memset(&calls, 0, sizeof(calls));
	fd = memfd_create("snapshot", 0);
	make_file();
	memset(&calls, 0, sizeof(calls));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	close(fd);
	expect_no_log();
	return 0;
}

/* -- the header ------------------------------------------------------------ */

static void test_lies_where_it_should(void **state)
{
	static const uint64_t offs[] = { 8192, 16384, 20480 };

	(void)state;
	assert_int_equal(header.version, SNAPSHOT_VERSION);
	assert_int_equal(header.state_off, 4096);
	for (unsigned i = 0; i < ARRAY_LEN(offs); i++)
		assert_int_equal(header.area[i].off, offs[i]);
	assert_int_equal(header.area[3].off, 0);
	assert_int_equal(header.mem_off, 2 << 20);
	assert_int_equal(header.file_len, header.mem_off + MEM_LEN);
}

static void test_comes_back(void **state)
{
	struct snapshot_header read;
	uint8_t back[STATE_LEN];

	(void)state;
	assert_memory_equal(bytes, "MOTESNAP", 8);
	assert_int_equal(get_le32(bytes + AT_VERSION), 1);
	assert_int_equal(get_le64(bytes + AT_FILE_LEN), header.file_len);
	memset(&read, 0xff, sizeof(read));
	assert_int_equal(snapshot_header_read(&read, fd, "x.snap"), 0);
	assert_memory_equal(&read, &header, sizeof(read));
	assert_int_equal(snapshot_state_read(&read, fd, "x.snap", back), 0);
	assert_memory_equal(back, saved, STATE_LEN);
	/* A file may be longer than it says. */
	assert_int_equal(ftruncate(fd, (off_t)header.file_len + 1), 0);
	assert_int_equal(snapshot_header_read(&read, fd, "x.snap"), 0);
}

/* RFC 3720, B.4: zeros, ones, and rising bytes, 32 of each. */
static void test_check_sum_is_crc32c(void **state)
{
	static const struct {
		uint8_t first, step;
		uint32_t crc;
	} vectors[] = {
		{ 0x00, 0, 0x8a9136aa },
		{ 0xff, 0, 0x62a8ab43 },
		{ 0x00, 1, 0x46dd794e },
		{ 0x1f, 0xff, 0x113fdb5c },
	};
	uint8_t vector[32];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(vectors); i++) {
		for (unsigned at = 0; at < sizeof(vector); at++)
			vector[at] = (uint8_t)(vectors[i].first +
					       at * vectors[i].step);
		header.state_len = sizeof(vector);
		snapshot_header_place(&header);
		assert_int_equal(
			snapshot_header_write(&header, vector, fd, false), 0);
		assert_int_equal(header.state_crc, vectors[i].crc);
		assert_int_equal(slow_crc(vector, sizeof(vector)),
				 vectors[i].crc);
	}
}

static void test_beginning_is_written_last(void **state)
{
	(void)state;
	for (unsigned in_place = 0; in_place < 2; in_place++) {
		uint8_t before[8];

		assert_int_equal(ftruncate(fd, 0), 0);
		memset(&calls, 0, sizeof(calls));
		assert_int_equal(
			snapshot_header_write(&header, saved, fd, in_place), 0);
		assert_int_equal(calls.writes, 3);
		assert_int_equal(calls.last_off, 0);
		/* What has its name already is synced before that. */
		assert_int_equal(calls.synced_at, in_place ? 2 : 0);
		assert_int_equal(pread(fd, before, 8, 0), 8);
		assert_memory_equal(before, "MOTESNAP", 8);
	}
}

static void test_says_why_it_cannot_be_written(void **state)
{
	(void)state;
	calls.error = ENOSPC;
	assert_int_equal(snapshot_header_write(&header, saved, fd, true),
			 -ENOSPC);
	assert_int_equal(snapshot_write(fd, "x", 1, 0), -ENOSPC);
	calls.error = -1; /* nothing is written, and why is not said */
	assert_int_equal(snapshot_write(fd, "x", 1, 0), -EIO);
	assert_int_equal(snapshot_write(fd, "x", 0, 0), 0);
}

static void test_pieces_and_signals(void **state)
{
	struct snapshot_header read;
	uint8_t back[STATE_LEN];

	(void)state;
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, (off_t)header.file_len), 0);
	calls.most = 7;
	calls.interrupts = true;
	assert_int_equal(snapshot_header_write(&header, saved, fd, false), 0);
	assert_int_equal(snapshot_header_read(&read, fd, "x.snap"), 0);
	assert_memory_equal(&read, &header, sizeof(read));
	assert_int_equal(snapshot_state_read(&read, fd, "x.snap", back), 0);
	assert_memory_equal(back, saved, STATE_LEN);
}

/* -- what is wrong with one ------------------------------------------------ */

static void test_what_is_no_snapshot(void **state)
{
	struct snapshot_header read;
	int pipes[2];

	(void)state;
	bytes[7] ^= 1;
	write_header();
	refuses("it is no snapshot of mote's, or one that was never finished");
	/* Neither is what is too short for a header. */
	make_file();
	for (off_t len = 4095; len >= 0; len -= 1365) {
		assert_int_equal(ftruncate(fd, len), 0);
		refuses("it is no snapshot of mote's");
	}
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(snapshot_header_read(&read, pipes[0], "p"), -EINVAL);
	expect_log("snapshot p: it is no file");
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(snapshot_header_read(&read, -1, "p"), -EBADF);
	expect_log("fstat of a snapshot: Bad file descriptor");
	/* The first 64 bytes are still missing. */
	make_file();
	memset(bytes, 0, 64);
	assert_int_equal(__real_pwrite(fd, bytes, 64, 0), 64);
	refuses("or one that was never finished");
}

static void test_another_version(void **state)
{
	(void)state;
	for (uint32_t version = 0; version < 4; version++) {
		put_le32(bytes + AT_VERSION, version);
		/* Whose check sum may be anywhere. */
		assert_int_equal(__real_pwrite(fd, bytes, 64, 0), 64);
		if (version != SNAPSHOT_VERSION)
			refuses("this mote reads 1: another version");
	}
}

static void test_each_bit_is_summed_up(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 8 * SNAPSHOT_HEADER; bit += 1) {
		struct snapshot_header read;

		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		__real_pwrite(fd, bytes + bit / 8, 1, bit / 8);
		assert_int_equal(snapshot_header_read(&read, fd, "x"), -EINVAL);
		if (bit >= 8 * AT_FLAGS)
			expect_log("its header is damaged (check sum)");
		logged.count = 0;
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		__real_pwrite(fd, bytes + bit / 8, 1, bit / 8);
	}
	for (unsigned bit = 0; bit < 8 * STATE_LEN; bit++) {
		uint8_t back[STATE_LEN], byte = saved[bit / 8];

		byte ^= (uint8_t)(1 << bit % 8);
		__real_pwrite(fd, &byte, 1, 4096 + bit / 8);
		assert_int_equal(snapshot_state_read(&header, fd, "x", back),
				 -EINVAL);
		expect_log("snapshot x: its state is damaged (check sum)");
		__real_pwrite(fd, &saved[bit / 8], 1, 4096 + bit / 8);
	}
}

/* Of 32 or 64 bits, and what is then said. */
static const struct {
	unsigned at, len;
	uint64_t value;
	const char *words;
} faults[] = {
	{ AT_FLAGS, 4, 1, "flags that are not known" },
	{ AT_FLAGS, 4, 8, "flags that are not known" },
	{ AT_FLAGS, 4, 1U << 31, "flags that are not known" },
	{ AT_STATE_OFF, 8, 0, "place of its state" },
	{ AT_STATE_OFF, 8, 4095, "place of its state" },
	{ AT_STATE_OFF, 8, 4097, "place of its state" },
	{ AT_STATE_OFF, 8, 36 << 20, "place of its state" },
	{ AT_STATE_OFF, 8, UINT64_MAX - 4095, "place of its state" },
	{ AT_STATE_LEN, 8, (16 << 20) + 1, "place of its state" },
	{ AT_STATE_LEN, 8, UINT64_MAX, "place of its state" },
	{ AT_STATE_LEN, 8, UINT64_MAX - 4095, "place of its state" },
	{ AT_STATE_LEN, 8, 3 << 20, "its state and its memory overlap" },
	{ AT_STATE_LEN, 8, 4097, "two of its areas overlap" },
	{ AT_STATE_OFF, 8, 8192, "two of its areas overlap" },
	{ AT_MEM_OFF, 8, 0, "place of its memory" },
	{ AT_MEM_OFF, 8, (2 << 20) + 4096, "place of its memory" },
	{ AT_MEM_OFF, 8, 4 << 20, "place of its memory" },
	{ AT_MEM_OFF, 8, UINT64_MAX << 21, "place of its memory" },
	{ AT_MEM_LEN, 8, MEM_LEN + 1, "place of its memory" },
	{ AT_MEM_LEN, 8, MEM_LEN - 1, "place of its memory" },
	{ AT_MEM_LEN, 8, MEM_LEN + 4096, "place of its memory" },
	{ AT_MEM_LEN, 8, UINT64_MAX - 4095, "place of its memory" },
	{ AT_FILE_LEN, 8, 0, "place of its state" },
	{ AT_FILE_LEN, 8, (34 << 20) - 1, "place of its memory" },
	{ AT_FILE_LEN, 8, (34 << 20) + 1,
	  "incomplete: 35651584 bytes of "
	  "35651585" },
	{ AT_FILE_LEN, 8, UINT64_MAX,
	  "incomplete: 35651584 bytes of "
	  "18446744073709551615" },
	{ AT_AREAS, 8, 0, "place of an area" },
	{ AT_AREAS, 8, 8193, "place of an area" },
	{ AT_AREAS, 8, UINT64_MAX - 4095, "place of an area" },
	{ AT_AREAS, 8, 34 << 20, "place of an area" },
	{ AT_AREAS + 8, 8, UINT64_MAX, "place of an area" },
	{ AT_AREAS + 8, 8, UINT64_MAX - 8191, "place of an area" },
	{ AT_AREAS, 8, 4096, "two of its areas overlap" },
	{ AT_AREAS, 8, 2 << 20, "two of its areas overlap" },
	{ AT_AREAS + 8, 8, 8193, "two of its areas overlap" },
	{ AT_AREAS + 8, 8, 3 << 20, "two of its areas overlap" },
	{ AT_AREAS + AREA_LEN, 8, 12288, "two of its areas overlap" },
	{ AT_AREAS + AREA_KIND, 4, 0, "of a kind that is not known" },
	{ AT_AREAS + AREA_KIND, 4, 4, "of a kind that is not known" },
	{ AT_AREAS + AREA_KIND, 4, UINT32_MAX, "of a kind that is not known" },
	{ AT_AREAS + AREA_LEN + AREA_KIND, 4, SNAPSHOT_AREA_CLUSTERS,
	  "an area is there twice" },
	{ AT_AREAS + 63 * AREA_LEN + 8, 8, 1, "of a kind that is not known" },
};

static void test_each_fault_is_named(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(faults); i++) {
		make_file();
		if (faults[i].len == 8)
			put_le64(bytes + faults[i].at, faults[i].value);
		else
			put_le32(bytes + faults[i].at,
				 (uint32_t)faults[i].value);
		write_header();
		refuses(faults[i].words);
	}
}

static void test_what_is_cut_off(void **state)
{
	uint8_t back[STATE_LEN];

	(void)state;
	assert_int_equal(ftruncate(fd, (off_t)header.file_len - 1), 0);
	refuses("it is incomplete: 35651583 bytes of 35651584");
	/* After the header was read. */
	assert_int_equal(ftruncate(fd, 4096 + STATE_LEN - 1), 0);
	assert_int_equal(snapshot_state_read(&header, fd, "x", back), -EINVAL);
	expect_log("snapshot x: it became shorter just now");
	assert_int_equal(snapshot_state_read(&header, -1, "x", back), -EINVAL);
	expect_log("snapshot x: Bad file descriptor");
}

static void test_areas(void **state)
{
	static const char word[] = "area";
	const struct snapshot_area *area;
	uint8_t back[12288];

	(void)state;
	area = snapshot_area(&header, SNAPSHOT_AREA_CLUSTERS, 3);
	assert_ptr_equal(area, &header.area[2]);
	assert_null(snapshot_area(&header, SNAPSHOT_AREA_CLUSTERS, 0));
	assert_null(snapshot_area(&header, SNAPSHOT_AREA_WORDS, 3));
	assert_null(snapshot_area(&header, SNAPSHOT_AREA_NONE, 0));
	assert_int_equal(
		snapshot_write(fd, word, sizeof(word), area->off + 12280), 0);
	assert_int_equal(snapshot_area_read(area, fd, back), 0);
	assert_string_equal((char *)back + 12280, word);
	assert_int_equal(ftruncate(fd, (off_t)area->off + 12287), 0);
	assert_int_equal(snapshot_area_read(area, fd, back), -ENODATA);
	assert_int_equal(snapshot_area_read(area, -1, back), -EBADF);
}

/* -- records --------------------------------------------------------------- */

static void test_records(void **state)
{
	static uint8_t room[64];
	struct state s = state_save(room, sizeof(room));
	struct snapshot_record r;
	uint8_t five[5] = { 1, 2, 3, 4, 5 };

	(void)state;
	memset(room, 0xff, sizeof(room));
	r = snapshot_record_begin(&s, 0x1234, 7);
	state_bytes(&s, five, sizeof(five));
	snapshot_record_end(&s, &r);
	r = snapshot_record_begin(&s, 2, 0xffff);
	snapshot_record_end(&s, &r);
	r = snapshot_record_begin(&s, 3, 0);
	state_bytes(&s, room, 8);
	snapshot_record_end(&s, &r);
	assert_int_equal(s.at, 16 + 8 + 16);
	assert_memory_equal(room,
			    "\x34\x12\x07\0\x05\0\0\0\1\2\3\4\5\0\0\0"
			    "\2\0\xff\xff\0\0\0\0\3\0\0\0\x8\0\0\0",
			    32);

	s = state_load(room, s.at);
	assert_true(snapshot_record_next(&s, &r));
	assert_true(r.tag == 0x1234 && r.index == 7 && r.len == 5);
	assert_int_equal(r.at, 8);
	assert_true(snapshot_record_next(&s, &r));
	assert_true(r.tag == 2 && r.index == 0xffff && !r.len);
	assert_true(snapshot_record_next(&s, &r));
	assert_true(r.tag == 3 && r.len == 8 && r.at == 32);
	assert_false(snapshot_record_next(&s, &r));
	assert_null(s.wrong);

	/* Cut off anywhere but between two. */
	for (size_t len = 1; len < 40; len++) {
		s = state_load(room, len);
		while (snapshot_record_next(&s, &r))
			assert_true(r.at + r.len <= len);
		if (len == 16 || len == 24)
			assert_null(s.wrong);
		else
			assert_string_equal(s.wrong, "it is too short");
	}
	/* Lengths that wrap. */
	for (uint32_t len = UINT32_MAX; len > UINT32_MAX - 20; len--) {
		put_le32(room + 4, len);
		s = state_load(room, 40);
		assert_false(snapshot_record_next(&s, &r));
		assert_string_equal(s.wrong, "it is too short");
	}
}

static void test_records_without_room(void **state)
{
	uint8_t room[32];
	struct state s = state_save(room, 12);
	struct snapshot_record r = snapshot_record_begin(&s, 1, 0);
	uint64_t value = 5;

	(void)state;
	state_u64(&s, &value);
	snapshot_record_end(&s, &r);
	assert_string_equal(s.wrong, "there is no room for it");
	/* Nor for what fills it up. */
	memset(room, 0xaa, sizeof(room));
	s = state_save(room, 10);
	r = snapshot_record_begin(&s, 1, 0);
	state_u8(&s, (uint8_t *)&value);
	snapshot_record_end(&s, &r);
	assert_string_equal(s.wrong, "there is no room for it");
	assert_int_equal(room[10], 0xaa);
	/* Not even for its beginning. */
	s = state_save(room, 7);
	r = snapshot_record_begin(&s, 1, 0);
	snapshot_record_end(&s, &r);
	assert_non_null(s.wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		CASE(test_lies_where_it_should),
		CASE(test_comes_back),
		CASE(test_check_sum_is_crc32c),
		CASE(test_beginning_is_written_last),
		CASE(test_says_why_it_cannot_be_written),
		CASE(test_pieces_and_signals),
		CASE(test_what_is_no_snapshot),
		CASE(test_another_version),
		CASE(test_each_bit_is_summed_up),
		CASE(test_each_fault_is_named),
		CASE(test_what_is_cut_off),
		CASE(test_areas),
		CASE(test_records),
		CASE(test_records_without_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
