/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packs a tree: walks it by descriptors, never by path and never through a
 * symbolic link, and writes an entry for all that it finds. See README.md for
 * what that is.
 *
 * It trusts nobody who can write to that tree, even meanwhile: what is opened
 * is looked at once more, nothing is waited for, and a file that becomes
 * shorter or longer is as long in the stream as its header has said. One
 * thread; the caller's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "boot/tar/pack.h"
#include "boot/tar/sys.h"

#define OPEN_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

/* What is to be packed: `name` in the directory `dir`. */
struct subject {
	int dir;
	const char *name;
	int no_follow; /* O_NOFOLLOW, or 0: a link is what it leads to */
	int fd;	       /* of a file or directory that is open; else -1 */
	struct stat status;
};

static void pack_close(int fd)
{
	if (fd >= 0)
		SYS(close, fd);
}

/* -- entries -------------------------------------------------------------- */

static void pack_add_xattrs(struct packer *p, int fd)
{
	/* Nothing that is open has a link's target there. */
	char *names = p->work->link;
	const long len = SYS(flistxattr, fd, names, TAR_NAME_BYTES);

	/* -EOPNOTSUPP: then there are none. */
	for (long at = 0; at < len; at += (long)tar_length(names + at) + 1)
		if (tar_keeps_xattr(names + at))
			head_add_xattr(p, fd, names + at);
}

static struct tar_entry pack_entry(struct packer *p, const struct subject *s,
				   char type)
{
	const struct stat *status = &s->status;
	const bool keep = p->report.options->keep_owner;

	if (s->fd >= 0)
		pack_add_xattrs(p, s->fd);
	return (struct tar_entry){
		.name = p->work->name,
		.type = type,
		.mode = tar_mode(status->st_mode, status->st_uid,
				 status->st_gid, keep),
		.uid = keep ? status->st_uid : 0,
		.gid = keep ? status->st_gid : 0,
		.mtime = status->st_mtim.tv_sec,
		.ns = (uint32_t)status->st_mtim.tv_nsec,
	};
}

static void pack_file(struct packer *p, struct subject *s)
{
	const int64_t size = s->status.st_size;
	struct tar_entry entry = pack_entry(p, s, TAR_FILE);
	unsigned segments = 0;

	entry.size = entry.real_size = size;
	if (s->status.st_blocks < size / TAR_BLOCK) {
		segments = sparse_find(p->work, s->fd, size);
		SYS(lseek, s->fd, 0, SEEK_SET);
	}
	if (segments) {
		entry.sparse = true;
		entry.size = sparse_size(p->work, segments);
	}
	head_write(p, &entry);
	if (segments)
		sparse_write(p, s->fd, segments);
	else
		out_file(p, s->fd, size);
	out_zeros(p, (int64_t)tar_padding(entry.size));
}

static void pack_dir(struct packer *p, struct subject *s)
{
	struct tar_entry entry = pack_entry(p, s, TAR_DIR);

	head_write(p, &entry);
}

static void pack_symlink(struct packer *p, struct subject *s)
{
	char *to = p->work->link;
	const long len =
		SYS(readlinkat, s->dir, s->name, to, TAR_NAME_BYTES - 1);
	struct tar_entry entry = pack_entry(p, s, TAR_SYMLINK);

	if (len < 0) {
		tar_lack(&p->report, "cannot read the symbolic link",
			 entry.name, len);
		return;
	}
	to[len] = 0;
	entry.link = to;
	head_write(p, &entry);
}

static void pack_node(struct packer *p, struct subject *s)
{
	const mode_t mode = s->status.st_mode;
	struct tar_entry entry = pack_entry(p, s, TAR_FIFO);

	if (!S_ISFIFO(mode)) {
		entry.type = S_ISCHR(mode) ? TAR_CHAR : TAR_BLOCK_DEVICE;
		entry.major = tar_major(s->status.st_rdev);
		entry.minor = tar_minor(s->status.st_rdev);
	}
	head_write(p, &entry);
}

/* By S_IFMT: how it is packed; what is not here is left out. */
static const struct {
	mode_t format;
	int open; /* flags, beside OPEN_FLAGS; -1: it is not opened */
	void (*pack)(struct packer *p, struct subject *s);
} kinds[] = {
	{ S_IFREG, 0, pack_file },     { S_IFDIR, O_DIRECTORY, pack_dir },
	{ S_IFLNK, -1, pack_symlink }, { S_IFIFO, -1, pack_node },
	{ S_IFCHR, -1, pack_node },    { S_IFBLK, -1, pack_node },
};

static bool pack_has_links(const struct subject *s)
{
	return s->status.st_nlink > 1 && !S_ISDIR(s->status.st_mode);
}

