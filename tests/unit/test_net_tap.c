/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c virtio/limiter.c */
/* uses: virtio/queue.c cpu/loop/loop.c mem/ram.c mem/pool.c */
/* uses: tests/unit/net_help.c tests/unit/net_peer.c */
/*
 * virtio-net over real tap interfaces, in a network namespace of the test's
 * own. What the host sees is a packet socket on the interface, which can also
 * speak of checksums and segments (PACKET_VNET_HDR). A machine that lets
 * nobody make such a namespace or a tap skips, and says so.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "tests/unit/net_peer.h"

#define ALL_FEATURES                                                           \
	(NET_F_CSUM | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 | NET_F_GUEST_TSO6 | \
	 NET_F_HOST_TSO4 | NET_F_HOST_TSO6 | NET_F_MRG_RXBUF)

static int control; /* any socket, for interface requests */
static bool no_taps;

/* -- the machine ----------------------------------------------------------- */

static void put_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "# %s: %s\n", path, strerror(errno));
	close(fd);
}

static int enter_namespace(void **state)
{
	char map[32];
	int fd;

	(void)state;
	snprintf(map, sizeof(map), "0 %u 1", geteuid());
	if (unshare(CLONE_NEWNET) < 0) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
			no_taps = true;
		put_file("/proc/self/setgroups", "deny");
		put_file("/proc/self/uid_map", map);
	}
	/* Else the kernel sends packets of its own on each interface. */
	put_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
	control = socket(AF_UNIX, SOCK_DGRAM, 0);
	fd = open("/dev/net/tun", O_RDWR);
	if (fd < 0)
		no_taps = true;
	else
		close(fd);
	return 0;
}

#define NEEDS_TAPS()                                                           \
	do {                                                                   \
		if (no_taps)                                                   \
			skip();                                                \
	} while (0)

static struct ifreq named(const char *name)
{
	struct ifreq ifreq = { 0 };

	snprintf(ifreq.ifr_name, sizeof(ifreq.ifr_name), "%s", name);
	return ifreq;
}

/* A descriptor of an interface of this kind, which is made where needed. */
static int attach_tap(const char *name, int flags)
{
	struct ifreq ifreq = named(name);
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK);

	assert_true(fd >= 0);
	ifreq.ifr_flags = (short)flags;
	assert_int_equal(ioctl(fd, TUNSETIFF, &ifreq), 0);
	return fd;
}

static void set_tap_up(const char *name, bool up)
{
	struct ifreq ifreq = named(name);

	ifreq.ifr_flags = up ? IFF_UP : 0;
	assert_int_equal(ioctl(control, SIOCSIFFLAGS, &ifreq), 0);
}

static void set_mtu(const char *name, int mtu)
{
	struct ifreq ifreq = named(name);

	ifreq.ifr_mtu = mtu;
	assert_int_equal(ioctl(control, SIOCSIFMTU, &ifreq), 0);
}

/* One that stays, and is up. */
static void make_tap(const char *name, int flags)
{
	int fd = attach_tap(name, flags);

	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	set_tap_up(name, true);
}

static void delete_tap(const char *name, int flags)
{
	int fd = attach_tap(name, flags);

	assert_int_equal(ioctl(fd, TUNSETPERSIST, 0), 0);
	close(fd);
}

/* A packet socket on an interface; with virtio headers where asked for. */
static int listen_on(const char *name, bool headers)
{
	struct sockaddr_ll at = { .sll_family = AF_PACKET };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0), one = 1;

	assert_true(fd >= 0);
	if (headers)
		assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR,
					    &one, sizeof(one)),
				 0);
	setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	at.sll_ifindex = (int)if_nametoindex(name);
	at.sll_protocol = htons(ETH_P_ALL);
	assert_int_equal(bind(fd, (void *)&at, sizeof(at)), 0);
	return fd;
}

/* -- opening --------------------------------------------------------------- */

static void refuse_name(const char *name, const char *why)
{
	refuse_net((struct net_options){ .kind = NET_TAP, .file.path = name },
		   why);
}

