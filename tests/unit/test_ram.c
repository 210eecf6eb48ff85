/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* ldflags: -Wl,--wrap=pread -Wl,--wrap=madvise -Wl,--wrap=mmap */
/* Guest RAM: the gap, bounds, and files put into it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/faults.h"
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

/* Nothing of mote's lies beside it, and a step too far is seen at once. */
static void test_ram_is_guarded(void **state)
{
	static const struct ram_options sizes[] = {
		{ .size = 32 * MIB },
		{ .size = 5 * GIB },
		{ .size = 33 * MIB + RAM_PAGE },
	};
	struct ram ram;
	uint8_t *start;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		assert_int_equal(ram_create(&ram, &sizes[i]), 0);
		start = ram.region[0].host;
		assert_false(faults(start));
		assert_true(faults(start - 1));
		assert_false(faults(start + ram.size - 1));
		assert_true(faults(start + ram.size));
		ram_destroy(&ram);
		assert_true(faults(start));
	}
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
		{ { .size = 1ULL << 47 },
		  -ENOMEM,
		  "cannot get 134217728 MiB of address space for RAM: Cannot "
		  "allocate memory; give a smaller --memory" },
		{ { .size = 1ULL << 47, .pages = RAM_PAGES_2M },
		  -ENOMEM,
		  "cannot get 134217728 MiB of RAM in 2M huge pages: Cannot "
		  "allocate memory; reserve them first, as in /sys/kernel/mm/"
		  "hugepages/hugepages-2048kB/nr_hugepages" },
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

/* -- what RAM asks the host for ------------------------------------------- */

/* The next anonymous mapping without a wish for its address goes here. */
static uint8_t *wish;

void *__real_mmap(void *at, size_t len, int prot, int flags, int fd,
		  off_t from);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd,
		  off_t from);
void *__wrap_mmap(void *at, size_t len, int prot, int flags, int fd, off_t from)
{
	if (!at && wish) {
		at = wish;
		flags |= MAP_FIXED;
		wish = NULL;
	}
	return __real_mmap(at, len, prot, flags, fd, from);
}

static bool is_there(const uint8_t *at)
{
	unsigned char resident;

	if (!mincore((void *)(uintptr_t)at, RAM_PAGE, &resident))
		return true;
	assert_int_equal(errno, ENOMEM);
	return false;
}

/*
 * RAM lies at a multiple of 2 MiB. What was mapped for that and is not needed
 * guards it on both sides; all of it is given back at the end, to the page, and
 * never a page of what lies beside it.
 */
static void test_ram_leaves_its_neighbours(void **state)
{
	static const uint64_t skips[] = { RAM_PAGE, MIB, 2 * MIB - RAM_PAGE,
					  2 * MIB };
	const uint64_t size = 4 * MIB + RAM_PAGE;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(skips); i++) {
		uint8_t *room = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		uint8_t *base, *asked, *end;
		struct ram ram;

		if (!room || room == MAP_FAILED)
			abort();
		base = room + 4 * MIB - (uintptr_t)room % (2 * MIB);
		asked = base - skips[i];
		end = asked + size + 2 * MIB + 2 * RAM_PAGE;
		asked[-1] = end[0] = 0x5a;
		wish = asked;
		make_ram(&ram, size);
		assert_ptr_equal(ram.region[0].host, base);
		assert_true(faults(asked) && faults(base - 1));
		assert_false(faults(base) || faults(base + size - 1));
		assert_true(faults(base + size) && faults(end - 1));
		ram_destroy(&ram);
		for (uint8_t *at = asked; at < end; at += RAM_PAGE)
			assert_false(is_there(at));
		assert_int_equal(asked[-1], 0x5a);
		assert_int_equal(end[0], 0x5a);
		munmap(room, 16 * MIB);
	}
}

static struct {
	int error; /* madvise's, or 0 */
	unsigned count;
	void *at;
	size_t len, most;
	int advice;
} advised;

