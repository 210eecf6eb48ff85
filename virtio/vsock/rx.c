/*
 * Packets for the guest: what connections have to say, and data that is read
 * from unix sockets straight into the guest's buffers.
 *
 * Connections are served in turn: whoever has something stands in a line, gets
 * what one system call can do, and goes to its end. That call fills up to
 * VSOCK_BATCH buffers; headers are written in front when it is known how much
 * there was, and buffers that were not needed go back to the ring.
 *
 * Credit (5.10.6.3) counts bytes. Since 6.12.92 Linux also counts packets (576
 * bytes for each) and drops data, or resets, where both together exceed what it
 * said it had room for. So packets are charged for, filled as far as can be,
 * and not sent at all where little room is left: what comes meanwhile gathers
 * in the unix socket. fwd_cnt says how many bytes are done with, not how many
 * packets; that number is kept for two stretches of the stream: up to `mark`
 * bytes and since. When fwd_cnt reaches the mark, the first stretch is over.
 *
 * A guest that offers buffers too small, or a malformed ring, has broken its
 * device. The loop's thread.
 */
#include "virtio/vsock/conn.h"

#include "mem/util.h"

#define PACKET_COST 640u  /* what Linux charges, and a little more */
#define ROOM_LEAST  1024u /* not worth a packet */
#define SERVED_MAX  16	  /* system calls in one turn */
#define IOVS	    (2 * VSOCK_BATCH)

/* A buffer of the guest's that was taken from the ring to be filled. */
struct slot {
	uint16_t head;
	uint8_t *header; /* NULL: in pieces; reached by the device's chain */
	uint32_t room;	 /* for data */
};

static void encode(const struct vsock_packet *packet, uint8_t *to)
{
	put_le64(to, packet->src_cid);
	put_le64(to + 8, packet->dst_cid);
	put_le32(to + 16, packet->src_port);
	put_le32(to + 20, packet->dst_port);
	put_le32(to + 24, packet->len);
	put_le16(to + 28, packet->type);
	put_le16(to + 30, packet->op);
	put_le32(to + 32, packet->flags);
	put_le32(to + 36, packet->buf_alloc);
	put_le32(to + 40, packet->fwd_cnt);
}

/* -- buffers of the guest ------------------------------------------------- */

/* Takes one that has room for more than a header; false where there is none. */
static bool pop(struct vsock *vsock)
{
	struct queue *queue = &vsock->device.queue[VSOCK_RX];
	int got = queue_pop(queue, &vsock->chain);

	if (!got && queue_want_kick(queue))
		got = queue_pop(queue, &vsock->chain);
	if (got < 0)
		vsock_fail(vsock, "its receive ring is malformed");
	else if (!got)
		vsock->rx_dry = true;
	else if (vsock->chain.write_len <= VSOCK_HEADER)
		vsock_fail(vsock, "a receive buffer has no room for data");
	else
		return true;
	return false;
}

static void put_header(struct vsock *vsock, const struct slot *slot,
		       const struct vsock_packet *packet)
{
	struct cursor cursor;
	uint8_t bytes[VSOCK_HEADER];

	encode(packet, bytes);
	if (slot->header) {
		memcpy(slot->header, bytes, sizeof(bytes));
	} else {
		cursor = chain_writer(&vsock->chain);
		cursor_put(&cursor, bytes, sizeof(bytes));
	}
	queue_push(&vsock->device.queue[VSOCK_RX], slot->head,
		   VSOCK_HEADER + packet->len);
}

static bool send_control(struct vsock *vsock, const struct vsock_packet *packet)
{
	struct slot slot = { 0 };

	if (!pop(vsock))
		return false;
	slot.head = vsock->chain.head;
	put_header(vsock, &slot, packet);
	return true;
}

/* -- strays --------------------------------------------------------------- */

void vsock_rx_stray(struct vsock *vsock, const struct vsock_packet *packet)
{
	unsigned at = (vsock->stray_start + vsock->strays) % VSOCK_STRAYS;

	/* More than that, unread by the guest, and it has to do without. */
	if (vsock->strays == VSOCK_STRAYS)
		return;
	vsock->strays++;
	vsock->stray[at] = (struct vsock_stray){
		.cid = packet->dst_cid,
		.host_port = packet->dst_port,
		.guest_port = packet->src_port,
		.type = packet->type,
	};
}

