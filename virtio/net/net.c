/* SPDX-License-Identifier: Apache-2.0 */
/*
 * virtio-net (virtio 1.2, 5.1): the device, both directions.
 *
 * The parts. A back end (backend.h) moves packets between guest memory and the
 * host: tap.c or stream.c. rx_buffers.c holds the buffers that the driver has
 * given for what comes in. This file calls the back end, and the back end takes
 * buffers from rx_buffers.c; neither calls back. They answer with an outcome,
 * and this file decides what follows. Nothing is copied: a frame is read into,
 * and written from, where it lies in guest memory. Used chains are published,
 * and the driver interrupted, once for a batch.
 *
 * States. The device is off, `running` from DRIVER_OK to reset, or broken by
 * its driver until then. Its link is up until the other end is gone for good;
 * then it stays down: what the driver sends is dropped, and nothing comes in.
 * While device and link allow it, a direction moves packets until one of these
 * stops it:
 *
 *	it stops because		and goes on with
 *	nothing has come (in)		an event: the descriptor is readable
 *	no receive buffers (in)		the driver's next kick
 *	no packets (out)		the driver's next kick
 *	the host's side is full (out)	an event: EPOLLOUT
 *	the host has no memory		the timer, after NO_MEMORY_NS
 *	a limit (bw=, pps=)		the timer, when the bucket has filled
 *	the budget is spent		loop_defer, after the other devices
 *
 * The descriptor is watched edge-triggered: while the guest has no buffers the
 * host's side may be full of packets, and that costs nothing. `readable`
 * remembers the edge. EPOLLOUT is watched only while something waits for it.
 *
 * An example: a ping's answer. The tap becomes readable, net_on_event calls
 * net_service_rx, which finds no limit reached and budget left. tap_receive
 * reserves buffers, so rx_buffers.c pops chains off the queue until the largest
 * packet would fit, reads the packet into the first of them and answers
 * NET_DONE. The chain is delivered with the packet's size; the others wait for
 * the next packet. The next read answers NET_WAIT; the used ring is published,
 * one interrupt raised. The guest's next ping: a kick, net_service_tx pops the
 * chain, tap_send writes it and pushes it back used; a stream would gather it,
 * and flush send many with one system call.
 *
 * A chain that cannot be a packet is dropped and given back, as a packet is
 * that the host refuses: a network may lose packets. What the host's side does
 * not take now is not lost, it stays in the driver's queue.
 *
 * The driver is hostile, and so is whoever sends packets. Owns the descriptor
 * and the timer. The loop's thread; opening: the main thread.
 */
#include "virtio/net/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

/* virtio 1.2, 5.1.4: struct virtio_net_config */
#define CONFIG_MAC     0
#define CONFIG_STATUS  6
#define CONFIG_PAIRS   8
#define CONFIG_MTU     10
#define CONFIG_LEN     12
#define STATUS_LINK_UP 1

#define NO_MEMORY_NS  10000000u
#define PATIENCE_NS   500000u /* Linux lets TCP send 1 ms ahead (TSQ) */
#define BURST_PER_S   20      /* a burst is what this part of a second allows */
#define MAC_LOCAL     0x02    /* IEEE 802: not from a vendor's range */
#define MAC_MULTICAST 0x01

static struct net *net_of_device(struct device *device)
{
	return (struct net *)(void *)device;
}

/* -- limits and budgets ---------------------------------------------------- */

static void direction_init(struct net_direction *direction,
			   const struct net_options *options)
{
	limiter_init(&direction->bytes, options->bytes_per_s,
		     options->bytes_per_s / BURST_PER_S);
	limiter_init(&direction->packets, options->packets_per_s,
		     options->packets_per_s / BURST_PER_S);
}

/* One timer for all: the nearest time counts, and everything is tried then. */
static void net_set_timer(struct net *net, uint64_t ns)
{
	uint64_t at = loop_now() + ns;

	if (net->timer_ns && net->timer_ns <= at)
		return;
	net->timer_ns = at;
	loop_timer_set(&net->timer, ns);
}

/* So many tokens off both buckets: 0, or the ns to wait and none was taken. */
static uint64_t direction_take(struct net_direction *direction,
			       uint64_t packets, uint64_t bytes)
{
	uint64_t now, wait, wait_bytes;

	if (!direction->bytes.rate && !direction->packets.rate)
		return 0;
	now = loop_now();
	wait = limiter_take(&direction->packets, packets, now);
	wait_bytes = limiter_take(&direction->bytes, bytes, now);
	return wait > wait_bytes ? wait : wait_bytes;
}

