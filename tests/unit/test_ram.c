/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* Guest RAM: the gap, bounds, and files put into it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define AT MIB /* where files are put */

static void test_ram_below_the_gap(void **state)
{
	struct ram ram;

	(void)state;
	make_ram(&ram, 32 * MIB);
	assert_true(ram.size == 32 * MIB && ram.page == RAM_PAGE);
	assert_true(ram.region[0].start.v == 0);
	assert_true(ram.region[0].size == 32 * MIB);
	assert_true(ram.region[1].size == 0);
	assert_ptr_equal(ram_span(&ram, GPA(0), 32 * MIB), ram.region[0].host);
	assert_null(ram_span(&ram, GPA(0), 32 * MIB + 1));
	assert_null(ram_span(&ram, GPA(32 * MIB), 1));
	assert_null(ram_span(&ram, GPA(RAM_HIGH_START), 1));
	expect_zero(&ram, 0, 64 * 1024);
	ram_destroy(&ram);
	assert_null(ram_span(&ram, GPA(0), 1));
}

static void test_ram_around_the_gap(void **state)
{
	struct ram ram;
	uint8_t *low_end, *high;

	(void)state;
	make_ram(&ram, 5 * GIB);
	assert_true(ram.region[0].size == 3 * GIB);
	assert_true(ram.region[1].start.v == 4 * GIB);
	assert_true(ram.region[1].size == 2 * GIB);
	low_end = ram_span(&ram, GPA(3 * GIB - 1), 1);
	high = ram_span(&ram, GPA(4 * GIB), 2 * GIB);
	assert_non_null(low_end);
	assert_ptr_equal(low_end + 1, high);

	assert_null(ram_span(&ram, GPA(3 * GIB - 1), 2));
	assert_null(ram_span(&ram, GPA(3 * GIB), 1));
	assert_null(ram_span(&ram, GPA(4 * GIB - 1), 1));
	assert_null(ram_span(&ram, GPA(4 * GIB - 1), 2));
	assert_null(ram_span(&ram, GPA(6 * GIB - 1), 2));
	assert_null(ram_span(&ram, GPA(6 * GIB), 1));
	assert_null(ram_span(&ram, GPA(3 * GIB - 1), GIB + 2));
	assert_null(ram_span(&ram, GPA(0), 5 * GIB));
	ram_destroy(&ram);
}

static void test_ram_edges(void **state)
{
	struct ram ram;

	(void)state;
	make_ram(&ram, 3 * GIB);
	assert_true(ram.region[1].size == 0);
	assert_non_null(ram_span(&ram, GPA(0), 3 * GIB));
	assert_null(ram_span(&ram, GPA(RAM_HIGH_START), 1));
	assert_null(ram_span(&ram, GPA(0), 0));
	assert_null(ram_span(&ram, GPA(0), UINT64_MAX));
	assert_null(ram_span(&ram, GPA(1), UINT64_MAX));
	assert_null(ram_span(&ram, GPA(UINT64_MAX), 1));
	assert_null(ram_span(&ram, GPA(UINT64_MAX), UINT64_MAX));
	assert_null(ram_span(&ram, GPA(UINT64_MAX - 4095), 8192));
	ram_destroy(&ram);
}

static void test_ram_reads_and_writes(void **state)
{
	const char text[] = "at the very end of high RAM";
	const uint64_t at = 6 * GIB - sizeof(text);
	char out[sizeof(text)] = "untouched";
	struct ram ram;

	(void)state;
	make_ram(&ram, 5 * GIB);
	assert_int_equal(ram_write(&ram, GPA(at), text, sizeof(text)), 0);
	assert_int_equal(ram_read(&ram, out, GPA(at + 1), sizeof(text)),
			 -EFAULT);
	assert_string_equal(out, "untouched");
	assert_int_equal(ram_read(&ram, out, GPA(at), sizeof(text)), 0);
	assert_string_equal(out, text);
	assert_int_equal(ram_write(&ram, GPA(3 * GIB - 4), text, 5), -EFAULT);
	expect_zero(&ram, 3 * GIB - 4, 4);
	expect_zero(&ram, 4 * GIB, 4);
	assert_int_equal(ram_clear(&ram, GPA(at), sizeof(text) + 1), -EFAULT);
	assert_int_equal(ram_clear(&ram, GPA(at), 3), 0);
	expect_zero(&ram, at, 3);
	expect_bytes(&ram, at + 3, text + 3, sizeof(text) - 3);
	assert_int_equal(ram_read(&ram, out, GPA(3 * GIB), 0), 0);
	assert_int_equal(ram_write(&ram, GPA(3 * GIB), out, 0), 0);
	assert_int_equal(ram_clear(&ram, GPA(3 * GIB), 0), 0);
	ram_destroy(&ram);
}

