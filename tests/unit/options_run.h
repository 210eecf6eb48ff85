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
#include <unistd.h>

#include <cmocka.h>

#include "boot/options/options.h"
#include "mem/util.h"

#define OPTIONS_RUN_ARGS 64

extern struct options options; /* what the last line was parsed to */
extern char output[65536];     /* what was written between start and end */
extern char *argv_of[OPTIONS_RUN_ARGS + 1]; /* what split_line made */

/* Catches what is written to `fd` from start to end in `output`. */
struct capture {
	int fd, saved, memory;
};
void capture_start(struct capture *capture, int fd);
void capture_end(struct capture *capture);

/*
 * `line` to argv_of, at [0] "mote": words parted by blanks, '_' an empty one.
 * Returns how many.
 */
int split_line(const char *line);

/* As options_parse into `options`; stderr is caught. */
int run_words(int count, char **argv);
int run_line(const char *line);

/* It is parsed, and nothing is said. */
void accepts(const char *line);

/* It is refused with one line that says `expected`. */
void refuses(const char *line, const char *expected);

#endif