/* A packet came to its turn, whatever becomes of it. */
static void count_throttled_packet(struct net_direction *direction)
{
	direction->throttles += direction->throttled;
	direction->throttled = false;
}

/* A packet has gone this way. */
static void count_packet(struct net_direction *direction, size_t bytes)
{
	direction->count++;
	direction->total += bytes;
	count_throttled_packet(direction);
}

static void count_dropped(struct net_direction *direction)
{
	direction->dropped++;
	count_throttled_packet(direction);
}

/* Packets that were lost are work, too. */
static void direction_start_budget(struct net_direction *direction)
{
	direction->budget = direction->count + direction->dropped + NET_BUDGET;
	direction->budget_bytes = direction->total + NET_BUDGET_BYTES;
}

/* May one more packet go this way now? If not, it goes on by itself later. */
static bool direction_may_go_on(struct net *net,
				struct net_direction *direction)
{
	uint64_t wait = direction_take(direction, 0, 0);

	if (wait) {
		direction->limited = direction->throttled = true;
		net_set_timer(net, wait);
		return false;
	}
	if (direction->count + direction->dropped < direction->budget &&
	    direction->total < direction->budget_bytes)
		return true;
	loop_defer(net->loop, &direction->more);
	return false;
}

/* -- the link -------------------------------------------------------------- */

/* Fails for a descriptor that is not added, which then has no events. */
static void net_watch(struct net *net, uint32_t events)
{
	net->watched = events | EPOLLET;
	loop_change(net->loop, &net->source, net->watched);
}

/* The other end is lost for good: tells the guest, and the user why. */
static void net_link_down(struct net *net)
{
	uint8_t status[2];

	if (!net->link_up)
		return;
	log_warn("%s: %s; the guest's link is down from now on", net->name,
		 net->backend.gone);
	loop_remove(net->loop, &net->source);
	close(net->backend.fd);
	net->backend.fd = net->source.fd = -1;
	net->link_up = net->readable = net->blocked = false;
	put_le16(status, 0);
	device_set_config(&net->device, CONFIG_STATUS, status, sizeof(status));
	/* What the driver still sends is to be dropped. */
	loop_defer(net->loop, &net->out.more);
}

static void net_wait_for_memory(struct net *net)
{
	net->no_memory = true;
	net_set_timer(net, NO_MEMORY_NS);
}

static void net_break(struct net *net, const char *why)
{
	net->running = false;
	device_broken(&net->device, why);
}

/* The driver looks at both queues, whichever it is interrupted for. */
static void net_interrupt(struct net *net)
{
	lazy_told(&net->sent);
	device_interrupt(&net->device);
}

/* -- packets to the guest -------------------------------------------------- */

static void receive_packets(struct net *net)
{
	struct net_backend *backend = &net->backend;
	size_t bytes;

	while (net->readable && net->running &&
	       direction_may_go_on(net, &net->in)) {
		switch (backend->ops->receive(backend, &net->rx, &bytes)) {
		case NET_DONE:
			rx_buffers_deliver(&net->rx, bytes,
					   backend->clear_header);
			count_packet(&net->in, bytes - NET_HEADER);
			direction_take(&net->in, 1, bytes - NET_HEADER);
			break;
		case NET_DROPPED:
			count_dropped(&net->in);
			break;
		case NET_STARVED:
			if (net->rx.broken)
				net_break(net, net->rx.broken);
			return;
		case NET_NO_MEMORY:
			net_wait_for_memory(net);
			net->readable = false;
			break;
		case NET_WAIT:
			net->readable = net->in.throttled = false;
			break;
		case NET_GONE:
			net_link_down(net);
			break;
		}
	}
}

static void net_service_rx(void *arg)
{
	struct net *net = arg;
	struct queue *queue = &net->device.queue[NET_RX];

	/* A driver may stop a queue: its buffers are its own again. */
	if (!net->running || !net->link_up || net->in.limited ||
	    !queue->ready || net->device.paused)
		return;
	direction_start_budget(&net->in);
	queue_ignore_kicks(queue);
	receive_packets(net);
	if (queue_publish(queue))
		net_interrupt(net);
}

/* -- packets from the guest ------------------------------------------------ */

static bool chain_is_packet(const struct chain *chain)
{
	return chain->read_len >= NET_HEADER + NET_FRAME_MIN &&
	       chain->read_len <= NET_HEADER + NET_FRAME_MAX;
}

