/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of a vsock device, between a peer in the guest that is
 * hostile and one on the host that may do as it likes. Their states, credit and
 * examples are explained in vsock.c's head.
 *
 * All memory is mapped when the device is opened and touched when it is used:
 * what was never needed costs nothing, and what a closed connection had
 * buffered for a slow reader is given back to the host. Connections are
 * allocated from the lowest index up, and the last one freed comes first.
 *
 * Each type of time limit is equally long for all, so whoever begins to wait
 * goes to the end of that type's list, and only the lists' heads are looked at.
 * One timer serves all; it is set for the earliest head, or earlier: a limit
 * that was lifted in time costs nothing.
 *
 * A breach of the protocol costs the guest that connection (RST), nothing else.
 * What the guest may send is bounded by what the connection's buffer has room
 * for: there it waits for a slow reader, without any other connection noticing.
 *
 * Trusts vsock.c to have judged a packet's addresses. Owns the memory, the
 * timer and the internal stream's socket. The loop's thread.
 */
#include "virtio/vsock/conn.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"

#define MS		 1000000ULL
#define CONNECT_NS	 (2000 * MS) /* Linux gives up then, too */
#define EXPIRED_MAX	 64u	     /* of each type at a time, */
#define EXPIRED_PAUSE_NS MS	     /* and so long between them */
#define ACCEPTED_MAX	 16	     /* clients at a time */
#define ACCEPT_PAUSE_NS	 (100 * MS)  /* after one could not be accepted */
#define WRITE_IOVS	 64
#define CLIENTS_SHARE	 8     /* of the places, one in so many */
#define PACKET_COST	 640u  /* what Linux charges, and a little more */
#define ROOM_LEAST	 1024u /* less is not worth a packet */

#define SENT_BEFORE_DATA                                                       \
	(1u << VSOCK_OP_RST | 1u << VSOCK_OP_REQUEST | 1u << VSOCK_OP_RESPONSE)

/*
 * A guest that reads tells so by itself, mostly; it is asked after 2 ms, and
 * then ever less often. A listener with a full backlog is tried again every
 * 10 ms. A program writes its CONNECT line at once, a person takes longer. A
 * guest answers a REQUEST at once, if it is not busy booting; 8 s is what Linux
 * gives a peer to close.
 */
static const uint64_t conn_wait_ns[VSOCK_WAITS] = {
	[VSOCK_WAIT_CREDIT] = 2 * MS,
	[VSOCK_WAIT_CREDIT_LONG] = 20 * MS,
	[VSOCK_WAIT_CREDIT_LONGER] = 200 * MS,
	[VSOCK_WAIT_CREDIT_LONGEST] = 2000 * MS,
	[VSOCK_WAIT_RETRY] = 10 * MS,
	[VSOCK_WAIT_TURN] = CONNECT_NS,
	[VSOCK_WAIT_BROKER] = CONNECT_NS,
	[VSOCK_WAIT_COMMAND] = 10000 * MS,
	[VSOCK_WAIT_RESPONSE] = 5000 * MS,
	[VSOCK_WAIT_CLOSE] = 8000 * MS,
	[VSOCK_WAIT_ORPHANED] = 30000 * MS,
	[VSOCK_WAIT_STALE] = 30000 * MS,
};

/* -- lists ---------------------------------------------------------------- */

static void conn_list_init(struct conn_list *list)
{
	list->prev = list->next = list;
}

static bool conn_list_empty(const struct conn_list *list)
{
	return list->next == list;
}

static void conn_list_remove(struct conn_list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	conn_list_init(entry);
}

static void conn_list_append(struct conn_list *list, struct conn_list *entry)
{
	entry->prev = list->prev;
	entry->next = list;
	list->prev->next = entry;
	list->prev = entry;
}

/* -- what a connection waits for ------------------------------------------ */

struct conn *conns_first_ready(const struct conns *conns)
{
	/* `ready` is the first member. */
	return conn_list_empty(&conns->ready) ? NULL
					      : (void *)conns->ready.next;
}

static struct conn *conns_first_timed(const struct conns *conns,
				      enum vsock_wait wait)
{
	const struct conn_list *list = &conns->timed[wait];

	if (conn_list_empty(list))
		return NULL;
	return (void *)((char *)list->next - offsetof(struct conn, timed));
}

/* The guest is to be served: something is for it, or may be. */
static void conn_set_ready(struct conn *conn)
{
	if (conn_list_empty(&conn->ready))
		conn_list_append(&conn->conns->ready, &conn->ready);
}

static void conn_set_pending(struct conn *conn, enum vsock_op op)
{
	conn->pending |= (uint16_t)(1u << op);
	conn_set_ready(conn);
}

static bool conn_is_pending(const struct conn *conn, enum vsock_op op)
{
	return conn->pending & 1u << op;
}

static void conns_set_timer(struct conns *conns, uint64_t now, uint64_t when)
{
	if (conns->timer_ns && conns->timer_ns <= when)
		return;
	conns->timer_ns = when;
	loop_timer_set(&conns->timer, when > now ? when - now : 1);
}

void conns_wake(struct conns *conns, uint64_t when_ns)
{
	if (!conns->timer_ns || conns->timer_ns > when_ns)
		conns_set_timer(conns, loop_now(), when_ns);
}

/* Limits its time anew, or (NONE) no longer. */
static void conn_wait(struct conn *conn, enum vsock_wait wait)
{
	struct conns *conns = conn->conns;
	uint64_t now;

	conn_list_remove(&conn->timed);
	conn->wait = (uint8_t)wait;
	if (wait == VSOCK_WAIT_NONE)
		return;
	now = loop_now();
	conn->deadline_ns = now + conn_wait_ns[wait];
	conn_list_append(&conns->timed[wait], &conn->timed);
	conns_set_timer(conns, now, conn->deadline_ns);
}