static void test_tap_names(void **state)
{
	int fd;

	(void)state;
	NEEDS_TAPS();
	refuse_name("", "1 to 15 characters");
	refuse_name("sixteen-letters!", "1 to 15 characters");
	refuse_name("nosuch", "ip tuntap add dev nosuch mode tap user $USER "
			      "&& ip link set nosuch up");
	refuse_name("tap%d", "no such interface");
	refuse_name("lo", "it is not a tap");
	make_tap("busy", IFF_TAP | IFF_NO_PI);
	fd = attach_tap("busy", IFF_TAP | IFF_NO_PI);
	refuse_name("busy", "another program has it open");
	close(fd);
	fd = attach_tap("layer3", IFF_TUN | IFF_NO_PI);
	refuse_name("layer3", "it is not a tap");
	close(fd);
	/* None has been made by the way. */
	assert_int_equal(if_nametoindex("nosuch"), 0);
	assert_int_equal(if_nametoindex("tap0"), 0);
	delete_tap("busy", IFF_TAP | IFF_NO_PI);
}

static void set_net_admin(bool on)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];

	assert_int_equal(syscall(SYS_capget, &header, data), 0);
	if (on)
		data[0].effective = data[0].permitted;
	else
		data[0].effective &= ~(1u << CAP_NET_ADMIN);
	assert_int_equal(syscall(SYS_capset, &header, data), 0);
}

