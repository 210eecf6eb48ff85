/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/machine.c boot/acpi.c boot/mptable.c boot/params.c */
/* uses: boot/kernel.c boot/source.c boot/initrd.c cpu/loop/format.c */
/* uses: boot/cmdline.c cpu/entry.c mem/ram.c mem/pool.c */
/* uses: boot/networds.c boot/options/address.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: cpu/loop/file.c */
/* A guest put together: its command line above all, and what it is told of. */
#include <asm/bootparam.h>
#include <unistd.h>

#include "boot/cmdline.h"
#include "boot/layout.h"
#include "boot/machine.h"
#include "boot/networds.h"
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
static struct options options;
static unsigned slots;

static int load(void)
{
	static const struct sample_segment segments[] = {
		{ PT_LOAD, 0x1000, 0, 0x1000000, 0x2000, 0x4000 },
	};
	struct files files = { .kernel_name = "sample" };
	int error;

	sample_elf(&sample, segments, ARRAY_LEN(segments), 0x1000040);
	files.kernel_fd = file_of(sample.bytes, sample.len);
	make_ram(&ram, 64 * MIB);
	error = machine_load(&machine, &ram, &options, &files, slots);
	close(files.kernel_fd);
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
		unsigned cpus;
		enum console_kind serial;
		const char *has[8], *lacks[8];
	} cases[] = {
		{ 1,
		  CONSOLE_STDIO,
		  { "console=ttyS0", "8250.nr_uarts=1", "quiet", "panic=-1",
		    "noreplace-smp", "no_timer_check" },
		  { NULL } },
		{ 2,
		  CONSOLE_PTY,
		  { "console=ttyS0", "cryptomgr.notests" },
		  { "noreplace-smp" } },
		{ 1,
		  CONSOLE_OFF,
		  { "quiet", "panic=-1", "noreplace-smp" },
		  { "console=ttyS0", "8250.nr_uarts=1" } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		options.cpus = cases[i].cpus;
		options.serial.kind = cases[i].serial;
		assert_int_equal(load(), 0);
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
	const char *line;

	(void)state;
	options.append[0] = "one";
	options.append[1] = " two  three ";
	options.append[2] = "a=\"b c\"";
	options.append_count = 3;
	assert_int_equal(load(), 0);
	line = cmdline();
	assert_true(has_word(line, "quiet"));
	line = strstr(line, " one ");
	assert_non_null(line);
	assert_string_equal(line, " one two  three a=\"b c\"");
	ram_destroy(&ram);
	/* The user's words count as well: after these 0x472 tells nothing. */
	options.append[0] = "reboot=panic_warm";
	options.append_count = 1;
	assert_int_equal(load(), 0);
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

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		options.cmdline = cases[i].given;
		assert_int_equal(load(), 0);
		assert_string_equal(cmdline(), cases[i].given);
		assert_int_equal(machine.tells_panic, cases[i].tells_panic);
		ram_destroy(&ram);
	}
	expect_no_log();
}

/* Which disk holds the root file system: wherever the words are looked for. */
static void test_root(void **state)
{
	static const char own[] = "root=/dev/vda2 -- init words";
	struct block_options *disks = options.devices.disks;
	static const struct {
		unsigned disk;
		bool ro;
		const char *words;
	} cases[] = {
		{ 0, false, "root=/dev/vda rw " },
		{ 1, true, "root=/dev/vdb ro " },
		{ 18, false, "root=/dev/vds rw " },
	};

	(void)state;
	assert_int_equal(DEVICES_MAX - 1, cases[2].disk);
	options.devices.disk_count = DEVICES_MAX;
	assert_int_equal(load(), 0);
	assert_null(strstr(cmdline(), "root="));
	ram_destroy(&ram);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const size_t len = strlen(cases[i].words);

		disks[cases[i].disk] = (struct block_options){
			.root = true,
			.ro = cases[i].ro,
		};
		options.cmdline = NULL;
		assert_int_equal(load(), 0);
		assert_memory_equal(cmdline(), cases[i].words, len);
		assert_true(has_word(cmdline(), "quiet"));
		ram_destroy(&ram);
		/* The user's own words, and -- with what is for init, follow */
		options.append[0] = own;
		options.append_count = 1;
		assert_int_equal(load(), 0);
		assert_memory_equal(cmdline(), cases[i].words, len);
		assert_non_null(strstr(cmdline(), own));
		ram_destroy(&ram);
		options.append_count = 0;
		options.cmdline = own;
		assert_int_equal(load(), 0);
		assert_memory_equal(cmdline(), cases[i].words, len);
		assert_string_equal(cmdline() + len, own);
		ram_destroy(&ram);
		disks[cases[i].disk].root = false;
	}
	expect_no_log();
}

