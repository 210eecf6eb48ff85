/*
 * A circle of receive buffers: see net_window.h. Knows neither queues nor
 * packets. Trusts what virtio/queue.c made of the driver's descriptors: each
 * segment is in RAM. A driver can make its chains as silly as it likes (256
 * buffers of one byte), so room is counted in segments, never assumed.
 *
 * Owns nothing. The loop's thread.
 */
#include "virtio/net/rx_buffers.h"

#include <string.h>

bool net_window_has_room(const struct net_window *window)
{
	return window->chains < NET_WINDOW_CHAINS &&
	       window->segments <= NET_WINDOW_SEGMENTS - QUEUE_SIZE_MAX;
}

void net_window_add(struct net_window *window, const struct chain *chain)
{
	unsigned last = window->first_segment + window->segments;
	unsigned at = window->first_chain + window->chains++;

	window->chain[at % NET_WINDOW_CHAINS] = (struct net_window_chain){
		.bytes = chain->write_len,
		.head = chain->head,
		.segments = (uint16_t)(chain->count - chain->readable),
	};
	for (unsigned i = chain->readable; i < chain->count; i++)
		window->segment[last++ % NET_WINDOW_SEGMENTS] =
			chain->segment[i];
	window->segments = last - window->first_segment;
	window->bytes += chain->write_len;
}

const struct net_window_chain *net_window_first(const struct net_window *w)
{
	return &w->chain[w->first_chain];
}

void net_window_drop(struct net_window *window)
{
	const struct net_window_chain *chain = net_window_first(window);

	window->bytes -= chain->bytes;
	window->segments -= chain->segments;
	window->first_segment =
		(window->first_segment + chain->segments) % NET_WINDOW_SEGMENTS;
	window->chains--;
	window->first_chain = (window->first_chain + 1) % NET_WINDOW_CHAINS;
}

unsigned net_window_iov(const struct net_window *window, size_t skip,
			size_t len, struct iovec *iov, unsigned max,
			size_t *bytes)
{
	unsigned count = 0;

	*bytes = 0;
	for (unsigned i = 0; i < window->segments && len && count < max; i++) {
		const unsigned at = window->first_segment + i;
		struct iovec part = window->segment[at % NET_WINDOW_SEGMENTS];

		if (skip >= part.iov_len) {
			skip -= part.iov_len;
			continue;
		}
		part.iov_base = (uint8_t *)part.iov_base + skip;
		part.iov_len -= skip;
		skip = 0;
		if (part.iov_len > len)
			part.iov_len = len;
		iov[count++] = part;
		*bytes += part.iov_len;
		len -= part.iov_len;
	}
	return count;
}

void net_window_put(const struct net_window *window, size_t skip,
		    const void *from, size_t len)
{
	const uint8_t *byte = from;
	struct iovec iov[1];
	size_t bytes;

	while (len && net_window_iov(window, skip, len, iov, 1, &bytes)) {
		memcpy(iov->iov_base, byte, bytes);
		byte += bytes;
		skip += bytes;
		len -= bytes;
	}
}
