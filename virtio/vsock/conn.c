/*
 * The states of a vsock connection (virtio 1.2, 5.10.6), between a peer in the
 * guest that is hostile and one on the host that may do as it likes.
 *
 *	COMMAND --line--> REQUESTED --RESPONSE--> OPEN
 *	guest's REQUEST --> CONNECTING --connect()--> OPEN
 *	OPEN --both directions are finished--> freed, once the guest has an RST
 *		or has sent one, and the host has what was kept for it; or takes
 *		none of it for long (STALE), and others have no place
 *
 * Each direction ends by itself. Guest to host: the guest's SHUTDOWN (SEND) is
 * passed on when what it sent before is written, or the host's program stops
 * reading, which the guest learns by SHUTDOWN (RCV). Host to guest: end of
 * file becomes SHUTDOWN (SEND) behind the last byte; SHUTDOWN (RCV) from the
 * guest makes the host's writes fail.
 *
 * A breach of the protocol costs the guest that connection (RST), nothing else.
 * What the guest may send is bounded by what VSOCK_BUFFER has room for: there
 * it waits for a slow reader, without any other connection noticing.
 *
 * Owns what a connection is; vsock_pool.c owns the memory. The loop's thread.
 */
#include "virtio/vsock/conn.h"

#include <errno.h>
#include <sys/socket.h>

#include "mem/log.h"

#define CONNECT_NS 2000000000ULL /* Linux gives up then, too */
#define WRITE_IOVS 64
#define BOTH	   (VSOCK_SHUT_RCV | VSOCK_SHUT_SEND)

static bool has(const struct vsock_conn *conn, unsigned flags)
{
	return (conn->flags & flags) == flags;
}

static void pend(struct vsock_conn *conn, enum vsock_op op)
{
	conn->pending |= (uint16_t)(1u << op);
	vsock_pool_queue(conn);
}

void vsock_conn_kill(struct vsock_conn *conn)
{
	/* Not heard of by the guest yet, or not any more. */
	if (conn->state == VSOCK_COMMAND || conn->state == VSOCK_DRAINING ||
	    conn->pending & 1u << VSOCK_OP_REQUEST) {
		vsock_pool_give(conn);
		return;
	}
	vsock_host_close(conn);
	vsock_pool_wait(conn, VSOCK_WAIT_NONE);
	conn->state = VSOCK_DEAD;
	conn->pending = 0;
	pend(conn, VSOCK_OP_RST);
}

/* -- guest to host -------------------------------------------------------- */

/* Bytes have left for the host: does the guest have to be told? */
static void forward(struct vsock_conn *conn, size_t len)
{
	conn->forwarded += (uint32_t)len;
	if (conn->state == VSOCK_OPEN && !has(conn, VSOCK_GUEST_NO_SEND) &&
	    conn->forwarded - conn->told_forwarded >= VSOCK_BUFFER / 4)
		pend(conn, VSOCK_OP_CREDIT_UPDATE);
}

static void forward_kept(struct vsock_conn *conn, size_t len)
{
	conn->kept -= (uint32_t)len;
	conn->kept_start = (conn->kept_start + (uint32_t)len) % VSOCK_BUFFER;
	forward(conn, len);
}

/* `len` bytes of the ring from `start` on. */
static void ring_iov(const struct vsock_conn *conn, uint32_t start,
		     uint32_t len, struct iovec iov[2])
{
	uint8_t *buffer = vsock_pool_buffer(conn);
	const uint32_t at = start % VSOCK_BUFFER;
	const uint32_t first =
		len < VSOCK_BUFFER - at ? len : VSOCK_BUFFER - at;

	iov[0] = (struct iovec){ buffer + at, first };
	iov[1] = (struct iovec){ buffer, len - first };
}

static void keep(struct vsock_conn *conn, struct cursor *payload, uint32_t len)
{
	struct iovec iov[2];

	conn->flags |= VSOCK_TOUCHED;
	ring_iov(conn, conn->kept_start + conn->kept, len, iov);
	cursor_get(payload, iov[0].iov_base, iov[0].iov_len);
	cursor_get(payload, iov[1].iov_base, iov[1].iov_len);
	conn->kept += len;
}

static void flush(struct vsock_conn *conn)
{
	struct iovec iov[2];

	while (conn->kept &&
	       !(conn->flags & (VSOCK_BLOCKED | VSOCK_HOST_GONE))) {
		ring_iov(conn, conn->kept_start, conn->kept, iov);
		forward_kept(conn, vsock_host_write(conn, iov, 2));
	}
	if (has(conn, VSOCK_HOST_GONE))
		forward_kept(conn, conn->kept); /* nobody wants it */
	if (!conn->kept)
		vsock_host_written(conn);
}

/* -- what follows from the flags ------------------------------------------ */

static bool reads_on(const struct vsock_conn *conn)
{
	return !(conn->flags & (VSOCK_HOST_EOF | VSOCK_GUEST_NO_RCV));
}

static bool writes_on(const struct vsock_conn *conn)
{
	if (has(conn, VSOCK_HOST_GONE))
		return false;
	return conn->kept || !has(conn, VSOCK_GUEST_NO_SEND);
}