/* A second name of what was packed already; false: pack it. */
static bool pack_hard_link(struct packer *p, const struct subject *s)
{
	char *first = links_find(p->work, &s->status);
	struct tar_entry entry;

	if (!first)
		return false;
	entry = pack_entry(p, s, TAR_LINK);
	entry.link = first;
	head_write(p, &entry);
	return true;
}

/*
 * Opens what a look has found. Something else may be there by now: a device is
 * never read from, as it would be for ever, or would do something.
 */
static long pack_open(struct subject *s, int flags)
{
	const mode_t format = s->status.st_mode & S_IFMT;
	long result =
		SYS(openat, s->dir, s->name, OPEN_FLAGS | s->no_follow | flags);

	if (result < 0)
		return result;
	s->fd = (int)result;
	result = SYS(fstat, s->fd, &s->status);
	if (!result && (s->status.st_mode & S_IFMT) != format)
		result = -ESTALE;
	return result;
}

/*
 * One entry, named work->name; of a directory without what is in it. False: it
 * was left out. A file or directory is open afterwards.
 */
static bool pack_one(struct packer *p, struct subject *s)
{
	const char *name = p->work->name;
	unsigned i = 0;
	long error = 0;

	while (kinds[i].format != (s->status.st_mode & S_IFMT))
		if (++i == sizeof(kinds) / sizeof(*kinds)) {
			tar_warn(&p->report, "a socket is left out", name, 0);
			return false;
		}
	if (pack_has_links(s) && pack_hard_link(p, s))
		return true;
	if (kinds[i].open >= 0 && s->fd < 0)
		error = pack_open(s, kinds[i].open);
	if (error)
		tar_lack(&p->report, "cannot open", name, error);
	/* A directory that cannot be read is one all the same. */
	if (error && kinds[i].format != S_IFDIR)
		return false;
	kinds[i].pack(p, s);
	if (pack_has_links(s) && !links_keep(p->work, &s->status, name))
		tar_warn(&p->report,
			 "too many hard links: it may be packed twice", name,
			 0);
	return true;
}

/* -- the walk ------------------------------------------------------------- */

#define KERNELS_OWN "the kernel's own: what is in it is left out"

/* These have no end (/proc/kcore), or do something when they are read. */
static bool is_kernel_fs(int fd)
{
	static const long magics[] = {
		PROC_SUPER_MAGIC,    SYSFS_MAGIC,	 CGROUP_SUPER_MAGIC,
		CGROUP2_SUPER_MAGIC, DEVPTS_SUPER_MAGIC, DEBUGFS_MAGIC,
		TRACEFS_MAGIC,	     SECURITYFS_MAGIC,	 BPF_FS_MAGIC,
		PSTOREFS_MAGIC,	     EFIVARFS_MAGIC,	 BINFMTFS_MAGIC,
		SELINUX_MAGIC,	     0x62656570, /* configfs */
		0x65735543,			 /* fusectl */
	};
	struct statfs status = { .f_type = 0 };

	if (SYS(fstatfs, fd, &status))
		return false;
	for (size_t i = 0; i < sizeof(magics) / sizeof(*magics); i++)
		if ((unsigned long)status.f_type == (unsigned long)magics[i])
			return true;
	return false;
}

/* work->name becomes what it was, `len` bytes, and a name behind it. */
static bool name_append(struct packer *p, size_t len, const char *name)
{
	const size_t more = tar_length(name);

	/* and a slash, where it is a directory */
	if (len + more + 2 > TAR_NAME_BYTES)
		return false;
	memcpy(p->work->name + len, name, more + 1);
	p->name_len = len + more;
	return true;
}

/* The next name in a directory; NULL: that was all. */
static const char *level_next(struct packer *p, struct tar_level *level)
{
	/* struct linux_dirent64: d_reclen at 16, d_name at 19 */
	const char *entry, *name;
	uint16_t len;

	for (;;) {
		if (level->at >= level->end) {
			level->at = 0;
			level->end = SYS(getdents64, level->fd, level->entries,
					 sizeof(level->entries));
			if (level->end < 0)
				tar_lack(&p->report,
					 "cannot read the directory",
					 p->work->name, level->end);
			if (level->end <= 0)
				return NULL;
		}
		entry = (const char *)level->entries + level->at;
		memcpy(&len, entry + 16, sizeof(len));
		level->at += len;
		name = entry + 19;
		if (name[0] != '.' || (name[1] && (name[1] != '.' || name[2])))
			return name;
	}
}

