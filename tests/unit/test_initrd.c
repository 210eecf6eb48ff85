/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/initrd.c boot/source.c cpu/loop/format.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* Initrds: order, padding, sharing, the places they may have, refusals. */
#include <errno.h>
#include <fcntl.h>

#include "boot/initrd.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define FLOOR GPA(16 * MIB + 5) /* a kernel's end need not be aligned */
#define LIMIT GPA(0x7fffffff)

static uint8_t bytes[3 * 4096 + 10];

static void test_none(void **state)
{
	struct initrd initrd = { .size = 1 };
	struct ram ram;

	(void)state;
	make_ram(&ram, 64 * MIB);
	assert_int_equal(initrd_load(&initrd, &ram, NULL, 0, FLOOR, LIMIT), 0);
	assert_true(initrd.size == 0);
	expect_no_log();
	ram_destroy(&ram);
}

static void test_one(void **state)
{
	struct initrd_source list = { file_of(bytes, sizeof(bytes)), "cpio" };
	uint8_t again[sizeof(bytes)];
	struct initrd initrd;
	struct ram ram;

	(void)state;
	make_ram(&ram, 64 * MIB);
	assert_int_equal(initrd_load(&initrd, &ram, &list, 1, FLOOR, LIMIT), 0);
	expect_no_log();
	assert_true(initrd.start.v == 64 * MIB - 4 * 4096);
	assert_true(initrd.size == sizeof(bytes));
	expect_bytes(&ram, initrd.start.v, bytes, sizeof(bytes));
	expect_zero(&ram, initrd.start.v + sizeof(bytes), 4096 - 10);
	assert_true(is_mapped(&ram, initrd.start.v));
	assert_true(is_mapped(&ram, initrd.start.v + 2 * 4096));

	/* Linux frees and reuses the pages: the file does not see it. */
	memset(ram_span(&ram, initrd.start, initrd.size), 0, initrd.size);
	assert_int_equal(pread(list.fd, again, sizeof(again), 0),
			 sizeof(again));
	assert_memory_equal(again, bytes, sizeof(again));
	assert_int_equal(close(list.fd), 0);
	ram_destroy(&ram);
}

/* What Linux would not take is told of, and loaded all the same. */
static void test_no_archive(void **state)
{
	static const struct {
		size_t offset, len;
		const char *bytes, *says;
	} cases[] = {
		{ 257, 5, "ustar", "initrd given: is a tar archive, which" },
		{ 0, 8, "vhdxfile", "is a VHDX disk image, which Linux does" },
		{ 0, 4, "PK\x03\x04", "is a zip archive" },
		{ 0, 6, "070701", NULL },
		{ 0, 3, "\x1f\x8b\x08", NULL },
		{ 0x438, 2, "\x53\xef", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct initrd_source list = { -1, "given" };
		struct initrd initrd;
		struct ram ram;

		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes + cases[i].offset, cases[i].bytes, cases[i].len);
		list.fd = file_of(bytes, sizeof(bytes));
		make_ram(&ram, 64 * MIB);
		assert_int_equal(
			initrd_load(&initrd, &ram, &list, 1, FLOOR, LIMIT), 0);
		assert_true(initrd.size == sizeof(bytes));
		if (cases[i].says)
			expect_log(cases[i].says);
		else
			expect_no_log();
		ram_destroy(&ram);
		assert_int_equal(close(list.fd), 0);
	}
	fill(bytes, sizeof(bytes));
}

