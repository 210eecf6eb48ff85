/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/files.c boot/options/parse.c cpu/loop/file.c */
/* uses: boot/options/values.c */
/* uses: tests/unit/kept_log.c */
/* What the command line names: paths, descriptors, and what is neither. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "boot/options/files.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static char directory[] = "/tmp/mote-files-XXXXXX";
static struct options options;
static struct files files;

static const char *path(const char *name)
{
	static char paths[4][64];
	static unsigned next;
	char *to = paths[next++ % ARRAY_LEN(paths)];

	snprintf(to, sizeof(paths[0]), "%s/%s", directory, name);
	return to;
}

static struct option_file by_path(const char *name)
{
	return (struct option_file){ .path = name, .fd = -1 };
}

static struct option_file by_fd(int fd)
{
	return (struct option_file){ .path = NULL, .fd = fd };
}

static void reset(void)
{
	options = (struct options){ .kernel = by_path("/dev/null"),
				    .events = by_fd(-1) };
	files = (struct files){ .kernel_fd = -1, .events_fd = -1 };
}

static void close_all(void)
{
	if (files.kernel_fd >= 0)
		close(files.kernel_fd);
	for (unsigned i = 0; i < files.initrd_count; i++)
		close(files.initrd[i].fd);
	if (files.events_fd >= 0)
		close(files.events_fd);
}

static void test_good(void **state)
{
	int fd = open("/dev/zero", O_RDWR); /* not close-on-exec */

	(void)state;
	reset();
	options.initrds[0] = by_fd(fd);
	options.initrds[1] = by_path("/dev/zero");
	options.initrd_count = 2;
	assert_int_equal(files_open_events(&files, &options), 0);
	assert_int_equal(files.events_fd, -1);
	assert_int_equal(files_open(&files, &options), 0);
	assert_string_equal(files.kernel_name, "/dev/null");
	assert_int_equal(files.initrd_count, 2);
	assert_int_equal(files.initrd[0].fd, fd);
	snprintf(logged.last, sizeof(logged.last), "fd=%d", fd);
	assert_string_equal(files.initrd[0].name, logged.last);
	assert_string_equal(files.initrd[1].name, "/dev/zero");
	/* Nothing of it is for programs that mote might start. */
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(fcntl(files.kernel_fd, F_GETFD), FD_CLOEXEC);
	close_all();
	expect_no_log();
}

static void test_kernel_refused(void **state)
{
	int write_only = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int closed = fcntl(write_only, F_DUPFD_CLOEXEC, 300);
	const struct {
		struct option_file file;
		int error;
		const char *log;
	} cases[] = {
		{ by_path("/no/such/file"), -ENOENT, "check the path" },
		{ by_path(""), -ENOENT, "check the path" },
		{ by_path("/dev/null/x"), -ENOTDIR, "/dev/null/x" },
		{ by_fd(write_only), -EBADF, "not open for reading" },
		{ by_fd(closed), -EBADF, "must leave it open" },
		{ by_fd(1000000), -EBADF, "must leave it open" },
	};

	(void)state;
	close(closed);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		reset();
		options.kernel = cases[i].file;
		assert_int_equal(files_open(&files, &options), cases[i].error);
		expect_log(cases[i].log);
		reset();
		options.initrds[0] = cases[i].file;
		options.initrd_count = 1;
		assert_int_equal(files_open(&files, &options), cases[i].error);
		assert_non_null(strstr(logged.last, "--initrd"));
		expect_log(cases[i].log);
		assert_int_equal(files.initrd_count, 0);
		close_all();
	}
	close(write_only);
}

static void test_events(void **state)
{
	char text[16] = "";

	(void)state;
	reset();
	options.events = by_path(path("events"));
	for (unsigned i = 0; i < 2; i++) { /* appends: the first is kept */
		assert_int_equal(files_open_events(&files, &options), 0);
		assert_int_equal(write(files.events_fd, "x\n", 2), 2);
		if (!i)
			close(files.events_fd);
	}
	assert_int_equal(fcntl(files.events_fd, F_GETFD), FD_CLOEXEC);
	close(files.events_fd);
	files.events_fd = open(options.events.path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(files.events_fd, text, sizeof(text)), 4);
	/* Open for reading only. */
	options.events = by_fd(files.events_fd);
	assert_int_equal(files_open_events(&files, &options), -EBADF);
	expect_log("not open for writing");
	close(options.events.fd);

	options.events = by_path(directory);
	assert_int_equal(files_open_events(&files, &options), -EISDIR);
	expect_log("Is a directory");
}

/* Who opens a FIFO waits for its other side: events do not. */
static void test_fifo(void **state)
{
	const char *name = path("fifo");
	int reader;

	(void)state;
	alarm(20);
	assert_int_equal(mkfifo(name, 0600), 0);
	reset();
	options.events = by_path(name);
	assert_int_equal(files_open_events(&files, &options), -ENXIO);
	expect_log("a FIFO needs its reader first");
	reader = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(files_open_events(&files, &options), 0);
	expect_no_log();
	close(files.events_fd);
	close(reader);
	alarm(0);
}

/* -- descriptors 0 to 2 -------------------------------------------------------
 */

/* Which of them `closed` names are /dev/null afterwards, and no others. */
static int fill_in_child(unsigned closed)
{
	pid_t pid = fork();
	struct stat null, st;
	int status;

	if (pid) {
		assert_int_equal(waitpid(pid, &status, 0), pid);
		return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	}
	if (stat("/dev/null", &null))
		_exit(9);
	for (int fd = 0; fd < 3; fd++) {
		int other = open("/", O_RDONLY | O_CLOEXEC);

		dup2(other, fd);
		close(other);
	}
	for (int fd = 0; fd < 3; fd++)
		if (closed >> fd & 1)
			close(fd);
	if (files_fill_standard())
		_exit(10);
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st))
			_exit(11);
		if ((st.st_rdev == null.st_rdev && S_ISCHR(st.st_mode)) !=
		    (closed >> fd & 1))
			_exit(12); /* a child has no way to assert */
		if (closed >> fd & 1 &&
		    (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
			_exit(13);
	}
	_exit(0);
}

static void test_standard(void **state)
{
	(void)state;
	for (unsigned closed = 0; closed < 8; closed++)
		assert_int_equal(fill_in_child(closed), 0);
}

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	(void)state;
	unlink(path("events"));
	unlink(path("fifo"));
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_kernel_refused),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_fifo),
		cmocka_unit_test(test_standard),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
