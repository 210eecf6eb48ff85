/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest kernel's command line, built up from words, and questions about
 * what it says. Read as Linux reads it (kernel/params.c): words are parted by
 * spaces outside of double quotes, '-' and '_' are the same in a key, and what
 * follows a word "--" is for the guest's init.
 */
#ifndef BOOT_CMDLINE_H
#define BOOT_CMDLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CMDLINE_SIZE 2048 /* x86 Linux's COMMAND_LINE_SIZE, NUL included */

/* All zero is a line without words. */
struct cmdline {
	char text[CMDLINE_SIZE]; /* always ends in NUL */
	size_t len;		 /* without the NUL */
};

/*
 * Append `words`, parted from the rest by one space; spaces around them are
 * dropped. -E2BIG where they do not fit, -EINVAL for control characters or a
 * quote left open; logged, and the line is as it was.
 */
int cmdline_add(struct cmdline *line, const char *words);

/* 0, or -E2BIG and logged: this kernel reads `max` bytes at most. */
int cmdline_check(const struct cmdline *line, uint32_t max);

/* Is there the word `key`, or a word `key=...`? */
bool cmdline_has(const struct cmdline *line, const char *key);

/*
 * Does the guest leave 0x1234 at physical 0x472 on a reboot and 0 on a panic?
 * So it does where the last mode that reboot= gives is warm, and the last one
 * that it gives for panics is neither warm nor absent.
 */
bool cmdline_tells_panic(const struct cmdline *line);

#endif
