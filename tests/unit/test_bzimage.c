/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/kernel.c boot/source.c cpu/loop/format.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* bzImage kernels: what is loaded where, and every broken one refused. */
#include <errno.h>

#include "boot/kernel.h"
#include "tests/unit/boot_sample.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

#define START	   0x1000000ULL
#define INIT_SIZE  0x2000000u
#define PARAGRAPHS 0x345u /* not a whole number of pages */
#define CODE_SIZE  (PARAGRAPHS * 16)

static struct sample sample;

static void make_good(uint8_t sects)
{
	sample_bzimage(&sample, sects, PARAGRAPHS, INIT_SIZE);
}

static int load(struct kernel_image *image, struct ram *ram, bool copy)
{
	int fd = file_of(sample.bytes, sample.len);
	int error = kernel_load(image, ram, fd, "vmlinuz", copy);

	close(fd);
	return error;
}

static void test_good(void **state)
{
	/* Code at 0x1000 of the file is mapped, at 0x1200 it is read. */
	static const struct {
		uint8_t sects;
		bool copy, mapped;
	} cases[] = { { 7, false, true },
		      { 7, true, false },
		      { 8, false, false } };
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t setup = (cases[i].sects + 1u) * 512;

		make_good(cases[i].sects);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, cases[i].copy), 0);
		expect_no_log();
		assert_true(image.entry.v == START + 0x200);
		assert_true(image.start.v == START);
		assert_true(image.size == INIT_SIZE);
		assert_true(image.initrd_max.v == 0x7fffffff);
		assert_int_equal(image.cmdline_max, 2047);
		assert_int_equal(image.setup_header_len, 0x26c - 0x1f1);
		assert_memory_equal(image.setup_header, sample.bytes + 0x1f1,
				    image.setup_header_len);
		expect_bytes(&ram, START, sample.bytes + setup, CODE_SIZE);
		expect_zero(&ram, START - 0x10000, 0x10000);
		expect_zero(&ram, START + CODE_SIZE, 0x10000);
		assert_int_equal(is_mapped(&ram, START), cases[i].mapped);
		ram_destroy(&ram);
	}
}

/* A signature after the code, as distributions add one, is not loaded. */
static void test_signed(void **state)
{
	struct kernel_image image;
	struct ram ram;

	(void)state;
	make_good(7);
	memset(sample.bytes + sample.len, 0xee, 1000);
	sample.len += 1000;
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), 0);
	expect_zero(&ram, START + CODE_SIZE, 0x2000);
	ram_destroy(&ram);
}

static void spoil(size_t offset, size_t width, uint64_t value)
{
	memcpy(sample.bytes + offset, &value, width);
}

/* One field changed, and where the kernel then goes. */
static void test_places(void **state)
{
	static const struct {
		size_t offset;
		unsigned width;
		uint64_t value, start, size;
	} cases[] = {
		{ 0x258, 8, 0x1200000, 0x1200000, INIT_SIZE },
		/* A relocatable kernel aligns itself upwards. */
		{ 0x258, 8, 0x1000001, 0x1200000, INIT_SIZE },
		{ 0x230, 4, 0x2000000, 0x2000000, INIT_SIZE },
		{ 0x230, 4, 1, START, INIT_SIZE },
		/* No pref_address: code32_start, 1 MiB, aligned too. */
		{ 0x258, 8, 0, 0x200000, INIT_SIZE },
		/* init_size less than the code itself. */
		{ 0x260, 4, 0, START, CODE_SIZE },
		{ 0x260, 4, 64 * MIB - START, START, 64 * MIB - START },
	};
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		make_good(7);
		spoil(cases[i].offset, cases[i].width, cases[i].value);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), 0);
		assert_true(image.start.v == cases[i].start);
		assert_true(image.entry.v == cases[i].start + 0x200);
		assert_true(image.size == cases[i].size);
		expect_bytes(&ram, cases[i].start, sample.bytes + 0x1000,
			     CODE_SIZE);
		ram_destroy(&ram);
	}

	/* 0 sectors of setup are 4, "for backwards compatibility". */
	make_good(4);
	spoil(0x1f1, 1, 0);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), 0);
	expect_bytes(&ram, START, sample.bytes + 5 * 512, CODE_SIZE);
	ram_destroy(&ram);

	/* A kernel that cannot move itself goes exactly where it says. */
	make_good(7);
	spoil(0x234, 1, 0);
	spoil(0x258, 8, 0x100010);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), 0);
	assert_true(image.start.v == 0x100010);
	expect_bytes(&ram, 0x100010, sample.bytes + 0x1000, CODE_SIZE);
	ram_destroy(&ram);
}

