/*
 * Opens a disk's file on the host.
 *
 * A disk that two writers have open is soon broken, so the file is locked
 * (flock: shared for readers, exclusive for a writer); the lock goes with the
 * process. The path is the user's; what the file holds is judged by the guest.
 * Main thread, before the sandbox closes in.
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

#include "mem/bytes.h"
#include "mem/log.h"
#include "virtio/block.h"

#define SECTOR 512u

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

static int open_path(const char *path, const struct block_options *o)
{
	int flags = O_CLOEXEC | O_NOCTTY | O_NONBLOCK |
		    (o->ro || o->ephemeral ? O_RDONLY : O_RDWR) |
		    (o->direct ? O_DIRECT : 0);
	int fd = open(path, flags), error = errno;

	if (fd >= 0)
		return fd;
	log_error("cannot open --disk %s: %s%s", path, strerror(error),
		  error == EACCES || error == EROFS
			  ? "; `ro` or `ephemeral` needs no right to write"
		  : error == EINVAL && o->direct
			  ? "; its file system has no O_DIRECT: leave `direct` "
			    "out"
		  : error == EISDIR
			  ? "; make an image of it: mke2fs -d DIRECTORY"
			  : "");
	return -error;
}

static int take_fd(int fd, const struct block_options *o)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC)) {
		log_error("--disk fd=%d: no such descriptor is open; whoever "
			  "starts mote must leave it open",
			  fd);
		return -EBADF;
	}
	if ((flags & O_ACCMODE) != O_RDWR && !o->ro && !o->ephemeral) {
		log_error("--disk fd=%d: it is not open for reading and "
			  "writing; add `ro` or `ephemeral`",
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

static int measure(struct block_backing *b, bool direct)
{
	struct stat st;
	int error = fstat(b->fd, &st) ? -errno : 0;

	b->logical = SECTOR;
	b->physical = 4096;
	if (!error && S_ISBLK(st.st_mode)) {
		error = measure_device(b);
	} else if (!error && S_ISREG(st.st_mode)) {
		b->size = (uint64_t)st.st_size;
		/* a file's O_DIRECT wants its device's blocks: 4096 is safe */
		if (direct && b->size % 4096 == 0)
			b->logical = 4096;
	} else if (!error) {
		log_error("%s: it is %s; a disk is a raw image file or a block "
			  "device",
			  b->name,
			  S_ISDIR(st.st_mode) ? "a directory (make an image "
						"of it: mke2fs -d)"
					      : "not a file");
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

static int lock(const struct block_backing *b)
{
	bool shared = b->ro || b->ephemeral;

	if (!flock(b->fd, (shared ? LOCK_SH : LOCK_EX) | LOCK_NB))
		return 0;
	if (errno != EWOULDBLOCK)
		return 0; /* a file system without locks */
	log_error("%s: another process has it open %s; stop that one, or "
		  "%s",
		  b->name, shared ? "for writing" : "as a disk",
		  shared ? "copy the image"
			 : "share the image with `ro` or `ephemeral`");
	return -EBUSY;
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

int block_open(struct block_backing *b, const struct block_options *o,
	       unsigned index)
{
	int error;

	*b = (struct block_backing){
		.fd = -1,
		.ro = o->ro,
		.ephemeral = o->ephemeral,
	};
	if (o->file.path)
		snprintf(b->name, sizeof(b->name), "disk %u (%s)", index,
			 base_name(o->file.path));
	else
		snprintf(b->name, sizeof(b->name), "disk %u (fd=%d)", index,
			 o->file.fd);
	b->fd = o->file.path ? open_path(o->file.path, o) : take_fd(o->file.fd, o);
	if (b->fd < 0)
		return b->fd;
	error = measure(b, o->direct);
	if (!error)
		error = lock(b);
	if (!error && !o->direct)
		warn_format(b);
	if (error) {
		close(b->fd);
		b->fd = -1;
	}
	return error;
}
