/*
 * Requests of a block device, carried out step by step.
 *
 * A step is one engine operation: all of a read or a write on a plain disk, a
 * run of clusters on an ephemeral one, a range of a DISCARD; or a part of that,
 * as a reset and the end of mote wait for the steps in flight. Data goes from
 * and to guest memory with the one system call. What comes back short is gone
 * on with; nothing at all is the end of a file that shrank, and an I/O error to
 * the guest.
 *
 * O_DIRECT wants buffers and offsets aligned as the host's disk has it; virtio
 * has no such rule. What the host refuses for that goes through the page cache
 * instead.
 *
 * What is done was judged before (block_request.c). Loop's thread.
 */
#include "virtio/block/request.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "mem/log.h"
#include "mem/util.h"

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
	const bool by_worker = disk->worker_ops & 1u << r->io.op;
	struct engine *engine = by_worker ? disk->worker : disk->engine;

	r->engine = engine;
	r->io.not_begun = false;
	engine->due = true;
	engine->ops->submit(engine, &r->io);
	return BLOCK_PENDING;
}

int block_fail(const struct block_disk *disk, const char *why)
{
	static struct log_limit limit;

	if (!disk->stopping)
		log_guest(&limit, "%s: %s; the guest gets an I/O error",
			  disk->backing->name, why);
	return BLOCK_IOERR;
}

int block_step_read(struct block_disk *disk, struct block_request *r)
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

int block_step_write(struct block_disk *disk, struct block_request *r)
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

int block_step_flush(struct block_disk *disk, struct block_request *r)
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

int block_step_ranges(struct block_disk *disk, struct block_request *r)
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
