/*
 * virtio-net (virtio 1.2, 5.1): one pair of queues, and on the host's side a
 * tap interface or a stream socket that carries frames.
 *
 * net_open opens what the options name, before the sandbox closes in;
 * net_create makes the device, for mmio_attach. From then on all is done by
 * the loop's thread.
 */
#ifndef VIRTIO_NET_NET_H
#define VIRTIO_NET_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"
#include "virtio/mmio.h"
#include "virtio/limiter.h"
#include "virtio/net/rx_buffers.h"

#define NET_NAME_BYTES	 160
#define NET_STREAM_IOV	 512
#define NET_STREAM_MAX	 64 /* frames sent by one system call */
#define NET_STREAM_WASTE 2048

/* What the command line asks for of a network. */
/* NET_NONE is only what an option holds before it is given. */
enum net_kind { NET_NONE, NET_TAP, NET_UNIX, NET_FD };

#define NETS_MAX      8
#define NET_MAC_BYTES 6

struct net_options {
	enum net_kind kind;
	struct option_file file; /* TAP: a name, UNIX: a path; FD: an fd */
	const char *mac_text;	 /* NULL: a random one is made */
	uint8_t mac[NET_MAC_BYTES];
	unsigned mtu;	      /* told to the guest; 0: the tap's */
	uint64_t bytes_per_s; /* each way; 0: no limit */
	unsigned packets_per_s;
};

/* One way, in or out. */
struct net_way {
	struct limiter bytes, packets;
	bool limited;			/* waits for the timer */
	uint64_t count, total, dropped; /* packets, their bytes, packets */
};

/* A tap's own state. */
struct net_tap {
	unsigned header; /* bytes before each frame: NET_HEADER, or 0 */
	unsigned offload;
	unsigned mtu;  /* the interface's; 0: not known */
	size_t gather; /* bytes of buffers that a packet may need */
};

/* A stream's own state; see net_unix.c. */
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
		bool cut; /* by a reset: the driver has its chain back */
		uint8_t prefix[4];
	} out[NET_STREAM_MAX];
	uint8_t waste[NET_STREAM_WASTE]; /* for what is skipped */
};

struct net {
	struct device device; /* first: the one is made of the other */
	char name[NET_NAME_BYTES];
	const struct net_backend *backend;
	struct loop *loop;
	struct loop_source source; /* the backend's descriptor */
	uint32_t watched;	   /* epoll's events for it */
	struct loop_timer timer;
	uint64_t timer_ns; /* when it expires; 0: it is not armed */
	bool running;	   /* from activation to reset, unless broken */
	bool link_up;
	bool mergeable;		/* MRG_RXBUF is negotiated */
	bool readable;		/* the descriptor may have more */
	bool blocked;		/* nothing can be sent before EPOLLOUT */
	bool wants_out;		/* goes on sending at EPOLLOUT */
	bool no_memory;		/* the host has none: goes on with the timer */
	struct net_way in, out; /* from the guest's point of view */
	uint8_t mac[NET_MAC_BYTES];
	unsigned mtu; /* 0: not told */
	struct net_window window;
	struct net_tap tap;
	struct net_stream stream;
	struct chain chain; /* the last that was taken off a queue */
	struct iovec iov[NET_WINDOW_SEGMENTS + 2]; /* for one system call */
	uint8_t spill; /* where a byte too many goes */
};

/* `number` is for messages. 0 or -errno, logged, with nothing to close. */
int net_open(struct net *net, const struct net_options *options,
	     unsigned number);

/* 0 or -errno, logged; net_destroy is due either way. */
int net_create(struct net *net, struct loop *loop);

/* After net_open: whether its host's side is a stream, and not a tap. */
bool net_is_stream(const struct net *net);

/* After mmio_detach; also where net_create was never called. */
void net_destroy(struct net *net);

#endif
