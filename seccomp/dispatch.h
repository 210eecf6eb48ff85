/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a filter program from a system call's number to what it says of
 * that call, for gen_filter.c. It is no part of mote itself.
 */
#ifndef SECCOMP_DISPATCH_H
#define SECCOMP_DISPATCH_H

#include <linux/filter.h>

#define DISPATCH_ROOM 2048

/*
 * Changes the `count` instructions at `code`, in DISPATCH_ROOM, which
 * libseccomp has compiled for x86-64 alone, so that the kernel tries all
 * numbers on them with the least work. The new number of instructions; 0 where
 * there are too many, or where the new program does not decide as the old one
 * does.
 */
unsigned dispatch_rebuild(struct sock_filter *code, unsigned count);

#endif