/* -- the table ------------------------------------------------------------ */

static struct conn **conns_bucket(const struct conns *conns, uint32_t host_port,
				  uint32_t guest_port)
{
	uint64_t key = (uint64_t)host_port << 32 | guest_port;

	/* Multiplicative: the upper half depends on every bit of the key. */
	key = (key ^ conns->table_seed) * 0x9e3779b97f4a7c15ULL;
	key = (key ^ key >> 29) * 0xbf58476d1ce4e5b9ULL;
	return &conns->table[(key >> 32) & conns->table_mask];
}

static struct conn *conns_find(const struct conns *conns, uint32_t host_port,
			       uint32_t guest_port)
{
	struct conn *conn = *conns_bucket(conns, host_port, guest_port);

	while (conn &&
	       (conn->host_port != host_port || conn->guest_port != guest_port))
		conn = conn->next;
	return conn;
}

static void conn_enter_table(struct conn *conn, uint32_t host_port,
			     uint32_t guest_port)
{
	struct conn **chain = conns_bucket(conn->conns, host_port, guest_port);

	conn->host_port = host_port;
	conn->guest_port = guest_port;
	conn->next = *chain;
	*chain = conn;
}

/* Harmless where it is not in there. */
static void conn_leave_table(struct conn *conn)
{
	struct conn **at =
		conns_bucket(conn->conns, conn->host_port, conn->guest_port);

	while (*at && *at != conn)
		at = &(*at)->next;
	if (*at)
		*at = conn->next;
}

/* -- memory --------------------------------------------------------------- */

/*
 * Lets clients in, or leaves them in the backlog: where there is no room, and
 * none that may have to give way.
 */
static void conns_listen(struct conns *conns, bool listen)
{
	/* The lists are not there yet where opening failed. */
	listen = listen && conns->running && conns->host.fd >= 0 &&
		 (conns->count < conns->max ||
		  conns_first_timed(conns, VSOCK_WAIT_STALE));
	if (listen == conns->listening)
		return;
	conns->listening = listen;
	if (!listen)
		loop_remove(conns->loop, &conns->listener);
	else if (loop_add(conns->loop, &conns->listener, EPOLLIN))
		conns->listening = false;
}

static uint8_t *conn_buffer(const struct conn *conn)
{
	const struct conns *conns = conn->conns;

	return conns->buffers + (size_t)(conn - conns->conn) * VSOCK_BUFFER;
}

/*
 * What all connections can make the host hold is bounded by how large the
 * buffers of each are: whole for the first `whole` of them, and halved each
 * time that their number doubles. What a connection has buffered while there
 * were n is no more than the share of the nth, and of those that were there
 * when there were n, n at most are left. So, however they come and go, all hold
 * no more than if each had come after the other and kept its share:
 *
 *	whole * (1 + 6/2) * (VSOCK_BUFFER + what a socket takes)
 *
 * which is an eighth of the guest's memory; and where there are more than
 * 64 * `whole`, a page and the kernel's least for each.
 *
 * What lies in a socket stays there when mote has closed its end. So that a
 * guest cannot pile that up, in stream after stream that nobody reads, the
 * socket of one that it has begun takes the least until it has been full and
 * was read.
 */
static void conns_count(struct conns *conns, int more)
{
	unsigned halvings = 0;

	conns->count += (unsigned)more;
	while (halvings < VSOCK_HALVINGS && conns->count > conns->whole
								   << halvings)
		halvings++;
	conns->halvings = halvings;
}

/* What ends before it was a stream was refused, whoever it was that did. */
static void conn_set_state(struct conn *conn, enum vsock_state state)
{
	static const bool begins[] = {
		[VSOCK_COMMAND] = true,
		[VSOCK_REQUESTED] = true,
		[VSOCK_CONNECTING] = true,
		[VSOCK_KILLED] = false,
	};
	uint64_t *counter = conn->conns->counter;

	counter[VSOCK_COUNT_REFUSED] +=
		begins[conn->state] &&
		(state == VSOCK_FREE || state == VSOCK_KILLED);
	counter[VSOCK_COUNT_OPEN] -= conn->state == VSOCK_OPEN;
	counter[VSOCK_COUNT_OPEN] += state == VSOCK_OPEN;
	counter[VSOCK_COUNT_STREAMS] += state == VSOCK_OPEN;
	conn->state = (uint8_t)state;
}

/* It may be in any list. */
static void conn_free(struct conn *conn)
{
	struct conns *conns = conn->conns;

	if (conn->buffer_touched)
		madvise(conn_buffer(conn), VSOCK_BUFFER, MADV_DONTNEED);
	vsock_host_close(&conn->socket);
	conn_leave_table(conn);
	conn_list_remove(&conn->ready);
	conn_list_remove(&conn->timed);
	conn_set_state(conn, VSOCK_FREE);
	conn->next = conns->free;
	conns->free = conn;
	conns->guests -= conn->from_guest;
	conns_count(conns, -1);
	/* Clients may wait in the backlog because all were in use. */
	conns_listen(conns, true);
}

/* NULL where `max` are in use. */
static struct conn *conn_alloc(struct conns *conns, enum vsock_state state)
{
	struct conn *conn = conns->free;

