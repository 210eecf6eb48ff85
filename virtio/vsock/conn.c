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
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#include "mem/log.h"
#include "mem/pool.h"

#define CONNECT_NS 2000000000ULL /* Linux gives up then, too */
#define WRITE_IOVS 64
#define BOTH	   (VSOCK_SHUT_RCV | VSOCK_SHUT_SEND)

/*
 * Where the connections of a vsock device live: memory, the table by ports,
 * the list of those that have something for the guest, and time limits.
 *
 * All memory is mapped when the device is opened and touched when it is used:
 * what was never needed costs nothing, and what a closed connection had kept
 * for a slow reader is given back to the host. Connections are taken from the
 * lowest index up and the last one freed is the next one taken.
 *
 * Each kind of time limit is equally long for all, so whoever begins to wait
 * goes to the end of that kind's list, and only the lists' heads are looked at.
 * One timer serves all; it is set for the earliest head, or earlier: a limit
 * that was lifted in time costs nothing.
 *
 * Trusts the other files of the device. Owns the memory and the timer. The
 * loop's thread.
 */

#define MS		 1000000ULL
#define EXPIRED_MAX	 64u /* of each kind in one turn */
#define EXPIRED_PAUSE_NS MS

/*
 * A guest that reads tells so by itself, mostly; it is asked after 2 ms, and
 * then ever less often. A listener with a full backlog is tried again every
 * 10 ms. A program writes its CONNECT line at once, a person takes longer. A
 * guest answers a REQUEST at once, if it is not busy booting; 8 s is what Linux
 * gives a peer to close.
 */
static const uint64_t wait_ns[VSOCK_WAITS] = {
	[VSOCK_WAIT_CREDIT] = 2 * MS,
	[VSOCK_WAIT_CREDIT_LONG] = 20 * MS,
	[VSOCK_WAIT_CREDIT_LONGER] = 200 * MS,
	[VSOCK_WAIT_CREDIT_LONGEST] = 2000 * MS,
	[VSOCK_WAIT_RETRY] = 10 * MS,
	[VSOCK_WAIT_COMMAND] = 10000 * MS,
	[VSOCK_WAIT_RESPONSE] = 5000 * MS,
	[VSOCK_WAIT_CLOSE] = 8000 * MS,
	[VSOCK_WAIT_DRAIN] = 30000 * MS,
	[VSOCK_WAIT_STALE] = 30000 * MS,
};

uint64_t vsock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 * MS + (uint64_t)now.tv_nsec;
}

/* -- lists ---------------------------------------------------------------- */

static void list_init(struct vsock_list *list)
{
	list->prev = list->next = list;
}

static bool list_empty(const struct vsock_list *list)
{
	return list->next == list;
}

static void list_remove(struct vsock_list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}

static void list_append(struct vsock_list *list, struct vsock_list *entry)
{
	entry->prev = list->prev;
	entry->next = list;
	list->prev->next = entry;
	list->prev = entry;
}

void vsock_pool_queue(struct vsock_conn *conn)
{
	if (list_empty(&conn->ready))
		list_append(&conn->vsock->ready, &conn->ready);
}

void vsock_pool_unqueue(struct vsock_conn *conn)
{
	list_remove(&conn->ready);
}

/* -- time limits ---------------------------------------------------------- */

static struct vsock_conn *first_timed(const struct vsock_list *list)
{
	if (list_empty(list))
		return NULL;
	return (void *)((char *)list->next -
			offsetof(struct vsock_conn, timed));
}

static void set_timer(struct vsock *vsock, uint64_t now, uint64_t when)
{
	if (vsock->timer_ns && vsock->timer_ns <= when)
		return;
	vsock->timer_ns = when;
	loop_timer_set(&vsock->timer, when > now ? when - now : 1);
}

void vsock_pool_wait(struct vsock_conn *conn, enum vsock_wait wait)
{
	struct vsock *vsock = conn->vsock;
	uint64_t now;

	list_remove(&conn->timed);
	conn->wait = (uint8_t)wait;
	if (wait == VSOCK_WAIT_NONE)
		return;
	now = vsock_now();
	conn->deadline_ns = now + wait_ns[wait];
	list_append(&vsock->timed[wait], &conn->timed);
	set_timer(vsock, now, conn->deadline_ns);
}

