/* uses: virtio/net/net.c */
/* uses: virtio/net/rx_buffers.c */
/* uses: virtio/net/stream.c virtio/net/tap.c */
/* uses: virtio/limiter.c virtio/queue.c cpu/loop/loop.c mem/ram.c */
/*
 * virtio-net over a stream socket: frames both ways, cut anywhere, more than
 * either side has room for; and peers and drivers that do what they may not.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/un.h>

#include "tests/unit/net_help.h"

static int peer = -1;

static void make_with(struct net_options options)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	peer = ends[1];
	assert_int_equal(fcntl(peer, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	options.kind = NET_FD;
	options.file.fd = ends[0];
	assert_int_equal(try_net(&options), 0);
}

static void make(uint64_t features)
{
	make_with((struct net_options){ 0 });
	drive(features);
}

static void end(void)
{
	end_net();
	if (peer >= 0)
		close(peer);
	peer = -1;
	expect_no_log();
}

/* -- the other end of the socket ------------------------------------------- */

static void peer_write(const void *bytes, size_t len)
{
	assert_int_equal(write(peer, bytes, len), len);
}

static size_t make_stream(uint8_t *to, size_t len, unsigned number)
{
	uint32_t prefix = htonl((uint32_t)len);

	memcpy(to, &prefix, sizeof(prefix));
	make_frame(to + sizeof(prefix), len, number);
	return sizeof(prefix) + len;
}

static void peer_send(size_t len, unsigned number)
{
	static uint8_t bytes[4 + NET_FRAME_MAX + 1];

	peer_write(bytes, make_stream(bytes, len, number));
}

/* Reads exactly so much, while the device goes on writing. */
static void peer_read(uint8_t *to, size_t len)
{
	unsigned tries = 0;

	while (len) {
		ssize_t got = read(peer, to, len);

		if (got <= 0) {
			assert_true(tries++ < 1000);
			pump();
			continue;
		}
		to += got;
		len -= (size_t)got;
	}
}

static void peer_expect(size_t len, unsigned number)
{
	static uint8_t got[NET_FRAME_MAX], wanted[NET_FRAME_MAX];
	uint32_t prefix;

	peer_read((uint8_t *)&prefix, sizeof(prefix));
	assert_int_equal(ntohl(prefix), len);
	peer_read(got, len);
	make_frame(wanted, len, number);
	assert_memory_equal(got, wanted, len);
}

