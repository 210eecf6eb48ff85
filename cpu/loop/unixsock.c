/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening unix sockets: taking a path over from a program that is dead, and
 * leaving it as clean as it was.
 *
 * The path is the user's own: what is found there is replaced only if it is a
 * socket that nobody listens on. To remove the file at the end, its directory's
 * descriptor is kept, as the working directory may be another by then, and its
 * inode, so that only this file is removed. The inode is kept open: as long as
 * it is, no other file has its number, not even the socket of the next mote,
 * which replaces that of one that was killed. Once mote is locked in, the
 * broker alone has these descriptors.
 *
 * Trusts the command line. Owns these descriptors. Main thread.
 */
#include "cpu/loop/unixsock.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/loop/file.h"
#include "mem/log.h"

static int unixsock_failed(const struct unixsock *file, int error,
			   const char *mend)
{
	log_error("%s%s: %s%s", file->option, file->path, strerror(error),
		  mend);
	return -error;
}

/*
 * Removes a socket at the path that nobody listens on; any other file there is
 * an error. The broker of a mote that was killed may be removing it, too, so
 * ENOENT is none.
 */
static int unixsock_remove_stale(const struct unixsock *file,
				 const struct sockaddr_un *address)
{
	struct stat status;
	int fd, error = 0;

	if (lstat(file->path, &status) < 0)
		return errno == ENOENT ? 0 : unixsock_failed(file, errno, "");
	if (!S_ISSOCK(status.st_mode))
		return unixsock_failed(file, EEXIST,
				       " and is not a socket; name another");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return unixsock_failed(file, errno, "");
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		error = errno;
	close(fd);
	/* 0 and EAGAIN (its backlog is full): somebody listens. */
	if (error != ECONNREFUSED && error != ENOENT)
		return unixsock_failed(
			file, EADDRINUSE,
			"; another program serves it: name another or "
			"end that one");
	if (unlink(file->path) < 0 && errno != ENOENT)
		return unixsock_failed(file, errno, "; remove it");
	return 0;
}

const char *unixsock_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

void unixsock_directory(const char *path, char dir[UNIXSOCK_PATH_MAX + 1])
{
	const size_t len = (size_t)(unixsock_name(path) - path);

	memcpy(dir, path, len);
	memcpy(dir + len, ".", 2);
}

static int unixsock_bind(const struct unixsock *file, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct sockaddr *any = (const struct sockaddr *)&address;
	int error;

	memcpy(address.sun_path, file->path, strlen(file->path));
	if (!bind(fd, any, sizeof(address)))
		return 0;
	if (errno != EADDRINUSE)
		return unixsock_failed(file, errno, "");
	error = unixsock_remove_stale(file, &address);
	if (!error && bind(fd, any, sizeof(address)) < 0)
		error = unixsock_failed(file, errno, "");
	return error;
}

int unixsock_listen(struct unixsock *file, const char *option, const char *path,
		    int backlog)
{
	char dir[UNIXSOCK_PATH_MAX + 1];
	struct stat status;
	int fd, error;

	*file = (struct unixsock){ option, path, -1, -1, 0, 0 };
	if (strlen(path) >= UNIXSOCK_PATH_MAX)
		return unixsock_failed(file, ENAMETOOLONG,
				       "; 107 bytes at most");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return unixsock_failed(file, errno, "");
	error = unixsock_bind(file, fd);
	if (error) {
		close(fd);
		return error;
	}
	/* Where the socket's file is and which it is, to remove it by. */
	unixsock_directory(path, dir);
	file->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	file->own_fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file->dir_fd >= 0 && !fstat(file->own_fd, &status)) {
		file->dev = status.st_dev;
		file->ino = status.st_ino;
		if (!listen(fd, backlog))
			return fd;
	}
	error = unixsock_failed(file, errno, "");
	close(fd);
	return error;
}

int unixsock_take(const char *option, int fd)
{
	const int flags = file_take(fd, option);
	int domain = 0, type = 0, listens = 0;
	socklen_t len = sizeof(int);
	const char *wrong = NULL;

	if (flags < 0)
		return flags;
	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) ||
	    domain != AF_UNIX || type != SOCK_STREAM)
		wrong = "it is no unix stream socket";
	else if (!listens)
		wrong = "that socket does not listen: bind() and listen() come "
			"first";
	if (wrong) {
		log_error("%sfd=%d: %s", option, fd, wrong);
		return -EINVAL;
	}
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK))
		return log_errno("fcntl of a socket");
	return 0;
}

bool unixsock_is_ours(const struct unixsock *file)
{
	return file->dir_fd >= 0 && file->ino;
}

void unixsock_unlink(const struct unixsock *file)
{
	const char *name;
	struct stat status;

	if (!unixsock_is_ours(file))
		return;
	name = unixsock_name(file->path);
	if (!fstatat(file->dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) &&
	    status.st_dev == file->dev && status.st_ino == file->ino)
		unlinkat(file->dir_fd, name, 0);
}

void unixsock_remove(struct unixsock *file)
{
	unixsock_unlink(file);
	unixsock_forget(file);
}

void unixsock_forget(struct unixsock *file)
{
	if (unixsock_is_ours(file))
		close(file->own_fd);
	if (file->dir_fd >= 0)
		close(file->dir_fd);
	file->dir_fd = -1;
}
