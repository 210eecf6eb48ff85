/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/console.c cpu/console/open.c cpu/console/stream.c */
/* uses: cpu/console/tty.c cpu/console/uart.c mem/state.c */
/* uses: cpu/loop/unixsock.c cpu/loop/loop.c mem/log.c */
/* uses: tests/unit/console_help.c tests/unit/serial_help.c cpu/loop/file.c */
/*
 * The console on a unix socket: clients that come, go, stall and come again.
 */
#include "tests/unit/console_help.h"

#include <sys/resource.h>
#include <sys/un.h>

static char dir[32], path[64];

static int setup_dir(void **state)
{
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/serial", dir);
	return console_setup(state);
}

static int teardown_dir(void **state)
{
	int error = console_teardown(state);

	unlink(path);
	return rmdir(dir) || error;
}

static struct sockaddr_un address_of(const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
	return address;
}

static int join(void)
{
	const struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		connect(fd, (const struct sockaddr *)&address, sizeof(address)),
		0);
	return fd;
}

static void expect_text_soon(int fd, const char *want)
{
	run_until(has_client);
	run_until(nothing_waits);
	expect_text(fd, want);
}

static void test_unix_client(void **state)
{
	int fd;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	guest_prints("nobody there\r\n");
	run_for(5, NULL);
	fd = join();
	run_until(has_client);
	expect_text(fd, "nobody there\r\n");
	guest_prints("login: ");
	assert_int_equal(write(fd, "hello", 5), 5);
	run_until(got_hello);
	run_until(nothing_waits);
	expect_text(fd, "login: ");
	close(fd);
	run_until(has_none);
	/* What is printed between two clients is the second one's. */
	guest_prints("and again");
	run_for(5, NULL);
	fd = join();
	expect_text_soon(fd, "and again");
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	close(fd);
	run_until(has_none);
}

static void test_unix_clients_queue(void **state)
{
	struct pollfd poll_fd = { .events = POLLIN };
	int first, second;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	first = join();
	second = join();
	run_until(has_client);
	guest_prints("for the first");
	run_until(nothing_waits);
	expect_text(first, "for the first");
	poll_fd.fd = second;
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	/* What it sent last arrives, although it has left. */
	assert_int_equal(write(first, "hello", 5), 5);
	close(first);
	run_until(got_hello);
	run_until(has_client);
	run_for(5, NULL);
	guest_prints("for the second");
	run_until(nothing_waits);
	expect_text(second, "for the second");
	close(second);
	run_until(has_none);
}

/* `echo hello | nc -U -N`: has sent all, still wants the output. */
static void test_unix_half_closed(void **state)
{
	int fd;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	fd = join();
	assert_int_equal(write(fd, "hello", 5), 5);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	run_until(got_hello);
	run_for(5, NULL);
	assert_true(has_client());
	guest_prints("and the answer");
	run_until(nothing_waits);
	expect_text(fd, "and the answer");
	close(fd);
	run_until(has_none);
	/* The next one may speak. */
	guest_got_len = 0;
	fd = join();
	assert_int_equal(write(fd, "hello", 5), 5);
	run_until(got_hello);
	close(fd);
}

/* It stalls, and leaves while it is owed output and the guest reads nothing. */
static void test_unix_rude_client(void **state)
{
	static char much[65536];
	size_t sent = 0;
	ssize_t len;
	int fd;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	out(IER, 0);
	fd = join();
	run_until(has_client);
	for (int i = 0; i < 20; i++) {
		memset(much, i, sizeof(much));
		len = send(fd, much, sizeof(much), MSG_DONTWAIT);
		sent += len > 0 ? (size_t)len : 0;
		for (int j = 0; j < 50000; j++)
			out(TX, 'x');
		run_for(2, NULL);
	}
	assert_true(console.host.out.watched);
	close(fd);
	run_for(10, NULL);
	/* The guest's programs are not held up by it. */
	assert_false(serial.output_blocked);
	assert_int_equal(uart_output_waiting(&serial), 0);
	/* Its bytes are all there, then the next one's. */
	fd = join();
	assert_int_equal(write(fd, "more", 4), 4);
	out(IER, 1);
	for (int i = 0; i < 2000 && guest_got_len < sent + 4; i++) {
		guest_reads();
		run_for(1, NULL);
	}
	assert_int_equal(guest_got_len, sent + 4);
	assert_true(has_client());
	close(fd);
}

static bool many_done(void)
{
	static int fd = -1;
	static int count;

	if (fd < 0) {
		fd = join();
	} else {
		close(fd);
		fd = -1;
		count++;
	}
	return count == 300;
}

static void test_unix_many_clients(void **state)
{
	int fds_before, fds_after;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	fds_before = dup(0);
	run_until(many_done);
	run_until(has_none);
	fds_after = dup(0);
	close(fds_before);
	close(fds_after);
	assert_in_range(fds_after, 0, fds_before + 1);
	assert_string_equal(logged(), "");
}