/* It is at the queue's head, no chain before it is held. */
static void drop_sent_packet(struct net *net)
{
	count_dropped(&net->out);
	queue_push(&net->device.queue[NET_TX], net->tx.head, 0);
}

/* Acts on what sending came to; false where the rest has to wait. */
static bool net_may_send(struct net *net, enum net_outcome outcome)
{
	if (outcome == NET_GONE)
		net_link_down(net);
	else if (outcome == NET_WAIT)
		net_watch(net, EPOLLIN | EPOLLOUT);
	else if (outcome == NET_NO_MEMORY)
		net_wait_for_memory(net);
	net->blocked = outcome == NET_WAIT || outcome == NET_NO_MEMORY;
	return !net->blocked;
}

/* What the back end has taken; false where it has to wait. */
static bool flush_packets(struct net *net)
{
	struct net_backend *backend = &net->backend;

	return !backend->ops->flush ||
	       net_may_send(net, backend->ops->flush(
					 backend, &net->device.queue[NET_TX]));
}

/*
 * The chain in net->tx, as it comes to its turn: chains go back in order, so
 * that those which are held are the last that were taken (net_taken). False
 * where it has to wait in the queue.
 */
static bool net_drop_packet(struct net *net)
{
	if (!flush_packets(net)) {
		queue_unpop(&net->device.queue[NET_TX]);
		return false;
	}
	drop_sent_packet(net);
	return true;
}

/* The packet in net->tx; false where it has to wait in the queue. */
static bool net_send_packet(struct net *net)
{
	const size_t bytes = net->tx.read_len - NET_HEADER;
	struct queue *queue = &net->device.queue[NET_TX];
	enum net_outcome outcome;

	outcome = net->backend.ops->send(&net->backend, queue, &net->tx);
	if (!net_may_send(net, outcome)) {
		queue_unpop(queue);
		return false;
	}
	if (outcome == NET_DONE)
		count_packet(&net->out, bytes);
	else
		drop_sent_packet(net);
	/* What the host has refused was its work, too. */
	if (outcome != NET_GONE)
		direction_take(&net->out, 1, bytes);
	return true;
}

/* True when the queue is empty; else something goes on with it later. */
static bool send_packets(struct net *net)
{
	int popped;

	while (direction_may_go_on(net, &net->out)) {
		popped = queue_pop(&net->device.queue[NET_TX], &net->tx);
		if (popped < 0)
			net_break(net, "its transmit queue is malformed");
		if (popped <= 0) {
			net->out.throttled = false;
			return !popped;
		}
		if (!(net->link_up && chain_is_packet(&net->tx)
			      ? net_send_packet(net)
			      : net_drop_packet(net)))
			return false;
	}
	return false;
}

/* That packets are sent is seldom waited for: the driver may learn it later. */
static void net_publish_sent(struct net *net, uint64_t bytes)
{
	const bool due = net->sent.due_ns;

	if (lazy_publish(&net->sent, bytes))
		device_interrupt(&net->device);
	else if (net->sent.due_ns && !due)
		net_set_timer(net, PATIENCE_NS);
}

static void net_tell_sent(struct net *net)
{
	const uint64_t now = loop_now(), due = net->sent.due_ns;

	if (now < due)
		net_set_timer(net, due - now);
	else if (due && lazy_expired(&net->sent))
		device_interrupt(&net->device);
}

static void net_service_tx(void *arg)
{
	struct net *net = arg;
	struct queue *queue = &net->device.queue[NET_TX];
	uint64_t before;
	bool empty;

	if (!net->running || net->blocked || net->out.limited ||
	    net->device.paused)
		return;
	direction_start_budget(&net->out);
	do {
		before = net->out.total;
		queue_ignore_kicks(queue);
		empty = flush_packets(net) && send_packets(net);
		if (!net->blocked)
			empty = flush_packets(net) && empty;
		net_publish_sent(net, net->out.total - before);
	} while (empty && net->running && queue_want_kick(queue));
}

/* -- events ---------------------------------------------------------------- */

static void net_on_timer(void *arg)
{
	struct net *net = arg;

	net->timer_ns = 0;
	net->in.limited = net->out.limited = false;
	if (net->no_memory) {
		net->no_memory = net->blocked = false;
		net->readable = net->link_up;
	}
	net_service_rx(net);
	net_service_tx(net);
	net_tell_sent(net);
}

