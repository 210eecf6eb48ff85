/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/machine.c boot/acpi.c boot/aml.c boot/mptable.c boot/params.c */
/* uses: boot/kernel.c boot/elf.c boot/bzimage.c boot/source.c boot/initrd.c */
/* uses: boot/cmdline.c boot/discovery.c cpu/entry.c mem/ram.c */
/* A guest put together: its command line above all, and what it is told of. */
#include <asm/bootparam.h>
#include <unistd.h>

#include "boot/layout.h"
#include "boot/machine.h"
#include "cpu/entry.h"
#include "tests/unit/boot_sample.h"
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static struct sample sample;
static struct ram ram;
static struct machine machine;

static int load(const struct machine_options *given)
{
	static const struct sample_segment segments[] = {
		{ PT_LOAD, 0x1000, 0, 0x1000000, 0x2000, 0x4000 },
	};
	struct machine_options options = *given;
	int error;

	sample_elf(&sample, segments, ARRAY_LEN(segments), 0x1000040);
	options.kernel_fd = file_of(sample.bytes, sample.len);
	options.kernel_name = "sample";
	make_ram(&ram, 64 * MIB);
	error = machine_load(&machine, &ram, &options);
	close(options.kernel_fd);
	return error;
}

/* What the guest finds where boot_params say that the command line is. */
static const char *cmdline(void)
{
	struct boot_params params;

	assert_int_equal(
		ram_read(&ram, &params, machine.boot_params, sizeof(params)),
		0);
	return ram_span(&ram, GPA(params.hdr.cmd_line_ptr), CMDLINE_SIZE);
}

static bool has_word(const char *line, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = line; (at = strstr(at, word)); at++)
		if ((at == line || at[-1] == ' ') &&
		    (!at[len] || at[len] == ' '))
			return true;
	return false;
}

static void test_default(void **state)
{
	static const struct {
		struct machine_options options;
		const char *has[8], *lacks[8];
	} cases[] = {
		{ { .cpus = 1, .serial = true },
		  { "console=ttyS0", "8250.nr_uarts=1", "quiet", "panic=-1",
		    "noreplace-smp", "no_timer_check" },
		  { NULL } },
		{ { .cpus = 2, .serial = true },
		  { "console=ttyS0", "cryptomgr.notests" },
		  { "noreplace-smp" } },
		{ { .cpus = 1, .serial = false },
		  { "quiet", "panic=-1", "noreplace-smp" },
		  { "console=ttyS0", "8250.nr_uarts=1" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(load(&cases[i].options), 0);
		for (size_t j = 0; cases[i].has[j]; j++)
			assert_true(has_word(cmdline(), cases[i].has[j]));
		for (size_t j = 0; cases[i].lacks[j]; j++)
			assert_false(has_word(cmdline(), cases[i].lacks[j]));
		/* A panic must not look like a reboot. */
		assert_true(machine.tells_panic);
		ram_destroy(&ram);
	}
	expect_no_log();
}

static void test_append(void **state)
{
	static const char *const words[] = { "one", " two  three ",
					     "a=\"b c\"" };
	static const char *const late[] = { "reboot=panic_warm" };
	struct machine_options options = {
		.cpus = 1,
		.append = words,
		.append_count = ARRAY_LEN(words),
	};
	const char *line;

	(void)state;
	assert_int_equal(load(&options), 0);
	line = cmdline();
	assert_true(has_word(line, "quiet"));
	line = strstr(line, " one ");
	assert_non_null(line);
	assert_string_equal(line, " one two  three a=\"b c\"");
	ram_destroy(&ram);
	/* The user's words count as well: after these 0x472 tells nothing. */
	options.append = late;
	options.append_count = 1;
	assert_int_equal(load(&options), 0);
	assert_false(machine.tells_panic);
	ram_destroy(&ram);
}

static void test_replaced(void **state)
{
	static const struct {
		const char *given;
		bool tells_panic;
	} cases[] = {
		{ "", false },
		{ "only this", false },
		{ "reboot=warm,panic_cold", true },
		{ "xreboot=warm,panic_cold", false },
		{ "-- reboot=warm,panic_cold", false },
	};
	struct machine_options options = { .cpus = 1, .serial = true };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		options.cmdline = cases[i].given;
		assert_int_equal(load(&options), 0);
		assert_string_equal(cmdline(), cases[i].given);
		assert_int_equal(machine.tells_panic, cases[i].tells_panic);
		ram_destroy(&ram);
	}
	expect_no_log();
}

/* Which disk holds the root file system: wherever the words are looked for. */
static void test_root(void **state)
{
	static const char *const own[] = { "root=/dev/vda2 -- init words" };
	struct block_options disks[28] = { 0 };
	struct machine_options options = {
		.cpus = 1,
		.disks = disks,
		.disk_count = ARRAY_LEN(disks),
		.virtio = 3,
	};
	static const struct {
		unsigned disk;
		bool ro;
		const char *words;
	} cases[] = {
		{ 0, false, "root=/dev/vda rw " },
		{ 1, true, "root=/dev/vdb ro " },
		{ 25, false, "root=/dev/vdz rw " },
		{ 26, false, "root=/dev/vdaa rw " },
		{ 27, true, "root=/dev/vdab ro " },
	};

	(void)state;
	assert_int_equal(load(&options), 0);
	assert_null(strstr(cmdline(), "root="));
	ram_destroy(&ram);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const size_t len = strlen(cases[i].words);

		disks[cases[i].disk] = (struct block_options){
			.root = true,
			.ro = cases[i].ro,
		};
		options.cmdline = NULL;
		assert_int_equal(load(&options), 0);
		assert_memory_equal(cmdline(), cases[i].words, len);
		assert_true(has_word(cmdline(), "quiet"));
		ram_destroy(&ram);
		/* The user's own words, and -- with what is for init, follow */
		options.append = own;
		options.append_count = 1;
		assert_int_equal(load(&options), 0);
		assert_memory_equal(cmdline(), cases[i].words, len);
		assert_non_null(strstr(cmdline(), own[0]));
		ram_destroy(&ram);
		options.append_count = 0;
		options.cmdline = own[0];
		assert_int_equal(load(&options), 0);
		assert_memory_equal(cmdline(), cases[i].words, len);
		assert_string_equal(cmdline() + len, own[0]);
		ram_destroy(&ram);
		disks[cases[i].disk].root = false;
	}
	expect_no_log();
}

