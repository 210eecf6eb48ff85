/*
 * What the files of the vsock device share: its connections, and who does what
 * with them. For virtio/vsock*.c only.
 *
 *	vsock.c		the device: queues, packets from the guest, turns
 *	vsock_rx.c	packets for the guest, data read straight into them
 *	vsock_conn.c	the states of a connection
 *	vsock_pool.c	memory, table, lists and time limits of connections
 *	vsock_unix.c	the host's end: unix sockets and CONNECT lines
 *
 * Nothing below sends a packet at once: it notes in the connection what is to
 * be sent and queues the connection; vsock_turn sends, all connections in turn.
 */
#ifndef VIRTIO_VSOCK_CONN_H
#define VIRTIO_VSOCK_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/unixsock.h"
#include "virtio/mmio.h"
#include "virtio/vsock/vsock.h"

#define VSOCK_HOST_CID	  2ULL
#define VSOCK_HEADER	  44u
#define VSOCK_TYPE_STREAM 1u

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

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
 * What the guest may send before the host's program reads it: that much is
 * kept for each connection, in memory that is touched only if need be.
 */
#define VSOCK_BUFFER 262144u /* a power of two */

#define VSOCK_CONNECTIONS_MAX 4096u
#define VSOCK_COMMAND_MAX     32u /* "CONNECT 4294967295\r\n" and blanks */
#define VSOCK_STRAYS	      1024u
#define VSOCK_BATCH	      16u /* packets filled by one system call */

struct vsock_list {
	struct vsock_list *prev, *next;
};

/* Time limits. A list for each is sorted by itself: all wait equally long. */
enum vsock_wait {
	VSOCK_WAIT_CREDIT,	/* the guest may tell by itself */
	VSOCK_WAIT_CREDIT_LONG, /* it was asked, and asked again */
	VSOCK_WAIT_CREDIT_LONGER,
	VSOCK_WAIT_CREDIT_LONGEST,
	VSOCK_WAIT_RETRY,    /* connect(): the listener's backlog is full */
	VSOCK_WAIT_COMMAND,  /* a CONNECT line */
	VSOCK_WAIT_RESPONSE, /* the guest's answer to a REQUEST */
	VSOCK_WAIT_CLOSE,    /* the guest's answer to a full SHUTDOWN */
	VSOCK_WAIT_DRAIN,    /* DRAINING: for the host to read some of it */
	VSOCK_WAIT_STALE,    /* the same, and it did not: gives way to others */
	VSOCK_WAITS,
	VSOCK_WAIT_NONE = VSOCK_WAITS
};

enum vsock_state {
	VSOCK_FREE,
	VSOCK_COMMAND,	  /* a client has not finished its CONNECT line */
	VSOCK_REQUESTED,  /* REQUEST is on its way to the guest */
	VSOCK_CONNECTING, /* the guest's REQUEST waits for a listener's backlog
			   */
	VSOCK_OPEN,
	VSOCK_DRAINING, /* the guest has forgotten it, the host still reads */
	VSOCK_DEAD	/* closed but for the RST that the guest has to get */
};

/* flags of a connection */
#define VSOCK_GUEST_NO_RCV  0x001u /* SHUTDOWN: wants no more data */
#define VSOCK_GUEST_NO_SEND 0x002u /* SHUTDOWN: has sent all of its data */
#define VSOCK_HOST_EOF	    0x004u /* everything the host wrote is sent */
#define VSOCK_HOST_GONE	    0x008u /* the host does not read any more */
#define VSOCK_READABLE	    0x010u /* a read may succeed */
#define VSOCK_HANGUP	    0x020u /* ... and so until it says end of file */
#define VSOCK_BLOCKED	    0x040u /* a write fails until EPOLLOUT */
#define VSOCK_SHUT_WR	    0x080u /* the host was told NO_SEND */
#define VSOCK_STALLED	    0x100u /* out of credit; go on with a good deal */
#define VSOCK_HOST_RESET    0x200u /* the host closed it with data unread */
#define VSOCK_OUT_WATCHED   0x400u /* EPOLLOUT is asked for */
#define VSOCK_TOUCHED	    0x800u /* its buffer was used */

