/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream that is packed: put together in one buffer and written when that
 * is full. Files are read into it directly.
 */
#include <errno.h>
#include <string.h>

#include "boot/tar/pack.h"
#include "boot/tar/sys.h"

#define READ_MIN (64 << 10)

void out_flush(struct packer *p)
{
	if (p->filled && !p->error)
		p->error = p->write(p->arg, p->work->stream, p->filled);
	p->filled = 0;
}

/* Room for `wanted` bytes at least. */
static size_t out_room(struct packer *p, size_t wanted)
{
	if (TAR_STREAM_BYTES - p->filled < wanted)
		out_flush(p);
	return TAR_STREAM_BYTES - p->filled;
}

static size_t out_least(int64_t len, size_t room)
{
	return (uint64_t)len < room ? (size_t)len : room;
}

void out_bytes(struct packer *p, const void *bytes, size_t len)
{
	const char *from = bytes;

	while (len && !p->error) {
		size_t n = out_least((int64_t)len, out_room(p, 1));

		memcpy(p->work->stream + p->filled, from, n);
		p->filled += n;
		from += n;
		len -= n;
	}
}

void out_zeros(struct packer *p, int64_t len)
{
	while (len && !p->error) {
		size_t n = out_least(len, out_room(p, 1));

		memset(p->work->stream + p->filled, 0, n);
		p->filled += n;
		len -= (int64_t)n;
	}
}

void out_file(struct packer *p, int fd, int64_t len)
{
	long n;

	while (len && !p->error) {
		size_t least = out_least(len, READ_MIN);
		size_t room = out_least(len, out_room(p, least));

		n = SYS(read, fd, p->work->stream + p->filled, room);
		if (n == -EINTR)
			continue;
		if (n <= 0) {
			/* The header has said how much there is. */
			tar_lack(&p->report,
				 n ? "cannot read all of it"
				   : "it became shorter while it was read",
				 p->work->name, n);
			out_zeros(p, len);
			return;
		}
		p->filled += (size_t)n;
		len -= n;
	}
}
