/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c virtio/limiter.c */
/* uses: virtio/queue.c cpu/loop/loop.c mem/ram.c mem/pool.c */
/* uses: tests/unit/net_help.c tests/unit/net_peer.c */
/* ldflags: -Wl,--wrap=writev,--wrap=recv,--wrap=readv */
/*
 * The virtio-net device: what it says of itself, how it is opened, what it does
 * when the other end goes or the driver breaks the rules, limits and budgets.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/un.h>

#include "tests/unit/net_peer.h"

/* -- what it says of itself ------------------------------------------------ */

/* What is not used yet is not the host's memory yet. */
static void test_net_untouched(void **state)
{
	const size_t bytes = round_up(sizeof(struct net), 4096);
	unsigned char resident[64] = { 0 };
	struct net_options options = { .kind = NET_FD };
	unsigned touched = 0;
	struct net *net;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	options.file.fd = ends[0];
	net = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(net, MAP_FAILED);
	(void)madvise(net, bytes, MADV_NOHUGEPAGE);
	assert_int_equal(net_open(net, &options, 0), 0);
	assert_int_equal(mincore(net, bytes, resident), 0);
	for (size_t i = 0; i < bytes / 4096; i++)
		touched += resident[i] & 1;
	assert_in_range(touched, 1, 4);
	net_destroy(net);
	munmap(net, bytes);
	close(ends[1]);
}

static void test_net_config(void **state)
{
	static const uint8_t mac[] = { 2, 0, 0, 0x12, 0x34, 0x56 };
	const uint8_t *config = t.net.device.config;
	uint8_t first[NET_MAC_BYTES];

	(void)state;
	make_stream_with(
		(struct net_options){ .mac_text = "it is given",
				      .mac = { 2, 0, 0, 0x12, 0x34, 0x56 },
				      .mtu = 9000 });
	assert_int_equal(t.net.device.id, DEVICE_NET);
	assert_int_equal(t.net.device.queue_count, 2);
	/* No header on the wire: nothing that would need one. */
	assert_int_equal(t.net.device.features, NET_F_MAC | NET_F_STATUS |
							NET_F_MRG_RXBUF |
							NET_F_MTU);
	assert_memory_equal(config, mac, sizeof(mac));
	assert_int_equal(get_le16(config + 6), 1);
	assert_int_equal(get_le16(config + 10), 9000);
	end_host();
	make_stream_with((struct net_options){ 0 });
	assert_false(t.net.device.features & NET_F_MTU);
	memcpy(first, config, sizeof(first));
	assert_int_equal(first[0] & 3, 2); /* local, and of one station */
	end_host();
	/* A random one has these bits by chance one time in four. */
	for (unsigned i = 0; i < 16; i++) {
		make_stream_with((struct net_options){ 0 });
		assert_memory_not_equal(config, first, sizeof(first));
		assert_int_equal(config[0] & 3, 2);
		end_host();
	}
}

/* -- opening --------------------------------------------------------------- */

static void test_net_refused(void **state)
{
	char dir[] = "/tmp/mote-net-XXXXXX", path[64], far[200];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	refuse_net((struct net_options){ .kind = NET_UNIX, .file.path = path },
		   "passt -s");
	memset(far, 'x', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	refuse_net((struct net_options){ .kind = NET_UNIX, .file.path = far },
		   "1 to 107 bytes");
	refuse_net((struct net_options){ .kind = NET_UNIX, .file.path = "" },
		   "1 to 107 bytes");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	refuse_net((struct net_options){ .kind = NET_UNIX, .file.path = path },
		   "no stream socket");
	refuse_net((struct net_options){ .kind = NET_FD, .file.fd = fd },
		   "no stream socket");
	close(fd);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	refuse_net((struct net_options){ .kind = NET_UNIX, .file.path = path },
		   "start it again");
	assert_int_equal(listen(fd, 1), 0);
	refuse_net((struct net_options){ .kind = NET_FD, .file.fd = fd },
		   "not connected");
	close(fd);
	unlink(path);
	rmdir(dir);
	refuse_net((struct net_options){ .kind = NET_FD, .file.fd = 900 },
		   "no such descriptor");
	fd = open("/dev/null", O_RDWR);
	refuse_net((struct net_options){ .kind = NET_FD, .file.fd = fd },
		   "neither a tap nor a socket");
	close(fd);
}

static void test_net_connect(void **state)
{
	char dir[] = "/tmp/mote-net-XXXXXX";
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct net_options options = { .kind = NET_UNIX };
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 1), 0);
	options.file.path = address.sun_path;
	assert_int_equal(try_net(&options), 0);
	peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
	assert_true(peer >= 0);
	driver_start(NET_F_MRG_RXBUF);
	put_packet(100, 1, 1);
	driver_kick(NET_TX);
	peer_expect(100, 1);
	close(fd);
	unlink(address.sun_path);
	rmdir(dir);
	end_host();
}

