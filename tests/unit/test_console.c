/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/console.c cpu/console/open.c cpu/console/stream.c */
/* uses: cpu/console/tty.c cpu/console/uart.c mem/state.c */
/* uses: cpu/loop/unixsock.c cpu/loop/loop.c mem/log.c */
/* uses: tests/unit/console_help.c tests/unit/serial_help.c */
/* uses: tests/unit/console_pipes.c cpu/loop/file.c */
/*
 * The console on stdin and stdout: all bytes arrive, the shell's descriptions
 * are not changed, and no reader or writer holds the guest up.
 */
#include <time.h>

#include "tests/unit/console_pipes.h"

static void test_pipes(void **state)
{
	char text[16];

	(void)state;
	start_stdio(to_guest[0], from_guest[1]);
	assert_int_equal(write(to_guest[1], "hello", 5), 5);
	run_until(got_hello);
	guest_prints("welcome\r\n");
	run_until(nothing_waits);
	read_all(from_guest[0], text, 9);
	assert_memory_equal(text, "welcome\r\n", 9);
	/* The shell has these too. */
	assert_false(is_nonblock(STDIN_FILENO));
	assert_false(is_nonblock(STDOUT_FILENO));
	/* Ctrl-A means something on a terminal only. */
	guest_got_len = 0;
	assert_int_equal(write(to_guest[1], "\1x\1\1", 4), 4);
	run_for(20, NULL);
	guest_reads();
	assert_true(guest_has("\1x\1\1"));
	assert_string_equal(logged(), "");
}

static unsigned printed;

static bool print_each_tick(void)
{
	guest_prints(".");
	return ++printed == 400;
}

/* A stream is written in pieces, not byte by byte. */
static void test_few_writes(void **state)
{
	struct timespec began, ended;
	unsigned pieces = 0;
	size_t total = 0;
	char text[256];
	int pair[2];
	long ms;

	(void)state;
	/* Each write is a message here. */
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	start_console(CONSOLE_FD, NULL, pair[0]);
	printed = 0;
	clock_gettime(CLOCK_MONOTONIC, &began);
	run_until(print_each_tick);
	run_until(nothing_waits);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	ms = (ended.tv_sec - began.tv_sec) * 1000 +
	     (ended.tv_nsec - began.tv_nsec) / 1000000;
	while (total < 400) {
		total += (size_t)read(pair[1], text, sizeof(text));
		pieces++;
	}
	assert_in_range(pieces, 1, ms + 2);
	close(pair[0]);
	close(pair[1]);
}

static void test_stdin_ends(void **state)
{
	char text[4];

	(void)state;
	start_stdio(to_guest[0], from_guest[1]);
	assert_int_equal(write(to_guest[1], "hello", 5), 5);
	close_fd(&to_guest[1]);
	run_until(got_hello);
	run_for(10, NULL);
	assert_int_equal(console.host.in.source.fd, -1);
	guest_prints("on");
	run_until(nothing_waits);
	read_all(from_guest[0], text, 2);
	assert_memory_equal(text, "on", 2);
	assert_string_equal(logged(), "");
}

static void test_no_stdin(void **state)
{
	char text[4];

	(void)state;
	start_stdio(-1, from_guest[1]);
	guest_prints("out");
	run_until(nothing_waits);
	read_all(from_guest[0], text, 3);
	assert_memory_equal(text, "out", 3);
}

static void test_null(void **state)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	start_stdio(null, null);
	guest_prints("out");
	run_until(nothing_waits);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	assert_string_equal(logged(), "");
	close(null);
}

/* -- much of it ----------------------------------------------------------- */

#define MUCH (10u << 20)

static void write_pattern(int fd, size_t len)
{
	static uint8_t data[8192];
	ssize_t put;

	for (size_t at = 0; at < len; at += (size_t)put) {
		size_t n = len - at < sizeof(data) ? len - at : sizeof(data);

		for (size_t i = 0; i < n; i++)
			data[i] = pattern(at + i);
		put = write(fd, data, n);
		if (put <= 0)
			_exit(1);
	}
}

static bool got_much(void)
{
	guest_reads();
	return guest_got_len >= MUCH;
}

/* Pasted: more than pipe, buffer, queue and FIFO hold together. */
static void test_large_paste(void **state)
{
	pid_t child = fork();

	(void)state;
	if (!child) {
		write_pattern(to_guest[1], MUCH);
		_exit(0);
	}
	start_stdio(to_guest[0], from_guest[1]);
	run_until(got_much);
	assert_int_equal(guest_got_len, MUCH);
	assert_true(guest_sum == pattern_sum(MUCH));
	assert_int_equal(waitpid(child, NULL, 0), child);
}