static bool send_stray(struct vsock *vsock)
{
	const struct vsock_stray *stray = &vsock->stray[vsock->stray_start];
	const struct vsock_packet packet = {
		.src_cid = stray->cid,
		.dst_cid = vsock->cid,
		.src_port = stray->host_port,
		.dst_port = stray->guest_port,
		.type = stray->type,
		.op = VSOCK_OP_RST,
	};

	if (!send_control(vsock, &packet))
		return false;
	vsock->stray_start = (vsock->stray_start + 1) % VSOCK_STRAYS;
	vsock->strays--;
	return true;
}

/* -- packets of a connection ---------------------------------------------- */

/* Whatever it says, it tells the guest how much was forwarded. */
static struct vsock_packet packet_of(struct vsock_conn *conn, enum vsock_op op)
{
	conn->told_forwarded = conn->forwarded;
	conn->pending &= (uint16_t) ~(1u << op | 1u << VSOCK_OP_CREDIT_UPDATE);
	return (struct vsock_packet){
		.src_cid = VSOCK_HOST_CID,
		.dst_cid = conn->vsock->cid,
		.src_port = conn->host_port,
		.dst_port = conn->guest_port,
		.type = VSOCK_TYPE_STREAM,
		.op = (uint16_t)op,
		.buf_alloc = VSOCK_BUFFER,
		.fwd_cnt = conn->forwarded,
	};
}

/* One of those that are pending, if it is; false where it cannot be sent. */
static bool send_pending(struct vsock_conn *conn, enum vsock_op op)
{
	const uint16_t pending = conn->pending;
	const uint32_t told = conn->told_forwarded;
	struct vsock_packet packet;

	if (!(pending & 1u << op))
		return true;
	packet = packet_of(conn, op);
	if (op == VSOCK_OP_SHUTDOWN) {
		packet.flags =
			(conn->flags & VSOCK_HOST_EOF ? VSOCK_SHUT_SEND : 0) |
			(conn->flags & VSOCK_HOST_GONE ? VSOCK_SHUT_RCV : 0);
	}
	if (!send_control(conn->vsock, &packet)) {
		conn->pending = pending;
		conn->told_forwarded = told;
		return false;
	}
	conn->told_shut |= (uint8_t)packet.flags;
	return true;
}

static bool send_all_pending(struct vsock_conn *conn, const enum vsock_op *op,
			     size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!send_pending(conn, op[i]))
			return false;
	return true;
}

/* What one more packet may hold when `out` bytes in so many are unread. */
static uint32_t room(const struct vsock_conn *conn, uint32_t out,
		     uint32_t packets)
{
	const uint64_t cost = out + ((uint64_t)packets + 1) * PACKET_COST;
	const uint32_t alloc = conn->peer_alloc;
	const uint32_t left = cost < alloc ? alloc - (uint32_t)cost : 0;

	if (left >= ROOM_LEAST)
		return left;
	/* However small the window is, one packet at a time gets through. */
	return out ? 0 : alloc;
}

static uint32_t unread(const struct vsock_conn *conn)
{
	return conn->sent - conn->peer_forwarded;
}

void vsock_rx_credit(struct vsock_conn *conn, const struct vsock_packet *packet)
{
	conn->peer_alloc = packet->buf_alloc;
	conn->peer_forwarded = packet->fwd_cnt;
	if (conn->peer_forwarded == conn->sent) {
		conn->packets_before = conn->packets_since = 0;
		conn->mark = conn->sent;
	} else if ((int32_t)(conn->peer_forwarded - conn->mark) >= 0) {
		conn->packets_before = conn->packets_since;
		conn->packets_since = 0;
		conn->mark = conn->sent;
	}
}

bool vsock_rx_allowed(const struct vsock_conn *conn)
{
	const uint32_t out = unread(conn);
	const uint32_t left =
		room(conn, out, conn->packets_before + conn->packets_since);

	/* After a stall a good piece, lest it goes on in crumbs. */
	if (conn->flags & VSOCK_STALLED && out)
		return left >= conn->peer_alloc / 4 && left;
	return left;
}

/* Buffers for the next read, and the I/O vector over them. */
struct batch {
	struct slot slot[VSOCK_BATCH];
	struct iovec iov[IOVS];
	unsigned slots, iovs;
	uint32_t bytes;
};

