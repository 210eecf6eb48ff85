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
