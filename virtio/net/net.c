/*
 * virtio-net (virtio 1.2, 5.1): the device. It opens its host's side, offers
 * what that can do, and lets packets through when there is a reason: a kick, an
 * event on the descriptor, the timer.
 *
 * How large the next packet is, a tap does not say. So buffers for the largest
 * that may come are held ready in the window (net_window.h), one readv fills
 * as many as it needs, and the rest wait for the next packet. The driver hears
 * of a whole batch at once.
 *
 * Each chain is a header and a frame. The frame goes out from where it lies in
 * guest memory; whether that takes a system call for each (tap) or one for
 * many (stream) is the backend's matter. Used chains are published once for a
 * batch.
 *
 * A chain that cannot be a packet is dropped and given back, as a packet is
 * that the host's side refuses: a network may lose packets. While the host's
 * side is full, or a limit says so, the driver's chains stay in its queue.
 *
 * The descriptor is watched edge-triggered: while the guest has no buffers the
 * host's side may be full of packets, and that costs nothing until the driver
 * kicks. What is not done within one turn is left to the next event, which
 * arming the descriptor anew brings about (net_again).
 *
 * The driver is hostile, and so is whoever sends packets: the driver's buffers
 * are those that virtio/queue.c checked, and a packet that they cannot hold is
 * dropped. Without buffers nothing is read, so the host's side queues or drops,
 * and the driver's next kick continues here. Owns the descriptor
 * and the timer. The loop's thread; opening: the main thread.
 */
#include "virtio/net/net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/net/backend.h"

/* virtio 1.2, 5.1.4: struct virtio_net_config */
#define CONFIG_MAC     0
#define CONFIG_STATUS  6
#define CONFIG_PAIRS   8
#define CONFIG_MTU     10
#define CONFIG_LEN     12
#define STATUS_LINK_UP 1

#define NO_MEMORY_NS  10000000u
#define BURST_PER_S   20   /* a burst is what this part of a second allows */
#define MAC_LOCAL     0x02 /* IEEE 802: not from a vendor's range */
#define MAC_MULTICAST 0x01

static struct net *net_of(struct device *device)
{
	return (struct net *)(void *)device;
}

/* -- limits ---------------------------------------------------------------- */

static void way_init(struct net_way *way, const struct net_options *options)
{
	limiter_init(&way->bytes, options->bytes_per_s,
		     options->bytes_per_s / BURST_PER_S);
	limiter_init(&way->packets, options->packets_per_s,
		     options->packets_per_s / BURST_PER_S);
}

static bool is_limited(const struct net_way *way)
{
	return way->bytes.rate || way->packets.rate;
}

uint64_t net_way_wait(struct net_way *way)
{
	uint64_t now, bytes, packets;

	if (!is_limited(way))
		return 0;
	now = loop_now();
	bytes = limiter_take(&way->bytes, 0, now);
	packets = limiter_take(&way->packets, 0, now);
	return bytes > packets ? bytes : packets;
}

void net_way_charge(struct net_way *way, size_t bytes)
{
	uint64_t now;

	way->count++;
	way->total += bytes;
	if (!is_limited(way))
		return;
	now = loop_now();
	limiter_take(&way->bytes, bytes, now);
	limiter_take(&way->packets, 1, now);
}

/* One timer for both ways: the nearer time counts, and both are tried then. */
static void set_timer(struct net *net, uint64_t ns)
{
	uint64_t at = loop_now() + ns;

	if (net->timer_ns && net->timer_ns <= at)
		return;
	net->timer_ns = at;
	loop_timer_set(&net->timer, ns);
}

void net_limited(struct net *net, struct net_way *way, uint64_t ns)
{
	way->limited = true;
	set_timer(net, ns);
}

void net_no_memory(struct net *net)
{
	net->no_memory = true;
	set_timer(net, NO_MEMORY_NS);
}

struct net_turn net_turn_begin(const struct net_way *way)
{
	return (struct net_turn){
		.packets = way->count + way->dropped + NET_TURN,
		.bytes = way->total + NET_TURN_BYTES,
	};
}

bool net_turn_over(const struct net_way *way, const struct net_turn *turn)
{
	return way->count + way->dropped >= turn->packets ||
	       way->total >= turn->bytes;
}

/* -- the link ---------------------------------------------------------------
 */

/* Fails for a descriptor that is not added, which then has no events. */
static void watch(struct net *net, uint32_t events)
{
	net->watched = events | EPOLLET;
	loop_change(net->loop, &net->source, net->watched);
}

