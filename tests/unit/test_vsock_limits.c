/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/vsock_help.c */
/* ldflags: -Wl,--wrap=log_info,--wrap=loop_add */
/* How many streams the vsock device has, what they cost, and where it listens.
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/unit/vsock_help.h"

#define FLOOD 100u

static uint8_t bytes[65536];

void __wrap_log_info(const char *format, ...);

static char informed[256];

void __wrap_log_info(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(informed, sizeof(informed), format, args);
	va_end(args);
}

int __real_loop_add(struct loop *to, struct loop_source *source,
		    uint32_t events);
int __wrap_loop_add(struct loop *to, struct loop_source *source,
		    uint32_t events);

static bool no_watch;

/* The kernel bounds how much one user watches: epoll(7), max_user_watches */
int __wrap_loop_add(struct loop *to, struct loop_source *source,
		    uint32_t events)
{
	return no_watch ? -ENOSPC : __real_loop_add(to, source, events);
}

/* -- limits --------------------------------------------------------------- */

/* Where this process may have few files: for the last test, there is no way */
/* back for everybody. */
static int setup_few(void **state)
{
	const struct rlimit few = { 64 + 16, 64 + 16 };

	return setrlimit(RLIMIT_NOFILE, &few) || setup(state);
}

static void test_all_in_use(void **state)
{
	int listener = host_listen_on(PORT, 40), fd[16], late;

	(void)state;
	assert_int_equal(vsock->conns.max, 16);
	guest_start();
	for (uint32_t i = 0; i < 16; i++)
		fd[i] = i % 2 ? guest_connects(listener, GUEST + i)
			      : host_connects(PORT);
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST + 99, 0);
	expect_rst(PORT, GUEST + 99);
	assert_non_null(strstr(logged.last, "16 connections"));
	/* A client waits until one has ended. */
	late = host_dial();
	host_say(late, "CONNECT 8\n");
	expect_no_packet();
	guest_op(VSOCK_OP_RST, PORT, GUEST + 1, 0);
	expect_request(8);
	assert_int_equal(vsock->conns.count, 16);
	for (int i = 0; i < 16; i++)
		close(fd[i]);
	close(late);
	close(listener);
}

/* Fewer than these are too few; after the test above, with no way back. */
static int setup_fewest(void **state)
{
	const struct rlimit few = { 64 + 8, 64 + 8 };

	return setrlimit(RLIMIT_NOFILE, &few) || setup(state);
}

static int open_at(const char *where);

static void test_fewest_files(void **state)
{
	const struct rlimit fewer = { 64 + 7, 64 + 7 };
	char other[80];

	(void)state;
	assert_int_equal(vsock->conns.max, 8);
	snprintf(other, sizeof(other), "%s.other", path);
	assert_int_equal(open_at(other), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &fewer), 0);
	assert_int_equal(open_at(other), -EMFILE);
	assert_non_null(strstr(logged.last, "71 open files are too few"));
}

/* Pages of a mapping that are there. */
static size_t resident(const void *at, size_t len)
{
	static unsigned char pages[1 << 19];
	size_t count = 0;

	len = (len + 4095) / 4096;
	assert_true(len <= sizeof(pages));
	assert_int_equal(mincore((void *)(uintptr_t)at, len * 4096, pages), 0);
	for (size_t i = 0; i < len; i++)
		count += pages[i] & 1;
	return count * 4096;
}

static size_t memory_used(void)
{
	const struct conns *conns = &vsock->conns;

	return resident(conns->buffers, (size_t)conns->max * VSOCK_BUFFER) +
	       resident(conns->conn, conns->mapped);
}

static void test_a_thousand(void **state)
{
	static uint32_t port[1000];
	static int fd[1000];
	size_t before = memory_used(), idle;
	char text[16];

	(void)state;
	assert_true(vsock->conns.max >= 1000);
	guest_start();
	for (uint32_t i = 0; i < 1000; i++) {
		fd[i] = host_connects(PORT);
		port[i] = got.src_port;
	}
	assert_int_equal(vsock->conns.count, 1000);
	for (uint32_t i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "stream %u", i);
		host_say(fd[i], text);
		expect_packet(VSOCK_OP_RW, port[i], PORT);
		assert_memory_equal(got_data, text, strlen(text));
		guest_data(port[i], PORT, got_data, got.len);
		host_gets_text(fd[i], text);
	}
	idle = (memory_used() - before) / 1000;
	print_message("# an idle connection: %zu bytes\n", idle);
	assert_in_range(idle, 100, 400);
	for (uint32_t i = 0; i < 1000; i++)
		close(fd[i]);
	while (vsock->conns.count) {
		assert_true(run_ticks(SOON, packet_came));
		assert_int_equal(got.op, VSOCK_OP_SHUTDOWN);
		guest_op(VSOCK_OP_RST, got.src_port, PORT, 0);
	}
	assert_int_equal(vsock->conns.count, 0);
}

