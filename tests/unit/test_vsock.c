/* uses: virtio/vsock.c virtio/vsock_rx.c virtio/vsock_conn.c */
/* uses: virtio/vsock_pool.c virtio/vsock_unix.c virtio/queue.c */
/* uses: cpu/loop.c cpu/unixsock.c mem/ram.c */
/* Streams of the vsock device: how they begin, carry data, and end. */
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

/* -- beginnings ----------------------------------------------------------- */

static void test_host_connects(void **state)
{
	uint32_t first, second;
	int a, b;

	(void)state;
	guest_start();
	a = host_connects(PORT);
	first = got.src_port;
	assert_int_equal(got.src_cid, 2);
	assert_int_equal(got.type, 1);
	assert_int_equal(got.buf_alloc, VSOCK_BUFFER);
	assert_in_range(first, 1u << 30, (1u << 31) - 1);
	b = host_connects(PORT);
	second = got.src_port;
	assert_int_not_equal(first, second);

	guest_data(first, PORT, "to a", 4);
	guest_data(second, PORT, "to b", 4);
	host_gets_text(b, "to b");
	host_gets_text(a, "to a");
	host_say(a, "from a");
	expect_packet(VSOCK_OP_RW, first, PORT);
	assert_memory_equal(got_data, "from a", 6);
	assert_int_equal(got.len, 6);
	assert_int_equal(got.fwd_cnt, 4);
	host_say(b, "from b!");
	expect_packet(VSOCK_OP_RW, second, PORT);
	assert_int_equal(got.len, 7);
	close(a);
	close(b);
}

/* What comes behind the line, in the same write even, is for the guest. */
static void test_data_behind_command(void **state)
{
	static const char *const lines[] = {
		"CONNECT 77\n",	     "connect 77\n",	"Connect 77\r\n",
		"  CONNECT  77  \n", "CONNECT\t77 x\n", "CONNECT 0000077\n",
	};

	(void)state;
	guest_start();
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		char text[64];
		int fd = host_dial();

		snprintf(text, sizeof(text), "%sand\nmore", lines[i]);
		host_say(fd, text);
		expect_request(77);
		expect_no_packet();
		guest_op(VSOCK_OP_RESPONSE, got.src_port, 77, 0);
		snprintf(text, sizeof(text), "OK %u\n", got.src_port);
		host_gets_text(fd, text);
		expect_packet(VSOCK_OP_RW, got.src_port, 77);
		assert_int_equal(got.len, 8);
		assert_memory_equal(got_data, "and\nmore", 8);
		close(fd);
		expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, 77);
		guest_op(VSOCK_OP_RST, got.src_port, 77, 0);
	}
	assert_int_equal(vsock->count, 0);
}

/* In as many pieces as it has bytes; others do not wait for it. */
static void test_slow_command(void **state)
{
	static const char line[] = "CONNECT 4294967295\n";
	int fd, other;

	(void)state;
	guest_start();
	fd = host_dial();
	for (size_t i = 0; i < sizeof(line) - 1; i++) {
		host_write(fd, line + i, 1);
		run_a_while();
		if (i == 9) {
			other = host_connects(PORT);
			close(other);
			expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, PORT);
			guest_op(VSOCK_OP_RST, got.src_port, PORT, 0);
		}
	}
	expect_request(UINT32_MAX);
	close(fd);
}

static void test_bad_commands(void **state)
{
	static const char *const lines[] = {
		"\n",
		"CONNECT\n",
		"CONNECT \n",
		"CONNECT x\n",
		"CONNECT -1\n",
		"CONNECT 12x\n",
		"CONNECT 4294967296\n",
		"CONNECT 99999999999999999999\n",
		"CONNECTED 12\n",
		"GET / HTTP/1.1\r\n",
		"CONNECT                               12\n",
		"\xff\xfe\xfd\n",
		"0123456789012345678901234567890123456789",
	};

	(void)state;
	guest_start();
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		int fd = host_dial();

		host_say(fd, lines[i]);
		host_gets_eof(fd);
		close(fd);
	}
	/* A zero in the line; and whoever leaves at any place in it. */
	for (size_t i = 0; i <= 11; i++) {
		int fd = host_dial();

		host_write(fd, "CONNECT 1\0002\n", i);
		run_a_while();
		close(fd);
	}
	run_a_while();
	expect_no_packet();
	assert_int_equal(vsock->count, 0);
}

