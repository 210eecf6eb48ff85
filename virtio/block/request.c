/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a block device (virtio 1.2, 5.2.6): judged, then carried out step
 * by step.
 *
 * Judging: the header and the ranges are copied out of guest memory before they
 * are judged, so that the driver cannot change them afterwards; the data stays
 * where it is, and goes from and to guest memory with the one system call.
 *
 * A step is one engine operation: all of a read or a write on a plain disk, a
 * run of clusters on an ephemeral one, a range of a DISCARD; or a part of that,
 * as whoever cancels a request waits for its step in flight. What comes back
 * short is gone on with; nothing at all is the end of a file that shrank, and
 * an I/O error to the guest.
 *
 * A step that has to wait for another request's is deferred. There are three
 * such cases. FLUSH: Linux tells of a write that was lost once for an open
 * file, so of two at a time one would be told, and the other that all is safe.
 * There is one at a time, and the next one is for all that came meanwhile.
 * Ephemeral disks: a write to a part of a cluster that is not in the overlay
 * yet, while a write to more of it is in flight: what neither covers has to
 * come from the base, but not behind either of them. And the loop waits for
 * such a copy from the base, so a disk makes one in a turn: a guest that wants
 * many, of a slow base, must not keep signals and other devices waiting. The
 * first of the line has something in flight to wait for, or may go on; the
 * others wait for the first.
 *
 * Trusts the driver with nothing, the file with nothing but its size. Loop's
 * thread.
 */
#include "virtio/block/request.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "mem/log.h"
#include "mem/util.h"

#define HEADER_SIZE	 16u
#define RANGE_SIZE	 16u
#define RANGE_FLAG_UNMAP 1u

#define ZEROS_SIZE   65536u
#define RETRIES_MAX  8u
#define MOVE_MAX     (4u << 20)	 /* bytes that a step reads or writes */
#define ALLOCATE_MAX (4u << 20)	 /* a step may have to make these zeros */
#define DISCARD_MAX  (64u << 20) /* a multiple of what a disk gives back */

/* Not const: as such it would be 64 KiB of the program file. */
static uint8_t zeros[ZEROS_SIZE];

/* An overlay may lie in another file system than its image. */
static const char *failed_file(const struct disk *disk, const struct request *r)
{
	return r->io.file == BLOCK_FILE_OVERLAY ? disk->backing->overlay_name
						: disk->backing->name;
}

/* It is BLOCK_IOERR, and the log says why, unless nobody will see it. */
static int fail_request(const struct disk *disk, const struct request *r,
			const char *why)
{
	static struct log_limit limit;

	if (!r->canceled)
		log_guest(&limit, "%s%s: %s; the guest gets an I/O error",
			  failed_file(disk, r),
			  r->io.file == BLOCK_FILE_LAYER
				  ? ": its layer in the snapshot"
				  : "",
			  why);
	return BLOCK_IOERR;
}

/* -- deferral ------------------------------------------------------------- */

static int defer_request(struct disk *disk, struct request *r,
			 enum block_wait waits)
{
	struct request **end = &disk->deferred;

	while (*end)
		end = &(*end)->next;
	*end = r;
	r->next = NULL;
	r->waits = waits;
	return BLOCK_PENDING;
}

/* Does a step in flight write to the overlay's cluster at this offset? */
static bool is_cluster_filled(const struct disk *disk, uint64_t offset)
{
	const uint64_t cluster = offset - offset % OVERLAY_CLUSTER;

	for (unsigned i = 0; i < disk->requests.used; i++) {
		const struct request *r = pool_object(&disk->requests, i);

		if (r->engine && r->io.op != ENGINE_READ &&
		    r->io.offset < cluster + OVERLAY_CLUSTER &&
		    cluster < r->io.offset + r->io.len)
			return true;
	}
	return false;
}

bool request_can_resume(const struct disk *disk)
{
	const struct request *r = disk->deferred;

	if (r && r->waits == BLOCK_WAIT_SYNC)
		return !disk->syncing;
	return r && !is_cluster_filled(disk, r->offset) &&
	       !is_cluster_filled(disk, r->offset + r->left - 1);
}

