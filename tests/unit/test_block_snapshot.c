/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/block_help.c tests/unit/mock_engine.c */
/* uses: virtio/block/snapshot.c mem/state.c */
/* ldflags: -Wl,--wrap=log_guest,--wrap=fdatasync,--wrap=fstat */
/*
 * What a snapshot keeps of a disk, and which disk it takes back.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/block_help.h"
#include "tests/unit/mock_engine.h"

#define RECORD_BYTES 80u

static char directory[] = "/tmp/mote-test-XXXXXX";
static char path[64];

/* What the host says; and how often it was asked. */
static int sync_error, stat_error;
static unsigned syncs;

int __wrap_fdatasync(int fd);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);

int __wrap_fdatasync(int fd)
{
	assert_int_equal(fd, t.block->backing.fd);
	syncs++;
	errno = sync_error;
	return sync_error ? -1 : 0;
}

int __wrap_fstat(int fd, struct stat *st)
{
	errno = stat_error;
	return stat_error ? -1 : __real_fstat(fd, st);
}

/* -- disks ---------------------------------------------------------------- */

static void make_image(uint64_t size)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static void set_mtime(const char *file, long second, long ns)
{
	const struct timespec times[] = { { .tv_nsec = UTIME_OMIT },
					  { second, ns } };

	assert_int_equal(utimensat(AT_FDCWD, file, times, 0), 0);
}

static void start(struct block_options options)
{
	options.engine = BLOCK_ENGINE_URING;
	options.file.path = path;
	options.file.fd = -1;
	mock_count = 0;
	sync_error = stat_error = 0;
	syncs = 0;
	disk_make(&options, FLUSH_FEATURE);
}

static void end(void)
{
	disk_destroy();
	expect_no_log();
}

static void save(uint8_t record[RECORD_BYTES])
{
	struct state s = state_save(record, RECORD_BYTES);

	assert_int_equal(block_sync(t.block), 0);
	block_state(t.block, &s);
	assert_true(state_is_whole(&s));
	assert_int_equal(s.at, RECORD_BYTES);
}

/* NULL, or what is wrong. */
static const char *load(const uint8_t *record, size_t len)
{
	struct state s = state_load(record, len);

	block_state(t.block, &s);
	return state_is_whole(&s) ? NULL : s.wrong;
}

/* The record of the disk with the one options, in one with the others. */
static const char *from_to(struct block_options from, struct block_options to)
{
	uint8_t record[RECORD_BYTES];
	const char *wrong;

	start(from);
	save(record);
	end();
	start(to);
	wrong = load(record, sizeof(record));
	disk_destroy();
	return wrong;
}

/* -- what must fit -------------------------------------------------------- */