int __real_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice);
int __wrap_madvise(void *at, size_t len, int advice)
{
	advised.count++;
	advised.at = at;
	advised.len = len;
	advised.most = len > advised.most ? len : advised.most;
	advised.advice = advice;
	errno = advised.error;
	if (advised.error)
		return -1;
	/* What is only advice need not be there on this host. */
	return advice == MADV_HUGEPAGE || advice == MADV_MERGEABLE
		       ? 0
		       : __real_madvise(at, len, advice);
}

/* Each option is one piece of advice, for all of RAM, and no option is none. */
static void test_ram_advises_the_host(void **state)
{
	static const struct {
		struct ram_options options;
		int advice;
		const char *log; /* where the host cannot take it */
	} cases[] = {
		{ { .pages = RAM_PAGES_THP }, MADV_HUGEPAGE, "hugepages=thp" },
		{ { .mergeable = true }, MADV_MERGEABLE, "mergeable" },
	};
	struct ram ram;

	(void)state;
	advised.count = 0;
	make_ram(&ram, 5 * GIB);
	ram_destroy(&ram);
	assert_int_equal(advised.count, 0);
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		struct ram_options options = cases[i / 2].options;

		options.size = 5 * GIB;
		advised.count = 0;
		advised.error = i % 2 ? EINVAL : 0;
		assert_int_equal(ram_create(&ram, &options), 0);
		assert_int_equal(advised.count, 1);
		assert_ptr_equal(advised.at, ram.region[0].host);
		assert_true(advised.len == 5 * GIB);
		assert_int_equal(advised.advice, cases[i / 2].advice);
		if (advised.error)
			expect_log(cases[i / 2].log);
		expect_no_log();
		ram_destroy(&ram);
	}
}

/* Hosts before Linux 5.14 cannot prefault by advice: pages are touched. */
static void test_ram_prefaults_on_old_hosts(void **state)
{
	struct ram_options options = { .size = 4 * MIB, .prefault = true };
	unsigned char resident[4 * MIB / RAM_PAGE];
	struct ram ram;

	(void)state;
	advised.error = EINVAL;
	assert_int_equal(ram_create(&ram, &options), 0);
	assert_int_equal(mincore(ram.region[0].host, ram.size, resident), 0);
	for (size_t i = 0; i < sizeof(resident); i++)
		assert_true(resident[i] & 1);
	ram_destroy(&ram);
	advised.error = ENOMEM;
	assert_int_equal(ram_create(&ram, &options), -ENOMEM);
	expect_log("cannot prefault 4 MiB");
	assert_null(ram.region[0].host);
	advised.error = 0;
}

/* -- what the host has left ------------------------------------------------ */

static uint64_t left_now, taken_meanwhile;
static unsigned times_asked;

static uint64_t what_is_left(const struct available *available,
			     const char **whose)
{
	assert_null(available);
	*whose = "this machine";
	if (times_asked++)
		left_now -=
			left_now < taken_meanwhile ? left_now : taken_meanwhile;
	return left_now;
}

/* A signal is answered between two pieces: none is larger than 16 MiB. */
static void test_ram_prefaults_in_pieces(void **state)
{
	struct ram_options options = { .size = 70 * MIB,
				       .prefault = true,
				       .left = what_is_left };
	struct ram ram;

	(void)state;
	left_now = 71 * MIB;
	taken_meanwhile = 0;
	advised.count = times_asked = 0;
	advised.most = 0;
	assert_int_equal(ram_create(&ram, &options), 0);
	assert_int_equal(advised.count, 5);
	assert_true(advised.most == 16 * MIB && advised.len == 6 * MIB);
	assert_ptr_equal(advised.at, ram.region[0].host + 64 * MIB);
	/* All of it at first, and each piece, since others take some, too. */
	assert_int_equal(times_asked, 6);
	ram_destroy(&ram);
	expect_no_log();
}