struct request *request_drop_deferred(struct disk *disk, uint32_t queues)
{
	struct request **at = &disk->deferred, *r;

	while ((r = *at) && !(queues & 1u << r->queue))
		at = &r->next;
	if (r)
		*at = r->next;
	return r;
}

/*
 * What a cluster at the ends of the request's range keeps of the base goes to
 * the overlay first; nothing to do without one. BLOCK_OK; BLOCK_PENDING where
 * the request is deferred for it; or BLOCK_IOERR.
 */
static int copy_end_clusters(struct disk *disk, struct request *r)
{
	const uint64_t ends[] = { r->offset, r->offset + r->left };
	int error;

	for (size_t i = 0; i < ARRAY_LEN(ends) && disk->overlay; i++) {
		if (ends[i] % OVERLAY_CLUSTER == 0 ||
		    ends[i] >= disk->overlay->size ||
		    overlay_has(disk->overlay, ends[i]))
			continue;
		if (disk->copied || is_cluster_filled(disk, ends[i]))
			return defer_request(disk, r, BLOCK_WAIT_CLUSTERS);
		disk->copied = true;
		/* Read and written. */
		limiter_owe(disk->bytes, 2 * OVERLAY_CLUSTER);
		limiter_owe(disk->ops, 2);
		error = overlay_copy(disk->overlay, ends[i], &r->io.file);
		if (error)
			return fail_request(disk, r, strerror(-error));
	}
	return BLOCK_OK;
}

/* -- steps ---------------------------------------------------------------- */

/* The file that the guest may write: the overlay's, or the only one. */
static enum block_file writable_file(const struct disk *disk)
{
	return disk->overlay ? BLOCK_FILE_OVERLAY : BLOCK_FILE_BASE;
}

static uint64_t at_most_bytes(uint64_t len, uint64_t most)
{
	return len < most ? len : most;
}

static int submit_step(const struct disk *disk, struct request *r)
{
	struct engine *engine = disk->engines[disk->worker_ops >> r->io.op & 1];

	r->engine = engine;
	r->io.not_begun = false;
	engine->due = true;
	engine->ops->submit(engine, &r->io);
	return BLOCK_PENDING;
}

/*
 * The driver's next `len` bytes. The vector is the request's own: its last
 * buffer is cut to them until the step is done.
 */
static int submit_data(const struct disk *disk, struct request *r,
		       enum engine_op op, struct overlay_place place,
		       uint64_t len)
{
	const bool all = len == r->left;
	unsigned count = all ? r->iov_count : 1;

	r->io = (struct engine_io){
		.op = op,
		.file = place.file,
		.offset = place.offset,
		.len = len,
		.iov = r->iov,
	};
	for (; !all && len > r->iov[count - 1].iov_len; count++)
		len -= r->iov[count - 1].iov_len;
	r->io.iov_count = count;
	if (!all) {
		r->cut = r->iov[count - 1].iov_len - len;
		r->iov[count - 1].iov_len = len;
	}
	return submit_step(disk, r);
}

/* After a step: what it has moved is not to be moved again. */
static void skip_data(struct request *r, uint64_t moved)
{
	r->iov[r->io.iov_count - 1].iov_len += r->cut;
	r->cut = 0;
	for (; r->iov_count && moved >= r->iov->iov_len; r->iov_count--)
		moved -= r->iov++->iov_len;
	if (moved) {
		r->iov->iov_base = (uint8_t *)r->iov->iov_base + moved;
		r->iov->iov_len -= moved;
	}
}

static int step_read(struct disk *disk, struct request *r)
{
	struct overlay_place place = { BLOCK_FILE_BASE, r->offset };
	uint64_t len = at_most_bytes(r->left, MOVE_MAX);

	if (disk->overlay)
		len = overlay_run(disk->overlay, r->offset, len, &place);
	return submit_data(disk, r, ENGINE_READ, place, len);
}

static int step_write(struct disk *disk, struct request *r)
{
	const struct overlay_place place = { writable_file(disk), r->offset };
	int status = copy_end_clusters(disk, r);

	if (status != BLOCK_OK)
		return status;
	return submit_data(disk, r, ENGINE_WRITE, place,
			   at_most_bytes(r->left, MOVE_MAX));
}

