/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* What flows through streams of the vsock device, and what holds it up. */
#include "tests/unit/vsock_help.h"

static uint8_t pattern[1 << 20], collected[1 << 20];

static void fill_pattern(void)
{
	uint32_t value = 12345;

	for (size_t i = 0; i < sizeof(pattern); i++) {
		value = value * 1664525u + 1013904223u;
		pattern[i] = (uint8_t)(value >> 24);
	}
}

/* Everything the host writes reaches the guest, in whatever buffers. */
static void receive(int fd, uint32_t host_port, uint32_t guest_port,
		    size_t total)
{
	size_t written = 0, done = 0;

	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (done < total) {
		ssize_t len = write(fd, pattern + written, total - written);

		written += len > 0 ? (size_t)len : 0;
		run_ticks(1, NULL);
		while (packet_came()) {
			if (got.op == VSOCK_OP_CREDIT_REQUEST) {
				guest_op(VSOCK_OP_CREDIT_UPDATE, host_port,
					 guest_port, 0);
				continue;
			}
			assert_int_equal(got.op, VSOCK_OP_RW);
			assert_int_not_equal(got.len, 0);
			memcpy(collected + done, got_data, got.len);
			done += got.len;
			/* never more than there is room for */
			assert_true(done - guest_fwd <= guest_alloc);
			if (done - guest_fwd >= guest_alloc / 2) {
				guest_fwd = (uint32_t)done;
				guest_op(VSOCK_OP_CREDIT_UPDATE, host_port,
					 guest_port, 0);
			}
		}
	}
	assert_memory_equal(collected, pattern, total);
}

static void check_to_guest(uint32_t window, enum shape how, size_t total)
{
	int listener = host_listen_on(PORT, 4), fd;

	shape = how;
	guest_start();
	guest_alloc = window;
	fd = guest_connects(listener, GUEST);
	receive(fd, PORT, GUEST, total);
	close(fd);
	close(listener);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	guest_stop();
	assert_int_equal(vsock->conns.count, 0);
}

static void test_to_guest(void **state)
{
	(void)state;
	check_to_guest(WINDOW, TWO, sizeof(pattern));
	check_to_guest(WINDOW, ONE, sizeof(pattern));
	check_to_guest(WINDOW, CRUMBS, 20000);
	check_to_guest(65536, ONE, sizeof(pattern));
	check_to_guest(4096, TWO, 100000);
	check_to_guest(700, ONE, 20000);
	check_to_guest(1, TWO, 50);
}

/* Packets that came and of which the guest has not read the last byte. */
static unsigned unread_packets(const uint32_t *end, unsigned count)
{
	unsigned unread = 0;

	for (unsigned i = 0; i < count; i++)
		unread += end[i] > guest_fwd;
	return unread;
}

/*
 * The program in the guest reads a part of what came, and again a part: what is
 * left unread, with what Linux charges for its packets, never is more than the
 * guest has room for, and what was read makes room for more each time.
 */
static void check_partly_read(uint32_t part)
{
	static uint32_t end[4096];
	unsigned packets = 0, rounds = 0;
	uint32_t written = 0, done = 0, before;
	int listener = host_listen_on(PORT, 4), fd;

	guest_start();
	guest_alloc = 65536;
	fd = guest_connects(listener, GUEST);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (; done < 500000; rounds++) {
		before = done;
		for (int i = 0; i < 8; i++) {
			ssize_t len = write(fd, pattern + written, 20000);

			written += len > 0 ? (uint32_t)len : 0;
			run_ticks(1, NULL);
			while (packet_came()) {
				if (got.op != VSOCK_OP_RW)
					continue;
				memcpy(collected + done, got_data, got.len);
				done += got.len;
				assert_true(packets < ARRAY_LEN(end));
				end[packets++] = done;
			}
			assert_true(
				done - guest_fwd +
					576 * unread_packets(end, packets) <=
				guest_alloc);
		}
		assert_true(done > before);
		guest_fwd += (done - guest_fwd) / 100 * part;
		assert_true(guest_fwd < done);
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	}
	/* It was credit that held it up, not the host. */
	assert_in_range(rounds, 500000 / guest_alloc, UINT32_MAX);
	assert_true(written - done < 400000);
	assert_memory_equal(collected, pattern, done);
	close(fd);
	close(listener);
	guest_stop();
}