struct vsock_conn {
	struct vsock_list ready; /* has something for the guest, or alone */
	struct vsock_list timed; /* has a time limit, or alone */
	struct vsock *vsock;
	struct vsock_conn *next; /* in its hash chain, or in the free list */
	struct loop_source host; /* the unix socket; fd -1: closed */
	uint64_t deadline_ns;	 /* of `wait` */
	uint64_t give_up_ns;	 /* CONNECTING */
	uint32_t host_port, guest_port;
	uint8_t state, wait;
	uint16_t flags;
	uint16_t pending;  /* 1 << op: packets that are to be sent */
	uint8_t told_shut; /* SHUTDOWN flags that the guest knows of */
	uint8_t batch;	   /* packets to fill at the next read */

	/* host to guest, 5.10.6.3: what it has of ours, what it can take */
	uint32_t sent, peer_alloc, peer_forwarded;
	/* packets sent up to `mark` bytes, and since; see vsock_rx.c */
	uint32_t mark, packets_before, packets_since;

	/* guest to host: passed on, and as far as the guest knows */
	uint32_t forwarded, told_forwarded;
	uint32_t kept_start, kept; /* bytes in its buffer, a ring */

	uint8_t command_len;
	char command[VSOCK_COMMAND_MAX];
};

/* A packet that no connection answers gets an RST. */
struct vsock_stray {
	uint64_t cid; /* that the guest sent it to */
	uint32_t host_port, guest_port;
	uint16_t type;
};

struct vsock {
	struct device device;
	struct loop *loop; /* NULL: not created */
	struct vsock_options options;
	uint64_t cid;
	const char *failed; /* the driver broke the rules; a turn's end sees */
	struct loop_source again; /* eventfd: a turn ended with work left */
	struct unixsock file;
	char bound[UNIXSOCK_PATH_MAX + 1]; /* where the caller's is; or empty */
	const char *prefix; /* "PATH", of the host's listeners; NULL: none */
	struct loop_source listener;

	struct vsock_conn *conn; /* `max` of them */
	uint8_t *buffers;	 /* VSOCK_BUFFER for each, in the same order */
	struct vsock_conn *free;
	struct vsock_conn **table; /* hash by ports */
	uint32_t table_mask, table_seed;
	unsigned max, touched; /* conn[touched] and up were never used */
	unsigned count;
	uint32_t last_port; /* given to a client */

	struct vsock_list ready;
	struct vsock_list timed[VSOCK_WAITS];
	struct loop_timer timer;
	uint64_t timer_ns; /* it is set for then; 0: not set */

	struct vsock_stray stray[VSOCK_STRAYS]; /* a ring */
	unsigned stray_start, strays;

	bool running;	/* the driver is, and has not broken the rules */
	bool tx_due;	/* the guest may have packets */
	bool rx_dry;	/* the guest has no buffers */
	bool event_due; /* a transport reset event */
	bool again_set;
	bool listening; /* the loop watches it for clients */
	struct chain chain;
};

/* -- vsock.c -------------------------------------------------------------- */

/*
 * Packets both ways, as much as one turn of the loop allows, and interrupts.
 * Last in everything that the loop calls.
 */
void vsock_turn(struct vsock *vsock);

/* The driver broke the rules; the turn tells it. */
void vsock_fail(struct vsock *vsock, const char *why);

/* -- vsock_rx.c ----------------------------------------------------------- */

/*
 * Serves strays and ready connections until nothing is left, the guest's
 * buffers are used up, or the turn is over: true where work is left that the
 * loop has to come back for.
 */
bool vsock_rx_run(struct vsock *vsock);

/* The guest has room for data, and it is worth while. */
bool vsock_rx_allowed(const struct vsock_conn *conn);

