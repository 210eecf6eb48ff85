/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/snapshot/memory.c boot/snapshot/file.c mem/state.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* ldflags: -Wl,--wrap=pread,--wrap=open,--wrap=pwrite */
/*
 * Guest memory into a file: which pages are looked at, which are written, and
 * that all else is a hole.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/snapshot/memory.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define PAGE	4096ULL
#define SIZE	(40 * MIB)
#define OFF	(2 * MIB)
#define PAGES	(SIZE / PAGE)
#define PAGEMAP 5000 /* a descriptor of the test's */

static struct ram ram;
static int fd;

/* -- calls ----------------------------------------------------------------- */

static uint64_t pagemap[PAGES];
static bool pagemap_short;
static unsigned written, asked;
static int write_error;

ssize_t __real_pread(int from, void *to, size_t len, off_t off);
ssize_t __wrap_pread(int from, void *to, size_t len, off_t off);
ssize_t __wrap_pread(int from, void *to, size_t len, off_t off)
{
	const uint64_t first = (uintptr_t)ram.region[0].host / PAGE;

	if (from != PAGEMAP)
		return __real_pread(from, to, len, off);
	asked++;
	assert_in_range(off, first * 8, (first + PAGES) * 8 - len);
	memcpy(to, (uint8_t *)pagemap + (uint64_t)off - first * 8, len);
	return (ssize_t)len - pagemap_short;
}

ssize_t __real_pwrite(int to, const void *from, size_t len, off_t off);
ssize_t __wrap_pwrite(int to, const void *from, size_t len, off_t off);
ssize_t __wrap_pwrite(int to, const void *from, size_t len, off_t off)
{
	written++;
	errno = write_error;
	return write_error ? -1 : __real_pwrite(to, from, len, off);
}

static int open_error;

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, mode_t mode);
int __wrap_open(const char *name, int flags, mode_t mode)
{
	errno = open_error;
	return open_error ? -1 : __real_open(name, flags, mode);
}

/* -- help ------------------------------------------------------------------ */

static int setup(void **state)
{
	(void)state;
	written = asked = 0;
	write_error = open_error = 0;
	pagemap_short = false;
	memset(pagemap, 0, sizeof(pagemap));
	make_ram(&ram, SIZE);
	fd = memfd_create("snapshot", 0);
	return ftruncate(fd, (off_t)(OFF + SIZE));
}

static int teardown(void **state)
{
	(void)state;
	close(fd);
	ram_destroy(&ram);
	expect_no_log();
	return 0;
}

static uint8_t *page(unsigned n)
{
	return ram.region[0].host + n * PAGE;
}

static int write_all(int pagemap_fd)
{
	uint64_t at = 0;
	int error = 0;

	while (at < SIZE && !error) {
		const uint64_t before = at;

		error = snapshot_memory_write(&ram, pagemap_fd, fd, OFF, &at);
		if (!error)
			assert_int_equal(at - before,
					 SIZE - before < SNAPSHOT_MEMORY_STEP
						 ? SIZE - before
						 : SNAPSHOT_MEMORY_STEP);
	}
	return error;
}

/* It has data in so many pages. */
static unsigned data_pages(void)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	return (unsigned)((uint64_t)status.st_blocks * 512 / PAGE);
}

static void expect_file(void)
{
	static uint8_t back[PAGE];

	for (unsigned i = 0; i < PAGES; i++) {
		assert_int_equal(
			__real_pread(fd, back, PAGE, (off_t)(OFF + i * PAGE)),
			PAGE);
		if (memcmp(back, page(i), PAGE) != 0)
			fail_msg("page %u", i);
	}
}

/* -- tests ----------------------------------------------------------------- */

static void touch(unsigned n, uint8_t byte)
{
	page(n)[n % PAGE] = byte;
}

