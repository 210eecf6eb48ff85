/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which system calls each kind of thread may make: one table, read by
 * gen_filter.c while building, and by tests. It is no part of mote itself.
 */
#ifndef SECCOMP_POLICY_H
#define SECCOMP_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/thread.h"
#include "seccomp/filter.h"

#define POLICY_ARGS 4

/*
 * The argument `index`, AND `mask`, must equal `value`. Of most arguments only
 * the low 32 bits are looked at: those that are judged are int for the kernel,
 * and musl extends the sign of what it passes on. Pointers are looked at whole.
 */
struct policy_arg {
	bool used;
	unsigned index;
	uint64_t mask, value;
};

/*
 * As values, which are put there at run time: the number of the process, and of
 * the descriptor that leads to the broker.
 */
#define POLICY_SELF	 0x7051d0ffu
#define POLICY_BROKER	 0x7051d0feu
#define POLICY_COMMITTER 0x7051d0fdu

struct policy_rule {
	unsigned threads;  /* bits of 1 << enum filter_thread */
	unsigned features; /* any of these must be in use; 0: always */
	int call;
	struct policy_arg arg[POLICY_ARGS];
	const char *why;
};

extern const struct policy_rule policy_rules[];
extern const size_t policy_count;

#endif
