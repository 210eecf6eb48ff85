/* SPDX-License-Identifier: Apache-2.0 */
/* uses: seccomp/jail.c seccomp/caps.c cpu/loop/file.c cpu/loop/unixsock.c */
/* uses: mem/log.c */
/*
 * The jail of a walker, without its filter: in a process of its own, as root
 * and as an ordinary user, it reads its tree and nothing else of the host's.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mem/log.h"
#include "seccomp/jail.h"
#include "tests/unit/unit.h"

#define USER 54321

static char top[] = "/tmp/mote-walker-XXXXXX", tree[64];

static void make_file(const char *name, unsigned mode, uid_t owner)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, "text", 4), 4);
	assert_int_equal(fchmod(fd, mode), 0);
	if (!geteuid())
		assert_int_equal(fchown(fd, owner, owner), 0);
	close(fd);
}

static int make_tree(void **state)
{
	char path[128];

	(void)state;
	if (!mkdtemp(top) || chmod(top, 0755))
		return -1;
	snprintf(tree, sizeof(tree), "%s/tree", top);
	if (mkdir(tree, 0700))
		return -1;
	make_file("beside", 0644, USER);
	make_file("tree/file", 0600, USER);
	make_file("tree/another", 0600, USER + 1);
	snprintf(path, sizeof(path), "%s/link", tree);
	if (symlink("/etc/passwd", path))
		return -1;
	return geteuid() ? 0 : chown(tree, USER, USER);
}

static int remove_tree(void **state)
{
	char line[128];

	(void)state;
	snprintf(line, sizeof(line), "rm -rf %s", top);
	return system(line);
}

static bool can_open(int dir, const char *name)
{
	const int fd = openat(dir, name, O_RDONLY | O_NONBLOCK);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* The first promise that does not hold, by its number; 0: all do. */
static int look_around(int fd, bool is_dir, bool root)
{
	char absolute[128];
	int promise = 0;

	snprintf(absolute, sizeof(absolute), "%s/beside", top);
	const bool holds[] = {
		!can_open(AT_FDCWD, "/etc/passwd"),
		!can_open(AT_FDCWD, "/proc/self/status"),
		!can_open(AT_FDCWD, absolute),
		!is_dir || !can_open(fd, "../beside"),
		!is_dir || !can_open(fd, "link"),
		!is_dir || can_open(fd, "file"),
		!is_dir || can_open(fd, "."),
		!is_dir || can_open(fd, "another") == root,
		is_dir || read(fd, absolute, 4) == 4,
		setuid(0) < 0,
		chroot("/") < 0,
	};

	while (promise < (int)(sizeof(holds) / sizeof(*holds)))
		if (!holds[promise++])
			return promise;
	return 0;
}

static int enter_as(uid_t user, const char *name)
{
	const struct jail_options options = { .uid = 65534, .gid = 65534 };
	struct stat status;
	int fd = open(name, O_RDONLY), error;

	if (fd < 0 || fstat(fd, &status))
		return 100;
	if (user && !geteuid() &&
	    (setgroups(0, NULL) || setresgid(user, user, user) ||
	     setresuid(user, user, user)))
		return 101;
	error = jail_enter_walker(&options, fd);
	return error ? 102
		     : look_around(fd, S_ISDIR(status.st_mode),
				   !user && geteuid() == 65534);
}

static void expect_jail(uid_t user, const char *name)
{
	char path[128];
	int status = 0;
	pid_t pid;

	snprintf(path, sizeof(path), "%s%s", tree, name);
	pid = fork();
	if (!pid)
		_exit(enter_as(user, path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_root(void **state)
{
	(void)state;
	if (geteuid())
		skip();
	expect_jail(0, "");
	expect_jail(0, "/file");
}

static void test_user(void **state)
{
	(void)state;
	expect_jail(geteuid() ? geteuid() : USER, "");
	expect_jail(geteuid() ? geteuid() : USER, "/file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root),
		cmocka_unit_test(test_user),
	};

	return cmocka_run_group_tests(tests, make_tree, remove_tree);
}
