/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/console.c cpu/console/open.c cpu/console/stream.c */
/* uses: cpu/console/tty.c cpu/console/uart.c mem/state.c */
/* uses: cpu/loop/unixsock.c cpu/loop/loop.c mem/log.c */
/* uses: tests/unit/console_help.c tests/unit/serial_help.c */
/* uses: tests/unit/console_pipes.c cpu/loop/file.c */
/*
 * The console on sockets, files and single descriptors, and the last output.
 */
#include "tests/unit/console_pipes.h"

#include <sys/stat.h>
#include <termios.h>

static void test_socket(void **state)
{
	char text[16];
	int pair[2];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	start_console(CONSOLE_FD, NULL, pair[0]);
	assert_int_equal(write(pair[1], "hello", 5), 5);
	run_until(got_hello);
	guest_prints("there");
	run_until(nothing_waits);
	read_all(pair[1], text, 5);
	assert_memory_equal(text, "there", 5);
	assert_false(is_nonblock(pair[0]));
	/* Nobody reads: no write waits. */
	for (int i = 0; i < 2000000; i++) {
		out(TX, 'x');
		if (i % 50000 == 0)
			run_for(2, NULL);
	}
	assert_true(console.host.out.watched);
	assert_false(is_nonblock(pair[0]));
	/* Gone: dropped, no signal, no more events. */
	close(pair[1]);
	run_for(20, NULL);
	assert_int_equal(uart_output_waiting(&serial), 0);
	assert_int_equal(console.host.in.source.fd, -1);
	close(pair[0]);
}

/*
 * A descriptor that can neither be opened anew nor be made non-blocking: a
 * pseudo-terminal's master, of which somebody else holds the slave.
 */
static void test_cannot_reopen(void **state)
{
	int master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	struct termios settings;
	size_t total = 0;
	char text[4096];
	ssize_t len;

	(void)state;
	assert_int_equal(grantpt(master) | unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_int_equal(tcgetattr(slave, &settings), 0);
	cfmakeraw(&settings);
	assert_int_equal(tcsetattr(slave, TCSANOW, &settings), 0);
	start_console(CONSOLE_FD, NULL, master);
	assert_int_equal(console.host.out.mode, STREAM_POLL);
	assert_int_equal(write(slave, "hello", 5), 5);
	run_until(got_hello);
	/* The slave's owner does not read; the loop must not wait for it. */
	for (size_t i = 0; i < 200000; i++) {
		out(TX, pattern(i));
		if (i % 50000 == 0)
			run_for(2, NULL);
	}
	assert_true(console.host.out.watched);
	for (int i = 0; i < 20000 && !nothing_waits(); i++) {
		while ((len = read(slave, text, sizeof(text))) > 0)
			for (ssize_t j = 0; j < len; j++, total++)
				assert_true(total >= UART_OUTPUT_RING ||
					    (uint8_t)text[j] == pattern(total));
		run_for(1, NULL);
	}
	while ((len = read(slave, text, sizeof(text))) > 0)
		total += (size_t)len;
	assert_int_equal(total,
			 200000 - uart_counter(&serial, SERIAL_DROPPED_BYTES));
	assert_false(is_nonblock(master));
	close(slave);
	console_close(&console);
	close(master);
}

static void test_one_way(void **state)
{
	char text[4];

	(void)state;
	start_console(CONSOLE_FD, NULL, from_guest[1]);
	assert_int_equal(console.host.in.source.fd, -1);
	guest_prints("out");
	run_until(nothing_waits);
	read_all(from_guest[0], text, 3);
	console_close(&console);
	/* The caller's descriptor is still open. */
	assert_int_equal(write(from_guest[1], "x", 1), 1);

	start_console(CONSOLE_FD, NULL, to_guest[0]);
	assert_int_equal(console.host.out.source.fd, -1);
	assert_int_equal(write(to_guest[1], "hello", 5), 5);
	run_until(got_hello);
	guest_prints("dropped");
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 7);
}

static void test_bad_fd(void **state)
{
	const struct console_options options = { .kind = CONSOLE_FD,
						 .file.fd = 999 };

	(void)state;
	assert_int_equal(console_open(&console, &options), -EBADF);
	assert_non_null(strstr(logged(), "fd=999"));
	assert_int_equal(logged_lines(), 1);
}

static void test_off(void **state)
{
	(void)state;
	start_console(CONSOLE_OFF, NULL, -1);
	for (int i = 0; i < 200000; i++)
		out(TX, 'x');
	run_for(5, NULL);
	assert_int_equal(uart_output_waiting(&serial), 0);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 200000);
	assert_int_equal(console_drain(&console, UINT64_MAX, -1), 0);
}

