/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/block/file.c cpu/loop/file.c tests/unit/guest_ram.c */
/* uses: mem/pool.c */
/* uses: virtio/block/io_uring.c virtio/block/io.c tests/unit/sample_file.c */
/* uses: cpu/loop/format.c */
/* ldflags: -Wl,--wrap=open,--wrap=ftruncate */
/* ldflags: -Wl,--wrap=fstat,--wrap=ioctl,--wrap=memfd_create */
/* ldflags: -Wl,--wrap=nanosleep,--wrap=fstatfs,--wrap=flock */
/*
 * Opening a disk's file: what can be wrong with it, and what is said of that.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"
#include "virtio/block/file.h"
#include "virtio/block/io.h"

static struct block_backing backing;
static char directory[] = "/tmp/mote-test-XXXXXX";
static char path[64];

/* -- the host's answers --------------------------------------------------- */

/* open() fails with this where the flags have all of those; 0: never. */
static int open_error, open_flags;
static bool no_proc; /* nothing is mounted there */

/* How often somebody was waited for; what he lets go of after how many. */
static unsigned naps, naps_until;
static long napped_ms;
static int let_go = -1;
static off_t grows_to; /* what he does before that; 0: nothing */

static long file_system = EXT4_SUPER_MAGIC;
static int lock_error; /* its file system's; 0: it has locks */

int __real_flock(int fd, int operation);
int __wrap_flock(int fd, int operation);

int __wrap_flock(int fd, int operation)
{
	if (!lock_error)
		return __real_flock(fd, operation);
	errno = lock_error;
	return -1;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left);

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)left;
	assert_in_range(time->tv_nsec, 1000000, 20000000);
	napped_ms = (naps ? napped_ms : 0) + time->tv_nsec / 1000000;
	naps++;
	if (naps == naps_until) {
		if (grows_to)
			assert_int_equal(ftruncate(let_go, grows_to), 0);
		close(let_go);
		open_error = 0;
	}
	return 0;
}

int __wrap_fstatfs(int fd, struct statfs *fs);

int __wrap_fstatfs(int fd, struct statfs *fs)
{
	(void)fd;
	fs->f_type = file_system;
	return 0;
}

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);

int __wrap_open(const char *name, int flags, ...)
{
	if (no_proc && !strncmp(name, "/proc/", 6)) {
		errno = ENOENT;
		return -1;
	}
	if (open_error && (flags & open_flags) == open_flags) {
		errno = open_error;
		return -1;
	}
	return __real_open(name, flags, 0600);
}

static int truncate_error, memfd_error; /* 0: never */

int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);

int __wrap_ftruncate(int fd, off_t size)
{
	errno = truncate_error;
	return truncate_error ? -1 : __real_ftruncate(fd, size);
}

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);

int __wrap_memfd_create(const char *name, unsigned flags)
{
	errno = memfd_error;
	return memfd_error ? -1 : __real_memfd_create(name, flags);
}

/* Files are block devices, of blocks of 4096 bytes in pieces of 16 KiB. */
static bool devices;
static unsigned long no_ioctl; /* this one fails: EIO */
static int stat_error;

int __real_fstat(int fd, struct stat *status);
int __wrap_fstat(int fd, struct stat *status);

int __wrap_fstat(int fd, struct stat *status)
{
	int error = __real_fstat(fd, status);

	if (devices) {
		status->st_mode = S_IFBLK | 0600;
		status->st_size = 0; /* stat(2) does not tell a device's */
	}
	errno = stat_error;
	return stat_error ? -1 : error;
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, void *arg);

int __wrap_ioctl(int fd, unsigned long request, void *arg)
{
	if (!devices)
		return __real_ioctl(fd, request, arg);
	if (request == no_ioctl) {
		errno = EIO;
		return -1;
	}
	switch (request) {
	case BLKGETSIZE64:
		*(uint64_t *)arg = 3 * MIB;
		return 0;
	case BLKSSZGET:
		*(int *)arg = 4096;
		return 0;
	case BLKPBSZGET:
		*(unsigned *)arg = 16384;
		return 0;
	default:
		errno = ENOTTY;
		return -1;
	}
}

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/disk.img", directory);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(directory);
}

static void make_disk_file(const char *bytes, size_t len, uint64_t size)
{
	int fd = __real_open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	close(fd);
}

static struct block_options by_path(void)
{
	return (struct block_options){ .file = { path, -1 } };
}

