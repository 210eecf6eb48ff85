/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors of a test program: files and pipes with known bytes in them. */
#ifndef TESTS_UNIT_SAMPLE_FILE_H
#define TESTS_UNIT_SAMPLE_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Bytes that differ from page to page and are never 0. */
void fill(uint8_t *bytes, size_t len);

/* A file in memory that holds `bytes`; the caller closes it. */
int file_of(const void *bytes, size_t len);

/* The read end of a pipe that holds `bytes`, at most 64 KiB, and then ends. */
int pipe_of(const void *bytes, size_t len);

/* How many descriptors are open: the same before and after what leaks none. */
unsigned count_fds(void);

#endif
