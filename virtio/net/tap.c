/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tap interface as the host's side of virtio-net
 * (Documentation/networking/tuntap.rst).
 *
 * A tap with IFF_VNET_HDR speaks virtio's own header, so what the driver left
 * undone, checksums and segmentation, passes through: a packet is one readv
 * into the driver's buffers, or one writev out of them, header and all. What
 * the host may leave undone towards the guest is told to the tap when the
 * features are negotiated (TUNSETOFFLOAD). A tap without that header, opened
 * by somebody else, works too, without offloads. The kernel judges the headers
 * that the guest writes (virtio_net_hdr_to_skb) and refuses bad ones.
 *
 * A tap does not say how large its next packet is. So receive buffers for the
 * largest that may come are reserved, and readv fills as many as it needs.
 *
 * An interface is opened by name, or a descriptor of one is taken over. It is
 * never made here: the kernel would make one of any name for root, and a
 * misspelt name would give a guest a network that leads nowhere. Each failure
 * that a user can mend says how. The command line is trusted, but not that a
 * descriptor is what it should be.
 *
 * Owns nothing: net.c closes the descriptor. The loop's thread; opening: the
 * main thread, before the sandbox closes in.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/net/backend.h"

#define TUN_PATH     "/dev/net/tun"
#define TAP_FLAGS    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define ALL_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)
#define STALE_MAX    4096 /* packets; a tap queues 1000 unless told otherwise */

/* -- the driver comes and goes --------------------------------------------- */

/* What the host may leave to a driver that has negotiated it. */
static unsigned tap_offloads(uint64_t acked)
{
	const bool tso4 = acked & NET_F_GUEST_TSO4;
	const bool tso6 = acked & NET_F_GUEST_TSO6;

	/* 5.1.3.1: all others require the first. */
	if (!(acked & NET_F_GUEST_CSUM))
		return 0;
	return TUN_F_CSUM | (tso4 ? TUN_F_TSO4 : 0) | (tso6 ? TUN_F_TSO6 : 0) |
	       ((tso4 || tso6) && acked & NET_F_GUEST_ECN ? TUN_F_TSO_ECN : 0);
}

static void tap_set_offloads(const struct net_backend *backend,
			     unsigned offloads)
{
	if (backend->tap.header)
		ioctl(backend->fd, TUNSETOFFLOAD, (unsigned long)offloads);
}

/*
 * What came while no driver was there is lost, as on any link that is down: it
 * may have been made for other features.
 */
static void tap_drop_stale(const struct net_backend *backend)
{
	uint8_t header[NET_HEADER];
	unsigned count = 0;

	while (count++ < STALE_MAX &&
	       read(backend->fd, header, sizeof(header)) >= 0)
		;
}

static void tap_start(struct net_backend *backend, uint64_t acked)
{
	struct net_tap *tap = &backend->tap;
	const bool large = acked & (NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6);

	tap_set_offloads(backend, tap_offloads(acked));
	tap->gather = NET_HEADER + NET_FRAME_MAX;
	if (!large && tap->mtu)
		tap->gather = NET_HEADER + NET_LINK_BYTES + tap->mtu;
	/* 5.1.6.4.1: without GUEST_CSUM it says nothing. */
	backend->clear_header = !tap->header || !(acked & NET_F_GUEST_CSUM);
	tap_drop_stale(backend);
}

static void tap_stop(struct net_backend *backend)
{
	tap_set_offloads(backend, 0);
}

/* -- packets --------------------------------------------------------------- */

/* A call has failed: the tap itself may have, or else it is as `other` says. */
static enum net_outcome tap_failure(struct net_backend *backend,
				    enum net_outcome other)
{
	if (errno == EAGAIN)
		return NET_WAIT;
	if (errno != EBADFD)
		return other;
	backend->gone = "the interface has been deleted";
	return NET_GONE;
}

static enum net_outcome tap_receive(struct net_backend *backend,
				    struct rx_buffers *rx, size_t *bytes)
{
	static uint8_t spill; /* where a byte too many goes; never read */
	const struct net_tap *tap = &backend->tap;
	const size_t before = NET_HEADER - tap->header;
	unsigned count;
	size_t room;
	ssize_t len;

