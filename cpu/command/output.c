/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring between a guest that sends and a reader that may be slow. What the
 * guest sends is bytes of any kind; how many it may send is checked here. Owns
 * what the stream owns. The loop's thread.
 */
#include "cpu/command/output.h"

#include <errno.h>
#include <string.h>

int output_add(struct output *o, const uint8_t *data, size_t len)
{
	uint32_t at, first;

	if (len > PROTOCOL_CREDIT - o->len - o->taken)
		return -EPROTO;
	if (o->stream.source.fd < 0) {
		o->taken += (uint32_t)len;
		return 0;
	}
	at = (o->start + o->len) % PROTOCOL_CREDIT;
	first = PROTOCOL_CREDIT - at;
	if (first > len)
		first = (uint32_t)len;
	memcpy(o->ring + at, data, first);
	memcpy(o->ring, data + first, len - first);
	o->len += (uint32_t)len;
	return 0;
}

int output_flush(struct output *o)
{
	uint32_t len;
	ssize_t n;

	while (o->len && o->stream.source.fd >= 0) {
		len = PROTOCOL_CREDIT - o->start;
		if (len > o->len)
			len = o->len;
		n = stream_write(&o->stream, o->ring + o->start, len);
		if (n == -EAGAIN)
			stream_watch(&o->stream, EPOLLOUT);
		if (n < 0)
			return (int)n;
		o->start = (o->start + (uint32_t)n) % PROTOCOL_CREDIT;
		o->len -= (uint32_t)n;
		o->taken += (uint32_t)n;
	}
	/* With 0 it is still told of a reader that leaves. */
	stream_watch(&o->stream, 0);
	return 0;
}

void output_drop(struct output *o)
{
	stream_close(&o->stream);
	o->taken += o->len;
	o->len = 0;
}
