/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/cmdline.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* The guest's command line: how it grows, and what it is found to say. */
#include <errno.h>

#include "boot/cmdline.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static struct cmdline line;

static void set(const char *words)
{
	line = (struct cmdline){ .len = 0 };
	assert_int_equal(cmdline_add(&line, words), 0);
	expect_no_log();
}

static void test_add(void **state)
{
	(void)state;
	line = (struct cmdline){ .len = 0 };
	assert_string_equal(line.text, "");
	assert_int_equal(cmdline_add(&line, ""), 0);
	assert_int_equal(cmdline_add(&line, "   "), 0);
	assert_int_equal(line.len, 0);
	assert_int_equal(cmdline_add(&line, " console=ttyS0  quiet "), 0);
	assert_int_equal(cmdline_add(&line, ""), 0);
	assert_int_equal(cmdline_add(&line, "name=\"two words\""), 0);
	assert_int_equal(cmdline_add(&line, "\xc3\xa4"), 0);
	assert_string_equal(line.text, "console=ttyS0  quiet name=\"two "
				       "words\" \xc3\xa4");
	assert_int_equal(line.len, strlen(line.text));
	expect_no_log();
}

static void test_full(void **state)
{
	char words[CMDLINE_SIZE + 10];

	(void)state;
	memset(words, 'w', sizeof(words));
	words[2047] = '\0';
	set(words);
	assert_int_equal(line.len, 2047);
	assert_int_equal(line.text[2047], '\0');
	assert_int_equal(cmdline_add(&line, "x"), -E2BIG);
	expect_log("2047 of 2047 are taken");
	assert_int_equal(cmdline_add(&line, " "), 0);
	assert_string_equal(line.text, words);

	line = (struct cmdline){ .len = 0 };
	words[2047] = 'w';
	words[2048] = '\0';
	assert_int_equal(cmdline_add(&line, words), -E2BIG);
	expect_log("no room for the 2048 bytes");
	assert_int_equal(line.len, 0);
	assert_string_equal(line.text, "");

	/* The space between counts. */
	words[2040] = '\0';
	set(words);
	assert_int_equal(cmdline_add(&line, "1234567"), -E2BIG);
	expect_log("2040 of 2047");
	assert_int_equal(cmdline_add(&line, "123456"), 0);
	assert_string_equal(line.text + 2040, " 123456");
}

static void test_refused(void **state)
{
	static const struct {
		const char *words, *log;
	} cases[] = {
		{ "a\nb", "byte 1 of \"a\nb\" is a control character (0x0a)" },
		{ "a\tb", "(0x09)" },
		{ "ab\r", "(0x0d)" },
		{ "\033[2J", "(0x1b)" },
		{ "\177", "(0x7f)" },
		{ "\001", "(0x01)" },
		{ "a=\"b", "leaves a double quote" },
		{ "\"\"\"", "double quote" },
	};

	(void)state;
	set("before");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(cmdline_add(&line, cases[i].words), -EINVAL);
		expect_log(cases[i].log);
		assert_string_equal(line.text, "before");
	}
}

static void test_check(void **state)
{
	(void)state;
	set("0123456789");
	assert_int_equal(cmdline_check(&line, 10), 0);
	assert_int_equal(cmdline_check(&line, UINT32_MAX), 0);
	expect_no_log();
	assert_int_equal(cmdline_check(&line, 9), -E2BIG);
	expect_log("reads 9 bytes, the line has 10");
}

static void test_has(void **state)
{
	static const struct {
		const char *line, *key;
		bool has;
	} cases[] = {
		{ "", "a", false },
		{ "quiet", "quiet", true },
		{ "a quiet b", "quiet", true },
		{ "a  quiet", "quiet", true },
		{ "quiets", "quiet", false },
		{ "quiet", "quiets", false },
		{ "xquiet", "quiet", false },
		{ "root=/dev/vda", "root", true },
		{ "root=", "root", true },
		{ "rootwait", "root", false },
		{ "noroot=1", "root", false },
		{ "init=/root", "root", false },
		{ "a=b=c", "a", true },
		{ "a=root=c", "root", false },
		/* Spaces within quotes part no words. */
		{ "x=\"a quiet b\"", "quiet", false },
		{ "\"x=a quiet b\" loud", "quiet", false },
		{ "\"x=a quiet b\" loud", "loud", true },
		{ "\"x=a quiet b\" loud", "x", true },
		{ "\"quiet\"", "quiet", true },
		/* '-' and '_' are the same in a key. */
		{ "no_timer_check", "no-timer-check", true },
		{ "tsc-early-khz=1", "tsc_early_khz", true },
		{ "tsc.early.khz=1", "tsc_early_khz", false },
		/* What is after "--" is init's. */
		{ "a -- quiet", "quiet", false },
		{ "a --quiet quiet", "quiet", true },
		{ "--", "--", false },
		{ "--x", "--x", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		set(cases[i].line);
		if (cmdline_has(&line, cases[i].key) != cases[i].has)
			fail_msg("\"%s\" in \"%s\"", cases[i].key,
				 cases[i].line);
	}
}

static void test_tells_panic(void **state)
{
	static const struct {
		const char *line;
		bool tells;
	} cases[] = {
		{ "", false },
		{ "reboot=t", false },
		{ "reboot=warm", false },
		{ "reboot=panic_cold", false },
		{ "reboot=t,warm,panic_cold", true },
		{ "reboot=warm reboot=panic_cold", true },
		{ "reboot=w,panic_c", true },
		{ "reboot=warm,panic_hard", true },
		{ "reboot=warm,panic_warm", false },
		/* The last one given counts. */
		{ "reboot=t,warm,panic_cold reboot=cold", false },
		{ "reboot=t,warm,panic_cold reboot=panic_warm", false },
		{ "reboot=t,warm,panic_cold reboot=hard", false },
		{ "reboot=t,warm,panic_cold reboot=soft", false },
		{ "reboot=cold,warm,panic_warm,panic_cold", true },
		{ "reboot=t,warm,panic_cold reboot=k", true },
		{ "reboot=warm,panic_cold,force", true },
		/* The CPU to reboot on is no mode. */
		{ "reboot=warm,panic_cold,s1", true },
		{ "reboot=warm,panic_cold,smp0", true },
		{ "reboot=warm,panic_cold,smp", false },
		{ "reboot=warm,panic_cold,,", true },
		{ "reboot=warm,panic_", false },
		{ "init=/x -- reboot=warm,panic_cold", false },
		/* Which word it is, and what its value. */
		{ "xreboot=warm,panic_cold", false },
		{ "reboot warm,panic_cold", false },
		{ "reboot", false },
		{ "reboot=", false },
		{ "reboot=\"warm,panic_cold\"", true },
		{ "\"reboot=warm,panic_cold\"", true },
		{ "x=\"a reboot=warm,panic_cold\"", false },
		{ "reboot=warm,,panic_cold", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		set(cases[i].line);
		if (cmdline_tells_panic(&line) != cases[i].tells)
			fail_msg("\"%s\"", cases[i].line);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_has),
		cmocka_unit_test(test_tells_panic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
