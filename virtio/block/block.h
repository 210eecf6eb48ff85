/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device (virtio 1.2, 5.2) over a raw file or a block device.
 */
#ifndef VIRTIO_BLOCK_BLOCK_H
#define VIRTIO_BLOCK_BLOCK_H

#include "cpu/loop/loop.h"
#include "virtio/block/request.h"
#include "virtio/device.h"

#define BLOCK_FEATURE_FLUSH (1ULL << 9) /* virtio 1.2, 5.2.3 */

struct block {
	struct device device; /* first */
	struct block_backing backing;
	char serial[BLOCK_SERIAL_BYTES + 1];
	struct block_disk disk;
	struct overlay overlay;
	struct loop *loop;
	struct loop_timer timer; /* stalled queues have another look */
	struct limiter bytes, ops;
	/* Bits of queues: waiting for the timer, for a request; to publish. */
	uint32_t stalled, starved, dirty;
	unsigned next_queue; /* whose turn it is when several wait */
	unsigned in_flight;
	bool resetting;
	uint32_t draining; /* bits of queues whose requests are to end */
	struct block_request *free; /* of disk.pool, used once: a stack */
};

/*
 * Makes the device, which takes the backing over. NULL after an error, logged.
 * Destroy only after mmio_detach.
 */
struct block *block_create(const struct block_backing *backing,
			   const struct block_options *options,
			   struct loop *loop);
struct device *block_device(struct block *block);
/* Bits of enum feature that its engine uses. */
unsigned block_features(const struct block *block);
void block_destroy(struct block *block);

#endif