static void test_guest_refuses(void **state)
{
	int fd;

	(void)state;
	guest_start();
	fd = host_dial();
	host_say(fd, "CONNECT 9\n");
	expect_request(9);
	guest_op(VSOCK_OP_RST, got.src_port, 9, 0);
	host_gets_eof(fd);
	assert_int_equal(vsock->count, 0);
	close(fd);
}

/* Clients that come before the driver does wait for it. */
static void test_before_the_driver(void **state)
{
	int fd;

	(void)state;
	fd = host_dial();
	host_say(fd, "CONNECT 9\n");
	run_a_while();
	guest_start();
	expect_request(9);
	close(fd);
}

static void test_guest_connects(void **state)
{
	int listener = host_listen_on(PORT, 4), a, b;

	(void)state;
	guest_start();
	a = guest_connects(listener, GUEST);
	b = guest_connects(listener, GUEST + 1);
	guest_data(PORT, GUEST + 1, "bbb", 3);
	guest_data(PORT, GUEST, "aa", 2);
	host_gets_text(a, "aa");
	host_gets_text(b, "bbb");
	host_say(b, "x");
	expect_packet(VSOCK_OP_RW, PORT, GUEST + 1);
	assert_int_equal(got.fwd_cnt, 3);
	close(a);
	close(b);
	close(listener);
}

/* The host's side writes before the guest has heard that it is connected. */
static void test_early_data(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	host_say(fd, "hi");
	expect_packet(VSOCK_OP_RESPONSE, PORT, GUEST);
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_int_equal(got.len, 2);
	close(fd);
	close(listener);
}

static void test_nobody_listens(void **state)
{
	int listener = host_listen_on(PORT, 4);
	char name[80];

	(void)state;
	close(listener); /* its file stays */
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	guest_op(VSOCK_OP_REQUEST, PORT + 1, GUEST, 0);
	expect_rst(PORT + 1, GUEST);
	snprintf(name, sizeof(name), "%s_%u", path, PORT + 2);
	assert_int_equal(mkdir(name, 0700), 0);
	guest_op(VSOCK_OP_REQUEST, PORT + 2, GUEST, 0);
	expect_rst(PORT + 2, GUEST);
	assert_int_equal(vsock->count, 0);
}

/* -- data ----------------------------------------------------------------- */

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
	assert_int_equal(vsock->count, 0);
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
	assert_true(sent > VSOCK_BUFFER && sent <= sizeof(pattern));
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
	assert_true(sent - fwd < VSOCK_BUFFER / 4);
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

/* -- ends ----------------------------------------------------------------- */

static void test_guest_half_closes(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_data(PORT, GUEST, "last", 4);
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST, VSOCK_SHUT_SEND);
	host_gets_text(fd, "last");
	host_gets_eof(fd);
	host_say(fd, "answer");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	assert_int_equal(got.len, 6);
	close(fd);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	expect_no_packet();
	assert_int_equal(vsock->count, 0);
	close(listener);
}

static void test_host_half_closes(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	host_say(fd, "last");
	shutdown(fd, SHUT_WR);
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_SEND);
	guest_data(PORT, GUEST, "answer", 6);
	host_gets_text(fd, "answer");
	/* close() in the guest */
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST,
		 VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	expect_rst(PORT, GUEST);
	host_gets_eof(fd);
	assert_int_equal(vsock->count, 0);
	close(fd);
	close(listener);
}

/* The guest will not read any more: the host's writes fail. */
static void test_guest_stops_reading(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST, VSOCK_SHUT_RCV);
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	guest_data(PORT, GUEST, "still", 5);
	host_gets_text(fd, "still");
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST, VSOCK_SHUT_SEND);
	expect_rst(PORT, GUEST);
	host_gets_eof(fd);
	close(fd);
	close(listener);
}

/* The host will not read any more: the guest is told, and may be read on. */
static void test_host_stops_reading(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	shutdown(fd, SHUT_RD);
	guest_data(PORT, GUEST, "in vain", 7);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_RCV);
	host_say(fd, "hear me");
	expect_packet(VSOCK_OP_RW, PORT, GUEST);
	close(fd);
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	assert_int_equal(got.flags, VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	assert_int_equal(vsock->count, 0);
	close(listener);
}

