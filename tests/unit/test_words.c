/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c boot/options/words.c cpu/loop/file.c mem/log.c */
/* uses: tests/unit/options_run.c */
/*
 * The devices of a command line as words: what is saved, with paths that are
 * absolute; what is taken from whoever wrote it, and what never is.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "boot/options/words.h"
#include "tests/unit/options_run.h"

static char words[OPTIONS_WORDS_MAX], dir[64];

/* -- saving ---------------------------------------------------------------- */

/* Zeros as |. */
static void saves(const char *line, const char *expected)
{
	char shown[1024];
	long len;

	accepts(line);
	len = options_save_words(&options, words);
	assert_in_range(len, 0, sizeof(shown) - 1);
	for (long i = 0; i < len; i++)
		shown[i] = words[i] ? words[i] : '|';
	shown[len] = 0;
	assert_string_equal(shown, expected);
}

static void test_saves_devices_only(void **state)
{
	(void)state;
	saves("-k k", "");
	saves("-k k -m 64M -c 2 --serial off -a quiet --user 1:1 --name n", "");
	saves("-k k -d /a,ro -n tap=t0 --vsock=/v,cid=7 -d /b",
	      "disk|/a,ro|net|tap=t0|vsock|/v,cid=7|disk|/b|");
}

static void test_makes_paths_absolute(void **state)
{
	static const struct {
		const char *line, *before, *after; /* the directory */
	} cases[] = {
		{ "-k k -d a", "disk|", "/a|" },
		{ "-k k -d a,ro", "disk|", "/a,ro|" },
		{ "-k k -d ./a,,b,ro", "disk|", "/./a,,b,ro|" },
		{ "-k k -d ../a", "disk|", "/../a|" },
		{ "-k k --vsock v", "vsock|", "/v|" },
		{ "-k k -n unix=n", "net|unix=", "/n|" },
		{ "-k k -n unix=/n", "net|unix=/n|", NULL },
		/* Of an interface's name. */
		{ "-k k -n tap=tap", "net|tap=tap|", NULL },
		{ "-k k -n fd=7", "net|fd=7|", NULL },
		{ "-k k -d fd=7,ro", "disk|fd=7,ro|", NULL },
		{ "-k k --vsock fd=7", "vsock|fd=7|", NULL },
	};
	static const char *const dirs[][2] = {
		{ "plain", "plain" },
		{ "a,b,,c", "a,,b,,,,c" },
		{ ",", ",," },
	};
	char expected[256], name[128];

	(void)state;
	for (unsigned d = 0; d < ARRAY_LEN(dirs); d++) {
		snprintf(name, sizeof(name), "%s/%s", dir, dirs[d][0]);
		assert_int_equal(mkdir(name, 0700), 0);
		assert_int_equal(chdir(name), 0);
		snprintf(name, sizeof(name), "%s/%s", dir, dirs[d][1]);
		for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
			snprintf(expected, sizeof(expected), "%s%s%s",
				 cases[i].before, cases[i].after ? name : "",
				 cases[i].after ? cases[i].after : "");
			saves(cases[i].line, expected);
		}
	}
	assert_int_equal(chdir("/"), 0);
	saves("-k k -d a", "disk|//a|"); /* which is /a */
}

static void test_refuses_what_is_too_long(void **state)
{
	/* "disk" and two zeros with each. */
	enum { DISKS = 16, LEN = OPTIONS_WORDS_MAX / DISKS - 6 };
	static char word[DISKS][LEN + 4];
	char *argv[DISKS + 3] = { (char *)"mote", (char *)"-kk" };
	struct capture capture;

	(void)state;
	for (unsigned i = 0; i < DISKS; i++) {
		snprintf(word[i], sizeof(word[i]), "-d/%0*u", LEN - 1, 0u);
		argv[2 + i] = word[i];
	}
	assert_int_equal(run_words(DISKS + 2, argv), 0);
	assert_int_equal(options_save_words(&options, words),
			 OPTIONS_WORDS_MAX);
	memcpy(word[0] + strlen(word[0]), "0", 2);
	assert_int_equal(run_words(DISKS + 2, argv), 0);
	capture_start(&capture, STDERR_FILENO);
	assert_int_equal(options_save_words(&options, words), -E2BIG);
	capture_end(&capture);
	assert_non_null(strstr(output, "--snapshot: the words of all devices "
				       "are more than 65536 bytes"));
}

/* -- taking ---------------------------------------------------------------- */

