/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/* uses: tests/unit/options_run.c */
/*
 * --snapshot and --restore: what follows of what was given, and what they do
 * not go with.
 */
#include "tests/unit/options_run.h"

static void is(const char *line, enum snapshot_on on, enum snapshot_then then)
{
	accepts(line);
	if (options.snapshot.on != on || options.snapshot.then != then)
		fail_msg("%s: on %d, then %d", line, options.snapshot.on,
			 options.snapshot.then);
}

static void test_when_and_then(void **state)
{
	(void)state;
	is("-k k --snapshot s", SNAPSHOT_ON_SIGNAL, SNAPSHOT_CONTINUES);
	is("-k k --snapshot s -- x", SNAPSHOT_ON_READY, SNAPSHOT_EXITS);
	is("-k k --snapshot s,on=ready", SNAPSHOT_ON_READY, SNAPSHOT_EXITS);
	is("-k k --snapshot s,on=program -- x", SNAPSHOT_ON_PROGRAM,
	   SNAPSHOT_EXITS);
	is("-k k --snapshot s,then=exit", SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS);
	is("-k k --snapshot s,then=continue -- x", SNAPSHOT_ON_READY,
	   SNAPSHOT_CONTINUES);
	/* Without one nothing is settled. */
	is("-k k", SNAPSHOT_ON_ANY, SNAPSHOT_THEN_ANY);
	accepts("-k k --snapshot fd=5,on=signal");
	assert_int_equal(options.snapshot.file.fd, 5);
}

/* Until the header was read it is not known whether there is a command. */
static void test_of_a_guest_that_is_restored(void **state)
{
	static const struct {
		const char *line;
		bool has_command;
		enum snapshot_on on;
		enum snapshot_then then;
	} cases[] = {
		{ "--restore r --snapshot s", false, SNAPSHOT_ON_SIGNAL,
		  SNAPSHOT_CONTINUES },
		{ "--restore r --snapshot s,on=program", true,
		  SNAPSHOT_ON_PROGRAM, SNAPSHOT_EXITS },
		{ "--restore r --snapshot s,on=ready", false, SNAPSHOT_ON_READY,
		  SNAPSHOT_EXITS },
		{ "--restore r --snapshot s,then=exit", false,
		  SNAPSHOT_ON_SIGNAL, SNAPSHOT_EXITS },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		is(cases[i].line,
		   strchr(cases[i].line, '=') && !strstr(cases[i].line, "then")
			   ? cases[i].on
			   : SNAPSHOT_ON_ANY,
		   strstr(cases[i].line, "exit") ? SNAPSHOT_EXITS
						 : SNAPSHOT_THEN_ANY);
		options.restore.known = true;
		options.restore.has_command = cases[i].has_command;
		assert_int_equal(options_check(&options), 0);
		assert_int_equal(options.snapshot.on, cases[i].on);
		assert_int_equal(options.snapshot.then, cases[i].then);
	}
}

/* A command that the snapshot brings, or does not. */
static void test_of_a_command_that_is_restored(void **state)
{
	static const struct {
		const char *line;
		bool has_command;
		const char *says;
	} refused[] = {
		{ "--restore r --snapshot s", true,
		  "--snapshot on: 'ready' was when the guest was saved that is "
		  "restored: its command can say that it is with on=program" },
		{ "--restore r --snapshot s,on=ready", true,
		  "--snapshot on: 'ready' was when the guest was saved" },
		{ "--restore r --snapshot s,on=signal", true,
		  "--snapshot on: 'signal' cannot be used with a command yet" },
		{ "--restore r --snapshot s,on=program", false,
		  "--snapshot on: 'program' is for a command" },
		{ "--restore r --hostname a", false,
		  "--hostname: the snapshot has no command" },
		{ "--restore r --snapshot s,on=program,then=continue", true,
		  "--snapshot then: 'continue' cannot be used with "
		  "on=program" },
	};
	struct capture capture;

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(refused); i++) {
		accepts(refused[i].line);
		options.restore.known = true;
		options.restore.has_command = refused[i].has_command;
		capture_start(&capture, STDERR_FILENO);
		assert_int_equal(options_check(&options), -EINVAL);
		capture_end(&capture);
		assert_non_null(strstr(output, refused[i].says));
	}
}

static void test_what_is_refused(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{ "--restore s -k k", "--kernel has no place beside --restore: "
				      "the guest runs already" },
		{ "--restore s -i i", "--initrd has no place beside" },
		{ "--restore s -a x", "--append has no place beside" },
		{ "--restore s --cmdline x", "--cmdline has no place beside" },
		{ "--restore s -m 1G", "--memory has no place beside "
				       "--restore: the snapshot says how much; "
				       "how it is backed is said by keys of "
				       "--restore" },
		{ "-c 2 --restore s", "--cpus has no place beside --restore: "
				      "the snapshot says how many" },
		{ "-c 1 --restore s", "--cpus has no place" },
		{ "-k k --snapshot s,on=program",
		  "--snapshot on: 'program' is for a command, and there is "
		  "none: it stands last, after --" },
		{ "-k k --snapshot s,on=signal -- x",
		  "--snapshot on: 'signal' cannot be used with a command yet: "
		  "its streams would be cut; use on=ready or on=program" },
		{ "-k k --snapshot s,on=program,then=continue -- x",
		  "--snapshot then: 'continue' cannot be used with on=program: "
		  "the arguments are the clones'" },
		{ "--snapshot s", "no kernel is given" },
		{ "-k k --snapshot _", "--snapshot: the path is empty" },
		{ "--restore _", "--restore: the path is empty" },
		{ "-k k --snapshot s,on=later", "'later' is not one of" },
		{ "--restore s,clock=off", "--restore clock: 'off' is not" },
		{ "--restore fd=3,learn",
		  "--restore learn: it needs a PATH that it can replace" },
		{ "--restore s,learn,copy",
		  "--restore learn: with copy or prefault all pages are there, "
		  "whether the guest writes them or not" },
		{ "--restore s,prefault,learn",
		  "--restore learn: with copy or prefault" },
		{ "--restore s,learn --snapshot t",
		  "--restore learn: it cannot be used with --snapshot" },
		{ "--restore fd=3 --snapshot fd=3",
		  "--snapshot and --restore both take fd=3" },
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++)
		refuses(cases[i].line, cases[i].says);
}

static void test_keys_of_restore(void **state)
{
	(void)state;
	accepts("--restore s,copy,prefault,mergeable,moved,clock=keep");
	assert_string_equal(options.restore.file.path, "s");
	assert_true(options.restore.copy && options.restore.prefault);
	assert_true(options.restore.mergeable && options.restore.moved);
	assert_false(options.restore.learn);
	assert_int_equal(options.restore.clock, RESTORE_CLOCK_KEEP);
	assert_false(options.restore.known || options.restore.has_command);
	accepts("--restore s,mergeable,learn,moved");
	assert_true(options.restore.mergeable && options.restore.learn);
	accepts("--restore fd=9 -d a --serial off --timeout 5s");
	assert_int_equal(options.restore.file.fd, 9);
	assert_int_equal(options.restore.clock, RESTORE_CLOCK_HOST);
	assert_false(options.restore.copy || options.restore.moved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_when_and_then),
		cmocka_unit_test(test_of_a_guest_that_is_restored),
		cmocka_unit_test(test_of_a_command_that_is_restored),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_keys_of_restore),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
