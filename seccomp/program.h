/*
 * A filter's program for this run, out of what gen_filter compiled. For
 * filter.c and tests.
 */
#ifndef SECCOMP_PROGRAM_H
#define SECCOMP_PROGRAM_H

#include <linux/filter.h>

#include "seccomp/filter.h"

/* Instructions; a program that logs is a little longer than the longest. */
#define PROGRAM_ROOM 512

/*
 * Writes the program of `thread` to `to`: the number of its instructions. In
 * log mode calls from `gate` (the address after the instruction), and the
 * return from a signal handler, pass in any case.
 */
unsigned program_make(enum filter_thread thread,
		      const struct filter_options *options, const void *gate,
		      struct sock_filter *to);

/* How many rows of the policy hold. */
unsigned program_rules(enum filter_thread thread, unsigned features);

/* The name of a system call, in *to; "?" where there is none. */
#define PROGRAM_NAME_ROOM 40
void program_call_name(long number, char to[PROGRAM_NAME_ROOM]);

#endif