/* -- the other end misbehaves ---------------------------------------------- */

static void expect_down(const char *why)
{
	expect_net_log(why);
	assert_false(t.net.link_up);
	assert_int_equal(get_le16(t.net.device.config + 6), 0);
	assert_int_equal(t.config_changes, 1);
	assert_int_equal(t.config_changed, 2);
	/* What the driver still sends is taken and dropped. */
	for (unsigned i = 0; i < 50; i++)
		put_packet(100, i, 1);
	driver_kick(NET_TX);
	run_loop_for(10000000);
	expect_sent(50);
	driver_reset();
	driver_start(NET_F_MRG_RXBUF);
	assert_false(t.net.link_up);
	end_host();
}

static void test_net_bad_length(void **state)
{
	static const uint32_t bad[] = { 0, NET_FRAME_MAX + 1, 0x7fffffff,
					0x80000000, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint32_t prefix = htonl(bad[i]);

		make_stream(NET_F_MRG_RXBUF);
		put_buffer(1536);
		peer_write(&prefix, sizeof(prefix));
		run_loop();
		expect_no_packet();
		expect_down("a length that no frame has");
	}
}

static void test_net_runt(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	put_buffer(1536);
	for (unsigned i = 1; i < NET_FRAME_MIN; i++)
		peer_send(i, i);
	peer_send(60, 60);
	run_loop();
	expect_packet(60, 60);
	assert_int_equal(t.net.in.dropped, NET_FRAME_MIN - 1);
	end_host();
}

static void test_net_closed(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	put_buffer(1536);
	peer_send(60, 1);
	peer_close();
	run_loop();
	/* What it sent before is not lost. */
	expect_packet(60, 1);
	expect_down("has closed");
}

static void test_net_closed_while_sending(void **state)
{
	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	assert_true(t.net.blocked);
	peer_close();
	run_loop_for(10000000);
	assert_int_equal(count_sent(), 40);
	expect_down("has closed");
}

static unsigned no_memory_calls; /* how often the host had none */
static bool no_memory;

ssize_t __real_writev(int fd, const struct iovec *iov, int count);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
	if (!no_memory)
		return __real_writev(fd, iov, count);
	no_memory_calls++;
	errno = ENOBUFS;
	return -1;
}

ssize_t __real_recv(int fd, void *to, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *to, size_t len, int flags)
{
	if (!no_memory)
		return __real_recv(fd, to, len, flags);
	no_memory_calls++;
	errno = ENOMEM;
	return -1;
}

/* The host has no memory for a while: both directions go on by themselves. */
static void test_net_no_memory(void **state)
{
	uint64_t began;

	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	no_memory = true;
	no_memory_calls = 0;
	put_buffer(1536);
	peer_send(60, 1);
	put_packet(60, 2, 1);
	began = loop_now();
	driver_kick(NET_TX);
	run_loop();
	/* No event tells of memory, and neither do kicks: there is a timer. */
	for (unsigned i = 0; i < 100; i++) {
		driver_kick(NET_TX);
		driver_kick(NET_RX);
		run_loop();
	}
	assert_in_range(no_memory_calls, 2,
			2 + 2 * ((loop_now() - began) / 10000000));
	peer_expect_nothing();
	expect_sent(0);
	expect_no_packet();
	assert_true(t.net.link_up);
	no_memory = false;
	run_loop_for(20000000);
	peer_expect(60, 2);
	expect_packet(60, 1);
	expect_sent(1);
	end_host();
}

