/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/snapshot/learn.c boot/snapshot/memory.c boot/snapshot/file.c */
/* uses: mem/state.c cpu/loop/thread.c tests/unit/kept_log.c */
/* ldflags: -Wl,--wrap=copy_file_range */
/*
 * Learned pages: which of a mapped file's are written, their runs as bytes and
 * back, each thing that can be wrong with them, and a copy of a sparse file.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/snapshot/learn.h"
#include "boot/snapshot/memory.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define PAGES 2048u
#define SIZE  (PAGES * RAM_PAGE)

static struct ram ram;
static int fd, pagemap_fd;
static uint8_t bytes[65536];
static struct learned learned;
static bool no_sharing;

ssize_t __real_copy_file_range(int from, off_t *from_off, int to, off_t *to_off,
			       size_t len, unsigned flags);
ssize_t __wrap_copy_file_range(int from, off_t *from_off, int to, off_t *to_off,
			       size_t len, unsigned flags);

ssize_t __wrap_copy_file_range(int from, off_t *from_off, int to, off_t *to_off,
			       size_t len, unsigned flags)
{
	if (!no_sharing)
		return __real_copy_file_range(from, from_off, to, to_off, len,
					      flags);
	errno = EXDEV;
	return -1;
}

static int open_file(uint64_t size)
{
	char name[] = "/var/tmp/learn.XXXXXX";
	const int file = mkstemp(name);

	assert_true(file >= 0);
	unlink(name);
	assert_int_equal(ftruncate(file, (off_t)size), 0);
	return file;
}

static int set_up(void **state)
{
	(void)state;
	fd = open_file(SIZE);
	ram = (struct ram){ .size = SIZE };
	ram.region[0].size = SIZE;
	ram.region[0].host = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_NORESERVE, fd, 0);
	assert_ptr_not_equal(ram.region[0].host, MAP_FAILED);
	pagemap_fd = snapshot_memory_open();
	learned = (struct learned){ .count = 0 };
	no_sharing = false;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	munmap(ram.region[0].host, SIZE);
	close(fd);
	if (pagemap_fd >= 0)
		close(pagemap_fd);
	return 0;
}

static void touch(uint64_t page)
{
	ram.region[0].host[page * RAM_PAGE] = 1;
}

/* The runs that are written, as "first+count ". */
static const char *written(void)
{
	static char text[256];
	struct state save = state_save(bytes, sizeof(bytes));
	struct state load;
	int n = 0;

	snapshot_memory_written(&ram, pagemap_fd, &save);
	assert_null(save.wrong);
	*text = '\0';
	load = state_load(bytes, save.at);
	while (load.at < load.len) {
		uint32_t first, count;

		state_u32(&load, &first);
		state_u32(&load, &count);
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%u+%u ",
			      first, count);
	}
	return text;
}

static void test_learn_what_is_written(void **state)
{
	volatile uint8_t sum = 0;

	(void)state;
	assert_string_equal(written(), "");
	for (unsigned i = 0; i < 64; i++)
		sum = (uint8_t)(sum + ram.region[0].host[i * RAM_PAGE]);
	assert_string_equal(written(), "");
	touch(0);
	touch(40);
	touch(41);
	/* over the border of what is asked for at once */
	for (unsigned i = 510; i < 515; i++)
		touch(i);
	touch(PAGES - 1);
	assert_string_equal(written(), "0+1 40+2 510+5 2047+1 ");
	/* without /proc nothing is learned */
	close(pagemap_fd);
	pagemap_fd = -1;
	assert_string_equal(written(), "");
}

static const char *load(const uint32_t *words, size_t count)
{
	struct state s = state_load(words, count * sizeof(*words));

	learned_load(&learned, SIZE, &s);
	state_is_whole(&s);
	return s.wrong;
}

#define LOAD(...)                                                              \
	load((const uint32_t[]){ __VA_ARGS__ },                                \
	     sizeof((const uint32_t[]){ __VA_ARGS__ }) / sizeof(uint32_t))

static void test_learn_what_is_impossible(void **state)
{
	static const char order[] = "they are in no order";
	static const char beyond[] = "they are beyond its memory";

	(void)state;
	assert_null(LOAD(0, 1));
	assert_null(LOAD(0, 1, 1, 1, PAGES - 1, 1));
	assert_null(LOAD(0, PAGES));
	assert_string_equal(LOAD(0, 0), order);
	assert_string_equal(LOAD(0, 2, 1, 1), order);
	assert_string_equal(LOAD(5, 1, 4, 1), order);
	assert_string_equal(LOAD(0, PAGES + 1), beyond);
	assert_string_equal(LOAD(PAGES, 1), beyond);
	assert_string_equal(LOAD(PAGES - 1, 2), beyond);
	assert_string_equal(LOAD(UINT32_MAX, 1), beyond);
	assert_string_equal(LOAD(1, UINT32_MAX), beyond);
	assert_string_equal(LOAD(0, 1, 1), "it is too long");
}

static void test_learn_pages_are_populated(void **state)
{
	(void)state;
	assert_null(LOAD(3, 2, 600, 1));
	learned_begin(&learned, &ram);
	learned_end(&learned);
	assert_string_equal(written(), "3+2 600+1 ");
	/* and once only */
	learned_begin(&learned, &ram);
	assert_false(learned.thread.started);
	learned_end(&learned);
}

static void put(int file, const char *text, off_t at)
{
	assert_int_equal(pwrite(file, text, strlen(text), at), strlen(text));
}

static void expect_copy(int to, off_t at, const char *text)
{
	char got[16] = { 0 };

	assert_int_equal(pread(to, got, strlen(text), at), strlen(text));
	assert_string_equal(got, text);
}

static void test_learn_copy(void **state)
{
	struct stat from, to;

	(void)state;
	put(fd, "before", 4090);
	put(fd, "one", 8192);
	put(fd, "two", 1 << 20);
	put(fd, "behind", 2 << 20);
	for (int by_hand = 0; by_hand < 2; by_hand++) {
		const int file = open_file(SIZE);

		no_sharing = by_hand;
		assert_int_equal(
			learn_copy(fd, 8192, file, 4096, (2 << 20) - 8192), 0);
		expect_copy(file, 4096, "one");
		expect_copy(file, (1 << 20) - 4096, "two");
		expect_copy(file, (2 << 20) - 4096, "");
		assert_int_equal(fstat(fd, &from), 0);
		assert_int_equal(fstat(file, &to), 0);
		assert_true(to.st_blocks && to.st_blocks < from.st_blocks);
		assert_int_equal(learn_copy(fd, 8192, file, 0, 0), 0);
		assert_int_equal(learn_copy(fd, 8192, -1, 0, 4096), -EBADF);
		assert_int_equal(learn_copy(-1, 0, file, 0, 4096), -EBADF);
		close(file);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_learn_what_is_written,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_learn_what_is_impossible,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_learn_pages_are_populated,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_learn_copy, set_up,
						tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
