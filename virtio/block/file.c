/*
 * Opens a disk's file on the host.
 *
 * A disk that two writers have open is soon broken, so the file is locked
 * (flock: shared for readers, exclusive for a writer), and a block device that
 * the host has mounted is not written to (O_EXCL). Both hang on a descriptor of
 * their own: the data's stays open in the kernel for a while when a process
 * with an io_uring ends, and nobody could start the next one.
 *
 * The file is opened without waiting, since a FIFO would wait for ever, but
 * O_NONBLOCK must not stay: io_uring then answers EAGAIN instead of waiting.
 *
 * The path is the user's; what the file holds is judged by the guest. Main
 * thread, before the sandbox closes in.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"
#include "virtio/block/overlay.h"

#define SECTOR 512u

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static bool writes(const struct block_options *o)
{
	return !o->ro && !o->ephemeral;
}

/* The options' file, or the descriptor as its owner has opened it. */
static int open_disk(const struct block_options *o)
{
	const char *no_right = "`ro` or `ephemeral` needs no right to write";
	const char *no_direct = "its file system has no O_DIRECT: leave "
				"`direct` out";
	const char *one_way = "add `ro` or `ephemeral`, or open it for both "
			      "(in a shell: 3<>disk.img)";
	const struct file_advice advice[] = {
		{ EACCES, writes(o) ? no_right : NULL },
		{ EROFS, writes(o) ? no_right : NULL },
		{ EPERM, writes(o) ? no_right : NULL },
		{ EBADF, writes(o) ? one_way : NULL },
		{ EINVAL, o->direct ? no_direct : NULL },
		{ EISDIR, "make an image of it: mke2fs -d DIRECTORY" },
		{ 0, NULL },
	};
	int fd = file_open(&o->file, "--disk ",
			   O_NONBLOCK | (writes(o) ? O_RDWR : O_RDONLY) |
				   (o->direct ? O_DIRECT : 0),
			   0, advice);
	int flags;

	if (fd < 0 || o->file.path)
		return fd;
	flags = fcntl(fd, F_GETFL);
	if (flags & O_APPEND) {
		log_error("--disk fd=%d: it is open for appending, where every "
			  "write goes to the end; open it without (in a "
			  "shell: 3<>disk.img)",
			  fd);
		return -EBADF;
	}
	if (o->direct && fcntl(fd, F_SETFL, flags | O_DIRECT)) {
		log_error("--disk fd=%d: it has no O_DIRECT; leave `direct` "
			  "out",
			  fd);
		return -EINVAL;
	}
	return fd;
}

/* The same file once more, without O_DIRECT; -1 where that cannot be. */
static int open_again(const struct block_backing *b,
		      const struct block_options *o, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	return open(path, O_CLOEXEC | (writes(o) ? O_RDWR : O_RDONLY) | flags);
}

static int measure_device(struct block_backing *b)
{
	int logical = 0;
	unsigned physical = 0;

	if (ioctl(b->fd, BLKGETSIZE64, &b->size) ||
	    ioctl(b->fd, BLKSSZGET, &logical) ||
	    ioctl(b->fd, BLKPBSZGET, &physical))
		return -errno;
	b->logical = (uint32_t)logical;
	b->physical = physical;
	b->is_device = true;
	return 0;
}

static const char *kind_of(mode_t mode)
{
	return S_ISDIR(mode) ? "a directory (make an image of it: mke2fs -d)"
			     : "not a file";
}

static int measure(struct block_backing *b)
{
	struct stat st;
	int error = fstat(b->fd, &st) ? -errno : 0;

	b->logical = SECTOR;
	b->physical = 4096;
	if (!error && S_ISBLK(st.st_mode)) {
		error = measure_device(b);
	} else if (!error && S_ISREG(st.st_mode)) {
		b->size = (uint64_t)st.st_size;
	} else if (!error) {
		log_error("%s: it is %s; a disk is a raw image file or a block "
			  "device",
			  b->name, kind_of(st.st_mode));
		return -EINVAL;
	}
	if (error) {
		log_error("%s: cannot be measured: %s", b->name,
			  strerror(-error));
		return error;
	}
	if (b->size < SECTOR) {
		log_error("%s: it is empty; give it a size first, as with "
			  "truncate -s 1G",
			  b->name);
		return -EINVAL;
	}
	if (b->size % SECTOR)
		log_warn("%s: its last %u bytes are no whole sector of 512; "
			 "the guest does not see them",
			 b->name, (unsigned)(b->size % SECTOR));
	b->size -= b->size % SECTOR;
	return 0;
}

