/* SPDX-License-Identifier: Apache-2.0 */
/* uses: mem/log.c */
/* Messages: one clean line each, levels, and the limit on a guest's. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/log.h"

static int saved_stderr, read_end;

/* stderr becomes a pipe; each read() from it returns one write, if drained. */
static void catch_stderr(void)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	saved_stderr = dup(STDERR_FILENO);
	assert_true(saved_stderr >= 0);
	assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
	close(ends[1]);
	read_end = ends[0];
}

/* What was written since, as a string; stderr is itself again. */
static void release_stderr(char *text, size_t size)
{
	ssize_t n;
	size_t len = 0;

	assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
	close(saved_stderr);
	while ((n = read(read_end, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	close(read_end);
}

static void test_log_levels(void **state)
{
	char text[512];

	(void)state;
	assert_int_equal(log_get_level(), LOG_WARN);
	catch_stderr();
	log_error("one %d", 1);
	log_warn("two");
	log_info("three");
	log_debug("four");
	log_set_level(LOG_DEBUG);
	log_debug("five");
	log_set_level(LOG_ERROR);
	log_warn("six");
	log_set_level(LOG_WARN);
	release_stderr(text, sizeof(text));
	assert_string_equal(text, "mote: one 1\nmote: two\nmote: five\n");
}

/* A name that an image brings must not drive the terminal. */
static void test_log_hides_control_bytes(void **state)
{
	char text[512];

	(void)state;
	catch_stderr();
	log_error("a\nb\033[2Jc\177d\xc3\xa4");
	release_stderr(text, sizeof(text));
	assert_string_equal(text, "mote: a?b?[2Jc?d\xc3\xa4\n");
}

/* Controls and bidirectional marks as UTF-8, and what is not UTF-8. */
static void test_log_hides_unicode_controls(void **state)
{
	static const struct {
		const char *text, *shown;
	} cases[] = {
		{ "a\xc2\x9b"
		  "2Jb",
		  "a??2Jb" }, /* U+009B, CSI */
		{ "\xc2\x80\xc2\x9f\xc2\xa0", "????\xc2\xa0" },
		{ "\xe2\x80\xae"
		  "a\xe2\x80\xaa",
		  "???a???" },
		{ "\xe2\x81\xa6"
		  "a\xe2\x81\xa9",
		  "???a???" },
		{ "\xe2\x80\x8e\xe2\x80\x8f", "??????" },
		{ "\xe2\x80\xa8\xd8\x9c", "?????" },
		{ "\x9b"
		  "2J",
		  "?2J" }, /* of an 8-bit terminal */
		{ "\xe0\x82\x9b"
		  "2J",
		  "???2J" }, /* U+009B, too long */
		{ "\xc1\x9b", "??" },
		{ "\xed\xa0\x80", "???" },	/* a surrogate */
		{ "\xf4\x90\x80\x80", "????" }, /* past the last */
		{ "\xe2\x80", "??" },		/* cut off */
		{ "\xe2\x80"
		  "a",
		  "??a" },
		{ "\xff\xfe", "??" },
		{ "gr\xc3\xbc\xc3\x9f"
		  "e",
		  "gr\xc3\xbc\xc3\x9f"
		  "e" },
		{ "\xe2\x82\xac \xe2\x80\x93", "\xe2\x82\xac \xe2\x80\x93" },
		{ "\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7" },
	};
	char text[512];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		catch_stderr();
		log_error("%s", cases[i].text);
		release_stderr(text, sizeof(text));
		text[strlen(text) - 1] = '\0';
		assert_string_equal(text + strlen("mote: "), cases[i].shown);
	}
}

static void test_log_cuts_long_lines(void **state)
{
	char word[5000], text[8192];
	size_t len;

	(void)state;
	memset(word, 'x', sizeof(word) - 1);
	word[sizeof(word) - 1] = '\0';
	catch_stderr();
	log_error("%s", word);
	log_error("next");
	release_stderr(text, sizeof(text));
	len = (size_t)(strchr(text, '\n') - text);
	assert_true(len > 512 && len < 1024);
	assert_int_equal(strspn(text + 6, "x"), len - 6);
	assert_string_equal(text + len, "\nmote: next\n");
}

static void test_log_keeps_errno(void **state)
{
	char text[512];

	(void)state;
	catch_stderr();
	errno = ENOENT;
	log_error("kept");
	assert_int_equal(errno, ENOENT);
	release_stderr(text, sizeof(text));

	/* Nowhere to write to is no reason to end or to spin. */
	saved_stderr = dup(STDERR_FILENO);
	close(STDERR_FILENO);
	errno = ENOENT;
	log_error("lost");
	assert_int_equal(dup2(saved_stderr, STDERR_FILENO), STDERR_FILENO);
	close(saved_stderr);
}

/* What a limit of the user's has ended says which one it was. */
static void test_log_advice(void **state)
{
	char text[512];

	(void)state;
	catch_stderr();
	errno = EMFILE;
	assert_int_equal(log_errno("eventfd"), -EMFILE);
	errno = EAGAIN;
	assert_int_equal(log_errno("clone"), -EAGAIN);
	errno = EIO;
	assert_int_equal(log_errno("read"), -EIO);
	release_stderr(text, sizeof(text));
	assert_non_null(strstr(text, "raise the limit on open files (ulimit"));
	assert_non_null(strstr(text, "on processes (ulimit -u, or pids.max"));
	assert_non_null(strstr(text, "mote: read: Input/output error\n"));
	assert_string_equal(log_advice(ENOENT), "");
}

static void test_log_limits_a_guest(void **state)
{
	static struct log_limit one, other;
	char text[512];

	(void)state;
	catch_stderr();
	for (int i = 1; i <= 1000; i++)
		log_guest(&one, "bad %d", i);
	log_guest(&other, "worse");
	release_stderr(text, sizeof(text));
	assert_string_equal(text, "mote: bad 1\nmote: bad 2\nmote: bad 3 (no "
				  "more of these are reported)\nmote: worse\n");
}

/* A pipe that is full, and then read. Of write() there is no other end. */
static void test_log_does_not_wait_for_ever(void **state)
{
	static char text[1 << 20];
	static const char piece[4096];

	(void)state;
	catch_stderr();
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, O_NONBLOCK), 0);
	while (write(STDERR_FILENO, piece, sizeof(piece)) > 0)
		;
	assert_int_equal(fcntl(STDERR_FILENO, F_SETFL, 0), 0);
	alarm(60);
	log_warn("nobody reads this");
	assert_false(log_write("nor that\n", 9));
	assert_int_equal(fcntl(read_end, F_SETFL, O_NONBLOCK), 0);
	while (read(read_end, text, sizeof(text)) > 0)
		;
	log_warn("and this is read");
	assert_true(log_write("that, too\n", 10));
	alarm(0);
	release_stderr(text, sizeof(text));
	assert_string_equal(text, "mote: and this is read\nthat, too\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_log_levels),
		cmocka_unit_test(test_log_hides_control_bytes),
		cmocka_unit_test(test_log_hides_unicode_controls),
		cmocka_unit_test(test_log_cuts_long_lines),
		cmocka_unit_test(test_log_keeps_errno),
		cmocka_unit_test(test_log_limits_a_guest),
		cmocka_unit_test(test_log_advice),
		cmocka_unit_test(test_log_does_not_wait_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
