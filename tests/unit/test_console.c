/* uses: cpu/console.c cpu/console_clients.c cpu/console_drain.c cpu/tty.c */
/* uses: cpu/console_end.c cpu/console_open.c cpu/serial.c cpu/serial_line.c */
/* uses: cpu/loop.c mem/log.c */
/*
 * The console on pipes, sockets and files: all bytes arrive, nobody's file
 * descriptions are changed, and no reader or writer holds the guest up.
 */
#include "tests/unit/console_help.h"

#include <time.h>

static int to_guest[2], from_guest[2]; /* pipes: [0] read, [1] write */
static int saved_stdio[2] = { -1, -1 };

static int setup_pipes(void **state)
{
	if (pipe2(to_guest, O_CLOEXEC) || pipe2(from_guest, O_CLOEXEC))
		return -1;
	return setup(state);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void restore_stdio(void)
{
	for (int i = 0; i < 2; i++) {
		if (saved_stdio[i] >= 0)
			dup2(saved_stdio[i], i);
		close_fd(&saved_stdio[i]);
	}
}

static int teardown_pipes(void **state)
{
	int error = teardown(state);

	restore_stdio();
	for (int i = 0; i < 2; i++) {
		close_fd(&to_guest[i]);
		close_fd(&from_guest[i]);
	}
	return error;
}

/* mote's stdin and stdout; -1: leave it closed. cmocka gets its own back. */
static void start_stdio(int stdin_fd, int stdout_fd)
{
	const int fds[] = { stdin_fd, stdout_fd };

	for (int i = 0; i < 2; i++) {
		saved_stdio[i] = fcntl(i, F_DUPFD_CLOEXEC, 3);
		if (fds[i] < 0)
			close(i);
		else
			dup2(fds[i], i);
	}
	start(CONSOLE_STDIO, NULL, -1);
}

static bool got_hello(void)
{
	guest_reads();
	return guest_has("hello");
}

static bool nothing_waits(void)
{
	return !serial_output_waiting(&serial);
}

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
	start(CONSOLE_FD, NULL, pair[0]);
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
	assert_int_equal(console.in.source.fd, -1);
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
	assert_int_equal(serial_counters(&serial).dropped, 0);
	assert_string_equal(logged(), "");
	close(null);
}

/* -- much of it ----------------------------------------------------------- */

#define MUCH (10u << 20)

static uint8_t pattern(size_t i)
{
	return (uint8_t)(i * 13 + i / 241);
}

static uint64_t pattern_sum(size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = sum_byte(sum, pattern(i));
	return sum;
}

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
	assert_int_equal(console.in.source.fd, -1);
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
	assert_in_range(written, CONSOLE_BUFFER + SERIAL_INPUT_QUEUE, 100000);
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
	assert_true(console.out.watched);
	assert_true(serial_counters(&serial).dropped > 0);
	fcntl(from_guest[0], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 50; i++) {
		while ((len = read(from_guest[0], text + total, 4096)) > 0)
			total += (size_t)len;
		run_for(1, NULL);
	}
	assert_int_equal(total, 500000 - serial_counters(&serial).dropped);
	assert_false(console.out.watched);
	for (size_t i = 0; i < SERIAL_OUTPUT_RING; i++)
		assert_int_equal(text[i], 'a' + i % 26);
	assert_string_equal(logged(), "");
}

static size_t program_sent;
#define PROGRAM_BYTES 600000

/* A program behind the guest's tty: Linux's interrupt handler. */
static bool program_sends(void)
{
	uint64_t count;

	if (read(irq_fd, &count, sizeof(count)) < 0)
		return program_sent == PROGRAM_BYTES && nothing_waits();
	while (!(in(IIR)&1)) {
		if (!(in(LSR)&0x20))
			continue;
		for (int i = 0; i < 16 && program_sent < PROGRAM_BYTES; i++)
			out(TX, pattern(program_sent++));
		if (program_sent == PROGRAM_BYTES)
			out(IER, 1);
	}
	return false;
}

static pid_t slow_reader(int fd, useconds_t pause)
{
	static uint8_t data[3000];
	uint64_t sum = 0;
	size_t total = 0;
	ssize_t len;
	pid_t child = fork();

	if (child)
		return child;
	alarm(60);
	close(from_guest[1]);
	while ((len = read(fd, data, sizeof(data))) > 0) {
		for (ssize_t i = 0; i < len; i++)
			sum = sum_byte(sum, data[i]);
		total += (size_t)len;
		usleep(pause);
	}
	_exit(total == PROGRAM_BYTES && sum == pattern_sum(total) ? 0 : 1);
}