/* No descriptor is left: the client waits, and the loop does not spin. */
static void test_unix_out_of_descriptors(void **state)
{
	int fds[64], fds_count = 0;
	struct rlimit limit, full;
	int fd;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	fd = join();
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	full = limit;
	full.rlim_cur = (rlim_t)fd + 1;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &full), 0);
	while ((fds[fds_count] = dup(0)) >= 0)
		fds_count++;
	run_for(50, NULL);
	assert_true(console.accept_later);
	while (fds_count)
		close(fds[--fds_count]);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	run_until(has_client);
	guest_prints("at last");
	run_until(nothing_waits);
	expect_text(fd, "at last");
	close(fd);
}

/* A socket's file that a killed mote left behind. */
static void leave_stale(void)
{
	const struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(
		bind(fd, (const struct sockaddr *)&address, sizeof(address)),
		0);
	assert_int_equal(listen(fd, 1), 0);
	close(fd);
}

static void test_unix_stale(void **state)
{
	(void)state;
	leave_stale();
	start_console(CONSOLE_UNIX, path, -1);
	close(join());
	console_close(&console);
	assert_int_equal(access(path, F_OK), -1);
	assert_string_equal(logged(), "");
}

static void test_unix_live(void **state)
{
	const struct console_options options = { .kind = CONSOLE_UNIX,
						 .file.path = path };
	static struct console other;
	int fd;

	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	assert_int_equal(console_open(&other, &options), -EADDRINUSE);
	console_close(&other);
	assert_int_equal(logged_lines(), 1);
	/* It neither took the file nor the place of a client. */
	fd = join();
	run_until(has_client);
	run_for(10, NULL);
	guest_prints("still here");
	run_until(nothing_waits);
	expect_text(fd, "still here");
	close(fd);
}

static void test_unix_refusals(void **state)
{
	struct console_options options = { .kind = CONSOLE_UNIX,
					   .file.path = path };
	char longer[200];
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

	(void)state;
	/* Something else lies there: it stays. */
	assert_int_equal(console_open(&console, &options), -EEXIST);
	console_close(&console);
	assert_int_equal(access(path, F_OK), 0);
	assert_non_null(strstr(logged(), "not a socket"));
	close(fd);
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = 0;
	options.file.path = longer;
	assert_int_equal(console_open(&console, &options), -ENAMETOOLONG);
	console_close(&console);
	options.file.path = "/nowhere/at/all";
	assert_int_equal(console_open(&console, &options), -ENOENT);
	assert_int_equal(logged_lines(), 3);
}

/* The file is another's by now: not ours to remove. */
static void test_unix_replaced(void **state)
{
	(void)state;
	start_console(CONSOLE_UNIX, path, -1);
	unlink(path);
	leave_stale();
	console_close(&console);
	assert_int_equal(access(path, F_OK), 0);
}

/* A socket of the caller's: it is served, and it stays. */
static void test_unix_by_descriptor(void **state)
{
	const struct sockaddr_un address = address_of(path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(
		bind(fd, (const struct sockaddr *)&address, sizeof(address)),
		0);
	assert_int_equal(listen(fd, 1), 0);
	start_console(CONSOLE_FD, NULL, fd);
	assert_int_equal(console.host.kind, CONSOLE_UNIX);
	assert_true(is_nonblock(fd));
	fd = join();
	run_until(has_client);
	guest_prints("by descriptor");
	run_until(nothing_waits);
	expect_text(fd, "by descriptor");
	close(fd);
	console_stop(&console);
	console_close(&console);
	assert_int_equal(access(path, F_OK), 0);
	assert_string_equal(logged(), "");
}

/* Neither connected nor listening: nobody will ever be there. */
static void test_unix_by_bad_descriptor(void **state)
{
	struct console_options options = { .kind = CONSOLE_FD };

	(void)state;
	options.file.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(console_open(&console, &options), -ENOTCONN);
	console_close(&console);
	close(options.file.fd);
	options.file.fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(console_open(&console, &options), -EISDIR);
	console_close(&console);
	close(options.file.fd);
	assert_int_equal(logged_lines(), 2);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup_dir, teardown_dir)
	const struct CMUnitTest tests[] = {
		TEST(test_unix_client),
		TEST(test_unix_clients_queue),
		TEST(test_unix_half_closed),
		TEST(test_unix_rude_client),
		TEST(test_unix_many_clients),
		TEST(test_unix_out_of_descriptors),
		TEST(test_unix_stale),
		TEST(test_unix_live),
		TEST(test_unix_refusals),
		TEST(test_unix_replaced),
		TEST(test_unix_by_descriptor),
		TEST(test_unix_by_bad_descriptor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
