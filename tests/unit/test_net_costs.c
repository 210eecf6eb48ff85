/* uses: virtio/net.c virtio/net_rx.c virtio/net_tx.c virtio/net_window.c */
/* uses: virtio/net_unix.c virtio/net_tap.c virtio/net_tap_open.c */
/* uses: virtio/limiter.c virtio/queue.c cpu/loop.c mem/ram.c */
/* ldflags: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=mmap */
/* What a packet costs: no memory is allocated for it. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "tests/unit/count_allocations.h"
#include "tests/unit/net_help.h"

#define PACKETS 5000u
#define LEN	1000u

/* One each way: whether both arrived. */
static bool exchange(int peer, unsigned number)
{
	static uint8_t frame[4 + LEN], got[4 + LEN];
	const uint32_t prefix = htonl(LEN);
	uint32_t head = 0, written = 0;
	unsigned received = 0;
	bool sent;

	memcpy(frame, &prefix, sizeof(prefix));
	make_frame(frame + sizeof(prefix), LEN, number);
	put_packet(LEN, number, 1 + number % 3);
	put_buffer(600);
	put_buffer(600);
	kick(NET_TX);
	sent = read(peer, got, sizeof(got)) == sizeof(got) &&
	       !memcmp(got, frame, sizeof(got)) &&
	       ring_used(&t.ring[NET_TX], &head, &written);
	if (write(peer, frame, sizeof(frame)) != sizeof(frame))
		return false;
	pump();
	kick(NET_RX);
	/* in two buffers of 600 bytes */
	while (ring_used(&t.ring[NET_RX], &head, &written))
		received++;
	return sent && received == 2;
}

static void test_no_allocation(void **state)
{
	struct net_options options = { .kind = NET_FD,
				       .bytes_per_s = 1ULL << 40 };
	unsigned before, arrived = 0;
	int ends[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	assert_int_equal(fcntl(ends[1], F_SETFL, O_RDWR | O_NONBLOCK), 0);
	options.file.fd = ends[0];
	before = allocations;
	assert_int_equal(try_net(&options), 0);
	/* It is counted, where there is any. */
	assert_true(allocations > before);
	drive(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX);
	before = allocations;
	for (unsigned i = 0; i < PACKETS; i++) {
		arrived += exchange(ends[1], i);
		if (i % 1000 == 999) {
			reset();
			drive(NET_F_MRG_RXBUF | FEATURE_EVENT_IDX);
		}
	}
	assert_int_equal(allocations, before);
	assert_int_equal(arrived, PACKETS);
	end_net();
	close(ends[1]);
	expect_no_log();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_allocation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
