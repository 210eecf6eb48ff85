/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What carries a device's packets on the host: a tap interface (tap.c) or a
 * stream socket (stream.c). net.c opens one, asks it to move packets, and acts
 * on what it answers; a back end never calls the device.
 */
#ifndef VIRTIO_NET_BACKEND_H
#define VIRTIO_NET_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "virtio/queue.h"

/* -- receive buffers (rx_buffers.c) --------------------------------------- */

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
/* virtio 1.2, 5.1.6: struct virtio_net_hdr, num_buffers included */
#define NET_HEADER	       12u
#define NET_HEADER_NUM_BUFFERS 10u

#define RX_SEGMENTS (2 * QUEUE_SIZE_MAX)
#define RX_CHAINS   QUEUE_SIZE_MAX

struct rx_chain {
	uint32_t bytes;
	uint16_t head, segments;
};

/*
 * A ring of the chains, and where their bytes lie, in order. Linux cuts its
 * buffers from large pieces: what lies together is one part, of whichever
 * chains it is, so that a system call has few entries to look at.
 */
struct rx_buffers {
	struct queue *queue;
	bool mergeable; /* MRG_RXBUF is negotiated */
	const char
		*broken;   /* how the driver broke the queue's rules, or NULL */
	size_t bytes;	   /* of all chains */
	unsigned segments; /* of all chains; no fewer than parts */
	unsigned first_part, parts; /* index and number, not around the end */
	unsigned first_chain, chains;
	struct iovec part[RX_SEGMENTS];
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

/* -- back ends (tap.c, stream.c) ------------------------------------------- */

#define NET_MAC_BYTES 6

/* virtio 1.2, 5.1.3 */
#define NET_F_CSUM	 (1ULL << 0)
#define NET_F_GUEST_CSUM (1ULL << 1)
#define NET_F_MTU	 (1ULL << 3)
#define NET_F_MAC	 (1ULL << 5)
#define NET_F_GUEST_TSO4 (1ULL << 7)
#define NET_F_GUEST_TSO6 (1ULL << 8)
#define NET_F_GUEST_ECN	 (1ULL << 9)
#define NET_F_HOST_TSO4	 (1ULL << 11)
#define NET_F_HOST_TSO6	 (1ULL << 12)
#define NET_F_HOST_ECN	 (1ULL << 13)
#define NET_F_MRG_RXBUF	 (1ULL << 15)
#define NET_F_STATUS	 (1ULL << 16)

/* Ethernet without its checksum; and 64 KiB of IP behind two VLAN tags. */
#define NET_FRAME_MIN  14u
#define NET_LINK_BYTES 22u
#define NET_FRAME_MAX  (NET_LINK_BYTES + 65535u)

#define NET_STREAM_IOV 512
#define NET_STREAM_MAX 64 /* frames sent by one system call */

enum net_outcome {
	NET_DONE,      /* one packet went through; there may be more */
	NET_DROPPED,   /* one packet was lost, as a network may */
	NET_WAIT,      /* the host's side would block; nothing was taken */
	NET_NO_MEMORY, /* the same, for want of memory: no event will tell */
	NET_STARVED, /* the receive buffers do not suffice; nothing was read */
	NET_GONE, /* the other end is lost for good: backend->gone says why */
};

struct net_backend;

/*
 * None of these waits, allocates or logs. start, stop_out, flush and held are
 * NULL where there is nothing to do.
 */
struct net_backend_ops {
	/* The driver is there with these features; and gone again. */
	void (*start)(struct net_backend *backend, uint64_t acked);
	void (*stop)(struct net_backend *backend);
	/* The driver takes its transmit queue back: send no more of it. */
	void (*stop_out)(struct net_backend *backend);
	/* NET_DONE: `rx` begins with a packet of *bytes, header included. */
	enum net_outcome (*receive)(struct net_backend *backend,
				    struct rx_buffers *rx, size_t *bytes);
	/*
	 * A chain of `tx`: a packet of a size that is allowed, header and all.
	 * NET_DONE: taken, and pushed to `tx` when it has gone, which may not
	 * be before flush. With all else it is still the caller's.
	 */
	enum net_outcome (*send)(struct net_backend *backend, struct queue *tx,
				 const struct chain *chain);
	/* Sends what was taken; NET_DONE or NET_GONE: nothing is left of it. */
	enum net_outcome (*flush)(struct net_backend *backend,
				  struct queue *tx);
	/* The chains that were taken and not pushed. */
	unsigned (*held)(const struct net_backend *backend);
};

struct net_tap {
	unsigned header; /* bytes before each frame: NET_HEADER, or 0 */
	unsigned mtu;	 /* the interface's; 0: not known */
	size_t gather;	 /* bytes of buffers that a packet may need */
};

struct net_stream {
	uint8_t prefix[4]; /* of the frame that comes in */
	unsigned prefix_have;
	uint32_t frame, frame_have; /* its bytes; 0: not known yet */
	bool skip;		    /* nobody wants the rest of it */

	unsigned first, end;   /* of iov: what is to be sent */
	unsigned sent, frames; /* of out: gone, and all */
	struct iovec iov[NET_STREAM_IOV];
	struct net_stream_frame {
		uint32_t bytes, left; /* prefix included; not sent yet */
		uint16_t head;
		bool orphaned; /* by a reset: the driver has its chain back */
		uint8_t prefix[4];
	} out[NET_STREAM_MAX];
};

struct net_backend {
	const struct net_backend_ops *ops;
	const char *name;  /* for messages; the device's */
	int fd;		   /* the device's to close; -1 from then on */
	uint64_t features; /* what a device can offer because of it */
	unsigned mtu;	   /* told to the guest; 0: not told */
	bool clear_header; /* what is received has none that means anything */
	const char *gone;
	struct iovec iov[RX_SEGMENTS + 2]; /* for one system call */
	struct net_tap tap;
	struct net_stream stream;
};

extern const struct net_backend_ops net_tap_ops, net_stream_ops;

/*
 * Open, or take over, what `backend` is to be from now on: 0, or -errno,
 * logged. They set ops, fd and features, and mtu where it is 0 and they know
 * one. What was to be taken over is not closed when that fails.
 */
int net_tap_open(struct net_backend *backend, const char *name);
int net_tap_take(struct net_backend *backend, int fd);
int net_stream_open(struct net_backend *backend, const char *path);
int net_stream_take(struct net_backend *backend, int fd);

#endif