/* A file, a pipe, a file of one byte, a file of whole pages. */
static void test_several(void **state)
{
	struct initrd_source list[] = {
		{ file_of(bytes, 4097), "a" },
		{ pipe_of(bytes, sizeof(bytes)), "fd=7" },
		{ file_of(bytes, 1), "c" },
		{ file_of(bytes, 8192), "d" },
	};
	unsigned fds = count_fds();
	struct initrd initrd;
	struct ram ram;
	uint64_t at;

	(void)state;
	make_ram(&ram, 64 * MIB);
	assert_int_equal(initrd_load(&initrd, &ram, list, 4, FLOOR, LIMIT), 0);
	assert_int_equal(count_fds(), fds);
	at = 64 * MIB - (2 + 4 + 1 + 2) * 4096;
	assert_true(initrd.start.v == at);
	assert_true(initrd.size == 9 * 4096);
	expect_zero(&ram, at - 4096, 4096);
	expect_bytes(&ram, at, bytes, 4097);
	expect_zero(&ram, at + 4097, 4095);
	expect_bytes(&ram, at + 2 * 4096, bytes, sizeof(bytes));
	expect_zero(&ram, at + 5 * 4096 + 10, 4086);
	expect_bytes(&ram, at + 6 * 4096, bytes, 1);
	expect_zero(&ram, at + 6 * 4096 + 1, 4095);
	expect_bytes(&ram, at + 7 * 4096, bytes, 8192);
	assert_true(is_mapped(&ram, at));
	assert_true(is_mapped(&ram, at + 2 * 4096));
	assert_true(is_mapped(&ram, at + 7 * 4096));
	for (unsigned i = 0; i < ARRAY_LEN(list); i++)
		assert_int_equal(close(list[i].fd), 0);
	ram_destroy(&ram);
}

/* Where it goes, for RAM of a size and a kernel's limit. */
static void test_places(void **state)
{
	static const struct {
		uint64_t ram, floor, limit, start;
	} cases[] = {
		{ 64 * MIB, 0, UINT64_MAX, 64 * MIB - 4 * 4096 },
		{ 5 * GIB, 0, UINT64_MAX, 3 * GIB - 4 * 4096 },
		{ 5 * GIB, 0, 3 * GIB - 1, 3 * GIB - 4 * 4096 },
		{ 5 * GIB, 0, 0x7fffffff, 2 * GIB - 4 * 4096 },
		{ 5 * GIB, 0, 0x37ffffff, 0x38000000 - 4 * 4096 },
		/* A last byte that is not the end of a page. */
		{ 64 * MIB, 0, 0x1fffffe, 0x2000000 - 5 * 4096 },
		/* Just room, above and below. */
		{ 64 * MIB, 64 * MIB - 4 * 4096, 0x7fffffff,
		  64 * MIB - 4 * 4096 },
		{ 64 * MIB, 64 * MIB - 5 * 4096 + 1, 0x7fffffff,
		  64 * MIB - 4 * 4096 },
		{ 64 * MIB, MIB, MIB + 4 * 4096 - 1, MIB },
	};
	struct initrd_source list = { file_of(bytes, sizeof(bytes)), "cpio" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct initrd initrd;
		struct ram ram;

		make_ram(&ram, cases[i].ram);
		assert_int_equal(initrd_load(&initrd, &ram, &list, 1,
					     GPA(cases[i].floor),
					     GPA(cases[i].limit)),
				 0);
		assert_true(initrd.start.v == cases[i].start);
		expect_bytes(&ram, initrd.start.v, bytes, sizeof(bytes));
		ram_destroy(&ram);
	}
	close(list.fd);
}