/* Goes down into a directory that is open. */
static void level_enter(struct packer *p, unsigned depth,
			const struct subject *s)
{
	struct tar_level *level = &p->work->level[depth];

	level->fd = s->fd;
	level->dev = s->status.st_dev;
	level->at = level->end = 0;
	level->name_len = p->name_len;
}

/* An entry of a directory. True: it is one itself, and to be entered. */
static bool pack_child(struct packer *p, unsigned depth, struct subject *s)
{
	const struct tar_level *level = &p->work->level[depth];
	const char *why = NULL;
	long error;

	if (!name_append(p, level->name_len, s->name)) {
		tar_lack(&p->report, "its path is too long", s->name, 0);
		return false;
	}
	error = SYS(newfstatat, s->dir, s->name, &s->status,
		    AT_SYMLINK_NOFOLLOW);
	if (error) {
		tar_lack(&p->report, "cannot look at it", p->work->name, error);
		return false;
	}
	if (S_ISDIR(s->status.st_mode))
		name_append(p, p->name_len, "/");
	if (!pack_one(p, s) || !S_ISDIR(s->status.st_mode) || s->fd < 0)
		return false;
	if (depth + 1 == TAR_LEVELS_MAX) {
		p->report.incomplete = true;
		why = "too deep: what is in it is left out";
	} else if (s->status.st_dev != level->dev && is_kernel_fs(s->fd)) {
		why = KERNELS_OWN;
	}
	if (why)
		tar_warn(&p->report, why, p->work->name, 0);
	return !why;
}

/* All that is in a directory, which is open and is closed. */
static void pack_tree(struct packer *p, const struct subject *top)
{
	struct tar_level *level = p->work->level;
	unsigned depth = 0;

	level_enter(p, 0, top);
	for (;;) {
		struct subject s = { .no_follow = O_NOFOLLOW, .fd = -1 };

		p->name_len = level[depth].name_len;
		p->work->name[p->name_len] = 0;
		s.dir = level[depth].fd;
		s.name = p->error ? NULL : level_next(p, &level[depth]);
		if (!s.name) {
			SYS(close, s.dir);
			if (!depth--)
				return;
		} else if (pack_child(p, depth, &s)) {
			level_enter(p, ++depth, &s);
		} else {
			pack_close(s.fd);
		}
	}
}

/* The last component, without slashes behind it. */
static bool name_base(struct packer *p, const char *path)
{
	size_t end = tar_length(path), at;

	while (end && path[end - 1] == '/')
		end--;
	for (at = end; at && path[at - 1] != '/'; at--)
		;
	if (!name_append(p, 0, path + at))
		return false;
	p->name_len = end - at;
	p->work->name[p->name_len] = 0;
	return true;
}

/* All of the stream; closes what is open. */
static long pack_subject(struct packer *p, struct subject *s)
{
	bool enters;

	links_begin(p->work);
	enters = pack_one(p, s) && S_ISDIR(s->status.st_mode) && s->fd >= 0;
	if (enters && is_kernel_fs(s->fd)) {
		tar_warn(&p->report, KERNELS_OWN, p->work->name, 0);
		enters = false;
	}
	if (enters)
		pack_tree(p, s);
	else
		pack_close(s->fd);
	out_zeros(p, 2 * (int64_t)TAR_BLOCK);
	out_flush(p);
	return p->error ? p->error : p->report.incomplete ? TAR_INCOMPLETE : 0;
}

long tar_pack(int dir_fd, const char *path, const struct tar_options *options,
	      tar_write *write, void *arg)
{
	struct packer p = { .report = { .options = options },
			    .work = options->work,
			    .write = write,
			    .arg = arg };
	struct subject s = { .dir = dir_fd, .name = path, .fd = -1 };
	long error = SYS(newfstatat, dir_fd, path, &s.status, 0);
	const bool dir = S_ISDIR(s.status.st_mode);

	if (error)
		return error;
	if (!(dir ? name_append(&p, 0, "./") : name_base(&p, path)))
		return -ENAMETOOLONG;
	/* Here it may fail as a whole, before anything is written. */
	if (dir || S_ISREG(s.status.st_mode)) {
		error = pack_open(&s, dir ? O_DIRECTORY : 0);
		if (error) {
			pack_close(s.fd);
			return error;
		}
	}
	return pack_subject(&p, &s);
}

long tar_pack_file(int fd, const char *name, const struct tar_options *options,
		   tar_write *write, void *arg)
{
	struct packer p = { .report = { .options = options },
			    .work = options->work,
			    .write = write,
			    .arg = arg };
	struct subject s = { .dir = -1, .name = name, .fd = fd };
	const long error = SYS(fstat, fd, &s.status);

	if (error)
		return error;
	return name_base(&p, name) ? pack_subject(&p, &s) : -ENAMETOOLONG;
}