	if (conn)
		conns->free = conn->next;
	else if (conns->touched < conns->max)
		conn = &conns->conn[conns->touched++];
	else
		return NULL;
	conns_count(conns, 1);
	*conn = (struct conn){
		.conns = conns,
		.socket = VSOCK_SOCKET_NONE,
		.state = (uint8_t)state,
		.wait = VSOCK_WAIT_NONE,
		.batch = 1,
		.from_guest = state == VSOCK_CONNECTING,
		.host_reads = state != VSOCK_CONNECTING,
		/* Where the host gives a socket more, it is told at once. */
		.halvings = conns->unread > VSOCK_UNREAD ? UINT8_MAX : 0,
	};
	conns->guests += conn->from_guest;
	conn_list_init(&conn->ready);
	conn_list_init(&conn->timed);
	return conn;
}

/* -- the RST queue -------------------------------------------------------- */

/* The ring's place number `i` from its first one. */
static struct vsock_packet *conns_rst(struct conns *conns, unsigned i)
{
	return &conns->rst[(conns->rst_first + i) % VSOCK_RSTS_ROOM];
}

void conns_reject(struct conns *conns, const struct vsock_packet *packet)
{
	conns->counter[VSOCK_COUNT_REFUSED] += packet->op == VSOCK_OP_REQUEST;
	/* More than that, unread by the guest, and it has to do without. */
	if (conns->rst_count >= VSOCK_RSTS_MAX)
		return;
	*conns_rst(conns, conns->rst_count++) = (struct vsock_packet){
		.src_cid = packet->dst_cid,
		.dst_cid = conns->guest_cid,
		.src_port = packet->dst_port,
		.dst_port = packet->src_port,
		.type = packet->type,
		.op = VSOCK_OP_RST,
	};
}

const struct vsock_packet *conns_take_rst(struct conns *conns)
{
	const struct vsock_packet *rst = &conns->rst[conns->rst_first];

	/* From the start again, where it is empty: no more pages than needed */
	conns->rst_first = --conns->rst_count
				   ? (conns->rst_first + 1) % VSOCK_RSTS_ROOM
				   : 0;
	return rst;
}

/* -- host to guest -------------------------------------------------------- */

/* What a packet says that the guest has room for. */
static void conn_update_credit(struct conn *conn,
			       const struct vsock_packet *packet)
{
	conn->peer_buf_alloc = packet->buf_alloc;
	conn->peer_fwd_cnt = packet->fwd_cnt;
	if (conn->peer_fwd_cnt == conn->tx_cnt) {
		conn->old_packets = conn->new_packets = 0;
		conn->old_end = conn->tx_cnt;
	} else if ((int32_t)(conn->peer_fwd_cnt - conn->old_end) >= 0) {
		conn->old_packets = conn->new_packets;
		conn->new_packets = 0;
		conn->old_end = conn->tx_cnt;
	}
}

uint32_t conn_room(const struct conn *conn, uint32_t bytes, uint32_t packets)
{
	const uint32_t unread = conn->tx_cnt - conn->peer_fwd_cnt + bytes;
	const uint32_t alloc = conn->peer_buf_alloc;
	uint64_t cost;

	packets += conn->old_packets + conn->new_packets;
	cost = unread + ((uint64_t)packets + 1) * PACKET_COST;
	if (cost < alloc && alloc - cost >= ROOM_LEAST)
		return (uint32_t)(alloc - cost);
	/* However little it has, one packet at a time gets through. */
	return unread ? 0 : alloc;
}

/* The guest has room for data, and it is worth while. */
static bool conn_has_credit(const struct conn *conn)
{
	const uint32_t room = conn_room(conn, 0, 0);

	/* After a stop a good piece, lest it goes on in crumbs. */
	if (conn->out_of_credit && conn->tx_cnt != conn->peer_fwd_cnt)
		return room >= conn->peer_buf_alloc / 4 && room;
	return room;
}

/* The host's program may say more, and the guest hears it. */
static bool conn_reads_on(const struct conn *conn)
{
	return !conn->socket.eof && !(conn->guest_shut & VSOCK_SHUT_RCV);
}

enum vsock_op conn_next(const struct conn *conn, bool data)
{
	const unsigned first = conn->pending & SENT_BEFORE_DATA;
	const unsigned last = conn->pending & ~(1u << VSOCK_OP_SHUTDOWN);

	if (first)
		return (enum vsock_op)__builtin_ctz(first);
	if (data && conn->state == VSOCK_OPEN && conn->socket.readable &&
	    conn_reads_on(conn) && conn_has_credit(conn))
		return VSOCK_OP_RW;
	if (!conn->pending || conn->socket.reset) /* an RST is to follow */
		return VSOCK_OP_INVALID;
	return last ? (enum vsock_op)__builtin_ctz(last) : VSOCK_OP_SHUTDOWN;
}

/* What the host's end will not do any more. */
static unsigned conn_host_shut(const struct conn *conn)
{
	return (conn->socket.eof ? VSOCK_SHUT_SEND : 0) |
	       (conn->socket.gone ? VSOCK_SHUT_RCV : 0);
}

/*
 * The size of its buffer, as it should be now. The ring grows only while it is
 * empty, and never shrinks: it must hold what was granted.
 */
static uint32_t conn_window(struct conn *conn)
{
	const uint32_t share = VSOCK_BUFFER >> conn->conns->halvings;

	if (!conn->buffered && conn->buffer_size < share)
		conn->buffer_size = share;
	return share < conn->buffer_size ? share : conn->buffer_size;
}

/*
 * How far the guest may send, from what it was granted on, if it is told now.
 * What it was granted it keeps: its peer_free (5.10.6.3) has no sign, so a
 * buffer shrinks only as far as what it held is passed on.
 */
