/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device (virtio 1.2, 5.10): streams between programs in the guest
 * and programs on the host. Three files, of which each calls only those below:
 *
 *	vsock.c	the device: queues, packets in both directions
 *	conn.c	connections: states, credit, time limits
 *	host.c	the host's end: unix sockets
 *
 * The loop calls because the guest has kicked a queue (here), or because a unix
 * socket is ready or a time limit has passed (conn.c). Whoever is called notes
 * in connections what is to be sent, and then the guest is served (conn.c does
 * that through a pointer): vsock_serve takes packets from the guest, gives
 * packets to it, and raises one interrupt. Both have a budget. What it does not
 * cover is deferred, so that the loop goes to the other devices first.
 *
 * A program of the host connects to the guest's port 80. On the right are the
 * connection's new state (COMMAND, OPEN, ...) and the packets sent (REQUEST,
 * RW, ...):
 *
 *	program	connect(PATH)		COMMAND: conn.c accepts it
 *	program	"CONNECT 80\n"		REQUESTED: the guest gets REQUEST
 *	guest	RESPONSE		OPEN: host.c writes "OK 1073741825\n"
 *	program	data			one readv() puts it straight into
 *					buffers of the guest: RW
 *	program	close()			the guest gets SHUTDOWN (both)
 *	guest	RST			FREE
 *
 * A program of the guest connects to the host's port 1234:
 *
 *	guest	REQUEST			CONNECTING: the broker connects to
 *					PATH_1234, again and again where the
 *					backlog is full
 *	broker	a descriptor		OPEN: the guest gets RESPONSE
 *	guest	RW			one writev() from the guest's buffers;
 *					what the socket does not take is
 *					buffered in conn.c
 *	guest	SHUTDOWN (both)		what is buffered is written; KILLED:
 *					the guest gets RST; FREE
 *
 * Each direction ends by itself. Guest to host: the guest's SHUTDOWN (SEND) is
 * passed on when what it sent before is written, or the host's program stops
 * reading, which the guest learns by SHUTDOWN (RCV). Host to guest: end of
 * file becomes SHUTDOWN (SEND) behind the last byte; SHUTDOWN (RCV) from the
 * guest makes the host's writes fail. A guest that closed may send RST before
 * the host has read everything: the connection is ORPHANED then. It waits for
 * the host alone, and gives way to others when nothing was read for long.
 *
 * Credit (5.10.6.3): each side says how large its buffer is (buf_alloc) and how
 * many bytes of the stream it is done with (fwd_cnt). The device promises
 * VSOCK_BUFFER (conn.h: 256 KiB) for each of few connections, and less for each
 * of many; what was promised is kept. Since 6.12.92 Linux also
 * counts packets (576 bytes for each) and drops data, or resets, where both
 * together exceed its buffer. So packets are charged for, filled as far as can
 * be, and not sent at all where little room is left: what comes meanwhile
 * gathers in the unix socket. fwd_cnt acknowledges bytes, not packets, so the
 * packets that are not acknowledged are counted in two parts: those up to byte
 * `old_end` of the stream, and those after it. When fwd_cnt reaches `old_end`
 * the first part is done, the second takes its place, and `old_end` becomes the
 * end of all that was sent.
 *
 * The guest's packets are copied out, then judged. One that makes no sense is
 * answered by RST (5.10.6), which is never answered itself. A malformed ring,
 * or a buffer too small for anything, breaks the device. Owns the device and
 * all its parts. The loop's thread.
 */
#include "virtio/vsock/vsock.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

#define FEATURE_STREAM	1ULL /* 5.10.3 */
#define QUEUE_SIZE	128u /* Linux fills the receive queue with pages */
#define OTHER_FILES	64u  /* descriptors that are not connections, */
#define LAST_FILES	32   /* and of them those to come, for clients */
#define CONNECTIONS_MIN 8u   /* fewer are not worth it */
#define HEADER		44u  /* bytes of a packet's header */
#define BATCH_IOVS	(2 * VSOCK_BATCH_MAX)
#define EVENT_RESET	0u /* 5.10.6.7 */
#define PATIENCE_NS	4000000u

/* The budget: packets, and about so many bytes; to the guest, system calls */
#define TX_BUDGET	64u
#define TX_BYTES_BUDGET (1u << 20)
#define RX_BUDGET	16u

