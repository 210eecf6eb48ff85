/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's file on the host, and the overlay of an `ephemeral` one.
 *
 * A disk that two writers have open is soon broken, so the file is locked
 * (flock: shared for readers, exclusive for a writer), and a block device that
 * the host has mounted is not written to (O_EXCL). Both hang on the open file
 * (open(2): the open file description) that the data goes through: a ring or a
 * thread that still has a write in hand when mote ends, by kill -9 too, keeps
 * it open until that is done, and so nobody else writes meanwhile. It is mote's
 * own also where the caller has opened the file (fd=N), and open for no more
 * than is needed: it is opened again, through /proc. Where that cannot be, and
 * mote is killed, the lock lasts as long as the caller keeps his. An end with
 * nothing in hand lets go of the lock by itself: the kernel takes its time to
 * take a ring down, and the next mote would wait for it.
 *
 * Who wants what another has waits a little, since what is left of a mote that
 * has ended is soon done, and udev holds a shared lock for a moment whenever a
 * writer has closed a block device (systemd.io/BLOCK_DEVICE_LOCKING).
 *
 * The file is opened without waiting, since a FIFO would wait for ever, but
 * O_NONBLOCK must not stay: io_uring then answers EAGAIN instead of waiting.
 *
 * The overlay says which 4 KiB clusters of an ephemeral disk the guest has
 * written; they lie in a sparse file that has no name and vanishes with mote.
 * Reads of other clusters go to the shared base, which is never written. One
 * bit for a cluster is set once its data is in the overlay's file, and never
 * cleared: what was discarded since is a hole, and reads as zeros. So does what
 * is behind the end of a shorter base (size=), all of it the overlay's. Only a
 * cluster that a write covers in part is copied from the base first, and at
 * once, so that two writes to the same cluster cannot both do it; while another
 * write to it is in flight, request.c waits for that. Guests write whole pages,
 * so that is rare.
 *
 * Where the guest comes from a snapshot there is a layer between both, in the
 * snapshot's file: what an overlay of an earlier mote held. It is only read,
 * its map too, so all clones share it (snapshot.c). A cluster that neither has
 * is the base's, or, behind the base's end, the overlay's as ever.
 *
 * The path is the user's; what the file holds is judged by the guest. Owns the
 * overlay's map. Files are opened by the main thread before the sandbox closes
 * in; the overlay belongs to the loop's thread.
 */
#include "virtio/block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cpu/loop/format.h"
#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"

/* -- the overlay ---------------------------------------------------------- */

#define WORD_BITS 64u

int overlay_create(struct overlay *o, const struct block_backing *b)
{
	const uint64_t words = b->size / OVERLAY_CLUSTER / WORD_BITS + 1;
	void *bits;

	*o = (struct overlay){
		.base_fd = b->buffered_fd >= 0 ? b->buffered_fd : b->fd,
		.fd = b->overlay_fd,
		.size = b->size,
		.base_end = b->base_end,
		.bits_size = words * sizeof(*o->bits),
	};
	bits = pool_map(o->bits_size);
	if (!bits)
		return log_errno("mmap of an overlay's map");
	o->bits = bits;
	return 0;
}

void overlay_destroy(struct overlay *o)
{
	pool_unmap(o->bits, o->bits_size);
	o->bits = NULL;
	if (o->layer.bits)
		munmap((void *)(uintptr_t)o->layer.bits,
		       overlay_map_bytes(o->size));
	o->layer.bits = NULL;
}

uint64_t overlay_map_bytes(uint64_t size)
{
	const uint64_t clusters =
		round_up(size, OVERLAY_CLUSTER) / OVERLAY_CLUSTER;

	return round_up(clusters, WORD_BITS) / 8;
}