static const struct spoiled {
	size_t offset;
	size_t width;
	uint64_t value;
	int error;
	const char *log;
} spoiled[] = {
	{ 0x1fe, 2, 0, -EINVAL, "no boot flag" },
	{ 0x211, 1, 0, -ENOEXEC, "is a zImage" },
	{ 0x206, 2, 0x020b, -ENOEXEC, "boot protocol 2.11" },
	{ 0x206, 2, 0, -ENOEXEC, "boot protocol 0.00" },
	{ 0x236, 2, 0x7e, -ENOEXEC, "32-bit kernel" },
	{ 0x201, 1, 0, -EINVAL, "setup header that ends at 0x202" },
	{ 0x201, 1, 0x61, -EINVAL, "ends at 0x263" },
	{ 0x201, 1, 0x8f, -EINVAL, "ends at 0x291" },
	{ 0x201, 1, 0xff, -EINVAL, "ends at 0x301" },
	{ 0x1f4, 4, 0, -EINVAL, "0 bytes of code" },
	{ 0x1f4, 4, 0x20, -EINVAL, "512 bytes of code" },
	{ 0x1f4, 4, PARAGRAPHS + 1, -ENODATA, "is cut short" },
	{ 0x1f4, 4, 0xffffffff, -ENODATA, "is cut short" },
	{ 0x1f1, 1, 0xff, -ENODATA, "is cut short" },
	{ 0x230, 4, 0, -EINVAL, "alignment of 0x0" },
	{ 0x230, 4, 0x300000, -EINVAL, "alignment of 0x300000" },
	{ 0x230, 4, 0xffffffff, -EINVAL, "not a power of two" },
	{ 0x230, 4, 0x80000000, -ENOMEM, "--memory 2080M or more" },
	{ 0x258, 8, UINT64_MAX, -EINVAL, "not below 3 GiB" },
	{ 0x258, 8, UINT64_MAX - INIT_SIZE + 1, -EINVAL, "not below 3 GiB" },
	{ 0x258, 8, 3 * GIB - 1, -EINVAL, "not below 3 GiB" },
	{ 0x258, 8, 4 * GIB, -EINVAL, "not below 3 GiB" },
	{ 0x258, 8, 33 * MIB, -ENOMEM, "--memory 66M or more" },
	{ 0x260, 4, 0xffffffff, -EINVAL, "not below 3 GiB" },
	{ 0x260, 4, 64 * MIB - START + 1, -ENOMEM, "--memory 65M or more" },
	{ 0x260, 4, 0x3378000, -ENOMEM, "--memory 68M or more" },
};

static void test_spoiled(void **state)
{
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(spoiled); i++) {
		const struct spoiled *one = &spoiled[i];
		int error;

		make_good(7);
		spoil(one->offset, one->width, one->value);
		make_ram(&ram, 64 * MIB);
		error = load(&image, &ram, false);
		if (error != one->error)
			fail_msg("case %zu (%s): %d, not %d: %s", i, one->log,
				 error, one->error, logged.last);
		expect_log(one->log);
		expect_zero(&ram, 0, 0x2000000);
		ram_destroy(&ram);
	}
}

/* Its own tables are below 1 MiB, whatever the header asks for. */
static void test_low(void **state)
{
	static const uint64_t places[] = { 1, 0x10000, 0xfffff };
	struct kernel_image image;
	struct ram ram;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		make_good(7);
		spoil(0x234, 1, 0);
		spoil(0x258, 8, places[i]);
		make_ram(&ram, 64 * MIB);
		assert_int_equal(load(&image, &ram, false), -EINVAL);
		expect_log("below 1 MiB");
		ram_destroy(&ram);
	}
	make_good(7);
	spoil(0x234, 1, 0);
	spoil(0x258, 8, 0);
	spoil(0x214, 4, 0);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(load(&image, &ram, false), -EINVAL);
	expect_log("below 1 MiB");
	ram_destroy(&ram);
}

static void test_cut(void **state)
{
	struct kernel_image image;
	struct ram ram;
	size_t whole;

	(void)state;
	make_good(7);
	whole = sample.len;
	make_ram(&ram, 64 * MIB);
	for (sample.len = 0x206; sample.len < whole; sample.len++) {
		int error = load(&image, &ram, false);

		if (sample.len >= 0x26c)
			assert_int_equal(error, -ENODATA);
		assert_true(error < 0);
		assert_int_equal(logged.count, 1);
		logged.count = 0;
		sample.len += sample.len > 0x300 ? 0x3f : 0;
	}
	expect_zero(&ram, START, CODE_SIZE);
	ram_destroy(&ram);
}

static void test_flips(void **state)
{
	struct kernel_image image;
	unsigned refused = 0;
	struct ram ram;

	(void)state;
	for (size_t bit = 0x1f1 * 8; bit < 0x290 * 8; bit++) {
		int error;

		make_good(7);
		sample.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		make_ram(&ram, 64 * MIB);
		error = load(&image, &ram, false);
		assert_true(error <= 0);
		assert_int_equal(logged.count, error ? 1 : 0);
		if (!error)
			assert_non_null(
				ram_span(&ram, image.start, image.size));
		refused += logged.count;
		logged.count = 0;
		ram_destroy(&ram);
	}
	assert_true(refused > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),   cmocka_unit_test(test_signed),
		cmocka_unit_test(test_places), cmocka_unit_test(test_spoiled),
		cmocka_unit_test(test_low),    cmocka_unit_test(test_cut),
		cmocka_unit_test(test_flips),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