static void net_on_event(void *arg, uint32_t events)
{
	struct net *net = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		net->readable = true;
	if (events & EPOLLOUT)
		net->blocked = false;
	net_service_rx(net);
	if (events & EPOLLOUT)
		net_service_tx(net);
	if (!net->blocked && net->watched & EPOLLOUT && net->link_up)
		net_watch(net, EPOLLIN);
}

/* -- the device's operations ----------------------------------------------- */

static void net_activate(struct device *device)
{
	struct net *net = net_of_device(device);
	struct net_backend *backend = &net->backend;

	rx_buffers_start(&net->rx, &device->queue[NET_RX],
			 device_has(device, NET_F_MRG_RXBUF));
	lazy_start(&net->sent, &device->queue[NET_TX], PATIENCE_NS);
	net->running = true;
	net->blocked = net->in.throttled = net->out.throttled = false;
	/* An edge may have been seen while there was nobody to care. */
	net->readable = net->link_up;
	if (net->link_up && backend->ops->start)
		backend->ops->start(backend, device->acked);
}

static void net_kick(struct device *device, unsigned queue)
{
	if (queue == NET_TX)
		net_service_tx(net_of_device(device));
	else
		net_service_rx(net_of_device(device));
}

/* Nothing is ever in flight when it returns: packets go by system calls. */
static bool net_cancel(struct device *device, uint32_t queues)
{
	struct net *net = net_of_device(device);
	struct net_backend *backend = &net->backend;

	if (queues == DEVICE_ALL_QUEUES) {
		net->running = false;
		net->blocked = false;
		backend->ops->stop(backend);
	} else if (queues & 1u << NET_TX && backend->ops->stop_out) {
		backend->ops->stop_out(backend);
	}
	return true;
}

/*
 * Buffers that nothing was put into, and packets that have not gone: at most a
 * part of one has, which the other end of a new connection does not know.
 */
static unsigned net_taken(struct device *device, unsigned queue)
{
	const struct net *net = net_of_device(device);
	const struct net_backend *backend = &net->backend;

	if (queue == NET_RX)
		return net->rx.chains;
	return backend->ops->held ? backend->ops->held(backend) : 0;
}

void net_counters(const struct net *net, uint64_t value[NET_COUNTERS])
{
	const struct net_direction *in = &net->in, *out = &net->out;

	value[NET_RX_PACKETS] = in->count;
	value[NET_RX_BYTES] = in->total;
	value[NET_RX_DROPPED] = in->dropped;
	value[NET_RX_THROTTLED] = in->throttles;
	value[NET_TX_PACKETS] = out->count;
	value[NET_TX_BYTES] = out->total;
	value[NET_TX_DROPPED] = out->dropped;
	value[NET_TX_THROTTLED] = out->throttles;
}

/* A pause needs nothing more than that both services heed device.paused. */
static const struct device_ops net_device_ops = {
	.activate = net_activate,
	.kick = net_kick,
	.cancel = net_cancel,
	.taken = net_taken,
};

void net_state(struct net *net, struct state *s)
{
	uint8_t *config = net->device.config, *mac = net->saved_mac;
	uint16_t mtu = get_le16(config + CONFIG_MTU);

	memcpy(mac, config + CONFIG_MAC, NET_MAC_BYTES);
	state_bytes(s, mac, NET_MAC_BYTES);
	state_u16(s, &mtu);
	if (!state_check(s, !(mac[0] & MAC_MULTICAST),
			 "its address is not one of a single guest's") ||
	    !s->loading)
		return;
	if (!net->own_mac)
		memcpy(net->mac, mac, NET_MAC_BYTES);
	memcpy(config + CONFIG_MAC, net->mac, NET_MAC_BYTES);
	if (!mtu)
		return;
	put_le16(config + CONFIG_MTU, mtu);
	if (net->backend.tap.mtu && mtu > net->backend.tap.mtu)
		log_warn("%s: the guest's MTU is %u and the interface's %u: "
			 "larger packets reach the host only",
			 net->name, mtu, net->backend.tap.mtu);
}

/* -- making ---------------------------------------------------------------- */

/* Random, so that guests of one image that meet on one bridge differ. */
static int choose_mac(struct net *net, const struct net_options *options)
{
	if (options->mac_text) {
		memcpy(net->mac, options->mac, NET_MAC_BYTES);
		net->own_mac = true;
		return 0;
	}
	if (getrandom(net->mac, NET_MAC_BYTES, 0) != NET_MAC_BYTES)
		return log_errno("getrandom");
	net->mac[0] &= (uint8_t)~MAC_MULTICAST;
	net->mac[0] |= MAC_LOCAL;
	return 0;
}

