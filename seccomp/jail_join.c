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
	if (file->path)
		log_error("--%s %s: %s%s", option, file->path, strerror(error),
			  help);
	else
		log_error("--%s fd=%d: %s%s", option, file->fd, strerror(error),
			  help);
	return -error;
}

int jail_join_netns(const struct option_file *netns)
{
	int fd = netns->fd, error = 0;

	if (netns->path)
		fd = open(netns->path, O_RDONLY | O_CLOEXEC);
	else if (fd < 0)
		return 0;
	if (fd < 0)
		return fail("netns", netns, errno,
			    "; as root: ip netns add NAME makes "
			    "/run/netns/NAME");
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
	char path[PATH_BYTES];
	struct statfs fs;
	int fd = cgroup->fd, error = 0, len;

	if (cgroup->path) {
		len = snprintf(path, sizeof(path), "%s/cgroup.procs",
			       cgroup->path);
		if (len >= (int)sizeof(path))
			return fail("cgroup", cgroup, ENAMETOOLONG, "");
		fd = open(path, O_WRONLY | O_CLOEXEC);
	} else if (fd < 0) {
		return 0;
	}
	if (fd < 0)
		return fail("cgroup", cgroup, errno,
			    errno == ENOENT ? "; there is no cgroup: make it "
					      "with mkdir"
					    : "; have it given to your user");
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
