/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine that does what the test tells it, in place of
 * virtio/block/io_uring.c and virtio/block/io_thread.c: what is submitted waits
 * in a list until the test completes it, with any result.
 */
#ifndef TESTS_UNIT_MOCK_ENGINE_H
#define TESTS_UNIT_MOCK_ENGINE_H

#include "virtio/block/io.h"

struct mock_engine {
	struct engine engine; /* first */
	int fds[BLOCK_FILES];
	/* submitted and not completed, oldest first */
	struct engine_io *waiting[ENGINE_DEPTH];
	unsigned count;
	unsigned queued;	     /* so many of the newest were not begun */
	unsigned submitted, flushed; /* in all; in all when last flushed */
};

/* By the order in which they were made: uring's, the worker's. */
extern struct mock_engine mocks[2];
extern unsigned mock_count;

/* No such engine is to be had: -errno. */
extern int mock_no_uring, mock_no_worker;

/* What becomes of an operation that somebody waits for: disk_reset. */
extern int64_t (*mock_result)(struct mock_engine *mock, struct engine_io *io);
/* Called by flush, for engines that do things at once. */
extern void (*mock_flushed)(struct mock_engine *mock);
/* Called by reap, for engines with something done. */
extern void (*mock_reaped)(struct mock_engine *mock);

void mock_complete(struct mock_engine *mock, unsigned index, int64_t result);

/* Carries it out, at most `most` bytes of a read or a write. */
int64_t mock_perform(const struct mock_engine *mock, const struct engine_io *io,
		     uint64_t most);

#endif
