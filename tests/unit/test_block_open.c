/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/block/file.c cpu/loop/file.c tests/unit/guest_ram.c */
/* uses: tests/unit/sample_file.c cpu/loop/format.c */
/* ldflags: -Wl,--wrap=open,--wrap=log_info,--wrap=ftruncate */
/* ldflags: -Wl,--wrap=fstat,--wrap=ioctl,--wrap=memfd_create */
/*
 * Opening a disk's file: what can be wrong with it, and what is said of that.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"
#include "virtio/block/file.h"

static struct block_backing backing;
static char directory[] = "/tmp/mote-test-XXXXXX";
static char path[64];

/* It is one of the lines that count here. */
void __wrap_log_info(const char *format, ...);

void __wrap_log_info(const char *format, ...)
{
	char line[256];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log_warn("%s", line);
}

/* -- the host's answers --------------------------------------------------- */

/* open() fails with this where the flags have all of those; 0: never. */
static int open_error, open_flags;

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);

int __wrap_open(const char *name, int flags, ...)
{
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
	open_error = EBUSY;
	open_flags = O_EXCL;
	refused(by_path(), -EBUSY, "mounted");
	open_error = 0;
}

static void test_locks(void **state)
{
	struct block_options options = by_path(), ro = by_path();
	struct block_backing first, second;
	int copy;

	(void)state;
	make_disk_file("", 0, 4096);
	ro.ro = true;
	opened(options);
	first = backing;
	refused(options, -EBUSY, "share the image");
	refused(ro, -EBUSY, "copy the image");
	/* A copy of the descriptor, as io_uring keeps one, holds no lock. */
	copy = dup(first.fd);
	block_close(&first);
	opened(ro);
	first = backing;
	opened(ro);
	second = backing;
	refused(options, -EBUSY, "share the image");
	options.ephemeral = true;
	opened(options);
	block_close(&backing);
	block_close(&first);
	block_close(&second);
	close(copy);
	opened(by_path());
	block_close(&backing);
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
	block_close(&backing);
	setenv("TMPDIR", "/nowhere", 1);
	opened(options); /* in another one */
	block_close(&backing);
	unsetenv("TMPDIR");
	expect_no_log();
	open_error = EROFS;
	open_flags = O_TMPFILE | O_RDWR;
	opened(options);
	expect_log("kept in memory");
	assert_true(backing.overlay_fd >= 0);
	block_close(&backing);
	open_error = 0;
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
	/* One line says where it would be kept, and one that this fails. */
	assert_int_equal(logged.count, 2);
	assert_non_null(strstr(logged.last, "memfd_create: Too many"));
	logged.count = 0;
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
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_overlay_places),
		cmocka_unit_test(test_overlay_fails),
		cmocka_unit_test(test_block_devices),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