/* stdin from a file, which epoll does not know. */
static void test_stdin_file(void **state)
{
	char name[] = "/tmp/mote-test-XXXXXX";
	int fd = mkostemp(name, O_CLOEXEC);

	(void)state;
	unlink(name);
	write_pattern(fd, MUCH);
	lseek(fd, 0, SEEK_SET);
	start_stdio(fd, from_guest[1]);
	run_until(got_much);
	assert_int_equal(guest_got_len, MUCH);
	assert_true(guest_sum == pattern_sum(MUCH));
	run_for(10, NULL);
	assert_int_equal(console.host.in.source.fd, -1);
	close(fd);
}

/* A guest that does not read holds its writer up, and loses nothing. */
static void test_guest_does_not_read(void **state)
{
	size_t written = 0;

	(void)state;
	out(IER, 0);
	start_stdio(to_guest[0], from_guest[1]);
	assert_int_equal(fcntl(to_guest[1], F_SETFL, O_NONBLOCK), 0);
	for (int i = 0; i < 100; i++) {
		uint8_t byte = pattern(written);

		while (write(to_guest[1], &byte, 1) == 1)
			byte = pattern(++written);
		run_for(2, NULL);
	}
	assert_in_range(written, CONSOLE_BUFFER + UART_INPUT_QUEUE, 100000);
	/* The writer leaves; what it wrote is there all the same. */
	close_fd(&to_guest[1]);
	run_for(10, NULL);
	out(IER, 1);
	for (int i = 0; i < 1000 && guest_got_len < written; i++) {
		guest_reads();
		run_for(1, NULL);
	}
	assert_int_equal(guest_got_len, written);
	assert_true(guest_sum == pattern_sum(written));
}

/* -- readers that stall --------------------------------------------------- */

static void test_full_pipe(void **state)
{
	static char text[1 << 20];
	size_t total = 0;
	ssize_t len;

	(void)state;
	start_stdio(to_guest[0], from_guest[1]);
	for (int i = 0; i < 500000; i++) {
		out(TX, (uint8_t)('a' + i % 26));
		if (i % 50000 == 0)
			run_for(2, NULL);
	}
	/* The loop is alive, the guest went on, the rest is counted. */
	assert_true(console.host.out.watched);
	assert_true(uart_counter(&serial, SERIAL_DROPPED_BYTES) > 0);
	fcntl(from_guest[0], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 50; i++) {
		while ((len = read(from_guest[0], text + total, 4096)) > 0)
			total += (size_t)len;
		run_for(1, NULL);
	}
	assert_int_equal(total,
			 500000 - uart_counter(&serial, SERIAL_DROPPED_BYTES));
	assert_false(console.host.out.watched);
	for (size_t i = 0; i < UART_OUTPUT_RING; i++)
		assert_int_equal(text[i], 'a' + i % 26);
	assert_string_equal(logged(), "");
}

static void test_slow_reader_loses_nothing(void **state)
{
	int status;
	pid_t child;

	(void)state;
	child = slow_reader(from_guest[0], 500, PROGRAM_BYTES);
	start_console(CONSOLE_FD, NULL, from_guest[1]);
	program_sent = 0;
	out(IER, 3);
	run_until(program_sends);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	console_close(&console);
	close_fd(&from_guest[1]);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

static void test_closed_stdout(void **state)
{
	(void)state;
	start_stdio(to_guest[0], from_guest[1]);
	close_fd(&from_guest[0]);
	for (int i = 0; i < 100; i++) {
		guest_prints("to whom?\r\n");
		run_for(2, NULL);
	}
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 1000);
	assert_int_equal(uart_output_waiting(&serial), 0);
	assert_true(logged_lines() <= 1);
	/* Input still works. */
	assert_int_equal(write(to_guest[1], "hello", 5), 5);
	run_until(got_hello);
	assert_int_equal(console_drain(&console, 0, -1), 0);
}

static void test_full_disk(void **state)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	start_stdio(to_guest[0], full);
	for (int i = 0; i < 10; i++) {
		guest_prints("no space\r\n");
		run_for(2, NULL);
	}
	assert_int_equal(logged_lines(), 1);
	assert_non_null(strstr(logged(), "No space left"));
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 100);
	close(full);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup_pipes, teardown_pipes)
	const struct CMUnitTest tests[] = {
		TEST(test_pipes),	  TEST(test_few_writes),
		TEST(test_stdin_ends),	  TEST(test_no_stdin),
		TEST(test_null),	  TEST(test_large_paste),
		TEST(test_stdin_file),	  TEST(test_guest_does_not_read),
		TEST(test_full_pipe),	  TEST(test_slow_reader_loses_nothing),
		TEST(test_closed_stdout), TEST(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
