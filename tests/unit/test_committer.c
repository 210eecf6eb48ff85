/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/committer.c cpu/loop/helper.c cpu/loop/file.c */
/* uses: tests/unit/kept_log.c tests/unit/sample_file.c */
/* ldflags: -Wl,--wrap=renameat,--wrap=fsync,--wrap=sendmsg,--wrap=openat */
/* ldflags: -Wl,--wrap=fork */
/*
 * The committer as a process, without a jail and a filter: a file has its name
 * only once it is told so, and one that is not finished is gone with whoever
 * wrote it. What cannot be opened, and in which words.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/loop/committer.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static char dir[32], path[300];
static struct committer c;
static const struct thread_hook no_hook;
static unsigned fds; /* that were open before */

/* -- calls that fail, in the committer ------------------------------------- */

/* Which: shared with it, and how often. */
static struct faults {
	int rename_error, file_error, dir_error, open_error, send_error;
	int fork_error;
} * faults;

static bool fails(int *error)
{
	errno = *error;
	*error = 0;
	return errno;
}

int __real_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to);
int __wrap_renameat(int a, const char *from, int b, const char *to)
{
	return fails(&faults->rename_error) ? -1
					    : __real_renameat(a, from, b, to);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	int *error =
		fd == COMMITTER_DIR ? &faults->dir_error : &faults->file_error;

	return fails(error) ? -1 : __real_fsync(fd);
}

int __real_openat(int at, const char *name, int flags, ...);
int __wrap_openat(int at, const char *name, int flags, mode_t mode);
int __wrap_openat(int at, const char *name, int flags, mode_t mode)
{
	return fails(&faults->open_error)
		       ? -1
		       : __real_openat(at, name, flags, mode);
}

pid_t __real_fork(void);
pid_t __wrap_fork(void);
pid_t __wrap_fork(void)
{
	return fails(&faults->fork_error) ? -1 : __real_fork();
}

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return fails(&faults->send_error) ? -1
					  : __real_sendmsg(fd, message, flags);
}

/* -- help ------------------------------------------------------------------ */

static struct option_file in_dir(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return (struct option_file){ .path = path, .fd = -1 };
}

static void open_and_start(const char *name)
{
	const struct option_file file = in_dir(name);

	assert_int_equal(committer_open(&c, "--x ", &file), 0);
	assert_int_equal(committer_start(&c, false, &no_hook), 0);
	assert_true(c.channel >= 0);
	assert_int_equal(c.dir_fd, -1); /* it is the committer's now */
}

static int answer(void)
{
	struct pollfd ready = { c.channel, POLLIN, 0 };

	assert_int_equal(poll(&ready, 1, 60000), 1);
	return committer_answer(&c);
}

static int commit(bool last)
{
	assert_int_equal(committer_commit(&c, last), 0);
	return answer();
}

static int ask_for_file(void)
{
	assert_int_equal(committer_ask(&c), 0);
	return answer();
}

/* All that is in the directory, in `names`; how many. */
static unsigned list(char names[4][300])
{
	DIR *d = opendir(dir);
	struct dirent *entry;
	unsigned count = 0;

	while ((entry = readdir(d)))
		if (strcmp(entry->d_name, ".") != 0 &&
		    strcmp(entry->d_name, "..") != 0) {
			assert_true(count < 4);
			snprintf(names[count++], 300, "%s", entry->d_name);
		}
	closedir(d);
	return count;
}

static unsigned files(void)
{
	char names[4][300];

	return list(names);
}

static void has(const char *bytes)
{
	char read_[64] = "";
	int fd = open(path, O_RDONLY);
	struct stat status;

	assert_true(fd >= 0);
	assert_true(read(fd, read_, sizeof(read_) - 1) >= 0);
	assert_string_equal(read_, bytes);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	close(fd);
}

static void put(const char *bytes)
{
	const ssize_t len = (ssize_t)strlen(bytes);

	assert_int_equal(committer_empty(&c), 0);
	assert_int_equal(pwrite(c.fd, bytes, (size_t)len, 0), len);
}

/* The committer ends; its status. */
static int ended(void)
{
	int status = -1;

	assert_true(waitpid(-1, &status, 0) > 0);
	return status;
}

