/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/tar/format.c boot/tar/entry.c boot/tar/in.c boot/tar/make.c */
/* uses: boot/tar/place.c boot/tar/records.c boot/tar/unpack.c */
/* What tests of packing and unpacking share; see tar_help.h. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/mman.h>

#include "tar_help.h"

#define STREAM_MAX (8 << 20)

struct tar_options tar_options;
struct told told;
struct tar_stream tar_stream;

static char directory[] = "/tmp/mote-tar.XXXXXX";

static void tell(void *arg, const char *why, const char *name, long error)
{
	(void)arg;
	told.count++;
	told.error = error;
	snprintf(told.why, sizeof(told.why), "%s", why);
	snprintf(told.name, sizeof(told.name), "%s", name ? name : "");
}

int tar_setup(void **state)
{
	(void)state;
	tar_options.warn = tell;
	tar_options.work = mmap(NULL, TAR_WORK_BYTES, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	tar_stream.bytes = malloc(STREAM_MAX);
	umask(022);
	return tar_options.work == MAP_FAILED || !tar_stream.bytes ||
	       !mkdtemp(directory) || chmod(directory, 0755) ||
	       chdir(directory);
}

static int remove_one(const char *path, const struct stat *status, int flag,
		      struct FTW *ftw)
{
	(void)status;
	if (flag == FTW_D || flag == FTW_DNR)
		return chmod(path, 0755);
	if (flag == FTW_DP)
		return ftw->level ? rmdir(path) : 0;
	return unlink(path);
}

int tar_empty(void **state)
{
	(void)state;
	return nftw(directory, remove_one, 16, FTW_PHYS) ||
	       nftw(directory, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

int tar_teardown(void **state)
{
	(void)state;
	free(tar_stream.bytes);
	munmap(tar_options.work, TAR_WORK_BYTES);
	return rmdir(directory);
}

/* -- the stream ----------------------------------------------------------- */

void tar_begin(void)
{
	char *bytes = tar_stream.bytes;

	tar_stream = (struct tar_stream){ .bytes = bytes };
	memset(&told, 0, sizeof(told));
}

void tar_put(const void *bytes, size_t len)
{
	assert_true(len <= STREAM_MAX - tar_stream.len);
	memcpy(tar_stream.bytes + tar_stream.len, bytes, len);
	tar_stream.len += len;
}

void tar_put_data(const void *bytes, size_t len)
{
	static const char zeros[TAR_BLOCK];

	tar_put(bytes, len);
	tar_put(zeros, tar_padding((int64_t)len));
}

void tar_put_end(void)
{
	static const char zeros[2 * TAR_BLOCK];

	tar_put(zeros, sizeof(zeros));
}

void tar_put_header(char type, const char *name, const char *link, size_t size,
		    void (*edit)(struct tar_header *header))
{
	struct tar_header header = {
		.mode = "0000640",
		.uid = "0000000",
		.gid = "0000000",
		.mtime = "00000000123",
		.type = type,
		.magic = { 'u', 's', 't', 'a', 'r', 0, '0', '0' },
	};

	if (type == TAR_DIR)
		memcpy(header.mode, "0000750", 8);
	memcpy(header.name, name, strlen(name));
	memcpy(header.link, link, strlen(link));
	snprintf(header.size, sizeof(header.size), "%011zo", size);
	if (edit)
		edit(&header);
	snprintf(header.checksum, sizeof(header.checksum), "%06o",
		 tar_checksum(&header));
	tar_put(&header, sizeof(header));
}

void tar_put_file(const char *name, const char *text)
{
	tar_put_header(TAR_FILE, name, "", strlen(text), NULL);
	tar_put_data(text, strlen(text));
}

void tar_put_pax(char type, const char *records)
{
	char text[4096];
	size_t len = 0;

	for (const char *at = records; *at;) {
		const int rest = (int)strcspn(at, "|");
		int digits = 1;

		while (snprintf(NULL, 0, "%d", rest + 2 + digits) != digits)
			digits++;
		len += (size_t)snprintf(text + len, sizeof(text) - len,
					"%d %.*s\n", rest + 2 + digits, rest,
					at);
		at += rest + 1;
	}
	tar_put_header(type, "pax", "", len, NULL);
	tar_put_data(text, len);
}

long tar_collect(void *arg, const void *bytes, size_t len)
{
	(void)arg;
	if (tar_stream.each)
		tar_stream.each(tar_stream.len);
	if (tar_stream.error)
		return tar_stream.error;
	tar_put(bytes, len);
	return 0;
}

long tar_supply(void *arg, void *to, size_t room)
{
	size_t n = tar_stream.len - tar_stream.at;

	(void)arg;
	assert_true(room > 0);
	if (tar_stream.each)
		tar_stream.each(tar_stream.at);
	if (!n)
		return tar_stream.error;
	if (n > room)
		n = room;
	if (tar_stream.piece && n > tar_stream.piece)
		n = tar_stream.piece;
	memcpy(to, tar_stream.bytes + tar_stream.at, n);
	tar_stream.at += n;
	return (long)n;
}

long tar_run(void)
{
	long result;
	int fd;

	assert_int_equal(mkdir("out", 0755), 0);
	fd = open("out", O_PATH | O_DIRECTORY);
	assert_true(fd >= 0);
	result = tar_unpack(fd, &tar_options, tar_supply, NULL);
	close(fd);
	return result;
}

/* -- files ---------------------------------------------------------------- */

const char *tar_read_file(const char *name)
{
	static char text[4096];
	ssize_t len;
	int fd = open(name, O_RDONLY);

	text[0] = 0;
	if (fd < 0)
		return text;
	len = read(fd, text, sizeof(text) - 1);
	text[len > 0 ? len : 0] = 0;
	close(fd);
	return text;
}

struct stat tar_look(const char *name)
{
	struct stat status;

	assert_int_equal(lstat(name, &status), 0);
	return status;
}

bool tar_is(const char *name)
{
	struct stat status;

	return !lstat(name, &status);
}