static void test_partly_read(void **state)
{
	(void)state;
	check_partly_read(50);
	check_partly_read(70);
	check_partly_read(95);
}

/*
 * Small writes while nobody reads: what Linux charges for a packet, 576 bytes,
 * is never more than what it has room for; and all arrives in the end.
 */
static void test_small_writes(void **state)
{
	const uint32_t total = 60000;
	uint32_t written = 0, bytes = 0, packets = 0;
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	for (unsigned i = 0; bytes < total; i++) {
		if (written < total &&
		    send(fd, pattern + written, 20, MSG_DONTWAIT) == 20)
			written += 20;
		run_ticks(1, NULL);
		while (packet_came()) {
			if (got.op != VSOCK_OP_RW)
				continue;
			memcpy(collected + bytes, got_data, got.len);
			bytes += got.len;
			packets++;
		}
		assert_true(packets * 576 + bytes - guest_fwd <= guest_alloc);
		/* The program in the guest reads now and then. */
		if (i % 1500 == 1499) {
			assert_true(packets > 100);
			guest_fwd = bytes;
			packets = 0;
			guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
		}
	}
	assert_memory_equal(collected, pattern, total);
	close(fd);
	close(listener);
}

/* -- credit to the byte --------------------------------------------------- */

#define PER_PACKET 640u /* what the device charges */
#define ROOM_LEAST 1024u

/* The guest has read so many bytes of the stream, and has a buffer of that. */
static void tell_credit(uint32_t fwd, uint32_t alloc)
{
	guest_fwd = fwd;
	guest_alloc = alloc;
	guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
}

/* Data came; anything else is passed over. */
static bool data_came(void)
{
	while (packet_came())
		if (got.op == VSOCK_OP_RW)
			return true;
	return false;
}

static void send_packet(int fd, uint32_t len)
{
	host_write(fd, pattern, len);
	assert_true(run_ticks(SOON, data_came));
	assert_int_equal(got.len, len);
}

/* The room that is left beside these bytes and packets, and the next one. */
static void expect_room(uint32_t unread, uint32_t packets)
{
	assert_int_equal(conn_room(&vsock->conns.conn[0], 0, 0),
			 WINDOW - unread - (packets + 1) * PER_PACKET);
}

/* The guest acknowledges bytes; whose packets count is kept in two parts. */
static void test_packets_are_acknowledged(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	expect_room(0, 0);
	send_packet(fd, 100);
	send_packet(fd, 100);
	expect_room(200, 2);
	/* From now on in two parts: these, and what follows. */
	tell_credit(50, WINDOW);
	expect_room(150, 2);
	send_packet(fd, 100);
	expect_room(250, 3);
	tell_credit(150, WINDOW);
	expect_room(150, 3);
	tell_credit(200, WINDOW); /* the end of the first part */
	expect_room(100, 1);
	send_packet(fd, 100);
	send_packet(fd, 100);
	expect_room(300, 3);
	tell_credit(299, WINDOW);
	expect_room(201, 3);
	tell_credit(300, WINDOW);
	expect_room(200, 2);
	tell_credit(500, WINDOW); /* all of it */
	expect_room(0, 0);
	send_packet(fd, 100);
	expect_room(100, 1);
	tell_credit(550, WINDOW);
	expect_room(50, 1);
	close(fd);
	close(listener);
}

/* How little is not worth a packet, and how much ends a stop. */
static void test_little_room(void **state)
{
	const uint32_t cost = 6000 + 3 * PER_PACKET;
	const struct conn *conn = &vsock->conns.conn[0];
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	send_packet(fd, 3000);
	send_packet(fd, 3000);
	tell_credit(0, cost);
	assert_int_equal(conn_room(conn, 0, 0), 0);
	tell_credit(0, cost + ROOM_LEAST - 1);
	assert_int_equal(conn_room(conn, 0, 0), 0);
	tell_credit(0, cost + ROOM_LEAST);
	assert_int_equal(conn_room(conn, 0, 0), ROOM_LEAST);
	assert_int_equal(conn_room(conn, 1, 0), 0);
	tell_credit(0, cost + ROOM_LEAST + PER_PACKET + 5);
	assert_int_equal(conn_room(conn, 5, 1), ROOM_LEAST);
	/* It is stopped, and goes on when a quarter is free: 2639 of 10559. */
	tell_credit(0, cost);
	host_write(fd, pattern, 2639);
	run_a_while();
	assert_false(data_came());
	assert_true(conn->out_of_credit);
	tell_credit(0, 10558);
	run_a_while();
	assert_false(data_came());
	tell_credit(0, 10559);
	assert_true(run_ticks(SOON, data_came));
	assert_int_equal(got.len, 2639);
	/* Nothing unread: all that it has, however little that is. */
	tell_credit(8639, 3);
	assert_int_equal(conn_room(conn, 0, 0), 3);
	tell_credit(8639, 0);
	assert_int_equal(conn_room(conn, 0, 0), 0);
	close(fd);
	close(listener);
}

