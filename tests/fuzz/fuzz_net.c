/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/net/net.c virtio/net/tap.c virtio/net/stream.c */
/* uses: virtio/net/passt.c cpu/loop/helper.c cpu/loop/file.c */
/* uses: virtio/net/rx_buffers.c virtio/lazy.c */
/* uses: virtio/limiter.c virtio/mmio.c */
/* uses: virtio/queue.c cpu/bus.c mem/ram.c mem/log.c mem/pool.c */
/*
 * virtio-net between a driver that does what the input says (driver.h) and
 * a peer that does, too. The first byte chooses the backend: bit 0 a stream,
 * else a socket of packets in a tap's place; bit 1 a rate limit. The peer:
 *
 *	11 len16 bytes...	sends that
 *	12 len16		sends a good frame of so many zeros
 *	13			reads what came
 *	14			closes its end
 *	15 count8		sends so many good frames of 60 bytes
 */
#include <signal.h>
#include <sys/socket.h>

/* uses: tests/fuzz/mmio_input.c */
#include "tests/fuzz/driver.h"
#include "virtio/net/backend.h"
#include "virtio/net/net.h"

static struct net net;
static int peer = -1;
static bool stream;

/* False where nothing more goes. */
static bool peer_send_bytes(const uint8_t *bytes, size_t len)
{
	return peer >= 0 &&
	       send(peer, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

/* Behind its length on a stream, behind a header on a tap. */
static bool peer_send_frame(size_t len)
{
	static uint8_t frame[4 + NET_HEADER + 65536];
	const size_t head = stream ? 4 : NET_HEADER;

	memset(frame, 0, head);
	if (stream) {
		frame[0] = (uint8_t)(len >> 24);
		frame[1] = (uint8_t)(len >> 16);
		frame[2] = (uint8_t)(len >> 8);
		frame[3] = (uint8_t)len;
	}
	return peer_send_bytes(frame, head + len);
}

void input_host(unsigned operation)
{
	static uint8_t bytes[65536];
	size_t len;

	switch (operation) {
	case 0:
		len = take(2);
		len = len < input.left ? len : input.left;
		peer_send_bytes(input.at, len);
		input.at += len;
		input.left -= len;
		break;
	case 1:
		peer_send_frame(take(2));
		break;
	case 2:
		while (peer >= 0 &&
		       recv(peer, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
			;
		break;
	case 3:
		if (peer >= 0)
			close(peer);
		peer = -1;
		break;
	default:
		for (len = take(1); len && peer_send_frame(60); len--)
			;
	}
}

static void make_net(uint8_t how)
{
	struct net_options options = {
		.kind = NET_FD,
		.file = { .fd = -1 },
		.mac_text = "",
		.mac = { 2, 0, 0, 0, 0, 1 },
		.bytes_per_s = how & 2 ? 100000 : 0,
		.packets_per_s = how & 2 ? 200 : 0,
	};
	int ends[2];

	stream = how & 1;
	must(!socketpair(AF_UNIX,
			 (stream ? SOCK_STREAM : SOCK_SEQPACKET) |
				 SOCK_NONBLOCK | SOCK_CLOEXEC,
			 0, ends),
	     "socketpair");
	options.file.fd = ends[0];
	peer = ends[1];
	memset(&net, 0, sizeof(net));
	if (stream) {
		must(!net_open(&net, &options, 0), "open");
	} else {
		/* net_open would find that it is no tap. */
		net.source.fd = net.timer.source.fd = -1;
		net.link_up = true;
		net.device.name = net.name;
		net.backend.name = net.name;
		net.backend.ops = &net_tap_ops;
		net.backend.fd = ends[0];
		net.backend.tap.header = NET_HEADER;
		net.backend.features = NET_F_CSUM | NET_F_GUEST_CSUM |
				       NET_F_GUEST_TSO4 | NET_F_HOST_TSO4;
	}
	must(!net_create(&net, &fake.loop), "create");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	input_begin(data + 1, size - 1);
	make_net(data[0]);
	input_attach(&net.device);
	input_run();
	mmio_detach(&net.device);
	net_destroy(&net);
	if (peer >= 0)
		close(peer);
	peer = -1;
	return 0;
}
