/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a block device, from the chain that the driver made available
 * to its status byte: judged once, then carried out step by step.
 */
#ifndef VIRTIO_BLOCK_REQUEST_H
#define VIRTIO_BLOCK_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/pool.h"
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
	struct pool requests;	  /* free ones have no engine */
	struct pool pages;	  /* for what is too large for a request */
	struct request *deferred; /* in the order of their coming */
	uint64_t syncs, synced;	  /* how many were begun; the last one done */
	bool syncing;		  /* one is in flight */
	bool lost;		  /* one failed: none can be done any more */
	bool copied; /* a cluster, in this turn of the loop: see block.c */
	bool write_through; /* the driver did not negotiate FLUSH */
	bool no_punch, no_zero_range, no_discard; /* the file cannot do that */
};

#define REQUEST_SEGMENTS 5 /* that a request has room for itself */

/*
 * Small, as there are many of it. Of the chain it keeps what it needs: where
 * the driver's bytes lie that are not yet moved, and where the status goes.
 */
struct request {
	struct engine_io io;   /* first: the engine hands it back */
	struct request *next;  /* of those that are deferred */
	struct engine *engine; /* that its step is in flight with, or NULL */
	uint16_t queue, head;  /* of the chain */
	enum block_type type;
	enum block_wait waits; /* while deferred */
	uint8_t retries;
	bool canceled;	       /* nobody is to hear of it: no further step */
	uint64_t sync;	       /* a later one has all that was done before */
	uint64_t offset, left; /* of IN and OUT; of the current range */
	uint8_t *status;       /* the last byte of the writable part, */
	uint32_t writable;     /* which has so many bytes; */
	uint32_t written;      /* at its front so many were written */
	struct iovec *iov;     /* IN, OUT: those bytes; in `own` or in a page */
	unsigned iov_count;
	unsigned ranges, range; /* DISCARD, WRITE_ZEROES */
	uint32_t sectors;	/* of all that it asks for */
	uint64_t cut;		/* bytes that the step leaves of a buffer */
	void *page;		/* of disk.pages, or NULL */
	struct iovec own[REQUEST_SEGMENTS];
};

/*
 * Takes one of the disk's, for this chain: it is judged, and the first step
 * submitted or deferred. BLOCK_PENDING: the engine's `done` will come for it,
 * or for what it waits for; anything else: it is over already. A chain without
 * room for a status byte is -1: the driver broke the rules. The chain is the
 * caller's again. There is a free request: pool_has.
 */
int request_start(struct disk *disk, const struct chain *chain, unsigned queue,
		  struct request **started);

/* It is over, or was dropped. */
void request_free(struct disk *disk, struct request *request);

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

/* Bytes that the chain's request moves, for rate limits. */
uint64_t request_bytes(const struct chain *chain);

/* Puts the status byte where it goes: the last one of the writable part. */
void request_put_status(struct request *request, enum block_status status);

#endif