	if (!rx_buffers_reserve(rx, tap->gather))
		return NET_STARVED;
	count = rx_buffers_iov(rx, before, tap->gather - before, backend->iov,
			       RX_SEGMENTS, &room);
	/* A packet that is cut off is as long as all there is, so one more. */
	backend->iov[count++] = (struct iovec){ &spill, 1 };
	len = readv(backend->fd, backend->iov, (int)count);
	/* EINVAL: a kind of packet that the header has no word for. */
	if (len < 0)
		return tap_failure(backend,
				   errno == EINVAL ? NET_DROPPED : NET_WAIT);
	if ((size_t)len > room || (size_t)len < tap->header + NET_FRAME_MIN)
		return NET_DROPPED;
	*bytes = before + (size_t)len;
	return NET_DONE;
}

static enum net_outcome tap_send(struct net_backend *backend, struct queue *tx,
				 const struct chain *chain)
{
	const struct iovec *iov = chain->segment;
	unsigned count = chain->readable;

	if (!backend->tap.header) {
		struct cursor cursor = chain_reader(chain);
		size_t bytes;

		cursor_skip(&cursor, NET_HEADER);
		count = cursor_iov(&cursor, cursor.left, backend->iov,
				   RX_SEGMENTS, &bytes);
		iov = backend->iov;
	}
	/* What the kernel dislikes about a packet is the packet's fault. */
	if (writev(backend->fd, iov, (int)count) < 0)
		return tap_failure(backend, NET_DROPPED);
	queue_push(tx, chain->head, 0);
	return NET_DONE;
}

/* A packet that the tap did not take is still in the queue: nothing is kept. */
const struct net_backend_ops net_tap_ops = {
	.start = tap_start,
	.stop = tap_stop,
	.receive = tap_receive,
	.send = tap_send,
};

/* -- what an interface is -------------------------------------------------- */

static struct ifreq tap_request(const char *name)
{
	struct ifreq ifreq = { 0 };

	memcpy(ifreq.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return ifreq;
}

static int tap_check_exists(const struct net_backend *backend, const char *name)
{
	int error;

	if (!*name || strlen(name) >= IFNAMSIZ) {
		log_error("%s: an interface's name has 1 to %d characters",
			  backend->name, IFNAMSIZ - 1);
		return -EINVAL;
	}
	if (if_nametoindex(name))
		return 0;
	error = errno;
	if (error == ENODEV)
		log_error("%s: there is no such interface; as root, make it: "
			  "ip tuntap add dev %s mode tap user $USER && "
			  "ip link set %s up",
			  backend->name, name, name);
	else
		log_error("%s: SIOCGIFINDEX: %s", backend->name,
			  strerror(error));
	return -error;
}

/*
 * A descriptor may belong to an interface of another network namespace, where
 * one here that has its name is not it: their addresses tell.
 */
static bool tap_is_here(int fd, int query, const char *name)
{
	struct ifreq theirs = tap_request(name), ours = theirs;

	return !ioctl(fd, SIOCGIFHWADDR, &theirs) &&
	       !ioctl(query, SIOCGIFHWADDR, &ours) &&
	       !memcmp(theirs.ifr_hwaddr.sa_data, ours.ifr_hwaddr.sa_data,
		       NET_MAC_BYTES);
}

/* The interface's MTU, and a warning where nothing can come through it. */
static void tap_read_mtu(struct net_backend *backend, const char *name)
{
	struct ifreq ifreq = tap_request(name);
	struct net_tap *tap = &backend->tap;
	/* Any socket answers for all interfaces of its network namespace. */
	int query = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (query < 0)
		return;
	if (tap_is_here(backend->fd, query, name)) {
		if (!ioctl(query, SIOCGIFFLAGS, &ifreq) &&
		    !(ifreq.ifr_flags & IFF_UP))
			log_warn("%s: the interface is down: ip link set %s up",
				 backend->name, name);
		if (!ioctl(query, SIOCGIFMTU, &ifreq) && ifreq.ifr_mtu > 0)
			tap->mtu = (unsigned)ifreq.ifr_mtu;
	}
	close(query);
	if (backend->mtu > tap->mtu && tap->mtu)
		log_warn("%s: the guest's MTU is %u and the interface's %u: "
			 "larger packets reach the host only: "
			 "ip link set %s mtu %u",
			 backend->name, backend->mtu, tap->mtu, name,
			 backend->mtu);
	if (!backend->mtu)
		backend->mtu = tap->mtu;
}

/* -- opening --------------------------------------------------------------- */

static const char *tun_advice(int error)
{
	return error == ENOENT || error == ENODEV || error == ENXIO
		       ? "; as root: modprobe tun"
	       : error == EACCES
		       ? "; as root: chmod 666 " TUN_PATH
			 ", which gives nobody a right to others' taps"
	       : error == EPERM
		       ? "; this container or sandbox forbids it: have the tap "
			 "opened outside and give fd=N"
		       : "";
}

static const char *tap_advice(int error)
{
	return error == EBUSY
		       ? ": another program has it open; each guest needs a "
			 "tap of its own"
	       : error == EPERM
		       ? ": it belongs to another user; as root, delete it and "
			 "make it for yours: "
			 "ip tuntap add dev NAME mode tap user $USER"
	       : error == EINVAL
		       ? ": it is not a tap; 'ip -d link show' says what it "
			 "is, 'ip tuntap add dev NAME mode tap' makes one"
		       : "";
}

/*
 * A tap that was made with multi_queue is only had with that flag, any other
 * only without; the kernel says EINVAL to both. One queue serves either way.
 */
static int tap_attach(const struct net_backend *backend, int fd,
		      const char *name)
{
	struct ifreq ifreq = tap_request(name);
	int error = 0;

	ifreq.ifr_flags = TAP_FLAGS;
	if (!ioctl(fd, TUNSETIFF, &ifreq))
		return 0;
	ifreq.ifr_flags = TAP_FLAGS | IFF_MULTI_QUEUE;
	if (errno != EINVAL || ioctl(fd, TUNSETIFF, &ifreq) < 0)
		error = errno;
	if (error)
		log_error("%s: %s%s", backend->name, strerror(error),
			  tap_advice(error));
	return -error;
}

/* `fd` serves from now on; has it the header that virtio 1 has? */
static int tap_use(struct net_backend *backend, int fd, bool has_header)
{
	const int size = NET_HEADER;

	backend->ops = &net_tap_ops;
	backend->fd = fd;
	if (!has_header)
		return 0;
	backend->tap.header = NET_HEADER;
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
		log_error("%s: TUNSETVNETHDRSZ: %s", backend->name,
			  strerror(errno));
		return -EINVAL;
	}
	backend->features =
		NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN;
	if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)ALL_OFFLOADS) &&
	    !ioctl(fd, TUNSETOFFLOAD, 0UL))
		backend->features |= NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 |
				     NET_F_GUEST_TSO6 | NET_F_GUEST_ECN;
	return 0;
}

