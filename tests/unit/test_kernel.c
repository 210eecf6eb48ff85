/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/kernel.c boot/source.c cpu/loop/format.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c */
/* What is given as a kernel: files of other kinds, streams, no file at all. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "boot/kernel.h"
#include "boot/source.h"
#include "tests/unit/boot_sample.h"
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"

static struct sample sample;

static const struct sample_segment segments[] = {
	{ PT_LOAD, 0x1000, 0, 0x100000, 0x2000, 0x4000 },
};

static void make_good(void)
{
	sample_elf(&sample, segments, ARRAY_LEN(segments), 0x100000);
}

/* Loads into fresh RAM; closes fd. */
static int load(int fd)
{
	struct kernel_image image;
	struct ram ram;
	int error;

	make_ram(&ram, 64 * MIB);
	error = kernel_load(&image, &ram, fd, "given", false);
	if (!error)
		expect_bytes(&ram, 0x100000, sample.bytes + 0x1000, 0x2000);
	ram_destroy(&ram);
	close(fd);
	return error;
}

static void test_strangers(void **state)
{
	static const struct {
		size_t offset, len;
		const char *bytes, *log;
	} cases[] = {
		{ 0, 3, "\x1f\x8b\x08", "kernel given: is a gzip file; dec" },
		{ 0, 6,
		  "\xfd"
		  "7zXZ\0",
		  "is an xz file" },
		{ 0, 4, "BZh9", "is a bzip2 file" },
		{ 0, 4, "\x28\xb5\x2f\xfd", "is a zstd file" },
		{ 0, 4, "\x02\x21\x4c\x18", "is an lz4 file" },
		{ 0, 4, "\x04\x22\x4d\x18", "is an lz4 file" },
		{ 0, 4, "\x89LZO", "is an lzop file" },
		{ 0, 3, "\x5d\0\0", "is an lzma file" },
		{ 0x38, 4, "ARMd", "is an ARM64 Image" },
		{ 0x38, 4, "RSC\x05", "is a RISC-V Image" },
		{ 0x24, 4, "\x18\x28\x6f\x01", "is an ARM zImage" },
		{ 0, 4, "\x27\x05\x19\x56", "is a U-Boot uImage" },
		{ 0, 4, "\xd0\x0d\xfe\xed", "is a device tree or FIT" },
		{ 4, 4, "zimg", "is an EFI zboot image" },
		{ 0, 6, "070701", "is a cpio archive; give it with --initrd" },
		{ 0, 4, "QFI\xfb", "is a qcow2 disk image" },
		{ 0, 4, "KDMV", "is a VMDK disk image" },
		{ 0x438, 2, "\x53\xef",
		  "an ext4 file system; give it with --d" },
		{ 0, 4, "hsqs", "is a squashfs file system" },
		{ 0, 4, "XFSB", "is an XFS file system" },
		{ 0x400, 4, "\xe2\xe1\xf5\xe0", "is an EROFS file system" },
		{ 0, 8, "!<arch>\n", "is a Debian package" },
		{ 0, 4, "\xed\xab\xee\xdb", "is an RPM package" },
		{ 0, 4, "PK\x03\x04", "is a zip archive; take the kernel" },
		{ 257, 5, "ustar", "is a tar archive" },
		{ 0, 10, "#!/bin/sh\n", "is a script" },
		{ 0x1fe, 2, "\x55\xaa", "is a disk image" },
		{ 0, 2, "MZ", "is an EFI or DOS program" },
		{ 0, 5, "hello", "is neither an ELF vmlinux nor a bzImage" },
		{ 0x203, 4, "HdrS", "is neither an ELF vmlinux nor a bzImage" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t bytes[4096] = { 0 };

		memcpy(bytes + cases[i].offset, cases[i].bytes, cases[i].len);
		assert_int_equal(load(file_of(bytes, sizeof(bytes))), -ENOEXEC);
		expect_log(cases[i].log);
		/* And cut off after the magic. */
		assert_int_equal(
			load(file_of(bytes, cases[i].offset + cases[i].len)),
			-ENOEXEC);
		expect_log(cases[i].log);
	}
}

static void test_short(void **state)
{
	(void)state;
	assert_int_equal(load(file_of("", 0)), -ENODATA);
	expect_log("kernel given: is empty");
	assert_int_equal(load(file_of("\177", 1)), -ENOEXEC);
	expect_log("is neither");
	assert_int_equal(load(file_of("\177ELF", 4)), -ENODATA);
	expect_log("ends within its ELF header");
}

/* The first page tables map one GiB. */
static void test_entry_out_of_reach(void **state)
{
	static const struct sample_segment high[] = {
		{ PT_LOAD, 0x1000, 0, GIB - 0x1000, 0x2000, 0x2000 },
	};
	static const struct {
		uint64_t entry;
		int error;
	} cases[] = { { GIB - 1, 0 }, { GIB, -EINVAL } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct kernel_image image;
		struct ram ram;
		int fd;

		sample_elf(&sample, high, ARRAY_LEN(high), cases[i].entry);
		fd = file_of(sample.bytes, sample.len);
		make_ram(&ram, 2 * GIB);
		assert_int_equal(kernel_load(&image, &ram, fd, "given", false),
				 cases[i].error);
		ram_destroy(&ram);
		close(fd);
	}
	expect_log("kernel given: starts at 0x40000000, and what is mapped");
}

static void test_not_files(void **state)
{
	unsigned fds = count_fds();
	int ends[2];

	(void)state;
	assert_int_equal(load(open("/", O_RDONLY | O_CLOEXEC)), -EISDIR);
	expect_log("is a directory");
	assert_int_equal(load(open("/dev/null", O_RDONLY | O_CLOEXEC)),
			 -ENODATA);
	expect_log("is empty");
	assert_int_equal(load(-1), -EBADF);
	expect_log("cannot be read");
	make_good();
	assert_int_equal(load(open("/dev/null", O_WRONLY | O_CLOEXEC)), -EBADF);
	expect_log("open it for reading");
	assert_int_equal(pipe(ends), 0);
	close(ends[1]);
	assert_int_equal(load(ends[0]), -ENODATA);
	expect_log("is empty");
	assert_int_equal(load(open("/proc/self/mem", O_RDONLY | O_CLOEXEC)),
			 -EIO);
	expect_log("cannot be read");
	assert_int_equal(count_fds(), fds);
}

static void test_write_only(void **state)
{
	char path[] = "/tmp/mote-test-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	make_good();
	assert_true(fd >= 0);
	assert_int_equal(write(fd, sample.bytes, sample.len), sample.len);
	close(fd);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	unlink(path);
	assert_int_equal(load(fd), -EBADF);
	expect_log("kernel given: cannot be read: Bad file descriptor (open it "
		   "for reading)");
}

/* As with `-k <(zcat vmlinux.gz)`: and its pages can be mapped all the same. */
static void test_pipe(void **state)
{
	struct kernel_image image;
	unsigned fds = count_fds();
	struct ram ram;
	int fd;

	(void)state;
	make_good();
	fd = pipe_of(sample.bytes, sample.len);
	make_ram(&ram, 64 * MIB);
	assert_int_equal(kernel_load(&image, &ram, fd, "fd=3", false), 0);
	expect_no_log();
	expect_bytes(&ram, 0x100000, sample.bytes + 0x1000, 0x2000);
	assert_true(is_mapped(&ram, 0x100000));
	assert_int_equal(close(fd), 0); /* it is still ours */
	assert_int_equal(count_fds(), fds);
	ram_destroy(&ram);
}

static void *send_slowly(void *arg)
{
	int fd = *(int *)arg;

	for (size_t at = 0; at < sample.len; at += 1000) {
		size_t len = sample.len - at < 1000 ? sample.len - at : 1000;

		usleep(2000);
		assert_int_equal(write(fd, sample.bytes + at, len), len);
	}
	close(fd);
	return NULL;
}

/* A descriptor that its owner left non-blocking, and that is slow. */
static void test_nonblocking(void **state)
{
	pthread_t sender;
	int ends[2];

	(void)state;
	make_good();
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(pthread_create(&sender, NULL, send_slowly, &ends[1]),
			 0);
	assert_int_equal(load(ends[0]), 0);
	assert_int_equal(pthread_join(sender, NULL), 0);
}

static void test_endless(void **state)
{
	struct source source;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(source_open(&source, "kernel", fd, "z", 10 * MIB),
			 -EFBIG);
	expect_log("sends more than 10 MiB");
	assert_int_equal(source.fd, -1);
	close(fd);
}

/* A file that ends before the size that it had when it was opened. */
static void test_shrinks(void **state)
{
	struct source source;
	uint8_t bytes[16];
	struct ram ram;
	int fd;

	(void)state;
	make_good();
	fd = file_of(sample.bytes, sample.len);
	assert_int_equal(source_open(&source, "kernel", fd, "s", 0), 0);
	assert_int_equal(source_read(&source, bytes, sample.len - 15, 16),
			 -ENODATA);
	expect_log("ended while it was read");
	assert_int_equal(source_read(&source, bytes, UINT64_MAX, 16), -ENODATA);
	expect_log("ended while it was read");
	assert_int_equal(ftruncate(fd, 0x1008), 0);
	assert_int_equal(source_read(&source, bytes, 0x1000, 16), -ENODATA);
	expect_log("ended while it was read");
	make_ram(&ram, 64 * MIB);
	assert_int_equal(source_load(&source, &ram, GPA(MIB), 0, 8192, false),
			 -ENODATA);
	expect_log("ended while it was read");
	ram_destroy(&ram);
	source_close(&source);
	assert_int_equal(close(fd), 0);
}

/* A name is never a format, and a long one leaves room for the reason. */
static void test_names(void **state)
{
	struct kernel_image image;
	char name[4000];
	struct ram ram;
	int fd = file_of("%s%n", 4);

	(void)state;
	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	make_ram(&ram, 64 * MIB);
	assert_int_equal(kernel_load(&image, &ram, fd, "%s%n%s", false),
			 -ENOEXEC);
	expect_log("kernel %s%n%s: is neither");
	assert_int_equal(kernel_load(&image, &ram, fd, name, false), -ENOEXEC);
	expect_log("nnn: is neither an ELF vmlinux nor a bzImage; give an x86");
	ram_destroy(&ram);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strangers),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_entry_out_of_reach),
		cmocka_unit_test(test_not_files),
		cmocka_unit_test(test_write_only),
		cmocka_unit_test(test_pipe),
		cmocka_unit_test(test_nonblocking),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_shrinks),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