static struct vsock *vsock_of(struct device *device)
{
	return (void *)((char *)device - offsetof(struct vsock, device));
}

/*
 * The next chain of a queue; false where there is none now, or where the driver
 * has broken the rules, which vsock_serve tells it at its end.
 */
static bool vsock_pop(struct vsock *vsock, enum vsock_queue number)
{
	static const char *const malformed[VSOCK_QUEUES] = {
		[VSOCK_RX] = "its receive ring is malformed",
		[VSOCK_TX] = "its transmit ring is malformed",
		[VSOCK_EVENT] = "its event ring is malformed",
	};
	struct queue *queue = &vsock->device.queue[number];
	int got;

	if (vsock->failed)
		return false;
	got = queue_pop(queue, &vsock->chain);
	if (!got && queue_want_kick(queue))
		got = queue_pop(queue, &vsock->chain);
	if (got < 0)
		vsock->failed = malformed[number];
	return got > 0;
}

/* -- packets from the guest ----------------------------------------------- */

static void vsock_receive_packet(struct vsock *vsock)
{
	struct cursor cursor = chain_reader(&vsock->chain);
	uint8_t header[HEADER];
	struct vsock_packet packet;

	/* Without a whole header there is nobody to answer. */
	if (!cursor_get(&cursor, header, sizeof(header)))
		return;
	packet = (struct vsock_packet){
		.src_cid = get_le64(header),
		.dst_cid = get_le64(header + 8),
		.src_port = get_le32(header + 16),
		.dst_port = get_le32(header + 20),
		.len = get_le32(header + 24),
		.type = get_le16(header + 28),
		.op = get_le16(header + 30),
		.flags = get_le32(header + 32),
		.buf_alloc = get_le32(header + 36),
		.fwd_cnt = get_le32(header + 40),
	};
	if (packet.src_cid != vsock->conns.guest_cid ||
	    packet.dst_cid != VSOCK_HOST_CID ||
	    packet.type != VSOCK_TYPE_STREAM) {
		if (packet.op != VSOCK_OP_RST)
			conns_reject(&vsock->conns, &packet);
		return;
	}
	if (packet.len > cursor.left) {
		/* No operation: that ends its connection, if it has one. */
		packet.op = VSOCK_OP_INVALID;
		packet.len = 0;
	}
	conns_receive(&vsock->conns, &packet, &cursor);
}

/* True where the budget was spent before the guest had nothing more. */
static bool vsock_serve_tx(struct vsock *vsock, uint32_t *bytes)
{
	struct queue *queue = &vsock->device.queue[VSOCK_TX];

	queue_ignore_kicks(queue);
	for (unsigned i = 0; i < TX_BUDGET && *bytes < TX_BYTES_BUDGET; i++) {
		if (!vsock_pop(vsock, VSOCK_TX)) {
			vsock->tx_due = false;
			return false;
		}
		*bytes += vsock->chain.read_len;
		vsock_receive_packet(vsock);
		queue_push(queue, vsock->chain.head, 0);
	}
	return true;
}

/* -- packets for the guest ------------------------------------------------ */

/* A buffer of the guest's that was taken from the ring to be filled. */
struct vsock_rx_buffer {
	uint16_t head;
	uint8_t *header; /* NULL: in pieces; reached by the device's chain */
	uint32_t room;	 /* for data */
};

/* Takes one that has room for more than a header; false where there is none. */
static bool vsock_pop_rx(struct vsock *vsock)
{
	if (!vsock_pop(vsock, VSOCK_RX)) {
		vsock->rx_dry = true;
		return false;
	}
	if (vsock->chain.write_len > HEADER)
		return true;
	vsock->failed = "a receive buffer has no room for data";
	return false;
}

