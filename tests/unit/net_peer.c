/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's other end of a virtio-net device: see net_peer.h.
 */
#include "tests/unit/net_peer.h"

#include <arpa/inet.h>
#include <fcntl.h>

int peer = -1;

void make_stream_with(struct net_options options)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	peer = ends[1];
	assert_int_equal(fcntl(peer, F_SETFL, O_RDWR | O_NONBLOCK), 0);
	options.kind = NET_FD;
	options.file.fd = ends[0];
	assert_int_equal(try_net(&options), 0);
}

void make_stream(uint64_t features)
{
	make_stream_with((struct net_options){ 0 });
	driver_start(features);
}

/* net_open would find that it is no tap: it opens a stream in its place. */
void make_packet_tap(uint64_t features)
{
	int ends[2];

	make_stream_with((struct net_options){ 0 });
	loop_remove(&t.loop, &t.net.source);
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends),
		0);
	assert_int_equal(dup2(ends[0], t.net.backend.fd), t.net.backend.fd);
	assert_int_equal(dup2(ends[1], peer), peer);
	close(ends[0]);
	close(ends[1]);
	t.net.backend.ops = &net_tap_ops;
	t.net.backend.clear_header = false;
	t.net.backend.tap.header = NET_HEADER;
	t.net.backend.tap.mtu = 1500;
	assert_int_equal(loop_add(&t.loop, &t.net.source, EPOLLIN | EPOLLET),
			 0);
	driver_start(features);
}

void end_host(void)
{
	end_net();
	peer_close();
	expect_no_net_log();
}

void peer_close(void)
{
	if (peer >= 0)
		close(peer);
	peer = -1;
}

void peer_write(const void *bytes, size_t len)
{
	assert_int_equal(write(peer, bytes, len), len);
}

size_t make_stream_bytes(uint8_t *to, size_t len, unsigned number)
{
	uint32_t prefix = htonl((uint32_t)len);

	memcpy(to, &prefix, sizeof(prefix));
	make_frame(to + sizeof(prefix), len, number);
	return sizeof(prefix) + len;
}

void peer_send(size_t len, unsigned number)
{
	static uint8_t bytes[4 + NET_FRAME_MAX + 1];

	peer_write(bytes, make_stream_bytes(bytes, len, number));
}

void peer_read(uint8_t *to, size_t len)
{
	unsigned tries = 0;

	while (len) {
		ssize_t got = read(peer, to, len);

		if (got <= 0) {
			assert_true(tries++ < 1000);
			run_loop();
			continue;
		}
		to += got;
		len -= (size_t)got;
	}
}

void peer_expect(size_t len, unsigned number)
{
	static uint8_t got[NET_FRAME_MAX], wanted[NET_FRAME_MAX];
	uint32_t prefix;

	peer_read((uint8_t *)&prefix, sizeof(prefix));
	assert_int_equal(ntohl(prefix), len);
	peer_read(got, len);
	make_frame(wanted, len, number);
	assert_memory_equal(got, wanted, len);
}

void peer_expect_nothing(void)
{
	uint8_t byte;

	assert_int_equal(read(peer, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
}
