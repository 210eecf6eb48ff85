/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device (virtio 1.2, 5.2) over a raw file or a block device.
 */
#ifndef VIRTIO_BLOCK_BLOCK_H
#define VIRTIO_BLOCK_BLOCK_H

#include "cpu/loop/counters.h"
#include "cpu/loop/loop.h"
#include "mem/state.h"
#include "virtio/block/request.h"
#include "virtio/mmio.h"

#define BLOCK_FEATURE_FLUSH (1ULL << 9) /* virtio 1.2, 5.2.3 */

/* The fields are block.c's. */
struct block {
	struct device device; /* first */
	struct block_backing backing;
	char serial[BLOCK_SERIAL_BYTES + 1];
	struct disk disk;
	struct overlay overlay;
	struct loop *loop;
	struct loop_timer timer; /* a limit has tokens again, and the like, */
	uint64_t wakes_ns;	 /* when it expires next; 0: not set */
	uint64_t trims_ns;	 /* when pools are to be trimmed; 0: shallow */
	bool batching;		 /* it expires in time for a batch */
	bool moved;		 /* block_options.moved */
	struct loop_work more;	 /* what the last turn had no budget for */
	struct limiter bytes, ops;
	/* Bits of queues. They wait for the timer, a request, or `more`. */
	uint32_t limited, starved, unfinished;
	uint32_t dirty;	    /* these have used entries to publish */
	uint32_t awaited;   /* what is in flight of these: block.c */
	uint32_t throttled; /* the next of these was counted as throttled */
	uint64_t counter[DISK_COUNTERS];
	unsigned next_queue; /* is served first when several wait */
};

/*
 * Makes the device, which takes the backing over. NULL after an error, logged.
 * Destroy only after mmio_detach.
 */
struct block *block_create(const struct block_backing *backing,
			   const struct block_options *options,
			   struct loop *loop);
struct device *block_device(struct block *block);
/* What the driver was told of so far. */
void block_counters(const struct block *block, uint64_t value[DISK_COUNTERS]);
/* Bits of enum feature that its engine uses. */
unsigned block_features(const struct block *block);
/*
 * What the host's kernel still has in hand keeps its memory, its thread, its
 * descriptors and the lock until the process ends; else nothing is left.
 */
void block_destroy(struct block *block);

/* -- snapshots (snapshot.c) ----------------------------------------------- */

/*
 * Before block_state saves, with the disk quiet: what the guest has written is
 * safe, and this is how the file is now. Waits for that. 0 or -errno, logged:
 * there can be no snapshot.
 */
int block_sync(struct block *block);

/* Tag DISK (mem/state.h); loading, before the guest runs. */
void block_state(struct block *block, struct state *s);

/* Is there an overlay, which has to be in the snapshot? */
bool block_has_layer(const struct block *block);

/*
 * How long its areas are: the map, and the clusters. In an empty disk's both
 * are holes all over.
 */
void block_layer_sizes(const struct block *block, uint64_t *map_bytes,
		       uint64_t *clusters_bytes);

/*
 * Writes a piece of them, at these places of a file that has nothing but holes
 * there: 1, and there is more; 0, it is all there; or -errno, logged. *at is 0
 * for the first piece and then the callee's. The disk stays quiet from the
 * first to the last, and is afterwards what it was before.
 */
int block_save_layer(struct block *block, int fd, uint64_t map_at,
		     uint64_t clusters_at, uint64_t *at);

/*
 * The overlay that was saved there lies below this disk's own, which is empty;
 * after block_state, before the guest runs. The file stays the caller's, and
 * open. 0, or -errno and what is wrong, as state_check has it.
 */
int block_use_layer(struct block *block, int fd, uint64_t map_at,
		    uint64_t clusters_at, const char **wrong);

#endif
