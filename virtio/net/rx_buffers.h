/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's receive buffers: taken off its queue, filled by a back end,
 * given back as packets (virtio 1.2, 5.1.6.3 and 5.1.6.4).
 *
 * A packet may need several chains (MRG_RXBUF), and its size is not always
 * known before it is read. Chains that a packet did not need stay here for the
 * next one, so each is walked once.
 *
 *	if (rx_buffers_reserve(rx, bytes)) {
 *		count = rx_buffers_iov(rx, NET_HEADER, len, iov, max, &room);
 *		... readv ...
 *		rx_buffers_deliver(rx, NET_HEADER + read, true);
 *	}
 */
#ifndef VIRTIO_NET_RX_BUFFERS_H
#define VIRTIO_NET_RX_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/queue.h"

/* virtio 1.2, 5.1.6: struct virtio_net_hdr, num_buffers included */
#define NET_HEADER	       12u
#define NET_HEADER_NUM_BUFFERS 10u

#define RX_SEGMENTS (2 * QUEUE_SIZE_MAX)
#define RX_CHAINS   QUEUE_SIZE_MAX

struct rx_chain {
	uint32_t bytes;
	uint16_t head, segments;
};

/* Two rings: the segments of all chains in order, and the chains. */
struct rx_buffers {
	struct queue *queue;
	bool mergeable; /* MRG_RXBUF is negotiated */
	const char
		*broken; /* how the driver broke the queue's rules, or NULL */
	size_t bytes;	 /* of all chains */
	unsigned first_segment, segments; /* index and number */
	unsigned first_chain, chains;
	struct iovec segment[RX_SEGMENTS];
	struct rx_chain chain[RX_CHAINS];
	struct chain popped; /* the last that came off the queue */
};

/* Forgets all buffers and starts anew with this queue. */
void rx_buffers_start(struct rx_buffers *rx, struct queue *queue,
		      bool mergeable);

/*
 * Are there buffers for a packet of so many bytes, header included, or all that
 * the ring can have? Takes more off the queue where needed. If not, the driver
 * kicks when it adds some, or rx->broken says why no more can be taken.
 */
bool rx_buffers_reserve(struct rx_buffers *rx, size_t bytes);

/*
 * Bytes [skip, skip + len) of the next packet as an I/O vector; fewer where the
 * buffers that one packet may take, or `max` entries, hold no more. Returns the
 * number of entries; *bytes is what they hold.
 */
unsigned rx_buffers_iov(const struct rx_buffers *rx, size_t skip, size_t len,
			struct iovec *iov, unsigned max, size_t *bytes);

/*
 * The buffers begin with a packet of so many bytes: the driver gets it. Its
 * header is the packet's, or one that says nothing (5.1.6.2).
 */
void rx_buffers_deliver(struct rx_buffers *rx, size_t bytes, bool clear_header);

#endif