static void peer_expect_nothing(void)
{
	uint8_t byte;

	assert_int_equal(read(peer, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
}

/* -- what it says of itself ------------------------------------------------ */

static void test_config(void **state)
{
	static const uint8_t mac[] = { 2, 0, 0, 0x12, 0x34, 0x56 };
	const uint8_t *config = t.net.device.config;
	uint8_t first[NET_MAC_BYTES];

	(void)state;
	make_with((struct net_options){ .mac_text = "it is given",
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
	end();
	make_with((struct net_options){ 0 });
	assert_false(t.net.device.features & NET_F_MTU);
	memcpy(first, config, sizeof(first));
	assert_int_equal(first[0] & 3, 2); /* local, and of one station */
	end();
	make_with((struct net_options){ 0 });
	assert_memory_not_equal(config, first, sizeof(first));
	end();
}

/* -- out ------------------------------------------------------------------- */

static void test_send(void **state)
{
	(void)state;
	make(0);
	for (unsigned i = 0; i < 20; i++)
		put_packet(NET_FRAME_MIN + i * 73, i, 1 + i % 3);
	peer_expect_nothing();
	kick(NET_TX);
	expect_sent(20);
	assert_int_equal(t.interrupts, 1);
	for (unsigned i = 0; i < 20; i++)
		peer_expect(NET_FRAME_MIN + i * 73, i);
	peer_expect_nothing();
	assert_int_equal(t.net.out.count, 20);
	end();
}

static void test_send_sizes(void **state)
{
	static const size_t good[] = { NET_FRAME_MIN, 60, 1514, 9014,
				       NET_FRAME_MAX };
	static const size_t bad[] = { 0, 1, NET_FRAME_MIN - 1,
				      NET_FRAME_MAX + 1 };
	const struct ring_buffer odd[] = {
		{ GPA(TX_DATA), NET_HEADER - 1, false }, /* no header */
		{ GPA(TX_DATA), 4096, true },		 /* nothing to send */
		{ GPA(0), 16 * MIB, false },
	};

	(void)state;
	make(0);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		put_packet(bad[i], 0, 1);
	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		ring_add_chain(&t.ring[NET_TX], &odd[i], 1);
	kick(NET_TX);
	expect_sent(ARRAY_LEN(bad) + ARRAY_LEN(odd));
	assert_int_equal(t.net.out.dropped, ARRAY_LEN(bad) + ARRAY_LEN(odd));
	peer_expect_nothing();
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		put_packet(good[i], i, 2);
		kick(NET_TX);
		peer_expect(good[i], i);
	}
	expect_sent(ARRAY_LEN(good));
	assert_int_equal(t.broken, 0);
	end();
}

/* A chain with as many buffers as a ring allows, and more than fit at once. */
static void test_send_scattered(void **state)
{
	struct ring_buffer buffer[256];
	uint8_t bytes[256], got[4 + 256 - NET_HEADER];

	(void)state;
	make_with((struct net_options){ 0 });
	drive_sized(FEATURE_INDIRECT_DESC, 256);
	make_frame(bytes, sizeof(bytes), 5);
	ram_write(&t.ram, GPA(TX_DATA), bytes, sizeof(bytes));
	for (unsigned i = 0; i < 256; i++)
		buffer[i] = (struct ring_buffer){ GPA(TX_DATA + i), 1, false };
	for (unsigned i = 0; i < 4; i++)
		ring_add_indirect(&t.ring[NET_TX], GPA(TX_DATA + (1 + i) * MIB),
				  buffer, 256);
	kick(NET_TX);
	expect_sent(4);
	for (unsigned i = 0; i < 4; i++) {
		peer_read(got, sizeof(got));
		assert_int_equal(ntohl(*(uint32_t *)(void *)got), 244);
		assert_memory_equal(got + 4, bytes + NET_HEADER, 244);
	}
	end();
}

/* More than the socket takes: the rest waits, in order and whole. */
static void test_send_full(void **state)
{
	unsigned sent = 0;
	uint32_t head = 0, written = 0;

	(void)state;
	make(FEATURE_EVENT_IDX);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000 - i, i, 1);
	kick(NET_TX);
	while (ring_used(&t.ring[NET_TX], &head, &written))
		sent++;
	assert_in_range(sent, 1, 39);
	assert_true(t.net.blocked);
	/* Kicks do not try again in vain; the socket's own event does. */
	kick(NET_TX);
	pump();
	assert_false(ring_used(&t.ring[NET_TX], &head, &written));
	for (unsigned i = 0; i < 40; i++)
		peer_expect(60000 - i, i);
	pump();
	expect_sent(40 - sent);
	peer_expect_nothing();
	put_packet(100, 99, 1);
	kick(NET_TX);
	peer_expect(100, 99);
	end();
}

/* One turn has an end: others are served, and then it goes on. */
static void test_send_turns(void **state)
{
	(void)state;
	make_with((struct net_options){ 0 });
	drive_sized(0, 256);
	for (unsigned i = 0; i < 250; i++)
		put_packet(64, i, 1);
	kick(NET_TX);
	assert_int_equal(t.net.out.count, NET_TURN);
	pump();
	assert_int_equal(t.net.out.count, 250);
	expect_sent(250);
	for (unsigned i = 0; i < 250; i++)
		peer_expect(64, i);
	end();
}

static void skip_cut_frame(size_t len, size_t have, unsigned number)
{
	static uint8_t got[4 + NET_FRAME_MAX], wanted[4 + NET_FRAME_MAX];

	/* The beginning as it was, the rest zeros; together a frame. */
	make_stream(wanted, len, number);
	peer_read(got, 4 + len);
	assert_memory_equal(got, wanted, have);
	memset(wanted + have, 0, 4 + len - have);
	assert_memory_equal(got + have, wanted + have, 4 + len - have);
}

/* More than the socket takes: how many frames of it, and of the next one. */
static unsigned send_too_much(size_t *part)
{
	const struct net_stream *s = &t.net.stream;

	make(0);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	kick(NET_TX);
	assert_in_range(s->out[s->sent].left, 1, 60003);
	*part = 60004 - s->out[s->sent].left;
	return (unsigned)t.net.out.count - s->frames + s->sent;
}

static void test_send_reset(void **state)
{
	size_t gone;
	unsigned frame = send_too_much(&gone);

	(void)state;
	reset();
	/* What was the driver's memory is not looked at any more. */
	memset(ram_span(&t.ram, GPA(TX_DATA), MIB), 0x55, MIB);
	drive(0);
	put_packet(500, 77, 1);
	for (unsigned i = 0; i < frame; i++)
		peer_expect(60000, i);
	skip_cut_frame(60000, gone, frame);
	kick(NET_TX);
	peer_expect(500, 77);
	expect_sent(1);
	peer_expect_nothing();
	end();
}

/* A driver that stops its transmit queue has its memory back. */
static void test_send_stopped(void **state)
{
	struct device *device = &t.net.device;
	size_t gone;
	unsigned frame = send_too_much(&gone);

	(void)state;
	device->ops->drain(device, NET_TX);
	queue_stop(&device->queue[NET_TX]);
	memset(ram_span(&t.ram, GPA(TX_DATA), MIB), 0x55, MIB);
	for (unsigned i = 0; i < frame; i++)
		peer_expect(60000, i);
	pump();
	skip_cut_frame(60000, gone, frame);
	pump();
	peer_expect_nothing();
	end();
}

/* Cut within the prefix: the length still arrives as it was. */
static void test_send_reset_in_prefix(void **state)
{
	static const uint8_t prefix[] = { 0, 0, 60000 >> 8, 60000 & 255 };
	struct net_stream *s = &t.net.stream;

	(void)state;
	for (unsigned cut = 1; cut < 4; cut++) {
		make(0);
		for (unsigned i = 0; i < 40; i++)
			put_packet(60000, i, 1);
		kick(NET_TX);
		/* As if the socket had taken `cut` bytes of the next frame. */
		assert_true(s->sent + 1 < s->frames);
		s->sent++;
		s->first = 0;
		s->iov[0] =
			(struct iovec){ s->out[s->sent].prefix + cut, 4 - cut };
		s->out[s->sent].left -= cut;
		reset();
		assert_int_equal(s->frames, 1);
		assert_int_equal(s->iov[0].iov_len, 4 - cut);
		assert_memory_equal(s->iov[0].iov_base, prefix + cut, 4 - cut);
		end();
	}
}

/* -- in -------------------------------------------------------------------- */

static void test_receive(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 20; i++)
		peer_send(60 + i, i);
	pump();
	expect_no_packet();
	for (unsigned i = 0; i < 20; i++)
		put_buffer(1526);
	kick(NET_RX);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(expect_packet(60 + i, i), 1);
	expect_no_packet();
	assert_int_equal(t.interrupts, 1);
	assert_int_equal(t.net.in.count, 20);
	/* With buffers there already the socket's event is enough. */
	put_buffer(1526);
	peer_send(1500, 21);
	pump();
	expect_packet(1500, 21);
	end();
}

static void test_receive_merged(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 60; i++)
		put_buffer(i % 7 ? 1536 : 5); /* the header in three of them */
	peer_send(40000, 1);
	peer_send(NET_FRAME_MIN, 2);
	peer_send(1536 - NET_HEADER, 3);
	pump();
	assert_in_range(expect_packet(40000, 1), 27, 33);
	expect_packet(NET_FRAME_MIN, 2);
	expect_packet(1536 - NET_HEADER, 3);
	expect_no_packet();
	end();
}