static void test_tap_permission(void **state)
{
	const char *name = "theirs";
	int fd;

	(void)state;
	NEEDS_TAPS();
	fd = attach_tap(name, IFF_TAP);
	assert_int_equal(ioctl(fd, TUNSETOWNER, 0xfffe), 0);
	assert_int_equal(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
	set_net_admin(false);
	refuse_name(name, "belongs to another user");
	set_net_admin(true);
	delete_tap(name, IFF_TAP);
}

static void open_name(const char *name, unsigned mtu)
{
	const struct net_options options = { .kind = NET_TAP,
					     .file.path = name,
					     .mtu = mtu };

	assert_int_equal(try_net(&options), 0);
}

static void test_tap_multi_queue(void **state)
{
	(void)state;
	NEEDS_TAPS();
	make_tap("many", IFF_TAP | IFF_MULTI_QUEUE);
	open_name("many", 0);
	expect_no_net_log();
	end_net();
	delete_tap("many", IFF_TAP | IFF_MULTI_QUEUE);
}

static void test_tap_mtu(void **state)
{
	(void)state;
	NEEDS_TAPS();
	make_tap("tap0", IFF_TAP);
	open_name("tap0", 0);
	assert_true(t.net.device.features & NET_F_MTU);
	assert_int_equal(get_le16(t.net.device.config + 10), 1500);
	end_net();
	open_name("tap0", 1400);
	assert_int_equal(get_le16(t.net.device.config + 10), 1400);
	end_net();
	expect_no_net_log();
	open_name("tap0", 9000);
	expect_net_log("ip link set tap0 mtu 9000");
	assert_int_equal(get_le16(t.net.device.config + 10), 9000);
	end_net();
	set_mtu("tap0", 9000);
	open_name("tap0", 0);
	assert_int_equal(get_le16(t.net.device.config + 10), 9000);
	end_net();
	set_tap_up("tap0", false);
	open_name("tap0", 0);
	expect_net_log("ip link set tap0 up");
	end_net();
	delete_tap("tap0", IFF_TAP);
}

static void test_tap_taken(void **state)
{
	struct net_options options = { .kind = NET_FD };
	int fd;

	(void)state;
	NEEDS_TAPS();
	fd = options.file.fd = open("/dev/net/tun", O_RDWR);
	refuse_net(options, "TUNSETIFF comes first");
	close(fd);
	fd = options.file.fd = attach_tap("layer3", IFF_TUN | IFF_NO_PI);
	refuse_net(options, "a tun, which carries no Ethernet");
	close(fd);
	fd = options.file.fd = attach_tap("info", IFF_TAP);
	refuse_net(options, "without IFF_NO_PI");
	close(fd);
	options.file.fd =
		attach_tap("taken0", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	set_tap_up("taken0", true);
	assert_int_equal(try_net(&options), 0);
	assert_int_equal(t.net.backend.tap.header, NET_HEADER);
	assert_int_equal(t.net.device.features & ALL_FEATURES, ALL_FEATURES);
	assert_int_equal(t.net.backend.mtu, 1500);
	end_net();
	expect_no_net_log();
}

/* An interface here may have the name of one elsewhere. */
static void test_tap_taken_from_elsewhere(void **state)
{
	struct net_options options = { .kind = NET_FD };
	int here;

	(void)state;
	NEEDS_TAPS();
	here = open("/proc/self/ns/net", O_RDONLY);
	assert_true(here >= 0);
	options.file.fd =
		attach_tap("twin", IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	close(control);
	control = socket(AF_UNIX, SOCK_DGRAM, 0);
	make_tap("twin", IFF_TAP | IFF_NO_PI);
	set_mtu("twin", 4000);
	assert_int_equal(try_net(&options), 0);
	assert_int_equal(t.net.backend.mtu, 0);
	end_net();
	expect_no_net_log();
	assert_int_equal(setns(here, CLONE_NEWNET), 0);
	close(here);
	close(control);
	control = socket(AF_UNIX, SOCK_DGRAM, 0);
}

/* -- packets --------------------------------------------------------------- */

static int host = -1; /* the packet socket */

static void end_tap(void)
{
	close(host);
	end_net();
	delete_tap("tap0", IFF_TAP);
	expect_no_net_log();
}

static void host_send(size_t len, unsigned number)
{
	static uint8_t bytes[NET_FRAME_MAX];

	make_frame(bytes, len, number);
	assert_int_equal(send(host, bytes, len, 0), len);
}

/* The kernel opens its queue before a new interface a moment late. */
static void await_queue(void)
{
	static const uint8_t frame[10 + 60];
	uint8_t byte;

	for (unsigned i = 0; i < 10000; i++) {
		assert_int_equal(send(host, frame, sizeof(frame), 0),
				 sizeof(frame));
		/* With a header one byte is refused, but the packet is gone. */
		if (read(t.net.backend.fd, &byte, 1) == 1 || errno == EINVAL)
			return;
		usleep(1000);
	}
	fail_msg("no packet comes through the tap");
}

static void begin_tap(uint64_t features, bool headers)
{
	make_tap("tap0", IFF_TAP);
	open_name("tap0", 0);
	expect_no_net_log();
	host = listen_on("tap0", headers);
	await_queue();
	driver_start(features);
}

static void host_expect(size_t len, unsigned number)
{
	static uint8_t got[NET_FRAME_MAX + 1], wanted[NET_FRAME_MAX];

	assert_int_equal(recv(host, got, sizeof(got), 0), len);
	make_frame(wanted, len, number);
	assert_memory_equal(got, wanted, len);
}

static void host_expect_nothing(void)
{
	uint8_t byte;

	assert_int_equal(recv(host, &byte, 1, 0), -1);
	assert_int_equal(errno, EAGAIN);
}

static void both_ways(void)
{
	for (unsigned i = 0; i < 20; i++)
		put_packet(60 + i * 73, i, 1 + i % 3);
	driver_kick(NET_TX);
	expect_sent(20);
	for (unsigned i = 0; i < 20; i++)
		host_expect(60 + i * 73, i);
	host_expect_nothing();
	for (unsigned i = 0; i < 20; i++)
		host_send(60 + i * 73, i);
	run_loop();
	expect_no_packet();
	for (unsigned i = 0; i < 24; i++)
		put_buffer(1536);
	driver_kick(NET_RX);
	run_loop();
	for (unsigned i = 0; i < 20; i++)
		expect_packet(60 + i * 73, i);
	expect_no_packet();
}

static void test_tap_both_ways(void **state)
{
	static const uint64_t features[] = {
		NET_F_MRG_RXBUF,
		NET_F_MRG_RXBUF | FEATURE_EVENT_IDX,
		0,
	};

	(void)state;
	NEEDS_TAPS();
	for (size_t i = 0; i < ARRAY_LEN(features); i++) {
		begin_tap(features[i], false);
		both_ways();
		end_tap();
	}
}

/* A tap that was opened without the virtio header. */
static void test_tap_no_header(void **state)
{
	struct net_options options = { .kind = NET_FD };

	(void)state;
	NEEDS_TAPS();
	options.file.fd = attach_tap("plain0", IFF_TAP | IFF_NO_PI);
	set_tap_up("plain0", true);
	assert_int_equal(try_net(&options), 0);
	assert_false(t.net.device.features & (ALL_FEATURES & ~NET_F_MRG_RXBUF));
	host = listen_on("plain0", false);
	await_queue();
	driver_start(NET_F_MRG_RXBUF);
	both_ways();
	close(host);
	end_net();
	expect_no_net_log();
}

/* A TCP segment of `len` bytes that somebody is still to cut. */
static size_t make_large(uint8_t *to, size_t len)
{
	struct virtio_net_hdr header = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1448,
		.csum_start = 34,
		.csum_offset = 16,
	};
	static const uint8_t ip[] = { 0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6 };

	make_frame(to + sizeof(header), len, 9);
	memcpy(to, &header, sizeof(header));
	to += sizeof(header);
	to[0] = 2;
	to[12] = 8;
	to[13] = 0;
	memset(to + 14, 0, 40);
	memcpy(to + 14, ip, sizeof(ip));
	to[16] = (uint8_t)((len - 14) >> 8);
	to[17] = (uint8_t)(len - 14);
	to[46] = 5 << 4; /* TCP's header: five words */
	return sizeof(header) + len;
}

#define LARGE 60054

static void test_tap_large_in(void **state)
{
	static uint8_t large[10 + LARGE], got[NET_HEADER + LARGE];
	uint32_t head, written;
	size_t have = 0;

	(void)state;
	NEEDS_TAPS();
	begin_tap(ALL_FEATURES, true);
	assert_int_equal(send(host, large, make_large(large, LARGE), 0),
			 sizeof(large));
	for (unsigned i = 0; i < 60; i++)
		put_buffer(1536);
	driver_kick(NET_RX);
	run_loop();
	while (ring_used(&t.ring[NET_RX], &head, &written)) {
		assert_true(have + written <= sizeof(got));
		ram_read(&t.ram, got + have, GPA(rx_at(head)), written);
		have += written;
	}
	assert_int_equal(have, sizeof(got));
	assert_int_equal(got[1], VIRTIO_NET_HDR_GSO_TCPV4);
	assert_int_equal(get_le16(got + 4), 1448);
	assert_int_equal(get_le16(got + NET_HEADER_NUM_BUFFERS), 40);
	assert_memory_equal(got + NET_HEADER, large + 10, LARGE);
	end_tap();
}

/* To a driver that cannot: the kernel cuts it. */
static void test_tap_large_in_cut(void **state)
{
	static uint8_t large[10 + LARGE];
	unsigned packets = 0;
	uint32_t head, written;

	(void)state;
	NEEDS_TAPS();
	begin_tap(NET_F_MRG_RXBUF, true);
	for (unsigned i = 0; i < 60; i++)
		put_buffer(1536);
	assert_int_equal(send(host, large, make_large(large, LARGE), 0),
			 sizeof(large));
	run_loop();
	while (ring_used(&t.ring[NET_RX], &head, &written)) {
		assert_in_range(written, NET_HEADER + 55, NET_HEADER + 1502);
		assert_int_equal(
			((uint8_t *)ram_span(&t.ram, GPA(rx_at(head)), 1))[1],
			0);
		packets++;
	}
	assert_int_equal(packets, (LARGE - 54 + 1447) / 1448);
	end_tap();
}

static void test_tap_large_out(void **state)
{
	static uint8_t large[10 + LARGE + 1], got[10 + LARGE + 1];
	const struct ring_buffer buffer[] = {
		{ GPA(TX_DATA), 10, false },
		{ GPA(TX_DATA + 0x1000), 2, false },
		{ GPA(TX_DATA + 0x2000), LARGE, false },
	};

	(void)state;
	NEEDS_TAPS();
	begin_tap(ALL_FEATURES, true);
	make_large(large, LARGE);
	ram_write(&t.ram, buffer[0].at, large, 10);
	ram_write(&t.ram, buffer[2].at, large + 10, LARGE);
	ring_add_chain(&t.ring[NET_TX], buffer, 3);
	driver_kick(NET_TX);
	expect_sent(1);
	assert_int_equal(recv(host, got, sizeof(got), 0), 10 + LARGE);
	assert_int_equal(got[1], VIRTIO_NET_HDR_GSO_TCPV4);
	assert_memory_equal(got + 10, large + 10, LARGE);
	end_tap();
}

/* Headers that make no sense, of every kind, harm nobody. */
static void test_tap_bad_headers(void **state)
{
	static uint8_t frame[2000], got[NET_FRAME_MAX];

	(void)state;
	NEEDS_TAPS();
	begin_tap(ALL_FEATURES, false);
	srand(3);
	make_large(frame, sizeof(frame) - 10);
	for (unsigned i = 0; i < 5000; i++) {
		const struct ring_buffer buffer[] = {
			{ GPA(TX_DATA), NET_HEADER, false },
			{ GPA(TX_DATA + 0x1000), 1000, false },
		};

		for (unsigned j = 0; j < NET_HEADER; j++)
			frame[j] = (uint8_t)(rand() % 3 ? rand() % 8 : rand());
		ram_write(&t.ram, buffer[0].at, frame, NET_HEADER);
		ram_write(&t.ram, buffer[1].at, frame + 10, 1000);
		ring_add_chain(&t.ring[NET_TX], buffer, 2);
		driver_kick(NET_TX);
		expect_sent(1);
		while (recv(host, got, sizeof(got), 0) > 0)
			;
	}
	assert_true(t.net.out.dropped > 0 && t.net.out.dropped < 5000);
	memset(frame, 0, NET_HEADER);
	put_packet(777, 1, 1);
	driver_kick(NET_TX);
	host_expect(777, 1);
	end_tap();
}

/* What came while nobody listened is gone; what comes then is not. */
static void test_tap_stale(void **state)
{
	(void)state;
	NEEDS_TAPS();
	make_tap("tap0", IFF_TAP);
	open_name("tap0", 0);
	host = listen_on("tap0", false);
	await_queue();
	for (unsigned i = 0; i < 5; i++)
		host_send(100, i);
	run_loop();
	driver_start(NET_F_MRG_RXBUF);
	put_buffer(1536);
	put_buffer(1536);
	driver_kick(NET_RX);
	host_send(100, 10);
	run_loop();
	expect_packet(100, 10);
	driver_reset();
	host_send(100, 11);
	run_loop();
	driver_start(NET_F_MRG_RXBUF);
	put_buffer(1536);
	put_buffer(1536);
	host_send(100, 12);
	run_loop();
	expect_packet(100, 12);
	expect_no_packet();
	end_tap();
}

/* The interface's MTU has grown since: what does not fit is not cut. */
static void test_tap_too_long(void **state)
{
	(void)state;
	NEEDS_TAPS();
	begin_tap(NET_F_MRG_RXBUF, false);
	for (unsigned i = 0; i < 8; i++)
		put_buffer(1000);
	set_mtu("tap0", 9000);
	host_send(3000, 1);
	host_send(100, 2);
	run_loop();
	expect_packet(100, 2);
	expect_no_packet();
	assert_int_equal(t.net.in.dropped, 1);
	end_tap();
}

/* The queue runs dry and is filled again, one edge of the tap for all. */
static void test_tap_starved(void **state)
{
	(void)state;
	NEEDS_TAPS();
	begin_tap(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX, false);
	for (unsigned i = 0; i < 300; i++)
		host_send(1000, i);
	for (unsigned i = 0; i < 300; i++) {
		put_buffer(1536);
		driver_kick(NET_RX);
		run_loop();
		expect_packet(1000, i);
	}
	end_tap();
}

/* A ring whose buffers together do not hold the largest packet there is. */
static void test_tap_small_ring(void **state)
{
	(void)state;
	NEEDS_TAPS();
	begin_tap(NET_F_MRG_RXBUF | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4 |
			  FEATURE_EVENT_IDX,
		  false);
	for (unsigned i = 0; i < 64; i++)
		put_buffer(1000);
	driver_kick(NET_RX);
	host_send(1500, 1);
	run_loop();
	expect_packet(1500, 1);
	end_tap();
}

/*
 * What a full tap does not take is not lost: it stays in the queue until there
 * is room, and goes out in order. No real tap is full by itself.
 */
static void test_tap_full(void **state)
{
	static uint8_t got[NET_HEADER + 2000], wanted[NET_HEADER + 2000];
	const unsigned all = 250;
	unsigned sent, seen = 0;

	(void)state;
	make_packet_tap(FEATURE_EVENT_IDX);
	driver_reset();
	driver_start_sized(FEATURE_EVENT_IDX, 256);
	for (unsigned i = 0; i < all; i++)
		put_packet(2000, i, 1);
	driver_kick(NET_TX);
	run_loop();
	sent = count_sent();
	assert_in_range(sent, 1, all - 1);
	assert_true(t.net.blocked);
	/* Kicks do not try again in vain; the tap's own event does. */
	driver_kick(NET_TX);
	run_loop();
	assert_int_equal(count_sent(), 0);
	while (seen < all) {
		assert_int_equal(read(peer, got, sizeof(got)), sizeof(got));
		make_frame(wanted + NET_HEADER, 2000, seen++);
		assert_memory_equal(got, wanted, sizeof(got));
		run_loop();
	}
	peer_expect_nothing();
	expect_sent(all - sent);
	assert_int_equal(t.net.out.dropped, 0);
	assert_int_equal(t.net.out.count, all);
	end_host();
}

static void test_tap_deleted(void **state)
{
	(void)state;
	NEEDS_TAPS();
	make_tap("tap0", IFF_TAP);
	open_name("tap0", 0);
	driver_start(ALL_FEATURES);
	for (unsigned i = 0; i < 60; i++)
		put_buffer(1536);
	driver_kick(NET_RX);
	assert_int_equal(system("ip link delete tap0"), 0);
	run_loop();
	expect_net_log("has been deleted");
	assert_false(t.net.link_up);
	put_packet(100, 1, 1);
	driver_kick(NET_TX);
	expect_sent(1);
	driver_reset();
	end_net();
	/* While no driver is there, too. */
	make_tap("tap0", IFF_TAP);
	open_name("tap0", 0);
	assert_int_equal(system("ip link delete tap0"), 0);
	run_loop();
	driver_start(ALL_FEATURES);
	put_packet(100, 1, 1);
	driver_kick(NET_TX);
	expect_sent(1);
	expect_net_log("has been deleted");
	end_net();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tap_names),
		cmocka_unit_test(test_tap_permission),
		cmocka_unit_test(test_tap_multi_queue),
		cmocka_unit_test(test_tap_mtu),
		cmocka_unit_test(test_tap_taken),
		cmocka_unit_test(test_tap_taken_from_elsewhere),
		cmocka_unit_test(test_tap_both_ways),
		cmocka_unit_test(test_tap_no_header),
		cmocka_unit_test(test_tap_large_in),
		cmocka_unit_test(test_tap_large_in_cut),
		cmocka_unit_test(test_tap_large_out),
		cmocka_unit_test(test_tap_bad_headers),
		cmocka_unit_test(test_tap_stale),
		cmocka_unit_test(test_tap_too_long),
		cmocka_unit_test(test_tap_starved),
		cmocka_unit_test(test_tap_small_ring),
		cmocka_unit_test(test_tap_full),
		cmocka_unit_test(test_tap_deleted),
	};

	return cmocka_run_group_tests(tests, enter_namespace, NULL);
}
