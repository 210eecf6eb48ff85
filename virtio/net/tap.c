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
 * what it refuses is dropped.
 *
 * An interface is opened by name, or a descriptor of one is taken over. It is
 * never made here: the kernel would make one of any name for root, and a
 * misspelt name would give a guest a network that leads nowhere. Each way to
 * fail that a user can mend says how. The command line is trusted, but not that
 * a descriptor is what it should be.
 *
 * Owns nothing: net.c closes. The loop's thread; opening: the main thread,
 * before the sandbox closes in.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/net/backend.h"

#define STALE_MAX    4096 /* packets; a tap queues 1000 unless told otherwise */
#define TUN_PATH     "/dev/net/tun"
#define TAP_FLAGS    (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
#define ALL_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

/* What a tap with a header does, for the driver and of the driver. */
#define FEATURES_HOST                                                          \
	(NET_F_CSUM | NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_HOST_ECN)
#define FEATURES_GUEST                                                         \
	(NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 |              \
	 NET_F_GUEST_ECN)

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

/* -- opening --------------------------------------------------------------- */

static struct ifreq request(const char *name)
{
	struct ifreq ifreq = { 0 };

	memcpy(ifreq.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	return ifreq;
}

/* -- what the interface is ------------------------------------------------- */

/* Any socket answers for all interfaces of its network namespace. */
static int query_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int check_exists(const struct net *net, const char *name)
{
	struct ifreq ifreq = request(name);
	int fd, error = 0;

	if (!*name || strlen(name) >= IFNAMSIZ) {
		log_error("%s: an interface's name has 1 to %d characters",
			  net->name, IFNAMSIZ - 1);
		return -EINVAL;
	}
	fd = query_socket();
	if (fd < 0)
		return log_errno("socket");
	if (ioctl(fd, SIOCGIFINDEX, &ifreq) < 0)
		error = errno;
	close(fd);
	if (error == ENODEV)
		log_error("%s: there is no such interface; as root, make it: "
			  "ip tuntap add dev %s mode tap user $USER && "
			  "ip link set %s up",
			  net->name, name, name);
	else if (error)
		log_error("%s: SIOCGIFINDEX: %s", net->name, strerror(error));
	return -error;
}

/*
 * A descriptor may belong to an interface of another network namespace, where
 * one here that has its name is not it: their addresses tell.
 */
static bool is_same(int fd, int query, const char *name)
{
	struct ifreq theirs = request(name), ours = theirs;

	return !ioctl(fd, SIOCGIFHWADDR, &theirs) &&
	       !ioctl(query, SIOCGIFHWADDR, &ours) &&
	       !memcmp(theirs.ifr_hwaddr.sa_data, ours.ifr_hwaddr.sa_data,
		       NET_MAC_BYTES);
}

/* Its MTU, and a warning where nothing can come through it. */
static void look_at(struct net *net, int fd, const char *name)
{
	struct ifreq ifreq = request(name);
	int query = query_socket();

	if (query < 0)
		return;
	if (is_same(fd, query, name)) {
		if (!ioctl(query, SIOCGIFFLAGS, &ifreq) &&
		    !(ifreq.ifr_flags & IFF_UP))
			log_warn("%s: the interface is down: ip link set %s up",
				 net->name, name);
		if (!ioctl(query, SIOCGIFMTU, &ifreq) && ifreq.ifr_mtu > 0)
			net->tap.mtu = (unsigned)ifreq.ifr_mtu;
	}
	close(query);
	if (net->mtu > net->tap.mtu && net->tap.mtu)
		log_warn("%s: the guest's MTU is %u and the interface's %u: "
			 "larger packets reach the host only: "
			 "ip link set %s mtu %u",
			 net->name, net->mtu, net->tap.mtu, name, net->mtu);
	if (!net->mtu)
		net->mtu = net->tap.mtu;
}

/* -- attaching ------------------------------------------------------------- */

static int open_tun(const struct net *net)
{
	static const struct net_advice advice[] = {
		{ ENOENT, ": " TUN_PATH "; as root: modprobe tun" },
		{ ENODEV, ": " TUN_PATH "; as root: modprobe tun" },
		{ ENXIO, ": " TUN_PATH "; as root: modprobe tun" },
		{ EACCES, ": " TUN_PATH "; as root: chmod 666 " TUN_PATH
			  ", which gives nobody a right to others' taps" },
		{ EPERM, ": " TUN_PATH "; this container or sandbox forbids "
			 "it: have the tap opened outside and give fd=N" },
		{ 0, NULL },
	};
	int fd = open(TUN_PATH, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? net_refuse(net, errno, advice) : fd;
}

/*
 * A tap that was made with multi_queue is only had with that flag, any other
 * only without; the kernel says EINVAL to both. One queue serves either way.
 */
static int attach(const struct net *net, int fd, const char *name)
{
	static const int flags[] = { TAP_FLAGS, TAP_FLAGS | IFF_MULTI_QUEUE };
	static const struct net_advice advice[] = {
		{ EBUSY, ": another program has it open; each guest needs a "
			 "tap of its own" },
		{ EPERM, ": it belongs to another user; as root, delete it "
			 "and make it for yours: "
			 "ip tuntap add dev NAME mode tap user $USER" },
		{ EINVAL, ": it is not a tap; 'ip -d link show' says what it "
			  "is, 'ip tuntap add dev NAME mode tap' makes one" },
		{ 0, NULL },
	};
	struct ifreq ifreq = request(name);
	int error = EINVAL;

	for (size_t i = 0; error == EINVAL && i < ARRAY_LEN(flags); i++) {
		ifreq.ifr_flags = (short)flags[i];
		error = ioctl(fd, TUNSETIFF, &ifreq) < 0 ? errno : 0;
	}
	return error ? net_refuse(net, error, advice) : 0;
}

/* The header that virtio 1 has, and what the tap can do with it. */
static int set_up(struct net *net, int fd)
{
	const int size = NET_HEADER;

	net->backend = &net_tap_backend;
	net->tap.header = NET_HEADER;
	if (ioctl(fd, TUNSETVNETHDRSZ, &size) < 0) {
		log_error("%s: TUNSETVNETHDRSZ: %s", net->name,
			  strerror(errno));
		return -EINVAL;
	}
	net->device.features = FEATURES_HOST;
	if (!ioctl(fd, TUNSETOFFLOAD, (unsigned long)ALL_OFFLOADS) &&
	    !ioctl(fd, TUNSETOFFLOAD, 0UL))
		net->device.features |= FEATURES_GUEST;
	return 0;
}

int net_tap_open(struct net *net, const char *name)
{
	int fd, error = check_exists(net, name);

	if (error)
		return error;
	fd = open_tun(net);
	if (fd < 0)
		return fd;
	error = attach(net, fd, name);
	if (!error)
		error = set_up(net, fd);
	if (error) {
		close(fd);
		return error;
	}
	look_at(net, fd, name);
	return fd;
}

/* -- taking over ----------------------------------------------------------- */

/*
 * Was it opened without IFF_NO_PI? In TUNGETIFF's answer that bit, 0x1000, says
 * also that there is no filter (IFF_NOFILTER), so it tells nothing before one
 * that lets everything through is there.
 */
static bool has_packet_info(int fd, const struct ifreq *first)
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

static int check_kind(const struct net *net, int fd, struct ifreq *ifreq)
{
	const char *wrong = NULL;

	if (ioctl(fd, TUNGETIFF, ifreq) < 0)
		wrong = errno == EBADFD ? "it is " TUN_PATH
					  ", but attached to no "
					  "interface: TUNSETIFF comes first"
					: "it is neither a tap nor a socket";
	else if (!(ifreq->ifr_flags & IFF_TAP))
		wrong = "it is a tun, which carries no Ethernet: use a tap";
	else if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		wrong = "it is not open for reading and writing";
	else if (has_packet_info(fd, ifreq))
		wrong = "that tap was opened without IFF_NO_PI";
	if (!wrong)
		return 0;
	log_error("%s: %s", net->name, wrong);
	return -EINVAL;
}

int net_tap_take(struct net *net, int fd)
{
	struct ifreq ifreq = { 0 };
	int error = check_kind(net, fd, &ifreq);

	if (error)
		return error;
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return log_errno(net->name);
	if (ifreq.ifr_flags & IFF_VNET_HDR)
		error = set_up(net, fd);
	else
		net->backend = &net_tap_backend;
	if (!error)
		look_at(net, fd, ifreq.ifr_name);
	return error ? error : fd;
}