/* Each direction by itself: the other one's timer is not needed. */
static void test_net_no_memory_one_way(void **state)
{
	(void)state;
	for (unsigned queue = 0; queue < NET_QUEUES; queue++) {
		make_stream(NET_F_MRG_RXBUF);
		no_memory = true;
		no_memory_calls = 0;
		put_buffer(1536);
		if (queue == NET_RX)
			peer_send(60, 1);
		else
			put_packet(60, 2, 1);
		driver_kick(NET_TX);
		run_loop();
		assert_true(no_memory_calls);
		no_memory = false;
		run_loop_for(20000000);
		if (queue == NET_RX) {
			expect_packet(60, 1);
		} else {
			peer_expect(60, 2);
			expect_sent(1);
		}
		end_host();
	}
}

/* What waits for the peer when it goes is given back, without a kick. */
static void test_net_down_while_blocked(void **state)
{
	const uint32_t bad = 0;

	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 10; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	assert_true(t.net.blocked);
	peer_write(&bad, sizeof(bad));
	run_loop();
	assert_int_equal(count_sent(), 10);
	expect_down("a length that no frame has");
}

/* What waited for the peer when it went is not for the next driver's ring. */
static void test_net_closed_then_reset(void **state)
{
	const uint32_t bad = 0;

	(void)state;
	make_stream(NET_F_MRG_RXBUF);
	put_buffer(1536);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	assert_true(t.net.backend.stream.frames);
	peer_write(&bad, sizeof(bad));
	/* Before the deferred work, which would drop them, has its turn. */
	t.net.source.ready(t.net.source.arg, EPOLLIN);
	assert_false(t.net.link_up);
	driver_reset();
	driver_start(NET_F_MRG_RXBUF);
	put_packet(100, 1, 1);
	driver_kick(NET_TX);
	run_loop();
	expect_sent(1);
	expect_down("a length that no frame has");
}

/* -- the driver misbehaves ------------------------------------------------- */

static void test_net_broken(void **state)
{
	(void)state;
	for (unsigned queue = 0; queue < NET_QUEUES; queue++) {
		make_stream(NET_F_MRG_RXBUF);
		put_buffer(1536);
		ring_offer(&t.ring[queue],
			   64); /* there is no such descriptor */
		peer_send(1600, 1);
		run_loop();
		driver_kick(queue);
		assert_int_equal(t.broken, 1);
		/* Nothing more, until it is reset. */
		put_packet(100, 1, 1);
		put_buffer(1536);
		driver_kick(NET_RX);
		driver_kick(NET_TX);
		run_loop();
		peer_expect_nothing();
		expect_no_packet();
		assert_int_equal(t.broken, 1);
		driver_reset();
		driver_start(NET_F_MRG_RXBUF);
		put_buffer(1536);
		put_buffer(1536);
		put_packet(100, 1, 1);
		driver_kick(NET_RX);
		driver_kick(NET_TX);
		peer_expect(100, 1);
		expect_packet(1600, 1);
		end_host();
	}
}

/* -- limits ---------------------------------------------------------------- */

static void test_net_packet_limit(void **state)
{
	uint64_t began;

	(void)state;
	make_stream_with((struct net_options){ .packets_per_s = 200 });
	driver_start(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 40; i++) {
		put_packet(100, i, 1);
		put_buffer(200);
		peer_send(100, i);
	}
	began = loop_now();
	driver_kick(NET_TX);
	/* A burst of a twentieth of a second's. */
	assert_int_equal(count_sent(), 10);
	while (t.net.out.count < 40 || t.net.in.count < 40) {
		run_loop();
		usleep(500);
		assert_true(loop_now() - began < 5000000000);
	}
	/* The other 30 take 150 ms, each way on its own. */
	assert_true(loop_now() - began > 140000000);
	for (unsigned i = 0; i < 40; i++) {
		expect_packet(100, i);
		peer_expect(100, i);
	}
	expect_sent(30);
	end_host();
}

static void test_net_byte_limit(void **state)
{
	uint64_t began;

	(void)state;
	make_stream_with((struct net_options){ .bytes_per_s = 1000000 });
	driver_start(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 10; i++)
		put_packet(20000, i, 1);
	began = loop_now();
	driver_kick(NET_TX);
	/* 200 kB less the burst of 50, and what the last one overdraws */
	for (unsigned i = 0; i < 10; i++) {
		run_loop_for(15000000);
		run_loop();
	}
	while (t.net.out.count < 10) {
		run_loop();
		assert_true(loop_now() - began < 5000000000);
	}
	assert_true(loop_now() - began > 120000000);
	for (unsigned i = 0; i < 10; i++)
		peer_expect(20000, i);
	/* A reset while it waits, and the timer afterwards, are nothing. */
	for (unsigned i = 0; i < 10; i++)
		put_packet(20000, i, 1);
	driver_kick(NET_TX);
	driver_reset();
	run_loop_for(30000000);
	end_host();
}

