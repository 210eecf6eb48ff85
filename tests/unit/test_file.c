/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/file.c mem/log.c */
/* ldflags: -Wl,--wrap=log_error */
/* What is opened by PATH or fd=N, and what is said where it cannot be. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/loop/file.h"
#include "mem/util.h"

void __wrap_log_error(const char *format, ...)
	__attribute__((format(printf, 1, 2)));

static char directory[] = "/tmp/mote-file-XXXXXX";
static char said[512]; /* the last message; empty: none */

void __wrap_log_error(const char *format, ...)
{
	va_list args;

	assert_string_equal(said, ""); /* one line for each failure */
	va_start(args, format);
	vsnprintf(said, sizeof(said), format, args);
	va_end(args);
}

static const struct file_advice advice[] = {
	{ ENOENT, "make it with truncate" },
	{ EISDIR, NULL },
	{ EBADF, "open it for both" },
	{ 0, NULL },
};
static const struct file_advice advice_on_all[] = {
	{ ENOENT, "load the module" },
	{ 0, "check the device" },
};

static const char *path_of(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	return path;
}

/* As --disk, and what was said of it. */
static int open_path(const char *path, int flags, const struct file_advice *own)
{
	const struct option_file file = { .path = path, .fd = -1 };

	said[0] = '\0';
	return file_open(&file, "--disk ", flags, 0640, own);
}

static int open_fd(int fd, int flags, const struct file_advice *own)
{
	const struct option_file file = { .path = NULL, .fd = fd };

	said[0] = '\0';
	return file_open(&file, "--disk ", flags, 0, own);
}

static void test_path(void **state)
{
	struct stat status;
	int fd;

	(void)state;
	umask(0);
	fd = open_path(path_of("new"), O_RDWR | O_CREAT | O_EXCL, NULL);
	assert_true(fd >= 0);
	assert_string_equal(said, "");
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDWR);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0640);
	close(fd);
}

static void test_advice(void **state)
{
	struct rlimit limit, none;
	const char *const missing = "/no/such/file";

	(void)state;
	assert_int_equal(open_path(missing, O_RDONLY, NULL), -ENOENT);
	assert_string_equal(said, "cannot open --disk /no/such/file: No such "
				  "file or directory; check the path");
	assert_int_equal(open_path(missing, O_RDONLY, advice), -ENOENT);
	assert_string_equal(said, "cannot open --disk /no/such/file: No such "
				  "file or directory; make it with truncate");
	assert_int_equal(open_path(missing, O_RDONLY, advice_on_all), -ENOENT);
	assert_non_null(strstr(said, "; load the module"));
	assert_int_equal(open_path(directory, O_RDWR, advice), -EISDIR);
	assert_non_null(strstr(said, "Is a directory"));
	assert_null(strchr(said, ';'));
	assert_int_equal(open_path(directory, O_RDWR, advice_on_all), -EISDIR);
	assert_non_null(strstr(said, "Is a directory; check the device"));
	/* What an option has nothing of its own on is said as of any file. */
	getrlimit(RLIMIT_NOFILE, &limit);
	none = (struct rlimit){ 3, limit.rlim_max };
	setrlimit(RLIMIT_NOFILE, &none);
	assert_int_equal(open_path(directory, O_RDONLY, advice), -EMFILE);
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_non_null(strstr(said, "; raise the limit on open files"));
}

/* Each way to open a descriptor, against each access that can be wanted. */
static void test_access(void **state)
{
	static const char *const lacks[3][3] = {
		/* wanted: O_RDONLY, O_WRONLY, O_RDWR */
		[O_RDONLY] = { NULL, "writing", "writing" },
		[O_WRONLY] = { "reading", NULL, "reading" },
		[O_RDWR] = { NULL, NULL, NULL },
	};

	(void)state;
	for (int has = O_RDONLY; has <= O_RDWR; has++)
		for (int wanted = O_RDONLY; wanted <= O_RDWR; wanted++) {
			const char *lack = lacks[has][wanted];
			int fd = open("/dev/null", has);

			assert_int_equal(open_fd(fd, wanted | O_CREAT, advice),
					 lack ? -EBADF : fd);
			assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
			if (lack) {
				char line[128];

				snprintf(line, sizeof(line),
					 "--disk fd=%d: it is not open for "
					 "%s; open it for both",
					 fd, lack);
				assert_string_equal(said, line);
				open_fd(fd, wanted, NULL);
				assert_null(strchr(said, ';'));
			}
			close(fd);
		}
}

static void test_not_open(void **state)
{
	const int by_name_only = open("/", O_PATH);

	(void)state;
	assert_int_equal(open_fd(999, O_RDONLY, advice), -EBADF);
	assert_string_equal(said, "--disk fd=999: no such descriptor is open; "
				  "whoever starts mote must leave it open");
	assert_int_equal(open_fd(by_name_only, O_RDONLY, advice), -EBADF);
	assert_non_null(strstr(said, "no such descriptor"));
	close(by_name_only);
}

static void test_take(void **state)
{
	const int fd = open("/dev/null", O_WRONLY | O_APPEND);

	(void)state;
	said[0] = '\0';
	assert_int_equal(file_take(fd, "--serial ") & (O_ACCMODE | O_APPEND),
			 O_WRONLY | O_APPEND);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_string_equal(said, "");
	close(fd);
	assert_int_equal(file_take(fd, "--serial "), -EBADF);
	assert_int_equal(strncmp(said, "--serial fd=", 12), 0);
}

static void test_paths_of_descriptors(void **state)
{
	static const struct {
		const char *path;
		int fd;
	} cases[] = {
		{ "/dev/stdin", 0 },
		{ "/dev/stdout", 1 },
		{ "/dev/stderr", 2 },
		{ "/dev/fd/0", 0 },
		{ "/dev/fd/63", 63 },
		{ "/proc/self/fd/12", 12 },
		{ "/dev/fd/", -1 },
		{ "/dev/fd/3x", -1 },
		{ "/dev/fd/3/4", -1 },
		{ "/dev/fd/-1", -1 },
		{ "/dev/fd/99999999999999999999", -1 },
		{ "/dev/stdins", -1 },
		{ "/proc/1/fd/3", -1 },
		{ "dev/fd/3", -1 },
		{ "", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (file_path_fd(cases[i].path) != cases[i].fd)
			fail_msg("%s: %d", cases[i].path,
				 file_path_fd(cases[i].path));
}

static void test_name(void **state)
{
	const struct option_file path = { .path = "a", .fd = -1 };
	const struct option_file fd = { .path = NULL, .fd = 2147483647 };
	const struct option_file none = { .path = NULL, .fd = -1 };
	char room[FILE_NAME_BYTES];

	(void)state;
	assert_ptr_equal(file_name(&path, room), path.path);
	assert_string_equal(file_name(&fd, room), "fd=2147483647");
	assert_true(file_is_given(&path) && file_is_given(&fd));
	assert_false(file_is_given(&none));
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path_of("new"));
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path),
		cmocka_unit_test(test_advice),
		cmocka_unit_test(test_access),
		cmocka_unit_test(test_not_open),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_paths_of_descriptors),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