/* Gives a buffer back, filled; its data is in it. `header`: see above. */
static void vsock_push_rx(struct vsock *vsock, uint16_t head, uint8_t *header,
			  const struct vsock_packet *packet)
{
	struct cursor cursor;
	uint8_t bytes[HEADER];

	put_le64(bytes, packet->src_cid);
	put_le64(bytes + 8, packet->dst_cid);
	put_le32(bytes + 16, packet->src_port);
	put_le32(bytes + 20, packet->dst_port);
	put_le32(bytes + 24, packet->len);
	put_le16(bytes + 28, packet->type);
	put_le16(bytes + 30, packet->op);
	put_le32(bytes + 32, packet->flags);
	put_le32(bytes + 36, packet->buf_alloc);
	put_le32(bytes + 40, packet->fwd_cnt);
	if (header) {
		memcpy(header, bytes, sizeof(bytes));
	} else {
		cursor = chain_writer(&vsock->chain);
		cursor_put(&cursor, bytes, sizeof(bytes));
	}
	queue_push(&vsock->device.queue[VSOCK_RX], head, HEADER + packet->len);
}

/* Buffers for the next read, and the I/O vector over them. */
struct vsock_batch {
	struct vsock_rx_buffer buffer[VSOCK_BATCH_MAX];
	struct iovec iov[BATCH_IOVS];
	unsigned buffers, iovs;
	uint32_t bytes;
};

/* One more buffer for `max` bytes; false where this one was the last. */
static bool vsock_add_to_batch(struct vsock *vsock, struct vsock_batch *batch,
			       uint32_t max)
{
	const struct chain *chain = &vsock->chain;
	struct vsock_rx_buffer *buffer = &batch->buffer[batch->buffers];
	const struct iovec *first;
	struct cursor cursor;
	unsigned count;
	size_t bytes;

	if (!vsock_pop_rx(vsock))
		return false;
	first = &chain->segment[chain->readable];
	buffer->head = chain->head;
	buffer->header = first->iov_len < HEADER ? NULL : first->iov_base;
	cursor = chain_writer(chain);
	cursor_skip(&cursor, HEADER);
	count = cursor_iov(&cursor, max, batch->iov + batch->iovs,
			   BATCH_IOVS - batch->iovs, &bytes);
	/* A header in pieces needs the chain, so it must be alone. */
	if (!count || (!buffer->header && batch->buffers)) {
		queue_unpop(&vsock->device.queue[VSOCK_RX]);
		return false;
	}
	buffer->room = (uint32_t)bytes;
	batch->bytes += buffer->room;
	batch->iovs += count;
	batch->buffers++;
	return buffer->header;
}

/*
 * Data from the host: one system call fills several buffers, whose headers are
 * written in front when it is known how much there was; those that were not
 * needed go back to the ring. False where the guest has no buffers.
 */
static bool vsock_send_data(struct vsock *vsock, struct conn *conn)
{
	struct vsock_packet packet;
	struct vsock_batch batch;
	unsigned used = 0, next;
	uint32_t max;
	size_t len;
	bool full;

	batch.buffers = batch.iovs = batch.bytes = 0;
	do
		max = conn_room(conn, batch.bytes, batch.buffers);
	while (max && batch.buffers < conn->batch &&
	       vsock_add_to_batch(vsock, &batch, max));
	if (!batch.buffers)
		return false;
	len = vsock_host_read(&conn->socket, batch.iov, batch.iovs);
	full = len == batch.bytes;
	for (; len; used++) {
		const struct vsock_rx_buffer *buffer = &batch.buffer[used];
		const uint32_t part =
			len < buffer->room ? (uint32_t)len : buffer->room;

		packet = conn_send(conn, VSOCK_OP_RW, part);
		vsock_push_rx(vsock, buffer->head, buffer->header, &packet);
		len -= part;
	}
	/* As many next time as it took now, or more where that was too few. */
	next = full ? 2 * used : used + 1;
	conn->batch =
		(uint8_t)(next < VSOCK_BATCH_MAX ? next : VSOCK_BATCH_MAX);
	for (; used < batch.buffers; used++)
		queue_unpop(&vsock->device.queue[VSOCK_RX]);
	return true;
}

/* All that it has, and data once; false where the guest has no buffers left. */
static bool vsock_serve_conn(struct vsock *vsock, struct conn *conn)
{
	struct vsock_packet packet;
	enum vsock_op op;
	bool data = true;

	while ((op = conn_next(conn, data))) {
		if (op == VSOCK_OP_RW) {
			if (!vsock_send_data(vsock, conn))
				return false;
			data = false;
			continue;
		}
		if (!vsock_pop_rx(vsock))
			return false;
		packet = conn_send(conn, op, 0);
		vsock_push_rx(vsock, vsock->chain.head, NULL, &packet);
	}
	return true;
}