/* What a packet says that the guest has room for. */
void vsock_rx_credit(struct vsock_conn *conn,
		     const struct vsock_packet *packet);

/* Queues an RST for a packet that has no connection. */
void vsock_rx_stray(struct vsock *vsock, const struct vsock_packet *packet);

/* -- vsock_conn.c --------------------------------------------------------- */

/* A packet with a good header; its payload is what `payload` has left. */
void vsock_conn_packet(struct vsock *vsock, const struct vsock_packet *packet,
		       struct cursor *payload);

/* A client's CONNECT line is complete. */
void vsock_conn_connect(struct vsock_conn *conn, uint32_t guest_port);

/* The host end has changed its flags: what follows from that. */
void vsock_conn_settle(struct vsock_conn *conn);

/* Ends it at once; where the guest knows of it, by an RST. */
void vsock_conn_kill(struct vsock_conn *conn);

/* Its time limit has passed. */
void vsock_conn_expired(struct vsock_conn *conn, enum vsock_wait wait);

/* -- vsock_pool.c --------------------------------------------------------- */

int vsock_pool_create(struct vsock *vsock, unsigned max);
int vsock_pool_start(struct vsock *vsock);
void vsock_pool_destroy(struct vsock *vsock);

/* False where there are `max` already, none of which may have to give way. */
bool vsock_pool_has_room(const struct vsock *vsock);

/* Ends one whose program on the host reads nothing; false: there is none. */
bool vsock_pool_make_room(struct vsock *vsock);

/* Makes room where there are `max` already; NULL where it cannot. */
struct vsock_conn *vsock_pool_take(struct vsock *vsock, enum vsock_state state);

/* Closes its socket, too. It may be in any list. */
void vsock_pool_give(struct vsock_conn *conn);
void vsock_pool_give_all(struct vsock *vsock);

struct vsock_conn *vsock_pool_find(const struct vsock *vsock,
				   uint32_t host_port, uint32_t guest_port);
void vsock_pool_enter(struct vsock_conn *conn); /* its ports are known */
void vsock_pool_leave(struct vsock_conn *conn); /* harmless if not entered */

/* A host port that no connection to that guest port has. */
uint32_t vsock_pool_port(struct vsock *vsock, uint32_t guest_port);

/* Has the turn look at it. */
void vsock_pool_queue(struct vsock_conn *conn);
void vsock_pool_unqueue(struct vsock_conn *conn);

/* Limits its time anew, or (NONE) no longer. */
void vsock_pool_wait(struct vsock_conn *conn, enum vsock_wait wait);

/* In so many ns the timer looks after clients, too. */
void vsock_pool_wake(struct vsock *vsock, uint64_t ns);

uint8_t *vsock_pool_buffer(const struct vsock_conn *conn);
uint64_t vsock_now(void);

/* -- vsock_unix.c --------------------------------------------------------- */

int vsock_host_listen(struct vsock *vsock);
void vsock_host_unlisten(struct vsock *vsock);

/* Clients are let in, or wait in the backlog. */
void vsock_host_accept(struct vsock *vsock, bool accept);

/*
 * Connects to PATH_<host port>: 0; -EAGAIN where the listener's backlog is
 * full; or another -errno.
 */
int vsock_host_connect(struct vsock_conn *conn);

/* Tells the client that it is connected. */
void vsock_host_greet(struct vsock_conn *conn);

/*
 * Reads straight into `iov`: the number of bytes, 0 where there are none now
 * or no more. The flags say which.
 */
size_t vsock_host_read(struct vsock_conn *conn, struct iovec *iov,
		       unsigned count);

/* Writes what the socket takes. */
size_t vsock_host_write(struct vsock_conn *conn, struct iovec *iov,
			unsigned count);

/* There is nothing more to write for now. */
void vsock_host_written(struct vsock_conn *conn);

/* Ends one direction, or all of it. */
void vsock_host_shutdown(struct vsock_conn *conn, int how);
void vsock_host_close(struct vsock_conn *conn);

#endif
