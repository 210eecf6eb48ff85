/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/init/text.c */
/* The guest's init: files as a whole; what is in the way of a path. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/init/init.h"
#include "tests/unit/unit.h"

static char path[] = "/tmp/mote-text-XXXXXX";

static int make_name(void **state)
{
	const int fd = mkstemp(path);

	(void)state;
	close(fd);
	return fd < 0;
}

static int remove_name(void **state)
{
	(void)state;
	return remove(path);
}

static void test_a_file_is_loaded(void **state)
{
	FILE *file = fopen(path, "w");
	size_t len;

	(void)state;
	assert_non_null(file);
	fputs("two\nlines\n", file);
	fclose(file);
	assert_string_equal(text_load(path, &len), "two\nlines\n");
	assert_int_equal(len, 10);
}

/* Whoever made the image may have put that there. */
static void test_a_fifo_is_not_waited_for(void **state)
{
	size_t len;

	(void)state;
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_string_equal(text_load(path, &len), "");
	assert_int_equal(len, 0);
}

static void test_a_directory_has_no_bytes(void **state)
{
	size_t len;

	(void)state;
	unlink(path);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_string_equal(text_load(path, &len), "");
	assert_int_equal(len, 0);
}

/* "a/b/" means b, as "a/b" does: it is not there afterwards. */
static void test_parents_are_made(void **state)
{
	static const char *const paths[] = { "/a/b", "/a//b", "/a/b/",
					     "/a/b//" };

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		struct text text = { .len = 0 }, parent = { .len = 0 };

		text_add(text_add(&text, path), paths[i]);
		text_add(text_add(&parent, path), "/a");
		names_make_parents(text.bytes);
		assert_int_equal(rmdir(parent.bytes), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_file_is_loaded),
		cmocka_unit_test(test_a_fifo_is_not_waited_for),
		cmocka_unit_test(test_a_directory_has_no_bytes),
		cmocka_unit_test(test_parents_are_made),
	};

	return cmocka_run_group_tests(tests, make_name, remove_name);
}
