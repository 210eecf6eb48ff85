/*
 * The vsock device: its queues, packets from the guest, and turns.
 *
 * Everything happens in turns. The loop calls because the guest has kicked, a
 * unix socket is ready or a time limit has passed; whoever is called notes what
 * is to be done and ends with vsock_turn, which takes packets from the guest
 * and gives packets to it, both bounded, and raises one interrupt. Where work
 * is left an eventfd that stays readable brings the loop back after it has been
 * to the other devices.
 *
 * The guest's packets are copied out, then judged. One that makes no sense is
 * answered by RST (5.10.6), which is never answered itself; a malformed ring
 * breaks the device. Owns the device and all its parts. The loop's thread.
 */
#include "virtio/vsock/vsock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/vsock/conn.h"

#define FEATURE_STREAM 1ULL  /* 5.10.3 */
#define QUEUE_SIZE     128u  /* Linux fills the receive queue with pages */
#define OTHER_FILES    64u   /* descriptors that are not connections, */
#define OTHERS_MAX     1024u /* or, with many CPUs, disks and queues */
#define FEWEST	       8u    /* connections, to be worth it */
#define TX_PACKETS     64u   /* in one turn, */
#define TX_BYTES       (1u << 20)
#define EVENT_RESET    0u /* 5.10.6.7 */

static struct vsock *of(struct device *device)
{
	return (void *)((char *)device - offsetof(struct vsock, device));
}

/* -- packets from the guest ----------------------------------------------- */

static void decode(const uint8_t *from, struct vsock_packet *packet)
{
	*packet = (struct vsock_packet){
		.src_cid = get_le64(from),
		.dst_cid = get_le64(from + 8),
		.src_port = get_le32(from + 16),
		.dst_port = get_le32(from + 20),
		.len = get_le32(from + 24),
		.type = get_le16(from + 28),
		.op = get_le16(from + 30),
		.flags = get_le32(from + 32),
		.buf_alloc = get_le32(from + 36),
		.fwd_cnt = get_le32(from + 40),
	};
}

static void take_packet(struct vsock *vsock)
{
	struct cursor cursor = chain_reader(&vsock->chain);
	struct vsock_packet packet;
	uint8_t bytes[VSOCK_HEADER];

	/* Without a whole header there is nobody to answer. */
	if (!cursor_get(&cursor, bytes, sizeof(bytes)))
		return;
	decode(bytes, &packet);
	if (packet.src_cid != vsock->cid || packet.dst_cid != VSOCK_HOST_CID ||
	    packet.type != VSOCK_TYPE_STREAM) {
		if (packet.op != VSOCK_OP_RST)
			vsock_rx_stray(vsock, &packet);
		return;
	}
	if (packet.len > cursor.left) {
		/* No operation: that ends its connection, if it has one. */
		packet.op = VSOCK_OP_INVALID;
		packet.len = 0;
	}
	vsock_conn_packet(vsock, &packet, &cursor);
}

/* True where the turn was over before the guest had nothing more. */
static bool tx_run(struct vsock *vsock)
{
	struct queue *queue = &vsock->device.queue[VSOCK_TX];
	uint32_t bytes = 0;
	int got;

	queue_ignore_kicks(queue);
	for (unsigned i = 0; i < TX_PACKETS && bytes < TX_BYTES; i++) {
		got = queue_pop(queue, &vsock->chain);
		if (!got && queue_want_kick(queue))
			got = queue_pop(queue, &vsock->chain);
		if (got < 0)
			vsock_fail(vsock, "its transmit ring is malformed");
		if (got <= 0) {
			vsock->tx_due = false;
			return false;
		}
		bytes += vsock->chain.read_len;
		take_packet(vsock);
		queue_push(queue, vsock->chain.head, 0);
	}
	return true;
}

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

/* -- events --------------------------------------------------------------- */

static void event_run(struct vsock *vsock)
{
	struct queue *queue = &vsock->device.queue[VSOCK_EVENT];
	struct cursor cursor;
	uint8_t event[4];
	int got = queue_pop(queue, &vsock->chain);

	if (!got && queue_want_kick(queue))
		got = queue_pop(queue, &vsock->chain);
	if (got < 0)
		vsock_fail(vsock, "its event ring is malformed");
	if (got <= 0)
		return;
	put_le32(event, EVENT_RESET);
	cursor = chain_writer(&vsock->chain);
	if (!cursor_put(&cursor, event, sizeof(event))) {
		vsock_fail(vsock, "an event buffer has no room for an event");
		return;
	}
	queue_push(queue, vsock->chain.head, sizeof(event));
	vsock->event_due = false;
}

void vsock_reset_all(struct vsock *vsock, uint64_t cid)
{
	uint8_t bytes[8];

	vsock_pool_give_all(vsock);
	vsock->strays = 0;
	vsock->cid = cid;
	put_le64(bytes, cid);
	device_set_config(&vsock->device, 0, bytes, sizeof(bytes));
	vsock->event_due = true;
	vsock->tx_due = true;
	vsock->rx_dry = false;
	vsock_turn(vsock);
}

/* -- turns ---------------------------------------------------------------- */

static void set_again(struct vsock *vsock, bool again)
{
	const uint64_t one = 1;
	uint64_t count;
	ssize_t done;

	if (vsock->again_set == again)
		return;
	vsock->again_set = again;
	if (again)
		done = write(vsock->again.fd, &one, sizeof(one));
	else
		done = read(vsock->again.fd, &count, sizeof(count));
	(void)done; /* its counter is 0 or 1, as `again_set` says */
}