static int lock(struct block_backing *b, const struct block_options *o)
{
	const char *trouble = writes(o) ? "another process, or another --disk, "
					  "has it open as a disk; stop that "
					  "one, or share the image with `ro` "
					  "or `ephemeral`"
					: "another process, or another --disk, "
					  "has it open for writing; stop that "
					  "one, or copy the image";

	/* O_EXCL: of block devices (open(2)); it means nothing for files. */
	b->lock_fd = open_again(b, o, O_NONBLOCK | (writes(o) ? O_EXCL : 0));
	if (b->lock_fd < 0 && errno == EBUSY)
		trouble = "the host has it mounted, or another program has it; "
			  "unmount it, or use `ro` or `ephemeral`";
	else if (!flock(b->lock_fd >= 0 ? b->lock_fd : b->fd,
			(writes(o) ? LOCK_EX : LOCK_SH) | LOCK_NB) ||
		 errno != EWOULDBLOCK)
		return 0; /* other errors: a file system without locks */
	log_error("%s: %s", b->name, trouble);
	return -EBUSY;
}

/* For what the guest does not align. */
static int open_buffered(struct block_backing *b, const struct block_options *o)
{
	int error;

	b->buffered_fd = open_again(b, o, 0);
	if (b->buffered_fd >= 0)
		return 0;
	error = errno;
	log_error("%s: with `direct` (O_DIRECT) mote also has to open it "
		  "without, as /proc/self/fd/%d: %s",
		  b->name, b->fd, strerror(error));
	return -error;
}

/* A qcow2 given as raw would show its own format to the guest. */
static void warn_format(const struct block_backing *b)
{
	char magic[4];

	if (pread(b->fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	    !memcmp(magic, "QFI\xfb", sizeof(magic)))
		log_warn("%s: it looks like qcow2, and the guest will see it "
			 "raw; convert it: qemu-img convert -O raw",
			 b->name);
}

static int prepare(struct block_backing *b, const struct block_options *o)
{
	int error = measure(b), flags, overlay;

	if (!error)
		error = lock(b, o);
	if (error)
		return error;
	flags = fcntl(b->fd, F_GETFL);
	if (flags & O_NONBLOCK)
		fcntl(b->fd, F_SETFL, flags & ~O_NONBLOCK);
	if (flags & O_DIRECT)
		error = open_buffered(b, o);
	else
		warn_format(b);
	if (error)
		return error;
	if (!b->ephemeral)
		return 0;
	overlay = overlay_open(b->name, b->size);
	if (overlay < 0)
		return overlay;
	b->overlay_fd = overlay;
	return 0;
}

void block_close(const struct block_backing *b)
{
	const int fds[] = { b->lock_fd, b->fd, b->buffered_fd, b->overlay_fd };

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int block_open(struct block_backing *b, const struct block_options *o,
	       unsigned index)
{
	int error;

	*b = (struct block_backing){
		.fd = -1,
		.buffered_fd = -1,
		.lock_fd = -1,
		.overlay_fd = -1,
		.ro = o->ro,
		.ephemeral = o->ephemeral && !o->ro,
		.index = index,
	};
	if (o->file.path)
		snprintf(b->name, sizeof(b->name), "disk %u (%s)", index,
			 base_name(o->file.path));
	else
		snprintf(b->name, sizeof(b->name), "disk %u (fd=%d)", index,
			 o->file.fd);
	b->fd = open_disk(o);
	error = b->fd < 0 ? b->fd : prepare(b, o);
	if (error) {
		block_close(b);
		b->fd = -1;
	}
	return error;
}