static uint32_t conn_to_grant(struct conn *conn, uint32_t window)
{
	const uint32_t more = conn->fwd_cnt + window - conn->granted;

	return (int32_t)more > 0 ? more : 0;
}

struct vsock_packet conn_send(struct conn *conn, enum vsock_op op, uint32_t len)
{
	uint32_t flags = 0;

	if (op == VSOCK_OP_SHUTDOWN) {
		flags = conn_host_shut(conn);
		conn->told_shut |= (uint8_t)flags;
	}
	conn->tx_cnt += len;
	conn->conns->counter[VSOCK_COUNT_RX_BYTES] += len;
	conn->new_packets += op == VSOCK_OP_RW;
	/* Whatever a packet says, it tells the guest how far it may send. */
	conn->granted += conn_to_grant(conn, conn_window(conn));
	conn->pending &= (uint16_t) ~(1u << op | 1u << VSOCK_OP_CREDIT_UPDATE);
	return (struct vsock_packet){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = conn->conns->guest_cid,
		.src_port = conn->host_port,
		.dst_port = conn->guest_port,
		.len = len,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.flags = flags,
		.buf_alloc = conn->granted - conn->fwd_cnt,
		.fwd_cnt = conn->fwd_cnt,
	};
}

/* -- guest to host -------------------------------------------------------- */

/* Bytes have left for the host: does the guest have to be told? */
static void conn_forwarded(struct conn *conn, uint32_t len)
{
	const uint32_t window = conn_window(conn);

	conn->fwd_cnt += len;
	if (conn->state == VSOCK_OPEN &&
	    !(conn->guest_shut & VSOCK_SHUT_SEND) &&
	    conn_to_grant(conn, window) >= window / 2)
		conn_set_pending(conn, VSOCK_OP_CREDIT_UPDATE);
}

/* What a socket takes is the host's memory, too: see conns_count. */
static void conn_limit_unread(struct conn *conn, unsigned halvings)
{
	const uint32_t unread = conn->conns->unread;

	conn->halvings = (uint8_t)halvings;
	vsock_host_limit_unread(
		&conn->socket,
		(unread < VSOCK_UNREAD ? unread : VSOCK_UNREAD) >> halvings);
}

static size_t conn_write(struct conn *conn, struct iovec *iov, unsigned count)
{
	struct conns *conns = conn->conns;
	const unsigned halvings =
		conn->host_reads ? conns->halvings : VSOCK_HALVINGS;
	size_t written;

	if (conn->halvings != halvings && conns->unread)
		conn_limit_unread(conn, halvings);
	written = vsock_host_write(&conn->socket, iov, count);
	conns->counter[VSOCK_COUNT_TX_BYTES] += written;
	return written;
}

/* `len` bytes of the buffer from `start` on. */
static void conn_buffer_iov(const struct conn *conn, uint32_t start,
			    uint32_t len, struct iovec iov[2])
{
	uint8_t *buffer = conn_buffer(conn);
	const uint32_t at = start & (conn->buffer_size - 1);
	const uint32_t first =
		len < conn->buffer_size - at ? len : conn->buffer_size - at;

	iov[0] = (struct iovec){ buffer + at, first };
	iov[1] = (struct iovec){ buffer, len - first };
}

static void conn_buffer_data(struct conn *conn, struct cursor *payload,
			     uint32_t len)
{
	struct iovec iov[2];

	conn->buffer_touched = true;
	conn_buffer_iov(conn, conn->buffer_start + conn->buffered, len, iov);
	cursor_get(payload, iov[0].iov_base, iov[0].iov_len);
	cursor_get(payload, iov[1].iov_base, iov[1].iov_len);
	conn->buffered += len;
}

static void conn_write_buffered(struct conn *conn)
{
	struct vsock_socket *socket = &conn->socket;
	struct iovec iov[2];
	uint32_t len;

	/* It was full, and now it takes more. */
	if (conn->buffered && !socket->blocked && conn->state == VSOCK_OPEN)
		conn->host_reads = true;
	while (conn->buffered && (socket->gone || !socket->blocked)) {
		len = conn->buffered;
		conn_buffer_iov(conn, conn->buffer_start, len, iov);
		if (!socket->gone) /* else nobody wants it */
			len = (uint32_t)conn_write(conn, iov, 2);
		conn->buffered -= len;
		conn->buffer_start += len;
		if (!conn->buffered)
			conn->buffer_start = 0;
		conn_forwarded(conn, len);
	}
	if (!conn->buffered)
		vsock_host_watch_out(socket, false);
}

/* -- what follows for the state ------------------------------------------- */

/* Ends it at once; where the guest knows of it, by an RST. */
static void conn_kill(struct conn *conn)
{
	/* Not heard of by the guest yet, or not any more. */
	if (conn->state == VSOCK_COMMAND || conn->state == VSOCK_ORPHANED ||
	    conn_is_pending(conn, VSOCK_OP_REQUEST)) {
		conn_free(conn);
		return;
	}
	vsock_host_close(&conn->socket);
	conn_wait(conn, VSOCK_WAIT_NONE);
	conn_set_state(conn, VSOCK_KILLED);
	conn->pending = 0;
	conn_set_pending(conn, VSOCK_OP_RST);
}

/* Data for the guest: its turn comes, or it waits for credit. */
static void conn_update_reading(struct conn *conn)
{
	const bool data = conn_reads_on(conn) && conn->socket.readable;

	if (data && !conn_has_credit(conn)) {
		conn->out_of_credit = true;
		if (conn->wait == VSOCK_WAIT_NONE)
			conn_wait(conn, VSOCK_WAIT_CREDIT);
		return;
	}
	conn->out_of_credit = false;
	if (conn->wait != VSOCK_WAIT_NONE)
		conn_wait(conn, VSOCK_WAIT_NONE);
	if (data)
		conn_set_ready(conn);
}