static void test_ram_prefaults_no_more_than_there_is(void **state)
{
	struct ram_options options = { .size = 70 * MIB,
				       .prefault = true,
				       .left = what_is_left };
	struct ram ram;

	(void)state;
	/* With its page tables it is a little more. */
	left_now = 70 * MIB;
	taken_meanwhile = 0;
	advised.count = times_asked = 0;
	assert_int_equal(ram_create(&ram, &options), -ENOMEM);
	expect_log("has 70 MiB still to allocate, and this machine has 70 MiB");
	assert_int_equal(advised.count, 0);
	assert_null(ram.region[0].host);
	/* Another process takes what was left. */
	left_now = 71 * MIB;
	taken_meanwhile = 20 * MIB;
	times_asked = 0;
	assert_int_equal(ram_create(&ram, &options), -ENOMEM);
	expect_log("has 38 MiB still to allocate, and this machine has 11 MiB");
	assert_int_equal(advised.count, 2);
	assert_null(ram.region[0].host);
	/* Nobody who does not ask for it is refused. */
	left_now = 0;
	options.prefault = false;
	assert_int_equal(ram_create(&ram, &options), 0);
	ram_destroy(&ram);
	expect_no_log();
}

/* A check judges as a run does, and takes nothing, be it of a pool. */
static void test_ram_checks(void **state)
{
	struct ram_options options = { .size = 64 * MIB,
				       .prefault = true,
				       .check = true,
				       .left = what_is_left };
	struct ram ram;

	(void)state;
	taken_meanwhile = 0;
	for (unsigned huge = 0; huge < 2; huge++) {
		options.pages = huge ? RAM_PAGES_2M : RAM_PAGES_OFF;
		left_now = huge ? 64 * MIB : 65 * MIB;
		advised.count = 0;
		assert_int_equal(ram_create(&ram, &options), 0);
		assert_int_equal(advised.count, 0);
		assert_int_equal(ram.page, RAM_PAGE);
		assert_true(ram_span(&ram, GPA(0), 64 * MIB));
		ram_destroy(&ram);
		expect_no_log();
		left_now = 63 * MIB;
		assert_int_equal(ram_create(&ram, &options), -ENOMEM);
		expect_log(huge ? "2M huge pages: Cannot allocate memory"
				: "this machine has 63 MiB left");
	}
}

/* -- ram_load ------------------------------------------------------------- */

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

/* The bytes that one pread gives at most, each second after an EINTR; 0: all.
 */
static size_t pread_max, pread_asked;

ssize_t __real_pread(int fd, void *to, size_t len, off_t from);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t from);
ssize_t __wrap_pread(int fd, void *to, size_t len, off_t from)
{
	static bool interrupted;

	if (len > pread_asked)
		pread_asked = len;
	interrupted = pread_max && !interrupted;
	if (interrupted) {
		errno = EINTR;
		return -1;
	}
	if (pread_max && len > pread_max)
		len = pread_max;
	return __real_pread(fd, to, len, from);
}

/* A file system may give less than was asked for, and signals come. */
static void test_ram_load_reads_on(void **state)
{
	const size_t size = sizeof(file_bytes);
	int fd = file_of(file_bytes, size);
	struct ram ram;

	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		make_ram(&ram, 32 * MIB);
		pread_max = 1000;
		assert_int_equal(
			ram_load(&ram, GPA(AT + 7), fd, 7, size - 7, copy), 0);
		pread_max = 0;
		expect_bytes(&ram, AT + 7, file_bytes + 7, size - 7);
		expect_zero(&ram, AT, 7);
		expect_zero(&ram, AT + size, 4096);
		ram_destroy(&ram);
	}
	close(fd);
}

