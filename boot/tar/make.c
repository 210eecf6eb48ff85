/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An entry of a stream becomes a file. What is there by its name already is
 * removed first, as tar does, but for directories: they stay, as symbolic links
 * to one do. What has become of a name in between does not matter: nothing is
 * opened that was not made just then.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "boot/tar/sys.h"
#include "boot/tar/unpack.h"

/* -- owners, modes, times ------------------------------------------------- */

static void make_xattrs(struct unpacker *u, int fd, const char *name)
{
	static const char prefix[] = TAR_XATTR_PREFIX;
	const size_t len = sizeof(prefix) - 1;
	char *at = u->work->pax, *end = at + u->pax_len;
	struct pax_record record;
	long error;

	while (records_next(&at, end, &record) > 0) {
		if (tar_length(record.key) <= len ||
		    memcmp(record.key, prefix, len) != 0 ||
		    !tar_keeps_xattr(record.key + len))
			continue;
		error = SYS(fsetxattr, fd, record.key + len, record.value,
			    record.len, 0);
		if (!error || u->once & ONCE_XATTR)
			continue;
		u->once |= ONCE_XATTR;
		tar_warn(&u->report,
			 "cannot set extended attributes, here for one", name,
			 error);
	}
}

/* 32 bits, of which the largest is nobody's. */
static bool make_is_id(int64_t id)
{
	return id >= 0 && id < UINT32_MAX;
}

/* `path`: in `fd`, a link not being followed; or "" for fd itself. */
static long make_own(const struct unpacker *u, const struct tar_entry *entry,
		     int fd, const char *path)
{
	if (!u->report.options->keep_owner)
		return 0;
	if (!make_is_id(entry->uid) || !make_is_id(entry->gid))
		return -EINVAL;
	return SYS(fchownat, fd, path, entry->uid, entry->gid,
		   AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
}

/* `path`: in `fd`; NULL: fd itself. */
static long make_time(int fd, const char *path, int64_t seconds, uint32_t ns)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT },
		{ .tv_sec = seconds, .tv_nsec = (long)ns },
	};

	return SYS(utimensat, fd, path, times, path ? AT_SYMLINK_NOFOLLOW : 0);
}

static uint32_t make_mode(const struct unpacker *u,
			  const struct tar_entry *entry)
{
	return tar_mode(entry->mode, entry->uid, entry->gid,
			u->report.options->keep_owner);
}

/* A change of owner takes setuid and capabilities away, so it comes first. */
static long make_settle(struct unpacker *u, const struct tar_entry *entry,
			int fd, uint32_t mode)
{
	long error = make_own(u, entry, fd, "");

	make_xattrs(u, fd, entry->name);
	if (!error)
		error = SYS(fchmod, fd, mode);
	return error;
}

/* -- files ---------------------------------------------------------------- */

