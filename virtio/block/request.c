/*
 * One request of a block device (virtio 1.2, 5.2.6), judged.
 *
 * The header and the ranges are copied out of guest memory before they are
 * judged, so the driver cannot change them afterwards; the data stays where it
 * is. What is in order goes on in block_step.c. Loop's thread.
 */
#include "virtio/block/request.h"

#include <string.h>

#include "mem/util.h"

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