static const char *take_map(struct overlay *o, int fd, uint64_t map_at)
{
	const uint64_t bytes = overlay_map_bytes(o->size);
	const uint64_t last = bytes - sizeof(uint64_t);
	const uint64_t clusters =
		round_up(o->size, OVERLAY_CLUSTER) / OVERLAY_CLUSTER;
	const unsigned used = clusters % WORD_BITS;
	uint64_t word;
	void *bits;

	if (pread(fd, &word, sizeof(word), (off_t)(map_at + last)) !=
	    (ssize_t)sizeof(word))
		return "its layer is incomplete";
	if (used && word >> used)
		return "its layer has clusters behind the disk's end";
	bits = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, (off_t)map_at);
	if (bits == MAP_FAILED)
		return "its layer cannot be mapped";
	o->layer.bits = bits;
	return NULL;
}

const char *overlay_use_layer(struct overlay *o, int fd, uint64_t map_at,
			      uint64_t clusters_at)
{
	const char *wrong;

	if (o->layer.bits)
		return "it has two layers";
	if ((map_at | clusters_at) % OVERLAY_CLUSTER ||
	    map_at > INT64_MAX - overlay_map_bytes(o->size) ||
	    clusters_at > INT64_MAX - round_up(o->size, OVERLAY_CLUSTER))
		return "its layer is at an impossible place";
	wrong = take_map(o, fd, map_at);
	if (wrong)
		return wrong;
	o->layer.fd = fd;
	o->layer.at = clusters_at;
	/* Not all of it is the overlay's any more. */
	o->layer.base_end = o->base_end;
	o->base_end = UINT64_MAX;
	return NULL;
}

bool overlay_has(const struct overlay *o, uint64_t offset)
{
	const uint64_t cluster = offset / OVERLAY_CLUSTER;

	return offset >= o->base_end ||
	       o->bits[cluster / WORD_BITS] >> cluster % WORD_BITS & 1;
}

/* The cluster with this offset is not in the overlay, or only as a hole. */
static enum block_file file_below(const struct overlay *o, uint64_t offset)
{
	const struct overlay_layer *layer = &o->layer;
	const uint64_t cluster = offset / OVERLAY_CLUSTER;

	if (!layer->bits)
		return BLOCK_FILE_BASE;
	if (layer->bits[cluster / WORD_BITS] >> cluster % WORD_BITS & 1)
		return BLOCK_FILE_LAYER;
	return offset < layer->base_end ? BLOCK_FILE_BASE : BLOCK_FILE_OVERLAY;
}

static uint64_t run_below(const struct overlay *o, uint64_t offset,
			  uint64_t len, struct overlay_place *place)
{
	uint64_t run = OVERLAY_CLUSTER - offset % OVERLAY_CLUSTER;

	place->file = file_below(o, offset);
	if (place->file == BLOCK_FILE_LAYER)
		place->offset += o->layer.at;
	while (run < len && file_below(o, offset + run) == place->file)
		run += OVERLAY_CLUSTER;
	return run < len ? run : len;
}

uint64_t overlay_run(const struct overlay *o, uint64_t offset, uint64_t len,
		     struct overlay_place *place)
{
	const bool own = overlay_has(o, offset);
	uint64_t run = OVERLAY_CLUSTER - offset % OVERLAY_CLUSTER;

	while (run < len && overlay_has(o, offset + run) == own)
		run += OVERLAY_CLUSTER;
	if (run > len)
		run = len;
	place->file = own ? BLOCK_FILE_OVERLAY : BLOCK_FILE_BASE;
	place->offset = offset;
	return own || !o->layer.bits ? run : run_below(o, offset, run, place);
}

