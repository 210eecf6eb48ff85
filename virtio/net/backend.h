/*
 * Between the device (net.c, net_rx.c, net_tx.c) and what carries its packets
 * (net_tap.c, net_unix.c). For these only.
 */
#ifndef VIRTIO_NET_BACKEND_H
#define VIRTIO_NET_BACKEND_H

#include <stddef.h>

#include "virtio/net/net.h"

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

/* virtio 1.2, 5.1.2 */
enum { NET_RX, NET_TX, NET_QUEUES };

/* virtio 1.2, 5.1.6: struct virtio_net_hdr, num_buffers included */
#define NET_HEADER	       12u
#define NET_HEADER_NUM_BUFFERS 10u

/* Ethernet without its checksum; and 64 KiB of IP behind two VLAN tags. */
#define NET_FRAME_MIN  14u
#define NET_LINK_BYTES 22u
#define NET_FRAME_MAX  (NET_LINK_BYTES + 65535u)

enum net_outcome {
	NET_DONE,    /* one packet; there may be more */
	NET_WAIT,    /* the host's side would block; nothing was taken */
	NET_STARVED, /* the guest's side lacks buffers; nothing was taken */
	NET_GONE,    /* and net_link_down has been called */
};

/* None of these waits, allocates or logs what a guest can repeat. */
struct net_backend {
	/* The driver is there, features are negotiated; and gone again. */
	void (*start)(struct net *net);
	void (*stop)(struct net *net);
	/* The driver takes its transmit queue back: send no more of it. */
	void (*stop_out)(struct net *net);
	/* One packet into the window and through net_rx_deliver. */
	enum net_outcome (*receive)(struct net *net);
	/*
	 * The packet in net->chain, header and all, of a size that is allowed:
	 * taken, to be pushed by now or by a flush.
	 */
	enum net_outcome (*send)(struct net *net);
	/* Sends what was taken: NET_DONE when nothing is left. */
	enum net_outcome (*flush)(struct net *net);
};

extern const struct net_backend net_tap_backend, net_stream_backend;

/*
 * Open, or take over: the descriptor, or -errno, logged. These set the
 * backend, the device's features and, where it is known and net->mtu is 0,
 * net->mtu.
 */
int net_tap_open(struct net *net, const char *name);
int net_tap_take(struct net *net, int fd);
int net_stream_open(struct net *net, const char *path);
int net_stream_take(struct net *net, int fd);

/* What a user can do about an error, for a message; up to a NULL text. */
struct net_advice {
	int error;
	const char *text; /* goes on after the error's own */
};

/* Logs why opening failed, with the advice for it; returns -error. */
int net_refuse(const struct net *net, int error,
	       const struct net_advice *advice);

/* -- for backends ---------------------------------------------------------- */

/* The other end is lost for good: tells the guest, and the user why. */
void net_link_down(struct net *net, const char *why);

/*
 * Has the window buffers for a packet of so many bytes, header included, or all
 * that the ring can have? Takes more from the queue; where that has no more,
 * the driver's next ones kick.
 */
bool net_rx_reserve(struct net *net, size_t bytes);

/*
 * The window's bytes from `skip` on, at most `len` and within what one packet
 * may take, into net->iov, which has two entries more. The number of entries;
 * *bytes is what they hold.
 */
unsigned net_rx_iov(struct net *net, size_t skip, size_t len, size_t *bytes);

/* The window begins with a packet of so many bytes: the driver gets it. */
void net_rx_deliver(struct net *net, size_t bytes);

/* A header that says nothing (5.1.6.2), for a host's side that has none. */
void net_rx_no_header(struct net *net);

/* Packets through, with what the limits allow; for net.c. */
void net_rx(struct net *net);
void net_tx(struct net *net);

/* 0, or the ns to wait before the next packet; and that one went through. */
uint64_t net_way_wait(struct net_way *way);
void net_way_charge(struct net_way *way, size_t bytes);

/* The limits say to wait; the timer goes on with it. */
void net_limited(struct net *net, struct net_way *way, uint64_t ns);

/* The host has no memory for it now; the same, for both ways. */
void net_no_memory(struct net *net);

/*
 * A turn: what one way may do before other devices have theirs, in packets
 * (lost ones too) and in bytes.
 */
#define NET_TURN       128u
#define NET_TURN_BYTES (1u << 20)
struct net_turn {
	uint64_t packets, bytes; /* the counts at its end */
};
struct net_turn net_turn_begin(const struct net_way *way);
bool net_turn_over(const struct net_way *way, const struct net_turn *turn);

/*
 * There is work left: at the next event of these, EPOLLIN or EPOLLOUT, which
 * comes at once where the descriptor is ready already; others have had their
 * turn then.
 */
void net_again(struct net *net, uint32_t events);

/* The driver broke the rules of this queue. */
void net_broken(struct net *net, const char *why);

#endif
