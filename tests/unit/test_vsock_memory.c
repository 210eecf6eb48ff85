/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* What all streams of a vsock device can make the host hold, and who has how
 * many of them. */
#include <sys/mman.h>
#include <sys/resource.h>

#include "mem/pool.h"
#include "tests/unit/faults.h"
#include "tests/unit/vsock_help.h"

#define STREAMS	 600u
#define PIECE	 50000u
#define MIB	 (1u << 20)
#define BACKLOG	 4096
#define PAGE	 4096u
#define ALL_HOLD (8 * MIB) /* of a guest of 64 MiB */
#define EACH	 16384u	   /* and that, however many there are */

static uint8_t bytes[PIECE];

/* What the guest knows of a stream: bytes sent, and how far it may send. */
static struct stream {
	uint32_t sent, edge;
	int fd;
} streams[STREAMS];

/* A packet says how far its stream may go: never less far than before. */
static void note_credit(struct stream *stream)
{
	const uint32_t edge = got.fwd_cnt + got.buf_alloc;

	assert_true((int32_t)(edge - stream->edge) >= 0);
	assert_true(got.buf_alloc >= stream->sent - got.fwd_cnt);
	stream->edge = edge;
}

static void take_credit(void)
{
	while (packet_came()) {
		assert_int_equal(got.op, VSOCK_OP_CREDIT_UPDATE);
		assert_in_range(got.dst_port, GUEST, GUEST + STREAMS - 1);
		note_credit(&streams[got.dst_port - GUEST]);
	}
}

static void begin(int listener, unsigned i)
{
	struct stream *stream = &streams[i];

	*stream = (struct stream){ .fd = -1 };
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + i, 0);
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST + i);
	note_credit(stream);
	stream->fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	assert_true(stream->fd >= 0);
}

/* As much as it may; the host reads none of it. */
static void fill(unsigned i)
{
	struct stream *stream = &streams[i];
	uint32_t len;

	while ((len = stream->edge - stream->sent)) {
		len = len < PIECE ? len : PIECE;
		stream->sent += len;
		guest_data(PORT, GUEST + i, bytes, len);
		take_credit();
	}
}

static void end(unsigned i)
{
	guest_op(VSOCK_OP_RST, PORT, GUEST + i, 0);
	close(streams[i].fd);
	streams[i].fd = -1;
}

static size_t held(unsigned count)
{
	size_t sum = 0;

	for (unsigned i = 0; i < count; i++)
		sum += streams[i].fd < 0 ? 0 : streams[i].sent;
	return sum;
}

/* What the kernel lets lie in the socket of a stream. */
static int socket_size(unsigned i)
{
	int size = 0;
	socklen_t len = sizeof(size);

	assert_int_equal(getsockopt(vsock->conns.conn[i].socket.source.fd,
				    SOL_SOCKET, SO_SNDBUF, &size, &len),
			 0);
	return size;
}

/* Nobody reads. All that is accepted is held by the host, somewhere. */
static void test_bound(void **state)
{
	int listener = host_listen_on(PORT, BACKLOG);

	(void)state;
	guest_start();
	begin(listener, 0);
	assert_int_equal(streams[0].edge, VSOCK_BUFFER);
	fill(0);
	assert_true(streams[0].sent >= VSOCK_BUFFER);
	for (unsigned i = 1; i < STREAMS; i++) {
		begin(listener, i);
		fill(i);
		assert_true(held(i + 1) <= ALL_HOLD + i * (size_t)EACH);
	}
	assert_int_equal(streams[STREAMS - 1].edge - streams[STREAMS - 1].sent,
			 0);
	assert_true(streams[STREAMS - 1].sent >= PAGE);
	assert_true(socket_size(STREAMS - 1) < (int)EACH / 2);
	/* The old ones go, and come anew: they have no more than the others. */
	for (unsigned i = 0; i < 64; i++) {
		end(i);
		begin(listener, i);
		fill(i);
	}
	assert_true(held(STREAMS) <= 4 * MIB + STREAMS * (size_t)EACH);
	for (unsigned i = 0; i < STREAMS; i++)
		close(streams[i].fd);
	close(listener);
}

/*
 * What a slow reader makes mote keep takes no more memory than its window,
 * wherever in the ring that has got to.
 */