static int setup(void **state)
{
	(void)state;
	alarm(100);
	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	if (!faults)
		faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(faults, 0, sizeof(*faults));
	fds = count_fds();
	return !mkdtemp(dir);
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	expect_no_log();
	assert_int_equal(count_fds(), fds);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

/* -- what it does ---------------------------------------------------------- */

static void test_renames_when_told(void **state)
{
	char names[4][300];
	int old;

	(void)state;
	in_dir("s");
	old = open(path, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(write(old, "old", 3), 3);
	close(old);
	open_and_start("s");
	assert_int_equal(list(names), 2);
	put("new one");
	has("old");
	assert_int_equal(commit(true), 0);
	has("new one");
	assert_int_equal(c.fd, -1);
	assert_int_equal(ended(), 0);
	assert_int_equal(files(), 1);
	committer_close(&c);
	has("new one");
}

static void test_next_file(void **state)
{
	struct stat first, second;

	(void)state;
	open_and_start("s");
	put("first, and longer");
	assert_int_equal(fstat(c.fd, &first), 0);
	assert_int_equal(commit(false), 0);
	has("first, and longer");
	assert_true(c.fd >= 0);
	assert_true(fcntl(c.fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(fstat(c.fd, &second), 0);
	assert_int_equal(second.st_size, 0);
	assert_int_not_equal(first.st_ino, second.st_ino);
	put("second");
	has("first, and longer");
	assert_int_equal(commit(false), 0);
	has("second");
	/* What was begun for a third goes with mote. */
	put("third");
	assert_int_equal(files(), 2);
	committer_close(&c);
	assert_int_equal(ended(), 0);
	assert_int_equal(files(), 1);
	has("second");
}

/* However mote ends: before it is written, and in the middle. */
static void test_nothing_is_left(void **state)
{
	struct option_file file;

	(void)state;
	for (unsigned written = 0; written < 2; written++) {
		open_and_start("s");
		if (written)
			put("half of");
		assert_int_equal(files(), 1);
		assert_int_equal(access(path, F_OK), -1);
		close(c.channel);
		c.channel = -1;
		assert_int_equal(ended(), 0);
		assert_int_equal(files(), 0);
		committer_close(&c);
	}
	/* Nor where there never was a committer. */
	file = in_dir("s");
	assert_int_equal(committer_open(&c, "--x ", &file), 0);
	assert_int_equal(files(), 0);
	committer_close(&c);
	committer_close(&c); /* harmless twice */
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(committer_open(&c, "--x ", &file), 0);
		*(i ? &faults->open_error : &faults->fork_error) =
			i ? EACCES : EAGAIN;
		assert_true(committer_start(&c, false, &no_hook) < 0);
		expect_log(i ? "a file there cannot be made: Permission denied"
			     : "fork, for a process beside mote");
		committer_close(&c);
		assert_int_equal(files(), 0);
	}
}

static void test_what_fails_may_be_tried_again(void **state)
{
	(void)state;
	open_and_start("s");
	put("one");
	faults->file_error = EIO;
	assert_int_equal(commit(true), -EIO);
	faults->rename_error = EACCES;
	assert_int_equal(commit(true), -EACCES);
	assert_int_equal(access(path, F_OK), -1);
	put("another");
	assert_int_equal(commit(true), 0);
	has("another");
	assert_int_equal(ended(), 0);
	committer_close(&c);
}

/* What has its name is finished, even if the directory is not synced. */
static void test_directory_that_is_not_synced(void **state)
{
	(void)state;
	open_and_start("s");
	put("one");
	faults->dir_error = EINVAL;
	assert_int_equal(commit(false), 0);
	put("two");
	has("one");
	committer_close(&c);
	assert_int_equal(ended(), 0);
	has("one");
}

static void test_no_next_file(void **state)
{
	(void)state;
	open_and_start("s");
	for (unsigned i = 0; i < 2; i++) {
		put("one");
		*(i ? &faults->send_error : &faults->open_error) =
			i ? ETOOMANYREFS : ENOSPC;
		assert_int_equal(commit(false), 0);
		assert_int_equal(c.fd, -1);
		has("one");
		assert_int_equal(committer_empty(&c), 0); /* nothing */
		/* It may be there by the next time. */
		faults->open_error = i ? 0 : EDQUOT;
		assert_int_equal(ask_for_file(), i ? 0 : -EDQUOT);
		if (!i)
			assert_int_equal(ask_for_file(), 0);
		put("two");
		assert_int_equal(commit(false), 0);
		has("two");
		committer_close(&c);
		assert_int_equal(ended(), 0);
		assert_int_equal(files(), 1);
		if (!i)
			open_and_start("s");
	}
}

static void put_there(const char *name, const char *bytes)
{
	const ssize_t len = (ssize_t)strlen(bytes);
	const int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_int_equal(write(fd, bytes, (size_t)len), len);
	close(fd);
}

/* No other file is replaced than one with the bytes that are asked for. */
static void test_mark(void **state)
{
	static const struct {
		const char *there; /* NULL: nothing; "": a link */
		int result;
	} cases[] = {
		{ "0123abcd--", 0 },	{ "0123abcd", 0 },
		{ "0123abc", -ESTALE }, { "0123Abcd", -ESTALE },
		{ "abcd", -ESTALE },	{ NULL, -ESTALE },
		{ "", -ESTALE },
	};
	const struct option_file file = in_dir("s");
	char other[310];

	(void)state;
	snprintf(other, sizeof(other), "%s.other", path);
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		const char *there = cases[i].there;

		assert_int_equal(committer_open(&c, "--x ", &file), 0);
		c.mark = (struct committer_mark){ 4, 4, { "abcd" } };
		assert_int_equal(committer_start(&c, false, &no_hook), 0);
		put("new");
		if (there && *there)
			put_there(path, there);
		else if (there)
			put_there(other, "0123abcd");
		if (there && !*there)
			assert_int_equal(symlink(other, path), 0);
		assert_int_equal(commit(true), cases[i].result);
		committer_close(&c);
		assert_int_equal(ended(), 0);
		if (!cases[i].result)
			has("new");
		else if (there && *there)
			has(there);
		unlink(path);
		unlink(other);
		assert_int_equal(files(), 0);
	}
}

static void test_committer_that_is_gone(void **state)
{
	(void)state;
	open_and_start("s");
	put("one");
	shutdown(c.channel, SHUT_RDWR); /* as its end is to both */
	assert_int_equal(ended(), 0);
	assert_int_equal(committer_commit(&c, false), -EPIPE);
	assert_int_equal(answer(), -EPIPE);
	assert_int_equal(files(), 0);
	committer_close(&c);
}

static int enter_fails(void *arg, unsigned number)
{
	(void)arg, (void)number;
	return -EPERM;
}

/* Who cannot be locked in renames nothing. */
static void test_committer_that_is_not_locked_in(void **state)
{
	const struct option_file file = in_dir("s");
	const struct thread_hook hook = { enter_fails, NULL };

	(void)state;
	assert_int_equal(committer_open(&c, "--x ", &file), 0);
	assert_int_equal(committer_start(&c, false, &hook), 0);
	assert_int_equal(ended(), 0);
	assert_int_equal(answer(), -EPIPE);
	assert_int_equal(files(), 0);
	committer_close(&c);
}

/* In the helper. */
static int sees_fds(void *arg, unsigned number)
{
	const bool *keeps_stderr = arg;
	int n = 0;

	(void)number;
	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	/* The channel, the directory, the file. */
	return n == 3 + *keeps_stderr &&
			       fcntl(COMMITTER_CHANNEL, F_GETFD) >= 0 &&
			       fcntl(COMMITTER_DIR, F_GETFD) >= 0 &&
			       fcntl(COMMITTER_FILE, F_GETFD) >= 0 &&
			       fcntl(STDOUT_FILENO, F_GETFD) < 0 &&
			       getsid(0) == getpid()
		       ? 0
		       : -EBUSY;
}

static void test_it_has_three_descriptors(void **state)
{
	static bool keeps_stderr;
	const struct option_file file = in_dir("s");
	const struct thread_hook hook = { sees_fds, &keeps_stderr };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		keeps_stderr = i;
		assert_int_equal(committer_open(&c, "--x ", &file), 0);
		assert_int_equal(committer_start(&c, keeps_stderr, &hook), 0);
		put("one");
		assert_int_equal(commit(true), 0);
		assert_int_equal(ended(), 0);
		committer_close(&c);
		has("one");
		unlink(path);
	}
}

/* -- opening --------------------------------------------------------------- */

static void test_names(void **state)
{
	char name[300], names[4][300];
	int here = open(".", O_RDONLY | O_DIRECTORY);
	const struct option_file bare = { .path = "bare", .fd = -1 };

	(void)state;
	memset(name, 'n', sizeof(name));
	name[240] = 0;
	open_and_start(name);
	put("long");
	assert_int_equal(commit(true), 0);
	assert_int_equal(ended(), 0);
	has("long");
	assert_int_equal(list(names), 1);
	assert_string_equal(names[0], name);
	committer_close(&c);
	/* Without a directory: the one that mote is in. */
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(committer_open(&c, "--x ", &bare), 0);
	assert_int_equal(committer_start(&c, false, &no_hook), 0);
	assert_int_equal(files(), 2);
	assert_int_equal(memcmp(c.temporary, ".bare.", 6), 0);
	assert_int_equal(strlen(c.temporary), 12);
	assert_int_equal(access(c.temporary, F_OK), 0);
	committer_close(&c);
	assert_int_equal(ended(), 0);
	assert_int_equal(files(), 1);
	assert_int_equal(fchdir(here), 0);
	close(here);
}

static void test_what_cannot_be_opened(void **state)
{
	static const struct {
		const char *name, *words;
	} cases[] = {
		{ "no/s", "a file there cannot be made: No such file" },
		{ "file/s", "a file there cannot be made: Not a directory" },
		{ "sub", "a file there cannot be made: what has this name is "
			 "no file" },
		{ "..", "what has this name is no file" },
		{ ".", "what has this name is no file" },
		{ "link", "what has this name is no file" },
		{ "fifo", "what has this name is no file" },
		{ "sub/", "a file there cannot be made: Is a directory" },
		{ "", "a file there cannot be made: Is a directory" },
	};
	char name[300];
	struct option_file file;

	(void)state;
	file = in_dir("sub");
	assert_int_equal(mkdir(path, 0700), 0);
	file = in_dir("link");
	assert_int_equal(symlink("file", path), 0);
	file = in_dir("fifo");
	assert_int_equal(mkfifo(path, 0600), 0);
	file = in_dir("file");
	close(open(path, O_CREAT | O_WRONLY, 0600));
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		file = in_dir(cases[i].name);
		assert_true(committer_open(&c, "--x ", &file) < 0);
		assert_memory_equal(logged.last, "--x /tmp", 8);
		expect_log(cases[i].words);
		committer_close(&c);
	}
	memset(name, 'n', sizeof(name));
	name[241] = 0;
	file = in_dir(name);
	assert_int_equal(committer_open(&c, "--x ", &file), -ENAMETOOLONG);
	expect_log("File name too long");
	committer_close(&c);
	/* None of them has left anything. */
	assert_int_equal(files(), 4);
}