static void test_ram_refuses_sizes(void **state)
{
	static const struct {
		struct ram_options options;
		int error;
		const char *log;
	} cases[] = {
		{ { .size = 0 }, -EINVAL, "multiple" },
		{ { .size = 4095 }, -EINVAL, "multiple" },
		{ { .size = 32 * MIB + 1 }, -EINVAL, "multiple" },
		{ { .size = 33 * MIB, .pages = RAM_PAGES_2M }, -EINVAL, "2M" },
		{ { .size = 512 * MIB, .pages = RAM_PAGES_1G }, -EINVAL, "1G" },
		/* More than a process has addresses for. */
		{ { .size = 1ULL << 47 }, -ENOMEM, "smaller --memory" },
		{ { .size = 1ULL << 47, .pages = RAM_PAGES_2M },
		  -ENOMEM,
		  "nr_hugepages" },
	};
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(ram_create(&ram, &cases[i].options),
				 cases[i].error);
		expect_log(cases[i].log);
	}
}

static void test_ram_prefaults(void **state)
{
	struct ram_options options = { .size = 32 * MIB, .prefault = true };
	unsigned char resident[32 * MIB / RAM_PAGE];
	struct ram ram;

	(void)state;
	assert_int_equal(ram_create(&ram, &options), 0);
	assert_int_equal(mincore(ram.region[0].host, ram.size, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		assert_true(resident[i] & 1);
	ram_destroy(&ram);

	make_ram(&ram, 32 * MIB);
	assert_int_equal(mincore(ram.region[0].host, ram.size, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		assert_false(resident[i] & 1);
	ram_destroy(&ram);
}

/* Large pages line up only where the host address does. */
static void test_ram_is_aligned(void **state)
{
	struct ram ram[3];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(ram); i++) {
		make_ram(&ram[i], 32 * MIB + RAM_PAGE * (i + 1));
		assert_true((uintptr_t)ram[i].region[0].host % (2 * MIB) == 0);
		ram[i].region[0].host[ram[i].size - 1] = 1;
	}
	for (unsigned i = 0; i < ARRAY_LEN(ram); i++)
		ram_destroy(&ram[i]);
}

/* -- ram_load ---------------------------------------------------------------
 */

static uint8_t file_bytes[6 * 4096 + 100];

static void test_ram_load_maps_pages(void **state)
{
	uint8_t again[sizeof(file_bytes)];
	struct ram ram;
	int fd = file_of(file_bytes, sizeof(file_bytes));

	(void)state;
	make_ram(&ram, 32 * MIB);
	/* From offset 4096: two pages and a part of the third. */
	assert_int_equal(
		ram_load(&ram, GPA(AT), fd, 4096, 2 * 4096 + 10, false), 0);
	expect_bytes(&ram, AT, file_bytes + 4096, 2 * 4096 + 10);
	/* The file goes on; the guest's page must not. */
	expect_zero(&ram, AT + 2 * 4096 + 10, 4096 - 10);
	expect_zero(&ram, AT - 4096, 4096);
	assert_true(is_mapped(&ram, AT));
	assert_true(is_mapped(&ram, AT + 4096));
	assert_false(is_mapped(&ram, AT + 2 * 4096));

	/* The guest's writes stay its own. */
	memset(ram_span(&ram, GPA(AT), 3 * 4096), 0xaa, 3 * 4096);
	assert_int_equal(pread(fd, again, sizeof(again), 0), sizeof(again));
	assert_memory_equal(again, file_bytes, sizeof(again));
	close(fd);
	expect_no_log();
	ram_destroy(&ram);
}

static void test_ram_load_reads_the_rest(void **state)
{
	static const struct {
		uint64_t at, offset, len;
		bool copy;
		uint64_t mapped; /* an address that is, or 0 */
	} cases[] = {
		/* Address and offset agree; the first page is a part. */
		{ AT + 0x10, 0x10, 3 * 4096, false, AT + 4096 },
		{ AT + 0xfff, 0xfff, 4097, false, AT + 4096 },
		{ AT + 0xfff, 0xfff, 4096, false, 0 },
		{ AT, 0, 4095, false, 0 },
		/* They do not agree. */
		{ AT, 0x10, 3 * 4096, false, 0 },
		{ AT + 1, 0, 3 * 4096, false, 0 },
		{ AT, 0, 3 * 4096, true, 0 },
		{ AT, 4096, sizeof(file_bytes) - 4096, false, AT },
		{ 32 * MIB - 4096, 0, 4096, false, 32 * MIB - 4096 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int fd = file_of(file_bytes, sizeof(file_bytes));
		uint64_t at = cases[i].at, end = at + cases[i].len;
		struct ram ram;

		make_ram(&ram, 32 * MIB);
		assert_int_equal(ram_load(&ram, GPA(at), fd, cases[i].offset,
					  cases[i].len, cases[i].copy),
				 0);
		expect_bytes(&ram, at, file_bytes + cases[i].offset,
			     cases[i].len);
		expect_zero(&ram, at - 4096, 4096);
		if (end < 32 * MIB)
			expect_zero(&ram, end, 4096);
		for (uint64_t page = AT; page < AT + 8 * 4096; page += 4096)
			if (!cases[i].mapped)
				assert_false(is_mapped(&ram, page));
		if (cases[i].mapped)
			assert_true(is_mapped(&ram, cases[i].mapped));
		close(fd);
		ram_destroy(&ram);
	}
}

static void test_ram_load_refuses(void **state)
{
	int file = file_of(file_bytes, sizeof(file_bytes));
	int stream = pipe_of(file_bytes, 4096);
	int directory = open("/", O_RDONLY | O_CLOEXEC);
	const struct {
		int fd, error;
		uint64_t at, offset, len;
	} cases[] = {
		{ file, -ENODATA, AT, 0, sizeof(file_bytes) + 1 },
		{ file, -ENODATA, AT, sizeof(file_bytes) - 1, 2 },
		{ file, -ENODATA, AT, sizeof(file_bytes) + 4096, 1 },
		{ file, -ENODATA, AT, INT64_MAX, 4096 },
		{ file, -ENODATA, AT, UINT64_MAX, 4096 },
		{ file, -ENODATA, AT, UINT64_MAX - 4095, 8192 },
		{ file, -EFAULT, 32 * MIB - 4096, 0, 4097 },
		{ file, -EFAULT, 32 * MIB, 0, 1 },
		{ file, -EFAULT, UINT64_MAX, 0, 2 },
		{ file, 0, 32 * MIB, 0, 0 },
		{ stream, -ESPIPE, AT, 0, 4096 },
		{ directory, -EISDIR, AT, 0, 4096 },
		{ -1, -EBADF, AT, 0, 4096 },
	};
	struct ram ram;

	(void)state;
	make_ram(&ram, 32 * MIB);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(ram_load(&ram, GPA(cases[i].at), cases[i].fd,
					  cases[i].offset, cases[i].len, false),
				 cases[i].error);
	expect_no_log(); /* the caller does */
	expect_zero(&ram, AT, sizeof(file_bytes));
	ram_destroy(&ram);

	make_ram(&ram, 5 * GIB);
	assert_int_equal(
		ram_load(&ram, GPA(3 * GIB - 4096), file, 0, 8192, false),
		-EFAULT);
	assert_int_equal(ram_load(&ram, GPA(4 * GIB), file, 0, 8192, false), 0);
	expect_bytes(&ram, 4 * GIB, file_bytes, 8192);
	expect_zero(&ram, 3 * GIB - 4096, 4096);
	ram_destroy(&ram);
	close(file);
	close(stream);
	close(directory);
}

static int fill_file(void **state)
{
	(void)state;
	fill(file_bytes, sizeof(file_bytes));
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ram_below_the_gap),
		cmocka_unit_test(test_ram_around_the_gap),
		cmocka_unit_test(test_ram_edges),
		cmocka_unit_test(test_ram_reads_and_writes),
		cmocka_unit_test(test_ram_refuses_sizes),
		cmocka_unit_test(test_ram_prefaults),
		cmocka_unit_test(test_ram_is_aligned),
		cmocka_unit_test(test_ram_load_maps_pages),
		cmocka_unit_test(test_ram_load_reads_the_rest),
		cmocka_unit_test(test_ram_load_refuses),
	};

	return cmocka_run_group_tests(tests, fill_file, NULL);
}