static struct block_options by_fd(int fd)
{
	return (struct block_options){ .file = { NULL, fd } };
}

static void refused(struct block_options options, int error, const char *why)
{
	unsigned before = count_fds();
	bool given =
		options.file.fd >= 0 && fcntl(options.file.fd, F_GETFD) >= 0;

	assert_int_equal(block_open(&backing, &options, 0), error);
	expect_log(why);
	/* Nothing is left open, but what the caller opened may be. */
	assert_int_equal(backing.fd, -1);
	assert_in_range(count_fds(), before - given, before);
}

static void opened(struct block_options options)
{
	assert_int_equal(block_open(&backing, &options, 3), 0);
	assert_true(backing.fd >= 0);
	/* io_uring would answer EAGAIN. */
	assert_false(fcntl(backing.fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(backing.fd, F_GETFD) & FD_CLOEXEC);
}

/* -- tests ---------------------------------------------------------------- */

static void test_file(void **state)
{
	struct block_options options = by_path();
	unsigned before = count_fds();

	(void)state;
	make_disk_file("", 0, 1 * MIB);
	opened(options);
	assert_int_equal(backing.size, 1 * MIB);
	assert_int_equal(backing.logical, 512);
	assert_int_equal(backing.physical, 4096);
	assert_false(backing.ro || backing.ephemeral || backing.is_device);
	assert_string_equal(backing.name, "disk 3 (disk.img)");
	assert_int_equal(fcntl(backing.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	block_close(&backing);
	options.ro = true;
	opened(options);
	assert_true(backing.ro);
	assert_int_equal(fcntl(backing.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	block_close(&backing);
	options.ro = false;
	options.ephemeral = true;
	opened(options);
	assert_true(backing.ephemeral && backing.overlay_fd >= 0);
	assert_int_equal(fcntl(backing.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	block_close(&backing);
	/* Nothing is written, so nothing has to vanish. */
	options.ro = true;
	opened(options);
	assert_true(backing.ro && !backing.ephemeral);
	assert_int_equal(backing.overlay_fd, -1);
	block_close(&backing);
	assert_int_equal(count_fds(), before);
	expect_no_log();
}

static void test_refused(void **state)
{
	struct block_options options = by_path();

	(void)state;
	unlink(path);
	refused(options, -ENOENT, "disk.img: No such file");
	make_disk_file("", 0, 0);
	refused(options, -EINVAL, "is empty; give it a size");
	make_disk_file("", 0, 511);
	refused(options, -EINVAL, "it has 511 bytes, and a disk has sectors");
	options.file.path = directory;
	refused(options, -EISDIR, "mke2fs -d");
	options.ro = true;
	refused(options, -EINVAL, "a directory (make an image");
	options.file.path = "/dev/null";
	refused(options, -EINVAL, "not a file");
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	options = by_path();
	refused(options, -EINVAL, "not a file"); /* and it did not wait */
	options.ro = true;
	refused(options, -EINVAL, "not a file");
	unlink(path);
}

static void test_odd_size(void **state)
{
	(void)state;
	make_disk_file("", 0, 4096 + 300);
	opened(by_path());
	expect_log("last 300 bytes");
	assert_int_equal(backing.size, 4096);
	block_close(&backing);
}

/* What is not raw is told in one line, odd sizes or not. */
static void test_formats(void **state)
{
	static const struct {
		size_t offset, len;
		const char *bytes, *says;
	} cases[] = {
		{ 0, 4, "QFI\xfb", "like a qcow2 disk image, and the guest" },
		{ 0, 4, "KDMV", "a VMDK disk image, and the guest will see" },
		{ 0, 21, "# Disk DescriptorFile", "a VMDK descriptor" },
		{ 0, 8, "vhdxfile",
		  "VHDX disk image, and the guest will see "
		  "it raw; convert it: qemu-img" },
		{ 0, 8, "conectix", "a VHD disk image" },
		{ 0x40, 4, "\x7f\x10\xda\xbe", "a VDI disk image" },
		{ 0, 3, "\x1f\x8b\x08", "decompress it first (gzip -dc)" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "it first (zstd -dc)" },
		{ 257, 5, "ustar",
		  "a tar archive, and the guest will see it "
		  "raw; unpack it" },
		{ 0, 6, "070701", "an archive is given with --initrd" },
		{ 0, 4, "hsqs", NULL },
		{ 0x1fe, 2, "\x55\xaa", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (uint64_t size = 8192; size >= 4096; size -= 4096) {
			char bytes[1024] = { 0 };

			memcpy(bytes + cases[i].offset, cases[i].bytes,
			       cases[i].len);
			make_disk_file(bytes, sizeof(bytes), size + 300);
			opened(by_path());
			expect_log(cases[i].says ? cases[i].says
						 : "last 300 bytes");
			block_close(&backing);
		}
	make_disk_file("QFI", 3, 512);
	opened(by_path());
	expect_no_log();
	block_close(&backing);
}

static void test_host_refuses(void **state)
{
	static const struct {
		int error;
		bool ro, direct;
		const char *hint;
	} cases[] = {
		{ EACCES, false, false, "`ro` or `ephemeral` needs no right" },
		{ EROFS, false, false, "`ro` or `ephemeral` needs no right" },
		{ EPERM, false, false, "`ro` or `ephemeral` needs no right" },
		{ EINVAL, false, true, "leave `direct` out" },
		{ EACCES, true, false, "Permission denied" },
		{ ENXIO, false, false, "No such device" },
	};

	(void)state;
	make_disk_file("", 0, 4096);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct block_options options = by_path();

		options.ro = cases[i].ro;
		options.direct = cases[i].direct;
		open_error = cases[i].error;
		open_flags = 0;
		refused(options, -cases[i].error, cases[i].hint);
		open_error = 0;
	}
	/* A block device that is mounted: only the claim fails. */
	for (unsigned given = 0; given < 2; given++) {
		struct block_options options =
			given ? by_fd(__real_open(path, O_RDWR)) : by_path();

		open_error = EBUSY;
		open_flags = O_EXCL;
		naps = 0;
		refused(options, -EBUSY, "mounted");
		assert_in_range(napped_ms, 2000, 2020);
		/* fsck of a moment ago, and whoever only reads. */
		naps = 0;
		naps_until = 7;
		opened(by_path());
		assert_int_equal(naps, 7);
		block_close(&backing);
		naps_until = 0;
		close(options.file.fd);
	}
	open_error = 0;
	expect_no_log();
}

/* Somebody has that lock, and keeps it for so many naps; 0: for long. */
static void contended(struct block_options options, int lock, unsigned after)
{
	const int fd = __real_open(path, O_RDWR | O_CLOEXEC);

	assert_int_equal(flock(fd, lock), 0);
	naps = 0;
	naps_until = after;
	let_go = fd;
	if (after) {
		opened(options);
		assert_int_equal(naps, after);
		block_close(&backing);
	} else {
		refused(options, -EBUSY, "another process");
		assert_in_range(napped_ms, 2000, 2020);
		close(fd);
	}
	naps_until = 0;
}

/* With and without /proc. */
static void test_locks(void **state)
{
	struct block_options options = by_path(), ro = by_path();
	struct block_backing first, second;

	(void)state;
	make_disk_file("", 0, 4096);
	ro.ro = true;
	for (unsigned without = 0; without < 2; without++) {
		no_proc = without;
		options.ephemeral = false;
		naps = 0;
		opened(options);
		first = backing;
		assert_int_equal(naps, 0);
		refused(options, -EBUSY, "share the image");
		refused(ro, -EBUSY, "copy the image");
		block_close(&first);
		naps = 0;
		opened(ro);
		first = backing;
		opened(ro);
		second = backing;
		assert_int_equal(naps, 0);
		refused(options, -EBUSY, "share the image");
		options.ephemeral = true;
		opened(options);
		block_close(&backing);
		block_close(&first);
		block_close(&second);
		naps = 0;
		opened(by_path());
		assert_int_equal(naps, 0);
		block_close(&backing);
		/* udev looks at a device that a writer has closed. */
		contended(by_path(), LOCK_SH, 15);
		contended(by_path(), LOCK_EX, 99);
		contended(by_path(), LOCK_SH, 0);
		contended(ro, LOCK_EX, 1);
		contended(ro, LOCK_EX, 0);
	}
	no_proc = false;
	expect_no_log();
}

/* As NFS is without its lock daemon. Who only reads harms nobody. */
static void test_no_locks(void **state)
{
	struct block_options ro = by_path();

	(void)state;
	make_disk_file("", 0, 4096);
	ro.ro = true;
	lock_error = ENOLCK;
	opened(by_path());
	expect_log("gives no lock (No locks available), so nothing keeps "
		   "another mote");
	block_close(&backing);
	opened(ro);
	block_close(&backing);
	expect_no_log();
	lock_error = 0;
}

/*
 * A copy of the descriptor, as io_uring keeps one: while anything of the old
 * one's may still write, nobody else may.
 */
static void test_lock_is_of_the_data(void **state)
{
	int copy;

	(void)state;
	make_disk_file("", 0, 4096);
	for (unsigned without = 0; without < 2; without++) {
		no_proc = without;
		opened(by_path());
		copy = dup(backing.fd);
		block_close(&backing);
		refused(by_path(), -EBUSY, "another process");
		naps = 0;
		naps_until = 4;
		let_go = copy;
		opened(by_path());
		assert_int_equal(naps, 4);
		block_close(&backing);
		naps_until = 0;
	}
	no_proc = false;
	expect_no_log();
}

/* What he has done until then is seen: the file is locked, then measured. */
static void test_measured_when_locked(void **state)
{
	struct block_identity now;

	(void)state;
	make_disk_file("", 0, 4096);
	let_go = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(let_go, LOCK_EX), 0);
	naps = 0;
	naps_until = 3;
	grows_to = 8192;
	opened(by_path());
	grows_to = 0;
	naps_until = 0;
	assert_int_equal(backing.size, 8192);
	assert_int_equal(block_identify(&backing, &now), 0);
	assert_memory_equal(&now, &backing.identity, sizeof(now));
	block_close(&backing);
	expect_no_log();
}

/* A ring ends some time after mote does, and may write until then. */
static void test_ring_keeps_the_lock(void **state)
{
	struct block_options options = by_path();
	struct engine_options ring = { .fds = { -1, -1, -1, -1 } };
	struct engine *engine;
	int error;

	(void)state;
	make_disk_file("", 0, 4096);
	opened(options);
	ring.fds[BLOCK_FILE_BASE] = backing.fd;
	engine = uring_create(&ring, &error);
	block_close(&backing);
	if (!engine) {
		skip(); /* a host without io_uring */
		return;
	}
	refused(options, -EBUSY, "another process");
	engine->ops->destroy(engine);
	for (unsigned i = 0; i < 2000; i++) {
		error = block_open(&backing, &options, 0);
		if (!error)
			break;
		expect_log("another process");
		poll(NULL, 0, 10);
	}
	assert_int_equal(error, 0);
	block_close(&backing);
	expect_no_log();
}

/* What the caller keeps of a file that he gave locks nobody out. */
static void test_lock_is_not_the_callers(void **state)
{
	const int fd = __real_open(path, O_RDWR), kept = dup(fd);
	struct block_options direct = by_fd(fd);
	struct block_backing first;
	const int flags = fcntl(kept, F_GETFL);

	(void)state;
	make_disk_file("", 0, 4096);
	direct.direct = true;
	opened(direct);
	assert_int_equal(backing.fd, fd);
	assert_int_equal(fcntl(kept, F_GETFL), flags);
	first = backing;
	refused(by_path(), -EBUSY, "another process");
	block_close(&first);
	naps = 0;
	opened(by_path());
	assert_int_equal(naps, 0);
	block_close(&backing);
	close(kept);
	expect_no_log();
}

static void test_descriptors(void **state)
{
	struct block_options options;
	int fd, ends[2];

	(void)state;
	make_disk_file("", 0, 4096);
	fd = __real_open(path, O_RDWR | O_NONBLOCK);
	opened(by_fd(fd));
	assert_int_equal(backing.fd, fd);
	block_close(&backing);
	refused(by_fd(fd), -EBADF, "whoever starts mote must leave it open");
	fd = __real_open(path, O_PATH);
	refused(by_fd(fd), -EBADF, "whoever starts mote");
	close(fd);
	fd = __real_open(path, O_WRONLY);
	refused(by_fd(fd), -EBADF, "not open for reading");
	close(fd);
	fd = __real_open(path, O_RDWR | O_APPEND);
	refused(by_fd(fd), -EBADF, "open for appending");
	close(fd);
	fd = __real_open(path, O_RDONLY);
	refused(by_fd(fd), -EBADF, "3<>disk.img");
	options = by_fd(fd);
	options.ro = true;
	opened(options);
	assert_int_equal(backing.fd, fd);
	block_close(&backing);
	assert_int_equal(pipe(ends), 0);
	options.file.fd = ends[0];
	refused(options, -EINVAL, "not a file");
	close(ends[1]);
}

/* Of somebody with more rights, or where there is no /proc. */
static void test_descriptors_as_they_are(void **state)
{
	(void)state;
	make_disk_file("", 0, 4096);
	for (unsigned without = 0; without < 2; without++) {
		struct block_options options = by_fd(__real_open(path, O_RDWR));

		no_proc = without;
		open_error = without ? 0 : EACCES;
		open_flags = 0;
		opened(options);
		assert_int_equal(backing.fd, options.file.fd);
		assert_int_equal(fcntl(backing.fd, F_GETFL) & O_ACCMODE,
				 O_RDWR);
		block_close(&backing);
		options = by_fd(__real_open(path, O_RDONLY));
		options.ro = true;
		opened(options);
		block_close(&backing);
		expect_no_log();
		open_error = 0;
	}
	no_proc = false;
}

/* Who may only read has no descriptor that writes. */
static void test_descriptors_for_reading(void **state)
{
	(void)state;
	make_disk_file("", 0, 4096);
	for (unsigned i = 0; i < 4; i++) {
		const int flags = i < 2 ? O_RDWR : O_RDWR | O_SYNC;
		struct block_options options = by_fd(__real_open(path, flags));

		options.ro = i % 2;
		options.ephemeral = !options.ro;
		opened(options);
		assert_int_equal(backing.fd, options.file.fd);
		assert_int_equal(fcntl(backing.fd, F_GETFL) & O_ACCMODE,
				 O_RDONLY);
		assert_int_equal(write(backing.fd, "x", 1), -1);
		block_close(&backing);
		expect_no_log();
		options.file.fd = __real_open(path, flags);
		no_proc = true;
		refused(options, -ENOENT, "open for writing, and /proc/self");
		no_proc = false;
		close(options.file.fd);
	}
}

static void test_direct(void **state)
{
	struct block_options options = by_path();
	int fd;

	(void)state;
	make_disk_file("", 0, 4096);
	options.direct = true;
	opened(options);
	assert_true(fcntl(backing.fd, F_GETFL) & O_DIRECT);
	assert_false(fcntl(backing.buffered_fd, F_GETFL) & O_DIRECT);
	block_close(&backing);
	fd = __real_open(path, O_RDWR);
	options.file = (struct option_file){ NULL, fd };
	opened(options);
	assert_true(fcntl(fd, F_GETFL) & O_DIRECT);
	assert_true(backing.buffered_fd >= 0);
	block_close(&backing);
	/* From somebody with more rights. */
	options.file.fd = __real_open(path, O_RDWR);
	open_error = EACCES;
	open_flags = 0;
	refused(options, -EACCES, "/proc/self/fd");
	open_error = 0;
}

/* Where there is no directory to write to, in memory. */
static void test_overlay_places(void **state)
{
	struct block_options options = by_path();
	struct stat st;

	(void)state;
	make_disk_file("", 0, 3 * 4096 + 512);
	options.ephemeral = true;
	setenv("TMPDIR", directory, 1);
	opened(options);
	expect_no_log();
	assert_int_equal(fstat(backing.overlay_fd, &st), 0);
	assert_int_equal(st.st_size, 3 * 4096 + 512);
	assert_int_equal(st.st_nlink, 0); /* it has no name */
	assert_non_null(strstr(backing.overlay_name, directory));
	block_close(&backing);
	setenv("TMPDIR", "/nowhere", 1);
	opened(options); /* in another one */
	assert_string_equal(backing.overlay_name,
			    "disk 3 (disk.img): its overlay in /var/tmp");
	block_close(&backing);
	unsetenv("TMPDIR");
	expect_no_log();
	open_error = EROFS;
	open_flags = O_TMPFILE | O_RDWR;
	file_system = TMPFS_MAGIC;
	opened(options);
	expect_log("its overlay in memory takes memory");
	assert_true(backing.overlay_fd >= 0);
	block_close(&backing);
	open_error = 0;
	/* A directory whose file system is in memory is no better. */
	opened(options);
	expect_log("its overlay in /var/tmp takes memory");
	block_close(&backing);
	/* Unless it was named. */
	setenv("TMPDIR", directory, 1);
	opened(options);
	block_close(&backing);
	file_system = EXT4_SUPER_MAGIC;
	expect_no_log();
}

static void test_overlay_too_large(void **state)
{
	struct block_options options = by_path();

	(void)state;
	make_disk_file("", 0, 4096);
	options.ephemeral = true;
	options.size = 1ULL << 62;
	setenv("TMPDIR", directory, 1);
	refused(options, -EFBIG, "its overlay in /tmp/mote-test-");
}

/* An overlay that is larger than its image. */
static void test_overlay_size(void **state)
{
	static const struct {
		uint64_t base, size, base_end;
	} cases[] = {
		{ 4096, 8192, 4096 },
		{ 4096, 4096, UINT64_MAX },
		{ 512, MIB, 0 },
		{ 8192 + 512, 8192 + 1024, 8192 },
		{ 3 * 4096 + 100, MIB, 12288 },
		{ MIB, 5 * GIB, MIB },
	};
	struct block_options options = by_path();
	uint8_t bytes[4 * 4096], got[4096];
	struct stat st;

	(void)state;
	fill(bytes, sizeof(bytes));
	options.ephemeral = true;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		const uint64_t base = cases[i / 2].base / 512 * 512;
		const uint64_t tail = base % 4096;

		make_disk_file((char *)bytes, sizeof(bytes), sizeof(bytes));
		assert_int_equal(truncate(path, (off_t)cases[i / 2].base), 0);
		options.direct = i % 2;
		options.size = cases[i / 2].size;
		opened(options);
		if (base != cases[i / 2].base)
			expect_log("no whole sector");
		assert_true(backing.size == options.size);
		assert_true(backing.base_end == cases[i / 2].base_end);
		assert_int_equal(fstat(backing.overlay_fd, &st), 0);
		assert_true((uint64_t)st.st_size == options.size);
		/* A cluster that the image ends in is there as a whole. */
		if (tail) {
			memset(got, 0, sizeof(got));
			assert_in_range(pread(backing.overlay_fd, got, 4096,
					      (off_t)(base - tail)),
					tail + 512, 4096);
			assert_memory_equal(got, bytes + base - tail, tail);
			for (size_t n = tail; n < 4096; n++)
				assert_int_equal(got[n], 0);
		}
		block_close(&backing);
		expect_no_log();
	}
	make_disk_file("", 0, 8192);
	options.size = 8192 - 512;
	refused(options, -EINVAL, "7680 bytes are less than its image's 8192");
	options.size = 8192 + 100;
	refused(options, -EINVAL, "no multiple of its sectors of 512 bytes");
}

/* Nor that, nor room where one could be written. */
static void test_overlay_fails(void **state)
{
	struct block_options options = by_path();

	(void)state;
	make_disk_file("", 0, 8192);
	options.ephemeral = true;
	setenv("TMPDIR", directory, 1);
	truncate_error = EFBIG;
	refused(options, -EFBIG, "cannot be 8192 bytes long: File too large");
	truncate_error = 0;
	open_error = EROFS;
	open_flags = O_TMPFILE | O_RDWR;
	memfd_error = EMFILE;
	assert_int_equal(block_open(&backing, &options, 0), -EMFILE);
	expect_log("memfd_create: Too many");
	open_error = memfd_error = 0;
	unsetenv("TMPDIR");
}

static void test_block_devices(void **state)
{
	static const unsigned long asked[] = { BLKGETSIZE64, BLKSSZGET,
					       BLKPBSZGET };

	(void)state;
	make_disk_file("", 0, 4096);
	devices = true;
	opened(by_path());
	assert_true(backing.is_device);
	assert_int_equal(backing.size, 3 * MIB);
	assert_int_equal(backing.logical, 4096);
	assert_int_equal(backing.physical, 16384);
	block_close(&backing);
	expect_no_log();
	for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
		no_ioctl = asked[i];
		refused(by_path(), -EIO,
			"disk.img): cannot be measured: "
			"Input/output error");
	}
	no_ioctl = 0;
	devices = false;
	stat_error = EOVERFLOW;
	refused(by_path(), -EOVERFLOW, "cannot be measured: Value too large");
	stat_error = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_odd_size),
		cmocka_unit_test(test_formats),
		cmocka_unit_test(test_host_refuses),
		cmocka_unit_test(test_locks),
		cmocka_unit_test(test_no_locks),
		cmocka_unit_test(test_lock_is_of_the_data),
		cmocka_unit_test(test_measured_when_locked),
		cmocka_unit_test(test_ring_keeps_the_lock),
		cmocka_unit_test(test_lock_is_not_the_callers),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_descriptors_as_they_are),
		cmocka_unit_test(test_descriptors_for_reading),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_overlay_places),
		cmocka_unit_test(test_overlay_fails),
		cmocka_unit_test(test_block_devices),
		cmocka_unit_test(test_overlay_too_large),
		cmocka_unit_test(test_overlay_size),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
