/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request of a block device (virtio 1.2, 5.2.6), judged.
 *
 * The header and the ranges are copied out of guest memory before they are
 * judged, so the driver cannot change them afterwards; the data stays where it
 * is. What is in order goes on in block_step.c. Loop's thread.
 */
#include "virtio/block/request.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "mem/log.h"
#include "mem/util.h"

/* -- requests that wait for others ---------------------------------------- */

static int block_fail(const struct block_disk *disk, const char *why)
{
	static struct log_limit limit;

	if (!disk->stopping)
		log_guest(&limit, "%s: %s; the guest gets an I/O error",
			  disk->backing->name, why);
	return BLOCK_IOERR;
}

static int block_hold(struct block_disk *disk, struct block_request *r,
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

static int block_prepare_clusters(struct block_disk *disk,
				  struct block_request *r)
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

/* -- steps ---------------------------------------------------------------- */

#define ZEROS_SIZE    65536u
#define ZEROS_VECTORS 16u
#define RETRIES_MAX   8u
#define MOVE_MAX      (4u << 20)  /* bytes that a step reads or writes */
#define ALLOCATE_MAX  (16u << 20) /* a step may have to make these zeros */
#define DISCARD_MAX   (64u << 20) /* a multiple of what a disk gives back */

/* Not const: as such it would be 64 KiB of the program file. */
static uint8_t zeros[ZEROS_SIZE];

/* A file that the guest may write: the overlay's, or the only one there is. */
static unsigned own_file(const struct block_disk *disk)
{
	return disk->overlay ? BLOCK_FILE_OVERLAY : BLOCK_FILE_BASE;
}

static uint64_t at_most(uint64_t len, uint64_t most)
{
	return len < most ? len : most;
}

static int submit(const struct block_disk *disk, struct block_request *r)
{
	struct engine *engine = disk->engines[disk->worker_ops >> r->io.op & 1];

	r->engine = engine;
	r->io.not_begun = false;
	engine->due = true;
	engine->ops->submit(engine, &r->io);
	return BLOCK_PENDING;
}

static int block_step_read(struct block_disk *disk, struct block_request *r)
{
	struct cursor data = r->data;
	uint64_t len = at_most(r->left, MOVE_MAX);
	bool own = false;
	size_t bytes;

	if (disk->overlay)
		len = overlay_run(disk->overlay, r->offset, len, &own);
	r->io = (struct engine_io){
		.op = ENGINE_READ,
		.file = own ? BLOCK_FILE_OVERLAY : BLOCK_FILE_BASE,
		.offset = r->offset,
		.iov = r->iov,
	};
	r->io.iov_count =
		cursor_iov(&data, len, r->iov, QUEUE_SIZE_MAX, &bytes);
	r->io.len = bytes;
	return submit(disk, r);
}

static int block_step_write(struct block_disk *disk, struct block_request *r)
{
	struct cursor data = r->data;
	int status = block_prepare_clusters(disk, r);
	size_t bytes;

	if (status != BLOCK_OK)
		return status;
	r->io = (struct engine_io){
		.op = ENGINE_WRITE,
		.file = own_file(disk),
		.offset = r->offset,
		.iov = r->iov,
	};
	r->io.iov_count = cursor_iov(&data, at_most(r->left, MOVE_MAX), r->iov,
				     QUEUE_SIZE_MAX, &bytes);
	r->io.len = bytes;
	return submit(disk, r);
}

/* Zeros by writing them, where the file cannot be told to have them. */
static int step_write_zeros(const struct block_disk *disk,
			    struct block_request *r)
{
	uint64_t left = r->left;
	unsigned n = 0;

	for (; n < ZEROS_VECTORS && left; n++) {
		r->iov[n].iov_base = zeros;
		r->iov[n].iov_len = left < ZEROS_SIZE ? left : ZEROS_SIZE;
		left -= r->iov[n].iov_len;
	}
	r->io = (struct engine_io){
		.op = ENGINE_WRITE,
		.file = own_file(disk),
		.offset = r->offset,
		.len = r->left - left,
		.iov = r->iov,
		.iov_count = n,
	};
	limiter_owe(disk->bytes, r->io.len);
	return submit(disk, r);
}

static int step_allocate(const struct block_disk *disk, struct block_request *r,
			 int mode)
{
	r->io = (struct engine_io){
		.op = ENGINE_ALLOCATE,
		.file = own_file(disk),
		.offset = r->offset,
		.len = at_most(r->left, ALLOCATE_MAX),
		.mode = mode | FALLOC_FL_KEEP_SIZE,
	};
	/* There the kernel may have to write them (blkdev_fallocate). */
	if (mode == FALLOC_FL_ZERO_RANGE && disk->backing->is_device)
		limiter_owe(disk->bytes, r->io.len);
	return submit(disk, r);
}

static int step_discard(const struct block_disk *disk, struct block_request *r)
{
	r->io = (struct engine_io){
		.op = ENGINE_DISCARD,
		.file = own_file(disk),
		.offset = r->offset,
		.len = at_most(r->left, DISCARD_MAX - r->offset % DISCARD_MAX),
	};
	return submit(disk, r);
}

/*
 * The best way that the host has to make zeros, with or without giving the
 * space back. On an ephemeral disk a hole in the overlay, marked as its own,
 * gives it back; leaving what was there would show the base.
 */
static int step_zeros(struct block_disk *disk, struct block_request *r,
		      bool unmap)
{
	int status = block_prepare_clusters(disk, r);

	if (status != BLOCK_OK)
		return status;
	if ((unmap || disk->overlay) && !disk->no_punch)
		return step_allocate(disk, r, FALLOC_FL_PUNCH_HOLE);
	if (!disk->no_zero_range)
		return step_allocate(disk, r, FALLOC_FL_ZERO_RANGE);
	return step_write_zeros(disk, r);
}

/* A discard is advice: a host that cannot take it just does not. */
static bool ignores(const struct block_disk *disk,
		    const struct block_request *r)
{
	if (r->type != BLOCK_DISCARD || disk->overlay)
		return false;
	return disk->backing->is_device ? disk->no_discard : disk->no_punch;
}

/* No write is in flight that it must keep: those are done before (5.2.6.2). */
static int step_sync(struct block_disk *disk, struct block_request *r)
{
	if (disk->lost)
		return BLOCK_IOERR;
	if (disk->synced > r->sync)
		return BLOCK_OK;
	if (disk->syncing)
		return block_hold(disk, r, BLOCK_WAIT_SYNC);
	disk->syncing = true;
	disk->syncs++;
	r->io = (struct engine_io){ .op = ENGINE_FLUSH,
				    .file = BLOCK_FILE_BASE };
	return submit(disk, r);
}

static int block_step_flush(struct block_disk *disk, struct block_request *r)
{
	/* An overlay ends with mote: there is nothing to be kept safe. */
	if (disk->backing->ro || disk->overlay)
		return BLOCK_OK;
	r->sync = disk->syncs;
	return step_sync(disk, r);
}

/* The current range, or what is left of it. */
static int step_range(struct block_disk *disk, struct block_request *r)
{
	if (r->type == BLOCK_WRITE_ZEROES || disk->overlay)
		return step_zeros(disk, r, r->ranges_list[r->range].unmap);
	return disk->backing->is_device
		       ? step_discard(disk, r)
		       : step_allocate(disk, r, FALLOC_FL_PUNCH_HOLE);
}

static int block_step_ranges(struct block_disk *disk, struct block_request *r)
{
	while (r->range < r->ranges && !r->ranges_list[r->range].len)
		r->range++;
	if (r->range == r->ranges || ignores(disk, r))
		return disk->write_through ? block_step_flush(disk, r)
					   : BLOCK_OK;
	r->offset = r->ranges_list[r->range].offset;
	r->left = r->ranges_list[r->range].len;
	return step_range(disk, r);
}

/* -- after a step --------------------------------------------------------- */

/*
 * This range, or just now: EINVAL is not in the device's blocks, EBUSY is
 * somebody else with pages of it in the cache.
 */
static bool refused(const struct block_request *r)
{
	return (r->io.result == -EINVAL || r->io.result == -EBUSY) &&
	       (r->io.op == ENGINE_ALLOCATE || r->io.op == ENGINE_DISCARD);
}

static bool passes(int64_t result)
{
	return result == -EAGAIN || result == -EINTR || result == -EBUSY;
}

/* The host's file cannot do this kind of operation: never try it again. */
static bool note_impossible(struct block_disk *disk,
			    const struct block_request *r)
{
	if (r->io.result != -EOPNOTSUPP && r->io.result != -ENOSYS)
		return false;
	if (r->io.op == ENGINE_DISCARD)
		disk->no_discard = true;
	else if (r->io.op != ENGINE_ALLOCATE)
		return false;
	else if (r->io.mode & FALLOC_FL_PUNCH_HOLE)
		disk->no_punch = true;
	else
		disk->no_zero_range = true;
	return true;
}

/* O_DIRECT and a request that is not aligned as the host's disk wants it. */
static bool misaligned(const struct block_disk *disk,
		       const struct block_request *r)
{
	return r->io.result == -EINVAL && r->io.iov &&
	       r->io.file == BLOCK_FILE_BASE && disk->backing->buffered_fd >= 0;
}

/*
 * How much of what was moved need not be moved again. A cluster of an overlay
 * that was written in part is not in its map, and would be copied from the base
 * once more: it is written again as a whole.
 */
static uint64_t settled(const struct block_disk *disk,
			const struct block_request *r, uint64_t moved)
{
	uint64_t beyond = (r->offset + moved) % OVERLAY_CLUSTER;

	if (!disk->overlay || r->type == BLOCK_IN || moved == r->left)
		return moved;
	return moved > beyond ? moved - beyond : 0;
}

static int next_part(struct block_disk *disk, struct block_request *r)
{
	if (r->type == BLOCK_IN)
		return block_step_read(disk, r);
	if (r->type == BLOCK_OUT)
		return block_step_write(disk, r);
	return r->io.op == ENGINE_WRITE ? step_write_zeros(disk, r)
					: step_range(disk, r);
}

static int moved_on(struct block_disk *disk, struct block_request *r,
		    uint64_t moved)
{
	if (disk->overlay && r->type != BLOCK_IN)
		overlay_mark(disk->overlay, r->offset, moved);
	r->retries = 0;
	r->offset += moved;
	r->left -= moved;
	if (r->type == BLOCK_IN || r->type == BLOCK_OUT)
		cursor_skip(&r->data, moved);
	if (r->type == BLOCK_IN)
		r->written += (uint32_t)moved;
	if (!r->left && r->type == BLOCK_IN)
		return BLOCK_OK;
	if (!r->left && r->type == BLOCK_OUT && !disk->write_through)
		return BLOCK_OK;
	if (disk->stopping)
		return BLOCK_IOERR;
	if (r->left)
		return next_part(disk, r);
	if (r->type == BLOCK_OUT)
		return block_step_flush(disk, r);
	r->range++;
	return block_step_ranges(disk, r);
}

/*
 * The host's kernel says once that a write it had taken was lost, and forgets
 * it: from then on no FLUSH can vouch for what was written before.
 */
static int sync_done(struct block_disk *disk, const struct block_request *r)
{
	const int error = r->io.result < 0 ? (int)-r->io.result : 0;

	disk->syncing = false;
	if (error && r->io.not_begun)
		return block_fail(disk, strerror(error));
	disk->synced = disk->syncs;
	if (!error)
		return BLOCK_OK;
	disk->lost = true;
	log_warn("%s: %s: what was written may be lost; the guest gets an I/O "
		 "error for this FLUSH and all later ones",
		 disk->backing->name, strerror(error));
	return BLOCK_IOERR;
}

static bool tries_again(const struct block_disk *disk, struct block_request *r)
{
	return passes(r->io.result) && !disk->stopping &&
	       (r->io.op != ENGINE_FLUSH || r->io.not_begun) &&
	       r->retries++ < RETRIES_MAX;
}

int block_request_step_done(struct block_disk *disk, struct block_request *r)
{
	const bool moves = r->io.op == ENGINE_READ || r->io.op == ENGINE_WRITE;
	int64_t result = r->io.result;
	uint64_t moved;

	r->engine = NULL;
	if (tries_again(disk, r))
		return submit(disk, r);
	if (r->io.op == ENGINE_FLUSH)
		return sync_done(disk, r);
	if (result < 0 && disk->stopping)
		return BLOCK_IOERR;
	if (note_impossible(disk, r))
		return block_step_ranges(disk, r);
	if (refused(r) && r->type == BLOCK_WRITE_ZEROES)
		return step_write_zeros(disk, r);
	if (refused(r))
		result = 0; /* a DISCARD is advice */
	if (misaligned(disk, r)) {
		r->io.file = BLOCK_FILE_BUFFERED;
		return submit(disk, r);
	}
	if (result < 0)
		return block_fail(disk, strerror((int)-result));
	moved = settled(disk, r, moves ? (uint64_t)result : r->io.len);
	if (!moved)
		return block_fail(disk,
				  "its file has shrunk, or its file system is "
				  "full");
	return moved_on(disk, r, moved);
}

int block_request_again(struct block_disk *disk, struct block_request *r)
{
	if (r->waits == BLOCK_WAIT_SYNC)
		return step_sync(disk, r);
	return r->type == BLOCK_OUT ? block_step_write(disk, r)
				    : step_range(disk, r);
}

/* -- judging -------------------------------------------------------------- */

#define HEADER_SIZE	 16u
#define RANGE_SIZE	 16u
#define RANGE_FLAG_UNMAP 1u

static bool in_disk(const struct block_disk *disk, uint64_t sector,
		    uint64_t len)
{
	uint64_t size = disk->backing->size;

	return len % BLOCK_SECTOR == 0 && len <= size &&
	       sector <= (size - len) / BLOCK_SECTOR;
}

static int start_in(struct block_disk *disk, struct block_request *r,
		    uint64_t sector)
{
	r->data = chain_writer(&r->chain);
	r->data.left--; /* the status byte */
	r->left = r->data.left;
	if (!in_disk(disk, sector, r->left))
		return BLOCK_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	return r->left ? block_step_read(disk, r) : BLOCK_OK;
}

static int start_out(struct block_disk *disk, struct block_request *r,
		     uint64_t sector)
{
	r->left = r->data.left;
	if (!in_disk(disk, sector, r->left) || disk->backing->ro)
		return BLOCK_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	return r->left ? block_step_write(disk, r) : BLOCK_OK;
}

static int start_flush(struct block_disk *disk, struct block_request *r,
		       uint64_t sector)
{
	(void)sector;
	return block_step_flush(disk, r);
}

static int start_get_id(struct block_disk *disk, struct block_request *r,
			uint64_t sector)
{
	char id[BLOCK_SERIAL_BYTES] = { 0 };
	struct cursor to = chain_writer(&r->chain);

	(void)sector;
	to.left--;
	if (disk->serial)
		memcpy(id, disk->serial, strnlen(disk->serial, sizeof(id)));
	r->written = to.left < sizeof(id) ? (uint32_t)to.left : sizeof(id);
	cursor_put(&to, id, r->written);
	return BLOCK_OK;
}

/* 5.2.6.2: ranges of { sector 64, sectors 32, flags 32 } */
static int start_ranges(struct block_disk *disk, struct block_request *r,
			uint64_t sector)
{
	uint8_t bytes[RANGE_SIZE];

	(void)sector;
	if (disk->backing->ro)
		return BLOCK_IOERR;
	if (!r->data.left || r->data.left % RANGE_SIZE ||
	    r->data.left / RANGE_SIZE > BLOCK_RANGES_MAX)
		return BLOCK_UNSUPP;
	for (r->ranges = 0; cursor_get(&r->data, bytes, sizeof(bytes));) {
		uint64_t len = (uint64_t)get_le32(bytes + 8) * BLOCK_SECTOR;
		uint32_t flags = get_le32(bytes + 12);

		if (flags & ~RANGE_FLAG_UNMAP ||
		    (flags && r->type == BLOCK_DISCARD))
			return BLOCK_UNSUPP;
		if (len / BLOCK_SECTOR > BLOCK_RANGE_SECTORS ||
		    !in_disk(disk, get_le64(bytes), len))
			return BLOCK_IOERR;
		r->ranges_list[r->ranges++] = (struct block_range){
			.offset = get_le64(bytes) * BLOCK_SECTOR,
			.len = len,
			.unmap = flags & RANGE_FLAG_UNMAP,
		};
	}
	r->range = 0;
	return block_step_ranges(disk, r);
}

static const struct starter {
	enum block_type type;
	int (*start)(struct block_disk *disk, struct block_request *r,
		     uint64_t sector);
} starters[] = {
	{ BLOCK_IN, start_in },		 { BLOCK_OUT, start_out },
	{ BLOCK_FLUSH, start_flush },	 { BLOCK_GET_ID, start_get_id },
	{ BLOCK_DISCARD, start_ranges }, { BLOCK_WRITE_ZEROES, start_ranges },
};

int block_request_start(struct block_disk *disk, struct block_request *r)
{
	uint8_t header[HEADER_SIZE];

	r->written = 0;
	r->retries = 0;
	r->held = false;
	r->data = chain_reader(&r->chain);
	if (!r->chain.write_len)
		return -1;
	if (!cursor_get(&r->data, header, sizeof(header)))
		return BLOCK_IOERR;
	r->type = (enum block_type)get_le32(header);
	for (size_t i = 0; i < ARRAY_LEN(starters); i++)
		if (starters[i].type == r->type)
			return starters[i].start(disk, r, get_le64(header + 8));
	return BLOCK_UNSUPP;
}

uint64_t block_request_bytes(const struct block_request *r)
{
	uint64_t out = r->chain.read_len, in = r->chain.write_len;

	return (out > HEADER_SIZE ? out - HEADER_SIZE : 0) + (in ? in - 1 : 0);
}

void block_request_put_status(struct block_request *r, enum block_status status)
{
	struct cursor to = chain_writer(&r->chain);
	uint8_t byte = (uint8_t)status;
	bool whole = r->written == r->chain.write_len - 1;

	cursor_skip(&to, r->chain.write_len - 1);
	cursor_put(&to, &byte, 1);
	if (whole)
		r->written++;
}
