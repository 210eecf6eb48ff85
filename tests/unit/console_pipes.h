/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The console on pipes and other descriptors: a pair of pipes, mote's stdio,
 * and data that can be told apart.
 */
#ifndef TESTS_UNIT_CONSOLE_PIPES_H
#define TESTS_UNIT_CONSOLE_PIPES_H

#include "tests/unit/console_help.h"

extern int to_guest[2], from_guest[2]; /* pipes: [0] read, [1] write */

int setup_pipes(void **state);
int teardown_pipes(void **state);
void close_fd(int *fd);

/* mote's stdin and stdout; -1: leave it closed. cmocka gets its own back. */
void start_stdio(int stdin_fd, int stdout_fd);

/* The byte at `i`, and guest_sum of the first `len`. */
uint8_t pattern(size_t i);
uint64_t pattern_sum(size_t len);

/* A program behind the guest's tty: Linux's interrupt handler. */
#define PROGRAM_BYTES 600000
extern size_t program_sent;
bool program_sends(void);

/* A child that takes its time, and is content with `want` bytes of pattern. */
pid_t slow_reader(int fd, useconds_t pause, size_t want);

#endif