int net_tap_open(struct net_backend *backend, const char *name)
{
	int fd, error = tap_check_exists(backend, name);

	if (error)
		return error;
	fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) {
		error = errno;
		log_error("%s: " TUN_PATH ": %s%s", backend->name,
			  strerror(error), tun_advice(error));
		return -error;
	}
	error = tap_attach(backend, fd, name);
	if (!error)
		error = tap_use(backend, fd, true);
	if (error)
		close(fd);
	else
		tap_read_mtu(backend, name);
	return error;
}

/* -- taking over ----------------------------------------------------------- */

/*
 * Was it opened without IFF_NO_PI? In TUNGETIFF's answer that bit, 0x1000, says
 * also that there is no filter (IFF_NOFILTER), so it tells nothing before one
 * that lets everything through is there.
 */
static bool tap_has_packet_info(int fd, const struct ifreq *first)
{
	struct sock_filter all = BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
	struct sock_fprog filter = { .len = 1, .filter = &all }, old = { 0 };
	struct ifreq ifreq = *first;

	if ((ifreq.ifr_flags & IFF_NO_PI) && !ioctl(fd, TUNGETFILTER, &old) &&
	    !old.len && !ioctl(fd, TUNATTACHFILTER, &filter)) {
		if (ioctl(fd, TUNGETIFF, &ifreq) < 0)
			ifreq = *first;
		ioctl(fd, TUNDETACHFILTER, &filter);
	}
	return !(ifreq.ifr_flags & IFF_NO_PI);
}

int net_tap_take(struct net_backend *backend, int fd)
{
	struct ifreq ifreq = { 0 };
	const char *wrong = NULL;
	int error;

	if (ioctl(fd, TUNGETIFF, &ifreq) < 0)
		wrong = errno == EBADFD ? "it is " TUN_PATH
					  ", but attached to no "
					  "interface: TUNSETIFF comes first"
					: "it is neither a tap nor a socket";
	else if (!(ifreq.ifr_flags & IFF_TAP))
		wrong = "it is a tun, which carries no Ethernet: use a tap";
	else if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		wrong = "it is not open for reading and writing";
	else if (tap_has_packet_info(fd, &ifreq))
		wrong = "that tap was opened without IFF_NO_PI";
	if (wrong) {
		log_error("%s: %s", backend->name, wrong);
		return -EINVAL;
	}
	error = tap_use(backend, fd, ifreq.ifr_flags & IFF_VNET_HDR);
	if (!error)
		tap_read_mtu(backend, ifreq.ifr_name);
	return error;
}