/* Zeros are written |; what is said is in `output`. */
static int take(const char *line, const char *from)
{
	static char room[4096];
	const size_t len = strlen(from);
	struct capture capture;
	int done;

	accepts(line);
	assert_true(len < sizeof(room));
	for (size_t i = 0; i < len; i++)
		room[i] = (char)(from[i] == '|' ? 0 : from[i]);
	/* What is behind them is not looked at. */
	memset(room + len, 'x', sizeof(room) - len);
	capture_start(&capture, STDERR_FILENO);
	done = options_take_words(&options, room, len, "s.img");
	if (!done)
		done = options_check(&options);
	capture_end(&capture);
	return done;
}

static void takes(const char *line, const char *from)
{
	if (take(line, from) || output[0])
		fail_msg("%s: %s", from, output);
}

static void takes_not(const char *from, const char *says)
{
	char *end;

	if (take("--restore s", from) != -EINVAL)
		fail_msg("%s was taken", from);
	end = strchr(output, '\n');
	if (!strstr(output, says) || !end || end[1])
		fail_msg("%s: said %s, not %s", from, output, says);
}

static void test_takes_kinds_that_are_not_named(void **state)
{
	static const char all[] = "disk|/a,ro|net|tap=t0|vsock|/v,cid=7|disk|"
				  "/b,,c|";
	const struct device_options *d = &options.devices;

	(void)state;
	takes("--restore s", all);
	assert_int_equal(d->disk_count, 2);
	assert_string_equal(d->disks[0].file.path, "/a");
	assert_true(d->disks[0].ro);
	assert_string_equal(d->disks[1].file.path, "/b,c");
	assert_int_equal(d->net_count, 1);
	assert_string_equal(d->nets[0].file.path, "t0");
	assert_string_equal(d->vsock.file.path, "/v");
	assert_int_equal(d->vsock.cid, 7);

	takes("--restore s -d /x", all);
	assert_int_equal(d->disk_count, 1);
	assert_string_equal(d->disks[0].file.path, "/x");
	assert_int_equal(d->net_count, 1);
	takes("--restore s -n tap=x --vsock /w -d /x", all);
	assert_string_equal(d->vsock.file.path, "/w");
	assert_int_equal(d->net_count, 1);
	assert_string_equal(d->nets[0].file.path, "x");
	takes("--restore s", "");
	assert_int_equal(d->disk_count, 0);
	/* They come back from one who has taken them. */
	takes("--restore s -d /x", all);
	assert_int_equal(options_save_words(&options, words),
			 5 + 3 + 4 + 7 + 6 + 9);
}

static void test_wants(void **state)
{
	static const char all[] = "disk\0/a\0vsock\0/v";

	(void)state;
	accepts("--restore s");
	assert_true(options_want_words(&options, all, sizeof(all)));
	assert_false(options_want_words(&options, all, 0));
	assert_false(options_want_words(&options, all, 5)); /* no pair */
	accepts("--restore s -d /x");
	assert_true(options_want_words(&options, all, sizeof(all)));
	assert_false(options_want_words(&options, all, sizeof(all) - 1));
	accepts("--restore s -d /x --vsock /v");
	assert_false(options_want_words(&options, all, sizeof(all)));
}

static void test_descriptors_are_not_taken(void **state)
{
	(void)state;
	takes_not("disk|fd=3|", "snapshot s.img: its --disk was given as "
				"fd=3: name it again");
	takes_not("disk|/a|disk|fd=3,ro|", "its --disk was given as fd=3,ro");
	takes_not("net|fd=3|", "its --net was given as fd=3");
	takes_not("vsock|fd=3,cid=5|", "its --vsock was given as fd=3,cid=5");
	/* Nor those that are written as paths. */
	takes_not("disk|/dev/fd/3,ro|", "as /dev/fd/3,ro: name it again");
	takes_not("disk|/proc/self/fd/7|", "name it again");
	takes_not("disk|/dev/stdin|", "name it again");
	takes_not("net|unix=/dev/fd/3|", "name it again");
	takes("--restore s -d /x", "disk|fd=3|");
}