static void test_touched(void **state)
{
	const unsigned count = 8, last = count - 1;
	const struct conns *conns = &vsock->conns;
	static uint8_t room[40000];
	static unsigned char page[VSOCK_BUFFER / PAGE];
	int listener = host_listen_on(PORT, BACKLOG);
	unsigned touched = 0;

	(void)state;
	guest_start();
	for (unsigned i = 0; i < count; i++)
		begin(listener, i);
	assert_int_equal(streams[last].edge, VSOCK_BUFFER / 2);
	fill(last);
	for (unsigned round = 0; round < 40; round++) {
		assert_true(recv(streams[last].fd, room, sizeof(room),
				 MSG_DONTWAIT) > 0);
		run_ticks(1, NULL);
		take_credit();
		fill(last);
		assert_true(conns->conn[last].buffered > 0);
	}
	assert_true(streams[last].sent > 3 * VSOCK_BUFFER);
	assert_int_equal(mincore(conns->buffers + last * (size_t)VSOCK_BUFFER,
				 VSOCK_BUFFER, page),
			 0);
	for (unsigned i = 0; i < ARRAY_LEN(page); i++)
		touched += page[i] & 1;
	assert_int_equal(touched, VSOCK_BUFFER / 2 / PAGE);
	for (unsigned i = 0; i < count; i++)
		close(streams[i].fd);
	close(listener);
}

/* The host reads until nothing comes any more. */
static size_t drain(unsigned i)
{
	static uint8_t room[1 << 16];
	size_t sum = 0;
	ssize_t len;

	for (unsigned idle = 0; idle < 3;) {
		len = recv(streams[i].fd, room, sizeof(room), MSG_DONTWAIT);
		sum += len > 0 ? (size_t)len : 0;
		idle = len > 0 ? 0 : idle + 1;
		run_ticks(1, NULL);
		take_credit();
	}
	return sum;
}

/*
 * What a stream was granted while it was alone it may send when it is one of
 * many, and no byte of it is lost; then it has as much as the others; and with
 * the others gone it has all again.
 */
static void test_granted(void **state)
{
	int listener = host_listen_on(PORT, BACKLOG);
	uint32_t before;

	(void)state;
	guest_start();
	for (unsigned i = 0; i < STREAMS; i++)
		begin(listener, i);
	assert_int_equal(streams[0].edge, VSOCK_BUFFER);
	fill(0);
	assert_true(streams[0].sent >= VSOCK_BUFFER);
	/* It had the host's buffer of many: the first byte is written then. */
	assert_true(socket_size(0) < (int)EACH / 2);
	assert_int_equal(drain(0), streams[0].sent);
	assert_in_range(streams[0].edge - streams[0].sent, PAGE / 2, PAGE);
	for (unsigned i = 1; i < STREAMS; i++)
		end(i);
	before = streams[0].sent;
	for (unsigned i = 0; i < 8; i++) {
		fill(0);
		drain(0);
	}
	assert_in_range(streams[0].edge - streams[0].sent, VSOCK_BUFFER / 2,
			VSOCK_BUFFER);
	assert_true(streams[0].sent - before > VSOCK_BUFFER);
	assert_in_range(socket_size(0), 4 * PIECE, UINT32_MAX);
	end(0);
	close(listener);
}

/* The guest's bytes and mote's own pointers do not lie side by side. */
static void test_guarded(void **state)
{
	struct conns *conns = &vsock->conns;
	uint8_t *end = conns->buffers + conns->max * (size_t)VSOCK_BUFFER;

	(void)state;
	assert_true(faults(conns->buffers - 1));
	assert_false(faults(conns->buffers));
	assert_false(faults(end - 1));
	assert_true(faults(end));
	assert_true(faults((uint8_t *)conns->conn - 1));
	assert_true(faults((uint8_t *)conns->conn +
			   round_up(conns->mapped, POOL_GUARD)));
}

/* The more memory the guest has, the more streams have whole buffers. */
static void test_share(void **state)
{
	int listener = host_listen_on(PORT, BACKLOG);

	(void)state;
	assert_int_equal(vsock->conns.whole, 256); /* of 4 GiB */
	guest_start();
	for (unsigned i = 0; i < 257; i++) {
		begin(listener, i);
		assert_int_equal(streams[i].edge, VSOCK_BUFFER >> (i == 256));
	}
	for (unsigned i = 0; i < 257; i++)
		close(streams[i].fd);
	close(listener);
}