void vsock_pool_wake(struct vsock *vsock, uint64_t ns)
{
	const uint64_t now = vsock_now();

	set_timer(vsock, now, now + ns);
}

/*
 * A few; the rest a little later, when the loop's other sources have had their
 * turn. Thousands may wait for one listener, and each try is three system
 * calls.
 */
static void expire_some(struct vsock *vsock, enum vsock_wait wait, uint64_t now)
{
	const uint64_t later = now + EXPIRED_PAUSE_NS;
	struct vsock_conn *conn = first_timed(&vsock->timed[wait]);

	for (unsigned i = 0; conn && conn->deadline_ns <= now; i++) {
		if (i == EXPIRED_MAX) {
			set_timer(vsock, now, later);
			return;
		}
		vsock_pool_wait(conn, VSOCK_WAIT_NONE);
		vsock_conn_expired(conn, wait);
		conn = first_timed(&vsock->timed[wait]);
	}
	if (conn)
		set_timer(vsock, now, conn->deadline_ns);
}

static void timer_expired(void *arg)
{
	struct vsock *vsock = arg;
	const uint64_t now = vsock_now();

	vsock->timer_ns = 0;
	for (unsigned i = 0; i < VSOCK_WAITS; i++)
		expire_some(vsock, (enum vsock_wait)i, now);
	vsock_host_accept(vsock, true);
	vsock_turn(vsock);
}

/* -- memory --------------------------------------------------------------- */

static size_t buckets(unsigned max)
{
	size_t count = 64;

	while (count < max)
		count *= 2;
	return count;
}

static bool map_all(struct vsock *vsock, unsigned max)
{
	vsock->max = max;
	vsock->table_mask = (uint32_t)buckets(max) - 1;
	vsock->conn = pool_map(max * sizeof(*vsock->conn));
	vsock->buffers = pool_map((size_t)max * VSOCK_BUFFER);
	vsock->table = pool_map(buckets(max) * sizeof(struct vsock_conn *));
	if (vsock->conn && vsock->buffers && vsock->table)
		return true;
	vsock_pool_destroy(vsock);
	return false;
}

int vsock_pool_create(struct vsock *vsock, unsigned max)
{
	list_init(&vsock->ready);
	for (unsigned i = 0; i < VSOCK_WAITS; i++)
		list_init(&vsock->timed[i]);
	/* Where the host does not overcommit, fewer will have to do. */
	while (!map_all(vsock, max)) {
		max /= 2;
		if (max)
			continue;
		log_error("--vsock: there is no memory for connections; raise "
			  "the limit on address space (ulimit -v)");
		return -ENOMEM;
	}
	/* So that no guest knows which ports collide. */
	if (getrandom(&vsock->table_seed, sizeof(vsock->table_seed),
		      GRND_NONBLOCK) < 0)
		vsock->table_seed = (uint32_t)vsock_now();
	return 0;
}

int vsock_pool_start(struct vsock *vsock)
{
	return loop_timer_create(vsock->loop, &vsock->timer, timer_expired,
				 vsock);
}

void vsock_pool_destroy(struct vsock *vsock)
{
	if (vsock->loop)
		loop_timer_destroy(vsock->loop, &vsock->timer);
	pool_unmap(vsock->conn, vsock->max * sizeof(*vsock->conn));
	pool_unmap(vsock->buffers, (size_t)vsock->max * VSOCK_BUFFER);
	pool_unmap(vsock->table, ((size_t)vsock->table_mask + 1) *
					 sizeof(struct vsock_conn *));
	vsock->conn = NULL;
	vsock->buffers = NULL;
	vsock->table = NULL;
}

uint8_t *vsock_pool_buffer(const struct vsock_conn *conn)
{
	const struct vsock *vsock = conn->vsock;

	return vsock->buffers + (size_t)(conn - vsock->conn) * VSOCK_BUFFER;
}

bool vsock_pool_has_room(const struct vsock *vsock)
{
	return vsock->count < vsock->max ||
	       !list_empty(&vsock->timed[VSOCK_WAIT_STALE]);
}