/* The real one: what is touched and not zero is written. */
static void test_pages_of_the_host(void **state)
{
	const int real = snapshot_memory_open();

	(void)state;
	assert_true(real >= 0);
	assert_true(fcntl(real, F_GETFD) & FD_CLOEXEC);
	touch(0, 1);
	touch(1, 2);
	touch(2, 3);
	touch(7, 0); /* a page of zeros */
	touch(511, 4);
	touch(512, 5);
	touch(4095, 6);
	touch(4096, 7);
	touch(PAGES - 1, 8);
	assert_int_equal(write_all(real), 0);
	close(real);
	/* Before anything else is touched. */
	assert_int_equal(data_pages(), 8);
	/* Runs; none goes over a piece of the table. */
	assert_int_equal(written, 6);
	expect_file();
}

static void test_present_and_swapped(void **state)
{
	(void)state;
	touch(3, 1); /* nobody says that it is there */
	touch(4, 2);
	touch(5, 3);
	touch(6, 4);
	pagemap[4] = 1ULL << 63;
	pagemap[5] = 1ULL << 62;
	pagemap[6] = ~(3ULL << 62);
	pagemap[9] = 3ULL << 62; /* of zeros */
	assert_int_equal(write_all(PAGEMAP), 0);
	assert_int_equal(asked, PAGES / 512);
	assert_int_equal(written, 1);
	assert_int_equal(data_pages(), 2);
	memset(page(3), 0, PAGE);
	memset(page(6), 0, PAGE);
	expect_file();
}

/* Without /proc, or where it fails, all pages are looked at. */
static void test_without_pagemap(void **state)
{
	(void)state;
	open_error = ENOENT;
	assert_int_equal(snapshot_memory_open(), -1);
	touch(3, 1);
	touch(PAGES - 1, 1);
	assert_int_equal(write_all(-1), 0);
	assert_int_equal(data_pages(), 2);
	expect_file();
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(ftruncate(fd, (off_t)(OFF + SIZE)), 0);
	pagemap_short = true;
	assert_int_equal(write_all(PAGEMAP), 0);
	assert_int_equal(data_pages(), 2);
}

/* A page of a file is not the host's before it is touched, and is not zero. */
static void test_pages_of_files(void **state)
{
	static uint8_t bytes[6 * PAGE];
	int from;

	(void)state;
	memset(bytes, 0x11, sizeof(bytes));
	memset(bytes + 2 * PAGE, 0, PAGE);
	from = file_of(bytes, sizeof(bytes));
	assert_int_equal(
		ram_load(&ram, GPA(8 * PAGE), from, 0, sizeof(bytes), false),
		0);
	assert_true(is_mapped(&ram, 8 * PAGE));
	touch(9, 0x99);
	pagemap[9] = 1ULL << 63;
	assert_int_equal(write_all(PAGEMAP), 0);
	assert_int_equal(data_pages(), 5);
	assert_int_equal(written, 2); /* the page of zeros parts them */
	expect_file();
	/* The page behind it is none of it. */
	touch(14, 1);
	assert_int_equal(write_all(PAGEMAP), 0);
	assert_int_equal(data_pages(), 5);
	touch(14, 0);
	close(from);
}

static void test_errors(void **state)
{
	uint64_t at = 0;

	(void)state;
	touch(600, 1);
	write_error = ENOSPC;
	assert_int_equal(snapshot_memory_write(&ram, -1, fd, OFF, &at),
			 -ENOSPC);
	/* Up to what was written; it may be tried again from there. */
	assert_int_equal(at, 512 * PAGE);
	write_error = 0;
	assert_int_equal(snapshot_memory_write(&ram, -1, fd, OFF, &at), 0);
	assert_int_equal(at, 512 * PAGE + SNAPSHOT_MEMORY_STEP);
	assert_int_equal(data_pages(), 1);
	at = SIZE;
	assert_int_equal(snapshot_memory_write(&ram, -1, fd, OFF, &at), 0);
	assert_int_equal(at, SIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		CASE(test_pages_of_the_host),
		CASE(test_present_and_swapped),
		CASE(test_without_pagemap),
		CASE(test_pages_of_files),
		CASE(test_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