/* Data for the guest: its turn comes, or it waits for credit. */
static void settle_data(struct vsock_conn *conn)
{
	const bool data = reads_on(conn) && has(conn, VSOCK_READABLE);

	if (data && !vsock_rx_allowed(conn)) {
		conn->flags |= VSOCK_STALLED;
		if (conn->wait == VSOCK_WAIT_NONE)
			vsock_pool_wait(conn, VSOCK_WAIT_CREDIT);
		return;
	}
	conn->flags &= (uint16_t)~VSOCK_STALLED;
	if (conn->wait != VSOCK_WAIT_NONE)
		vsock_pool_wait(conn, VSOCK_WAIT_NONE);
	if (data)
		vsock_pool_queue(conn);
}

/* Nothing is left to read or to write: the guest is to agree. */
static void finish(struct vsock_conn *conn)
{
	if (has(conn, VSOCK_GUEST_NO_RCV | VSOCK_GUEST_NO_SEND)) {
		vsock_conn_kill(conn);
		return;
	}
	vsock_host_close(conn);
	conn->flags |= VSOCK_HOST_EOF | VSOCK_HOST_GONE;
	if (conn->wait != VSOCK_WAIT_CLOSE)
		vsock_pool_wait(conn, VSOCK_WAIT_CLOSE);
	if (conn->told_shut != BOTH)
		pend(conn, VSOCK_OP_SHUTDOWN);
}

static void settle_open(struct vsock_conn *conn)
{
	const unsigned shut =
		(has(conn, VSOCK_HOST_EOF) ? VSOCK_SHUT_SEND : 0) |
		(has(conn, VSOCK_HOST_GONE) ? VSOCK_SHUT_RCV : 0);

	if (!reads_on(conn) && !writes_on(conn)) {
		finish(conn);
		return;
	}
	if (shut & ~(unsigned)conn->told_shut)
		pend(conn, VSOCK_OP_SHUTDOWN);
	if (!writes_on(conn) && !has(conn, VSOCK_SHUT_WR)) {
		conn->flags |= VSOCK_SHUT_WR;
		vsock_host_shutdown(conn, SHUT_WR);
	}
	settle_data(conn);
}

void vsock_conn_settle(struct vsock_conn *conn)
{
	const uint32_t kept = conn->kept;

	if (conn->state != VSOCK_OPEN && conn->state != VSOCK_DRAINING)
		return;
	flush(conn);
	if (has(conn, VSOCK_HOST_RESET))
		vsock_conn_kill(conn);
	else if (conn->state == VSOCK_OPEN)
		settle_open(conn);
	else if (!conn->kept)
		vsock_pool_give(conn);
	else if (conn->kept != kept)
		vsock_pool_wait(conn, VSOCK_WAIT_DRAIN);
}

/* -- beginnings ----------------------------------------------------------- */

void vsock_conn_connect(struct vsock_conn *conn, uint32_t guest_port)
{
	conn->guest_port = guest_port;
	conn->host_port = vsock_pool_port(conn->vsock, guest_port);
	vsock_pool_enter(conn);
	conn->state = VSOCK_REQUESTED;
	vsock_pool_wait(conn, VSOCK_WAIT_RESPONSE);
	pend(conn, VSOCK_OP_REQUEST);
}

/*
 * A full backlog is no refusal: the listener may be busy accepting others, as
 * many at once as programs in the guest like to start. A program on the host
 * would wait in connect(), so the guest's waits, too, as long as Linux lets it.
 */
static void try_connect(struct vsock_conn *conn)
{
	int error = vsock_host_connect(conn);

	if (!error) {
		conn->state = VSOCK_OPEN;
		pend(conn, VSOCK_OP_RESPONSE);
	} else if (error == -EAGAIN && vsock_now() < conn->give_up_ns) {
		vsock_pool_wait(conn, VSOCK_WAIT_RETRY);
	} else {
		vsock_conn_kill(conn);
	}
}

static void on_request(struct vsock *vsock, const struct vsock_packet *packet)
{
	static struct log_limit limit;
	struct vsock_conn *conn = vsock_pool_take(vsock, VSOCK_CONNECTING);

	if (!conn) {
		log_guest(&limit,
			  "--vsock: %u connections are the most at "
			  "once here; the guest's next one is refused",
			  vsock->max);
		vsock_rx_stray(vsock, packet);
		return;
	}
	conn->host_port = packet->dst_port;
	conn->guest_port = packet->src_port;
	vsock_pool_enter(conn);
	vsock_rx_credit(conn, packet);
	conn->give_up_ns = vsock_now() + CONNECT_NS;
	try_connect(conn);
}