void net_again(struct net *net, uint32_t events)
{
	if (net->no_memory)
		return;
	if (!net->link_up) {
		set_timer(net, 1);
		return;
	}
	net->wants_out = net->wants_out || events & EPOLLOUT;
	watch(net, EPOLLIN | (net->wants_out ? EPOLLOUT : 0));
}

static void set_link(struct net *net, bool up)
{
	uint8_t status[2];

	net->link_up = up;
	put_le16(status, up ? STATUS_LINK_UP : 0);
	device_set_config(&net->device, CONFIG_STATUS, status, sizeof(status));
}

void net_link_down(struct net *net, const char *why)
{
	log_warn("%s: %s; the guest's link is down from now on", net->name,
		 why);
	loop_remove(net->loop, &net->source);
	close(net->source.fd);
	net->source.fd = -1;
	net->readable = net->blocked = false;
	set_link(net, false);
	/* What the driver still sends is to be dropped. */
	set_timer(net, 1);
}

void net_broken(struct net *net, const char *why)
{
	net->running = false;
	device_broken(&net->device, why);
}

/* -- packets to the guest ---------------------------------------------------
 */

static struct queue *rx_queue(struct net *net)
{
	return &net->device.queue[NET_RX];
}

/*
 * One more chain from the driver into the window. 5.1.6.3.1 wants room for a
 * header in each; what has none at all is not given back to be offered again,
 * by another vCPU, for as long as that likes to keep the loop here.
 */
static int take_chain(struct net *net)
{
	int taken = queue_pop(rx_queue(net), &net->chain);

	if (taken > 0 && net->chain.write_len) {
		net_window_add(&net->window, &net->chain);
		return taken;
	}
	if (taken)
		net_broken(net, taken < 0
					? "its receive queue is malformed"
					: "a receive buffer cannot be written");
	return taken < 0 ? taken : 0;
}

static bool enough(const struct net *net, size_t bytes)
{
	return net->mergeable ? net->window.bytes >= bytes : net->window.chains;
}

/*
 * All that the ring has is in the window: a small one, or one of small buffers.
 * A packet that they do not hold is lost, and no other is with it.
 */
static bool all_taken(const struct net *net)
{
	const unsigned size = net->device.queue[NET_RX].config.size;

	return net->window.chains >= size || net->window.segments >= size;
}

bool net_rx_reserve(struct net *net, size_t bytes)
{
	int taken = 1;

	while (!enough(net, bytes) && taken > 0 &&
	       net_window_has_room(&net->window)) {
		taken = take_chain(net);
		if (!taken)
			taken = queue_want_kick(rx_queue(net));
	}
	return (enough(net, bytes) || all_taken(net)) && net->running;
}

unsigned net_rx_iov(struct net *net, size_t skip, size_t len, size_t *bytes)
{
	const struct net_window *window = &net->window;

	/* 5.1.6.3.1: without MRG_RXBUF a packet has one chain to itself. */
	if (!net->mergeable) {
		size_t room = net_window_first(window)->bytes;

		room = room > skip ? room - skip : 0;
		len = len < room ? len : room;
	}
	return net_window_iov(window, skip, len, net->iov, NET_WINDOW_SEGMENTS,
			      bytes);
}

void net_rx_no_header(struct net *net)
{
	static const uint8_t header[NET_HEADER];

	net_window_put(&net->window, 0, header, sizeof(header));
}

static uint16_t count_chains(const struct net_window *window, size_t bytes)
{
	unsigned count = 0;

	while (bytes && count < window->chains) {
		const size_t room =
			window->chain[(window->first_chain + count++) %
				      NET_WINDOW_CHAINS]
				.bytes;

		bytes -= bytes < room ? bytes : room;
	}
	return (uint16_t)count;
}

void net_rx_deliver(struct net *net, size_t bytes)
{
	struct net_window *window = &net->window;
	uint16_t count = count_chains(window, bytes);
	uint8_t num_buffers[2];

	/* 5.1.6.4.1: 1 also without MRG_RXBUF */
	put_le16(num_buffers, count);
	net_window_put(window, NET_HEADER_NUM_BUFFERS, num_buffers,
		       sizeof(num_buffers));
	net_way_charge(&net->in, bytes - NET_HEADER);
	while (count--) {
		const struct net_window_chain *chain = net_window_first(window);
		const size_t written =
			bytes < chain->bytes ? bytes : chain->bytes;

		queue_push(rx_queue(net), chain->head, (uint32_t)written);
		net_window_drop(window);
		bytes -= written;
	}
}

