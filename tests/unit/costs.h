/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of what a device's data path costs: counts allocations, and
 * keeps a process from all system calls but those in a list. The test program
 * wraps malloc, calloc, realloc and mmap.
 */
#ifndef TESTS_UNIT_COSTS_H
#define TESTS_UNIT_COSTS_H

#include <stdbool.h>
#include <sys/syscall.h>

extern unsigned allocations;

/* Kills the process at the first call (SYS_...) that is not in the list. */
bool allow_only(const unsigned *calls, unsigned count);

/* How a child that does `work` ended; it must end by exit_group. */
int status_of_child(void (*work)(const void *how), const void *how);
bool killed_by_filter(int status);

#endif
