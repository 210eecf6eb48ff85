/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/tar/format.c boot/tar/head.c boot/tar/links.c boot/tar/out.c */
/* uses: boot/tar/pack.c boot/tar/sparse.c */
/* uses: boot/tar/entry.c boot/tar/in.c boot/tar/make.c boot/tar/place.c */
/* uses: boot/tar/records.c boot/tar/unpack.c */
/*
 * What --put and --get pack and unpack, by itself, for tests/tar.t:
 *
 *	pax [-k] pack PATH >STREAM	-k: owners are kept
 *	pax [-k] unpack DIR <STREAM
 *
 * Each warning is a line. Status 0; 1: incomplete; 2: failed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/tar/tar.h"

static long write_all(void *arg, const void *bytes, size_t len)
{
	const char *from = bytes;
	ssize_t n;

	(void)arg;
	for (; len; len -= (size_t)n, from += n) {
		n = write(STDOUT_FILENO, from, len);
		if (n < 0)
			return -errno;
	}
	return 0;
}

static long read_some(void *arg, void *to, size_t room)
{
	const ssize_t n = read(STDIN_FILENO, to, room);

	(void)arg;
	return n < 0 ? -errno : n;
}

static void say(void *arg, const char *why, const char *name, long error)
{
	(void)arg;
	fprintf(stderr, "%s%s%s%s%s\n", why, name ? ": " : "", name ? name : "",
		error ? ": " : "", error ? strerror((int)-error) : "");
}

int main(int argc, char **argv)
{
	struct tar_options options = { .warn = say };
	long result;
	int fd;

	options.keep_owner = argc == 4 && !strcmp(argv[1], "-k");
	argv += argc - 3;
	options.work = mmap(NULL, TAR_WORK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (argc < 3 || options.work == MAP_FAILED)
		return 2;
	if (!strcmp(argv[1], "pack")) {
		result = tar_pack(AT_FDCWD, argv[2], &options, write_all, NULL);
	} else {
		fd = open(argv[2], O_PATH | O_DIRECTORY);
		result = fd < 0 ? -errno
				: tar_unpack(fd, &options, read_some, NULL);
	}
	if (result < 0)
		fprintf(stderr, "failed: %s\n", strerror((int)-result));
	return result < 0 ? 2 : (int)result;
}