/* What the host refuses was work for it, and counts towards the limit. */
static void test_net_limit_of_refused(void **state)
{
	int bad = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	make_stream_with((struct net_options){ .packets_per_s = 200 });
	driver_start(0);
	t.net.backend.ops = &net_tap_ops;
	close(t.net.backend.fd);
	t.net.backend.fd = bad;
	for (unsigned i = 0; i < 40; i++)
		put_packet(100, i, 1);
	driver_kick(NET_TX);
	assert_int_equal(t.net.out.dropped, 10);
	assert_int_equal(t.net.out.count + t.net.out.total, 0);
	expect_sent(10);
	end_host();
}

/* What finds the limit used up counts once; a limit that nobody meets, never.
 */
static void test_net_throttled(void **state)
{
	uint64_t value[NET_COUNTERS];

	(void)state;
	make_stream_with((struct net_options){ .packets_per_s = 100 });
	driver_start(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 5; i++)
		put_packet(100 + i, i, 1);
	driver_kick(NET_TX);
	/* The bucket is empty, and nobody waits for it. */
	net_counters(&t.net, value);
	assert_int_equal(value[NET_TX_PACKETS], 5);
	assert_int_equal(value[NET_TX_BYTES], 510);
	assert_int_equal(value[NET_TX_THROTTLED], 0);
	run_loop_for(60000000);
	assert_false(t.net.out.throttled);
	for (unsigned i = 0; i < 8; i++)
		put_packet(100, i, 1);
	driver_kick(NET_TX);
	while (t.net.out.count < 13)
		run_loop();
	net_counters(&t.net, value);
	assert_in_range(value[NET_TX_THROTTLED], 1, 8);
	assert_int_equal(value[NET_TX_DROPPED], 0);
	assert_int_equal(value[NET_RX_PACKETS], 0);
	/* A reset: the packet that waited is no more. */
	t.net.out.throttled = true;
	driver_reset();
	driver_start(NET_F_MRG_RXBUF);
	assert_false(t.net.out.throttled);
	end_host();
}

/* -- budgets --------------------------------------------------------------- */

/* A budget has an end: others are served, and then it goes on by itself. */
static void test_net_receive_budget(void **state)
{
	struct bystander bystander;

	(void)state;
	make_stream_with((struct net_options){ 0 });
	driver_start_sized(NET_F_MRG_RXBUF, 256);
	for (unsigned i = 0; i < 200; i++)
		peer_send(60, i);
	for (unsigned i = 0; i < 200; i++)
		put_buffer(200);
	assert_int_equal(loop_turn(&t.loop, -1), 1);
	assert_int_equal(t.net.in.count, NET_BUDGET);
	bystander_add(&bystander);
	assert_int_equal(loop_turn(&t.loop, -1), 2);
	assert_int_equal(bystander.in, NET_BUDGET);
	assert_int_equal(t.net.in.count, 200);
	assert_int_equal(loop_turn(&t.loop, 0), 0);
	for (unsigned i = 0; i < 200; i++)
		expect_packet(60, i);
	bystander_remove(&bystander);
	end_host();
}

/* A few large packets are as much work as many small ones. */
static void test_net_budget_of_bytes(void **state)
{
	struct bystander bystander;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	make_packet_tap(0);
	close(t.net.backend.fd);
	t.net.backend.fd = null; /* which takes any amount */
	bystander_add(&bystander);
	for (unsigned i = 0; i < 30; i++)
		put_packet(60000, i, 1);
	driver_kick(NET_TX);
	assert_int_equal(t.net.out.count, NET_BUDGET_BYTES / 60000 + 1);
	assert_int_equal(loop_turn(&t.loop, -1), 2);
	assert_int_equal(bystander.out, NET_BUDGET_BYTES / 60000 + 1);
	assert_int_equal(t.net.out.count, 30);
	expect_sent(30);
	bystander_remove(&bystander);
	end_host();
}

