/*
 * The state of a block device, shared by block.c (its requests) and
 * block_create.c (its making). For these only.
 */
#ifndef VIRTIO_BLOCK_STATE_H
#define VIRTIO_BLOCK_STATE_H

#include "virtio/block/request.h"

#define BLOCK_FEATURE_FLUSH (1ULL << 9) /* virtio 1.2, 5.2.3 */

/* For disk.engine and disk.worker. */
#define BLOCK_ENGINES 2

struct block {
	struct device device; /* first */
	struct block_backing backing;
	char serial[BLOCK_SERIAL_BYTES + 1];
	struct block_disk disk;
	struct overlay overlay;
	struct loop *loop;
	struct engine *engines[BLOCK_ENGINES]; /* NULL: not needed */
	struct block_completions {
		struct loop_source source;
		struct block *block;
		struct engine *engine;
	} completions[BLOCK_ENGINES];
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

/* For block_create.c, from block.c. */
extern const struct device_ops block_ops;
void block_io_done(void *arg, struct engine_io *io);
void block_completed(void *arg, uint32_t events);
void block_timer_expired(void *arg);

#endif