static void test_receive_whole(void **state)
{
	(void)state;
	make(0);
	put_buffer(1526);
	put_buffer(2000);
	peer_send(1514, 1);
	peer_send(1515, 2); /* no: the first buffer has gone, the next fits */
	peer_send(5000, 3); /* too much for any */
	pump();
	assert_int_equal(expect_packet(1514, 1), 1);
	assert_int_equal(expect_packet(1515, 2), 1);
	put_buffer(1526);
	peer_send(64, 4);
	pump();
	kick(NET_RX);
	assert_int_equal(expect_packet(64, 4), 1);
	assert_int_equal(t.net.in.dropped, 1);
	end();
}

/* The stream comes one byte at a time, and in pieces of any length. */
static void test_receive_pieces(void **state)
{
	static uint8_t bytes[3 * NET_FRAME_MAX];
	static const size_t lens[] = { NET_FRAME_MIN, 100, 9014, 61, 20000 };
	size_t len = 0, at = 0, part;

	(void)state;
	make(NET_F_MRG_RXBUF);
	srand(1);
	for (unsigned i = 0; i < 60; i++)
		put_buffer(1536);
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		len += make_stream(bytes + len, lens[i], i);
	while (at < len) {
		part = at < 300 ? 1 : 1 + (size_t)rand() % 3000;
		part = part < len - at ? part : len - at;
		peer_write(bytes + at, part);
		pump();
		at += part;
	}
	for (unsigned i = 0; i < ARRAY_LEN(lens); i++)
		expect_packet(lens[i], i);
	end();
}

