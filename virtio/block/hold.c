/*
 * Requests of a block device that wait for others of the same disk.
 *
 * FLUSH: Linux tells of a write that was lost once for an open file. Of two at
 * a time one would be told, and the other one that all is safe. So there is one
 * at a time, and the next one is for all that came meanwhile.
 *
 * A write to a part of a cluster that is not in the overlay yet, while a write
 * to more of it is in flight: what neither covers has to come from the base,
 * but not behind either of them.
 *
 * Whoever is first has something in flight to wait for, or may go on; the
 * others wait for the first. Those of a queue that ends are ended. Loop's
 * thread.
 */
#include "virtio/block/request.h"

#include <string.h>

#include "mem/util.h"

int block_hold(struct block_disk *disk, struct block_request *r,
	       enum block_wait waits)
{
	r->held = true;
	r->waits = waits;
	r->next = NULL;
	if (disk->held)
		disk->held_last->next = r;
	else
		disk->held = r;
	disk->held_last = r;
	return BLOCK_PENDING;
}

/* A step in flight writes to the overlay's cluster, at its offset. */
static bool is_filled(const struct block_disk *disk, uint64_t cluster)
{
	for (unsigned i = 0; i < disk->pool_used; i++) {
		const struct block_request *r = &disk->pool[i];

		if (r->engine && r->io.op != ENGINE_READ &&
		    r->io.offset < cluster + OVERLAY_CLUSTER &&
		    cluster < r->io.offset + r->io.len)
			return true;
	}
	return false;
}

int block_prepare_clusters(struct block_disk *disk, struct block_request *r)
{
	const uint64_t ends[] = { r->offset, r->offset + r->left };
	bool own = true;
	int error;

	for (size_t i = 0; i < ARRAY_LEN(ends) && disk->overlay; i++) {
		uint64_t beyond = ends[i] % OVERLAY_CLUSTER;

		if (!beyond || ends[i] >= disk->overlay->size)
			continue;
		overlay_run(disk->overlay, ends[i], 1, &own);
		if (own)
			continue;
		if (is_filled(disk, ends[i] - beyond))
			return block_hold(disk, r, BLOCK_WAIT_CLUSTERS);
		disk->copies++;
		error = overlay_copy(disk->overlay, ends[i] - beyond);
		if (error)
			return block_fail(disk, strerror(-error));
	}
	return BLOCK_OK;
}

static bool may_go(const struct block_disk *disk, const struct block_request *r)
{
	const uint64_t last = r->offset + r->left - 1;

	if (r->waits == BLOCK_WAIT_SYNC)
		return !disk->syncing;
	return !is_filled(disk, r->offset - r->offset % OVERLAY_CLUSTER) &&
	       !is_filled(disk, last - last % OVERLAY_CLUSTER);
}

static void remove(struct block_disk *disk, struct block_request **at,
		   struct block_request *before)
{
	struct block_request *r = *at;

	*at = r->next;
	if (disk->held_last == r)
		disk->held_last = before;
	r->held = false;
}

bool block_held_ready(const struct block_disk *disk)
{
	return disk->held && may_go(disk, disk->held);
}

struct block_request *block_held_take(struct block_disk *disk)
{
	struct block_request *r = disk->held;

	if (!block_held_ready(disk))
		return NULL;
	remove(disk, &disk->held, NULL);
	return r;
}

struct block_request *block_held_end(struct block_disk *disk, uint32_t queues)
{
	struct block_request **at = &disk->held, *before = NULL, *r;

	while ((r = *at)) {
		if (queues & 1u << r->queue) {
			remove(disk, at, before);
			return r;
		}
		before = r;
		at = &r->next;
	}
	return NULL;
}