static void test_file(void **state)
{
	char dir[] = "/tmp/mote-test-XXXXXX", path[64], text[64] = "";
	struct console_options options = { .kind = CONSOLE_FILE,
					   .file.path = path };
	struct stat status;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	for (int run = 0; run < 2; run++) {
		start_console(CONSOLE_FILE, path, -1);
		guest_prints(run ? "new" : "of the first run");
		run_until(nothing_waits);
		guest_prints("!");
		assert_int_equal(console_drain(&console, 0, -1), 0);
		console_close(&console);
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	assert_string_equal(text, "new!");
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	close(fd);
	/* --check leaves it as it is, and makes none. */
	options.check = true;
	assert_int_equal(console_open(&console, &options), 0);
	console_close(&console);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size, 4);
	unlink(path);
	assert_int_equal(console_open(&console, &options), 0);
	console_close(&console);
	assert_int_equal(access(path, F_OK), -1);
	options.check = false;
	/* A FIFO without a reader must not hold mote up. */
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(console_open(&console, &options), -ENXIO);
	unlink(path);
	options.file.path = dir;
	assert_int_equal(console_open(&console, &options), -EISDIR);
	assert_int_equal(logged_lines(), 2);
	rmdir(dir);
}

/* -- the end -------------------------------------------------------------- */

/* As much as the ring holds, of the pattern from `start` on. */
static void fill(size_t start_at)
{
	for (size_t i = 0; i < UART_OUTPUT_RING; i++)
		out(TX, pattern(start_at + i));
}

static void test_drain_waits(void **state)
{
	int status;
	pid_t child;

	(void)state;
	start_console(CONSOLE_FD, NULL, from_guest[1]);
	/* The guest has ended; the pipe is full, and the ring. */
	fill(0);
	run_until(nothing_waits);
	fill(UART_OUTPUT_RING);
	assert_int_equal(console_drain(&console, 0, -1), UART_OUTPUT_RING);
	child = slow_reader(from_guest[0], 2000, (size_t)UART_OUTPUT_RING * 2);
	assert_int_equal(console_drain(&console, UINT64_MAX, -1), 0);
	console_stop(&console);
	console_close(&console);
	close_fd(&from_guest[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_drain_gives_up(void **state)
{
	int stop = eventfd(1, EFD_CLOEXEC);

	(void)state;
	start_stdio(to_guest[0], from_guest[1]);
	fill(0);
	run_until(nothing_waits);
	fill(UART_OUTPUT_RING);
	/* Time is up; a signal; the reader leaves. */
	assert_int_equal(console_drain(&console, 30000000, -1),
			 UART_OUTPUT_RING);
	assert_int_equal(console_drain(&console, UINT64_MAX, stop),
			 UART_OUTPUT_RING);
	close_fd(&from_guest[0]);
	assert_int_equal(console_drain(&console, UINT64_MAX, -1),
			 UART_OUTPUT_RING);
	close(stop);
}

/* Never opened, as when mote fails early. */
static void test_unused(void **state)
{
	static struct console zero;

	(void)state;
	console_suspend(&zero);
	console_resume(&zero);
	console_stop(&zero);
	console_close(&zero);
	assert_true(fcntl(STDOUT_FILENO, F_GETFD) >= 0);
}

static void expect_length(int fd, off_t length)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, length);
}

/* max=: what was written since somebody else has emptied the file stays. */
static void test_limited_file(void **state)
{
	static const char text[30000];
	char path[] = "/tmp/mote-limited-XXXXXX";
	const int fd = mkostemp(path, O_APPEND | O_CLOEXEC);
	struct stream stream = stream_open(fd, O_WRONLY, true);

	(void)state;
	unlink(path);
	assert_int_equal(stream_limit(&stream, 65536), 0);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(stream_write(&stream, text, 30000), 30000);
		expect_length(fd, i * 30000);
	}
	assert_int_equal(ftruncate(fd, 0), 0);
	for (int i = 1; i <= 2; i++) {
		assert_int_equal(stream_write(&stream, text, 5000), 5000);
		expect_length(fd, i * 5000);
	}
	/* Now it is full by what was written here alone. */
	assert_int_equal(stream_write(&stream, text, 30000), 30000);
	expect_length(fd, 40000);
	assert_int_equal(stream_write(&stream, text, 30000), 30000);
	expect_length(fd, 30000);
	stream_close(&stream);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup_pipes, teardown_pipes)
	const struct CMUnitTest tests[] = {
		TEST(test_socket),	TEST(test_cannot_reopen),
		TEST(test_one_way),	TEST(test_bad_fd),
		TEST(test_off),		TEST(test_file),
		TEST(test_drain_waits), TEST(test_drain_gives_up),
		TEST(test_unused),	TEST(test_limited_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