static void test_slow_reader_loses_nothing(void **state)
{
	int status;
	pid_t child;

	(void)state;
	child = slow_reader(from_guest[0], 500);
	start(CONSOLE_FD, NULL, from_guest[1]);
	program_sent = 0;
	out(IER, 3);
	run_until(program_sends);
	assert_int_equal(serial_counters(&serial).dropped, 0);
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
	assert_int_equal(serial_counters(&serial).dropped, 1000);
	assert_int_equal(serial_output_waiting(&serial), 0);
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
	assert_int_equal(serial_counters(&serial).dropped, 100);
	close(full);
}

/* -- other descriptors ---------------------------------------------------- */

static void test_socket(void **state)
{
	char text[16];
	int pair[2];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	start(CONSOLE_FD, NULL, pair[0]);
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
	assert_true(console.out.watched);
	assert_false(is_nonblock(pair[0]));
	/* Gone: dropped, no signal, no more events. */
	close(pair[1]);
	run_for(20, NULL);
	assert_int_equal(serial_output_waiting(&serial), 0);
	assert_int_equal(console.in.source.fd, -1);
	close(pair[0]);
}

static void test_one_way(void **state)
{
	char text[4];

	(void)state;
	start(CONSOLE_FD, NULL, from_guest[1]);
	assert_int_equal(console.in.source.fd, -1);
	guest_prints("out");
	run_until(nothing_waits);
	read_all(from_guest[0], text, 3);
	console_close(&console);
	/* The caller's descriptor is still open. */
	assert_int_equal(write(from_guest[1], "x", 1), 1);

	start(CONSOLE_FD, NULL, to_guest[0]);
	assert_int_equal(console.out.source.fd, -1);
	assert_int_equal(write(to_guest[1], "hello", 5), 5);
	run_until(got_hello);
	guest_prints("dropped");
	assert_int_equal(serial_counters(&serial).dropped, 7);
}

static void test_bad_fd(void **state)
{
	const struct console_options options = { .kind = CONSOLE_FD,
						 .fd = 999 };

	(void)state;
	assert_int_equal(console_open(&console, &options), -EBADF);
	assert_non_null(strstr(logged(), "fd=999"));
	assert_int_equal(logged_lines(), 1);
}

static void test_off(void **state)
{
	(void)state;
	start(CONSOLE_OFF, NULL, -1);
	for (int i = 0; i < 200000; i++)
		out(TX, 'x');
	run_for(5, NULL);
	assert_int_equal(serial_output_waiting(&serial), 0);
	assert_int_equal(serial_counters(&serial).dropped, 200000);
	assert_int_equal(console_drain(&console, UINT64_MAX, -1), 0);
}

static void test_file(void **state)
{
	char dir[] = "/tmp/mote-test-XXXXXX", path[64], text[64] = "";
	struct console_options options = { .kind = CONSOLE_FILE, .path = path };
	struct stat status;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/log", dir);
	for (int run = 0; run < 2; run++) {
		start(CONSOLE_FILE, path, -1);
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
	options.path = dir;
	assert_int_equal(console_open(&console, &options), -EISDIR);
	assert_int_equal(logged_lines(), 2);
	rmdir(dir);
}

/* -- the end -------------------------------------------------------------- */

static void fill(unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		out(TX, pattern(i));
}

static void test_drain_waits(void **state)
{
	int status;
	pid_t child = slow_reader(from_guest[0], 2000);

	(void)state;
	start(CONSOLE_FD, NULL, from_guest[1]);
	program_sent = 0;
	out(IER, 3);
	while (program_sent < PROGRAM_BYTES)
		run_for(1, program_sends);
	/* The guest has ended, the pipe and most of the ring are full. */
	assert_true(serial_output_waiting(&serial) > 1000);
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
	fill(SERIAL_OUTPUT_RING);
	run_for(10, NULL);
	fill(SERIAL_OUTPUT_RING);
	/* Time is up; a signal; the reader leaves. */
	assert_int_equal(console_drain(&console, 30000000, -1),
			 SERIAL_OUTPUT_RING);
	assert_int_equal(console_drain(&console, UINT64_MAX, stop),
			 SERIAL_OUTPUT_RING);
	close_fd(&from_guest[0]);
	assert_int_equal(console_drain(&console, UINT64_MAX, -1),
			 SERIAL_OUTPUT_RING);
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

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup_pipes, teardown_pipes)
	const struct CMUnitTest tests[] = {
		TEST(test_pipes),	   TEST(test_few_writes),
		TEST(test_stdin_ends),	   TEST(test_no_stdin),
		TEST(test_null),	   TEST(test_large_paste),
		TEST(test_stdin_file),	   TEST(test_guest_does_not_read),
		TEST(test_full_pipe),	   TEST(test_slow_reader_loses_nothing),
		TEST(test_closed_stdout),  TEST(test_full_disk),
		TEST(test_socket),	   TEST(test_one_way),
		TEST(test_bad_fd),	   TEST(test_off),
		TEST(test_file),	   TEST(test_drain_waits),
		TEST(test_drain_gives_up), TEST(test_unused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