/* A descriptor in the stream ends a read early, and must not end the stream. */
static void test_passed_descriptor(void **state)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { pattern, 10 };
	struct msghdr message = { .msg_iov = &iov,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	int listener = host_listen_on(PORT, 4), fd, null = open("/dev/null", 0);

	(void)state;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &null, sizeof(null));
	guest_start();
	fd = guest_connects(listener, GUEST);
	for (int i = 0; i < 3; i++)
		assert_int_equal(sendmsg(fd, &message, 0), 10);
	host_write(fd, pattern, 7);
	for (unsigned len = 0; len < 37; len += got.len)
		expect_packet(VSOCK_OP_RW, PORT, GUEST);
	close(null);
	close(fd);
	close(listener);
}

/*
 * A reader on the host that does not read: what the guest may send is kept, the
 * rest of it waits in the guest, and other streams do not notice.
 */
static void test_slow_reader(void **state)
{
	uint32_t sent = 0, fwd = 0;
	int listener = host_listen_on(PORT, 4), slow, quick;

	(void)state;
	guest_start();
	slow = guest_connects(listener, GUEST);
	quick = guest_connects(listener, GUEST + 1);
	for (;;) {
		uint32_t len = VSOCK_BUFFER - (sent - fwd);

		len = len < 50000 ? len : 50000;
		if (!len)
			break;
		guest_data(PORT, GUEST, pattern + sent, len);
		sent += len;
		while (packet_came()) {
			assert_int_equal(got.op, VSOCK_OP_CREDIT_UPDATE);
			fwd = got.fwd_cnt;
		}
	}
	/* The socket's own buffer, and ours. */
	assert_true(sent >= VSOCK_BUFFER && sent <= sizeof(pattern));
	for (unsigned i = 0; i < 20; i++) {
		guest_data(PORT, GUEST + 1, "quick", 5);
		host_gets_text(quick, "quick");
		host_say(slow, "and back");
		expect_packet(VSOCK_OP_RW, PORT, GUEST);
	}
	host_gets(slow, pattern, sent);
	run_a_while();
	while (packet_came())
		fwd = got.op == VSOCK_OP_CREDIT_UPDATE ? got.fwd_cnt : fwd;
	assert_true(sent - fwd < VSOCK_BUFFER / 2);
	/* One that asks is told exactly. */
	guest_op(VSOCK_OP_CREDIT_REQUEST, PORT, GUEST, 0);
	expect_packet(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST);
	assert_int_equal(got.fwd_cnt, sent);
	guest_data(PORT, GUEST, "end", 3);
	host_gets_text(slow, "end");
	close(slow);
	close(quick);
	close(listener);
}

/* One for half a buffer: then the guest has as much to go on with. */
static void test_credit_updates(void **state)
{
	const uint32_t step = 16384;
	unsigned updates = 0;
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	for (uint32_t sent = 0; sent < 4 * VSOCK_BUFFER; sent += step) {
		guest_data(PORT, GUEST, pattern, step);
		host_gets(fd, pattern, step);
		while (packet_came())
			updates += got.op == VSOCK_OP_CREDIT_UPDATE;
	}
	assert_int_equal(updates, 8);
	close(fd);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_to_guest),
		vsock_test(test_partly_read),
		vsock_test(test_small_writes),
		vsock_test(test_packets_are_acknowledged),
		vsock_test(test_little_room),
		vsock_test(test_passed_descriptor),
		vsock_test(test_slow_reader),
		vsock_test(test_credit_updates),
	};

	fill_pattern();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