static void test_same(void **state)
{
	static const struct block_options same[] = {
		{ .ro = true },
		{ .ephemeral = true },
		{ .serial = "scratch-1" },
		{ .serial = "12345678901234567890" },
		{ .ephemeral = true, .size = 4 * MIB },
		{ .queues = 4, .ops_per_s = 3 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(same); i++) {
		assert_null(from_to(same[i], same[i]));
		expect_no_log();
	}
	/* What the guest does not see may differ. */
	assert_null(from_to((struct block_options){ .queues = 4 },
			    (struct block_options){ .bytes_per_s = 5000 }));
	expect_no_log();
}

static void test_different(void **state)
{
	static const struct {
		struct block_options from, to;
		const char *wrong;
	} cases[] = {
		{ { .ro = true },
		  { .ro = false },
		  "it was read-only, this one is not" },
		{ { .ro = false },
		  { .ro = true },
		  "it was not read-only, this one is" },
		{ { .ephemeral = true },
		  { .ro = false },
		  "it was ephemeral, this one is not" },
		{ { .ro = false },
		  { .ephemeral = true },
		  "it was not ephemeral, this one is" },
		{ { .ephemeral = true, .size = 2 * MIB },
		  { .ephemeral = true },
		  "it had 2097152 bytes, disk 0 (x.img) has 1048576" },
		{ { .serial = "a" },
		  { .serial = "b" },
		  "its serial number was another one" },
		{ { .serial = "a" },
		  { .ro = false },
		  "its serial number was another one" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_string_equal(from_to(cases[i].from, cases[i].to),
				    cases[i].wrong);
		expect_no_log();
	}
}

/* Its file grew: even one that is moved must be as long. */
static void test_another_size(void **state)
{
	static const struct block_options all[] = { { .moved = true },
						    { .ro = true },
						    { .ephemeral = true } };
	uint8_t record[RECORD_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		start(all[i]);
		save(record);
		end();
		make_image(3 * MIB);
		start(all[i]);
		assert_string_equal(load(record, sizeof(record)),
				    "it had 1048576 bytes, disk 0 (x.img) has "
				    "3145728");
		end();
		make_image(MIB);
	}
	/* As long a disk over a longer image. */
	start((struct block_options){ .ephemeral = true, .size = 4 * MIB });
	save(record);
	end();
	make_image(3 * MIB);
	start((struct block_options){ .ephemeral = true, .size = 4 * MIB });
	assert_string_equal(
		load(record, sizeof(record)),
		"its image had 1048576 bytes, disk 0 (x.img) has 3145728");
	end();
	make_image(MIB);
}

static void test_another_block_size(void **state)
{
	uint8_t record[RECORD_BYTES];

	(void)state;
	start((struct block_options){ 0 });
	t.block->backing.logical = 4096;
	save(record);
	t.block->backing.logical = 512;
	t.block->backing.physical = 512; /* a hint, and no more */
	assert_string_equal(
		load(record, sizeof(record)),
		"it had blocks of 4096 bytes, disk 0 (x.img) has 512");
	end();
}

/* -- when it was written -------------------------------------------------- */

#define WRITTEN                                                                \
	"its file was written or replaced since the snapshot: the "            \
	"guest's memory does not fit it; restore it from the copy made with "  \
	"the snapshot, or say ,moved"

/* What happens to the file between save and load. */
static void nothing(void)
{
}

static void write_to_it(void)
{
	const int fd = open(path, O_RDWR | O_CLOEXEC);

	assert_int_equal(pwrite(fd, "x", 1, 100), 1);
	close(fd);
	set_mtime(path, 1000000, 1);
}

/* Down to the nanosecond. */
static void touch_it(void)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	set_mtime(path, st.st_mtim.tv_sec, st.st_mtim.tv_nsec ^ 1);
}

/* As cp -p would do it. */
static void replace_it(void)
{
	char old[80];
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	snprintf(old, sizeof(old), "%s.old", path);
	assert_int_equal(rename(path, old), 0);
	make_image(MIB);
	set_mtime(path, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	assert_int_equal(unlink(old), 0);
}

/* Neither its data nor its time. */
static void change_mode(void)
{
	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(chmod(path, 0600), 0);
}

static void test_written(void **state)
{
	static const struct {
		void (*happens)(void);
		const char *wrong; /* of a written disk; else a warning? */
		bool warns;
	} cases[] = {
		{ nothing, NULL, false },	{ change_mode, NULL, false },
		{ write_to_it, WRITTEN, true }, { touch_it, WRITTEN, true },
		{ replace_it, WRITTEN, false },
	};
	static const struct block_options kinds[] = { { .ro = false },
						      { .moved = true },
						      { .ro = true },
						      { .ephemeral = true } };
	uint8_t record[RECORD_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++) {
			const char *wrong;

			set_mtime(path, 123, (long)i);
			start(kinds[kind]);
			save(record);
			end();
			cases[i].happens();
			start(kinds[kind]);
			wrong = load(record, sizeof(record));
			if (kind == 0 && cases[i].wrong)
				assert_string_equal(wrong, cases[i].wrong);
			else
				assert_null(wrong);
			if (kind >= 2 && cases[i].warns)
				expect_log("disk 0 (x.img) was written or "
					   "replaced since the snapshot: the "
					   "guest's memory may not fit it");
			end();
		}
}

/* What the guest itself writes before the snapshot is no change after it. */
static void test_own_writes(void **state)
{
	uint8_t record[RECORD_BYTES];

	(void)state;
	start((struct block_options){ 0 });
	assert_int_equal(pwrite(t.block->backing.fd, "x", 1, 0), 1);
	set_mtime(path, 77, 5);
	save(record);
	end();
	start((struct block_options){ 0 });
	assert_null(load(record, sizeof(record)));
	end();
}

/* -- records -------------------------------------------------------------- */

static void test_hostile(void **state)
{
	uint8_t record[RECORD_BYTES + 1], bad[RECORD_BYTES];
	struct block before;

	(void)state;
	start((struct block_options){ .serial = "abc" });
	save(record);
	before = *t.block;
	for (size_t len = 0; len < RECORD_BYTES; len++)
		assert_string_equal(load(record, len), "it is too short");
	record[RECORD_BYTES] = 0;
	assert_string_equal(load(record, sizeof(record)), "it is too long");
	/* All fields but the hints are looked at: each bit, if it is one. */
	for (unsigned bit = 0; bit < 8 * RECORD_BYTES; bit++) {
		const unsigned byte = bit / 8;
		const bool hint = (byte >= 20 && byte < 24) || byte >= 72 ||
				  bit == 24 * 8 + 2;
		const char *wrong;

		memcpy(bad, record, sizeof(bad));
		bad[byte] ^= (uint8_t)(1u << bit % 8);
		wrong = load(bad, sizeof(bad));
		assert_true(hint ? !wrong : wrong != NULL);
	}
	assert_string_equal((memcpy(bad, record, sizeof(bad)), bad[24] |= 8,
			     load(bad, sizeof(bad))),
			    "its flags are not known");
	/* And none of it is kept. */
	assert_memory_equal(&before, t.block, sizeof(before));
	end();
}

static void test_layout(void **state)
{
	uint8_t record[RECORD_BYTES];
	struct stat st;

	(void)state;
	start((struct block_options){
		.ephemeral = true, .size = 8 * MIB, .serial = "abc" });
	save(record);
	assert_int_equal(stat(path, &st), 0);
	assert_true(get_le64(record) == 8 * MIB);
	assert_true(get_le64(record + 8) == MIB);
	assert_int_equal(get_le32(record + 16), 512);
	assert_int_equal(get_le32(record + 20), 4096);
	assert_int_equal(get_le32(record + 24), 2);
	assert_memory_equal(record + 28, "abc\0\0", 5);
	assert_true(get_le64(record + 48) == st.st_dev);
	assert_true(get_le64(record + 56) == st.st_ino);
	assert_true(get_le64(record + 64) ==
		    (uint64_t)st.st_mtim.tv_sec * 1000000000u +
			    (uint64_t)st.st_mtim.tv_nsec);
	end();
}

/* -- before a save -------------------------------------------------------- */

static void test_sync(void **state)
{
	static const struct block_options unwritten[] = {
		{ .ro = true }, { .ephemeral = true }
	};

	(void)state;
	start((struct block_options){ 0 });
	assert_int_equal(block_sync(t.block), 0);
	assert_int_equal(syncs, 1);
	end();
	for (size_t i = 0; i < ARRAY_LEN(unwritten); i++) {
		start(unwritten[i]);
		sync_error = stat_error = EIO;
		assert_int_equal(block_sync(t.block), 0);
		assert_int_equal(syncs, 0);
		sync_error = stat_error = 0;
		end();
	}
}

/* What is lost is lost for the guest's FLUSHes, too. */
static void test_sync_fails(void **state)
{
	(void)state;
	start((struct block_options){ 0 });
	sync_error = EIO;
	assert_int_equal(block_sync(t.block), -EIO);
	expect_log("disk 0 (x.img): Input/output error: what was written may "
		   "be lost: no snapshot");
	sync_error = 0;
	assert_int_equal(block_sync(t.block), -EIO);
	assert_int_equal(syncs, 1);
	expect_log("no snapshot");
	put_request_on(0, BLOCK_FLUSH, 0, 0, 0);
	kick_queue(0);
	collect();
	assert_int_equal(status_of(0), BLOCK_IOERR);
	end();
	start((struct block_options){ 0 });
	stat_error = EACCES;
	assert_int_equal(block_sync(t.block), -EACCES);
	expect_log("disk 0 (x.img): Permission denied");
	/* Which says nothing of what was written. */
	assert_false(t.block->disk.lost);
	stat_error = 0;
	assert_int_equal(block_sync(t.block), 0);
	end();
}

static int make_directory(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/x.img", directory);
	make_image(MIB);
	return 0;
}

static int remove_directory(void **state)
{
	(void)state;
	return unlink(path) || rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same),
		cmocka_unit_test(test_different),
		cmocka_unit_test(test_another_size),
		cmocka_unit_test(test_another_block_size),
		cmocka_unit_test(test_written),
		cmocka_unit_test(test_own_writes),
		cmocka_unit_test(test_hostile),
		cmocka_unit_test(test_layout),
		cmocka_unit_test(test_sync),
		cmocka_unit_test(test_sync_fails),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
