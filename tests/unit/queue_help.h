/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of virtio/queue.c: one queue over 32 MiB of RAM, its driver's
 * side, and a chain of two buffers to read and two to write.
 */
#ifndef TESTS_UNIT_QUEUE_HELP_H
#define TESTS_UNIT_QUEUE_HELP_H

#include "tests/unit/guest_ram.h"
#include "tests/unit/ring.h"
#include "tests/unit/unit.h"
#include "virtio/queue.h"

#define SIZE	8
#define RING_AT 0x10000
#define DATA	0x100000 /* buffers */
#define TABLE	0x80000	 /* indirect tables */
#define RAM_END (32 * MIB)

extern struct ram ram;
extern struct ring ring;
extern struct queue queue;
extern struct chain chain;

/* For cmocka: RAM for all tests of a program. */
int make(void **state);
int destroy(void **state);

/* An empty ring of SIZE entries, or of `size`, and its queue, started. */
void start(bool event_idx, bool indirect);
void start_sized(uint16_t size, bool event_idx, bool indirect);

extern const struct ring_buffer mixed[4];

/* The chain that is popped next: `mixed`, and where it begins. */
void expect_mixed(uint16_t head);
/* What `chain` has as its i-th segment. */
void expect_segment(unsigned i, uint64_t at, size_t len);

#endif