/* One more buffer for `max` bytes; false where this one was the last. */
static bool add_slot(struct vsock *vsock, struct batch *batch, uint32_t max)
{
	const struct chain *chain = &vsock->chain;
	struct slot *slot = &batch->slot[batch->slots];
	const struct iovec *first;
	struct cursor cursor;
	unsigned count;
	size_t bytes;

	if (!pop(vsock))
		return false;
	first = &chain->segment[chain->readable];
	slot->head = chain->head;
	slot->header = first->iov_len < VSOCK_HEADER ? NULL : first->iov_base;
	cursor = chain_writer(chain);
	cursor_skip(&cursor, VSOCK_HEADER);
	count = cursor_iov(&cursor, max, batch->iov + batch->iovs,
			   IOVS - batch->iovs, &bytes);
	/* A header in pieces needs the chain, so it must be alone. */
	if (!count || (!slot->header && batch->slots)) {
		queue_unpop(&vsock->device.queue[VSOCK_RX]);
		return false;
	}
	slot->room = (uint32_t)bytes;
	batch->bytes += slot->room;
	batch->iovs += count;
	batch->slots++;
	return slot->header;
}

static void fill_batch(struct vsock_conn *conn, struct batch *batch)
{
	const uint32_t packets = conn->packets_before + conn->packets_since;
	const uint32_t out = unread(conn);
	uint32_t max;

	batch->slots = batch->iovs = batch->bytes = 0;
	do
		max = room(conn, out + batch->bytes, packets + batch->slots);
	while (max && batch->slots < conn->batch &&
	       add_slot(conn->vsock, batch, max));
}

/* Data from the host; false where the guest has no buffers. */
static bool send_data(struct vsock_conn *conn)
{
	struct vsock *vsock = conn->vsock;
	struct vsock_packet packet;
	struct batch batch;
	unsigned used = 0, next;
	size_t len;
	bool full;

	fill_batch(conn, &batch);
	if (!batch.slots)
		return false;
	len = vsock_host_read(conn, batch.iov, batch.iovs);
	full = len == batch.bytes;
	for (; len; used++) {
		const struct slot *slot = &batch.slot[used];

		packet = packet_of(conn, VSOCK_OP_RW);
		packet.len = len < slot->room ? (uint32_t)len : slot->room;
		put_header(vsock, slot, &packet);
		conn->sent += packet.len;
		conn->packets_since++;
		len -= packet.len;
	}
	/* As many next time as it took now, or more where that was too few. */
	next = full ? 2 * used : used + 1;
	conn->batch = (uint8_t)(next < VSOCK_BATCH ? next : VSOCK_BATCH);
	for (; used < batch.slots; used++)
		queue_unpop(&vsock->device.queue[VSOCK_RX]);
	return true;
}

static bool wants_data(const struct vsock_conn *conn)
{
	return conn->state == VSOCK_OPEN && conn->host.fd >= 0 &&
	       conn->flags & VSOCK_READABLE &&
	       !(conn->flags & (VSOCK_HOST_EOF | VSOCK_GUEST_NO_RCV)) &&
	       vsock_rx_allowed(conn);
}

/* What it has to say; false where the guest has no buffers left for it. */
static bool serve(struct vsock_conn *conn)
{
	static const enum vsock_op before[] = { VSOCK_OP_RST, VSOCK_OP_REQUEST,
						VSOCK_OP_RESPONSE };
	static const enum vsock_op after[] = { VSOCK_OP_CREDIT_UPDATE,
					       VSOCK_OP_CREDIT_REQUEST,
					       VSOCK_OP_SHUTDOWN };

	if (!send_all_pending(conn, before, ARRAY_LEN(before)) ||
	    (wants_data(conn) && !send_data(conn)))
		return false;
	return conn->flags & VSOCK_HOST_RESET || /* an RST is to follow */
	       send_all_pending(conn, after, ARRAY_LEN(after));
}

static struct vsock_conn *first_ready(const struct vsock *vsock)
{
	/* `ready` is the first member. */
	if (vsock->ready.next == &vsock->ready)
		return NULL;
	return (void *)vsock->ready.next;
}

bool vsock_rx_run(struct vsock *vsock)
{
	struct vsock_conn *conn;

	while (vsock->strays && !vsock->rx_dry && !vsock->failed)
		send_stray(vsock);
	for (int i = 0; i < SERVED_MAX; i++) {
		if (vsock->rx_dry || vsock->failed)
			return false;
		conn = first_ready(vsock);
		if (!conn)
			return false;
		if (!serve(conn))
			continue;
		vsock_pool_unqueue(conn);
		if (conn->state == VSOCK_DEAD)
			vsock_pool_give(conn);
		else
			vsock_conn_settle(conn);
	}
	return true;
}