/* mote's own init is the kernel's, unless the user has another. */
static void test_command(void **state)
{
	static const char own[] = "rdinit=/bin/sh -- words";
	static const char words[] = "rdinit=/.mote/init ";
	char *command[] = { NULL };

	(void)state;
	options.command = command;
	assert_int_equal(load(), 0);
	assert_memory_equal(cmdline(), words, sizeof(words) - 1);
	assert_true(has_word(cmdline(), "quiet"));
	ram_destroy(&ram);
	options.append[0] = own;
	options.append_count = 1;
	assert_int_equal(load(), 0);
	assert_non_null(strstr(cmdline() + 1, own));
	ram_destroy(&ram);
	options.append_count = 0;
	options.cmdline = "panic=-1";
	assert_int_equal(load(), 0);
	assert_string_equal(cmdline(), "rdinit=/.mote/init panic=-1");
	ram_destroy(&ram);
	expect_no_log();
}

/* Without a command the kernel gives it; init does else. */
static void test_hostname(void **state)
{
	char *command[] = { NULL };

	(void)state;
	options.hostname = "web-1.example";
	options.append[0] = "-- x";
	options.append_count = 1;
	assert_int_equal(load(), 0);
	assert_non_null(strstr(cmdline(), " hostname=web-1.example -- x"));
	ram_destroy(&ram);
	options.command = command;
	assert_int_equal(load(), 0);
	assert_null(strstr(cmdline(), "hostname"));
	ram_destroy(&ram);
	expect_no_log();
}

/* Networks are the kernel's where there is no command. */
static void test_networks(void **state)
{
	struct net_options *nets = options.devices.nets;
	char *command[] = { NULL };

	(void)state;
	options.devices.net_count = 3;
	nets[0].ip[0] = "off";
	nets[2].ip[0] = "10.0.2.15/20";
	nets[2].gw[0] = "10.0.2.2";
	nets[2].dns[0] = "10.0.2.3";
	nets[2].dns[1] = "10.0.2.4";
	assert_int_equal(load(), 0);
	assert_true(has_word(cmdline(), "ip=10.0.2.15::10.0.2.2:255.255.240.0"
					"::eth2:off:10.0.2.3:10.0.2.4"));
	ram_destroy(&ram);
	nets[2] = (struct net_options){ .ip = { "dhcp" } };
	nets[1] = (struct net_options){ .ip = { "dhcp" }, .ip_unasked = true };
	options.cmdline = "only";
	assert_int_equal(load(), 0);
	assert_string_equal(cmdline(), "ip=:::::eth2:dhcp only");
	ram_destroy(&ram);
	nets[2].ip[0] = NULL;
	assert_int_equal(load(), 0);
	assert_string_equal(cmdline(), "ip=:::::eth1:dhcp only");
	ram_destroy(&ram);
	options.command = command;
	assert_int_equal(load(), 0);
	assert_string_equal(cmdline(), "rdinit=/.mote/init only");
	ram_destroy(&ram);
	memset(nets, 0, 3 * sizeof(*nets));
	options.devices.net_count = 0;
	expect_no_log();
}

/* What mote's init is told of one. */
static void test_network_orders(void **state)
{
	static const uint8_t mac[] = { 2, 0, 0xab, 0, 0, 1 };
	static const struct {
		struct net_options net;
		const char *order;
	} cases[] = {
		{ { .ip = { NULL } }, NULL },
		{ { .ip = { "off" } }, NULL },
		{ { .ip = { "dhcp" } }, "02:00:ab:00:00:01 ip=dhcp" },
		{ { .dns = { "fd00::3" } }, "02:00:ab:00:00:01 dns=fd00::3" },
		{ { .ip = { "10.0.2.15/24", "fd00::2/64", "dhcp" },
		    .gw = { "10.0.2.2", "fe80::1" },
		    .dns = { "10.0.2.3", "::3" } },
		  "02:00:ab:00:00:01 ip=0a00020f/18 "
		  "ip=fd000000000000000000000000000002/40 ip=dhcp "
		  "gw=0a000202 gw=fe800000000000000000000000000001 "
		  "dns=10.0.2.3 dns=::3" },
	};
	char order[NETWORDS_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(networds_order(order, &cases[i].net, mac),
				 cases[i].order != NULL);
		if (cases[i].order)
			assert_string_equal(order, cases[i].order);
	}
}

