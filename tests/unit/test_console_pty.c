/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/console.c cpu/console/open.c cpu/console/stream.c */
/* uses: cpu/console/tty.c cpu/console/uart.c mem/state.c */
/* uses: cpu/loop/unixsock.c cpu/loop/loop.c mem/log.c */
/* uses: tests/unit/console_help.c tests/unit/serial_help.c cpu/loop/file.c */
/*
 * The console on a pseudo-terminal: opened, left, stalled, opened again.
 */
#include "tests/unit/console_help.h"

#include <termios.h>

static char pty_name[64];

static void start_pty(void)
{
	start_console(CONSOLE_PTY, NULL, -1);
	assert_int_equal(sscanf(logged(), "mote: serial is on %63s", pty_name),
			 1);
	assert_int_equal(logged_lines(), 1);
}

static int open_pty(void)
{
	int fd = open(pty_name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void test_pty(void **state)
{
	struct termios settings;
	int fd;

	(void)state;
	start_pty();
	guest_prints("nobody there\r\n");
	run_for(5, NULL);
	for (int turn = 0; turn < 3; turn++) {
		guest_got_len = 0;
		fd = open_pty();
		run_until(has_client);
		if (!turn)
			expect_text(fd, "nobody there\r\n");
		/* Raw, whatever the last client has set. */
		assert_int_equal(tcgetattr(fd, &settings), 0);
		assert_int_equal(settings.c_lflag & (ECHO | ICANON | ISIG), 0);
		assert_int_equal(settings.c_oflag & OPOST, 0);
		assert_int_equal(write(fd, "hello", 5), 5);
		run_until(got_hello);
		guest_prints("login: \n");
		run_until(nothing_waits);
		expect_text(fd, "login: \n");
		settings.c_lflag |= ECHO | ICANON;
		tcsetattr(fd, TCSANOW, &settings);
		close(fd);
		run_until(has_none);
	}
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
}

/* Opened by `screen` before the guest runs. */
static void test_pty_opened_early(void **state)
{
	const struct console_options options = { .kind = CONSOLE_PTY };
	int fd;

	(void)state;
	assert_int_equal(console_open(&console, &options), 0);
	assert_int_equal(sscanf(logged(), "mote: serial is on %63s", pty_name),
			 1);
	fd = open_pty();
	assert_int_equal(console_start(&console, &loop, &serial,
				       (struct tty_escape){ 0 }),
			 0);
	guest_prints("first words");
	run_until(nothing_waits);
	expect_text(fd, "first words");
	close(fd);
}

static void test_pty_stalled(void **state)
{
	int fd;

	(void)state;
	start_pty();
	fd = open_pty();
	run_until(has_client);
	for (int i = 0; i < 300000; i++) {
		out(TX, 'x');
		if (i % 50000 == 0)
			run_for(2, NULL);
	}
	assert_true(console.host.out.watched);
	close(fd);
	run_until(has_none);
	assert_int_equal(uart_output_waiting(&serial), 0);
}

/* Closing the master would take the last words from a reader that is slow. */
static void test_pty_last_words(void **state)
{
	char text[4096];
	size_t total = 0;
	ssize_t len;
	int status, fd;
	pid_t child;

	(void)state;
	start_pty();
	fd = open_pty();
	run_until(has_client);
	child = fork();
	if (!child) {
		alarm(30);
		close(console.host.pty_fd);
		close(console.host.in.source.fd);
		close(console.host.out.source.fd);
		usleep(100000);
		while ((len = read(fd, text, 100)) > 0) {
			total += (size_t)len;
			usleep(1000);
		}
		_exit(total == 3000 ? 0 : 1);
	}
	close(fd);
	for (int i = 0; i < 3000; i++)
		out(TX, 'x');
	assert_int_equal(console_drain(&console, UINT64_MAX, -1), 0);
	console_close(&console);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);

	/* Nor does one that never reads hold mote up for ever. */
	memset(&console, 0, sizeof(console));
	ftruncate(log_fd, 0);
	lseek(log_fd, 0, SEEK_SET);
	start_pty();
	fd = open_pty();
	run_until(has_client);
	guest_prints("unread");
	assert_int_equal(console_drain(&console, 50000000, -1), 6);
	close(fd);
	assert_int_equal(console_drain(&console, UINT64_MAX, -1), 0);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, console_setup,               \
					console_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pty),
		TEST(test_pty_opened_early),
		TEST(test_pty_stalled),
		TEST(test_pty_last_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