/* Buffers come in the middle of a batch; nothing is lost or read twice. */
static void test_receive_starved(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX);
	for (unsigned i = 0; i < 100; i++) {
		peer_send(1500, i);
		peer_send(3000, i + 1000);
		put_buffer(1600);
		put_buffer(1600);
		kick(NET_RX);
		pump();
		expect_packet(1500, i);
		expect_no_packet();
		/* It asks to be told of the next buffer. */
		assert_int_equal(ring_avail_event(&t.ring[NET_RX]),
				 t.ring[NET_RX].avail_idx);
		put_buffer(1600);
		kick(NET_RX);
		expect_packet(3000, i + 1000);
	}
	end();
}

static void test_receive_reset(void **state)
{
	static uint8_t bytes[4 + 9000];

	(void)state;
	make(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 10; i++)
		put_buffer(1536);
	make_stream(bytes, 9000, 1);
	peer_write(bytes, 4000);
	pump();
	reset();
	/* The buffers are the driver's again: nothing may be written there. */
	memset(ram_span(&t.ram, GPA(RX_DATA), MIB), 0xaa, MIB);
	peer_write(bytes + 4000, 4 + 5000);
	peer_send(200, 2);
	pump();
	for (unsigned i = 0; i < MIB; i++)
		assert_int_equal(
			((uint8_t *)ram_span(&t.ram, GPA(RX_DATA), MIB))[i],
			0xaa);
	drive(NET_F_MRG_RXBUF);
	put_buffer(1536);
	kick(NET_RX);
	pump();
	expect_packet(200, 2);
	end();
}

/* -- the other end misbehaves ---------------------------------------------- */

static void expect_down(const char *why)
{
	expect_log(why);
	assert_false(t.net.link_up);
	assert_int_equal(get_le16(t.net.device.config + 6), 0);
	assert_int_equal(t.config_changes, 1);
	/* What the driver still sends is taken and dropped. */
	for (unsigned i = 0; i < 50; i++)
		put_packet(100, i, 1);
	kick(NET_TX);
	pump_for(10000000);
	expect_sent(50);
	reset();
	drive(NET_F_MRG_RXBUF);
	assert_false(t.net.link_up);
	end();
}

static void test_bad_length(void **state)
{
	static const uint32_t bad[] = { 0, NET_FRAME_MAX + 1, 0x7fffffff,
					0x80000000, 0xffffffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		uint32_t prefix = htonl(bad[i]);

		make(NET_F_MRG_RXBUF);
		put_buffer(1536);
		peer_write(&prefix, sizeof(prefix));
		pump();
		expect_no_packet();
		expect_down("a length that no frame has");
	}
}

static void test_runt(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF);
	put_buffer(1536);
	for (unsigned i = 1; i < NET_FRAME_MIN; i++)
		peer_send(i, i);
	peer_send(60, 60);
	pump();
	expect_packet(60, 60);
	assert_int_equal(t.net.in.dropped, NET_FRAME_MIN - 1);
	end();
}

static void test_closed(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF);
	put_buffer(1536);
	peer_send(60, 1);
	close(peer);
	peer = -1;
	pump();
	/* What it sent before is not lost. */
	expect_packet(60, 1);
	expect_down("has closed");
}

static void test_closed_while_sending(void **state)
{
	uint32_t head = 0, written = 0;
	unsigned sent = 0;

	(void)state;
	make(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	kick(NET_TX);
	assert_true(t.net.blocked);
	close(peer);
	peer = -1;
	pump_for(10000000);
	while (ring_used(&t.ring[NET_TX], &head, &written))
		sent++;
	assert_int_equal(sent, 40);
	expect_down("has closed");
}

/* The host has no memory for a while: both ways go on by themselves. */
static void test_no_memory(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF);
	put_buffer(1536);
	peer_send(60, 1);
	put_packet(60, 2, 1);
	/* As after ENOBUFS. */
	t.net.readable = false;
	t.net.blocked = true;
	net_no_memory(&t.net);
	kick(NET_TX);
	kick(NET_RX);
	peer_expect_nothing();
	pump_for(20000000);
	peer_expect(60, 2);
	expect_packet(60, 1);
	end();
}