/* What was kept for slow readers is given back when they have gone. */
static void test_buffers_are_given_back(void **state)
{
	int listener = host_listen_on(PORT, 4), fd;
	size_t before;

	(void)state;
	expect_sound(); /* which looks at the whole table */
	before = memory_used();
	guest_start();
	fd = guest_connects(listener, GUEST);
	for (unsigned i = 0; i < 4; i++)
		guest_data(PORT, GUEST, bytes, 65536);
	assert_true(memory_used() > before + 65536);
	close(fd);
	do
		assert_true(run_ticks(SOON, packet_came));
	while (got.op != VSOCK_OP_RST);
	assert_true(memory_used() < before + 16384);
	close(listener);
}

/*
 * A socket that cannot be watched costs that one stream, and where it is the
 * one with the clients, they are let in when the next stream has ended.
 */
static void test_nothing_can_be_watched(void **state)
{
	int listener = host_listen_on(PORT, 4), fd, refused;

	(void)state;
	no_watch = true;
	guest_start();
	fd = host_dial();
	host_say(fd, "CONNECT 8\n");
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	refused = accept(listener, NULL, NULL);
	host_gets_eof(refused);
	close(refused);
	no_watch = false;
	/* Nor does time do it, of which much passes on a busy machine. */
	vsock->conns.accept_ns = loop_now() + 3600000000000ULL;
	close(guest_connects(listener, GUEST));
	expect_packet(VSOCK_OP_SHUTDOWN, PORT, GUEST);
	expect_no_packet();
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	expect_request(8);
	guest_op(VSOCK_OP_RST, got.src_port, 8, 0);
	host_gets_eof(fd);
	close(fd);

	no_watch = true;
	fd = host_dial();
	host_gets_eof(fd);
	assert_int_equal(vsock->conns.count, 0);
	no_watch = false;
	close(host_connects(PORT));
	close(fd);
	close(listener);
}

/* -- paths ---------------------------------------------------------------- */

static int open_at(const char *where)
{
	const struct vsock_options options = { .file = { where, -1 },
					       .cid = 3 };
	struct vsock *other = NULL;
	int error = vsock_open(&other, &options);

	if (!error)
		vsock_destroy(other);
	return error;
}

static void test_paths(void **state)
{
	char longest[200], name[80];
	struct stat status;
	int fd;

	(void)state;
	assert_int_equal(open_at(path), -EADDRINUSE);
	assert_non_null(strstr(logged.last, "another program"));
	assert_int_equal(open_at("/nowhere/at/all"), -ENOENT);
	assert_int_equal(open_at(dir), -EEXIST);
	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(open_at(longest), -ENAMETOOLONG);
	/* PATH_4294967295 has to fit, too. */
	memcpy(longest, dir, strlen(dir));
	longest[strlen(dir)] = '/';
	longest[96] = 0;
	assert_int_equal(open_at(longest), -ENAMETOOLONG);
	longest[95] = 0;
	assert_int_equal(open_at(longest), 0);
	assert_int_equal(stat(longest, &status), -1);
	/* A dead one's socket is replaced; a file is not. */
	close(host_listen_on(1, 1));
	snprintf(name, sizeof(name), "%s_1", path);
	assert_int_equal(open_at(name), 0);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	assert_int_equal(open_at(name), -EEXIST);
	close(fd);
}

/* -- sockets of the caller's ----------------------------------------------- */

static int open_fd(int fd, struct vsock **other)
{
	const struct vsock_options options = { .file = { NULL, fd }, .cid = 3 };

	*other = NULL;
	return vsock_open(other, &options);
}

static void test_descriptor(void **state)
{
	int pair[2], fd = host_listen_on(PORT, 4);
	struct vsock *other;
	struct stat status;
	char name[80];

	(void)state;
	snprintf(name, sizeof(name), "%s_%u", path, PORT);
	assert_int_equal(open_fd(fd, &other), 0);
	assert_int_equal(other->conns.host.fd, fd);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	/* The host's listeners are found beside it; it is not ours to remove.
	 */
	assert_string_equal(other->conns.host.prefix, name);
	vsock_destroy(other);
	assert_int_equal(stat(name, &status), 0);

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(open_fd(pair[0], &other), -EINVAL);
	assert_non_null(strstr(logged.last, "does not listen"));
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	assert_int_equal(open_fd(fd, &other), -EINVAL);
	assert_non_null(strstr(logged.last, "no unix stream socket"));
	close(fd);
	fd = open(dir, O_RDONLY);
	assert_int_equal(open_fd(fd, &other), -EINVAL);
	close(fd);
	assert_int_equal(open_fd(999, &other), -EBADF);
	assert_non_null(
		strstr(logged.last, "--vsock fd=999: no such descriptor"));
	close(pair[0]);
	close(pair[1]);
}

