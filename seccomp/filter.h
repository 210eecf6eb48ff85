/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system call filter, one program for each kind of thread. Which calls they
 * allow and why is in policy.c.
 */
#ifndef SECCOMP_FILTER_H
#define SECCOMP_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>

enum filter_thread {
	FILTER_LOOP,
	FILTER_VCPU,
	FILTER_WORKER,
	FILTER_LOAD,	  /* the main thread's first, and under all of these */
	FILTER_BROKER,	  /* a process: cpu/loop/broker.h */
	FILTER_COMMITTER, /* another one: cpu/loop/committer.h */
	FILTER_WALKER,	  /* one for each --put: boot/walker.h */
	FILTER_THREADS
};

struct filter_options {
	unsigned features; /* enum feature of cpu/loop/thread.h */
	bool log;	   /* name what would be killed, and let it pass */
	int broker_fd;	   /* where connections come from; -1: nowhere */
	int committer_fd;  /* where files come from; -1: nowhere */
};

/*
 * Once, in the main thread, before the first filter_load and the broker:
 * the handler that names the call for which a filter ends mote, and then
 * calls `killed`, which must be async-signal-safe. 0 or -errno, logged.
 */
int filter_prepare(bool log, void (*killed)(void));

/*
 * Restricts the calling thread from here on, and the threads that it starts.
 * `number` tells apart threads of one kind (the vCPU, the disk) in what is
 * reported. 0 or -errno, logged.
 */
int filter_load(enum filter_thread thread, unsigned number,
		const struct filter_options *options);

/* -- for tests, too ------------------------------------------------------- */

/*
 * Instructions; a program that logs is a little longer than the longest. Each
 * thread dirties that much of its stack for good.
 */
#define FILTER_PROGRAM_ROOM 288

/*
 * Writes the program of `thread` to `to`: the number of its instructions. In
 * log mode calls from `gate` (the address after the instruction), and the
 * return from a signal handler, pass in any case.
 */
unsigned filter_program(enum filter_thread thread,
			const struct filter_options *options, const void *gate,
			struct sock_filter *to);

/* The name of a system call of x86-64; "?" where the table lacks it. */
const char *filter_call_name(long number);

#endif