static int take_backend(struct net *net, int fd)
{
	struct stat status;
	int error;

	if (fstat(fd, &status) < 0) {
		log_error("%s: no such descriptor is open; whoever starts "
			  "mote must leave it open",
			  net->name);
		return -EBADF;
	}
	error = S_ISSOCK(status.st_mode) ? net_stream_take(&net->backend, fd)
					 : net_tap_take(&net->backend, fd);
	if (!error && (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
		       fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0))
		error = log_errno(net->name);
	return error;
}

static void net_set_name(struct net *net, const struct net_options *options,
			 unsigned number)
{
	if (options->kind == NET_USER)
		snprintf(net->name, sizeof(net->name), "net %u (user)", number);
	else if (options->kind == NET_FD)
		snprintf(net->name, sizeof(net->name), "net %u (fd=%d)", number,
			 options->file.fd);
	else
		snprintf(net->name, sizeof(net->name), "net %u (%s=%s)", number,
			 options->kind == NET_TAP ? "tap" : "unix",
			 options->file.path);
	net->device.name = net->backend.name = net->name;
}

static int open_user(struct net *net, const struct net_options *options)
{
	const int fd = passt_start(net->name, options->publish,
				   options->publish_count, &net->passt_channel);

	if (!net->backend.mtu)
		net->backend.mtu = PASST_MTU;
	return fd < 0 ? fd : net_stream_take(&net->backend, fd);
}

int net_open(struct net *net, const struct net_options *options,
	     unsigned number)
{
	int error;

	net->backend.fd = net->source.fd = net->timer.source.fd = -1;
	net->passt_channel = -1;
	net->backend.mtu = options->mtu;
	net_set_name(net, options, number);
	direction_init(&net->in, options);
	direction_init(&net->out, options);
	if (choose_mac(net, options))
		return -EIO;
	if (options->kind == NET_TAP)
		error = net_tap_open(&net->backend, options->file.path);
	else if (options->kind == NET_USER)
		error = open_user(net, options);
	else if (options->kind == NET_UNIX)
		error = net_stream_open(&net->backend, options->file.path);
	else
		error = take_backend(net, options->file.fd);
	if (error)
		net->backend.fd = -1;
	net->link_up = !error;
	return error;
}

int net_wait(struct net *net)
{
	const int channel = net->passt_channel;

	net->passt_channel = -1;
	return channel < 0 ? 0 : passt_wait(net->name, channel);
}

bool net_is_stream(const struct net *net)
{
	return net->backend.ops == &net_stream_ops;
}

static void net_fill_config(struct net *net)
{
	uint8_t *config = net->device.config;

	net->device.config_len = CONFIG_LEN;
	memcpy(config + CONFIG_MAC, net->mac, NET_MAC_BYTES);
	put_le16(config + CONFIG_STATUS, STATUS_LINK_UP);
	put_le16(config + CONFIG_PAIRS, 1);
	put_le16(config + CONFIG_MTU, (uint16_t)net->backend.mtu);
}

int net_create(struct net *net, struct loop *loop)
{
	struct device *device = &net->device;
	int error;

	device->ops = &net_device_ops;
	device->id = DEVICE_NET;
	device->features = net->backend.features | NET_F_MAC | NET_F_STATUS |
			   NET_F_MRG_RXBUF | (net->backend.mtu ? NET_F_MTU : 0);
	device->queue_count = NET_QUEUES;
	device->queue_size = QUEUE_SIZE_MAX;
	net_fill_config(net);
	net->loop = loop;
	net->in.more = (struct loop_work){ .run = net_service_rx, .arg = net };
	net->out.more = (struct loop_work){ .run = net_service_tx, .arg = net };
	net->source =
		(struct loop_source){ net->backend.fd, net_on_event, net };
	net->watched = EPOLLIN | EPOLLET;
	error = loop_timer_create(loop, &net->timer, net_on_timer, net);
	if (error)
		return error;
	error = loop_add(loop, &net->source, net->watched);
	if (error)
		log_error("%s: cannot be watched: %s", net->name,
			  strerror(-error));
	return error;
}

void net_destroy(struct net *net)
{
	if (net->loop) {
		loop_timer_destroy(net->loop, &net->timer);
		loop_remove(net->loop, &net->source);
		loop_cancel(net->loop, &net->in.more);
		loop_cancel(net->loop, &net->out.more);
	}
	if (net->backend.fd >= 0)
		close(net->backend.fd);
	net->backend.fd = net->source.fd = -1;
	net->loop = NULL;
}