/* What was deferred is not done to a device that is no more. */
static void test_net_destroyed_while_deferred(void **state)
{
	(void)state;
	make_stream_with((struct net_options){ 0 });
	driver_start_sized(0, 256);
	for (unsigned i = 0; i < 250; i++)
		put_packet(64, i, 1);
	driver_kick(NET_TX);
	assert_int_equal(t.net.out.count, NET_BUDGET);
	driver_reset();
	net_destroy(&t.net);
	assert_int_equal(loop_turn(&t.loop, 0), 0);
	end_host();
}

/* -- buffers that lie together --------------------------------------------- */

#define PIECE  4096u
#define PIECES 64u

static unsigned readv_entries; /* of the last one */

ssize_t __real_readv(int fd, const struct iovec *iov, int count);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int count);
ssize_t __wrap_readv(int fd, const struct iovec *iov, int count)
{
	readv_entries = (unsigned)count;
	return __real_readv(fd, iov, count);
}

/* As Linux has them: one behind the other, and back to the first. */
static void put_piece(void)
{
	struct ring *ring = &t.ring[NET_RX];
	const struct ring_buffer buffer = {
		GPA(RX_DATA + (uint64_t)ring->next_desc * PIECE), PIECE, true
	};

	ring_add_chain(ring, &buffer, 1);
}

static void give_packet(size_t len, unsigned number)
{
	uint8_t bytes[NET_HEADER + PIECE * 6] = { 0 };

	make_frame(bytes + NET_HEADER, len, number);
	peer_write(bytes, NET_HEADER + len);
	run_loop();
}

/* The next packet is this one; its buffers are given back. */
static void take_packet(size_t len, unsigned number)
{
	uint8_t got[NET_HEADER + PIECE * 6], wanted[PIECE * 6];
	uint32_t head = 0, written = 0;
	size_t have = 0;
	unsigned chains = 0;

	for (; have < NET_HEADER + len; have += written, chains++) {
		assert_true(ring_used(&t.ring[NET_RX], &head, &written));
		assert_true(written && have + written <= sizeof(got));
		ram_read(&t.ram, got + have,
			 GPA(RX_DATA + (uint64_t)head * PIECE), written);
		put_piece();
	}
	make_frame(wanted, len, number);
	assert_int_equal(have, NET_HEADER + len);
	assert_int_equal(get_le16(got + NET_HEADER_NUM_BUFFERS), chains);
	assert_memory_equal(got + NET_HEADER, wanted, len);
	driver_kick(NET_RX);
}

/*
 * A system call looks at each entry of its vector, for a small packet, too: so
 * what lies together is one entry, whosever buffers it is.
 */
static void test_net_buffers_together(void **state)
{
	(void)state;
	make_packet_tap(NET_F_MRG_RXBUF | NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
	for (unsigned i = 0; i < PIECES; i++)
		put_piece();
	driver_kick(NET_RX);
	for (unsigned i = 0; i < 1000; i++) {
		const size_t len = 60 + i * 397 % (PIECE * 6 - 60);

		give_packet(len, i);
		take_packet(len, i);
		/* Back to the first piece, and for a byte too many. */
		assert_true(readv_entries <= 3);
	}
	end_host();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net_untouched),
		cmocka_unit_test(test_net_config),
		cmocka_unit_test(test_net_refused),
		cmocka_unit_test(test_net_connect),
		cmocka_unit_test(test_net_bad_length),
		cmocka_unit_test(test_net_runt),
		cmocka_unit_test(test_net_closed),
		cmocka_unit_test(test_net_closed_while_sending),
		cmocka_unit_test(test_net_no_memory),
		cmocka_unit_test(test_net_no_memory_one_way),
		cmocka_unit_test(test_net_down_while_blocked),
		cmocka_unit_test(test_net_closed_then_reset),
		cmocka_unit_test(test_net_broken),
		cmocka_unit_test(test_net_packet_limit),
		cmocka_unit_test(test_net_byte_limit),
		cmocka_unit_test(test_net_limit_of_refused),
		cmocka_unit_test(test_net_throttled),
		cmocka_unit_test(test_net_receive_budget),
		cmocka_unit_test(test_net_budget_of_bytes),
		cmocka_unit_test(test_net_destroyed_while_deferred),
		cmocka_unit_test(test_net_buffers_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