/* mote's own init is the kernel's, unless the user has another. */
static void test_command(void **state)
{
	static const char *const own[] = { "rdinit=/bin/sh -- words" };
	static const char words[] = "rdinit=/.mote/init ";
	struct machine_options options = { .cpus = 1, .command = true };

	(void)state;
	assert_int_equal(load(&options), 0);
	assert_memory_equal(cmdline(), words, sizeof(words) - 1);
	assert_true(has_word(cmdline(), "quiet"));
	ram_destroy(&ram);
	options.append = own;
	options.append_count = 1;
	assert_int_equal(load(&options), 0);
	assert_non_null(strstr(cmdline() + 1, own[0]));
	ram_destroy(&ram);
	options.append_count = 0;
	options.cmdline = "panic=-1";
	assert_int_equal(load(&options), 0);
	assert_string_equal(cmdline(), "rdinit=/.mote/init panic=-1");
	ram_destroy(&ram);
	expect_no_log();
}

static void test_refused(void **state)
{
	static char words[CMDLINE_SIZE + 1];
	struct machine_options options = { .cpus = 1, .cmdline = words };

	(void)state;
	memset(words, 'x', CMDLINE_SIZE - 1);
	assert_int_equal(load(&options), 0);
	assert_int_equal(strlen(cmdline()), CMDLINE_SIZE - 1);
	ram_destroy(&ram);
	memset(words, 'x', CMDLINE_SIZE);
	assert_int_equal(load(&options), -E2BIG);
	expect_log("command line");
	ram_destroy(&ram);
	strcpy(words, "two\nlines");
	assert_int_equal(load(&options), -EINVAL);
	expect_log("control character");
	ram_destroy(&ram);
}

/* Each part is where the others, and the processor, look for it. */
static void test_parts(void **state)
{
	const struct machine_options options = {
		.cpus = 3,
		.virtio = 2,
		.serial = true,
	};

	(void)state;
	assert_int_equal(load(&options), 0);
	assert_int_equal(machine.entry.v, 0x1000040);
	assert_int_equal(machine.boot_params.v, LAYOUT_BOOT_PARAMS.v);
	expect_bytes(&ram, 0x1000000, sample.bytes + 0x1000, 0x2000);
	expect_zero(&ram, 0x1002000, 0x2000);
	expect_bytes(&ram, LAYOUT_ACPI.v, "RSD PTR ", 8);
	expect_bytes(&ram, LAYOUT_MPTABLE.v, "_MP_", 4);
	/* Kernels without ACPI find the same slots by these words. */
	assert_non_null(strstr(cmdline(), " virtio_mmio.device=4K@0x"));
	assert_non_null(memmem(ram_span(&ram, LAYOUT_ACPI, LAYOUT_ACPI_SIZE),
			       LAYOUT_ACPI_SIZE, "VI01", 4));
	assert_null(memmem(ram_span(&ram, LAYOUT_ACPI, LAYOUT_ACPI_SIZE),
			   LAYOUT_ACPI_SIZE, "VI02", 4));
	assert_true(*(uint8_t *)ram_span(&ram, ENTRY_PAGE_TABLES, 1) & 1);
	ram_destroy(&ram);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_default),	 cmocka_unit_test(test_append),
		cmocka_unit_test(test_replaced), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_root),	 cmocka_unit_test(test_parts),
		cmocka_unit_test(test_command),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