/* Until the host's side has no more, or the guest's no buffers, or a limit. */
static void receive(struct net *net)
{
	const struct net_turn turn = net_turn_begin(&net->in);
	uint64_t wait;

	while (net->readable && net->running) {
		wait = net_way_wait(&net->in);
		if (wait) {
			net_limited(net, &net->in, wait);
			return;
		}
		if (net_turn_over(&net->in, &turn)) {
			net_again(net, EPOLLIN);
			return;
		}
		switch (net->backend->receive(net)) {
		case NET_DONE:
			break;
		case NET_STARVED:
			return;
		case NET_WAIT:
		case NET_GONE:
			net->readable = false;
			break;
		}
	}
}

void net_rx(struct net *net)
{
	struct queue *queue = rx_queue(net);

	/* A driver may stop a queue: its buffers are its own again. */
	if (!net->running || !net->link_up || net->in.limited || !queue->ready)
		return;
	queue_ignore_kicks(queue);
	receive(net);
	if (queue_publish(queue))
		device_interrupt(&net->device);
}

/* -- packets from the guest -------------------------------------------------
 */

static struct queue *tx_queue(struct net *net)
{
	return &net->device.queue[NET_TX];
}

static bool is_packet(const struct chain *chain)
{
	return chain->read_len >= NET_HEADER + NET_FRAME_MIN &&
	       chain->read_len <= NET_HEADER + NET_FRAME_MAX;
}

static void drop(struct net *net)
{
	net->out.dropped++;
	queue_push(tx_queue(net), net->chain.head, 0);
}

/* The packet in net->chain; false where the host's side is full. */
static bool send_packet(struct net *net)
{
	const size_t bytes = net->chain.read_len - NET_HEADER;

	switch (net->backend->send(net)) {
	case NET_DONE:
		net_way_charge(&net->out, bytes);
		return true;
	case NET_GONE:
		drop(net);
		return true;
	default:
		queue_unpop(tx_queue(net));
		net->blocked = true;
		return false;
	}
}

/* True when the queue is empty; else something goes on with it later. */
static bool send_some(struct net *net, const struct net_turn *turn)
{
	uint64_t wait;
	int popped;

	for (;;) {
		wait = net_way_wait(&net->out);
		if (wait) {
			net_limited(net, &net->out, wait);
			return false;
		}
		if (net_turn_over(&net->out, turn)) {
			net_again(net, EPOLLOUT);
			return false;
		}
		popped = queue_pop(tx_queue(net), &net->chain);
		if (popped < 0)
			net_broken(net, "its transmit queue is malformed");
		if (popped <= 0)
			return !popped;
		if (!net->link_up || !is_packet(&net->chain))
			drop(net);
		else if (!send_packet(net))
			return false;
	}
}

/* The same, and all of it is with the host afterwards. */
static bool send_and_flush(struct net *net, const struct net_turn *turn)
{
	bool empty = false;

	net->blocked = net->backend->flush(net) == NET_WAIT;
	if (!net->blocked)
		empty = send_some(net, turn);
	if (!net->blocked)
		net->blocked = net->backend->flush(net) == NET_WAIT;
	if (net->blocked)
		net_again(net, EPOLLOUT);
	return empty && !net->blocked;
}

void net_tx(struct net *net)
{
	const struct net_turn turn = net_turn_begin(&net->out);
	struct queue *queue = tx_queue(net);
	bool empty;

	if (!net->running || net->blocked || net->out.limited)
		return;
	do {
		queue_ignore_kicks(queue);
		empty = send_and_flush(net, &turn);
		if (queue_publish(queue))
			device_interrupt(&net->device);
	} while (empty && net->running && queue_want_kick(queue));
}

/* -- events -----------------------------------------------------------------
 */

static void on_timer(void *arg)
{
	struct net *net = arg;

	net->timer_ns = 0;
	net->in.limited = net->out.limited = false;
	if (net->no_memory) {
		net->no_memory = net->blocked = false;
		net->readable = net->link_up;
	}
	net_rx(net);
	net_tx(net);
}

static void on_event(void *arg, uint32_t events)
{
	struct net *net = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		net->readable = true;
	if (events & EPOLLOUT)
		net->wants_out = net->blocked = false;
	net_rx(net);
	if (events & EPOLLOUT)
		net_tx(net);
	if (!net->wants_out && net->watched & EPOLLOUT && net->link_up)
		watch(net, EPOLLIN);
}

/* -- the device's operations ----------------------------------------------- */

static void net_activate(struct device *device)
{
	struct net *net = net_of(device);

	net->mergeable = device_has(device, NET_F_MRG_RXBUF);
	net->running = true;
	net->blocked = false;
	/* An edge may have been seen while there was nobody to care. */
	net->readable = net->link_up;
	if (net->link_up)
		net->backend->start(net);
}