int overlay_copy(struct overlay *o, uint64_t offset, enum block_file *failed)
{
	const uint64_t at = offset - offset % OVERLAY_CLUSTER;
	const enum block_file from = file_below(o, at);
	const bool layer = from == BLOCK_FILE_LAYER;
	size_t len = OVERLAY_CLUSTER;
	uint8_t data[OVERLAY_CLUSTER];
	ssize_t n = 0;

	if (len > o->size - at)
		len = o->size - at;
	*failed = from;
	if (from != BLOCK_FILE_OVERLAY) {
		n = pread(layer ? o->layer.fd : o->base_fd, data, len,
			  (off_t)(layer ? at + o->layer.at : at));
		if (n == (ssize_t)len) {
			*failed = BLOCK_FILE_OVERLAY;
			n = pwrite(o->fd, data, len, (off_t)at);
		}
		if (n != (ssize_t)len)
			return n < 0 ? -errno : -EIO;
	}
	overlay_mark(o, at, len);
	return 0;
}

void overlay_mark(struct overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t cluster = offset / OVERLAY_CLUSTER;

	for (; cluster * OVERLAY_CLUSTER < offset + len; cluster++)
		o->bits[cluster / WORD_BITS] |= 1ULL << cluster % WORD_BITS;
}

/* -- opening -------------------------------------------------------------- */

#define CLAIMED                                                                \
	"the host has it mounted, or another program has it; unmount it, or "  \
	"use `ro` or `ephemeral`"

static bool is_written(const struct block_options *o)
{
	return !o->ro && !o->ephemeral;
}

/*
 * False where it has been 2 s already. A signal ends mote in here. The first
 * pauses are short: the kernel lets go of what a mote before this one had in a
 * ring a millisecond or so after its end.
 */
static bool wait_for_other_user(unsigned *waited_ms)
{
	const unsigned ms = *waited_ms < 20 ? *waited_ms + 1 : 20;
	const struct timespec pause = { .tv_nsec = (long)ms * 1000000 };

	if (*waited_ms >= 2000)
		return false;
	nanosleep(&pause, NULL);
	*waited_ms += ms;
	return true;
}

/* open(2), once nobody else has claimed the block device. */
static int open_unclaimed(const char *path, int flags)
{
	unsigned waited_ms = 0;
	int fd;

	do
		fd = open(path, flags | O_CLOEXEC | O_NOCTTY);
	while (fd < 0 && errno == EBUSY && wait_for_other_user(&waited_ms));
	return fd;
}

/*
 * An open file of mote's own in the place of the caller's descriptor, which
 * others may have, too: what is set and locked is then not theirs. 0 or -errno,
 * logged.
 */
static int replace_descriptor(int fd, int flags)
{
	const int has = fcntl(fd, F_GETFL);
	char path[32];
	int own, error;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open_unclaimed(path, flags | (has & (O_DIRECT | O_SYNC)));
	error = own < 0 ? errno : 0;
	if (!error && dup3(own, fd, O_CLOEXEC) < 0)
		error = errno;
	if (own >= 0)
		close(own);
	if (error == EBUSY) {
		log_error("--disk fd=%d: " CLAIMED, fd);
		return -EBUSY;
	}
	/* Without /proc, or of somebody who has more rights: as it is. */
	if (!error || (flags & O_ACCMODE) == (has & O_ACCMODE))
		return 0;
	log_error("--disk fd=%d: it is open for writing, and %s cannot be "
		  "opened for reading only: %s; open it so (in a shell: "
		  "3<disk.img)",
		  fd, path, strerror(error));
	return -error;
}

static int take_disk_descriptor(int fd, const struct block_options *o,
				int wanted)
{
	int flags = fcntl(fd, F_GETFL), error;

	if (flags & O_APPEND) {
		log_error("--disk fd=%d: it is open for appending, where every "
			  "write goes to the end; open it without (in a "
			  "shell: 3<>disk.img)",
			  fd);
		return -EBADF;
	}
	error = replace_descriptor(fd, wanted);
	if (error)
		return error;
	flags = fcntl(fd, F_GETFL);
	if (o->direct && !(flags & O_DIRECT) &&
	    fcntl(fd, F_SETFL, flags | O_DIRECT)) {
		log_error("--disk fd=%d: it has no O_DIRECT; leave `direct` "
			  "out",
			  fd);
		return -EINVAL;
	}
	return fd;
}

