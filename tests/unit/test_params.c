/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/params.c boot/cmdline.c mem/ram.c mem/pool.c */
/* ldflags: -Wl,--wrap=getrandom */
/* The zero page: what a kernel is told at its start. */
#include <asm/bootparam.h>
#include <sys/random.h>

#include "boot/cmdline.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/layout.h"
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static ssize_t random_result;
ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags);

ssize_t __wrap_getrandom(void *to, size_t len, unsigned flags)
{
	assert_int_equal(len, 32);
	assert_true(flags & GRND_NONBLOCK); /* a young host must not hang us */
	fill(to, len);
	errno = EAGAIN;
	return random_result;
}

static struct ram ram;
static struct boot_params params;
static struct cmdline cmdline;

/* Writes them and reads them back; the caller destroys the RAM. */
static void write_params(uint64_t size, const struct kernel_image *kernel,
			 const struct initrd *initrd)
{
	make_ram(&ram, size);
	assert_int_equal(params_write(&ram, kernel, initrd, &cmdline), 0);
	expect_no_log();
	assert_int_equal(
		ram_read(&ram, &params, LAYOUT_BOOT_PARAMS, sizeof(params)), 0);
}

static void test_memory_map(void **state)
{
	static const struct {
		uint64_t size, low_end, high_size;
	} cases[] = {
		{ 32 * MIB, 32 * MIB, 0 },     { 64 * MIB, 64 * MIB, 0 },
		{ 3 * GIB, 3 * GIB, 0 },       { 3 * GIB + MIB, 3 * GIB, MIB },
		{ 5 * GIB, 3 * GIB, 2 * GIB },
	};
	static const struct kernel_image kernel;
	static const struct initrd none;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct {
			uint64_t start, end;
			uint32_t type;
		} wanted[] = {
			{ 0, 0x9fc00, 1 },
			{ 0x9fc00, MIB, 2 },
			{ MIB, cases[i].low_end, 1 },
			{ 4 * GIB, 4 * GIB + cases[i].high_size, 1 },
		};
		unsigned count = cases[i].high_size ? 4 : 3;

		write_params(cases[i].size, &kernel, &none);
		assert_int_equal(params.e820_entries, count);
		for (unsigned j = 0; j < count; j++) {
			const struct boot_e820_entry *e = &params.e820_table[j];

			assert_int_equal(e->addr, wanted[j].start);
			assert_int_equal(e->size,
					 wanted[j].end - wanted[j].start);
			assert_int_equal(e->type, wanted[j].type);
		}
		ram_destroy(&ram);
	}
}

static void test_elf(void **state)
{
	static const struct kernel_image kernel;
	const struct initrd initrd = { GPA(0xbf000000), 0x123456 };
	uint8_t seed[32], seen[32];

	(void)state;
	random_result = 32;
	cmdline = (struct cmdline){ .len = 0 };
	assert_int_equal(cmdline_add(&cmdline, "quiet root=/dev/vda"), 0);
	write_params(3 * GIB, &kernel, &initrd);
	assert_int_equal(params.hdr.boot_flag, 0xaa55);
	assert_int_equal(params.hdr.header, 0x53726448);
	assert_true(params.hdr.version >= 0x20c);
	assert_int_equal(params.hdr.type_of_loader, 0xff);
	assert_true(params.hdr.loadflags & LOADED_HIGH);
	assert_int_equal(params.hdr.ramdisk_image, 0xbf000000);
	assert_int_equal(params.hdr.ramdisk_size, 0x123456);
	assert_int_equal(params.acpi_rsdp_addr, LAYOUT_ACPI.v);
	assert_int_equal(params.hdr.cmd_line_ptr, LAYOUT_CMDLINE.v);
	expect_bytes(&ram, LAYOUT_CMDLINE.v, cmdline.text, cmdline.len + 1);
	/* struct setup_data: next, type (SETUP_RNG_SEED), length */
	assert_int_equal(params.hdr.setup_data, LAYOUT_SETUP_DATA.v);
	expect_zero(&ram, LAYOUT_SETUP_DATA.v, 8);
	assert_int_equal(ram_read(&ram, seen, gpa_add(LAYOUT_SETUP_DATA, 8), 8),
			 0);
	assert_int_equal(get_le32(seen), 9);
	assert_int_equal(get_le32(seen + 4), 32);
	fill(seed, sizeof(seed));
	expect_bytes(&ram, LAYOUT_SETUP_DATA.v + 16, seed, sizeof(seed));
	/* One page for both; the longest line ends before the seed. */
	assert_true(LAYOUT_SETUP_DATA.v >= LAYOUT_CMDLINE.v + CMDLINE_SIZE);
	assert_int_equal(LAYOUT_SETUP_DATA.v / RAM_PAGE,
			 LAYOUT_CMDLINE.v / RAM_PAGE);
	ram_destroy(&ram);
}

/* A host that has no random numbers yet gives none. */
static void test_no_seed(void **state)
{
	static const struct kernel_image kernel;
	static const struct initrd none;

	(void)state;
	for (random_result = -1; random_result < 32; random_result += 17) {
		write_params(64 * MIB, &kernel, &none);
		assert_int_equal(params.hdr.setup_data, 0);
		expect_zero(&ram, LAYOUT_SETUP_DATA.v, 64);
		assert_int_equal(params.hdr.ramdisk_size, 0);
		ram_destroy(&ram);
	}
	random_result = 32;
}

/* boot.rst: what is marked "read" or "modify" of a bzImage's header arrives. */
static void test_bzimage(void **state)
{
	struct kernel_image kernel = { .entry = GPA(0) };
	const struct initrd initrd = { GPA(0x3000000), 4096 };
	struct setup_header header;
	size_t len = 0x26c - KERNEL_SETUP_START;

	(void)state;
	fill(kernel.setup_header, len);
	kernel.setup_header_len = len;
	memcpy(&header, kernel.setup_header, sizeof(header));
	write_params(64 * MIB, &kernel, &initrd);
	header.type_of_loader = 0xff;
	header.cmd_line_ptr = (uint32_t)LAYOUT_CMDLINE.v;
	header.ramdisk_image = 0x3000000;
	header.ramdisk_size = 4096;
	header.setup_data = LAYOUT_SETUP_DATA.v;
	assert_memory_equal(&params.hdr, &header, len);
	/* and nothing beyond it */
	for (size_t i = 0; i < sizeof(params._pad7); i++)
		assert_int_equal(params._pad7[i], 0);
	assert_int_equal(params.edd_mbr_sig_buffer[0], 0);
	ram_destroy(&ram);

	/* As much as there can be fits, up to the next field. */
	fill(kernel.setup_header, KERNEL_SETUP_MAX);
	kernel.setup_header_len = KERNEL_SETUP_MAX;
	write_params(64 * MIB, &kernel, &initrd);
	assert_int_equal(params.edd_mbr_sig_buffer[0], 0);
	ram_destroy(&ram);
}

static void test_no_room(void **state)
{
	static const struct kernel_image kernel;
	static const struct initrd none;
	struct ram_options small = { .size = 0x10000 };

	(void)state;
	assert_int_equal(ram_create(&ram, &small), 0);
	assert_int_equal(params_write(&ram, &kernel, &none, &cmdline), -EFAULT);
	expect_log("do not fit");
	ram_destroy(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory_map),
		cmocka_unit_test(test_elf),
		cmocka_unit_test(test_no_seed),
		cmocka_unit_test(test_bzimage),
		cmocka_unit_test(test_no_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
