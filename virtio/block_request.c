/*
 * One request of a block device (virtio 1.2, 5.2.6).
 *
 * The header and the ranges are copied out of guest memory before they are
 * judged; data goes from and to guest memory with the one system call. A step
 * is one engine operation: the whole of a read or a write on a plain disk, a
 * run of clusters on an ephemeral one, a range of a DISCARD. What comes back
 * short is gone on with; nothing at all is the end of a file that shrank, and
 * an I/O error to the guest. Loop's thread.
 */
#include "virtio/block_request.h"

#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "mem/bytes.h"
#include "mem/log.h"

#define HEADER_SIZE	 16u
#define RANGE_SIZE	 16u
#define RANGE_FLAG_UNMAP 1u
#define ZEROS_SIZE	 65536u
#define ZEROS_VECTORS	 16u

/* Index of engine_options.fds */
enum { FILE_BASE, FILE_OVERLAY };

/* Not const: as such it would be 64 KiB of the program file. */
static uint8_t zeros[ZEROS_SIZE];

static bool in_disk(const struct block_disk *disk, uint64_t sector,
		    uint64_t len)
{
	uint64_t size = disk->backing->size;

	return len % BLOCK_SECTOR == 0 && len <= size &&
	       sector <= (size - len) / BLOCK_SECTOR;
}

/* -- one step ------------------------------------------------------------- */

/* A file that the guest may write: the overlay's, or the only one there is. */
static unsigned own_file(const struct block_disk *disk)
{
	return disk->overlay ? FILE_OVERLAY : FILE_BASE;
}

static int submit(const struct block_disk *disk, struct block_request *r)
{
	disk->engine->ops->submit(disk->engine, &r->io);
	return BLOCK_PENDING;
}

static int step_read(const struct block_disk *disk, struct block_request *r)
{
	struct cursor data = r->data;
	uint64_t len = r->left;
	bool own = false;
	size_t bytes;

	if (disk->overlay)
		len = overlay_run(disk->overlay, r->offset, len, &own);
	r->io = (struct engine_io){
		.op = ENGINE_READ,
		.file = own ? FILE_OVERLAY : FILE_BASE,
		.offset = r->offset,
		.iov = r->iov,
	};
	r->io.iov_count =
		cursor_iov(&data, len, r->iov, QUEUE_SIZE_MAX, &bytes);
	r->io.len = bytes;
	return submit(disk, r);
}

static int prepare_overlay(const struct block_disk *disk,
			   struct block_request *r, uint64_t offset,
			   uint64_t len)
{
	r->overlay_write = disk->overlay;
	return disk->overlay ? overlay_prepare(disk->overlay, offset, len) : 0;
}

static int step_write(const struct block_disk *disk, struct block_request *r)
{
	struct cursor data = r->data;
	size_t bytes;

	if (prepare_overlay(disk, r, r->offset, r->left))
		return BLOCK_IOERR;
	r->io = (struct engine_io){
		.op = ENGINE_WRITE,
		.file = own_file(disk),
		.offset = r->offset,
		.iov = r->iov,
		.durable = disk->write_through,
	};
	r->io.iov_count =
		cursor_iov(&data, r->left, r->iov, QUEUE_SIZE_MAX, &bytes);
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
		.durable = disk->write_through,
	};
	return submit(disk, r);
}

/*
 * DISCARD and WRITE_ZEROES. On an ephemeral disk both make zeros in the
 * overlay: a hole there, marked as its own, gives the space back.
 */
static int step_range(const struct block_disk *disk, struct block_request *r)
{
	const struct block_range *range = &r->ranges_list[r->range];
	bool punch = r->type == BLOCK_DISCARD || range->unmap || disk->overlay;
	bool impossible = punch ? disk->no_discard : disk->no_zero_range;

	if (prepare_overlay(disk, r, r->offset, r->left))
		return BLOCK_IOERR;
	if (impossible && (r->type == BLOCK_WRITE_ZEROES || disk->overlay))
		return step_write_zeros(disk, r);
	r->io = (struct engine_io){
		.op = ENGINE_ALLOCATE,
		.file = own_file(disk),
		.offset = r->offset,
		.len = r->left,
		.mode = FALLOC_FL_KEEP_SIZE |
			(punch ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE),
	};
	return submit(disk, r);
}

static int next_range(const struct block_disk *disk, struct block_request *r)
{
	while (r->range < r->ranges && !r->ranges_list[r->range].len)
		r->range++;
	/* a discard is advice: a host that cannot take it just does not */
	if (r->range == r->ranges ||
	    (r->type == BLOCK_DISCARD && disk->no_discard && !disk->overlay))
		return BLOCK_OK;
	r->offset = r->ranges_list[r->range].offset;
	r->left = r->ranges_list[r->range].len;
	return step_range(disk, r);
}

/* -- start ---------------------------------------------------------------- */