/* What waited for the peer when it went is not for the next driver's ring. */
static void test_closed_then_reset(void **state)
{
	const uint32_t bad = 0;

	(void)state;
	make(NET_F_MRG_RXBUF);
	put_buffer(1536);
	for (unsigned i = 0; i < 40; i++)
		put_packet(60000, i, 1);
	kick(NET_TX);
	assert_true(t.net.stream.frames);
	peer_write(&bad, sizeof(bad));
	/* Before the timer, which would drop them, has its turn. */
	t.net.source.ready(t.net.source.arg, EPOLLIN);
	assert_false(t.net.link_up);
	reset();
	drive(NET_F_MRG_RXBUF);
	put_packet(100, 1, 1);
	kick(NET_TX);
	pump();
	expect_sent(1);
	expect_down("a length that no frame has");
}

/* -- the driver misbehaves ------------------------------------------------- */

static void test_broken(void **state)
{
	(void)state;
	for (unsigned queue = 0; queue < NET_QUEUES; queue++) {
		make(NET_F_MRG_RXBUF);
		put_buffer(1536);
		ring_offer(&t.ring[queue],
			   64); /* there is no such descriptor */
		peer_send(1600, 1);
		pump();
		kick(queue);
		assert_int_equal(t.broken, 1);
		/* Nothing more, until it is reset. */
		put_packet(100, 1, 1);
		put_buffer(1536);
		kick(NET_RX);
		kick(NET_TX);
		pump();
		peer_expect_nothing();
		expect_no_packet();
		assert_int_equal(t.broken, 1);
		reset();
		drive(NET_F_MRG_RXBUF);
		put_buffer(1536);
		put_buffer(1536);
		put_packet(100, 1, 1);
		kick(NET_RX);
		kick(NET_TX);
		peer_expect(100, 1);
		expect_packet(1600, 1);
		end();
	}
}

/* 5.1.6.3.1: a receive buffer has room for a header at least. */
static void test_useless_buffer(void **state)
{
	const struct ring_buffer readable = { GPA(RX_DATA), 1536, false };

	(void)state;
	make(NET_F_MRG_RXBUF);
	peer_send(100, 1);
	ring_add_chain(&t.ring[NET_RX], &readable, 1);
	kick(NET_RX);
	pump();
	assert_int_equal(t.broken, 1);
	reset();
	drive(NET_F_MRG_RXBUF);
	put_buffer(1536);
	kick(NET_RX);
	expect_packet(100, 1);
	end();
}

/* Larger than all the buffers that the ring has: it is lost, no more. */
static void test_larger_than_ring(void **state)
{
	(void)state;
	make_with((struct net_options){ 0 });
	drive_sized(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX, 16);
	for (unsigned i = 0; i < 16; i++)
		put_buffer(1536);
	kick(NET_RX);
	peer_send(30000, 1);
	peer_send(100, 2);
	pump();
	expect_packet(100, 2);
	assert_int_equal(t.net.in.dropped, 1);
	/* What lacks buffers for now waits for them. */
	peer_send(24000, 3);
	pump();
	expect_no_packet();
	put_buffer(1536);
	kick(NET_RX);
	pump();
	expect_packet(24000, 3);
	end();
}

/* A driver that stops its receive queue has its buffers back. */
static void test_stopped_queue(void **state)
{
	(void)state;
	make(NET_F_MRG_RXBUF);
	put_buffer(1536);
	put_buffer(1536);
	peer_send(2000, 1); /* both are taken */
	pump();
	expect_packet(2000, 1);
	put_buffer(1536);
	peer_send(2000, 2);
	pump();
	queue_stop(&t.net.device.queue[NET_RX]);
	memset(ram_span(&t.ram, GPA(RX_DATA), MIB), 0xaa, MIB);
	kick(NET_RX);
	peer_send(100, 3);
	pump();
	for (unsigned i = 0; i < MIB; i++)
		assert_int_equal(
			((uint8_t *)ram_span(&t.ram, GPA(RX_DATA), MIB))[i],
			0xaa);
	end();
}

/* -- limits ---------------------------------------------------------------- */

