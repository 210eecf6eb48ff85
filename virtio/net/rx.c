/*
 * virtio-net, towards the guest: packets from the host's side straight into
 * the driver's receive buffers (virtio 1.2, 5.1.6.3 and 5.1.6.4).
 *
 * How large the next packet is, a tap does not say. So buffers for the largest
 * that may come are held ready in the window (net_window.h), one readv fills
 * as many as it needs, and the rest wait for the next packet. The driver hears
 * of a whole batch at once.
 *
 * Trusts nobody: the driver's buffers are those that virtio/queue.c checked,
 * and a packet that they cannot hold is dropped. Without buffers nothing is
 * read, so the host's side queues or drops, and the driver's next kick
 * continues here. The loop's thread.
 */
#include "mem/util.h"
#include "virtio/net/backend.h"

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
