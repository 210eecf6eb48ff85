/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stream that is unpacked, read into one buffer: a block of the stream
 * begins at each block of it, so headers are looked at where they are, and data
 * are written from there.
 */
#include <errno.h>
#include <string.h>

#include "boot/tar/unpack.h"

#define STREAM_END 1 /* of `error` */

/* Reads some more; false: see `error`. */
static bool in_more(struct unpacker *u)
{
	long n;

	if (u->error)
		return false;
	if (u->at == u->filled)
		u->at = u->filled = u->at % TAR_BLOCK;
	n = u->read(u->arg, u->work->stream + u->filled,
		    TAR_STREAM_BYTES - u->filled);
	if (n > 0)
		u->filled += (size_t)n;
	else
		u->error = n ? n : STREAM_END;
	return n > 0;
}

const char *in_block(struct unpacker *u)
{
	const char *block;

	while (u->filled - u->at < TAR_BLOCK)
		if (!in_more(u))
			return NULL;
	block = u->work->stream + u->at;
	u->at += TAR_BLOCK;
	return block;
}

/* What ended the data too early. */
static long in_cut(struct unpacker *u)
{
	u->cut = u->error;
	if (u->error > 0) {
		u->cut = -EBADMSG;
		tar_fail(&u->report, "the tar stream ends too early", NULL,
			 u->cut);
	}
	return u->cut;
}

long in_data(struct unpacker *u, int64_t max, const char **data)
{
	size_t n;

	*data = ""; /* where it fails, too, it is something */
	if (max > u->left)
		max = u->left;
	if (!max)
		return 0;
	if (u->at == u->filled && !in_more(u))
		return in_cut(u);
	n = u->filled - u->at;
	if ((uint64_t)max < n)
		n = (size_t)max;
	*data = u->work->stream + u->at;
	u->at += n;
	u->left -= (int64_t)n;
	return (long)n;
}

long in_copy(struct unpacker *u, char *to, size_t len)
{
	const char *data;
	long n = 0;

	for (; len; len -= (size_t)n, to += n) {
		n = in_data(u, (int64_t)len, &data);
		if (n <= 0)
			return n ? n : -EBADMSG;
		memcpy(to, data, (size_t)n);
	}
	return 0;
}

long in_end(struct unpacker *u, size_t padding)
{
	const char *data;
	long n;

	u->left += (int64_t)padding;
	do
		n = in_data(u, u->left, &data);
	while (n > 0);
	return n;
}

long in_drain(struct unpacker *u)
{
	do
		u->at = u->filled = 0;
	while (in_more(u));
	return u->error == STREAM_END ? 0 : u->error;
}