/* O_EXCL: of block devices (open(2)); it means nothing for files. */
static int open_disk(const struct block_options *o)
{
	const bool writes = is_written(o);
	const int flags = O_NONBLOCK | (writes ? O_RDWR | O_EXCL : O_RDONLY) |
			  (o->direct ? O_DIRECT : 0);
	const char *no_right = "`ro` or `ephemeral` needs no right to write";
	const char *no_direct = "its file system has no O_DIRECT: leave "
				"`direct` out";
	const char *one_way = "add `ro` or `ephemeral`, or open it for both "
			      "(in a shell: 3<>disk.img)";
	const struct file_advice advice[] = {
		{ EACCES, writes ? no_right : NULL },
		{ EROFS, writes ? no_right : NULL },
		{ EPERM, writes ? no_right : NULL },
		{ EBADF, writes ? one_way : NULL },
		{ EBUSY, CLAIMED },
		{ EINVAL, o->direct ? no_direct : NULL },
		{ EISDIR, "make an image of it: mke2fs -d DIRECTORY" },
		{ 0, NULL },
	};
	int fd = o->file.path ? open_unclaimed(o->file.path, flags) : -1;

	/* Once more, for the message. */
	if (fd < 0)
		fd = file_open(&o->file, "--disk ", flags, 0, advice);
	return fd < 0 || o->file.path ? fd : take_disk_descriptor(fd, o, flags);
}

/* The same file once more, without O_DIRECT; -1 where that cannot be. */
static int reopen_disk(const struct block_backing *b,
		       const struct block_options *o, int flags)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", b->fd);
	return open(path,
		    O_CLOEXEC | (is_written(o) ? O_RDWR : O_RDONLY) | flags);
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

