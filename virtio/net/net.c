/*
 * virtio-net (virtio 1.2, 5.1): the device. It opens its host's side, offers
 * what that can do, and lets packets through, in net_rx.c and net_tx.c, when
 * there is a reason: a kick, an event on the descriptor, the timer.
 *
 * The descriptor is watched edge-triggered: while the guest has no buffers the
 * host's side may be full of packets, and that costs nothing until the driver
 * kicks. What is not done within one turn is left to the next event, which
 * arming the descriptor anew brings about (net_again).
 *
 * The driver is hostile, and so is whoever sends packets. Owns the descriptor
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

/* -- events ---------------------------------------------------------------- */

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
