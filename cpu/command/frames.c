/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of the guest's frames. It is fed pieces of any size, keeps no more
 * than a header or a short payload, and hands data on as it comes. Trusts
 * nothing that it is fed. Owns nothing. The loop's thread.
 */
#include "cpu/command/frames.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "mem/util.h"

/* What a guest may send, and how much of it; all others are refused. */
static const struct {
	uint32_t min, max;
} frame_lengths[PROTOCOL_TYPES] = {
	[PROTOCOL_STDIN] = { 1, 0 },
	[PROTOCOL_STDOUT] = { 1, PROTOCOL_CHUNK },
	[PROTOCOL_STDERR] = { 1, PROTOCOL_CHUNK },
	[PROTOCOL_TAKEN] = { 8, 8 },
	[PROTOCOL_CLOSED] = { 8, 8 },
	[PROTOCOL_WINCH] = { 1, 0 },
	[PROTOCOL_SIGNAL] = { 1, 0 },
	[PROTOCOL_READY] = { 0, 0 },
	[PROTOCOL_NOTE] = { 0, PROTOCOL_TEXT },
	[PROTOCOL_EXIT] = { 8, 8 },
	[PROTOCOL_TIME] = { 0, 0 },
	[PROTOCOL_RUN] = { 0, 0 },
	[PROTOCOL_PUT] = { 1, 0 },
	[PROTOCOL_GET] = { 0, PROTOCOL_CHUNK },
};

static int begin_frame(struct frames *f)
{
	f->type = get_le32(f->header);
	f->left = get_le32(f->header + 4);
	f->payload_len = 0;
	if (f->type >= PROTOCOL_TYPES || f->left < frame_lengths[f->type].min ||
	    f->left > frame_lengths[f->type].max)
		return -EPROTO;
	return 0;
}

/* Bytes, which are handed on as they come. */
static bool carries_bytes(const struct frames *f)
{
	return f->type == PROTOCOL_STDOUT || f->type == PROTOCOL_STDERR ||
	       f->type == PROTOCOL_GET;
}

static int end_frame(struct frames *f, frames_take *take, void *arg)
{
	f->header_len = 0;
	if (carries_bytes(f) && get_le32(f->header + 4))
		return 0;
	f->payload[f->payload_len] = 0;
	return take(arg, f->type, f->payload, f->payload_len);
}

/* The next bytes, of a header or of a payload: how many, or -errno. */
static int parse_part(struct frames *f, const uint8_t *data, size_t len,
		      frames_take *take, void *arg)
{
	uint32_t want = f->header_len < PROTOCOL_HEADER
				? PROTOCOL_HEADER - f->header_len
				: f->left;
	const uint32_t n = len < want ? (uint32_t)len : want;
	int error = 0;

	if (f->header_len < PROTOCOL_HEADER) {
		memcpy(f->header + f->header_len, data, n);
		f->header_len += n;
		if (f->header_len < PROTOCOL_HEADER)
			return (int)n;
		error = begin_frame(f);
	} else {
		f->left -= n;
		if (carries_bytes(f)) {
			error = take(arg, f->type, data, n);
		} else {
			memcpy(f->payload + f->payload_len, data, n);
			f->payload_len += n;
		}
	}
	if (!error && !f->left)
		error = end_frame(f, take, arg);
	return error ? error : (int)n;
}

int frames_feed(struct frames *frames, const uint8_t *data, size_t len,
		frames_take *take, void *arg)
{
	while (len) {
		int taken = parse_part(frames, data, len, take, arg);

		if (taken < 0)
			return taken;
		data += taken;
		len -= (size_t)taken;
	}
	return 0;
}

void frames_header(uint8_t to[PROTOCOL_HEADER], unsigned type, size_t len)
{
	put_le32(to, type);
	put_le32(to + 4, (uint32_t)len);
}
