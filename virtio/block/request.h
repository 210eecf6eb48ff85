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

/* What a deferred request waits for. */
enum block_wait { BLOCK_WAIT_SYNC, BLOCK_WAIT_CLUSTERS };

/* io_uring, and a worker thread beside it; or only that thread. */
#define BLOCK_ENGINES 2

/* What requests are carried out on. */
struct disk {
	const struct block_backing *backing;
	const char *serial;
	struct overlay *overlay;	       /* NULL: not ephemeral */
	struct engine *engines[BLOCK_ENGINES]; /* NULL: not needed */
	unsigned worker_ops; /* enum engine_op bits: these the second does */
	/* Charged with what the driver's requests do not tell of. */
	struct limiter *bytes, *ops;
	struct request *pool;
	unsigned pool_used; /* of the pool, from its start: once in flight */
	struct request *deferred; /* in the order of their coming */
	uint64_t syncs, synced;	  /* how many were begun; the last one done */
	bool syncing;		  /* one is in flight */
	bool lost;		  /* one failed: none can be done any more */
	bool copied; /* a cluster, in this turn of the loop: see block.c */
	bool write_through; /* the driver did not negotiate FLUSH */
	bool no_punch, no_zero_range, no_discard; /* the file cannot do that */
};

struct request {
	struct engine_io io;   /* first: the engine hands it back */
	struct request *next;  /* of those that are free, or deferred */
	struct engine *engine; /* that its step is in flight with, or NULL */
	uint16_t queue;
	enum block_wait waits; /* while deferred */
	uint64_t sync;	       /* a later one has all that was done before */
	uint8_t retries;
	bool canceled; /* nobody is to hear of it: no further step */
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
 * Judges the chain and submits the first step, or defers it. BLOCK_PENDING: the
 * engine's `done` will come for it, or for what it waits for; anything else: it
 * is over already. A chain without room for a status byte is -1: the driver
 * broke the rules.
 */
int request_start(struct disk *disk, struct request *request);

/* After a step is done: the next one, as above, or how it ended. */
int request_step_done(struct disk *disk, struct request *request);

/*
 * Goes on with the first deferred request: *status is as above. NULL, and
 * nothing done, where it cannot go on yet, or there is none.
 */
struct request *request_resume(struct disk *disk, int *status);
bool request_can_resume(const struct disk *disk);

/* Any deferred request that came from these queues (bits); NULL: no more. */
struct request *request_drop_deferred(struct disk *disk, uint32_t queues);

/* Bytes that the request moves, for rate limits; before it is started. */
uint64_t request_bytes(const struct request *request);

/* Puts the status byte where it goes: the last one of the writable part. */
void request_put_status(struct request *request, enum block_status status);

#endif
