/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens what the user names, in one way for all options.
 *
 * An error of open(2) is explained by what is usual of the option at hand and,
 * where that says nothing, by what is usual of any file. Trusts the user, who
 * may name anything that he can open. Owns nothing: the descriptor is the
 * caller's. The main thread runs it, before the sandbox closes in.
 */
#include "cpu/loop/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

static const struct file_advice common_advice[] = {
	{ ENOENT, "check the path" },
	{ EACCES, "change its mode, or have it opened for mote and give fd=N" },
	{ ENXIO, "a FIFO needs its reader first" },
	{ 0, NULL },
};

static const char *find_advice(const struct file_advice *advice, int error)
{
	while (advice->error && advice->error != error)
		advice++;
	return advice->mend;
}

const char *file_name(const struct option_file *file,
		      char room[FILE_NAME_BYTES])
{
	if (file->path)
		return file->path;
	snprintf(room, FILE_NAME_BYTES, "fd=%d", file->fd);
	return room;
}

int file_path_fd(const char *path)
{
	static const char *const names[] = { "/dev/stdin", "/dev/stdout",
					     "/dev/stderr" };
	static const char *const directories[] = { "/dev/fd/",
						   "/proc/self/fd/" };
	long fd = 0;

	for (int i = 0; i < (int)ARRAY_LEN(names); i++)
		if (!strcmp(path, names[i]))
			return i;
	for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
		const size_t len = strlen(directories[i]);

		if (strncmp(path, directories[i], len) != 0)
			continue;
		path += len;
		while (*path >= '0' && *path <= '9' && fd < INT_MAX / 10)
			fd = fd * 10 + *path++ - '0';
		return *path || path[-1] == '/' ? -1 : (int)fd;
	}
	return -1;
}

int file_take(int fd, const char *option)
{
	const int flags = fcntl(fd, F_GETFL);

	/* O_PATH is open for nothing that a user of mote may want of it. */
	if (flags >= 0 && !(flags & O_PATH) && !fcntl(fd, F_SETFD, FD_CLOEXEC))
		return flags;
	log_error("%sfd=%d: no such descriptor is open; whoever starts mote "
		  "must leave it open",
		  option, fd);
	return -EBADF;
}

static int take_for_access(int fd, const char *option, int wanted,
			   const struct file_advice *advice)
{
	const int flags = file_take(fd, option), has = flags & O_ACCMODE;
	const char *lacks = NULL, *mend;

	if (flags < 0)
		return flags;
	if (wanted != O_RDONLY && has == O_RDONLY)
		lacks = "writing";
	if (wanted != O_WRONLY && has == O_WRONLY)
		lacks = "reading";
	if (!lacks)
		return fd;
	mend = advice ? find_advice(advice, EBADF) : NULL;
	log_error("%sfd=%d: it is not open for %s%s%s", option, fd, lacks,
		  mend ? "; " : "", mend ? mend : "");
	return -EBADF;
}

int file_open(const struct option_file *file, const char *option, int flags,
	      mode_t mode, const struct file_advice *advice)
{
	const char *mend = NULL, *limit;
	int fd, error;

	if (!file->path)
		return take_for_access(file->fd, option, flags & O_ACCMODE,
				       advice);
	fd = open(file->path, flags | O_CLOEXEC | O_NOCTTY, mode);
	if (fd >= 0)
		return fd;
	error = errno;
	limit = log_advice(error);
	if (advice && !*limit)
		mend = find_advice(advice, error);
	if (!mend && !*limit)
		mend = find_advice(common_advice, error);
	log_error("cannot open %s%s: %s%s%s%s", option, file->path,
		  strerror(error), limit, mend ? "; " : "", mend ? mend : "");
	return -error;
}

/*
 * close_range(2) is of Linux 5.9. Older ones have no more descriptors than
 * 2^20, unless they were told to (fs.nr_open, Documentation/admin-guide/sysctl/
 * fs.rst), and trying these takes a tenth of a second.
 */
#define OLD_FDS_MAX (1U << 20)

void file_close_between(unsigned first, unsigned last)
{
	if (first > last || !syscall(SYS_close_range, first, last, 0))
		return;
	for (; first < OLD_FDS_MAX && first <= last; first++)
		close((int)first);
}