/* A signal is answered between two reads. */
static void test_ram_load_reads_in_pieces(void **state)
{
	const size_t size = 9 * MIB + 100;
	uint8_t *bytes = malloc(size);
	struct ram ram;
	int fd;

	(void)state;
	fill(bytes, size);
	fd = file_of(bytes, size);
	make_ram(&ram, 32 * MIB);
	pread_asked = 0;
	assert_int_equal(ram_load(&ram, GPA(AT), fd, 0, size, true), 0);
	assert_in_range(pread_asked, MIB, 4 * MIB);
	expect_bytes(&ram, AT, bytes, size);
	ram_destroy(&ram);
	free(bytes);
	close(fd);
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

/* -- ram_load_all --------------------------------------------------------- */

#define OFFSET (2 * MIB)

static const struct ram_options plain;

/* A sparse file of so much memory from OFFSET on, with some pages in it. */
static int file_of_ram(uint64_t size)
{
	int fd = file_of("", 1);

	assert_int_equal(ftruncate(fd, (off_t)(OFFSET + size)), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pwrite(fd, file_bytes, 4096,
					(off_t)(i < 2 ? OFFSET + i * MIB
						      : OFFSET + size - 4096)),
				 4096);
	return fd;
}

static void expect_ram(const struct ram *ram, uint64_t end)
{
	expect_bytes(ram, 0, file_bytes, 4096);
	expect_bytes(ram, MIB, file_bytes, 4096);
	expect_bytes(ram, end - 4096, file_bytes, 4096);
	expect_zero(ram, 4096, MIB - 4096);
	expect_zero(ram, end - MIB, MIB - 4096);
}

static void test_ram_load_all_maps(void **state)
{
	/* Around the gap there are two mappings, of one file. */
	static const uint64_t sizes[] = { 32 * MIB, 5 * GIB };

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
		const uint64_t size = sizes[i];
		const uint64_t end = size + (i ? GIB : 0);
		int fd = file_of_ram(size);
		uint8_t byte = 1;
		struct ram ram;

		make_ram(&ram, size);
		advised.count = 0;
		assert_int_equal(ram_load_all(&ram, fd, OFFSET, false, &plain),
				 0);
		assert_int_equal(advised.count, 0);
		assert_true(is_mapped(&ram, 0) && is_mapped(&ram, end - 4096));
		expect_ram(&ram, end);
		/* One, whatever the regions: they lie side by side. */
		assert_int_equal(ram.mapping_count, 1);
		assert_int_equal(ram.mapping[0].start, 0);
		assert_int_equal(ram.mapping[0].end, size);
		/* What the guest writes stays its own. */
		memset(ram_span(&ram, GPA(MIB), 1), 0xee, 1);
		assert_int_equal(pread(fd, &byte, 1, OFFSET + MIB), 1);
		assert_int_equal(byte, file_bytes[0]);
		ram_destroy(&ram);
		close(fd);
	}
}

static unsigned long resident_pages(void)
{
	unsigned long size, resident = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_int_equal(fscanf(f, "%lu %lu", &size, &resident), 2);
	fclose(f);
	return resident;
}

/* What is a hole in the file costs no memory when it is copied. */
static void test_ram_load_all_copies(void **state)
{
	int fd = file_of_ram(5 * GIB);
	unsigned long before;
	struct ram ram;

	(void)state;
	make_ram(&ram, 5 * GIB);
	before = resident_pages();
	assert_int_equal(ram_load_all(&ram, fd, OFFSET, true, &plain), 0);
	assert_in_range(resident_pages() - before, 0, 4096);
	assert_int_equal(ram.mapping_count, 0);
	close(fd); /* nothing of it is needed any more */
	assert_false(is_mapped(&ram, 0) || is_mapped(&ram, 6 * GIB - 4096));
	expect_ram(&ram, 6 * GIB);
	ram_destroy(&ram);
	/* All of it is data; of a part of a page there is all. */
	fd = file_of(file_bytes, sizeof(file_bytes));
	assert_int_equal(ftruncate(fd, 32 * MIB), 0);
	make_ram(&ram, 32 * MIB);
	assert_int_equal(ram_load_all(&ram, fd, 0, true, &plain), 0);
	expect_bytes(&ram, 0, file_bytes, sizeof(file_bytes));
	expect_zero(&ram, sizeof(file_bytes), MIB);
	ram_destroy(&ram);
	close(fd);
}

static void test_ram_load_all_takes_options(void **state)
{
	static const struct ram_options both = { .prefault = true,
						 .mergeable = true };
	int fd = file_of_ram(32 * MIB);
	struct ram ram;

	(void)state;
	for (unsigned copy = 0; copy < 2; copy++) {
		make_ram(&ram, 32 * MIB);
		advised.count = 0;
		advised.error = 0;
		assert_int_equal(ram_load_all(&ram, fd, OFFSET, copy, &both),
				 0);
		assert_int_equal(advised.count, 3); /* two pieces of 16 MiB */
		expect_ram(&ram, 32 * MIB);
		ram_destroy(&ram);
	}
	make_ram(&ram, 32 * MIB);
	advised.error = ENOMEM;
	assert_int_equal(
		ram_load_all(&ram, fd, OFFSET, false,
			     &(struct ram_options){ .prefault = true }),
		-ENOMEM);
	advised.error = 0;
	expect_log("cannot prefault 32 MiB");
	ram_destroy(&ram);
	close(fd);
}

