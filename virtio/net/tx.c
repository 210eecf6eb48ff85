/*
 * virtio-net, from the guest: chains of the transmit queue to the host's side
 * (virtio 1.2, 5.1.6.2).
 *
 * Each chain is a header and a frame. The frame goes out from where it lies in
 * guest memory; whether that takes a system call for each (tap) or one for
 * many (stream) is the backend's matter. Used chains are published once for a
 * batch.
 *
 * A chain that cannot be a packet is dropped and given back, as a packet is
 * that the host's side refuses: a network may lose packets. While the host's
 * side is full, or a limit says so, the driver's chains stay in its queue.
 * The loop's thread.
 */
#include "virtio/net/backend.h"

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