static void test_packet_limit(void **state)
{
	uint64_t began;
	unsigned sent = 0;
	uint32_t head = 0, written = 0;

	(void)state;
	make_with((struct net_options){ .packets_per_s = 200 });
	drive(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 40; i++) {
		put_packet(100, i, 1);
		put_buffer(200);
		peer_send(100, i);
	}
	began = loop_now();
	kick(NET_TX);
	/* A burst of a twentieth of a second's. */
	while (ring_used(&t.ring[NET_TX], &head, &written))
		sent++;
	assert_int_equal(sent, 10);
	while (t.net.out.count < 40 || t.net.in.count < 40) {
		pump();
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
	end();
}

static void test_byte_limit(void **state)
{
	uint64_t began;

	(void)state;
	make_with((struct net_options){ .bytes_per_s = 1000000 });
	drive(NET_F_MRG_RXBUF);
	for (unsigned i = 0; i < 10; i++)
		put_packet(20000, i, 1);
	began = loop_now();
	kick(NET_TX);
	/* 200 kB less the burst of 50, and what the last one overdraws */
	for (unsigned i = 0; i < 10; i++) {
		pump_for(15000000);
		pump();
	}
	while (t.net.out.count < 10) {
		pump();
		assert_true(loop_now() - began < 5000000000);
	}
	assert_true(loop_now() - began > 120000000);
	for (unsigned i = 0; i < 10; i++)
		peer_expect(20000, i);
	/* A reset while it waits, and the timer afterwards, are nothing. */
	for (unsigned i = 0; i < 10; i++)
		put_packet(20000, i, 1);
	kick(NET_TX);
	reset();
	pump_for(30000000);
	end();
}

/* -- opening --------------------------------------------------------------- */

static void refuse(struct net_options options, const char *why)
{
	unsigned fds = count_fds();

	memset(&t, 0, sizeof(t));
	assert_true(net_open(&t.net, &options, 3) < 0);
	expect_log(why);
	assert_memory_equal(logged.last, "net 3 (", 7);
	assert_int_equal(count_fds(), fds);
}

static void test_refused(void **state)
{
	char dir[] = "/tmp/mote-net-XXXXXX", path[64], far[200];
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/socket", dir);
	refuse((struct net_options){ .kind = NET_UNIX, .file.path = path },
	       "passt -s");
	memset(far, 'x', sizeof(far) - 1);
	far[sizeof(far) - 1] = '\0';
	refuse((struct net_options){ .kind = NET_UNIX, .file.path = far },
	       "1 to 107 bytes");
	refuse((struct net_options){ .kind = NET_UNIX, .file.path = "" },
	       "1 to 107 bytes");
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	refuse((struct net_options){ .kind = NET_UNIX, .file.path = path },
	       "no stream socket");
	refuse((struct net_options){ .kind = NET_FD, .file.fd = fd },
	       "no stream socket");
	close(fd);
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (void *)&address, sizeof(address)), 0);
	refuse((struct net_options){ .kind = NET_UNIX, .file.path = path },
	       "start it again");
	assert_int_equal(listen(fd, 1), 0);
	refuse((struct net_options){ .kind = NET_FD, .file.fd = fd },
	       "not connected");
	close(fd);
	unlink(path);
	rmdir(dir);
	refuse((struct net_options){ .kind = NET_FD, .file.fd = 900 },
	       "no such descriptor");
	fd = open("/dev/null", O_RDWR);
	refuse((struct net_options){ .kind = NET_FD, .file.fd = fd },
	       "neither a tap nor a socket");
	close(fd);
}

static void test_connect(void **state)
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
	drive(NET_F_MRG_RXBUF);
	put_packet(100, 1, 1);
	kick(NET_TX);
	peer_expect(100, 1);
	close(fd);
	unlink(address.sun_path);
	rmdir(dir);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_send_sizes),
		cmocka_unit_test(test_send_scattered),
		cmocka_unit_test(test_send_full),
		cmocka_unit_test(test_send_turns),
		cmocka_unit_test(test_send_stopped),
		cmocka_unit_test(test_send_reset),
		cmocka_unit_test(test_send_reset_in_prefix),
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_receive_merged),
		cmocka_unit_test(test_receive_whole),
		cmocka_unit_test(test_receive_pieces),
		cmocka_unit_test(test_receive_starved),
		cmocka_unit_test(test_receive_reset),
		cmocka_unit_test(test_bad_length),
		cmocka_unit_test(test_runt),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_closed_while_sending),
		cmocka_unit_test(test_closed_then_reset),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_useless_buffer),
		cmocka_unit_test(test_larger_than_ring),
		cmocka_unit_test(test_stopped_queue),
		cmocka_unit_test(test_packet_limit),
		cmocka_unit_test(test_byte_limit),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