/* Nothing is left to read or to write: the guest is to agree. */
static void conn_close_both(struct conn *conn)
{
	if (conn->guest_shut == VSOCK_SHUT_BOTH) {
		conn_kill(conn);
		return;
	}
	vsock_host_close(&conn->socket);
	if (conn->wait != VSOCK_WAIT_CLOSE)
		conn_wait(conn, VSOCK_WAIT_CLOSE);
	if (conn->told_shut != VSOCK_SHUT_BOTH)
		conn_set_pending(conn, VSOCK_OP_SHUTDOWN);
}

static void conn_update_open(struct conn *conn)
{
	const bool writes_on =
		!conn->socket.gone &&
		(conn->buffered || !(conn->guest_shut & VSOCK_SHUT_SEND));

	if (!writes_on && !conn_reads_on(conn)) {
		conn_close_both(conn);
		return;
	}
	if (conn_host_shut(conn) & ~(unsigned)conn->told_shut)
		conn_set_pending(conn, VSOCK_OP_SHUTDOWN);
	if (!writes_on && !conn->write_shut) {
		conn->write_shut = true;
		vsock_host_shutdown(&conn->socket, SHUT_WR);
	}
	conn_update_reading(conn);
}

/* Something has changed at either end. It may be free afterwards. */
static void conn_update_state(struct conn *conn)
{
	const uint32_t buffered = conn->buffered;

	if (conn->state != VSOCK_OPEN && conn->state != VSOCK_ORPHANED)
		return;
	conn_write_buffered(conn);
	if (conn->socket.reset)
		conn_kill(conn);
	else if (conn->state == VSOCK_OPEN)
		conn_update_open(conn);
	else if (!conn->buffered)
		conn_free(conn);
	else if (conn->buffered != buffered)
		conn_wait(conn, VSOCK_WAIT_ORPHANED);
}

void conn_served(struct conn *conn)
{
	conn_list_remove(&conn->ready);
	if (conn->state == VSOCK_KILLED)
		conn_free(conn);
	else
		conn_update_state(conn);
}

/* A little may have been read, of which epoll says nothing. */
static void conn_try_orphaned(struct conn *conn)
{
	conn->socket.blocked = false;
	conn_wait(conn, VSOCK_WAIT_STALE);
	conn_update_state(conn);
}

/* Ends one whose program on the host reads nothing; false: there is none. */
static bool conns_make_room(struct conns *conns)
{
	static struct log_limit limit;
	struct conn *stale;

	for (unsigned i = 0; i < EXPIRED_MAX; i++) {
		stale = conns_first_timed(conns, VSOCK_WAIT_STALE);
		if (!stale)
			return false;
		conn_try_orphaned(stale);
		if (stale->state == VSOCK_FREE)
			return true;
		if (stale->wait != VSOCK_WAIT_STALE)
			continue;
		log_guest(&limit,
			  "--vsock: a program on the host has read nothing for "
			  "long, and others need its place: %u bytes for it "
			  "are dropped",
			  stale->buffered);
		conn_free(stale);
		return true;
	}
	return false;
}

/* -- what a socket has to say, as the loop calls it ------------------------ */

static void conn_read_command(struct conn *conn)
{
	uint32_t *host_port = &conn->conns->last_port, port = 0;
	const int done = vsock_host_read_command(&conn->socket, &port);

	if (done < 0)
		conn_free(conn);
	if (done <= 0)
		return;
	/* As Firecracker's: from 2^30 up, where no listener of the host's is */
	do
		*host_port = ((*host_port + 1) & 0x3fffffff) | 0x40000000;
	while (conns_find(conn->conns, *host_port, port));
	conn_enter_table(conn, *host_port, port);
	conn_set_state(conn, VSOCK_REQUESTED);
	conn_wait(conn, VSOCK_WAIT_RESPONSE);
	conn_set_pending(conn, VSOCK_OP_REQUEST);
}

static void conn_socket_ready(void *arg, uint32_t events)
{
	struct conn *conn = arg;
	struct conns *conns = conn->conns;

	vsock_host_events(&conn->socket, events);
	if (conn->state == VSOCK_COMMAND)
		conn_read_command(conn);
	else
		conn_update_state(conn);
	conns->serve(conns);
}

/* -- connections that the guest begins ------------------------------------ */

/*
 * New descriptors have the lowest numbers that are free. So where a stream's
 * number is low, all the higher ones are left: `spare` of them for clients of
 * the host, and some for all that is no stream.
 */
static int conns_keep_fd(const struct conns *conns, int fd, unsigned spare)
{
	if (fd < 0 || fd < conns->files_max - (int)spare)
		return fd;
	close(fd);
	return -EMFILE;
}

/*
 * Its other end, or -errno. A full backlog is no refusal: the listener may be
 * busy accepting others, as many at once as programs in the guest like to
 * start. A program on the host would wait in connect(), so the guest's waits,
 * too, as long as Linux lets it. So it does for a descriptor.
 */
static void conn_dialled(struct conn *conn, int fd)
{
	const bool retry = fd == -EAGAIN ||
			   (fd == -EMFILE && conns_make_room(conn->conns));

	if (retry && loop_now() < conn->give_up_ns) {
		conn_wait(conn, VSOCK_WAIT_RETRY);
	} else if (fd < 0 || vsock_host_watch(&conn->socket, conn->conns->loop,
					      fd, conn_socket_ready, conn)) {
		conn_kill(conn);
	} else {
		conn_wait(conn, VSOCK_WAIT_NONE);
		conn_set_state(conn, VSOCK_OPEN);
		conn_set_pending(conn, VSOCK_OP_RESPONSE);
	}
}