/* Without a path there is no place for listeners. */
static void test_descriptor_without_path(void **state)
{
	const struct sockaddr any = { .sa_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct vsock *other;

	(void)state;
	/* unix(7), autobind: an abstract name */
	assert_int_equal(bind(fd, &any, sizeof(any.sa_family)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(open_fd(fd, &other), 0);
	assert_null(other->conns.host.prefix);
	assert_non_null(strstr(informed, "are refused"));
	assert_false(vsock_dials(other));
	vsock_destroy(other);
}

/* Without a broker the guest reaches nobody; whoever comes reaches it. */
static void test_no_broker(void **state)
{
	int listener = host_listen_on(PORT, 1), client;

	(void)state;
	mock_broker_lose();
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	run_a_while();
	assert_non_null(strstr(logged.last, "has ended"));
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	expect_rst(PORT, GUEST);
	assert_int_equal(vsock->conns.count, 0);
	client = host_connects(PORT);
	close(client);
	close(listener);
}

/* Nor does a guest wait for turns that a lost broker will never give. */
static void test_broker_is_lost_in_a_flood(void **state)
{
	int listener = host_listen_on(PORT, 1);

	(void)state;
	guest_start();
	vsock->conns.dials = BROKER_PENDING_MAX; /* so many were asked for */
	mock_broker_lose();
	run_a_while();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	/* At once, and not when its turn has not come for 2 s. */
	assert_int_not_equal(vsock->conns.conn[0].wait, VSOCK_WAIT_TURN);
	expect_rst(PORT, GUEST);
	assert_int_equal(vsock->conns.count, 0);
	close(listener);
}

static unsigned responses;

static bool all_answered(void)
{
	while (packet_came()) {
		assert_int_equal(got.op, VSOCK_OP_RESPONSE);
		responses++;
	}
	return responses == FLOOD;
}

/*
 * The broker is asked for a few connections at a time, and has never more to
 * read than these; who waits has a turn, and who gives up is passed over, as
 * is the connection that was made for it.
 */
static void test_flood(void **state)
{
	int listener = host_listen_on(PORT, 2 * FLOOD);
	struct conns *conns = &vsock->conns;

	(void)state;
	guest_start();
	for (uint32_t i = 0; i < FLOOD + 2; i++)
		guest_op(VSOCK_OP_REQUEST, PORT, GUEST + i, 0);
	assert_int_equal(conns->dials, BROKER_PENDING_MAX);
	assert_int_equal(conns->count, FLOOD + 2);
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	guest_op(VSOCK_OP_RST, PORT, GUEST + FLOOD + 1, 0);
	assert_int_equal(conns->count, FLOOD);
	assert_int_equal(conns->dials, BROKER_PENDING_MAX);
	responses = 0;
	assert_true(run_ticks(SOON, all_answered));
	assert_int_equal(conns->dials, 0);
	assert_int_equal(conns->count, FLOOD);
	close(listener);
}

/* A broker that does not answer keeps nobody else waiting. */
static void test_broker_hangs(void **state)
{
	int listener = host_listen_on(PORT, 1), client;

	(void)state;
	mock_broker_stop();
	guest_start();
	guest_op(VSOCK_OP_REQUEST, PORT, GUEST, 0);
	client = host_connects(PORT);
	expect_no_packet();
	guest_op(VSOCK_OP_RST, PORT, GUEST, 0);
	assert_int_equal(vsock->conns.count, 1);
	assert_int_equal(vsock->conns.dials, 1);
	close(client);
	close(listener);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		vsock_test(test_a_thousand),
		vsock_test(test_buffers_are_given_back),
		vsock_test(test_nothing_can_be_watched),
		vsock_test(test_paths),
		vsock_test(test_descriptor),
		vsock_test(test_descriptor_without_path),
		vsock_test(test_no_broker),
		vsock_test(test_broker_is_lost_in_a_flood),
		vsock_test(test_flood),
		vsock_test(test_broker_hangs),
		cmocka_unit_test_setup_teardown(test_all_in_use, setup_few,
						teardown),
		cmocka_unit_test_setup_teardown(test_fewest_files, setup_fewest,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
