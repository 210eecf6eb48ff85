/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files to boot from.
 *
 * A regular file or a block device has a size and is read in place, so that its
 * pages can be mapped into the guest (mem/ram.c). Anything else is a stream: it
 * is copied once into a memory file, and from there on treated the same.
 * Trusts neither the file nor its size: a file that shrinks after it was
 * measured ends in -ENODATA. Owns the memory file only, never the caller's fd.
 * Runs in the main thread before the vCPUs do; makes no system calls but fstat,
 * lseek, pread and mmap, and for a stream memfd_create, poll, read and write.
 */
#include "boot/source.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

#define MIB	    (1ULL << 20)
#define STREAM_STEP 65536

int source_error(const struct source *source, int error, const char *format,
		 ...)
{
	char text[768];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_error("%s %.200s: %s", source->what, source->name, text);
	return error;
}

static int log_unreadable(const struct source *source, int error)
{
	return source_error(source, error, "cannot be read: %s%s",
			    strerror(-error),
			    error == -EBADF ? " (open it for reading)" : "");
}

/* As read(), also where the descriptor was left non-blocking by its owner. */
static ssize_t read_stream_blocking(int fd, void *to, size_t len)
{
	for (;;) {
		ssize_t n = read(fd, to, len);
		struct pollfd wait = { .fd = fd, .events = POLLIN };

		if (n >= 0)
			return n;
		if (errno == EAGAIN) {
			if (poll(&wait, 1, -1) < 0 && errno != EINTR)
				return -errno;
		} else if (errno != EINTR) {
			return -errno;
		}
	}
}

static int copy_stream_to_memory(struct source *source, int from, uint64_t most)
{
	uint8_t step[STREAM_STEP];
	ssize_t n = 0;
	int error = 0;

	source->fd = memfd_create(source->what, MFD_CLOEXEC);
	if (source->fd < 0)
		return source_error(source, -errno,
				    "no memory file to read it into: %s; give "
				    "a regular file",
				    strerror(errno));
	source->copied = true;
	while (!error) {
		n = read_stream_blocking(from, step, sizeof(step));
		if (n <= 0)
			break;
		source->size += (uint64_t)n;
		if (source->size > most)
			return source_error(source, -EFBIG,
					    "sends more than %llu MiB, which "
					    "RAM cannot hold; give a larger "
					    "--memory or a smaller file",
					    (unsigned long long)(most / MIB));
		errno = ENOMEM; /* for a write that is cut short */
		if (write(source->fd, step, (size_t)n) != n)
			error = -errno;
	}
	if (error)
		return source_error(source, error,
				    "cannot be kept in memory: %s",
				    strerror(-error));
	return n < 0 ? log_unreadable(source, (int)n) : 0;
}

/* The size of what has one; 0 for a stream. */
static int measure_source(struct source *source)
{
	struct stat st;
	off_t end;

	if (fstat(source->fd, &st))
		return log_unreadable(source, -errno);
	if (S_ISDIR(st.st_mode))
		return source_error(source, -EISDIR,
				    "is a directory; give a file in it");
	if (S_ISREG(st.st_mode))
		source->size = (uint64_t)st.st_size;
	if (S_ISBLK(st.st_mode)) {
		end = lseek(source->fd, 0, SEEK_END);
		if (end < 0)
			return log_unreadable(source, -errno);
		source->size = (uint64_t)end;
	}
	return 0;
}

int source_open(struct source *source, const char *what, int fd,
		const char *name, uint64_t most)
{
	int error;

	*source = (struct source){ .fd = fd, .what = what, .name = name };
	error = measure_source(source);
	/* Files of /proc and /sys say 0 and are read as streams too. */
	if (!error && !source->size)
		error = copy_stream_to_memory(source, fd, most);
	if (!error && !source->size)
		error = source_error(source, -ENODATA,
				     "is empty; give the whole file");
	if (error)
		source_close(source);
	return error;
}

void source_close(struct source *source)
{
	if (source->copied)
		close(source->fd);
	source->copied = false;
	source->fd = -1;
}

static int log_cut_short(const struct source *source)
{
	return source_error(source, -ENODATA,
			    "ended while it was read; is something still "
			    "writing it?");
}

int source_read(const struct source *source, void *to, uint64_t offset,
		size_t len)
{
	uint8_t *at = to;

	if (offset > source->size || len > source->size - offset)
		return log_cut_short(source);
	while (len) {
		ssize_t n = pread(source->fd, at, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return log_unreadable(source, -errno);
		if (!n)
			return log_cut_short(source);
		at += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int source_load(const struct source *source, struct ram *ram, gpa at,
		uint64_t offset, uint64_t len, bool copy)
{
	int error = ram_load(ram, at, source->fd, offset, len, copy);

	if (error == -ENODATA)
		return log_cut_short(source);
	if (error)
		return source_error(source, error,
				    "cannot be loaded at 0x%llx: %s",
				    (unsigned long long)at.v, strerror(-error));
	return 0;
}

uint64_t source_memory(uint64_t end)
{
	return round_up(end < RAM_MIN_SIZE ? RAM_MIN_SIZE : end, MIB) / MIB;
}

int source_check_range(const struct source *source, const struct ram *ram,
		       gpa at, uint64_t len, const char *part)
{
	unsigned long long start = at.v;
	uint64_t end;

	if (at.v < SOURCE_LOW_END)
		return source_error(
			source, -EINVAL,
			"%s is at 0x%llx, below 1 MiB, where the "
			"boot tables are; link it at 1 MiB or above",
			part, start);
	if (add_wraps(at.v, len, &end) || end > RAM_GAP_START)
		return source_error(source, -EINVAL,
				    "%s is at 0x%llx with %llu bytes, not "
				    "below 3 GiB as a guest's kernel must be; "
				    "link it at a lower physical address",
				    part, start, (unsigned long long)len);
	if (end > ram->region[0].size)
		return source_error(source, -ENOMEM,
				    "%s ends at 0x%llx, past the end of RAM; "
				    "give --memory %lluM or more",
				    part, (unsigned long long)end,
				    (unsigned long long)source_memory(end));
	return 0;
}