static void refuses_fd(int fd, int error, const char *words)
{
	const struct option_file file = { .fd = fd };

	assert_int_equal(committer_open(&c, "--x ", &file), error);
	expect_log(words);
	committer_close(&c);
	assert_int_equal(fcntl(fd, F_GETFD) >= 0, error != -EBADF || fd < 1000);
}

/* The caller's stays open, has no process, and is written where it is. */
static void test_descriptors(void **state)
{
	struct option_file file = { .fd = memfd_create("s", 0) };
	char bytes[4] = "";
	int ends[2], fd;

	(void)state;
	assert_int_equal(committer_open(&c, "--x ", &file), 0);
	assert_int_equal(committer_start(&c, false, &no_hook), 0);
	assert_int_equal(c.channel, -1);
	put("one");
	assert_int_equal(committer_commit(&c, true), 0);
	assert_int_equal(committer_answer(&c), 0);
	assert_int_equal(committer_empty(&c), 0);
	put("two");
	assert_int_equal(committer_commit(&c, false), 0);
	committer_close(&c);
	assert_int_equal(pread(file.fd, bytes, 4, 0), 3);
	assert_string_equal(bytes, "two");
	close(file.fd);

	refuses_fd(5000, -EBADF, "--x fd=5000: no such descriptor is open");
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	refuses_fd(ends[0], -EINVAL, ": it is not a file");
	close(ends[0]);
	close(ends[1]);
	in_dir("s");
	fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	refuses_fd(fd, -EINVAL, ": it is open for appending");
	close(fd);
	fd = open(path, O_RDONLY);
	refuses_fd(fd, -EBADF, ": it is not open for writing");
	close(fd);
	fd = open(path, O_WRONLY);
	refuses_fd(fd, -EBADF, ": it is not open for reading");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		CASE(test_renames_when_told),
		CASE(test_next_file),
		CASE(test_nothing_is_left),
		CASE(test_what_fails_may_be_tried_again),
		CASE(test_directory_that_is_not_synced),
		CASE(test_no_next_file),
		CASE(test_mark),
		CASE(test_committer_that_is_gone),
		CASE(test_committer_that_is_not_locked_in),
		CASE(test_it_has_three_descriptors),
		CASE(test_names),
		CASE(test_what_cannot_be_opened),
		CASE(test_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