/* The host closes with data under way: all of it arrives before the end. */
static void test_host_closes_behind_data(void **state)
{
	const size_t total = 150000;
	size_t done = 0;
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	guest_alloc = 10000;
	fd = guest_connects(listener, GUEST);
	host_write(fd, pattern, total);
	close(fd);
	do {
		assert_true(run_ticks(SOON, packet_came));
		if (got.op == VSOCK_OP_RW) {
			assert_memory_equal(got_data, pattern + done, got.len);
			done += got.len;
		}
		guest_fwd = (uint32_t)done;
		guest_op(VSOCK_OP_CREDIT_UPDATE, PORT, GUEST, 0);
	} while (got.op != VSOCK_OP_SHUTDOWN || !(got.flags & VSOCK_SHUT_SEND));
	assert_int_equal(done, total);
	/* And what the guest sends now is swallowed. */
	guest_data(PORT, GUEST, "late", 4);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	expect_no_packet();
	assert_int_equal(vsock->count, 0);
	close(listener);
}

/* The guest closes with data under way to a reader that takes its time. */
static void close_behind_data(bool forgets)
{
	uint32_t sent = 0, fwd = 0;
	int listener = host_listen_on(PORT, 4), fd;

	guest_start();
	fd = guest_connects(listener, GUEST);
	for (; sent - fwd < VSOCK_BUFFER && sent < sizeof(pattern);) {
		guest_data(PORT, GUEST, pattern + sent, 1024);
		sent += 1024;
		while (packet_came())
			fwd = got.fwd_cnt;
	}
	guest_op(VSOCK_OP_SHUTDOWN, PORT, GUEST,
		 VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
	expect_no_packet();
	/* Linux waits for 8 s; then it sends RST and may use the port again. */
	if (forgets) {
		guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
		close(guest_connects(listener, GUEST));
		expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	}
	host_gets(fd, pattern, sent);
	host_gets_eof(fd);
	if (!forgets)
		expect_rst(PORT, GUEST);
	else
		guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	assert_int_equal(vsock->count, 0);
	close(fd);
	close(listener);
	guest_stop();
}

static void test_guest_closes_behind_data(void **state)
{
	(void)state;
	close_behind_data(false);
	close_behind_data(true);
}

/* The host closes without having read: that is no ordinary end. */
static void test_host_aborts(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_data(PORT, GUEST, "unread", 6);
	close(fd);
	expect_rst(PORT, GUEST);
	assert_int_equal(vsock->count, 0);
	close(listener);
}

static void test_guest_aborts(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;

	(void)state;
	guest_start();
	fd = guest_connects(listener, GUEST);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	host_gets_eof(fd);
	expect_no_packet();
	assert_int_equal(vsock->count, 0);
	close(fd);
	close(listener);
}

/* A client that leaves before the guest answers, with and without data. */
static void test_client_leaves_early(void **state)
{
	(void)state;
	guest_start();
	for (int data = 0; data < 2; data++) {
		int fd = host_dial();

		host_say(fd, data ? "CONNECT 9\ndata" : "CONNECT 9\n");
		expect_request(9);
		close(fd);
		run_a_while();
		guest_op(VSOCK_OP_RESPONSE, got.src_port, 9, 0);
		if (data) {
			expect_packet(VSOCK_OP_RW, got.src_port, 9);
			assert_int_equal(got.len, 4);
			expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, 9);
			assert_int_equal(got.flags, VSOCK_SHUT_RCV);
		}
		expect_packet(VSOCK_OP_SHUTDOWN, got.src_port, 9);
		assert_int_equal(got.flags, VSOCK_SHUT_SEND | VSOCK_SHUT_RCV);
		guest_op(VSOCK_OP_RST, got.src_port, 9, 0);
		assert_int_equal(vsock->count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_host_connects),
		vsock_test(test_data_behind_command),
		vsock_test(test_slow_command),
		vsock_test(test_bad_commands),
		vsock_test(test_guest_refuses),
		vsock_test(test_before_the_driver),
		vsock_test(test_guest_connects),
		vsock_test(test_early_data),
		vsock_test(test_nobody_listens),
		vsock_test(test_to_guest),
		vsock_test(test_small_writes),
		vsock_test(test_passed_descriptor),
		vsock_test(test_slow_reader),
		vsock_test(test_guest_half_closes),
		vsock_test(test_host_half_closes),
		vsock_test(test_guest_stops_reading),
		vsock_test(test_host_stops_reading),
		vsock_test(test_host_closes_behind_data),
		vsock_test(test_guest_closes_behind_data),
		vsock_test(test_host_aborts),
		vsock_test(test_guest_aborts),
		vsock_test(test_client_leaves_early),
	};

	fill_pattern();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
