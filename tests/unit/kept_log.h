/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log of a test program, which is kept instead of written; mem/log.c is not
 * linked then. Errors and warnings count, what is below them is dropped, and a
 * guest's warnings are limited as in mem/log.c. Usable from any thread.
 */
#ifndef TESTS_UNIT_KEPT_LOG_H
#define TESTS_UNIT_KEPT_LOG_H

extern struct kept_log {
	unsigned count;
	char last[1024];
} logged;

/* The call before this logged one line, in which `fragment` is. */
void expect_log(const char *fragment);
void expect_no_log(void);

#endif