/* True where the budget was spent, with work left. */
static bool vsock_serve_rx(struct vsock *vsock)
{
	struct conns *conns = &vsock->conns;
	struct conn *conn;

	while (conns->rst_count && !vsock->rx_dry && vsock_pop_rx(vsock))
		vsock_push_rx(vsock, vsock->chain.head, NULL,
			      conns_take_rst(conns));
	/* Who is ready gets one system call, then goes to the list's end. */
	for (unsigned i = 0; i < RX_BUDGET; i++) {
		conn = conns_first_ready(conns);
		if (!conn || vsock->rx_dry || !vsock_serve_conn(vsock, conn))
			return false;
		conn_served(conn);
	}
	return true;
}

/* -- events --------------------------------------------------------------- */

static void vsock_send_event(struct vsock *vsock)
{
	struct cursor cursor;
	uint8_t event[4];

	if (!vsock_pop(vsock, VSOCK_EVENT))
		return;
	put_le32(event, EVENT_RESET);
	cursor = chain_writer(&vsock->chain);
	if (!cursor_put(&cursor, event, sizeof(event))) {
		vsock->failed = "an event buffer has no room for an event";
		return;
	}
	queue_push(&vsock->device.queue[VSOCK_EVENT], vsock->chain.head,
		   sizeof(event));
	vsock->event_due = false;
}

/* -- serving -------------------------------------------------------------- */

static void vsock_stop(struct vsock *vsock)
{
	conns_stop(&vsock->conns);
	loop_cancel(vsock->conns.loop, &vsock->work);
	vsock->event_due = vsock->tx_due = false;
}

/*
 * True where the guest is to be interrupted. That its packets are taken, it
 * may learn when there is one for it: nobody waits for it.
 */
static bool vsock_publish(struct vsock *vsock, uint32_t sent)
{
	struct queue *queue = vsock->device.queue;
	const uint64_t due = vsock->sent.due_ns;
	const bool came = queue_publish(&queue[VSOCK_RX]);
	const bool event = queue_publish(&queue[VSOCK_EVENT]);

	if (lazy_publish(&vsock->sent, sent) || came || event) {
		lazy_told(&vsock->sent);
		return true;
	}
	/* An earlier timer may have been set for others, and be gone by now. */
	if (vsock->sent.due_ns)
		conns_wake(&vsock->conns, vsock->sent.due_ns);
	return due && vsock->sent.due_ns && loop_now() >= vsock->sent.due_ns &&
	       lazy_expired(&vsock->sent);
}

/* Last in everything that the loop calls. */
static void vsock_serve(struct vsock *vsock)
{
	bool more = false;
	uint32_t sent = 0;

	if (!vsock->conns.running || vsock->device.paused)
		return;
	if (vsock->event_due)
		vsock_send_event(vsock);
	if (vsock->tx_due)
		more = vsock_serve_tx(vsock, &sent);
	if (vsock_serve_rx(vsock))
		more = true;
	if (vsock_publish(vsock, sent))
		device_interrupt(&vsock->device);
	if (vsock->failed) {
		vsock_stop(vsock);
		device_broken(&vsock->device, vsock->failed);
	} else if (more) {
		loop_defer(vsock->conns.loop, &vsock->work);
	}
}

static void vsock_serve_again(void *arg)
{
	vsock_serve(arg);
}

static void vsock_serve_conns(struct conns *conns)
{
	vsock_serve((void *)((char *)conns - offsetof(struct vsock, conns)));
}

void vsock_state(struct vsock *vsock, struct state *s)
{
	struct conns *conns = &vsock->conns;
	uint64_t cid = conns->guest_cid;
	bool event_due = vsock->event_due;

	state_u64(s, &cid);
	state_bool(s, &event_due);
	state_check(s, cid >= VSOCK_CID_MIN && cid <= VSOCK_CID_MAX,
		    "its CID is impossible");
	conns_state(conns, cid, s);
	if (s->loading && !s->wrong)
		vsock->event_due = event_due || cid != conns->guest_cid;
}

/* -- what the transport asks for ------------------------------------------ */

