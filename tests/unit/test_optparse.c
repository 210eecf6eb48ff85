/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/* uses: tests/unit/options_run.c */
/*
 * The parser with a table that is not mote's own: a device that repeats, with
 * every kind of key. And the guess at what a misspelt word meant.
 */
#include <limits.h>

#include "tests/unit/options_run.h"

struct disk {
	struct option_file file, log;
	const char *serial;
	uint64_t bw;
	unsigned iops;
	unsigned engine;
	bool ro, root;
};

struct machine {
	struct disk disks[2];
	unsigned count;
	bool a, b;
	struct option_parsed parsed;
};

static const struct option_choice engines[] = {
	{ .name = "auto", .value = 7 },
	{ .name = "uring", .value = 8 },
	{ .name = "threads", .value = 9 },
	{ 0 },
};

#define DISK(field) .offset = offsetof(struct machine, disks[0].field)

static const struct option_field disk_keys[] = {
	{ .name = "ro", .kind = OPTION_FLAG, DISK(ro) },
	{ .name = "root", .kind = OPTION_FLAG, DISK(root) },
	{ .name = "serial",
	  .kind = OPTION_STRING,
	  DISK(serial),
	  .min = 1,
	  .max = 4,
	  .example = "id" },
	{ .name = "engine",
	  .kind = OPTION_ENUM,
	  DISK(engine),
	  .initial = 7,
	  .choices = engines,
	  .example = "uring" },
	{ .name = "bw",
	  .kind = OPTION_SIZE,
	  DISK(bw),
	  .min = 1,
	  .max = UINT64_MAX,
	  .unit = 1,
	  .initial = 5,
	  .example = "100M" },
	{ .name = "iops",
	  .kind = OPTION_NUMBER,
	  DISK(iops),
	  .min = 1,
	  .max = UINT_MAX,
	  .initial = 6,
	  .example = "1000" },
	{ .name = "log", .kind = OPTION_FILE, DISK(log), .example = "x" },
	{ 0 },
};

static const struct option_entry machine_table[] = {
	{
		.letter = 'd',
		.own = { .name = "disk",
			 .kind = OPTION_FILE,
			 DISK(file),
			 .value = "PATH|fd=N",
			 .example = "disk.img" },
		.keys = disk_keys,
		.first = offsetof(struct machine, disks),
		.stride = sizeof(struct disk),
		.count = offsetof(struct machine, count),
		.max = 2,
	},
	{ .letter = 'a',
	  .own = { .name = "all",
		   .kind = OPTION_FLAG,
		   .offset = offsetof(struct machine, a) } },
	{ .letter = 'b',
	  .own = { .name = "brief",
		   .kind = OPTION_FLAG,
		   .offset = offsetof(struct machine, b) } },
};

static const struct option_set machine_set = {
	.program = "machine",
	.entries = machine_table,
	.entry_count = ARRAY_LEN(machine_table),
};

static int parse_machine(struct machine *machine, const char *line)
{
	struct capture capture;
	int done, count = split_line(line);

	memset(machine, 0xa5, sizeof(*machine));
	capture_start(&capture, STDERR_FILENO);
	done = optparse_run(&machine_set, machine, &machine->parsed, count,
			    argv_of);
	capture_end(&capture);
	return done;
}

static void test_devices(void **state)
{
	struct machine machine;
	struct disk *disk = machine.disks;

	(void)state;
	assert_int_equal(parse_machine(&machine,
				       "-ab --disk a,ro,serial=x,,y,bw=3K,"
				       "engine=threads,log=fd=9 -dfd=4,root,"
				       "iops=4294967295"),
			 0);
	assert_true(machine.a && machine.b);
	assert_int_equal(machine.count, 2);
	assert_string_equal(disk->file.path, "a");
	assert_string_equal(disk->serial, "x,y");
	assert_int_equal(disk->bw, 3072);
	assert_int_equal(disk->iops, 6);
	assert_int_equal(disk->engine, 9);
	assert_int_equal(disk->log.fd, 9);
	assert_true(disk->ro && !disk->root);
	disk++;
	assert_null(disk->file.path);
	assert_int_equal(disk->file.fd, 4);
	assert_null(disk->serial);
	assert_int_equal(disk->bw, 5);
	assert_int_equal(disk->iops, UINT_MAX);
	assert_int_equal(disk->engine, 7);
	assert_int_equal(disk->log.fd, -1);
	assert_true(!disk->ro && disk->root);
}

static void test_devices_refused(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "-abx", "there is no option '-x'" },
		{ "-d a,serial=", "--disk serial: '' is 0 bytes long; 1 to 4" },
		{ "-d a,serial=12345", "'12345' is 5 bytes long" },
		{ "-d a,bw=0", "--disk bw: '0' is not a size from 1 to" },
		{ "-d a,bw=1M,bw=2M", "'bw' is given twice" },
		{ "-d a,rot", "did you mean 'root'?" },
		{ "-d a,enigne=auto", "ro, root, serial=, engine=, bw=, iops=, "
				      "log=; did you mean 'engine'?" },
		{ "-d a,log=fd=5 -d fd=5", "--disk and --disk both take fd=5" },
		{ "-d fd=1,log=fd=1", "both take fd=1" },
		{ "-d a -d b -d c", "given more than 2 times" },
	};
	struct machine machine;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		int done = parse_machine(&machine, cases[i].line);

		if (done != -EINVAL || !strstr(output, cases[i].says))
			fail_msg("%s: %d, %s", cases[i].line, done, output);
	}
}

/* -- the nearest word ------------------------------------------------------ */

static void test_nearest(void **state)
{
	static const char *const words[] = { "hugepages", "prefault",
					     "mergeable", "ro", "root" };
	static const struct {
		const char *word, *best;
	} cases[] = {
		{ "hugepage", "hugepages" },
		{ "huge", "hugepages" },
		{ "ehugpages", "hugepages" },
		{ "prefalt", "prefault" },
		{ "mergable", "mergeable" },
		{ "rot", "root" },
		{ "or", "ro" },
		{ "RO", "ro" },
		{ "x", NULL },
		{ "", NULL },
		{ "zzzzzz", NULL },
		{ "roots", "root" },
		{ "hugepageshugepageshugepageshugepages", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct option_guess nearest = {
			.word = cases[i].word,
			.len = strlen(cases[i].word),
		};

		for (size_t w = 0; w < ARRAY_LEN(words); w++)
			optparse_offer(&nearest, words[w]);
		if (!cases[i].best)
			assert_null(nearest.best);
		else if (!nearest.best)
			fail_msg("nothing is near '%s'", cases[i].word);
		else
			assert_string_equal(nearest.best, cases[i].best);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_devices),
		cmocka_unit_test(test_devices_refused),
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
