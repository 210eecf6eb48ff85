/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with holes, in GNU tar's format 1.0 (GNU tar's manual, "PAX Format,
 * Version 1.0"): the data begin with a map of decimal numbers, each in a line,
 * filled up to a block: how many segments, then place and length of each.
 */
#include <errno.h>
#include <unistd.h>

#include "boot/tar/pack.h"
#include "boot/tar/sys.h"

#define LINE_BYTES 24 /* of a number, with its end */

/*
 * Where there are too many holes, the last segment goes on to the file's end.
 * The last one is empty where the file ends in a hole: so GNU tar knows its
 * size.
 */
unsigned sparse_find(struct tar_work *work, int fd, int64_t size)
{
	struct tar_segment *segment = work->segment;
	unsigned count = 0;
	int64_t at = 0, data, hole;

	/* A FUSE server may say anything. */
	while (at < size && count < TAR_SEGMENTS_MAX - 1) {
		data = SYS(lseek, fd, at, SEEK_DATA);
		if (data == -ENXIO || data >= size)
			break;
		hole = data < 0 ? data : SYS(lseek, fd, data, SEEK_HOLE);
		if (data < at || hole <= data)
			return 0; /* it is read as a whole, then */
		if (hole > size || count == TAR_SEGMENTS_MAX - 2)
			hole = size;
		segment[count].at = data;
		segment[count++].len = hole - data;
		at = hole;
	}
	if (at < size || !count) {
		segment[count].at = size;
		segment[count++].len = 0;
	}
	return count == 1 && segment->len == size ? 0 : count;
}

static size_t sparse_line_len(uint64_t number)
{
	char line[LINE_BYTES];

	return (size_t)(head_put_number(line, number) - line) + 1;
}

static int64_t sparse_map_size(const struct tar_work *work, unsigned count)
{
	int64_t size = (int64_t)sparse_line_len(count);

	for (unsigned i = 0; i < count; i++)
		size += (int64_t)(sparse_line_len(
					  (uint64_t)work->segment[i].at) +
				  sparse_line_len(
					  (uint64_t)work->segment[i].len));
	return size;
}

int64_t sparse_size(const struct tar_work *work, unsigned count)
{
	const int64_t map = sparse_map_size(work, count);
	int64_t size = map + (int64_t)tar_padding(map);

	for (unsigned i = 0; i < count; i++)
		size += work->segment[i].len;
	return size;
}

static void sparse_write_line(struct packer *p, uint64_t number)
{
	char line[LINE_BYTES], *end = head_put_number(line, number);

	*end++ = '\n';
	out_bytes(p, line, (size_t)(end - line));
}

void sparse_write(struct packer *p, int fd, unsigned count)
{
	const struct tar_segment *segment = p->work->segment;

	sparse_write_line(p, count);
	for (unsigned i = 0; i < count; i++) {
		sparse_write_line(p, (uint64_t)segment[i].at);
		sparse_write_line(p, (uint64_t)segment[i].len);
	}
	out_zeros(p, (int64_t)tar_padding(sparse_map_size(p->work, count)));
	for (unsigned i = 0; i < count; i++) {
		SYS(lseek, fd, segment[i].at, SEEK_SET);
		out_file(p, fd, segment[i].len);
	}
}
