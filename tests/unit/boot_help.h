/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of mem/ and of the loaders: files in memory, RAM, where a host
 * page comes from, and a log that is kept instead of written. Included by one
 * C file of a test program; mem/log.c is not linked then.
 */
#ifndef TESTS_UNIT_BOOT_HELP_H
#define TESTS_UNIT_BOOT_HELP_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "mem/log.h"
#include "mem/ram.h"
#include "mem/util.h"

#define MIB (1ULL << 20)
#define GIB (1ULL << 30)

/* -- the log ----------------------------------------------------------------
 */

static struct {
	unsigned count;
	char last[1024];
} logged;

#define KEEP_LOG(name)                                                         \
	void name(const char *format, ...)                                     \
	{                                                                      \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		vsnprintf(logged.last, sizeof(logged.last), format, args);     \
		va_end(args);                                                  \
		logged.count++;                                                \
	}
KEEP_LOG(log_error)
KEEP_LOG(log_warn)

/* The call before this logged one line, in which `fragment` is. */
static inline void expect_log(const char *fragment)
{
	if (logged.count != 1 || !strstr(logged.last, fragment))
		fail_msg("%u lines, the last: \"%s\"; expected one with \"%s\"",
			 logged.count, logged.last, fragment);
	logged.count = 0;
}

static inline void expect_no_log(void)
{
	if (logged.count)
		fail_msg("unexpected: %s", logged.last);
}

/* -- files ------------------------------------------------------------------
 */

static inline int file_of(const void *bytes, size_t len)
{
	int fd = memfd_create("mote-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, len), len);
	return fd;
}

/* The read end of a pipe that holds `bytes`, at most 64 KiB, and then ends. */
static inline int pipe_of(const void *bytes, size_t len)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], bytes, len), len);
	close(ends[1]);
	return ends[0];
}

/* How many descriptors are open: the same before and after what leaks none. */
static inline unsigned count_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned count = 0;

	assert_non_null(directory);
	while (readdir(directory))
		count++;
	closedir(directory);
	return count;
}

/* Bytes that differ from page to page and are never 0. */
static inline void fill(uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)((i * 7 + (i >> 12) * 13) % 255 + 1);
}

/* -- RAM --------------------------------------------------------------------
 */

static inline void make_ram(struct ram *ram, uint64_t size)
{
	struct ram_options options = { .size = size };

	assert_int_equal(ram_create(ram, &options), 0);
	expect_no_log();
}

static inline void expect_bytes(const struct ram *ram, uint64_t at,
				const void *bytes, size_t len)
{
	const uint8_t *host = ram_span(ram, GPA(at), len);

	assert_non_null(host);
	assert_memory_equal(host, bytes, len);
}

static inline void expect_zero(const struct ram *ram, uint64_t at, size_t len)
{
	const uint8_t *host = ram_span(ram, GPA(at), len);

	assert_non_null(host);
	for (size_t i = 0; i < len; i++)
		if (host[i])
			fail_msg("0x%llx is not zero",
				 (unsigned long long)at + i);
}

/* Does the page at `at` come from a memory file, by /proc/self/maps? */
static inline bool is_mapped(const struct ram *ram, uint64_t at)
{
	uintptr_t host = (uintptr_t)ram_span(ram, GPA(at), 1), start, end;
	FILE *maps = fopen("/proc/self/maps", "re");
	bool found = false, mapped = false;
	char line[512];

	assert_true(host);
	assert_non_null(maps);
	while (!found && fgets(line, sizeof(line), maps)) {
		assert_int_equal(sscanf(line, "%lx-%lx", &start, &end), 2);
		found = start <= host && host < end;
		mapped = found && strstr(line, "/memfd:");
	}
	fclose(maps);
	assert_true(found);
	return mapped;
}

#endif
