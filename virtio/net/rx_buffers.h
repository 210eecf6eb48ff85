/*
 * Receive buffers that the driver has made available, taken off its queue and
 * not filled yet: what a packet of unknown size is read into. A packet may
 * take several chains (MRG_RXBUF); those that it did not need wait here for
 * the next one, so that each chain is walked once.
 *
 * Two circles: the buffers of all chains, one after the other, and the chains.
 * No guest address in here: pointers into RAM that virtio/queue.c checked.
 */
#ifndef VIRTIO_NET_RX_BUFFERS_H
#define VIRTIO_NET_RX_BUFFERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/queue.h"

#define NET_WINDOW_SEGMENTS (2 * QUEUE_SIZE_MAX)
#define NET_WINDOW_CHAINS   QUEUE_SIZE_MAX

struct net_window_chain {
	uint32_t bytes;
	uint16_t head, segments;
};

/* All zero is an empty one. */
struct net_window {
	size_t bytes;			  /* of all chains */
	unsigned first_segment, segments; /* place and number */
	unsigned first_chain, chains;
	struct iovec segment[NET_WINDOW_SEGMENTS];
	struct net_window_chain chain[NET_WINDOW_CHAINS];
};

/* Is there room for one more chain, of any shape? */
bool net_window_has_room(const struct net_window *window);

/* Adds the writable part of a chain; there must be room. */
void net_window_add(struct net_window *window, const struct chain *chain);

/* The chain at the front, as long as there is one; and away with it. */
const struct net_window_chain *net_window_first(const struct net_window *w);
void net_window_drop(struct net_window *window);

/*
 * Bytes [skip, skip + len) from the front as an I/O vector; fewer where the
 * window or `max` entries hold no more. Returns the number of entries; *bytes
 * is what they hold.
 */
unsigned net_window_iov(const struct net_window *window, size_t skip,
			size_t len, struct iovec *iov, unsigned max,
			size_t *bytes);

/* Copies to bytes [skip, skip + len), as far as they are there. */
void net_window_put(const struct net_window *window, size_t skip,
		    const void *from, size_t len);

#endif