/* Each slot at its alias, in front of what may have a --. */
static void test_slots(void **state)
{
	(void)state;
	options.append[0] = "-- x";
	options.append_count = 1;
	slots = 2;
	assert_int_equal(load(), 0);
	assert_true(machine.names_virtio);
	assert_string_equal(strstr(cmdline(), "virtio_mmio"),
			    "virtio_mmio.device=512@0xd0100fa0:5 "
			    "virtio_mmio.device=512@0xd0102fa0:6 -- x");
	ram_destroy(&ram);
	/* All of them leave more than half of the line. */
	slots = DEVICES_MAX;
	assert_int_equal(load(), 0);
	assert_non_null(strstr(cmdline(), "=512@0xd0124fa0:23 -- x"));
	assert_true(strlen(cmdline()) < 900);
	ram_destroy(&ram);
	/* None, or a line of the user's: the slots have one place. */
	slots = 0;
	assert_int_equal(load(), 0);
	assert_null(strstr(cmdline(), "virtio_mmio"));
	assert_false(machine.names_virtio);
	ram_destroy(&ram);
	slots = 2;
	options.cmdline = "only";
	assert_int_equal(load(), 0);
	assert_string_equal(cmdline(), "only -- x");
	assert_false(machine.names_virtio);
	ram_destroy(&ram);
	options.cmdline = "virtio_mmio.device=4K@0xd0000000:5";
	assert_int_equal(load(), 0);
	assert_true(machine.names_virtio);
	ram_destroy(&ram);
	expect_no_log();
}

/* Words of the user's that do not fit behind those of the slots. */
static void test_slots_full(void **state)
{
	static char words[1500];

	(void)state;
	options.append[0] = words;
	options.append_count = 1;
	slots = DEVICES_MAX;
	memset(words, 'x', sizeof(words) - 1);
	assert_int_equal(load(), -E2BIG);
	expect_log("no room");
	ram_destroy(&ram);
	slots = 0;
	assert_int_equal(load(), 0);
	ram_destroy(&ram);
}

static void test_refused(void **state)
{
	static char words[CMDLINE_SIZE + 1];

	(void)state;
	options.cmdline = words;
	memset(words, 'x', CMDLINE_SIZE - 1);
	assert_int_equal(load(), 0);
	assert_int_equal(strlen(cmdline()), CMDLINE_SIZE - 1);
	ram_destroy(&ram);
	memset(words, 'x', CMDLINE_SIZE);
	assert_int_equal(load(), -E2BIG);
	expect_log("command line");
	ram_destroy(&ram);
	strcpy(words, "two\nlines");
	assert_int_equal(load(), -EINVAL);
	expect_log("control character");
	ram_destroy(&ram);
}

/* Each part is where the others, and the processor, look for it. */
static void test_parts(void **state)
{
	(void)state;
	options.cpus = 3;
	slots = 2;
	assert_int_equal(load(), 0);
	assert_int_equal(machine.entry.v, 0x1000040);
	assert_int_equal(machine.boot_params.v, LAYOUT_BOOT_PARAMS.v);
	expect_bytes(&ram, 0x1000000, sample.bytes + 0x1000, 0x2000);
	expect_zero(&ram, 0x1002000, 0x2000);
	expect_bytes(&ram, LAYOUT_ACPI.v, "RSD PTR ", 8);
	expect_bytes(&ram, LAYOUT_MPTABLE.v, "_MP_", 4);
	/* Kernels without ACPI find the same slots by these words. */
	assert_non_null(strstr(cmdline(), " virtio_mmio.device=512@0x"));
	assert_non_null(memmem(ram_span(&ram, LAYOUT_ACPI, LAYOUT_ACPI_SIZE),
			       LAYOUT_ACPI_SIZE, "VI01", 4));
	assert_null(memmem(ram_span(&ram, LAYOUT_ACPI, LAYOUT_ACPI_SIZE),
			   LAYOUT_ACPI_SIZE, "VI02", 4));
	assert_true(*(uint8_t *)ram_span(&ram, ENTRY_PAGE_TABLES, 1) & 1);
	ram_destroy(&ram);
}

static int setup(void **state)
{
	(void)state;
	memset(&options, 0, sizeof(options));
	options.cpus = 1;
	slots = 0;
	return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_hostname), TEST(test_default),
		TEST(test_append),   TEST(test_replaced),
		TEST(test_refused),  TEST(test_root),
		TEST(test_parts),    TEST(test_command),
		TEST(test_networks), TEST(test_network_orders),
		TEST(test_slots),    TEST(test_slots_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