/* Zeros by writing them, where the file cannot be told to have them. */
static int step_write_zeros(const struct disk *disk, struct request *r)
{
	uint64_t left = r->left;
	unsigned n = 0;

	for (; n < REQUEST_SEGMENTS && left; n++) {
		r->own[n].iov_base = zeros;
		r->own[n].iov_len = at_most_bytes(left, ZEROS_SIZE);
		left -= r->own[n].iov_len;
	}
	r->io = (struct engine_io){
		.op = ENGINE_WRITE,
		.file = writable_file(disk),
		.offset = r->offset,
		.len = r->left - left,
		.iov = r->own,
		.iov_count = n,
	};
	limiter_owe(disk->bytes, r->io.len);
	return submit_step(disk, r);
}

/* An operation without data: ALLOCATE, DISCARD. */
static int submit_extent(const struct disk *disk, struct request *r,
			 enum engine_op op, uint64_t len, int mode)
{
	r->io = (struct engine_io){
		.op = op,
		.file = writable_file(disk),
		.offset = r->offset,
		.len = len,
		.mode = mode,
	};
	return submit_step(disk, r);
}

static int step_allocate(const struct disk *disk, struct request *r, int mode)
{
	const uint64_t len = at_most_bytes(r->left, ALLOCATE_MAX);

	/* There the kernel may have to write them (blkdev_fallocate). */
	if (mode == FALLOC_FL_ZERO_RANGE && disk->backing->is_device)
		limiter_owe(disk->bytes, len);
	return submit_extent(disk, r, ENGINE_ALLOCATE, len,
			     mode | FALLOC_FL_KEEP_SIZE);
}

/*
 * The best way that the host has to make zeros, with or without giving the
 * space back. On an ephemeral disk a hole in the overlay, marked as its own,
 * gives it back; leaving what was there would show the base.
 */
static int step_zeros(struct disk *disk, struct request *r, bool unmap)
{
	int status = copy_end_clusters(disk, r);

	if (status != BLOCK_OK)
		return status;
	if ((unmap || disk->overlay) && !disk->no_punch)
		return step_allocate(disk, r, FALLOC_FL_PUNCH_HOLE);
	if (!disk->no_zero_range)
		return step_allocate(disk, r, FALLOC_FL_ZERO_RANGE);
	return step_write_zeros(disk, r);
}

/* The current range, or what is left of it. */
static int step_range(struct disk *disk, struct request *r)
{
	const struct block_range *range = r->page;

	if (r->type == BLOCK_WRITE_ZEROES || disk->overlay)
		return step_zeros(disk, r, range[r->range].unmap);
	if (!disk->backing->is_device)
		return step_allocate(disk, r, FALLOC_FL_PUNCH_HOLE);
	return submit_extent(
		disk, r, ENGINE_DISCARD,
		at_most_bytes(r->left, DISCARD_MAX - r->offset % DISCARD_MAX),
		0);
}

/* No write is in flight that it must keep: those are done before (5.2.6.2). */
static int step_sync(struct disk *disk, struct request *r)
{
	if (disk->lost)
		return BLOCK_IOERR;
	if (disk->synced > r->sync)
		return BLOCK_OK;
	if (disk->syncing)
		return defer_request(disk, r, BLOCK_WAIT_SYNC);
	disk->syncing = true;
	disk->syncs++;
	r->io = (struct engine_io){ .op = ENGINE_FLUSH,
				    .file = BLOCK_FILE_BASE };
	return submit_step(disk, r);
}

static int start_flush(struct disk *disk, struct request *r)
{
	/* An overlay ends with mote: there is nothing to be kept safe. */
	if (disk->backing->ro || disk->overlay)
		return BLOCK_OK;
	r->sync = disk->syncs;
	return step_sync(disk, r);
}

/* A discard is advice: a host that cannot take it just does not. */
static bool ignores_discard(const struct disk *disk, const struct request *r)
{
	if (r->type != BLOCK_DISCARD || disk->overlay)
		return false;
	return disk->backing->is_device ? disk->no_discard : disk->no_punch;
}