static int start_in(const struct block_disk *disk, struct block_request *r,
		    uint64_t sector)
{
	r->data = chain_writer(&r->chain);
	r->data.left--; /* the status byte */
	r->left = r->data.left;
	if (!in_disk(disk, sector, r->left))
		return BLOCK_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	return r->left ? step_read(disk, r) : BLOCK_OK;
}

static int start_out(const struct block_disk *disk, struct block_request *r,
		     uint64_t sector)
{
	r->left = r->data.left;
	if (!in_disk(disk, sector, r->left) || disk->backing->ro)
		return BLOCK_IOERR;
	r->offset = sector * BLOCK_SECTOR;
	return r->left ? step_write(disk, r) : BLOCK_OK;
}

static int start_flush(const struct block_disk *disk, struct block_request *r,
		       uint64_t sector)
{
	(void)sector;
	if (disk->backing->ro)
		return BLOCK_OK;
	r->io = (struct engine_io){ .op = ENGINE_FLUSH,
				    .file = own_file(disk) };
	return submit(disk, r);
}

static int start_get_id(const struct block_disk *disk, struct block_request *r,
			uint64_t sector)
{
	char id[BLOCK_SERIAL_BYTES] = { 0 };
	struct cursor to = chain_writer(&r->chain);

	(void)sector;
	to.left--;
	if (to.left < sizeof(id))
		return BLOCK_IOERR;
	if (disk->serial)
		memcpy(id, disk->serial, strnlen(disk->serial, sizeof(id)));
	cursor_put(&to, id, sizeof(id));
	r->written = sizeof(id);
	return BLOCK_OK;
}

/* 5.2.6.2: ranges of { sector 64, sectors 32, flags 32 } */
static int start_ranges(const struct block_disk *disk, struct block_request *r,
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
	return next_range(disk, r);
}

static const struct starter {
	enum block_type type;
	int (*start)(const struct block_disk *disk, struct block_request *r,
		     uint64_t sector);
} starters[] = {
	{ BLOCK_IN, start_in },		 { BLOCK_OUT, start_out },
	{ BLOCK_FLUSH, start_flush },	 { BLOCK_GET_ID, start_get_id },
	{ BLOCK_DISCARD, start_ranges }, { BLOCK_WRITE_ZEROES, start_ranges },
};

int block_request_start(const struct block_disk *disk, struct block_request *r)
{
	uint8_t header[HEADER_SIZE];

	r->written = 0;
	r->overlay_write = false;
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

/* -- after a step --------------------------------------------------------- */

static void report(const struct block_disk *disk, int error)
{
	static struct log_limit limit;

	log_guest(&limit, "%s: the host says: %s; the guest gets an I/O error",
		  disk->backing->name, strerror(error));
}

/* The host's file cannot do this kind of fallocate: never try again. */
static bool note_impossible(struct block_disk *disk,
			    const struct block_request *r)
{
	if (r->io.op != ENGINE_ALLOCATE ||
	    (r->io.result != -EOPNOTSUPP && r->io.result != -EINVAL &&
	     r->io.result != -ENOSYS))
		return false;
	if (r->io.mode & FALLOC_FL_PUNCH_HOLE)
		disk->no_discard = true;
	else
		disk->no_zero_range = true;
	return true;
}

static int go_on(struct block_disk *disk, struct block_request *r,
		 uint64_t moved)
{
	if (r->overlay_write)
		overlay_mark(disk->overlay, r->offset, moved);
	r->offset += moved;
	r->left -= moved;
	if (r->type == BLOCK_IN || r->type == BLOCK_OUT) {
		cursor_skip(&r->data, moved);
		if (r->type == BLOCK_IN)
			r->written += (uint32_t)moved;
		if (!r->left)
			return BLOCK_OK;
		return r->type == BLOCK_IN ? step_read(disk, r)
					   : step_write(disk, r);
	}
	if (r->left)
		return step_write_zeros(disk, r);
	r->range++;
	return next_range(disk, r);
}

int block_request_step_done(struct block_disk *disk, struct block_request *r)
{
	int64_t result = r->io.result;

	if (result == -EAGAIN || result == -EINTR)
		return submit(disk, r);
	if (note_impossible(disk, r))
		return next_range(disk, r);
	if (result < 0 ||
	    (result == 0 && r->io.len && r->io.op != ENGINE_ALLOCATE)) {
		report(disk, result ? (int)-result : ENODATA);
		return BLOCK_IOERR;
	}
	if (r->io.op == ENGINE_FLUSH)
		return BLOCK_OK;
	return go_on(disk, r,
		     r->io.op == ENGINE_ALLOCATE ? r->io.len
						 : (uint64_t)result);
}

uint64_t block_request_bytes(const struct block_request *r)
{
	uint64_t out = r->chain.read_len, in = r->chain.write_len;

	return (out > in ? out : in);
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
