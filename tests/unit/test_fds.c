/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/* uses: tests/unit/options_run.c */
/* uses: boot/options/files.c */
/* The descriptors that mote was started with: which stay, which do not. */
#include <fcntl.h>

#include "boot/options/files.h"
#include "tests/unit/options_run.h"

#define LAST 60

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* All from `first` to LAST are open. */
static void fill(int first)
{
	int fd = open("/dev/null", O_RDONLY);

	assert_true(fd >= 0 && fd < first);
	for (int to = first; to <= LAST; to++)
		assert_int_equal(dup2(fd, to), to);
	close(fd);
}

static bool keeps(int fd)
{
	return fd == 20 || fd == 31 || fd == 59;
}

static void test_others_are_closed(void **state)
{
	(void)state;
	accepts("-k fd=59 -d fd=31 -n fd=20");
	fill(20);
	assert_int_equal(files_take_fds(&options, true), 0);
	for (int fd = 0; fd <= LAST; fd++)
		assert_int_equal(is_open(fd), fd < 3 || keeps(fd));
	/* A second time there is nothing to do. */
	assert_int_equal(files_take_fds(&options, true), 0);
	assert_true(is_open(59));
}

static void test_others_stay(void **state)
{
	(void)state;
	accepts("-k k -i fd=40");
	fill(20);
	assert_int_equal(files_take_fds(&options, false), 0);
	for (int fd = 20; fd <= LAST; fd++)
		assert_true(is_open(fd));
}

static void test_all_are_closed(void **state)
{
	(void)state;
	accepts("-k k");
	fill(20);
	assert_int_equal(files_take_fds(&options, true), 0);
	for (int fd = 0; fd <= LAST; fd++)
		assert_int_equal(is_open(fd), fd < 3);
}

static void test_closed_one_is_named(void **state)
{
	struct capture capture;

	(void)state;
	accepts("-k k -i fd=40 --vsock fd=41");
	fill(20);
	close(41);
	capture_start(&capture, STDERR_FILENO);
	assert_int_equal(files_take_fds(&options, true), -EBADF);
	capture_end(&capture);
	assert_string_equal(output,
			    "mote: --vsock fd=41: no such descriptor is open; "
			    "whoever starts mote must leave it open\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_others_stay),
		cmocka_unit_test(test_closed_one_is_named),
		cmocka_unit_test(test_others_are_closed),
		cmocka_unit_test(test_all_are_closed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