static int start_next_range(struct disk *disk, struct request *r)
{
	const struct block_range *range = r->page;

	while (r->range < r->ranges && !range[r->range].len)
		r->range++;
	if (r->range == r->ranges || ignores_discard(disk, r))
		return disk->write_through ? start_flush(disk, r) : BLOCK_OK;
	r->offset = range[r->range].offset;
	r->left = range[r->range].len;
	return step_range(disk, r);
}

struct request *request_resume(struct disk *disk, int *status)
{
	struct request *r = disk->deferred;

	if (!request_can_resume(disk))
		return NULL;
	disk->deferred = r->next;
	if (r->waits == BLOCK_WAIT_SYNC)
		*status = step_sync(disk, r);
	else
		*status = r->type == BLOCK_OUT ? step_write(disk, r)
					       : step_range(disk, r);
	return r;
}

/* -- after a step --------------------------------------------------------- */

/*
 * This range, or just now: EINVAL is not in the device's blocks, EBUSY is
 * somebody else with pages of it in the cache.
 */
static bool is_range_refused(const struct request *r)
{
	return (r->io.result == -EINVAL || r->io.result == -EBUSY) &&
	       (r->io.op == ENGINE_ALLOCATE || r->io.op == ENGINE_DISCARD);
}

/* The host's file cannot do this kind of operation: never try it again. */
static bool learn_unsupported(struct disk *disk, const struct request *r)
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

/*
 * O_DIRECT wants buffers and offsets aligned as the host's disk has it; virtio
 * has no such rule. What the host refuses for that goes through the page cache.
 */
static bool is_misaligned(const struct disk *disk, const struct request *r)
{
	return r->io.result == -EINVAL && r->io.iov &&
	       r->io.file == BLOCK_FILE_BASE && disk->backing->buffered_fd >= 0;
}

/*
 * How much of what was moved need not be moved again. A cluster of an overlay
 * that was written in part is not in its map, and would be copied from the base
 * once more: it is written again as a whole.
 */
static uint64_t whole_clusters(const struct disk *disk, const struct request *r,
			       uint64_t moved)
{
	uint64_t beyond = (r->offset + moved) % OVERLAY_CLUSTER;

	if (!disk->overlay || r->type == BLOCK_IN || moved == r->left)
		return moved;
	return moved > beyond ? moved - beyond : 0;
}

static int step_rest(struct disk *disk, struct request *r)
{
	if (r->type == BLOCK_IN)
		return step_read(disk, r);
	if (r->type == BLOCK_OUT)
		return step_write(disk, r);
	return r->io.op == ENGINE_WRITE ? step_write_zeros(disk, r)
					: step_range(disk, r);
}

/*
 * What follows is one for iops=: the runs of an ephemeral disk, say. Of a
 * DISCARD or WRITE_ZEROES each range is one, however the host has it done.
 */
static bool is_another_operation(const struct disk *disk,
				 const struct request *r)
{
	if (r->type == BLOCK_IN || r->type == BLOCK_OUT)
		return true;
	return !r->left && (r->range + 1 < r->ranges || disk->write_through);
}

static int advance_request(struct disk *disk, struct request *r, uint64_t moved)
{
	if (disk->overlay && r->type != BLOCK_IN)
		overlay_mark(disk->overlay, r->offset, moved);
	r->retries = 0;
	r->offset += moved;
	r->left -= moved;
	if (r->type == BLOCK_IN || r->type == BLOCK_OUT)
		skip_data(r, moved);
	if (r->type == BLOCK_IN)
		r->written += (uint32_t)moved;
	if (!r->left && r->type == BLOCK_IN)
		return BLOCK_OK;
	if (!r->left && r->type == BLOCK_OUT && !disk->write_through)
		return BLOCK_OK;
	if (r->canceled)
		return BLOCK_IOERR;
	if (is_another_operation(disk, r))
		limiter_owe(disk->ops, 1);
	if (r->left)
		return step_rest(disk, r);
	if (r->type == BLOCK_OUT)
		return start_flush(disk, r);
	r->range++;
	return start_next_range(disk, r);
}

