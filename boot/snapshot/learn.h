/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that a restored guest is going to write, since one before it has: they
 * are copied ahead, all at once and beside the making of the machine, which
 * costs a third of what the guest's faults do.
 */
#ifndef BOOT_SNAPSHOT_LEARN_H
#define BOOT_SNAPSHOT_LEARN_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/thread.h"
#include "mem/ram.h"
#include "mem/state.h"

/* A run of pages: two u32, the first's number and how many. */
#define LEARN_RUN_BYTES 8u
#define LEARN_RUNS_MAX	65536u

struct learned {
	const uint8_t *runs; /* in the state, which must stay until the end */
	size_t count;
	const struct ram *ram;
	struct thread thread;
};

/* All that is left in `s`: runs in their order, within `size` bytes. */
void learned_load(struct learned *learned, uint64_t size, struct state *s);

/*
 * Copies them, in a thread of its own, up to learned_end. Where the host cannot
 * the guest copies them by itself. Main thread, under the LOAD filter.
 */
void learned_begin(struct learned *learned, const struct ram *ram);
void learned_end(struct learned *learned);

/*
 * `len` bytes of one file into another, which has holes there: what are holes
 * stay so, and where the host can both share the rest. 0 or -errno, not logged.
 */
int learn_copy(int from, uint64_t from_off, int to, uint64_t to_off,
	       uint64_t len);

#endif
