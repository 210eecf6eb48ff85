/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's receive buffers: backend.h says what they are for. Knows the
 * receive queue and no back end.
 *
 * Trusts what virtio/queue.c made of the driver's descriptors: each segment is
 * in RAM. A driver can make its chains as silly as it likes (256 buffers of one
 * byte), so room is counted in segments, never assumed.
 *
 * Owns nothing. The loop's thread.
 */
#include "virtio/net/backend.h"

#include <string.h>

#include "mem/util.h"

void rx_buffers_start(struct rx_buffers *rx, struct queue *queue,
		      bool mergeable)
{
	memset(rx, 0, offsetof(struct rx_buffers, part));
	rx->queue = queue;
	rx->mergeable = mergeable;
}

/* -- taking chains off the queue ------------------------------------------- */

/* Is there room for one more chain, of any shape? */
static bool rx_has_room(const struct rx_buffers *rx)
{
	return rx->chains < RX_CHAINS &&
	       rx->segments <= RX_SEGMENTS - QUEUE_SIZE_MAX;
}

/* Behind the last part, or as more of it. */
static void rx_add_segment(struct rx_buffers *rx, const struct iovec *segment)
{
	struct iovec *end = &rx->part[rx->first_part + rx->parts];

	if (rx->parts && (uint8_t *)end[-1].iov_base + end[-1].iov_len ==
				 segment->iov_base) {
		end[-1].iov_len += segment->iov_len;
	} else if (segment->iov_len) {
		*end = *segment;
		rx->parts++;
	}
}

static void rx_add_chain(struct rx_buffers *rx, const struct chain *chain)
{
	unsigned index = (rx->first_chain + rx->chains++) % RX_CHAINS;

	rx->chain[index] = (struct rx_chain){
		.bytes = chain->write_len,
		.head = chain->head,
		.segments = (uint16_t)(chain->count - chain->readable),
	};
	/* There is room for any chain behind the parts, or in front of them. */
	if (rx->first_part + rx->parts > RX_SEGMENTS - QUEUE_SIZE_MAX) {
		memmove(rx->part, rx->part + rx->first_part,
			rx->parts * sizeof(*rx->part));
		rx->first_part = 0;
	}
	for (unsigned i = chain->readable; i < chain->count; i++)
		rx_add_segment(rx, &chain->segment[i]);
	rx->segments += rx->chain[index].segments;
	rx->bytes += chain->write_len;
}

/*
 * One more chain from the driver; false where it has none, or none that can be
 * used. 5.1.6.3.1 wants room for a header in each. A chain that has no room at
 * all is not given back, or other vCPUs could offer it again and again and keep
 * the loop in here for as long as they like.
 */
static bool rx_take_chain(struct rx_buffers *rx)
{
	int popped = queue_pop(rx->queue, &rx->popped);

	if (popped > 0 && rx->popped.write_len) {
		rx_add_chain(rx, &rx->popped);
		return true;
	}
	if (popped)
		rx->broken = popped < 0 ? "its receive queue is malformed"
					: "a receive buffer cannot be written";
	return false;
}

static bool rx_has_bytes(const struct rx_buffers *rx, size_t bytes)
{
	return rx->mergeable ? rx->bytes >= bytes : rx->chains;
}

/*
 * All that the ring has is here: a small ring, or one of small buffers. A
 * packet that they do not hold is lost, and no other is with it.
 */
static bool rx_has_whole_ring(const struct rx_buffers *rx)
{
	const unsigned size = rx->queue->config.size;

	return rx->chains >= size || rx->segments >= size;
}

bool rx_buffers_reserve(struct rx_buffers *rx, size_t bytes)
{
	bool more = true;

	while (!rx_has_bytes(rx, bytes) && more && rx_has_room(rx))
		more = rx_take_chain(rx) ||
		       (!rx->broken && queue_want_kick(rx->queue));
	return !rx->broken &&
	       (rx_has_bytes(rx, bytes) || rx_has_whole_ring(rx));
}

/* -- filling them ---------------------------------------------------------- */

unsigned rx_buffers_iov(const struct rx_buffers *rx, size_t skip, size_t len,
			struct iovec *iov, unsigned max, size_t *bytes)
{
	unsigned count = 0;

	*bytes = 0;
	/* 5.1.6.3.1: without MRG_RXBUF a packet has one chain to itself. */
	if (!rx->mergeable) {
		const size_t all = rx->chain[rx->first_chain].bytes;
		const size_t room = all > skip ? all - skip : 0;

		len = len < room ? len : room;
	}
	for (unsigned i = 0; i < rx->parts && len && count < max; i++) {
		struct iovec part = rx->part[rx->first_part + i];

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

/* -- giving them back ------------------------------------------------------ */

/* The first so many bytes are not here any more. */
static void rx_drop_bytes(struct rx_buffers *rx, size_t bytes)
{
	struct iovec *first = &rx->part[rx->first_part];

	rx->bytes -= bytes;
	while (rx->parts && bytes >= first->iov_len) {
		bytes -= first++->iov_len;
		rx->first_part++;
		rx->parts--;
	}
	if (!bytes)
		return;
	first->iov_base = (uint8_t *)first->iov_base + bytes;
	first->iov_len -= bytes;
}

/* Gives back the first chain, with up to `bytes` of it written; how many. */
static size_t rx_push_chain(struct rx_buffers *rx, size_t bytes)
{
	const struct rx_chain *chain = &rx->chain[rx->first_chain];
	const size_t written = bytes < chain->bytes ? bytes : chain->bytes;

	queue_push(rx->queue, chain->head, (uint32_t)written);
	rx_drop_bytes(rx, chain->bytes);
	rx->segments -= chain->segments;
	rx->chains--;
	rx->first_chain = (rx->first_chain + 1) % RX_CHAINS;
	return written;
}

void rx_buffers_deliver(struct rx_buffers *rx, size_t bytes, bool clear_header)
{
	const size_t skip = clear_header ? 0 : NET_HEADER_NUM_BUFFERS;
	uint8_t header[NET_HEADER] = { 0 }, *from = header + skip;
	struct iovec iov[NET_HEADER];
	uint16_t chains = 0;
	unsigned count;
	size_t room;

	count = rx_buffers_iov(rx, skip, NET_HEADER - skip, iov, NET_HEADER,
			       &room);
	for (; bytes && rx->chains; chains++)
		bytes -= rx_push_chain(rx, bytes);
	/* 5.1.6.4.1: 1 also without MRG_RXBUF */
	put_le16(header + NET_HEADER_NUM_BUFFERS, chains);
	for (unsigned i = 0; i < count; i++) {
		memcpy(iov[i].iov_base, from, iov[i].iov_len);
		from += iov[i].iov_len;
	}
}
