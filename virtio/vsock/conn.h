/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a vsock device: states, credit, the RST queue, memory, the
 * table and time limits. vsock.c's head explains the whole. For virtio/vsock
 * only.
 *
 * Nothing here sends a packet. It is noted in the connection what the guest has
 * to be sent, and the connection joins the list of those that are ready, which
 * vsock.c serves.
 */
#ifndef VIRTIO_VSOCK_CONN_H
#define VIRTIO_VSOCK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/counters.h"
#include "cpu/loop/loop.h"
#include "mem/state.h"
#include "virtio/queue.h"
#include "virtio/vsock/host.h"

#define VSOCK_HOST_CID	  2ULL
#define VSOCK_TYPE_STREAM 1u

/* 5.10.6: operations, and what SHUTDOWN's flags say the sender will not do */
enum vsock_op {
	VSOCK_OP_INVALID,
	VSOCK_OP_REQUEST,
	VSOCK_OP_RESPONSE,
	VSOCK_OP_RST,
	VSOCK_OP_SHUTDOWN,
	VSOCK_OP_RW,
	VSOCK_OP_CREDIT_UPDATE,
	VSOCK_OP_CREDIT_REQUEST,
	VSOCK_OPS
};
#define VSOCK_SHUT_RCV	1u
#define VSOCK_SHUT_SEND 2u
#define VSOCK_SHUT_BOTH (VSOCK_SHUT_RCV | VSOCK_SHUT_SEND)

/* The header of a packet (5.10.6), in the host's terms. */
struct vsock_packet {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port;
	uint32_t len;
	uint16_t type, op;
	uint32_t flags;
	uint32_t buf_alloc, fwd_cnt;
};

/*
 * What the guest may send before the host's program reads it is buffered here,
 * in memory that is touched only if need be, and in the socket, by the host's
 * kernel: so many bytes of each for a connection that is one of few. Of many,
 * each has less, halved up to VSOCK_HALVINGS times (conn.c, "memory").
 */
#define VSOCK_BUFFER	262144u /* a power of two */
#define VSOCK_UNREAD	212992u /* as Linux has it, if nobody changes it */
#define VSOCK_HALVINGS	6u
#define VSOCK_WHOLE_MIN 4u  /* connections with whole buffers, */
#define VSOCK_WHOLE_LOG 24u /* and one for each 16 MiB of the guest's */

#define VSOCK_CONNECTIONS_MAX 4096u
#define VSOCK_RSTS_MAX	      1024u
/* After a restore also one for each connection that there was. */
#define VSOCK_RSTS_ROOM (VSOCK_RSTS_MAX + VSOCK_CONNECTIONS_MAX)
#define VSOCK_BATCH_MAX 16u /* packets filled by one system call */

struct conn_list {
	struct conn_list *prev, *next;
};

/* Time limits. A list for each is sorted by itself: all wait equally long. */
enum vsock_wait {
	VSOCK_WAIT_CREDIT,	/* the guest may tell by itself */
	VSOCK_WAIT_CREDIT_LONG, /* it was asked, and asked again */
	VSOCK_WAIT_CREDIT_LONGER,
	VSOCK_WAIT_CREDIT_LONGEST,
	VSOCK_WAIT_RETRY,    /* connect(): the listener's backlog is full */
	VSOCK_WAIT_TURN,     /* so many have asked the broker already */
	VSOCK_WAIT_BROKER,   /* its answer */
	VSOCK_WAIT_COMMAND,  /* a CONNECT line */
	VSOCK_WAIT_RESPONSE, /* the guest's answer to a REQUEST */
	VSOCK_WAIT_CLOSE,    /* the guest's answer to a full SHUTDOWN */
	VSOCK_WAIT_ORPHANED, /* for the host to read some of it */
	VSOCK_WAIT_STALE,    /* the same, and it did not: gives way to others */
	VSOCK_WAITS,
	VSOCK_WAIT_NONE = VSOCK_WAITS
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_COMMAND,	  /* a client has not finished its CONNECT line */
	VSOCK_REQUESTED,  /* REQUEST is on its way to the guest */
	VSOCK_CONNECTING, /* the guest's REQUEST waits for the broker */
	VSOCK_OPEN,
	VSOCK_ORPHANED, /* the guest has forgotten it, the host still reads */
	VSOCK_KILLED	/* closed but for the RST that the guest has to get */
};

struct conn {
	struct conn_list ready; /* has something for the guest, or alone */
	struct conn_list timed; /* has a time limit, or alone */
	struct conns *conns;
	struct conn *next; /* in its hash chain, or in the free list */
	struct vsock_socket socket;
	uint64_t deadline_ns; /* of `wait` */
	uint64_t give_up_ns;  /* CONNECTING */
	uint32_t host_port, guest_port;
	uint8_t state, wait;
	uint8_t batch;	     /* packets to fill at the next read */
	uint8_t guest_shut;  /* VSOCK_SHUT_*: what the guest said, */
	uint8_t told_shut;   /* and what it was told */
	bool write_shut;     /* the host's program was told of the end */
	bool out_of_credit;  /* goes on when there is a good deal */
	bool buffer_touched; /* its memory has to be given back */
	bool from_guest;     /* who began it */
	bool host_reads;     /* the host's program: it was seen to */
	uint8_t halvings;    /* of VSOCK_UNREAD, as the socket knows it */
	uint16_t pending;    /* 1 << op: packets that are to be sent */