static void conn_connect(struct conn *conn)
{
	struct conns *conns = conn->conns;
	int fd;

	if (conn->host_port == conns->internal_port) {
		/* Whoever else connects to that port finds nobody there. */
		fd = conns->internal_fd;
		conns->internal_fd = -1;
		conn_dialled(conn, fd < 0 ? -ECONNREFUSED : fd);
	} else if (conns->dials == BROKER_PENDING_MAX) {
		conn_wait(conn, VSOCK_WAIT_TURN);
	} else {
		fd = vsock_host_dial(&conns->host, conn->host_port,
				     conn->guest_port);
		if (fd) {
			conn_dialled(conn, fd);
			return;
		}
		conns->dials++;
		conn_wait(conn, VSOCK_WAIT_BROKER);
	}
}

static void conns_receive_request(struct conns *conns,
				  const struct vsock_packet *packet)
{
	static struct log_limit limit;
	struct conn *conn;

	if (conns->count == conns->max || conns->guests == conns->guests_max)
		conns_make_room(conns);
	conn = conns->guests < conns->guests_max
		       ? conn_alloc(conns, VSOCK_CONNECTING)
		       : NULL;
	if (!conn) {
		log_guest(&limit,
			  "--vsock: %u connections are the most at "
			  "once here; the guest's next one is refused",
			  conns->count);
		conns_reject(conns, packet);
		return;
	}
	conn_enter_table(conn, packet->dst_port, packet->src_port);
	conn_update_credit(conn, packet);
	conn->give_up_ns = loop_now() + CONNECT_NS;
	conn_connect(conn);
}

/* -- packets from the guest ----------------------------------------------- */

static void conn_receive_shutdown(struct conn *conn, uint32_t flags)
{
	if (flags & ~(uint32_t)conn->guest_shut & VSOCK_SHUT_RCV)
		vsock_host_shutdown(&conn->socket, SHUT_RD);
	conn->guest_shut |= (uint8_t)(flags & VSOCK_SHUT_BOTH);
}

static void conn_receive_data(struct conn *conn, uint32_t len,
			      struct cursor *payload)
{
	struct vsock_socket *socket = &conn->socket;
	struct iovec iov[WRITE_IOVS];
	struct cursor ahead = *payload;
	uint32_t written;
	unsigned count;
	size_t bytes;

	if (conn->guest_shut & VSOCK_SHUT_SEND ||
	    len > conn->granted - conn->fwd_cnt - conn->buffered) {
		conn_kill(conn);
		return;
	}
	if (socket->gone) {
		conn_forwarded(conn, len);
		return;
	}
	if (len && !conn->buffered && !socket->blocked) {
		count = cursor_iov(&ahead, len, iov, WRITE_IOVS, &bytes);
		written = (uint32_t)conn_write(conn, iov, count);
		conn_forwarded(conn, written);
		cursor_skip(payload, written);
		len -= written;
	}
	if (len)
		conn_buffer_data(conn, payload, len);
}

/*
 * The guest has forgotten the connection. What it had sent before it said that
 * it was done is the host's all the same, however slowly that reads, unless
 * others need the room.
 */
static void conn_receive_rst(struct conn *conn)
{
	if (conn->state != VSOCK_OPEN || !conn->buffered ||
	    !(conn->guest_shut & VSOCK_SHUT_SEND)) {
		conn_free(conn);
		return;
	}
	conn_leave_table(conn);
	conn_list_remove(&conn->ready);
	conn_wait(conn, VSOCK_WAIT_ORPHANED);
	conn->pending = 0;
	conn_set_state(conn, VSOCK_ORPHANED);
}

static void conn_receive(struct conn *conn, const struct vsock_packet *packet,
			 struct cursor *payload)
{
	const bool answer = packet->op == VSOCK_OP_RESPONSE;

	if (conn->state == VSOCK_KILLED)
		return; /* the RST is on its way */
	if (conn->state != (answer ? VSOCK_REQUESTED : VSOCK_OPEN) ||
	    conn_is_pending(conn, VSOCK_OP_REQUEST)) {
		conn_kill(conn);
		return;
	}
	conn_update_credit(conn, packet);
	switch (packet->op) {
	case VSOCK_OP_RESPONSE:
		conn_wait(conn, VSOCK_WAIT_NONE);
		conn_set_state(conn, VSOCK_OPEN);
		vsock_host_greet(&conn->socket, conn->host_port);
		break;
	case VSOCK_OP_SHUTDOWN:
		conn_receive_shutdown(conn, packet->flags);
		break;
	case VSOCK_OP_RW:
		conn_receive_data(conn, packet->len, payload);
		break;
	case VSOCK_OP_CREDIT_UPDATE: /* all packets are */
		break;
	case VSOCK_OP_CREDIT_REQUEST:
		conn_set_pending(conn, VSOCK_OP_CREDIT_UPDATE);
		break;
	default:
		conn_kill(conn);
	}
	conn_update_state(conn);
}

void conns_receive(struct conns *conns, const struct vsock_packet *packet,
		   struct cursor *payload)
{
	struct conn *conn =
		conns_find(conns, packet->dst_port, packet->src_port);

	if (conn && packet->op == VSOCK_OP_RST)
		conn_receive_rst(conn);
	else if (conn)
		conn_receive(conn, packet, payload);
	else if (packet->op == VSOCK_OP_REQUEST)
		conns_receive_request(conns, packet);
	else if (packet->op != VSOCK_OP_RST)
		conns_reject(conns, packet);
}

