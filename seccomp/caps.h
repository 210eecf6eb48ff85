/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gives up capabilities (capabilities(7)) of the thread that calls.
 */
#ifndef SECCOMP_CAPS_H
#define SECCOMP_CAPS_H

/*
 * Empties the bounding set, as far as this thread may: that takes CAP_SETPCAP,
 * and without it nothing happens.
 */
void caps_empty_bounding_set(void);

/*
 * The permitted, effective, inheritable and ambient sets become empty; but for
 * one (-1: none) in the first two, which this thread has in them. 0 or -errno,
 * unlogged.
 */
int caps_drop_all_but(int cap);

/* The first of these, which end in -1, that is in its effective set; or -1. */
int caps_find(const int *caps);

#endif
