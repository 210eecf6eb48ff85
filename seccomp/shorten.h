/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes a filter program shorter that decides the same.
 */
#ifndef SECCOMP_SHORTEN_H
#define SECCOMP_SHORTEN_H

#include <linux/filter.h>

/*
 * Instructions at most, each of which has 13 bytes of the caller's stack; and
 * how far one byte of an x86 jump reaches about. The compiler of the policy,
 * which has what it makes shortened again, says more.
 */
#ifndef SHORTEN_ROOM
#define SHORTEN_ROOM 352
#define SHORTEN_NEAR 10
#endif

/*
 * Changes the `count` instructions at `code` (1 to SHORTEN_ROOM, classic BPF as
 * seccomp(2) takes it, with loads from the call's data, AND, and jumps that
 * compare with constants) so that no instruction is there that no call needs.
 * The number of those that are left, never more than `count`.
 */
unsigned shorten_program(struct sock_filter *code, unsigned count);

#endif