static uint64_t in_ns(struct timespec time)
{
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static struct block_identity identity_of(const struct stat *st)
{
	return (struct block_identity){
		.dev = S_ISBLK(st->st_mode) ? st->st_rdev : st->st_dev,
		.ino = st->st_ino,
		.mtime_ns = in_ns(st->st_mtim),
		.ctime_ns = in_ns(st->st_ctim),
	};
}

int block_identify(const struct block_backing *b,
		   struct block_identity *identity)
{
	struct stat st;

	if (fstat(b->fd, &st))
		return -errno;
	*identity = identity_of(&st);
	return 0;
}

static int measure_disk_file(struct block_backing *b)
{
	struct stat st;
	int error = fstat(b->fd, &st) ? -errno : 0;

	if (!error)
		b->identity = identity_of(&st);
	b->logical = BLOCK_SECTOR;
	b->physical = 4096;
	if (!error && S_ISBLK(st.st_mode)) {
		error = measure_device(b);
	} else if (!error && S_ISREG(st.st_mode)) {
		b->size = (uint64_t)st.st_size;
	} else if (!error) {
		log_error("%s: it is %s; a disk is a raw image file or a block "
			  "device",
			  b->name,
			  S_ISDIR(st.st_mode)
				  ? "a directory (make an image of it: "
				    "mke2fs -d)"
				  : "not a file");
		return -EINVAL;
	}
	if (error) {
		log_error("%s: cannot be measured: %s", b->name,
			  strerror(-error));
		return error;
	}
	if (b->size >= BLOCK_SECTOR)
		return 0;
	if (b->size)
		log_error("%s: it has %u bytes, and a disk has sectors of 512; "
			  "is that the image?",
			  b->name, (unsigned)b->size);
	else
		log_error("%s: it is empty; give it a size first, as with "
			  "truncate -s 1G",
			  b->name);
	return -EINVAL;
}

/* NFS without its lock daemon, or a file system that has no locks. */
static void warn_of_no_lock(const struct block_backing *b, bool writes)
{
	if (writes)
		log_warn("%s: its file system gives no lock (%s), so nothing "
			 "keeps another mote from writing to it, too",
			 b->name, strerror(errno));
}

static int lock_disk(const struct block_backing *b,
		     const struct block_options *o)
{
	const bool writes = is_written(o);
	unsigned waited_ms = 0;

	while (flock(b->fd, (writes ? LOCK_EX : LOCK_SH) | LOCK_NB)) {
		if (errno != EWOULDBLOCK) {
			warn_of_no_lock(b, writes);
			return 0;
		}
		if (wait_for_other_user(&waited_ms))
			continue;
		log_error("%s: another process (on shared storage: of any "
			  "machine), or another --disk, has it open %s",
			  b->name,
			  writes ? "as a disk; stop that one, or share the "
				   "image with `ro` or `ephemeral`"
				 : "for writing; stop that one, or copy the "
				   "image");
		return -EBUSY;
	}
	return 0;
}

/* For what the guest does not align. */
static int open_buffered_disk(struct block_backing *b,
			      const struct block_options *o)
{
	int error;

	b->buffered_fd = reopen_disk(b, o, 0);
	if (b->buffered_fd >= 0)
		return 0;
	error = errno;
	log_error("%s: with `direct` (O_DIRECT) mote also has to open it "
		  "without, as /proc/self/fd/%d: %s",
		  b->name, b->fd, strerror(error));
	return -error;
}

/* What is not raw would show its own format to the guest. */
static bool warn_of_format(const struct block_backing *b)
{
	static const char *const mend[FORMAT_KINDS] = {
		[FORMAT_PACKED] = "decompress it first",
		[FORMAT_CPIO] = "an archive is given with --initrd",
		[FORMAT_DISK_IMAGE] = "convert it: qemu-img convert -O raw",
		[FORMAT_TAR] = "unpack it, and make an image: mke2fs -d DIR",
	};
	const int fd = b->buffered_fd >= 0 ? b->buffered_fd : b->fd;
	const struct format *format = NULL;
	char head[BLOCK_SECTOR];

	if (pread(fd, head, sizeof(head), 0) == sizeof(head))
		format = format_find(head, sizeof(head));
	if (!format || !mend[format->kind])
		return false;
	log_warn(
		"%s: it looks like %s, and the guest will see it raw; %s%s%s%s",
		b->name, format->is, mend[format->kind],
		format->tool ? " (" : "", format->tool ? format->tool : "",
		format->tool ? ")" : "");
	return true;
}

/* Whole sectors are what the guest sees. */
static void round_disk(struct block_backing *b)
{
	const unsigned rest = (unsigned)(b->size % BLOCK_SECTOR);

	b->size -= rest;
	if (!warn_of_format(b) && rest)
		log_warn("%s: its last %u bytes are no whole sector of 512; "
			 "the guest does not see them",
			 b->name, rest);
}

/* Where there is no name in the host's file systems, there is no file of them.
 */
static bool is_in_memory(int fd)
{
	struct statfs fs;

	return !fstatfs(fd, &fs) && (unsigned long)fs.f_type == TMPFS_MAGIC;
}

/* In $TMPDIR or /var/tmp, else in memory. What fails, block_close closes. */
static int open_overlay(struct block_backing *b)
{
	const char *directories[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
	const char *place = "memory";
	size_t i = 0;

	for (; i < ARRAY_LEN(directories) && b->overlay_fd < 0; i++) {
		if (!directories[i] || !*directories[i])
			continue;
		place = directories[i];
		b->overlay_fd =
			open(place, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	}
	if (b->overlay_fd < 0) {
		place = "memory";
		b->overlay_fd = memfd_create("mote-overlay", MFD_CLOEXEC);
	}
	if (b->overlay_fd < 0)
		return log_errno("memfd_create");
	snprintf(b->overlay_name, sizeof(b->overlay_name),
		 "%s: its overlay in %.40s", b->name, place);
	/* Who names a file system in memory knows. */
	if (i > 1 && is_in_memory(b->overlay_fd))
		log_warn("%s takes memory, which counts against a container's "
			 "limit, as no directory on a disk can be written to; "
			 "set TMPDIR to one",
			 b->overlay_name);
	return 0;
}

/*
 * All from the last whole cluster of the image on is the overlay's, so what is
 * in a part of one is copied there.
 */
static int grow_overlay(struct block_backing *b)
{
	const size_t rest = b->base_end % OVERLAY_CLUSTER;
	const int base_fd = b->buffered_fd >= 0 ? b->buffered_fd : b->fd;
	uint8_t data[OVERLAY_CLUSTER];

	b->base_end -= rest;
	errno = EIO; /* for what is cut short */
	if (!rest ||
	    (pread(base_fd, data, rest, (off_t)b->base_end) == (ssize_t)rest &&
	     pwrite(b->overlay_fd, data, rest, (off_t)b->base_end) ==
		     (ssize_t)rest))
		return 0;
	return -errno;
}

static int create_overlay_file(struct block_backing *b)
{
	int error = open_overlay(b);

	if (error)
		return error;
	if (ftruncate(b->overlay_fd, (off_t)b->size))
		error = -errno;
	if (!error && b->base_end < b->size)
		error = grow_overlay(b);
	if (error)
		log_error("%s cannot be %llu bytes long: %s; set TMPDIR to a "
			  "directory of another file system",
			  b->overlay_name, (unsigned long long)b->size,
			  strerror(-error));
	return error;
}

/* size=: of the disk that the guest sees, longer than its image. */
static int set_disk_size(struct block_backing *b, const struct block_options *o)
{
	b->base_size = b->size;
	b->base_end = UINT64_MAX;
	if (!o->size || !b->ephemeral)
		return 0;
	if (o->size < b->size || o->size % b->logical) {
		log_error("%s: size=: %llu bytes are %s%llu bytes; give a "
			  "larger size, in whole sectors",
			  b->name, (unsigned long long)o->size,
			  o->size < b->size ? "less than its image's "
					    : "no multiple of its sectors of ",
			  (unsigned long long)(o->size < b->size ? b->size
								 : b->logical));
		return -EINVAL;
	}
	if (o->size > b->size)
		b->base_end = b->size;
	b->size = o->size;
	return 0;
}

/* Locked first: what another user does until then is to be measured, too. */
static int prepare_disk(struct block_backing *b, const struct block_options *o)
{
	int error = lock_disk(b, o), flags;

	if (!error)
		error = measure_disk_file(b);
	if (error)
		return error;
	flags = fcntl(b->fd, F_GETFL);
	if (flags & O_NONBLOCK)
		fcntl(b->fd, F_SETFL, flags & ~O_NONBLOCK);
	if (flags & O_DIRECT)
		error = open_buffered_disk(b, o);
	if (error)
		return error;
	round_disk(b);
	error = set_disk_size(b, o);
	if (!error && b->ephemeral)
		error = create_overlay_file(b);
	return error;
}

void block_unlock(const struct block_backing *b)
{
	flock(b->fd, LOCK_UN);
}

void block_close(const struct block_backing *b)
{
	const int fds[] = { b->fd, b->buffered_fd, b->overlay_fd };

	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

int block_open(struct block_backing *b, const struct block_options *o,
	       unsigned index)
{
	char room[FILE_NAME_BYTES];
	const char *name = file_name(&o->file, room);
	const char *slash = strrchr(name, '/');
	int error;

	*b = (struct block_backing){
		.fd = -1,
		.buffered_fd = -1,
		.overlay_fd = -1,
		.ro = o->ro,
		.ephemeral = o->ephemeral && !o->ro,
		.index = index,
	};
	snprintf(b->name, sizeof(b->name), "disk %u (%s)", index,
		 slash && slash[1] ? slash + 1 : name);
	b->fd = open_disk(o);
	error = b->fd < 0 ? b->fd : prepare_disk(b, o);
	if (error) {
		block_close(b);
		b->fd = -1;
	}
	return error;
}