static void stop(struct vsock *vsock)
{
	vsock->running = false;
	vsock_host_accept(vsock, false);
	vsock_pool_give_all(vsock);
	vsock->strays = 0;
	vsock->event_due = vsock->tx_due = false;
	set_again(vsock, false);
}

void vsock_fail(struct vsock *vsock, const char *why)
{
	if (!vsock->failed)
		vsock->failed = why;
}

void vsock_turn(struct vsock *vsock)
{
	struct queue *queue = vsock->device.queue;
	bool more = false, interrupt = false;

	if (!vsock->running)
		return;
	if (vsock->event_due)
		event_run(vsock);
	if (vsock->tx_due)
		more = tx_run(vsock);
	if (vsock_rx_run(vsock))
		more = true;
	for (unsigned i = 0; i < VSOCK_QUEUES; i++)
		if (queue_publish(&queue[i]))
			interrupt = true;
	if (interrupt)
		device_interrupt(&vsock->device);
	if (vsock->failed) {
		stop(vsock);
		device_broken(&vsock->device, vsock->failed);
	} else {
		set_again(vsock, more);
	}
}

static void again_ready(void *arg, uint32_t events)
{
	(void)events;
	vsock_turn(arg);
}

/* -- what the transport asks for ------------------------------------------ */

static void activate(struct device *device)
{
	struct vsock *vsock = of(device);

	vsock->running = true;
	vsock->failed = NULL;
	vsock->tx_due = true;
	vsock->rx_dry = false;
	vsock_host_accept(vsock, true);
	vsock_turn(vsock);
}

static void kick(struct device *device, unsigned queue)
{
	struct vsock *vsock = of(device);

	if (queue == VSOCK_TX)
		vsock->tx_due = true;
	else if (queue == VSOCK_RX)
		vsock->rx_dry = false;
	vsock_turn(vsock);
}

static void reset(struct device *device)
{
	stop(of(device));
}

static const struct device_ops ops = {
	.activate = activate,
	.kick = kick,
	.reset = reset,
};

/* -- making it ------------------------------------------------------------ */

/*
 * Each connection is a descriptor: as many as this process may have. What else
 * has one is open before the first of them: where there are more of those than
 * thought, connections are refused, and nothing else fails.
 */
static int count_connections(const struct vsock *vsock, unsigned *max)
{
	const rlim_t want = VSOCK_CONNECTIONS_MAX + OTHERS_MAX;
	struct rlimit limit;

	/* mote's own one, and those of the guest that are refused. */
	if (!vsock_is_shared(&vsock->options)) {
		*max = FEWEST;
		return 0;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return log_errno("getrlimit");
	if (limit.rlim_cur < want) {
		limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			return log_errno("setrlimit");
	}
	if (limit.rlim_cur < OTHER_FILES + FEWEST) {
		log_error("--vsock: %llu open files are too few for "
			  "connections; raise the limit (ulimit -n)",
			  (unsigned long long)limit.rlim_cur);
		return -EMFILE;
	}
	*max = limit.rlim_cur < want ? (unsigned)limit.rlim_cur - OTHER_FILES
				     : VSOCK_CONNECTIONS_MAX;
	return 0;
}

int vsock_open(struct vsock **vsock, const struct vsock_options *options)
{
	struct vsock *new = calloc(1, sizeof(*new));
	unsigned max = 0;
	int error;

	if (!new)
		return log_errno("calloc");
	new->options = *options;
	new->cid = options->cid;
	new->again.fd = new->listener.fd = new->timer.source.fd = -1;
	new->file = UNIXSOCK_NONE;
	error = count_connections(new, &max);
	if (!error)
		error = vsock_pool_create(new, max);
	if (!error)
		error = vsock_host_listen(new);
	if (error)
		vsock_destroy(new);
	else
		*vsock = new;
	return error;
}

static void describe(struct vsock *vsock)
{
	uint8_t bytes[8];

	vsock->device = (struct device){
		.ops = &ops,
		.id = DEVICE_VSOCK,
		.name = "vsock",
		.features = FEATURE_STREAM,
		.queue_count = VSOCK_QUEUES,
		.queue_size = QUEUE_SIZE,
		.config_len = sizeof(bytes),
	};
	put_le64(bytes, vsock->cid);
	device_set_config(&vsock->device, 0, bytes, sizeof(bytes));
}

int vsock_create(struct vsock *vsock, struct loop *loop)
{
	int error;

	vsock->loop = loop;
	describe(vsock);
	vsock->again.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vsock->again.fd < 0)
		return log_errno("eventfd");
	vsock->again.ready = again_ready;
	vsock->again.arg = vsock;
	error = loop_add(loop, &vsock->again, EPOLLIN);
	if (error) {
		log_error("cannot watch an eventfd: %s", strerror(-error));
		return error;
	}
	return vsock_pool_start(vsock);
}

struct unixsock *vsock_file(struct vsock *vsock)
{
	return &vsock->file;
}

struct device *vsock_device(struct vsock *vsock)
{
	return &vsock->device;
}

void vsock_destroy(struct vsock *vsock)
{
	if (!vsock)
		return;
	if (vsock->loop && vsock->again.fd >= 0) {
		stop(vsock);
		loop_remove(vsock->loop, &vsock->again);
	}
	if (vsock->again.fd >= 0)
		close(vsock->again.fd);
	if (vsock->options.own)
		close(vsock->options.own_fd);
	vsock_pool_destroy(vsock);
	vsock_host_unlisten(vsock);
	free(vsock);
}