static void test_no_room(void **state)
{
	static const struct {
		uint64_t floor, limit, size;
		const char *log;
	} cases[] = {
		{ 64 * MIB - 4 * 4096 + 1, 0x7fffffff, sizeof(bytes),
		  "--memory 65M or more" },
		{ 16 * MIB, 0x7fffffff, 100 * MIB, "--memory 116M or more" },
		{ 16 * MIB, 0x7fffffff, 48 * MIB + 1, "has 49152 KiB for it" },
		{ 80 * MIB, 0x7fffffff, 4096, "has 0 KiB for it above" },
		{ 16 * MIB, 0x7fffffff, 2 * GIB - 16 * MIB,
		  "--memory 2048M or" },
		/* No RAM will do. */
		{ 16 * MIB, 0x7fffffff, 2 * GIB - 16 * MIB + 1,
		  "to 0x80000000 on" },
		{ 16 * MIB, 0, 4096, "from 0x1000000 to 0x0 only" },
		{ 16 * MIB, 17 * MIB - 1, MIB + 1, "to 0x1100000 only" },
		{ 3 * GIB, UINT64_MAX, 1, "to 0xc0000000 only" },
		{ UINT64_MAX, UINT64_MAX, 1, "to 0xc0000000 only" },
		{ 16 * MIB, UINT64_MAX, 3 * GIB,
		  "needs 3145728 KiB, and this" },
		{ 16 * MIB, UINT64_MAX, 3 * GIB + 1,
		  "has 3072 MiB, more than" },
		{ 16 * MIB, UINT64_MAX, INT64_MAX & ~4095,
		  "more than the 3 GiB" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct initrd_source list = { file_of("", 0), "big" };
		struct initrd initrd;
		struct ram ram;

		assert_int_equal(ftruncate(list.fd, (off_t)cases[i].size), 0);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(initrd_load(&initrd, &ram, &list, 1,
					     GPA(cases[i].floor),
					     GPA(cases[i].limit)),
				 -ENOMEM);
		expect_log(cases[i].log);
		assert_true(initrd.size == 0);
		ram_destroy(&ram);
		close(list.fd);
	}
}

static void test_bad_sources(void **state)
{
	const struct {
		int fd, error;
		const char *log;
	} cases[] = {
		{ open("/", O_RDONLY | O_CLOEXEC), -EISDIR,
		  "initrd bad: is a directory" },
		{ file_of("", 0), -ENODATA, "initrd bad: is empty" },
		{ open("/dev/null", O_RDONLY | O_CLOEXEC), -ENODATA,
		  "is empty" },
		{ open("/dev/null", O_WRONLY | O_CLOEXEC), -EBADF,
		  "cannot be read" },
		{ open("/dev/zero", O_RDONLY | O_CLOEXEC), -EFBIG,
		  "sends more than 64 MiB" },
		{ -1, -EBADF, "cannot be read" },
	};

	(void)state;
	/* Bad in the first place, and after a good one. */
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct initrd_source list[] = {
			{ file_of(bytes, sizeof(bytes)), "good" },
			{ cases[i].fd, "bad" },
		};
		unsigned fds = count_fds();
		struct initrd initrd;
		struct ram ram;

		make_ram(&ram, 64 * MIB);
		for (unsigned first = 0; first < 2; first++) {
			assert_int_equal(initrd_load(&initrd, &ram,
						     list + first, 2 - first,
						     FLOOR, LIMIT),
					 cases[i].error);
			expect_log(cases[i].log);
			assert_true(initrd.size == 0);
		}
		assert_int_equal(count_fds(), fds);
		expect_zero(&ram, 63 * MIB, MIB);
		ram_destroy(&ram);
		close(list[0].fd);
		if (cases[i].fd >= 0)
			assert_int_equal(close(cases[i].fd), 0);
	}
}

static void test_too_many(void **state)
{
	struct initrd_source list[INITRD_SOURCES_MAX + 1];
	int fd = file_of(bytes, 5);
	struct initrd initrd;
	struct ram ram;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(list); i++)
		list[i] = (struct initrd_source){ fd, "same" };
	make_ram(&ram, 64 * MIB);
	assert_int_equal(
		initrd_load(&initrd, &ram, list, ARRAY_LEN(list), FLOOR, LIMIT),
		-E2BIG);
	expect_log("65 initrds are more than 64");
	assert_int_equal(initrd_load(&initrd, &ram, list, INITRD_SOURCES_MAX,
				     FLOOR, LIMIT),
			 0);
	assert_true(initrd.size == (INITRD_SOURCES_MAX - 1) * 4096 + 5);
	ram_destroy(&ram);
	close(fd);
}

static int fill_bytes(void **state)
{
	(void)state;
	fill(bytes, sizeof(bytes));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_no_archive),
		cmocka_unit_test(test_several),
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_bad_sources),
		cmocka_unit_test(test_too_many),
	};

	return cmocka_run_group_tests(tests, fill_bytes, NULL);
}