/* What the guest's streams leave behind when they are closed, read by nobody.
 */
static void test_left_behind(void **state)
{
	static uint8_t room[1 << 16];
	int listener = host_listen_on(PORT, BACKLOG), fd;
	size_t left = 0;
	ssize_t len;

	(void)state;
	guest_start();
	for (unsigned i = 0; i < 50; i++) {
		begin(listener, 0);
		fill(0);
		fd = dup(streams[0].fd);
		end(0);
		assert_int_equal(vsock->conns.count, 0);
		while ((len = recv(fd, room, sizeof(room), 0)) > 0)
			left += (size_t)len;
		close(fd);
	}
	assert_in_range(left, 50 * 1000, 50 * EACH);
	/* One whose other end reads has as much as ever. */
	begin(listener, 0);
	for (unsigned i = 0; i < 2; i++) {
		fill(0);
		drain(0);
	}
	assert_in_range(socket_size(0), 4 * PIECE, UINT32_MAX);
	end(0);
	close(listener);
}

/* Data beyond what was granted ends that stream: no other has room for it. */
static void test_beyond(void **state)
{
	int listener = host_listen_on(PORT, BACKLOG);

	(void)state;
	guest_start();
	for (unsigned i = 0; i < STREAMS; i++)
		begin(listener, i);
	fill(STREAMS - 1);
	guest_data(PORT, GUEST + STREAMS - 1, bytes, 1);
	expect_rst(PORT, GUEST + STREAMS - 1);
	for (unsigned i = 0; i < STREAMS; i++)
		close(streams[i].fd);
	close(listener);
}

/* However many the guest has begun, clients of the host have places. */
static void test_places_of_clients(void **state)
{
	int listener = host_listen_on(PORT, BACKLOG), client;
	unsigned i = 0;

	(void)state;
	vsock->conns.guests_max = 70; /* of, say, 80 */
	vsock->conns.max = 80;
	guest_start();
	for (; i < 70; i++)
		begin(listener, i);
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + i, 0);
	expect_rst(PORT, GUEST + i);
	assert_non_null(strstr(logged.last, "70 connections are the most"));
	client = host_connects(PORT);
	close(client);
	assert_true(run_ticks(SOON, packet_came));
	assert_int_equal(got.op, VSOCK_OP_SHUTDOWN);
	end(0);
	begin(listener, 0);
	for (i = 0; i < 70; i++)
		close(streams[i].fd);
	close(listener);
}

/*
 * Nor do they take the last descriptors: where mote has more of them open than
 * thought, the guest's stream is refused while there are some.
 */
static void test_last_descriptors(void **state)
{
	int listener = host_listen_on(PORT, BACKLOG), fd, client;
	struct rlimit limit;
	const unsigned spare = vsock->conns.max - vsock->conns.guests_max;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(vsock->conns.files_max + 32 <= (int)limit.rlim_cur);
	guest_start();
	/* The lowest that is free is one too high. */
	fd = dup(listener);
	close(fd);
	vsock->conns.files_max = fd + (int)spare;
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	/* For a client of the host there is one. */
	client = host_connects(PORT);
	guest_op(VSOCK_OP_RST, got.src_port, PORT, 0);
	close(client);
	assert_int_equal(vsock->conns.count, 0);
	/* What is no stream has some even where clients have none left. */
	vsock->conns.files_max = fd;
	client = host_dial();
	run_a_while();
	assert_int_equal(vsock->conns.count, 0);
	assert_non_null(strstr(logged.last, "clients have to wait"));
	close(client);
	close(listener);
}

static int setup_small(void **state)
{
	guest_memory = 64 * MIB;
	return setup(state);
}

static int setup_large(void **state)
{
	guest_memory = 4096ULL * MIB;
	return setup(state);
}

#define small_test(name)                                                       \
	cmocka_unit_test_setup_teardown(name, setup_small, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		small_test(test_bound),
		small_test(test_touched),
		small_test(test_granted),
		small_test(test_left_behind),
		small_test(test_beyond),
		small_test(test_guarded),
		small_test(test_places_of_clients),
		small_test(test_last_descriptors),
		cmocka_unit_test_setup_teardown(test_share, setup_large,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