static void net_kick(struct device *device, unsigned queue)
{
	struct net *net = net_of(device);

	if (queue == NET_TX)
		net_tx(net);
	else
		net_rx(net);
}

static void net_reset(struct device *device)
{
	struct net *net = net_of(device);

	net->running = false;
	net->blocked = false;
	memset(&net->window, 0, offsetof(struct net_window, segment));
	if (net->link_up)
		net->backend->stop(net);
	else
		net->backend->stop_out(net);
}

static void net_drain(struct device *device, unsigned queue)
{
	struct net *net = net_of(device);

	if (queue == NET_TX)
		net->backend->stop_out(net);
}

static const struct device_ops ops = {
	.activate = net_activate,
	.kick = net_kick,
	.reset = net_reset,
	.drain = net_drain,
};

/* -- making ---------------------------------------------------------------- */

int net_refuse(const struct net *net, int error,
	       const struct net_advice *advice)
{
	while (advice->text && advice->error != error)
		advice++;
	log_error("%s: %s%s", net->name, strerror(error),
		  advice->text ? advice->text : "");
	return -error;
}

/* Random, so that guests of one image that meet on one bridge differ. */
static int choose_mac(struct net *net, const struct net_options *options)
{
	if (options->mac_text) {
		memcpy(net->mac, options->mac, NET_MAC_BYTES);
		return 0;
	}
	if (getrandom(net->mac, NET_MAC_BYTES, 0) != NET_MAC_BYTES)
		return log_errno("getrandom");
	net->mac[0] &= (uint8_t)~MAC_MULTICAST;
	net->mac[0] |= MAC_LOCAL;
	return 0;
}

static int open_backend(struct net *net, const struct net_options *options)
{
	struct stat status;

	switch (options->kind) {
	case NET_TAP:
		return net_tap_open(net, options->file.path);
	case NET_UNIX:
		return net_stream_open(net, options->file.path);
	default:
		break;
	}
	if (fstat(options->file.fd, &status) < 0) {
		log_error("%s: no such descriptor is open; whoever starts "
			  "mote must leave it open",
			  net->name);
		return -EBADF;
	}
	if (S_ISSOCK(status.st_mode))
		return net_stream_take(net, options->file.fd);
	return net_tap_take(net, options->file.fd);
}

static void set_name(struct net *net, const struct net_options *options,
		     unsigned number)
{
	static const char *const forms[] = {
		[NET_TAP] = "tap=", [NET_UNIX] = "unix=", [NET_FD] = "fd="
	};
	char digits[16];

	snprintf(digits, sizeof(digits), "%d", options->file.fd);
	snprintf(net->name, sizeof(net->name), "net %u (%s%s)", number,
		 forms[options->kind],
		 options->kind == NET_FD ? digits : options->file.path);
}

int net_open(struct net *net, const struct net_options *options,
	     unsigned number)
{
	int fd;

	memset(net, 0, sizeof(*net));
	net->source.fd = net->timer.source.fd = -1;
	net->mtu = options->mtu;
	set_name(net, options, number);
	way_init(&net->in, options);
	way_init(&net->out, options);
	if (choose_mac(net, options))
		return -EIO;
	fd = open_backend(net, options);
	if (fd < 0)
		return fd;
	net->source.fd = fd;
	net->link_up = true;
	return 0;
}

bool net_is_stream(const struct net *net)
{
	return net->backend == &net_stream_backend;
}

static void fill_config(struct net *net)
{
	uint8_t *config = net->device.config;

	net->device.config_len = CONFIG_LEN;
	memcpy(config + CONFIG_MAC, net->mac, NET_MAC_BYTES);
	put_le16(config + CONFIG_STATUS, STATUS_LINK_UP);
	put_le16(config + CONFIG_PAIRS, 1);
	put_le16(config + CONFIG_MTU, (uint16_t)net->mtu);
}

int net_create(struct net *net, struct loop *loop)
{
	struct device *device = &net->device;
	int error;

	device->ops = &ops;
	device->id = DEVICE_NET;
	device->name = net->name;
	/* The backend has put what it can do there. */
	device->features |= NET_F_MAC | NET_F_STATUS | NET_F_MRG_RXBUF |
			    (net->mtu ? NET_F_MTU : 0);
	device->queue_count = NET_QUEUES;
	device->queue_size = QUEUE_SIZE_MAX;
	fill_config(net);
	net->loop = loop;
	net->source.ready = on_event;
	net->source.arg = net;
	net->watched = EPOLLIN | EPOLLET;
	error = loop_timer_create(loop, &net->timer, on_timer, net);
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
	}
	if (net->source.fd >= 0)
		close(net->source.fd);
	net->source.fd = -1;
	net->loop = NULL;
}