static void vsock_activate(struct device *device)
{
	struct vsock *vsock = vsock_of(device);

	vsock->failed = NULL;
	lazy_start(&vsock->sent, &device->queue[VSOCK_TX], PATIENCE_NS);
	vsock->tx_due = true;
	vsock->rx_dry = false;
	conns_start(&vsock->conns);
	vsock_serve(vsock);
}

static void vsock_kick(struct device *device, unsigned queue)
{
	struct vsock *vsock = vsock_of(device);

	if (queue == VSOCK_TX)
		vsock->tx_due = true;
	else if (queue == VSOCK_RX)
		vsock->rx_dry = false;
	vsock_serve(vsock);
}

/* Packets are copied: of one queue nothing is in flight. */
static bool vsock_cancel(struct device *device, uint32_t queues)
{
	if (queues == DEVICE_ALL_QUEUES)
		vsock_stop(vsock_of(device));
	return true;
}

static const struct device_ops vsock_ops = {
	.activate = vsock_activate,
	.kick = vsock_kick,
	.cancel = vsock_cancel,
};

/* -- making it ------------------------------------------------------------ */

/*
 * Each connection is a descriptor: as many as this process may have. What else
 * has one is open before the first of them: where there are more of those than
 * thought, connections are refused, and nothing else fails.
 */
static int vsock_count_connections(const struct vsock_options *options,
				   unsigned *max, int *files_max)
{
	const rlim_t want = VSOCK_FILES_MAX;
	struct rlimit limit;

	/* The internal stream, and those of the guest that are refused. */
	if (!vsock_is_shared(options)) {
		*max = CONNECTIONS_MIN;
		*files_max = INT_MAX;
		return 0;
	}
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur < want) {
		limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
		if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
			return log_errno("setrlimit");
	}
	if (limit.rlim_cur < OTHER_FILES + CONNECTIONS_MIN) {
		log_error("--vsock: %llu open files are too few for "
			  "connections; raise the limit (ulimit -n)",
			  (unsigned long long)limit.rlim_cur);
		return -EMFILE;
	}
	if (limit.rlim_cur > want)
		limit.rlim_cur = want;
	*max = limit.rlim_cur < want ? (unsigned)limit.rlim_cur - OTHER_FILES
				     : VSOCK_CONNECTIONS_MAX;
	if (*max > VSOCK_CONNECTIONS_MAX)
		*max = VSOCK_CONNECTIONS_MAX;
	*files_max = (int)limit.rlim_cur - LAST_FILES;
	return 0;
}

int vsock_open(struct vsock **vsock, const struct vsock_options *options)
{
	struct vsock *new = calloc(1, sizeof(*new));
	struct conns *conns;
	unsigned max = 0;
	int error;

	if (!new)
		return log_errno("calloc");
	new->work = (struct loop_work){ .run = vsock_serve_again, .arg = new };
	conns = &new->conns;
	conns->host = VSOCK_HOST_NONE;
	conns->guest_cid = options->cid;
	conns->serve = vsock_serve_conns;
	conns->timer.source.fd = -1;
	conns->internal_port = options->internal_port;
	conns->internal_fd = options->internal ? options->internal_fd : -1;
	error = vsock_count_connections(options, &max, &conns->files_max);
	if (!error)
		error = conns_create(conns, max, options->memory);
	if (!error && vsock_is_shared(options))
		error = vsock_host_listen(&conns->host, &options->file);
	if (!error && vsock_is_shared(options))
		conns->unread = vsock_host_unread(&conns->host);
	if (error)
		vsock_destroy(new);
	else
		*vsock = new;
	return error;
}

int vsock_create(struct vsock *vsock, struct loop *loop)
{
	vsock->device = (struct device){
		.ops = &vsock_ops,
		.id = DEVICE_VSOCK,
		.name = "vsock",
		.features = FEATURE_STREAM,
		.queue_count = VSOCK_QUEUES,
		.queue_size = QUEUE_SIZE,
		.config_len = 8,
	};
	/* The configuration space (5.10.4) is the CID and nothing else. */
	put_le64(vsock->device.config, vsock->conns.guest_cid);
	return conns_attach(&vsock->conns, loop);
}

void vsock_destroy(struct vsock *vsock)
{
	if (!vsock)
		return;
	vsock_stop(vsock);
	conns_destroy(&vsock->conns);
	free(vsock);
}