static void test_hostile_words(void **state)
{
	static const char *const others[] = {
		"kernel", "initrd", "snapshot", "restore", "serial",  "events",
		"help",	  "user",   "netns",	"cgroup",  "sandbox", "check",
		"d",	  "",	    "Disk",	"disk=",   "--disk",  "disks",
	};
	char from[64];

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
		snprintf(from, sizeof(from), "%s|/a|disk|/b|", others[i]);
		takes_not(from, "is no device's: a newer mote made it");
		assert_int_equal(options.devices.disk_count, 0);
		assert_null(options.kernel.path);
		assert_null(options.snapshot.file.path);
		assert_string_equal(options.restore.file.path, "s");
		assert_int_equal(options.sandbox, SANDBOX_ON);
	}
	takes_not("disk", "the words of its devices are damaged");
	takes_not("disk|", "the words of its devices are damaged");
	takes_not("disk|/a", "the words of its devices are damaged");
	takes_not("disk|/a|net", "the words of its devices are damaged");
	takes_not("disk|/a|net|", "the words of its devices are damaged");
	takes_not("disk|/a|x", "the words of its devices are damaged");
	takes_not("|", "the words of its devices are damaged");
	takes_not("disk||", "--disk: the path is empty");
	takes_not("disk|/a,bogus|", "'bogus' is not one of the keys");
	takes_not("disk|/a,size=1|", "--disk size");
	takes_not("net|tap=|", "--net");
	takes_not("net|tap=t,mac=01:00:00:00:00:00|", "--net mac");
	takes_not("disk|/a,root|disk|/b,root|", "2 disks have `root`");
	/* One that replaces itself is the last. */
	takes("--restore s", "vsock|/a,cid=9|vsock|/b|");
	assert_string_equal(options.devices.vsock.file.path, "/b");
	assert_int_equal(options.devices.vsock.cid, 3);
}

/* As many as there can be, and one more. */
static void test_too_many(void **state)
{
	static const char one[] = "disk|/a|";
	char from[2048] = "", *at = from;

	(void)state;
	for (unsigned i = 0; i < DEVICES_MAX; i++, at += sizeof(one) - 1)
		memcpy(at, one, sizeof(one));
	takes("--restore s", from);
	memcpy(at, one, sizeof(one));
	takes_not(from, "--disk: given more than");
}

/* -- the parser's part ----------------------------------------------------- */

static void test_given(void **state)
{
	(void)state;
	accepts("-k k -t -d /a -d /b -- true");
	assert_true(optparse_given(&options.parsed, "kernel"));
	assert_true(optparse_given(&options.parsed, "tty"));
	assert_true(optparse_given(&options.parsed, "disk"));
	assert_false(optparse_given(&options.parsed, "net"));
	assert_false(optparse_given(&options.parsed, "ker"));
	assert_int_equal(options.parsed.given_count, 4);
	assert_string_equal(options.parsed.given[3].text, "/b");
}

static void test_more_options_than_are_kept(void **state)
{
	char *argv[OPTION_GIVEN_MAX + 3] = { (char *)"mote", (char *)"-kk" };

	(void)state;
	for (unsigned i = 2; i < OPTION_GIVEN_MAX + 2; i++)
		argv[i] = (char *)"--timing";
	assert_int_equal(run_words(OPTION_GIVEN_MAX + 1, argv), 0);
	assert_int_equal(run_words(OPTION_GIVEN_MAX + 2, argv), -EINVAL);
	assert_non_null(strstr(output, "more than 256 options are given"));
}

static void test_relative_paths(void **state)
{
	static const char text[] = "unix=a";

	(void)state;
	assert_ptr_equal(optparse_relative_path(&options_set, "net", text),
			 text + 5);
	assert_null(optparse_relative_path(&options_set, "net", "unix"));
	assert_null(optparse_relative_path(&options_set, "net", "unixx=a"));
	assert_null(optparse_relative_path(&options_set, "nets", "unix=a"));
	assert_null(optparse_relative_path(&options_set, "append", "a"));
	assert_null(optparse_relative_path(&options_set, "cpus", "2"));
	assert_non_null(optparse_relative_path(&options_set, "disk", "fd"));
	assert_null(optparse_relative_path(&options_set, "disk", "/a"));
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	if (chdir("/"))
		return 1;
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saves_devices_only),
		cmocka_unit_test_setup_teardown(test_makes_paths_absolute,
						setup, teardown),
		cmocka_unit_test(test_refuses_what_is_too_long),
		cmocka_unit_test(test_takes_kinds_that_are_not_named),
		cmocka_unit_test(test_wants),
		cmocka_unit_test(test_descriptors_are_not_taken),
		cmocka_unit_test(test_hostile_words),
		cmocka_unit_test(test_too_many),
		cmocka_unit_test(test_given),
		cmocka_unit_test(test_more_options_than_are_kept),
		cmocka_unit_test(test_relative_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