bool vsock_pool_make_room(struct vsock *vsock)
{
	static struct log_limit limit;
	struct vsock_conn *stale;

	for (unsigned i = 0; i < EXPIRED_MAX; i++) {
		stale = first_timed(&vsock->timed[VSOCK_WAIT_STALE]);
		if (!stale)
			return false;
		/* It may have read something since it was looked at. */
		vsock_conn_expired(stale, VSOCK_WAIT_STALE);
		if (stale->state == VSOCK_FREE)
			return true;
		if (stale->wait != VSOCK_WAIT_STALE)
			continue;
		log_guest(&limit,
			  "--vsock: a program on the host has read nothing for "
			  "long, and others need its place: %u bytes for it "
			  "are dropped",
			  stale->kept);
		vsock_pool_give(stale);
		return true;
	}
	return false;
}

struct vsock_conn *vsock_pool_take(struct vsock *vsock, enum vsock_state state)
{
	struct vsock_conn *conn;

	if (vsock->count == vsock->max)
		vsock_pool_make_room(vsock);
	conn = vsock->free;
	if (conn)
		vsock->free = conn->next;
	else if (vsock->touched < vsock->max)
		conn = &vsock->conn[vsock->touched++];
	else
		return NULL;
	vsock->count++;
	*conn = (struct vsock_conn){
		.vsock = vsock,
		.host.fd = -1,
		.state = (uint8_t)state,
		.wait = VSOCK_WAIT_NONE,
		.batch = 1,
	};
	list_init(&conn->ready);
	list_init(&conn->timed);
	return conn;
}

void vsock_pool_give(struct vsock_conn *conn)
{
	struct vsock *vsock = conn->vsock;

	if (conn->flags & VSOCK_TOUCHED)
		madvise(vsock_pool_buffer(conn), VSOCK_BUFFER, MADV_DONTNEED);
	vsock_host_close(conn);
	vsock_pool_leave(conn);
	list_remove(&conn->ready);
	list_remove(&conn->timed);
	conn->state = VSOCK_FREE;
	conn->next = vsock->free;
	vsock->free = conn;
	vsock->count--;
	/* Those that wait in the backlog because all were in use. */
	vsock_host_accept(vsock, true);
}

void vsock_pool_give_all(struct vsock *vsock)
{
	for (unsigned i = 0; i < vsock->touched; i++)
		if (vsock->conn[i].state != VSOCK_FREE)
			vsock_pool_give(&vsock->conn[i]);
}

/* -- the table ------------------------------------------------------------ */

static struct vsock_conn **bucket(const struct vsock *vsock, uint32_t host_port,
				  uint32_t guest_port)
{
	uint64_t key = (uint64_t)host_port << 32 | guest_port;

	/* Multiplicative: the upper half depends on every bit of the key. */
	key = (key ^ vsock->table_seed) * 0x9e3779b97f4a7c15ULL;
	key = (key ^ key >> 29) * 0xbf58476d1ce4e5b9ULL;
	return &vsock->table[(key >> 32) & vsock->table_mask];
}

struct vsock_conn *vsock_pool_find(const struct vsock *vsock,
				   uint32_t host_port, uint32_t guest_port)
{
	struct vsock_conn *conn = *bucket(vsock, host_port, guest_port);

	while (conn &&
	       (conn->host_port != host_port || conn->guest_port != guest_port))
		conn = conn->next;
	return conn;
}

void vsock_pool_enter(struct vsock_conn *conn)
{
	struct vsock_conn **chain =
		bucket(conn->vsock, conn->host_port, conn->guest_port);

	conn->next = *chain;
	*chain = conn;
}

void vsock_pool_leave(struct vsock_conn *conn)
{
	struct vsock_conn **at =
		bucket(conn->vsock, conn->host_port, conn->guest_port);

	while (*at && *at != conn)
		at = &(*at)->next;
	if (*at)
		*at = conn->next;
}

/* As Firecracker's: from 2^30 up, where no listener of the host's is. */
uint32_t vsock_pool_port(struct vsock *vsock, uint32_t guest_port)
{
	do
		vsock->last_port =
			((vsock->last_port + 1) & 0x3fffffff) | 0x40000000;
	while (vsock_pool_find(vsock, vsock->last_port, guest_port));
	return vsock->last_port;
}

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
