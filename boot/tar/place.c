/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the names of a stream are: always below the directory that it is
 * unpacked into. No name has a component "..", and one after the other is
 * opened in the one before. A symbolic link on the way, as /lib of many images
 * is one, is followed only if all of what it leads to is below that directory,
 * too, which is for the kernel to see to (openat2(2), RESOLVE_BENEATH): one
 * that the stream itself has made is not trusted with more. Where that
 * directory is /, so is all that a link may lead to, absolute or not.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>

#include "boot/tar/sys.h"
#include "boot/tar/unpack.h"

#define OPEN_DIR (O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

bool place_clean(char *name, bool *absolute)
{
	char *from = name, *to = name;
	size_t len;

	*absolute = *from == '/';
	while (*from) {
		for (len = 0; from[len] && from[len] != '/'; len++)
			;
		if (len == 2 && from[0] == '.' && from[1] == '.')
			return false;
		if (len && !(len == 1 && *from == '.')) {
			if (to > name)
				*to++ = '/';
			for (size_t i = 0; i < len; i++)
				*to++ = from[i];
		}
		from += len;
		while (*from == '/')
			from++;
	}
	*to = 0;
	return true;
}

/* A link: the directory that it leads to, if that is below. `path`: from
 * dir_fd. */
static long place_follow(const struct unpacker *u, const char *path)
{
	const struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_NO_MAGICLINKS |
			   (u->is_root ? RESOLVE_IN_ROOT : RESOLVE_BENEATH),
	};
	long fd = SYS(openat2, u->dir_fd, path, &how, sizeof(how));

	return fd >= 0 ? fd : -ENOTDIR;
}

/*
 * One component, `name`, whose whole path is `path`: a directory, which is made
 * if there is nothing.
 */
static long place_step(const struct unpacker *u, int in, const char *name,
		       const char *path)
{
	long fd = SYS(openat, in, name, O_PATH | OPEN_DIR);

	if (fd == -ENOENT) {
		fd = SYS(mkdirat, in, name, 0755);
		if (!fd)
			fd = SYS(openat, in, name, O_PATH | OPEN_DIR);
	}
	return fd == -ENOTDIR ? place_follow(u, path) : fd;
}

/* The directory work->dir, all of whose components are directories. */
static long place_walk(struct unpacker *u)
{
	char *path = u->work->dir, *at = path, *end = path, after;
	long fd = u->dir_fd, next;

	while (*end) {
		for (end = at; *end && *end != '/'; end++)
			;
		after = *end;
		*end = 0;
		next = place_step(u, (int)fd, at, path);
		*end = after;
		if (fd != u->dir_fd)
			SYS(close, fd);
		if (next < 0)
			return next;
		fd = next;
		at = end + 1;
	}
	return fd;
}

void place_forget(struct unpacker *u)
{
	if (u->parent >= 0 && u->parent != u->dir_fd)
		SYS(close, u->parent);
	u->parent = -1;
}

/* Most entries are in the same directory as the one before. */
long place_parent(struct unpacker *u, const char *name, const char **base)
{
	size_t len = tar_length(name);
	long fd;

	while (len && name[len] != '/')
		len--;
	*base = name[len] == '/' ? name + len + 1 : name;
	if (u->parent >= 0 && len == u->dir_len &&
	    !memcmp(u->work->dir, name, len))
		return u->parent;
	place_forget(u);
	memcpy(u->work->dir, name, len);
	u->work->dir[len] = 0;
	u->dir_len = len;
	fd = place_walk(u);
	if (fd >= 0)
		u->parent = (int)fd;
	return fd;
}

long place_open_dir(struct unpacker *u, const char *name)
{
	const char *base;
	long parent = place_parent(u, name, &base), fd, path;

	if (parent < 0)
		return parent;
	if (!*name)
		base = ".";
	fd = SYS(openat, parent, base, O_RDONLY | OPEN_DIR);
	if (fd != -ENOTDIR && fd != -ELOOP)
		return fd;
	path = place_follow(u, name);
	if (path < 0)
		return path;
	fd = SYS(openat, path, ".", O_RDONLY | OPEN_DIR);
	SYS(close, path);
	return fd;
}