/* musl has no words for a SCSI disk's reservation conflict. */
static const char *io_error_text(int error)
{
	return error == EBADE ? "another machine has reserved it"
			      : strerror(error);
}

/*
 * The host's kernel says once that a write it had taken was lost, and forgets
 * it: from then on no FLUSH can vouch for what was written before.
 */
static int end_sync(struct disk *disk, const struct request *r)
{
	const int error = r->io.result < 0 ? (int)-r->io.result : 0;

	disk->syncing = false;
	if (error && r->io.not_begun)
		return fail_request(disk, r, io_error_text(error));
	disk->synced = disk->syncs;
	if (!error)
		return BLOCK_OK;
	disk->lost = true;
	log_warn("%s: %s: what was written may be lost; the guest gets an I/O "
		 "error for this FLUSH and all later ones",
		 disk->backing->name, io_error_text(error));
	return BLOCK_IOERR;
}

static bool tries_again(struct request *r)
{
	const int64_t result = r->io.result;

	if (r->canceled)
		return false;
	/* Taken back because of another one. */
	if (result == -ECANCELED && r->io.not_begun)
		return true;
	return (result == -EAGAIN || result == -EINTR || result == -EBUSY) &&
	       (r->io.op != ENGINE_FLUSH || r->io.not_begun) &&
	       r->retries++ < RETRIES_MAX;
}

int request_step_done(struct disk *disk, struct request *r)
{
	const bool moves = r->io.op == ENGINE_READ || r->io.op == ENGINE_WRITE;
	int64_t result = r->io.result;
	uint64_t moved;

	r->engine = NULL;
	if (tries_again(r))
		return submit_step(disk, r);
	if (r->io.op == ENGINE_FLUSH)
		return end_sync(disk, r);
	if (result < 0 && r->canceled)
		return BLOCK_IOERR;
	if (learn_unsupported(disk, r))
		return start_next_range(disk, r);
	if (is_range_refused(r) && r->type == BLOCK_WRITE_ZEROES)
		return step_write_zeros(disk, r);
	if (is_range_refused(r))
		result = 0; /* a DISCARD is advice */
	if (is_misaligned(disk, r)) {
		r->io.file = BLOCK_FILE_BUFFERED;
		return submit_step(disk, r);
	}
	if (result < 0)
		return fail_request(disk, r, io_error_text((int)-result));
	moved = whole_clusters(disk, r, moves ? (uint64_t)result : r->io.len);
	if (!moved)
		return fail_request(disk, r,
				    "its file has shrunk, or its file system "
				    "is full");
	return advance_request(disk, r, moved);
}

/* -- judging -------------------------------------------------------------- */

static bool is_in_disk(const struct disk *disk, uint64_t sector, uint64_t len)
{
	uint64_t size = disk->backing->size;

	return len % BLOCK_SECTOR == 0 && len <= size &&
	       sector <= (size - len) / BLOCK_SECTOR;
}

/* Where the driver's bytes lie. */
static void keep_data(struct disk *disk, struct request *r,
		      const struct cursor *data)
{
	struct cursor from = *data;
	size_t bytes;

	r->iov = r->own;
	r->iov_count =
		cursor_iov(&from, data->left, r->own, REQUEST_SEGMENTS, &bytes);
	if (bytes == data->left)
		return;
	from = *data;
	/* There is one for each request. */
	r->iov = r->page = pool_alloc(&disk->pages);
	r->iov_count =
		cursor_iov(&from, data->left, r->iov, QUEUE_SIZE_MAX, &bytes);
}

static int start_data(struct disk *disk, struct request *r,
		      const struct cursor *data, uint64_t sector)
{
	const bool in = r->type == BLOCK_IN;

	r->left = data->left;
	if (!is_in_disk(disk, sector, r->left) || (!in && disk->backing->ro))
		return BLOCK_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	r->sectors = (uint32_t)(r->left / BLOCK_SECTOR);
	if (!r->left)
		return BLOCK_OK;
	keep_data(disk, r, data);
	return in ? step_read(disk, r) : step_write(disk, r);
}