/* -- what else the loop calls ---------------------------------------------- */

/* Whoever waits for it is refused, and so is who comes later. */
static void conns_lose_broker(struct conns *conns)
{
	static const enum vsock_wait waits[] = { VSOCK_WAIT_TURN,
						 VSOCK_WAIT_BROKER };
	struct conn *conn;

	log_warn("--vsock: the process that makes the guest's own connections "
		 "has ended: they are refused from now on");
	loop_remove(conns->loop, &conns->broker);
	conns->host.broker_fd = -1;
	conns->dials = 0;
	for (size_t i = 0; i < ARRAY_LEN(waits); i++)
		while ((conn = conns_first_timed(conns, waits[i])))
			conn_kill(conn);
}

/*
 * An answer is for the connection with its ports that waits for one, or came
 * too late. Whoever waits for a turn has it then.
 */
static void conns_broker_ready(void *arg, uint32_t events)
{
	struct conns *conns = arg;
	struct broker_answer answer;
	struct conn *conn;
	int got = 1, fd;

	(void)events;
	for (unsigned i = 0; i < BROKER_PENDING_MAX; i++) {
		got = vsock_host_dialled(&conns->host, &answer);
		if (got <= 0)
			break;
		conns->dials--;
		fd = conns_keep_fd(conns, answer.result,
				   conns->max - conns->guests_max);
		conn = conns_find(conns, answer.port, answer.tag);
		if (conn && conn->wait == VSOCK_WAIT_BROKER)
			conn_dialled(conn, fd);
		else if (fd >= 0)
			close(fd);
		conn = conns_first_timed(conns, VSOCK_WAIT_TURN);
		if (conn)
			conn_connect(conn);
	}
	if (got < 0)
		conns_lose_broker(conns);
	conns->serve(conns);
}

/* Clients: the rest wait in the backlog until there is room. */
static void conns_listener_ready(void *arg, uint32_t events)
{
	static struct log_limit limit;
	struct conns *conns = arg;
	struct conn *conn;
	int fd;

	(void)events;
	for (int i = 0; i < ACCEPTED_MAX; i++) {
		if (conns->count == conns->max &&
		    (i || !conns_make_room(conns)))
			break;
		fd = conns_keep_fd(conns, vsock_host_accept(&conns->host), 0);
		if (fd == -EINTR || fd == -ECONNABORTED ||
		    (fd == -EMFILE && conns_make_room(conns)))
			continue;
		if (fd == -EAGAIN)
			return;
		if (fd < 0) {
			log_guest(&limit,
				  "--vsock: accept: %s; clients have to wait",
				  strerror(-fd));
			conns_listen(conns, false);
			conns->accept_ns = loop_now() + ACCEPT_PAUSE_NS;
			conns_set_timer(conns, loop_now(), conns->accept_ns);
			return;
		}
		conn = conn_alloc(conns, VSOCK_COMMAND);
		if (vsock_host_watch(&conn->socket, conns->loop, fd,
				     conn_socket_ready, conn))
			conn_free(conn);
		else
			conn_wait(conn, VSOCK_WAIT_COMMAND);
	}
	conns_listen(conns, conns->listening);
}

static void conn_expired(struct conn *conn, enum vsock_wait wait)
{
	if (wait <= VSOCK_WAIT_CREDIT_LONGEST) {
		conn_set_pending(conn, VSOCK_OP_CREDIT_REQUEST);
		conn_wait(conn,
			  wait < VSOCK_WAIT_CREDIT_LONGEST ? wait + 1 : wait);
	} else if (wait == VSOCK_WAIT_RETRY) {
		conn_connect(conn);
	} else if (wait == VSOCK_WAIT_ORPHANED || wait == VSOCK_WAIT_STALE) {
		conn_try_orphaned(conn);
	} else {
		conn_kill(conn);
	}
}

/*
 * A few at a time. Thousands may wait for one listener, and each try is two
 * system calls: the pause leaves most of the time to others.
 */
static void conns_expire(struct conns *conns, enum vsock_wait wait,
			 uint64_t now)
{
	const uint64_t later = now + EXPIRED_PAUSE_NS;
	struct conn *conn = conns_first_timed(conns, wait);

	for (unsigned i = 0; conn && conn->deadline_ns <= now; i++) {
		if (i == EXPIRED_MAX) {
			conns_set_timer(conns, now, later);
			return;
		}
		conn_wait(conn, VSOCK_WAIT_NONE);
		conn_expired(conn, wait);
		conn = conns_first_timed(conns, wait);
	}
	if (conn)
		conns_set_timer(conns, now, conn->deadline_ns);
}

static void conns_timer_expired(void *arg)
{
	struct conns *conns = arg;
	const uint64_t now = loop_now();

	conns->timer_ns = 0;
	for (unsigned i = 0; i < VSOCK_WAITS; i++)
		conns_expire(conns, (enum vsock_wait)i, now);
	if (now < conns->accept_ns) {
		conns_set_timer(conns, now, conns->accept_ns);
	} else {
		conns->accept_ns = 0;
		conns_listen(conns, true);
	}
	conns->serve(conns);
}

/* -- making it ------------------------------------------------------------ */

static size_t conns_buffer_bytes(const struct conns *conns)
{
	return (size_t)conns->max * VSOCK_BUFFER;
}

static void conns_unmap(struct conns *conns)
{
	pool_unmap(conns->buffers, conns_buffer_bytes(conns));
	pool_unmap(conns->conn, conns->mapped);
}

