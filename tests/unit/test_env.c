/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/env.c cpu/loop/file.c tests/unit/kept_log.c */
/* uses: tests/unit/sample_file.c */
/* The files of --env-file: what a line may be, and what is refused of it. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "boot/options/env.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static struct options options;
static struct env env;

static int begin(void **state)
{
	(void)state;
	options = (struct options){ .env_count = 0 };
	logged.count = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	for (unsigned i = 0; i < options.env_file_count; i++)
		if (!options.env_files[i].path)
			close(options.env_files[i].fd);
	env_free(&env);
	return 0;
}

/* env_read closes it. */
static void add_file(const void *bytes, size_t len)
{
	const int fd = file_of(bytes, len);

	lseek(fd, 0, SEEK_SET);
	options.env_files[options.env_file_count++] =
		(struct option_file){ .fd = fd };
}
#define ADD_FILE(text) add_file(text, sizeof(text) - 1)

static void must_have(const char *const *vars)
{
	unsigned count = 0;

	assert_int_equal(env_read(&env, &options), 0);
	expect_no_log();
	for (; vars[count]; count++) {
		assert_true(count < env.count);
		assert_string_equal(env.vars[count], vars[count]);
	}
	assert_int_equal(env.count, count);
	options.env_file_count = 0; /* closed */
}
#define MUST_HAVE(...) must_have((const char *const[]){ __VA_ARGS__, NULL })

static void must_fail(int error, const char *says)
{
	assert_int_equal(env_read(&env, &options), error);
	expect_log(says);
	options.env_file_count = 0;
}

static void test_lines(void **state)
{
	(void)state;
	ADD_FILE("A=1\n\n# no = variable\n   #nor this\n \tB=x y # z\n"
		 "C=\"quoted\"\nD=\nE==e=\n \t \nF=\t2 \nG\r\nH=h\r\n\r\nI='");
	MUST_HAVE("A=1", "B=x y # z", "C=\"quoted\"", "D=", "E==e=", "F=\t2 ",
		  "G", "H=h", "I='");
}

static void test_marks(void **state)
{
	(void)state;
	ADD_FILE("\xef\xbb\xbf"
		 "A=\xef\xbb\xbf\xff\n");
	MUST_HAVE("A=\xef\xbb\xbf\xff");
}

static void test_several(void **state)
{
	(void)state;
	ADD_FILE("A=1");
	ADD_FILE("");
	ADD_FILE("\n");
	ADD_FILE("A=2\n");
	options.env[options.env_count++] = "A=3";
	options.env[options.env_count++] = "B";
	MUST_HAVE("A=1", "A=2", "A=3", "B");
	unsetenv("B");
	assert_true(env_has(&env, 0, "A", 1));
	assert_false(env_has(&env, 3, "A", 1));
	assert_false(env_has(&env, 0, "B", 1));
	setenv("B", "", 1);
	assert_true(env_has(&env, 0, "B", 1));
	assert_false(env_has(&env, 0, "C", 1));
}

static void test_none(void **state)
{
	(void)state;
	options.env[options.env_count++] = "A";
	MUST_HAVE("A");
	env_free(&env);
	options.env_count = 0;
	assert_int_equal(env_read(&env, &options), 0);
	assert_int_equal(env.count, 0);
}

static void test_pipe(void **state)
{
	(void)state;
	options.env_files[0] =
		(struct option_file){ .fd = pipe_of("A=1\nB=2\n", 8) };
	options.env_file_count = 1;
	MUST_HAVE("A=1", "B=2");
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		const char *says;
	} bad[] = {
#define BAD(text, says) { text, sizeof(text) - 1, says }
		BAD("A=1\n=2\n", ":2: the variable has no name"),
		BAD("  =", ":1: the variable has no name"),
		BAD("\n\nA B=1", ":3: a blank is in the variable's name"),
		BAD("A =1", ":1: a blank is in the variable's name"),
		BAD("export A=1", ":1: a blank is in the variable's name"),
		BAD("A ", ":1: a blank is in the variable's name"),
		BAD("A=1\nB=\0\n", ":2: there is a byte 0 in the line"),
		BAD("A=1\n\0", ":2: there is a byte 0 in the line"),
		BAD("\0", ":1: there is a byte 0 in the line"),
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		begin(state);
		add_file(bad[i].text, bad[i].len);
		must_fail(-EINVAL, bad[i].says);
		assert_non_null(strstr(logged.last, "--env-file fd="));
		/* a value may be a secret */
		assert_null(strstr(logged.last, "A=1"));
		env_free(&env);
	}
}

/* The last byte that there may be, and one more; also in two files. */
static void test_large(void **state)
{
	static char text[ENV_FILES_BYTES + 1];

	memset(text, 'x', sizeof(text));
	memcpy(text, "A=", 2);
	add_file(text, ENV_FILES_BYTES);
	assert_int_equal(env_read(&env, &options), 0);
	assert_int_equal(strlen(env.vars[0]), ENV_FILES_BYTES);
	env_free(&env);
	begin(state);
	add_file(text, ENV_FILES_BYTES + 1);
	must_fail(-EFBIG, "there may be 1048576 bytes in all, and are more");
	env_free(&env);
	begin(state);
	add_file(text, ENV_FILES_BYTES / 2);
	add_file(text, ENV_FILES_BYTES / 2);
	ADD_FILE("");
	assert_int_equal(env_read(&env, &options), 0);
	assert_int_equal(env.count, 2);
	env_free(&env);
	begin(state);
	add_file(text, ENV_FILES_BYTES);
	add_file(text, 1);
	must_fail(-EFBIG, "there may be");
}

static void test_many(void **state)
{
	static char text[2 * (ENV_FILES_VARS + 1)];

	(void)state;
	for (size_t i = 0; i < sizeof(text); i += 2)
		memcpy(text + i, "A\n", 2);
	add_file(text, 2 * (size_t)ENV_FILES_VARS);
	options.env[options.env_count++] = "B=1";
	assert_int_equal(env_read(&env, &options), 0);
	assert_int_equal(env.count, ENV_FILES_VARS + 1);
	env_free(&env);
	add_file(text, sizeof(text));
	options.env_files[0] = options.env_files[1];
	options.env_file_count = 1;
	must_fail(-EINVAL, ":4097: there are too many variables");
}

static void test_unreadable(void **state)
{
	const unsigned fds = count_fds();

	(void)state;
	options.env_files[0] = (struct option_file){ "/nowhere", -1 };
	options.env_file_count = 1;
	must_fail(-ENOENT, "cannot open --env-file /nowhere");
	env_free(&env);
	options.env_files[0] = (struct option_file){ "/proc/self", -1 };
	options.env_file_count = 1;
	must_fail(-EISDIR, "--env-file /proc/self: it cannot be read");
	assert_int_equal(count_fds(), fds);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, begin, end),
		cmocka_unit_test_setup_teardown(test_marks, begin, end),
		cmocka_unit_test_setup_teardown(test_several, begin, end),
		cmocka_unit_test_setup_teardown(test_none, begin, end),
		cmocka_unit_test_setup_teardown(test_pipe, begin, end),
		cmocka_unit_test_setup_teardown(test_bad_lines, begin, end),
		cmocka_unit_test_setup_teardown(test_large, begin, end),
		cmocka_unit_test_setup_teardown(test_many, begin, end),
		cmocka_unit_test_setup_teardown(test_unreadable, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
