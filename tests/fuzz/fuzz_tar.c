/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/tar/format.c boot/tar/entry.c boot/tar/in.c boot/tar/make.c */
/* uses: boot/tar/place.c boot/tar/records.c boot/tar/unpack.c */
/* ldflags: -Wl,--wrap=fopen */
/*
 * The unpacker, given a stream that is the input but for its first byte: that
 * says how (see below). It works in a directory of its own, as nobody if this
 * is root, so that a way out of it would lead to little. There must be none:
 * what is beside that directory must stay as it is.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/tar/format.h"

#define HOW_CHECKSUMS 1 /* the input's are made right */
#define HOW_OWNERS    2
#define HOW_SMALL     4 /* the stream comes in small pieces */
#define HOW_FAILS     8 /* and reading fails at its end */

#define NOBODY	  65534
#define PIECE	  100
#define DESC_SELF 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

static char base[] = "/dev/shm/fuzz_tar.XXXXXX";
static char inside[sizeof(base) + 8], canary[sizeof(base) + 8];
static struct tar_work *work;
static struct stat before;

static struct {
	uint8_t *bytes;
	size_t at, len;
	uint8_t how;
} stream;

/* What was found is kept by whom this was started as. */
FILE *__wrap_fopen(const char *path, const char *mode)
{
	setfsuid(geteuid());
	setfsgid(getegid());
	return __real_fopen(path, mode);
}

static void require(bool promise, const char *what)
{
	if (promise)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

static int remove_one(const char *path, const struct stat *status, int flag,
		      struct FTW *ftw)
{
	(void)status;
	if (flag == FTW_D || flag == FTW_DNR)
		chmod(path, 0700);
	else if (flag == FTW_DP && ftw->level)
		rmdir(path);
	else if (flag != FTW_DP)
		unlink(path);
	return 0;
}

/* Where a user is who is not root, a directory has to be opened up first. */
static void empty(const char *path)
{
	nftw(path, remove_one, DESC_SELF, FTW_PHYS);
	nftw(path, remove_one, DESC_SELF, FTW_PHYS | FTW_DEPTH);
}

static void remove_all(void)
{
	empty(base);
	rmdir(base);
}

static void create_all(void)
{
	int fd;

	require(mkdtemp(base), "a directory");
	atexit(remove_all);
	snprintf(inside, sizeof(inside), "%s/in", base);
	snprintf(canary, sizeof(canary), "%s/canary", base);
	fd = open(canary, O_CREAT | O_RDWR | O_EXCL, 0666);
	require(fd >= 0 && write(fd, "canary", 6) == 6, "a canary");
	fchmod(fd, 0666);
	fstat(fd, &before);
	close(fd);
	chmod(base, 0777);
	work = mmap(NULL, TAR_WORK_BYTES, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	require(work != MAP_FAILED, "memory");
}

/* As a reader would go from one header to the next. */
static void mend_checksums(uint8_t *bytes, size_t len)
{
	struct tar_header header;
	char sum[8];
	uint64_t size;

	for (size_t at = 0; at + TAR_BLOCK <= len;) {
		memcpy(&header, bytes + at, sizeof(header));
		snprintf(sum, sizeof(sum), "%06o", tar_checksum(&header));
		if (header.name[0])
			memcpy(bytes + at +
				       offsetof(struct tar_header, checksum),
			       sum, 7);
		header.size[11] = 0;
		size = strtoull(header.size, NULL, 8);
		if (header.type >= TAR_LINK && header.type <= TAR_FIFO)
			size = 0;
		if (size > len)
			return;
		at += TAR_BLOCK +
		      (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
	}
}

static long read_stream(void *arg, void *to, size_t room)
{
	size_t n = stream.len - stream.at;

	(void)arg;
	if (!n && stream.how & HOW_FAILS)
		return -ECONNRESET;
	if (n > room)
		n = room;
	if (stream.how & HOW_SMALL && n > PIECE)
		n = PIECE;
	memcpy(to, stream.bytes + stream.at, n);
	stream.at += n;
	return (long)n;
}

static unsigned told;
static bool failed;

static void tell(void *arg, const char *why, const char *name, long error)
{
	(void)arg;
	require(*why && (!name || strlen(name) < (1 << 21)), "words");
	failed = error == -EBADMSG || error == -EIO || error == -ENOSPC;
	told++;
}

static void unpack(uint8_t how)
{
	const struct tar_options options = {
		.keep_owner = how & HOW_OWNERS,
		.warn = tell,
		.work = work,
	};
	int fd = open(inside, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int next;
	long result;

	told = 0;
	failed = false;
	setfsgid(NOBODY);
	setfsuid(NOBODY);
	result = tar_unpack(fd, &options, read_stream, NULL);
	setfsuid(geteuid());
	setfsgid(getegid());
	next = open("/", O_PATH);
	require(next == fd + 1, "no descriptor is left open");
	close(next);
	close(fd);
	require(result <= TAR_INCOMPLETE, "a result");
	require(told <= 32, "few words");
	require(result != TAR_INCOMPLETE || told, "what lacks is told");
	require(result != 0 || stream.at == stream.len, "all of it was read");
	require(result >= 0 || failed || result == -ECONNRESET,
		"why it failed is told");
}

static void look_outside(void)
{
	struct stat now;

	require(!lstat(canary, &now) && now.st_size == before.st_size &&
			now.st_nlink == before.st_nlink &&
			now.st_mode == before.st_mode &&
			now.st_ctim.tv_sec == before.st_ctim.tv_sec &&
			now.st_ctim.tv_nsec == before.st_ctim.tv_nsec,
		"the canary is as it was");
	require(!lstat(base, &now) && now.st_nlink == 3 &&
			(now.st_mode & 07777) == 0777,
		"nothing is beside it");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	if (!work)
		create_all();
	require(!mkdir(inside, 0777) && !chmod(inside, 0777), "a place");
	stream.how = *data;
	stream.at = 0;
	stream.len = size - 1;
	stream.bytes = malloc(size);
	memcpy(stream.bytes, data + 1, size - 1);
	if (stream.how & HOW_CHECKSUMS)
		mend_checksums(stream.bytes, stream.len);
	unpack(stream.how);
	free(stream.bytes);
	look_outside();
	empty(inside);
	rmdir(inside);
	return 0;
}