	/* host to guest, 5.10.6.3: what it has of ours, what it can take */
	uint32_t tx_cnt, peer_buf_alloc, peer_fwd_cnt;
	/* packets sent up to `old_end` bytes, and since; see vsock.c's head */
	uint32_t old_end, old_packets, new_packets;

	/* guest to host: passed on; how far the guest was told it may send */
	uint32_t fwd_cnt, granted;
	uint32_t buffer_start, buffered; /* bytes in its buffer, a ring */
	uint32_t buffer_size;		 /* a power of two; never shrinks */
};

/* All connections of a device. */
struct conns {
	struct loop *loop;
	struct vsock_host host;
	uint64_t guest_cid;
	bool running; /* the driver is, and has not broken the rules */

	/* Called last in what the loop calls here: the guest is to be served */
	void (*serve)(struct conns *conns);

	/* The internal stream: one that ends inside mote; fd -1: none, taken */
	uint32_t internal_port;
	int internal_fd;

	struct loop_source listener;
	bool listening;	    /* the loop watches it for clients */
	uint64_t accept_ns; /* not before: one could not be accepted */

	struct loop_source broker; /* answers, of those in WAIT_BROKER, */
	unsigned dials;		   /* and of some that have gone: so many */

	uint8_t *buffers; /* VSOCK_BUFFER for each of */
	struct conn *conn;
	struct conn *free;
	struct conn **table; /* hash by ports */
	size_t mapped;	     /* bytes, of the last three */
	uint32_t table_mask, table_seed;
	unsigned max, touched; /* conn[touched] and up were never used */
	unsigned count, guests;
	unsigned guests_max; /* that the guest began: the rest is clients' */
	int files_max;	     /* their descriptors are less than that */
	unsigned whole;	     /* so many have whole buffers, ... */
	unsigned halvings;   /* and with `count` they are halved so often */
	uint32_t unread;     /* what a new socket takes; 0: not limited */
	uint32_t last_port;  /* given to a client */
	uint64_t counter[VSOCK_COUNTERS];

	struct conn_list ready;
	struct conn_list timed[VSOCK_WAITS];
	struct loop_timer timer;
	uint64_t timer_ns; /* it is set for then; 0: not set */

	/* the RST queue, a ring: for packets that no connection answers */
	struct vsock_packet rst[VSOCK_RSTS_ROOM];
	unsigned rst_first, rst_count;
};

/*
 * Memory for `max` connections, or fewer where there is too little, of a guest
 * with `memory` bytes. 0 or -errno, logged. conns_destroy may come before,
 * after, and instead.
 */
int conns_create(struct conns *conns, unsigned max, uint64_t memory);
/* The loop that they run in. 0 or -errno, logged. */
int conns_attach(struct conns *conns, struct loop *loop);
void conns_destroy(struct conns *conns);

/* The driver runs: clients are let in. */
void conns_start(struct conns *conns);
/* Ends all; clients wait in the backlog until the next start. */
void conns_stop(struct conns *conns);

/*
 * What a snapshot keeps: the ports of the streams that the guest knows, and
 * which one a client had last. Loaded before the start, each of those streams
 * is one that a guest of this CID gets an RST for: nothing else is left of it.
 */
void conns_state(struct conns *conns, uint64_t guest_cid, struct state *s);

/* A packet with a good header; its payload is what `payload` has left. */
void conns_receive(struct conns *conns, const struct vsock_packet *packet,
		   struct cursor *payload);

/* Queues an RST for a packet that has no connection; the next one of those. */
void conns_reject(struct conns *conns, const struct vsock_packet *packet);
const struct vsock_packet *conns_take_rst(struct conns *conns);

/* The first that has something for the guest; NULL: none has. */
struct conn *conns_first_ready(const struct conns *conns);

/*
 * What it has for the guest: the next packet's operation, where `data` says
 * whether that may be data (RW); VSOCK_OP_INVALID: nothing more.
 */
enum vsock_op conn_next(const struct conn *conn, bool data);

/* Its header, with `len` bytes of data: it counts as sent from now on. */
struct vsock_packet conn_send(struct conn *conn, enum vsock_op op,
			      uint32_t len);

/* Bytes for one packet behind `bytes` more in `packets` more packets. */
uint32_t conn_room(const struct conn *conn, uint32_t bytes, uint32_t packets);

/* `serve` is called by then (loop_now), or before. */
void conns_wake(struct conns *conns, uint64_t when_ns);

/* It has said what it had: freed, or in line for what it may have next. */
void conn_served(struct conn *conn);

#endif
