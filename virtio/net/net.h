/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1): one pair of queues, and on the host's side a
 * tap interface or a stream socket that carries frames, to passt(1) where mote
 * has started that.
 *
 * net_open opens what the options name, before the sandbox closes in;
 * net_create makes the device, for mmio_attach. From then on all is done by
 * the loop's thread.
 */
#ifndef VIRTIO_NET_NET_H
#define VIRTIO_NET_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/counters.h"
#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"
#include "virtio/lazy.h"
#include "virtio/limiter.h"
#include "virtio/mmio.h"
#include "virtio/net/backend.h"
#include "virtio/net/passt.h"

#define NET_NAME_BYTES 160
#define NETS_MAX       8

/* What one event may do before others are served, in packets and in bytes. */
#define NET_BUDGET	 128u
#define NET_BUDGET_BYTES (1u << 20)

/* NET_NONE is only what an option holds before it is given. */
enum net_kind { NET_NONE, NET_TAP, NET_UNIX, NET_FD, NET_USER };

/* What the command line asks for of a network. */
struct net_options {
	enum net_kind kind;
	struct option_file file; /* TAP: a name, UNIX: a path; FD: an fd */
	const struct passt_publish *publish; /* USER: what leads to it */
	unsigned publish_count;
	const char *mac_text; /* NULL: a random one is made */
	uint8_t mac[NET_MAC_BYTES];
	unsigned mtu;	      /* told to the guest; 0: the tap's */
	uint64_t bytes_per_s; /* each direction; 0: no limit */
	unsigned packets_per_s;
	/* What the guest is told to use, as the user wrote it, up to a NULL;
	 * not the device's. */
	const char *ip[4], *gw[2], *dns[3];
	bool ip_unasked; /* `ip` is what goes without saying */
};

/* virtio 1.2, 5.1.2 */
enum { NET_RX, NET_TX, NET_QUEUES };

/* In or out, from the guest's point of view. */
struct net_direction {
	struct limiter bytes, packets;
	bool limited;	    /* waits for the timer */
	bool throttled;	    /* and so does the next packet, if any */
	uint64_t throttles; /* packets that did */
	uint64_t count, total, dropped; /* packets, their bytes, packets */
	uint64_t budget, budget_bytes;	/* what the counts may come to now */
	struct loop_work more;		/* deferred: the budget is spent */
};

struct net {
	struct device device; /* first: the one is made of the other */
	char name[NET_NAME_BYTES];
	uint8_t mac[NET_MAC_BYTES];
	bool own_mac; /* it stays, whatever a snapshot says; which was: */
	uint8_t saved_mac[NET_MAC_BYTES];
	struct loop *loop;
	struct loop_source source; /* the back end's descriptor */
	uint32_t watched;	   /* epoll's events for it */
	struct loop_timer timer;
	uint64_t timer_ns; /* when it expires; 0: it is not armed */
	bool running;	   /* from activation to reset, unless broken */
	bool link_up;
	bool readable;	/* the descriptor may have more */
	bool blocked;	/* nothing can be sent before EPOLLOUT or the timer */
	bool no_memory; /* the host has none: goes on with the timer */
	struct net_direction in, out;
	struct rx_buffers rx;
	struct lazy sent;  /* the transmit queue's interrupts */
	struct chain tx;   /* the last that was taken off the transmit queue */
	int passt_channel; /* passt is not known to be ready yet; else -1 */
	struct net_backend backend;
};

/*
 * `net` is zeroed, and most of it not touched before it is used. `number` is
 * for messages. 0 or -errno, logged, with nothing to close.
 */
int net_open(struct net *net, const struct net_options *options,
	     unsigned number);

/* After net_open: until its host's side can be used. 0 or -errno, logged. */
int net_wait(struct net *net);

/* 0 or -errno, logged; net_destroy is due either way. */
int net_create(struct net *net, struct loop *loop);

/* What went through, and what did not, so far. */
void net_counters(const struct net *net, uint64_t value[NET_COUNTERS]);

/* After net_open: whether its host's side is a stream, and not a tap. */
bool net_is_stream(const struct net *net);

/*
 * After net_create: what a snapshot keeps, mem/state.h, besides the transport's
 * part. The guest keeps its address unless the options name one, or, before
 * the load, net_renew_mac was called: then it is told the new one. Its MTU it
 * keeps, having read it once.
 */
void net_state(struct net *net, struct state *s);

static inline void net_renew_mac(struct net *net)
{
	net->own_mac = true;
}

/* After mmio_detach; also where net_create was never called. */
void net_destroy(struct net *net);

#endif
