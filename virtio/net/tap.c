/*
 * A tap interface as the host's side of virtio-net
 * (Documentation/networking/tuntap.rst).
 *
 * A tap with IFF_VNET_HDR speaks virtio's own header, so what the driver left
 * undone, checksums and segmentation, passes through: a packet is one readv
 * into the driver's buffers, or one writev out of them, header and all. What
 * the host may leave undone towards the guest is told to the tap when the
 * features are negotiated (TUNSETOFFLOAD). A tap without that header, opened
 * by somebody else, works too, without offloads.
 *
 * The kernel judges the headers that the guest writes (virtio_net_hdr_to_skb);
 * what it refuses is dropped. Opening is in net_tap_open.c. Owns nothing: net.c
 * closes. The loop's thread.
 */
#include <errno.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mem/util.h"
#include "virtio/net/backend.h"

#define STALE_MAX 4096 /* packets; a tap queues 1000 unless told otherwise */

/* What the host may leave to a driver that has negotiated it. */
static const struct {
	uint64_t feature;
	unsigned offload;
} offloads[] = {
	{ NET_F_GUEST_CSUM, TUN_F_CSUM },
	{ NET_F_GUEST_TSO4, TUN_F_TSO4 },
	{ NET_F_GUEST_TSO6, TUN_F_TSO6 },
	{ NET_F_GUEST_ECN, TUN_F_TSO_ECN },
};

static unsigned offload_of(uint64_t features)
{
	unsigned offload = 0;

	/* 5.1.3.1: all others require the first. */
	for (size_t i = 0;
	     features & NET_F_GUEST_CSUM && i < ARRAY_LEN(offloads); i++)
		if (features & offloads[i].feature)
			offload |= offloads[i].offload;
	if (!(offload & (TUN_F_TSO4 | TUN_F_TSO6)))
		offload &= ~(unsigned)TUN_F_TSO_ECN;
	return offload;
}

/* -- packets --------------------------------------------------------------- */

static void set_offload(struct net *net, unsigned offload)
{
	if (net->tap.header && net->tap.offload != offload &&
	    !ioctl(net->source.fd, TUNSETOFFLOAD, (unsigned long)offload))
		net->tap.offload = offload;
}

/*
 * What came while no driver was there is lost, as on any link that is down:
 * it may have been made for other features.
 */
static void drop_stale(struct net *net)
{
	uint8_t header[NET_HEADER];
	unsigned count = 0;

	while (count++ < STALE_MAX &&
	       read(net->source.fd, header, sizeof(header)) >= 0)
		;
}

static void tap_start(struct net *net)
{
	const uint64_t acked = net->device.acked;
	const bool large = acked & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6);

	set_offload(net, offload_of(acked));
	net->tap.gather = NET_HEADER + NET_FRAME_MAX;
	if (!large && net->tap.mtu)
		net->tap.gather = NET_HEADER + NET_LINK_BYTES + net->tap.mtu;
	drop_stale(net);
}

static void tap_stop(struct net *net)
{
	set_offload(net, 0);
}

/* Nothing is kept: what a write does not take is still in the queue. */
static void tap_stop_out(struct net *net)
{
	(void)net;
}

/* The tap itself fails; a packet that it does not like is another matter. */
static enum net_outcome failed(struct net *net, int error)
{
	if (error == EAGAIN || error == EINTR)
		return NET_WAIT;
	if (error != EBADFD)
		return NET_DONE;
	net_link_down(net, "the interface has been deleted");
	return NET_GONE;
}

static enum net_outcome tap_receive(struct net *net)
{
	const size_t before = NET_HEADER - net->tap.header;
	unsigned count;
	size_t room;
	ssize_t len;

	if (!net_rx_reserve(net, net->tap.gather))
		return NET_STARVED;
	count = net_rx_iov(net, before, net->tap.gather - before, &room);
	/* A packet that is cut off is as long as all there is, so one more. */
	net->iov[count++] = (struct iovec){ &net->spill, 1 };
	len = readv(net->source.fd, net->iov, (int)count);
	if (len < 0 && errno == EINVAL) {
		net->in.dropped++; /* a kind that the header has no word for */
		return NET_DONE;
	}
	if (len < 0 && errno != EAGAIN && errno != EBADFD)
		return NET_WAIT;
	if (len < 0)
		return failed(net, errno);
	if ((size_t)len > room ||
	    (size_t)len < net->tap.header + NET_FRAME_MIN) {
		net->in.dropped++;
		return NET_DONE;
	}
	/* 5.1.6.4.1: without GUEST_CSUM it says nothing. */
	if (!net->tap.header || !device_has(&net->device, NET_F_GUEST_CSUM))
		net_rx_no_header(net);
	net_rx_deliver(net, before + (size_t)len);
	return NET_DONE;
}

static enum net_outcome tap_send(struct net *net)
{
	const struct chain *chain = &net->chain;
	const struct iovec *iov = chain->segment;
	unsigned count = chain->readable;
	ssize_t len;

	if (!net->tap.header) {
		struct cursor cursor = chain_reader(chain);
		size_t bytes;

		cursor_skip(&cursor, NET_HEADER);
		count = cursor_iov(&cursor, cursor.left, net->iov,
				   NET_WINDOW_SEGMENTS, &bytes);
		iov = net->iov;
	}
	len = writev(net->source.fd, iov, (int)count);
	if (len < 0 && errno != EAGAIN && errno != EBADFD)
		net->out.dropped++;
	else if (len < 0)
		return failed(net, errno);
	queue_push(&net->device.queue[NET_TX], chain->head, 0);
	return NET_DONE;
}

static enum net_outcome tap_flush(struct net *net)
{
	(void)net;
	return NET_DONE;
}

const struct net_backend net_tap_backend = {
	.start = tap_start,
	.stop = tap_stop,
	.stop_out = tap_stop_out,
	.receive = tap_receive,
	.send = tap_send,
	.flush = tap_flush,
};
