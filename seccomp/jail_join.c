/*
 * What mote joins rather than leaves: a network namespace, for its taps, and a
 * cgroup, for what it uses. Both before anything else is opened.
 *
 * Trusts the command line. Owns nothing. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/jail.h"

#define PATH_BYTES 4096

static int fail(const char *option, const struct option_file *file, int error,
		const char *help)
{
	char room[FILE_NAME_BYTES];

	log_error("--%s %s: %s%s", option, file_name(file, room),
		  strerror(error), help);
	return -error;
}

int jail_join_netns(const struct option_file *netns)
{
	static const struct file_advice advice[] = {
		{ 0, "as root: ip netns add NAME makes /run/netns/NAME" },
	};
	int fd, error = 0;

	if (!file_is_given(netns))
		return 0;
	fd = file_open(netns, "--netns ", O_RDONLY, 0, advice);
	if (fd < 0)
		return fd;
	if (setns(fd, CLONE_NEWNET))
		error = errno;
	close(fd);
	if (error == EPERM)
		return fail("netns", netns, error,
			    "; only root may enter it: have the tap opened "
			    "there, and give --net fd=N");
	if (error)
		return fail("netns", netns, error,
			    "; it is no network namespace");
	return 0;
}

int jail_join_cgroup(const struct option_file *cgroup)
{
	static const struct file_advice advice[] = {
		{ ENOENT, "there is no cgroup: make it with mkdir" },
		{ EBADF, "have its file cgroup.procs opened for that" },
		{ 0, "have it given to your user" },
	};
	struct option_file procs = *cgroup;
	char path[PATH_BYTES];
	struct statfs fs;
	int fd, error = 0;

	if (!file_is_given(cgroup))
		return 0;
	if (cgroup->path) {
		if (snprintf(path, sizeof(path), "%s/cgroup.procs",
			     cgroup->path) >= (int)sizeof(path))
			return fail("cgroup", cgroup, ENAMETOOLONG, "");
		procs.path = path;
	}
	fd = file_open(&procs, "--cgroup ", O_WRONLY, 0, advice);
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &fs))
		error = errno;
	else if (fs.f_type != CGROUP2_SUPER_MAGIC &&
		 fs.f_type != CGROUP_SUPER_MAGIC)
		error = EINVAL;
	/* cgroup.procs, in Documentation/admin-guide/cgroup-v2.rst: 0 is the
	 * process that writes it. */
	if (!error && write(fd, "0", 1) != 1)
		error = errno;
	close(fd);
	if (error == EINVAL)
		return fail("cgroup", cgroup, error,
			    "; it is no cgroup that processes can be in");
	return error ? fail("cgroup", cgroup, error, "") : 0;
}