void vsock_conn_expired(struct vsock_conn *conn, enum vsock_wait wait)
{
	if (wait <= VSOCK_WAIT_CREDIT_LONGEST) {
		pend(conn, VSOCK_OP_CREDIT_REQUEST);
		vsock_pool_wait(conn, wait < VSOCK_WAIT_CREDIT_LONGEST
					      ? wait + 1
					      : wait);
	} else if (wait == VSOCK_WAIT_RETRY) {
		try_connect(conn);
	} else if (wait == VSOCK_WAIT_DRAIN || wait == VSOCK_WAIT_STALE) {
		/* A little may have been read, of which epoll says nothing. */
		conn->flags &= ~VSOCK_BLOCKED;
		vsock_pool_wait(conn, VSOCK_WAIT_STALE);
		vsock_conn_settle(conn);
	} else {
		vsock_conn_kill(conn);
	}
}

/* -- packets from the guest ----------------------------------------------- */

static void on_response(struct vsock_conn *conn,
			const struct vsock_packet *packet,
			struct cursor *payload)
{
	(void)packet;
	(void)payload;
	vsock_pool_wait(conn, VSOCK_WAIT_NONE);
	conn->state = VSOCK_OPEN;
	vsock_host_greet(conn);
}

static void on_shutdown(struct vsock_conn *conn,
			const struct vsock_packet *packet,
			struct cursor *payload)
{
	(void)payload;
	if (packet->flags & VSOCK_SHUT_SEND)
		conn->flags |= VSOCK_GUEST_NO_SEND;
	if (packet->flags & VSOCK_SHUT_RCV && !has(conn, VSOCK_GUEST_NO_RCV)) {
		conn->flags |= VSOCK_GUEST_NO_RCV;
		vsock_host_shutdown(conn, SHUT_RD);
	}
}

static void on_data(struct vsock_conn *conn, const struct vsock_packet *packet,
		    struct cursor *payload)
{
	struct iovec iov[WRITE_IOVS];
	struct cursor ahead = *payload;
	uint32_t len = packet->len;
	size_t bytes, written;
	unsigned count;

	if (has(conn, VSOCK_GUEST_NO_SEND) || len > VSOCK_BUFFER - conn->kept) {
		vsock_conn_kill(conn);
		return;
	}
	if (has(conn, VSOCK_HOST_GONE)) {
		forward(conn, len);
		return;
	}
	if (len && !conn->kept && !has(conn, VSOCK_BLOCKED)) {
		count = cursor_iov(&ahead, len, iov, WRITE_IOVS, &bytes);
		written = vsock_host_write(conn, iov, count);
		forward(conn, written);
		cursor_skip(payload, written);
		len -= (uint32_t)written;
	}
	if (len)
		keep(conn, payload, len);
}

static void on_credit_request(struct vsock_conn *conn,
			      const struct vsock_packet *packet,
			      struct cursor *payload)
{
	(void)packet;
	(void)payload;
	pend(conn, VSOCK_OP_CREDIT_UPDATE);
}

/*
 * What is allowed when; anything else ends the connection. An update of credit
 * does what all packets do.
 */
static const struct {
	void (*handle)(struct vsock_conn *conn,
		       const struct vsock_packet *packet,
		       struct cursor *payload);
	enum vsock_state state;
} handlers[VSOCK_OPS] = {
	[VSOCK_OP_RESPONSE] = { on_response, VSOCK_REQUESTED },
	[VSOCK_OP_SHUTDOWN] = { on_shutdown, VSOCK_OPEN },
	[VSOCK_OP_RW] = { on_data, VSOCK_OPEN },
	[VSOCK_OP_CREDIT_UPDATE] = { NULL, VSOCK_OPEN },
	[VSOCK_OP_CREDIT_REQUEST] = { on_credit_request, VSOCK_OPEN },
};

/*
 * The guest has forgotten the connection. What it had sent before it said that
 * it was done is the host's all the same, however slowly that reads, unless
 * others need the room.
 */
static void on_reset(struct vsock_conn *conn)
{
	if (conn->state != VSOCK_OPEN || !conn->kept ||
	    !has(conn, VSOCK_GUEST_NO_SEND)) {
		vsock_pool_give(conn);
		return;
	}
	vsock_pool_leave(conn);
	vsock_pool_unqueue(conn);
	vsock_pool_wait(conn, VSOCK_WAIT_DRAIN);
	conn->pending = 0;
	conn->state = VSOCK_DRAINING;
}

void vsock_conn_packet(struct vsock *vsock, const struct vsock_packet *packet,
		       struct cursor *payload)
{
	struct vsock_conn *conn =
		vsock_pool_find(vsock, packet->dst_port, packet->src_port);

	if (!conn) {
		if (packet->op == VSOCK_OP_REQUEST)
			on_request(vsock, packet);
		else if (packet->op != VSOCK_OP_RST)
			vsock_rx_stray(vsock, packet);
		return;
	}
	if (packet->op == VSOCK_OP_RST) {
		on_reset(conn);
		return;
	}
	if (conn->state == VSOCK_DEAD)
		return; /* the answer is on its way */
	if (packet->op >= VSOCK_OPS ||
	    handlers[packet->op].state != conn->state ||
	    conn->pending & 1u << VSOCK_OP_REQUEST) {
		vsock_conn_kill(conn);
		return;
	}
	vsock_rx_credit(conn, packet);
	if (handlers[packet->op].handle)
		handlers[packet->op].handle(conn, packet, payload);
	vsock_conn_settle(conn);
}