static int put_disk_serial(const struct disk *disk, struct request *r,
			   struct cursor *to)
{
	char id[BLOCK_SERIAL_BYTES] = { 0 };

	if (disk->serial)
		memcpy(id, disk->serial, strnlen(disk->serial, sizeof(id)));
	r->written = (uint32_t)at_most_bytes(to->left, sizeof(id));
	cursor_put(to, id, r->written);
	return BLOCK_OK;
}

/* 5.2.6.2: ranges of { sector 64, sectors 32, flags 32 } */
static int start_ranges(struct disk *disk, struct request *r,
			struct cursor *data)
{
	struct block_range *range;
	uint8_t bytes[RANGE_SIZE];

	if (disk->backing->ro)
		return BLOCK_IOERR;
	if (!data->left || data->left % RANGE_SIZE ||
	    data->left / RANGE_SIZE > BLOCK_RANGES_MAX)
		return BLOCK_UNSUPP;
	range = r->page = pool_alloc(&disk->pages);
	for (r->ranges = 0; cursor_get(data, bytes, sizeof(bytes));) {
		uint64_t len = (uint64_t)get_le32(bytes + 8) * BLOCK_SECTOR;
		uint32_t flags = get_le32(bytes + 12);

		if (flags & ~RANGE_FLAG_UNMAP ||
		    (flags && r->type == BLOCK_DISCARD))
			return BLOCK_UNSUPP;
		if (len / BLOCK_SECTOR > BLOCK_RANGE_SECTORS ||
		    !is_in_disk(disk, get_le64(bytes), len))
			return BLOCK_IOERR;
		r->sectors += (uint32_t)(len / BLOCK_SECTOR);
		range[r->ranges++] = (struct block_range){
			.offset = get_le64(bytes) * BLOCK_SECTOR,
			.len = len,
			.unmap = flags & RANGE_FLAG_UNMAP,
		};
	}
	r->range = 0;
	return start_next_range(disk, r);
}

/* What is not set here, a step sets before it is looked at. */
static void init_request(struct request *r, const struct chain *chain,
			 unsigned queue)
{
	const struct iovec *last = &chain->segment[chain->count - 1];

	r->queue = (uint16_t)queue;
	r->head = chain->head;
	r->status = (uint8_t *)last->iov_base + last->iov_len - 1;
	r->writable = chain->write_len;
	r->written = 0;
	r->sectors = 0;
	r->retries = 0;
	r->cut = 0;
	r->page = NULL;
}

/* 5.2.6: { type 32, reserved 32, sector 64 }, then the data or the ranges */
int request_start(struct disk *disk, const struct chain *chain, unsigned queue,
		  struct request **started)
{
	struct cursor out = chain_reader(chain), in = chain_writer(chain);
	uint8_t header[HEADER_SIZE];
	struct request *r;

	if (!chain->write_len)
		return -1;
	*started = r = pool_alloc(&disk->requests);
	init_request(r, chain, queue);
	if (!cursor_get(&out, header, sizeof(header)))
		return BLOCK_IOERR;
	in.left--; /* the status byte */
	r->type = (enum block_type)get_le32(header);
	switch (r->type) {
	case BLOCK_IN:
		return start_data(disk, r, &in, get_le64(header + 8));
	case BLOCK_OUT:
		return start_data(disk, r, &out, get_le64(header + 8));
	case BLOCK_FLUSH:
		return start_flush(disk, r);
	case BLOCK_GET_ID:
		return put_disk_serial(disk, r, &in);
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		return start_ranges(disk, r, &out);
	}
	return BLOCK_UNSUPP;
}

void request_free(struct disk *disk, struct request *r)
{
	if (r->page)
		pool_free(&disk->pages, r->page);
	r->canceled = false;
	pool_free(&disk->requests, r);
}

uint64_t request_bytes(const struct chain *chain)
{
	uint64_t out = chain->read_len, in = chain->write_len;

	return (out > HEADER_SIZE ? out - HEADER_SIZE : 0) + (in ? in - 1 : 0);
}

void request_put_status(struct request *r, enum block_status status)
{
	const bool whole = r->written == r->writable - 1;

	*r->status = (uint8_t)status;
	if (whole)
		r->written++;
}
