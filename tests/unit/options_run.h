/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of the command line: run the parser on a line of words, with
 * what it writes caught.
 */
#ifndef TESTS_UNIT_OPTIONS_RUN_H
#define TESTS_UNIT_OPTIONS_RUN_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/options/options.h"
#include "mem/util.h"

#define ARGS_MAX 64

static struct options options;
static char output[65536]; /* what the last call wrote */

struct capture {
	int fd, saved, memory;
};

static inline void capture_start(struct capture *capture, int fd)
{
	fflush(stdout);
	capture->fd = fd;
	capture->saved = dup(fd);
	capture->memory = memfd_create("output", 0);
	assert_true(capture->saved >= 0 && capture->memory >= 0);
	assert_true(dup2(capture->memory, fd) == fd);
}

static inline void capture_end(struct capture *capture)
{
	ssize_t n;

	fflush(stdout);
	dup2(capture->saved, capture->fd);
	n = pread(capture->memory, output, sizeof(output) - 1, 0);
	assert_true(n >= 0);
	output[n] = '\0';
	close(capture->saved);
	close(capture->memory);
}

static inline int run(int count, char **argv)
{
	struct capture capture;
	int done;

	memset(&options, 0xa5, sizeof(options));
	capture_start(&capture, STDERR_FILENO);
	done = options_parse(&options, count, argv);
	capture_end(&capture);
	return done;
}

/* `line` as argv, at [0] "mote": words parted by blanks, '_' an empty one. */
static char *argv_of[ARGS_MAX + 1];

static inline int split(const char *line)
{
	static char buf[4096];
	int n = snprintf(buf, sizeof(buf), "mote %s", line), count = 0;
	char *word;

	assert_true(n > 0 && n < (int)sizeof(buf));
	for (word = strtok(buf, " "); word; word = strtok(NULL, " ")) {
		assert_true(count < ARGS_MAX);
		if (!strcmp(word, "_"))
			*word = '\0';
		argv_of[count++] = word;
	}
	argv_of[count] = NULL;
	return count;
}

static inline int parse(const char *line)
{
	return run(split(line), argv_of);
}

static inline void accept(const char *line)
{
	int done = parse(line);

	if (done || output[0])
		fail_msg("mote %s: %d, %s", line, done, output);
}

/* Refused with one line that says `expected`. */
static inline void refuse(const char *line, const char *expected)
{
	int done = parse(line);
	size_t len = strlen(output);

	if (done != -EINVAL)
		fail_msg("mote %s: returned %d", line, done);
	if (!strstr(output, expected))
		fail_msg("mote %s: said %s, not %s", line, output, expected);
	if (!len || strchr(output, '\n') != output + len - 1)
		fail_msg("mote %s: not one line: %s", line, output);
	assert_int_equal(strncmp(output, "mote: ", 6), 0);
}

#endif