static long make_write(int fd, const char *data, size_t len)
{
	while (len) {
		long n = SYS(write, fd, data, len);

		if (n == -EINTR)
			continue;
		if (n <= 0)
			return n ? n : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static long make_data(struct unpacker *u, int fd, int64_t len)
{
	const char *data;
	long n, error;

	for (; len; len -= n) {
		n = in_data(u, len, &data);
		if (n <= 0)
			return n ? n : -EBADMSG; /* not as long as its map */
		error = make_write(fd, data, (size_t)n);
		if (error)
			return error;
	}
	return 0;
}

/* A line of a sparse file's map; *used: bytes of the map. */
static long map_number(struct unpacker *u, int64_t *number, int64_t *used)
{
	const char *byte;
	long n;

	for (*number = 0;; *number += *byte - '0') {
		n = in_data(u, 1, &byte);
		if (n <= 0)
			return n ? n : -EBADMSG;
		++*used;
		if (*byte == '\n')
			return 0;
		if (*byte < '0' || *byte > '9' ||
		    *number > (INT64_MAX - 9) / 10)
			return -EBADMSG;
		*number *= 10;
	}
}

/* Reads it into work->segment: how many, or -errno. */
static long map_read(struct unpacker *u, int64_t size)
{
	struct tar_segment *segment = u->work->segment;
	char padding[TAR_BLOCK];
	int64_t count, used = 0, end = 0;
	long error = map_number(u, &count, &used);

	if (!error && count > TAR_SEGMENTS_MAX)
		error = -EFBIG;
	for (int64_t i = 0; !error && i < count; i++, segment++) {
		error = map_number(u, &segment->at, &used);
		if (!error)
			error = map_number(u, &segment->len, &used);
		if (error)
			break;
		if (segment->at < end || segment->at > size ||
		    segment->len > size - segment->at)
			return -EBADMSG;
		end = segment->at + segment->len;
	}
	if (!error)
		error = in_copy(u, padding, tar_padding(used));
	return error ? error : (long)count;
}

static long make_sparse(struct unpacker *u, int fd, int64_t size)
{
	const struct tar_segment *segment = u->work->segment;
	const long count = map_read(u, size);
	long error = count < 0 ? count : 0;

	for (long i = 0; !error && i < count; i++) {
		error = SYS(lseek, fd, segment[i].at, SEEK_SET);
		if (error >= 0)
			error = make_data(u, fd, segment[i].len);
	}
	return error ? error : SYS(ftruncate, fd, size);
}

static long make_file(struct unpacker *u, const struct tar_entry *entry,
		      int parent, const char *base)
{
	const long fd = SYS(openat, parent, base,
			    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	long error;

	if (fd < 0)
		return fd;
	error = entry->sparse ? make_sparse(u, (int)fd, entry->real_size)
			      : make_data(u, (int)fd, entry->size);
	if (error) {
		SYS(unlinkat, parent, base, 0); /* half of it is no use */
	} else {
		error = make_settle(u, entry, (int)fd, make_mode(u, entry));
		make_time((int)fd, NULL, entry->mtime, entry->ns);
	}
	SYS(close, fd);
	return error;
}

/* -- links, devices ------------------------------------------------------- */

static long make_symlink(struct unpacker *u, const struct tar_entry *entry,
			 int parent, const char *base)
{
	const long error = SYS(symlinkat, entry->link, parent, base);

	if (error)
		return error;
	make_time(parent, base, entry->mtime, entry->ns);
	return make_own(u, entry, parent, base);
}

static long make_node(struct unpacker *u, const struct tar_entry *entry,
		      int parent, const char *base)
{
	const mode_t format = entry->type == TAR_FIFO	? S_IFIFO
			      : entry->type == TAR_CHAR ? S_IFCHR
							: S_IFBLK;
	const uint64_t device = tar_device(entry->major, entry->minor);
	long error;

	if (tar_major(device) != entry->major ||
	    tar_minor(device) != entry->minor)
		return -EINVAL; /* no such device in Linux */
	error = SYS(mknodat, parent, base, format | make_mode(u, entry),
		    device);
	if (error)
		return error;
	make_time(parent, base, entry->mtime, entry->ns);
	return make_own(u, entry, parent, base);
}

/* What is in the way, if it can be removed: no directory with files in it. */
static long make_way(int parent, const char *base)
{
	long error = SYS(unlinkat, parent, base, 0);

	if (error == -EISDIR)
		error = SYS(unlinkat, parent, base, AT_REMOVEDIR);
	return error;
}

static bool is_one_file(int a_dir, const char *a, int b_dir, const char *b)
{
	struct stat one = { .st_ino = 0 }, two = one;

	return !SYS(newfstatat, a_dir, a, &one, AT_SYMLINK_NOFOLLOW) &&
	       !SYS(newfstatat, b_dir, b, &two, AT_SYMLINK_NOFOLLOW) &&
	       one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

/* Hard, to what is below the directory, too. */
static long make_link(struct unpacker *u, const struct tar_entry *entry)
{
	const char *base, *to_base;
	bool absolute;
	long to, parent, error;

	if (!place_clean(entry->link, &absolute) || !*entry->link)
		return -EXDEV;
	to = place_parent(u, entry->link, &to_base);
	if (to < 0)
		return to;
	u->parent = -1; /* it is held on to here */
	error = parent = place_parent(u, entry->name, &base);
	if (parent >= 0) {
		error = SYS(linkat, to, to_base, parent, base, 0);
		if (error == -EEXIST &&
		    is_one_file((int)to, to_base, (int)parent, base))
			error = 0;
		if (error == -EEXIST && !make_way((int)parent, base))
			error = SYS(linkat, to, to_base, parent, base, 0);
	}
	if (to != u->dir_fd)
		SYS(close, to);
	return error;
}

/* -- directories ---------------------------------------------------------- */

void make_finish(struct unpacker *u)
{
	struct tar_work *work = u->work;

	while (work->kept_count) {
		const struct tar_kept_dir *dir =
			&work->kept.dir[--work->kept_count];
		const long fd = place_open_dir(u, work->kept_names + dir->name);

		if (fd < 0)
			continue; /* the stream has put something else there */
		SYS(fchmod, fd, dir->mode);
		make_time((int)fd, NULL, dir->mtime, dir->ns);
		SYS(close, fd);
	}
	work->kept_used = 0;
}

/*
 * Where there is no more room, those that are known get theirs at once: what
 * comes into them later changes their times.
 */
static void make_keep_dir(struct unpacker *u, const struct tar_entry *entry)
{
	struct tar_work *work = u->work;
	const size_t len = tar_length(entry->name) + 1;

	if (work->kept_count == TAR_KEPT_MAX ||
	    len > TAR_KEPT_NAMES - work->kept_used)
		make_finish(u);
	work->kept.dir[work->kept_count++] = (struct tar_kept_dir){
		.mtime = entry->mtime,
		.ns = entry->ns,
		.mode = make_mode(u, entry),
		.name = (uint32_t)work->kept_used,
	};
	memcpy(work->kept_names + work->kept_used, entry->name, len);
	work->kept_used += len;
}

static long make_dir(struct unpacker *u, const struct tar_entry *entry)
{
	const char *base;
	const long parent = place_parent(u, entry->name, &base);
	long fd, error = parent < 0 ? parent : 0;

	/* A guest's / does not become what the user's directory is. */
	if (!*entry->name && u->is_root)
		return 0;
	if (!error && *base)
		error = SYS(mkdirat, parent, base, 0700);
	if (error && error != -EEXIST)
		return error;
	fd = place_open_dir(u, entry->name);
	if (fd == -ENOTDIR && error && !make_way((int)parent, base)) {
		error = SYS(mkdirat, parent, base, 0700);
		fd = error ? error : place_open_dir(u, entry->name);
	}
	if (fd < 0)
		return fd;
	/* Until all is in it, its owner may write to it. */
	error = make_settle(u, entry, (int)fd, make_mode(u, entry) | 0700);
	SYS(close, fd);
	make_keep_dir(u, entry);
	return error;
}

/* -- entries -------------------------------------------------------------- */

static long make_new(struct unpacker *u, const struct tar_entry *entry,
		     int parent, const char *base)
{
	switch (entry->type) {
	case TAR_FILE:
		return make_file(u, entry, parent, base);
	case TAR_SYMLINK:
		return make_symlink(u, entry, parent, base);
	default:
		return make_node(u, entry, parent, base);
	}
}

long make_entry(struct unpacker *u, const struct tar_entry *entry)
{
	const char *base;
	long parent, error;

	if (entry->type == TAR_DIR)
		return make_dir(u, entry);
	if (!*entry->name)
		return -EISDIR;
	if (entry->type == TAR_LINK)
		return make_link(u, entry);
	parent = place_parent(u, entry->name, &base);
	if (parent < 0)
		return parent;
	error = make_new(u, entry, (int)parent, base);
	if (error == -EEXIST) {
		error = make_way((int)parent, base);
		if (!error)
			error = make_new(u, entry, (int)parent, base);
	}
	return error;
}
