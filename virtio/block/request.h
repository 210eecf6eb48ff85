/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a block device, from the chain that the driver made available
 * to its status byte: judged once, then carried out step by step.
 */
#ifndef VIRTIO_BLOCK_REQUEST_H
#define VIRTIO_BLOCK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/block/file.h"
#include "virtio/block/io.h"
#include "virtio/limiter.h"
#include "virtio/queue.h"

/* virtio 1.2, 5.2.6: types of request and status bytes */
enum block_type {
	BLOCK_IN = 0,
	BLOCK_OUT = 1,
	BLOCK_FLUSH = 4,
	BLOCK_GET_ID = 8,
	BLOCK_DISCARD = 11,
	BLOCK_WRITE_ZEROES = 13,
};
enum block_status { BLOCK_OK, BLOCK_IOERR, BLOCK_UNSUPP, BLOCK_PENDING };

#define BLOCK_RANGES_MAX    16	      /* of one DISCARD or WRITE_ZEROES */
#define BLOCK_RANGE_SECTORS 0x200000u /* of each: 1 GiB */

struct block_range {
	uint64_t offset, len; /* bytes */
	bool unmap;
};

/* Index of engine_options.fds */
enum block_file {
	BLOCK_FILE_BASE,
	BLOCK_FILE_OVERLAY,
	BLOCK_FILE_BUFFERED, /* `direct`: the same, through the page cache */
	BLOCK_FILES,
};
_Static_assert(BLOCK_FILES == ENGINE_FILES_MAX, "all files have a place");

/* What a request that was begun may have to wait for (block_hold.c). */
enum block_wait { BLOCK_WAIT_SYNC, BLOCK_WAIT_CLUSTERS };

/* io_uring, and a worker thread beside it; or only that thread. */
#define BLOCK_ENGINES 2

/* What requests are carried out on. */
struct block_disk {
	const struct block_backing *backing;
	const char *serial;
	struct overlay *overlay;	       /* NULL: not ephemeral */
	struct engine *engines[BLOCK_ENGINES]; /* NULL: not needed */
	unsigned worker_ops;   /* enum engine_op bits: these the second does */
	struct limiter *bytes; /* charged with zeros that are written */
	struct block_request *pool;
	unsigned pool_used; /* of the pool, from its start: once in flight */
	struct block_request *held, *held_last; /* in order */
	uint64_t syncs, synced; /* how many were begun; the last one done */
	bool syncing;		/* one is in flight */
	bool lost;		/* one failed: none can be done any more */
	unsigned copies;	/* of clusters of the base; for block.c */
	bool write_through;	/* the driver did not negotiate FLUSH */
	bool stopping;		/* begin no further step: its queue ends */
	bool no_punch;		/* what the host's file cannot do */
	bool no_zero_range;
	bool no_discard;
};

struct block_request {
	struct engine_io io;	    /* first: the engine hands it back */
	struct block_request *next; /* of those that are free, or held */
	struct engine *engine; /* that its step is in flight with, or NULL */
	uint16_t queue;
	bool held;
	enum block_wait waits; /* while held */
	uint64_t sync;	       /* a later one has all that was done before */
	uint8_t retries;
	enum block_type type;
	struct cursor data;	/* the driver's bytes not yet moved */
	uint64_t offset, left;	/* of IN and OUT; of the current range */
	uint32_t written;	/* bytes at the front of the writable part */
	unsigned ranges, range; /* DISCARD, WRITE_ZEROES */
	struct block_range ranges_list[BLOCK_RANGES_MAX];
	struct chain chain;
	struct iovec iov[QUEUE_SIZE_MAX];
};

/*
 * Judges the chain and submits the first step, or holds the request until it
 * may. BLOCK_PENDING: the engine's `done` will come for it, or for what it
 * waits for; anything else: it is over already. A chain without room for a
 * status byte is -1: the driver broke the rules.
 */
int block_request_start(struct block_disk *disk, struct block_request *request);

/* After a step is done: the next one, as above, or how it ended. */
int block_request_step_done(struct block_disk *disk,
			    struct block_request *request);

/* The step that it was held for. BLOCK_PENDING, also if held anew; or over. */
int block_request_again(struct block_disk *disk, struct block_request *request);

/* Bytes that the request moves, for rate limits; before it is started. */
uint64_t block_request_bytes(const struct block_request *request);

/* Puts the status byte where it goes: the last one of the writable part. */
void block_request_put_status(struct block_request *request,
			      enum block_status status);

/* The first of those held may go on. */
bool block_held_ready(const struct block_disk *disk);

/* The first of those held, which is not any more; NULL: it has to wait yet. */
struct block_request *block_held_take(struct block_disk *disk);

/* Any of those held that came from these queues (bits); NULL: no more. */
struct block_request *block_held_end(struct block_disk *disk, uint32_t queues);

#endif