/* The guest's bytes lie apart from connections and their table. */
static bool conns_map(struct conns *conns, unsigned max)
{
	size_t buckets = 64;

	while (buckets < max)
		buckets *= 2;
	conns->max = max;
	conns->guests_max = max - max / CLIENTS_SHARE;
	conns->table_mask = (uint32_t)buckets - 1;
	conns->mapped =
		max * sizeof(*conns->conn) + buckets * sizeof(struct conn *);
	conns->buffers = pool_map(conns_buffer_bytes(conns));
	conns->conn = pool_map(conns->mapped);
	if (conns->buffers && conns->conn) {
		conns->table = (void *)(conns->conn + max);
		return true;
	}
	conns_unmap(conns);
	conns->buffers = NULL;
	conns->conn = NULL;
	return false;
}

int conns_create(struct conns *conns, unsigned max, uint64_t memory)
{
	const unsigned whole = (unsigned)(memory >> VSOCK_WHOLE_LOG);

	conns->whole = whole < VSOCK_WHOLE_MIN ? VSOCK_WHOLE_MIN : whole;
	conn_list_init(&conns->ready);
	for (unsigned i = 0; i < VSOCK_WAITS; i++)
		conn_list_init(&conns->timed[i]);
	/* Where the host does not overcommit, fewer will have to do. */
	while (!conns_map(conns, max)) {
		max /= 2;
		if (max)
			continue;
		log_error("--vsock: there is no memory for connections; raise "
			  "the limit on address space (ulimit -v)");
		return -ENOMEM;
	}
	/* So that no guest knows which ports collide. */
	if (getrandom(&conns->table_seed, sizeof(conns->table_seed),
		      GRND_NONBLOCK) < 0)
		conns->table_seed = (uint32_t)loop_now();
	return 0;
}

int conns_attach(struct conns *conns, struct loop *loop)
{
	int error = 0;

	conns->loop = loop;
	conns->listener = (struct loop_source){ conns->host.fd,
						conns_listener_ready, conns };
	conns->broker = (struct loop_source){ conns->host.broker_fd,
					      conns_broker_ready, conns };
	if (conns->broker.fd >= 0)
		error = loop_add(loop, &conns->broker, EPOLLIN);
	if (error) {
		log_error("--vsock: epoll: %s", strerror(-error));
		return error;
	}
	return loop_timer_create(loop, &conns->timer, conns_timer_expired,
				 conns);
}

void conns_start(struct conns *conns)
{
	conns->running = true;
	conns_listen(conns, true);
}

static void conns_clear(struct conns *conns)
{
	for (unsigned i = 0; i < conns->touched; i++)
		if (conns->conn[i].state != VSOCK_FREE)
			conn_free(&conns->conn[i]);
	conns->rst_count = 0;
}

void conns_stop(struct conns *conns)
{
	conns->running = false;
	conns_listen(conns, false);
	conns_clear(conns);
}

/* It was told of it, or began it, and was not told of its end. */
static bool conn_is_known(const struct conn *conn)
{
	static const bool known[] = {
		[VSOCK_REQUESTED] = true,
		[VSOCK_CONNECTING] = true,
		[VSOCK_OPEN] = true,
		[VSOCK_KILLED] = true,
	};

	return known[conn->state] && !conn_is_pending(conn, VSOCK_OP_REQUEST);
}

/* How many streams get an RST, or would; and their ports, where `s` is given */
static uint32_t save_ports(struct conns *conns, struct state *s)
{
	uint32_t count = 0;

	for (unsigned i = 0; i < conns->touched; i++) {
		struct conn *conn = &conns->conn[i];

		if (!conn_is_known(conn))
			continue;
		count++;
		if (s) {
			state_u32(s, &conn->host_port);
			state_u32(s, &conn->guest_port);
		}
	}
	for (unsigned i = 0; i < conns->rst_count; i++) {
		struct vsock_packet *rst = conns_rst(conns, i);

		if (rst->src_cid != VSOCK_HOST_CID ||
		    rst->type != VSOCK_TYPE_STREAM || count == VSOCK_RSTS_ROOM)
			continue;
		count++;
		if (s) {
			state_u32(s, &rst->src_port);
			state_u32(s, &rst->dst_port);
		}
	}
	return count;
}

static void load_ports(struct conns *conns, uint64_t guest_cid, uint32_t count,
		       struct state *s)
{
	for (uint32_t i = 0; i < count; i++) {
		struct vsock_packet rst = {
			.src_cid = VSOCK_HOST_CID,
			.dst_cid = guest_cid,
			.type = VSOCK_TYPE_STREAM,
			.op = VSOCK_OP_RST,
		};

		state_u32(s, &rst.src_port);
		state_u32(s, &rst.dst_port);
		*conns_rst(conns, i) = rst;
	}
	conns->rst_count = s->wrong ? 0 : count;
}

void conns_state(struct conns *conns, uint64_t guest_cid, struct state *s)
{
	uint32_t count = save_ports(conns, NULL), last_port = conns->last_port;

	state_u32(s, &last_port);
	state_u32(s, &count);
	if (!state_check(s, count <= VSOCK_RSTS_ROOM,
			 "it had more streams than there can be"))
		return;
	if (!s->loading) {
		save_ports(conns, s);
		return;
	}
	conns->last_port = last_port;
	load_ports(conns, guest_cid, count, s);
}

void conns_destroy(struct conns *conns)
{
	conns_stop(conns);
	if (conns->loop && conns->host.broker_fd >= 0)
		loop_remove(conns->loop, &conns->broker);
	loop_timer_destroy(conns->loop, &conns->timer);
	vsock_host_unlisten(&conns->host);
	if (conns->internal_fd >= 0)
		close(conns->internal_fd);
	conns_unmap(conns);
}