static void test_ram_load_all_refuses(void **state)
{
	int fd = file_of_ram(32 * MIB), pipe = pipe_of("x", 1);
	struct ram ram;

	(void)state;
	assert_int_equal(ftruncate(fd, OFFSET + 32 * MIB - 1), 0);
	make_ram(&ram, 32 * MIB);
	for (unsigned copy = 0; copy < 2; copy++) {
		assert_int_equal(ram_load_all(&ram, fd, OFFSET, copy, &plain),
				 -ENODATA);
		assert_int_equal(ram_load_all(&ram, -1, OFFSET, copy, &plain),
				 -EBADF);
		assert_int_equal(ram_load_all(&ram, pipe, 0, copy, &plain),
				 -ESPIPE);
	}
	expect_no_log();
	ram_destroy(&ram);
	close(fd);
	close(pipe);
}

/* Where there is no room for one more the last grows over what is between. */
static void test_ram_notes_mappings(void **state)
{
	int fd = file_of(file_bytes, 4096);
	struct ram ram;

	(void)state;
	make_ram(&ram, 32 * MIB);
	for (uint64_t i = 0; i < RAM_MAPPINGS_MAX; i++)
		assert_int_equal(
			ram_load(&ram, GPA(MIB + i * 8192), fd, 0, 4096, false),
			0);
	assert_int_equal(ram.mapping_count, RAM_MAPPINGS_MAX);
	for (unsigned i = 0; i < RAM_MAPPINGS_MAX; i++) {
		assert_int_equal(ram.mapping[i].start, MIB + i * 8192);
		assert_int_equal(ram.mapping[i].end, MIB + i * 8192 + 4096);
	}
	assert_int_equal(ram_load(&ram, GPA(20 * MIB), fd, 0, 4096, false), 0);
	assert_int_equal(ram_load(&ram, GPA(8192), fd, 0, 4096, false), 0);
	assert_int_equal(ram.mapping_count, RAM_MAPPINGS_MAX);
	assert_int_equal(ram.mapping[RAM_MAPPINGS_MAX - 1].start, 8192);
	assert_int_equal(ram.mapping[RAM_MAPPINGS_MAX - 1].end,
			 20 * MIB + 4096);
	/* What is read is none. */
	assert_int_equal(ram_load(&ram, GPA(4096), fd, 0, 4096, true), 0);
	assert_int_equal(ram.mapping[RAM_MAPPINGS_MAX - 1].start, 8192);
	ram_destroy(&ram);
	close(fd);
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
		cmocka_unit_test(test_ram_is_guarded),
		cmocka_unit_test(test_ram_refuses_sizes),
		cmocka_unit_test(test_ram_prefaults),
		cmocka_unit_test(test_ram_is_aligned),
		cmocka_unit_test(test_ram_leaves_its_neighbours),
		cmocka_unit_test(test_ram_advises_the_host),
		cmocka_unit_test(test_ram_prefaults_on_old_hosts),
		cmocka_unit_test(test_ram_prefaults_in_pieces),
		cmocka_unit_test(test_ram_prefaults_no_more_than_there_is),
		cmocka_unit_test(test_ram_checks),
		cmocka_unit_test(test_ram_load_maps_pages),
		cmocka_unit_test(test_ram_load_reads_the_rest),
		cmocka_unit_test(test_ram_load_reads_on),
		cmocka_unit_test(test_ram_load_reads_in_pieces),
		cmocka_unit_test(test_ram_load_refuses),
		cmocka_unit_test(test_ram_load_all_maps),
		cmocka_unit_test(test_ram_load_all_copies),
		cmocka_unit_test(test_ram_load_all_takes_options),
		cmocka_unit_test(test_ram_load_all_refuses),
		cmocka_unit_test(test_ram_notes_mappings),
	};

	return cmocka_run_group_tests(tests, fill_file, NULL);
}
