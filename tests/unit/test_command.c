/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/command.c cpu/command/frames.c */
/* uses: cpu/command/saved.c */
/* uses: cpu/command/output.c cpu/command/transfer.c cpu/loop/file.c */
/* uses: cpu/command/orders.c mem/state.c */
/* uses: cpu/console/stream.c cpu/console/tty.c cpu/loop/loop.c */
/*
 * The host's end of a command, with a guest that is this test: what goes where,
 * who has to wait, which signals are whose, and how it ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cpu/command/command.h"
#include "mem/log.h"
#include "mem/util.h"

static struct loop loop;
static struct loop_timer tick;
static struct command command;
static struct platform platform;
static struct ending ended;
static int made_ready;
static char logged[8192];
static int pipes[3][2], saved[3] = { -1, -1, -1 }; /* [2] is not used here */
static int link_fd;				   /* the guest's end */
static int joined_fd = -1;			   /* its, of a session */

/* -- in place of the rest of mote ------------------------------------------ */

void platform_end(struct platform *p, enum end_reason reason, unsigned status)
{
	assert_ptr_equal(p, &platform);
	if (ended.reason == END_NONE)
		ended = (struct ending){ reason, status };
}

void platform_ready(struct platform *p)
{
	assert_ptr_equal(p, &platform);
	made_ready++;
}

void report_stage(struct report *report, const char *name, uint64_t ns)
{
	(void)report, (void)name, (void)ns;
}

static void keep(const char *format, va_list args)
{
	const size_t len = strlen(logged);

	vsnprintf(logged + len, sizeof(logged) - len, format, args);
	strncat(logged, "\n", sizeof(logged) - strlen(logged) - 1);
}

#define KEEP_LOG(name)                                                         \
	void name(const char *format, ...)                                     \
	{                                                                      \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		keep(format, args);                                            \
		va_end(args);                                                  \
	}
KEEP_LOG(log_error)
KEEP_LOG(log_warn)
KEEP_LOG(log_debug)

bool log_write(const char *text, size_t len)
{
	(void)text;
	(void)len;
	return true;
}

void log_guest(struct log_limit *limit, const char *format, ...)
{
	va_list args;

	(void)limit;
	va_start(args, format);
	keep(format, args);
	va_end(args);
}

const char *log_advice(int error)
{
	(void)error;
	return "";
}

int log_errno(const char *call)
{
	fail_msg("%s: %s", call, strerror(errno));
	return -errno;
}

enum log_level log_get_level(void)
{
	return LOG_WARN;
}

void log_set_raw(bool raw)
{
	(void)raw;
}

/* -- the loop, the guest and mote's streams -------------------------------- */

static void ticked(void *arg)
{
	(void)arg;
	loop_stop(&loop);
}

static void spin(void)
{
	loop_timer_set(&tick, 3000000);
	assert_int_equal(loop_run(&loop), 0);
}

static void say(unsigned type, const void *payload, size_t len)
{
	uint8_t frame[PROTOCOL_HEADER + PROTOCOL_CHUNK];

	frames_header(frame, type, len);
	memcpy(frame + PROTOCOL_HEADER, payload, len);
	assert_int_equal(send(link_fd, frame, PROTOCOL_HEADER + len, 0),
			 PROTOCOL_HEADER + len);
	spin();
}

static void say_words(unsigned type, uint32_t a, uint32_t b)
{
	uint8_t words[8];

	put_le32(words, a);
	put_le32(words + 4, b);
	say(type, words, sizeof(words));
}

/* The next frame for the guest: its type, or -1 where there is none. */
static int hear(uint8_t *payload, uint32_t *len)
{
	uint8_t header[PROTOCOL_HEADER];
	ssize_t n = recv(link_fd, header, sizeof(header), MSG_DONTWAIT);

	if (n < 0)
		return -1;
	assert_int_equal(n, sizeof(header));
	*len = get_le32(header + 4);
	for (uint32_t done = 0; done < *len; done += (uint32_t)n) {
		n = recv(link_fd, payload + done, *len - done, MSG_DONTWAIT);
		if (n < 0) {
			n = 0;
			spin();
		}
	}
	return (int)get_le32(header);
}

static void expect_words(unsigned type, uint32_t a, uint32_t b)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len = 0;

	spin();
	assert_int_equal(hear(payload, &len), type);
	assert_int_equal(len, 8);
	assert_int_equal(get_le32(payload), a);
	assert_int_equal(get_le32(payload + 4), b);
}

static void expect_nothing(void)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len = 0;

	spin();
	assert_int_equal(hear(payload, &len), -1);
}

static void expect_output(int stream, const char *text)
{
	char got[256];
	ssize_t n = read(pipes[stream][0], got, sizeof(got));

	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, (size_t)n);
}

static void start_with(bool tty, bool by_serial)
{
	const struct command_options options = { .tty = tty, .serial = true };

	assert_int_equal(command_open(&command, &options), 0);
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
	link_fd = by_serial ? command.serial_fd : command.vsock_fd;
}

static int setup(void **state)
{
	(void)state;
	alarm(60);
	memset(&command, 0, sizeof(command));
	ended = (struct ending){ END_NONE, 0 };
	logged[0] = '\0';
	for (int i = 0; i < 3; i++) {
		if (pipe2(pipes[i], O_CLOEXEC))
			return -1;
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		fcntl(pipes[i][i == 0], F_SETFL, O_NONBLOCK);
		fcntl(pipes[i][0], F_SETFL, O_NONBLOCK);
		dup2(pipes[i][i != 0], i);
		close(pipes[i][i != 0]);
		pipes[i][i != 0] = -1;
	}
	assert_int_equal(loop_create(&loop), 0);
	return loop_timer_create(&loop, &tick, ticked, NULL);
}

static int teardown(void **state)
{
	(void)state;
	command_close(&command);
	if (joined_fd >= 0)
		close(joined_fd);
	joined_fd = -1;
	loop_timer_destroy(&loop, &tick);
	loop_destroy(&loop);
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
		for (int j = 0; j < 2; j++)
			if (pipes[i][j] >= 0)
				close(pipes[i][j]);
	}
	return 0;
}

static void start(void)
{
	start_with(false, false);
	say(PROTOCOL_READY, "", 0);
}

/* -- tests ----------------------------------------------------------------- */

static void test_streams(void **state)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len;

	(void)state;
	start_with(false, false);
	assert_int_equal(write(pipes[0][1], "early", 5), 5);
	expect_nothing(); /* no command yet to read it */
	say(PROTOCOL_READY, "", 0);
	assert_int_equal(hear(payload, &len), PROTOCOL_STDIN);
	assert_int_equal(len, 5);
	assert_memory_equal(payload, "early", 5);
	say(PROTOCOL_STDOUT, "out\0\n", 5);
	say(PROTOCOL_STDERR, "err", 3);
	assert_int_equal(read(pipes[1][0], payload, sizeof(payload)), 5);
	assert_memory_equal(payload, "out\0\n", 5);
	expect_output(2, "err");
	close(pipes[0][1]);
	pipes[0][1] = -1;
	spin();
	assert_int_equal(hear(payload, &len), PROTOCOL_STDIN);
	assert_int_equal(len, 0);
	expect_nothing();
	assert_int_equal(ended.reason, END_NONE);
	say_words(PROTOCOL_EXIT, 42, 0);
	assert_int_equal(ended.reason, END_EXITED);
	assert_int_equal(ended.status, 42);
	command_drain(&command, UINT64_MAX, -1);
	command_finish(&command, &ended);
	assert_int_equal(ended.status, 42);
	assert_string_equal(logged, "");
}

/* What cannot be watched for input has all of it at once. */
static void test_null(void **state)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len = 1;
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(dup2(null, STDIN_FILENO), STDIN_FILENO);
	close(null);
	start();
	assert_int_equal(hear(payload, &len), PROTOCOL_STDIN);
	assert_int_equal(len, 0);
}

/* Input waits for the command, and nothing else waits for input. */
static void test_input_credit(void **state)
{
	static uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len, sent = 0;

	(void)state;
	start();
	for (int i = 0; i < 100; i++) {
		while (write(pipes[0][1], payload, 4096) > 0)
			;
		spin();
		while (hear(payload, &len) == PROTOCOL_STDIN)
			sent += len;
	}
	assert_int_equal(sent, PROTOCOL_CREDIT);
	assert_true(command_signal(&command, SIGINT));
	expect_words(PROTOCOL_SIGNAL, SIGINT, 0);
	say_words(PROTOCOL_TAKEN, PROTOCOL_STDIN, 1000);
	assert_int_equal(hear(payload, &len), PROTOCOL_STDIN);
	assert_int_equal(len, 1000);
	expect_nothing();
	/* The command does not read any more: its writer learns of that. */
	say_words(PROTOCOL_CLOSED, PROTOCOL_STDIN, 0);
	expect_nothing();
	assert_int_equal(ended.reason, END_NONE);
	assert_string_equal(logged, "");
}

/* Bytes that nobody reads, until no more fit. */
static size_t fill_stdout(void)
{
	static const uint8_t zeros[4096];
	size_t len = 0;

	fcntl(STDOUT_FILENO, F_SETFL, O_NONBLOCK);
	while (write(STDOUT_FILENO, zeros, sizeof(zeros)) > 0)
		len += sizeof(zeros);
	fcntl(STDOUT_FILENO, F_SETFL, 0);
	return len;
}

/* A reader that stalls holds up its own stream alone. */
static void test_output_stalls(void **state)
{
	static uint8_t payload[PROTOCOL_CHUNK];
	size_t got;
	ssize_t n;

	(void)state;
	start();
	got = fill_stdout();
	say(PROTOCOL_STDOUT, payload, PROTOCOL_CHUNK);
	say(PROTOCOL_STDOUT, payload, PROTOCOL_CHUNK);
	say(PROTOCOL_STDERR, "err", 3);
	expect_output(2, "err");
	expect_nothing();
	say_words(PROTOCOL_EXIT, 3, 0);
	assert_int_equal(ended.reason, END_NONE); /* not before all is out */
	for (size_t left = got + 2 * PROTOCOL_CHUNK; left; left -= (size_t)n) {
		n = read(pipes[1][0], payload, sizeof(payload));
		if (n < 0) {
			n = 0;
			spin();
		}
	}
	spin();
	assert_int_equal(ended.status, 3);
}

static void test_output_credit(void **state)
{
	static uint8_t payload[PROTOCOL_CHUNK], got[65536];

	(void)state;
	start();
	say(PROTOCOL_STDOUT, payload, 10000);
	expect_nothing();
	say(PROTOCOL_STDOUT, payload, 10000);
	expect_words(PROTOCOL_TAKEN, PROTOCOL_STDOUT, 20000);
	assert_int_equal(read(pipes[1][0], got, sizeof(got)), 20000);
	expect_nothing();
}

static void test_reader_gone(void **state)
{
	(void)state;
	start();
	close(pipes[1][0]);
	pipes[1][0] = -1;
	expect_words(PROTOCOL_CLOSED, PROTOCOL_STDOUT,
		     0); /* before it writes */
	say(PROTOCOL_STDOUT, "for nobody", 10);
	say(PROTOCOL_STDERR, "err", 3);
	expect_output(2, "err");
	expect_nothing();
	say_words(PROTOCOL_EXIT, 141, 0);
	assert_int_equal(ended.status, 141);
	assert_string_equal(logged, "");
}

static void test_signals(void **state)
{
	(void)state;
	start_with(false, false);
	assert_false(command_signal(&command, SIGUSR2));
	assert_true(command_signal(&command, SIGWINCH));
	assert_true(command_signal(&command, SIGINT)); /* nobody there yet */
	assert_int_equal(ended.reason, END_SIGNAL);
	assert_int_equal(ended.status, 128 + SIGINT);
	ended.reason = END_NONE;
	say(PROTOCOL_READY, "", 0);
	for (int i = 0; i < 3; i++) {
		assert_true(command_signal(&command, SIGINT));
		expect_words(PROTOCOL_SIGNAL, SIGINT, 0);
	}
	assert_true(command_signal(&command, SIGTERM));
	expect_words(PROTOCOL_SIGNAL, SIGTERM, 0);
	assert_int_equal(ended.reason, END_NONE);
	assert_true(command_signal(&command, SIGHUP));
	assert_int_equal(ended.status, 128 + SIGHUP);
}

static void expect_time(void)
{
	uint8_t payload[PROTOCOL_CHUNK];
	struct timespec now;
	uint64_t before, after;
	uint32_t len = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	after = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	before = after - 60000000000;
	assert_int_equal(hear(payload, &len), PROTOCOL_TIME);
	assert_int_equal(len, 8);
	assert_in_range(get_le64(payload), before, after);
}

/* It is told to who asks, before there is a command, too; and after a stop. */
static void test_time(void **state)
{
	(void)state;
	start_with(false, false);
	command_resume(&command);
	expect_nothing();
	say(PROTOCOL_TIME, "", 0);
	expect_time();
	expect_nothing();
	say(PROTOCOL_READY, "", 0);
	expect_nothing();
	command_resume(&command);
	expect_time();
	expect_nothing();
	assert_int_equal(ended.reason, END_NONE);
}

/* What a guest may not do costs it its life, and mote nothing. */
static void test_hostile(void **state)
{
	static const struct {
		unsigned type;
		uint32_t word[2];
	} bad[] = {
		{ PROTOCOL_READY, { 0 } },
		{ PROTOCOL_TAKEN, { PROTOCOL_STDIN, 1 } },
		{ PROTOCOL_TAKEN, { PROTOCOL_STDIN, UINT32_MAX } },
		{ PROTOCOL_TAKEN, { PROTOCOL_STDOUT, 1 } },
		{ PROTOCOL_CLOSED, { 77, 0 } },
		{ PROTOCOL_RUN, { 0 } },
		{ PROTOCOL_TYPES, { 0 } },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		start();
		if (bad[i].type == PROTOCOL_READY ||
		    bad[i].type == PROTOCOL_RUN)
			say(bad[i].type, "", 0);
		else
			say_words(bad[i].type, bad[i].word[0], bad[i].word[1]);
		assert_int_equal(ended.reason, END_CRASH);
		assert_int_equal(ended.status, STATUS_CRASH);
		assert_non_null(strstr(logged, "makes no sense"));
		say(PROTOCOL_STDOUT, "more", 4);
		assert_int_equal(read(pipes[1][0], logged, 1), -1);
	}
}

/* More than there is room for. */
static void test_too_much(void **state)
{
	static uint8_t payload[PROTOCOL_CHUNK];

	(void)state;
	start();
	fill_stdout();
	say(PROTOCOL_STDOUT, payload, PROTOCOL_CHUNK);
	say(PROTOCOL_STDOUT, payload, PROTOCOL_CHUNK);
	assert_int_equal(ended.reason, END_NONE);
	say(PROTOCOL_STDOUT, payload, 1);
	assert_int_equal(ended.reason, END_CRASH);
}

static void test_before_ready(void **state)
{
	(void)state;
	start_with(false, false);
	say(PROTOCOL_NOTE, "a warning", 9);
	say(PROTOCOL_NOTE, "cannot do \033[it", 15);
	assert_non_null(strstr(logged, "a warning"));
	assert_int_equal(ended.reason, END_NONE);
	say_words(PROTOCOL_EXIT, 125, 0); /* could not start it */
	assert_non_null(strstr(logged, "cannot do"));
	assert_int_equal(ended.reason, END_EXITED);
	assert_int_equal(ended.status, 125);
	say(PROTOCOL_STDOUT, "x", 1); /* is not looked at any more */
	assert_int_equal(read(pipes[1][0], logged, 1), -1);
}

/* -- the serial port ------------------------------------------------------- */

static void say_raw(const char *text, size_t len)
{
	assert_int_equal(send(link_fd, text, len, 0), len);
	spin();
}

static void test_serial(void **state)
{
	static const char mark[] = "boot\r\n\001mote, \001mote, one comm";

	(void)state;
	start_with(false, true);
	say_raw(mark, sizeof(mark) - 1);
	say_raw("and\002", 4);
	say(PROTOCOL_READY, "", 0);
	say(PROTOCOL_STDOUT, "out", 3);
	expect_output(1, "out");
	command_signal(&command, SIGINT);
	expect_words(PROTOCOL_SIGNAL, SIGINT, 0);
	say_words(PROTOCOL_EXIT, 7, 0);
	assert_int_equal(ended.status, 7);
}

/* With a vsock the serial port has the kernel's words, and no more. */
static void test_tail(void **state)
{
	char line[64];

	(void)state;
	start();
	link_fd = command.serial_fd;
	for (int i = 0; i < 500; i++) {
		const int len = snprintf(line, sizeof(line),
					 "line %d of the kernel\r\n", i);

		say_raw(line, (size_t)len);
	}
	say_raw(PROTOCOL_MAGIC, sizeof(PROTOCOL_MAGIC) - 1);
	say_words(PROTOCOL_EXIT, 0, 0);
	assert_int_equal(ended.reason, END_NONE);
	ended = (struct ending){ END_PANIC, STATUS_CRASH };
	command_drain(&command, UINT64_MAX, -1);
	command_finish(&command, &ended);
	assert_int_equal(ended.status, STATUS_CRASH);
	assert_non_null(strstr(logged, "panicked\n"));
	assert_non_null(strstr(logged, "guest: line 499 of the kernel\n"));
	assert_null(strstr(logged, "guest: line 100 "));
}

/* -- guests that were restored --------------------------------------------- */

static const struct command_options restored_options = { .serial = true,
							 .restored = true };

static void restore_with(const struct command_options *options,
			 const char *words, size_t len)
{
	struct orders orders = { .len = 0 };

	made_ready = 0;
	assert_int_equal(command_open(&command, options), 0);
	for (size_t at = 0; at < len; at += strlen(words + at) + 1)
		orders_add(&orders, words[at], words + at + 1);
	if (len)
		command_take_orders(&command, &orders);
}
#define RESTORE(options, words) restore_with(options, words, sizeof(words) - 1)

static void start_restored(void)
{
	command_restored(&command, NULL);
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
	link_fd = command.vsock_fd;
}

/* All that init is told, a '|' for each NUL, without what is random. */
static const char *hear_orders(void)
{
	static uint8_t got[PROTOCOL_CHUNK * 5];
	size_t len = 0;
	uint32_t piece = 1;
	char *random;

	while (piece) {
		assert_true(len + PROTOCOL_CHUNK < sizeof(got));
		assert_int_equal(hear(got + len, &piece), PROTOCOL_RUN);
		assert_true(piece <= PROTOCOL_CHUNK);
		len += piece;
		if (piece == PROTOCOL_CHUNK)
			spin();
	}
	got[len] = 0;
	for (size_t i = 0; i < len; i++)
		if (!got[i])
			got[i] = '|';
	random = strstr((char *)got, "|R");
	assert_non_null(random);
	assert_int_equal(strspn(random + 2, "0123456789abcdef"), 64);
	memmove(random, random + 66, strlen(random + 66) + 1);
	return (char *)got;
}

/* It asks, as often as it must, and is told; then all is as ever. */
static void test_restored(void **state)
{
	(void)state;
	RESTORE(&restored_options, "als\0eA=1\0");
	command_restored(&command, "me");
	command_tell_mac(&command, (const uint8_t[6]){ 2, 0, 0, 0, 0, 1 },
			 (const uint8_t[6]){ 2, 0, 0, 0, 0, 2 });
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
	link_fd = command.vsock_fd;
	expect_nothing();
	say(PROTOCOL_RUN, "", 0);
	assert_string_equal(
		hear_orders(),
		"als|eA=1|Hme|M02:00:00:00:00:01 02:00:00:00:00:02|");
	expect_nothing();
	say(PROTOCOL_RUN, "", 0);
	hear_orders();
	say(PROTOCOL_TIME, "", 0);
	expect_time();
	assert_int_equal(made_ready, 0);
	say(PROTOCOL_READY, "", 0);
	assert_int_equal(made_ready, 1);
	say(PROTOCOL_STDOUT, "out", 3);
	expect_output(1, "out");
	say_words(PROTOCOL_EXIT, 42, 0);
	assert_int_equal(ended.status, 42);
	assert_string_equal(logged, "");
}

static void test_restored_long(void **state)
{
	static char word[3 * PROTOCOL_CHUNK];

	(void)state;
	memset(word, 'a', sizeof(word) - 1);
	restore_with(&restored_options, word, sizeof(word));
	start_restored();
	say(PROTOCOL_RUN, "", 0);
	assert_int_equal(strlen(hear_orders()), sizeof(word));
}

/* READY before it was told is nonsense. */
static void test_restored_hostile(void **state)
{
	static uint8_t all[PROTOCOL_CHUNK];
	static char word[20 * PROTOCOL_CHUNK];
	static const uint8_t ask[PROTOCOL_HEADER] = { PROTOCOL_RUN };
	uint32_t len;

	(void)state;
	memset(word, 'a', sizeof(word) - 1);
	restore_with(&restored_options, word, sizeof(word));
	start_restored();
	/* Nobody takes it: no more is sent than the socket holds. */
	for (int i = 0; i < 1000; i++) {
		if (send(link_fd, ask, sizeof(ask), MSG_DONTWAIT) < 0)
			spin();
	}
	spin();
	assert_int_equal(ended.reason, END_NONE);
	while (hear(all, &len) == PROTOCOL_RUN && len)
		spin();
	assert_int_equal(len, 0);
	say(PROTOCOL_RUN, "", 0);
	say(PROTOCOL_READY, "", 0);
	assert_int_equal(ended.reason, END_CRASH);
	assert_int_equal(made_ready, 0);
}

/* Who was not restored knows what to run. */
static void test_not_restored(void **state)
{
	(void)state;
	start_with(false, false);
	say(PROTOCOL_RUN, "", 0);
	assert_int_equal(ended.reason, END_CRASH);
}

/* -- one more command in another mote's guest -------------------------------
 */

static void join(size_t word_len)
{
	static char word[4 * PROTOCOL_CREDIT];
	const struct command_options options = { .tty = false };
	struct orders orders = { .len = 0 };
	int pair[2];

	memset(word, 'a', sizeof(word) - 1);
	word[word_len] = 0;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	command_join(&command, &options, pair[0]);
	link_fd = joined_fd = pair[1];
	orders_add(&orders, RUN_ARGUMENT, word);
	assert_int_equal(command_take_orders(&command, &orders), 0);
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
}

/* It is told at once; then all is as ever. */
static void join_ready(void)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len;

	join(3);
	assert_int_equal(hear(payload, &len), PROTOCOL_RUN);
	assert_int_equal(len, 5);
	assert_string_equal((char *)payload, "aaaa");
	assert_int_equal(hear(payload, &len), PROTOCOL_RUN);
	assert_int_equal(len, 0);
	expect_nothing();
	say(PROTOCOL_READY, "", 0);
}

static void test_session(void **state)
{
	(void)state;
	join_ready();
	say(PROTOCOL_STDOUT, "out", 3);
	expect_output(1, "out");
	assert_true(command_signal(&command, SIGTERM));
	expect_words(PROTOCOL_SIGNAL, SIGTERM, 0);
	/* Its guest was not stopped, whatever became of this mote. */
	command_resume(&command);
	expect_nothing();
	say_words(PROTOCOL_EXIT, 42, 0);
	assert_int_equal(ended.reason, END_EXITED);
	assert_int_equal(ended.status, 42);
	assert_string_equal(logged, "");
}

/* Nothing else will say that the guest has ended: it is not waited for. */
static void test_session_lost(void **state)
{
	(void)state;
	join_ready();
	say(PROTOCOL_STDOUT, "last", 4);
	close(joined_fd);
	joined_fd = -1;
	spin();
	assert_int_equal(ended.reason, END_CRASH);
	assert_int_equal(ended.status, STATUS_CRASH);
	expect_output(1, "last");
	assert_string_equal(logged,
			    "the guest has ended before the command did\n");
}

/* Why it is refused may come before it has taken what it was to run. */
static void test_session_refused(void **state)
{
	static const uint8_t refusal[] = {
		PROTOCOL_NOTE,
		0,
		0,
		0,
		4,
		0,
		0,
		0,
		'b',
		'u',
		's',
		'y',
		PROTOCOL_EXIT,
		0,
		0,
		0,
		8,
		0,
		0,
		0,
		125,
		0,
		0,
		0,
		0,
		0,
		0,
		0,
	};

	(void)state;
	join(4 * PROTOCOL_CREDIT - 1);
	/* What comes first has it write once more, before it reads that. */
	close(pipes[1][0]);
	pipes[1][0] = -1;
	assert_int_equal(send(link_fd, refusal, sizeof(refusal), 0),
			 sizeof(refusal));
	close(joined_fd);
	joined_fd = -1;
	spin();
	assert_int_equal(ended.reason, END_EXITED);
	assert_int_equal(ended.status, 125);
	assert_string_equal(logged, "busy\n");
}

static void test_session_hostile(void **state)
{
	(void)state;
	join(4 * PROTOCOL_CREDIT - 1);
	say(PROTOCOL_READY, "", 0);
	assert_int_equal(ended.reason, END_CRASH);
	assert_non_null(strstr(logged, "makes no sense"));
}

/* No more than init would take. */
static void test_session_long(void **state)
{
	struct orders orders = { .len = ORDERS_MAX + 1 };

	(void)state;
	join(1);
	assert_int_equal(command_take_orders(&command, &orders), -E2BIG);
	assert_non_null(strstr(logged, "--exec can have 2097152 of them"));
}

static void test_restored_asks_late(void **state)
{
	(void)state;
	RESTORE(&restored_options, "als\0");
	start_restored();
	say(PROTOCOL_READY, "", 0);
	assert_int_equal(ended.reason, END_NONE);
	say(PROTOCOL_RUN, "", 0);
	assert_int_equal(ended.reason, END_CRASH);
}

/* On the serial port mote says where what is for this guest begins. */
static void test_restored_serial(void **state)
{
	char magic[sizeof(PROTOCOL_MAGIC)] = { 0 };

	(void)state;
	RESTORE(&restored_options, "als\0");
	start_restored();
	link_fd = command.serial_fd;
	say_raw(PROTOCOL_MAGIC, sizeof(PROTOCOL_MAGIC) - 1);
	say(PROTOCOL_RUN, "", 0);
	assert_int_equal(recv(link_fd, magic, sizeof(magic) - 1, 0),
			 sizeof(magic) - 1);
	assert_string_equal(magic, PROTOCOL_MAGIC);
	assert_string_equal(hear_orders(), "als|");
	say(PROTOCOL_TIME, "", 0);
	expect_time();
}

/* -- what a snapshot keeps ------------------------------------------------- */

static uint8_t saved_state[512];

static size_t save_command(void)
{
	struct state s = state_save(saved_state, sizeof(saved_state));

	command_state(&command, &s);
	assert_true(state_is_whole(&s));
	return s.at;
}

/* What is wrong with it; NULL: nothing. */
static const char *load_command(size_t len)
{
	struct state s = state_load(saved_state, len);

	command_state(&command, &s);
	state_is_whole(&s);
	return s.wrong;
}

static void restart(void **state)
{
	teardown(state);
	setup(state);
}

static void test_saved(void **state)
{
	const struct command_options options = { .tty = true, .serial = true };
	size_t len;

	RESTORE(&options, "acat\0w/d\0t1 2\0");
	len = save_command();
	restart(state);
	/* Nothing is said here: it is what was said there. */
	RESTORE(&restored_options, "");
	assert_null(load_command(len));
	assert_true(command.tty);
	start_restored();
	say(PROTOCOL_RUN, "", 0);
	assert_string_equal(hear_orders(), "acat|w/d|t1 2|t|");
	restart(state);
	/* Here it is another one. */
	RESTORE(&restored_options, "als\0");
	assert_null(load_command(len));
	assert_false(command.tty);
	start_restored();
	assert_int_equal(save_command(), 3 + 4 + 4);
	say(PROTOCOL_RUN, "", 0);
	assert_string_equal(hear_orders(), "als|");
}

/* A command that says by itself when it is ready, and goes on elsewhere. */
static size_t save_program(void)
{
	const struct command_options options = { .serial = true,
						 .program = true };

	RESTORE(&options, "apython\0p\0");
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
	link_fd = command.vsock_fd;
	assert_int_equal(write(pipes[0][1], "in", 2), 2);
	say(PROTOCOL_READY, "", 0);
	expect_nothing(); /* its input is another one's */
	assert_int_equal(made_ready, 0);
	return save_command();
}

static void test_program(void **state)
{
	uint8_t payload[PROTOCOL_CHUNK];
	const size_t len = save_program();
	uint32_t got;

	restart(state);
	RESTORE(&restored_options, "");
	assert_null(load_command(len));
	start_restored();
	say(PROTOCOL_RUN, "", 0);
	assert_int_equal(hear(payload, &got), PROTOCOL_RUN);
	assert_int_equal(payload[0], RUN_RANDOM); /* no arguments */
	restart(state);
	RESTORE(&restored_options, "ax\0ay\0");
	assert_null(load_command(len));
	start_restored();
	say(PROTOCOL_RUN, "", 0);
	assert_string_equal(hear_orders(), "ax|ay|");
	assert_int_equal(write(pipes[0][1], "in", 2), 2);
	say(PROTOCOL_READY, "", 0);
	assert_int_equal(made_ready, 1);
	assert_int_equal(hear(payload, &got), PROTOCOL_STDIN);
	assert_int_equal(got, 2);
}

static void test_program_runs_already(void **state)
{
	static const struct {
		struct command_options options;
		const char *wrong;
	} bad[] = {
		{ { .program = true },
		  "its command has said already that it is ready" },
		{ { .environment = true },
		  "its command runs already: --env, --env-file, "
		  "--workdir and --as come too late" },
		{ { .tty = true },
		  "its command runs already, without a terminal: --tty comes "
		  "too late" },
	};
	const size_t len = save_program();

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		restart(state);
		RESTORE(&bad[i].options, "ax\0");
		assert_string_equal(load_command(len), bad[i].wrong);
	}
}

/* It is saved once more where it was restored, and runs there, too. */
static void test_program_saved_again(void **state)
{
	static const struct command_options late = { .environment = true };
	uint8_t payload[PROTOCOL_CHUNK];
	size_t len = save_program();
	uint32_t got;

	for (unsigned i = 0; i < 2; i++) {
		restart(state);
		if (i)
			RESTORE(&restored_options, "ax\0");
		else
			RESTORE(&restored_options, "");
		assert_null(load_command(len));
		start_restored();
		len = save_command();
		restart(state);
		RESTORE(&late, "");
		assert_string_equal(load_command(len),
				    "its command runs already: --env, "
				    "--env-file, --workdir and --as come too "
				    "late");
		restart(state);
		RESTORE(&restored_options, "");
		assert_null(load_command(len));
		start_restored();
		say(PROTOCOL_RUN, "", 0);
		assert_int_equal(hear(payload, &got), PROTOCOL_RUN);
		assert_int_equal(payload[0], RUN_RANDOM);
	}
}

/* In one that is restored a program may be warmed, too. */
static void test_program_restored(void **state)
{
	const struct command_options options = { .serial = true,
						 .program = true,
						 .restored = true };

	(void)state;
	RESTORE(&options, "apython\0p\0");
	start_restored();
	say(PROTOCOL_RUN, "", 0);
	hear_orders();
	assert_int_equal(write(pipes[0][1], "in", 2), 2);
	say(PROTOCOL_READY, "", 0);
	expect_nothing();
	assert_int_equal(made_ready, 0); /* that it says by its port */
}

static void test_saved_is_judged(void **state)
{
	struct command_options options = { .serial = true };
	size_t len;

	RESTORE(&options, "acat\0");
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
	link_fd = command.serial_fd;
	say_raw(PROTOCOL_MAGIC, sizeof(PROTOCOL_MAGIC) - 1);
	say(PROTOCOL_READY, "", 0);
	len = save_command();
	assert_int_equal(saved_state[0], 1);
	restart(state);
	options = restored_options;
	options.serial = false;
	RESTORE(&options, "");
	assert_string_equal(load_command(len),
			    "its command needs the serial port, which --serial "
			    "gives to another");
	for (size_t i = 0; i < len; i++)
		assert_non_null(load_command(i));
	for (size_t i = 0; i < 3; i++) {
		const uint8_t was = saved_state[i];

		saved_state[i] = 2;
		assert_string_equal(load_command(len),
				    "a flag is neither 0 nor 1");
		saved_state[i] = was;
	}
	saved_state[len - 1] = 'x';
	assert_string_equal(load_command(len), "its command makes no sense");
}

/* -- other ends ------------------------------------------------------------ */

static void test_no_status(void **state)
{
	static const struct {
		enum end_reason reason;
		const char *says;
	} cases[] = {
		{ END_POWEROFF, "powered off before the command had ended" },
		{ END_REBOOT, "rebooted before the command had ended" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		if (i) {
			teardown(state);
			setup(state);
		}
		start();
		say(PROTOCOL_STDOUT, "last words", 10);
		ended = (struct ending){ cases[i].reason, 0 };
		command_drain(&command, UINT64_MAX, -1);
		command_finish(&command, &ended);
		assert_int_equal(ended.reason, cases[i].reason);
		assert_int_equal(ended.status, STATUS_CRASH);
		assert_non_null(strstr(logged, cases[i].says));
		expect_output(1, "last words");
	}
}

/* What was on its way when the guest ended is looked at. */
static void test_on_its_way(void **state)
{
	uint8_t frame[PROTOCOL_HEADER + 8] = { 0 };

	(void)state;
	start();
	frames_header(frame, PROTOCOL_STDOUT, 3);
	memcpy(frame + PROTOCOL_HEADER, "end", 3);
	assert_int_equal(send(link_fd, frame, PROTOCOL_HEADER + 3, 0), 11);
	frames_header(frame, PROTOCOL_EXIT, 8);
	put_le32(frame + PROTOCOL_HEADER, 5);
	put_le32(frame + PROTOCOL_HEADER + 4, 0);
	assert_int_equal(send(link_fd, frame, sizeof(frame), 0), 16);
	ended = (struct ending){ END_POWEROFF, 0 };
	command_drain(&command, UINT64_MAX, -1);
	command_finish(&command, &ended);
	assert_int_equal(ended.reason, END_EXITED);
	assert_int_equal(ended.status, 5);
	expect_output(1, "end");
	assert_string_equal(logged, "");
}

static void test_out_of_memory(void **state)
{
	(void)state;
	start();
	say_words(PROTOCOL_EXIT, 137, PROTOCOL_OOM);
	assert_int_equal(ended.reason, END_OOM);
	assert_int_equal(ended.status, 137);
	ended = (struct ending){ END_POWEROFF, 0 };
	command_finish(&command, &ended);
	assert_int_equal(ended.reason, END_OOM);
	assert_int_equal(ended.status, 137);
	assert_string_equal(logged,
			    "out of memory in the guest: its kernel has killed "
			    "the command; give --memory more\n");
}

/* A reader of a dead guest's words has some time, not for ever. */
static void test_stalled_reader(void **state)
{
	static uint8_t payload[PROTOCOL_CHUNK];

	(void)state;
	start();
	fill_stdout();
	say(PROTOCOL_STDOUT, payload, 100);
	ended = (struct ending){ END_PANIC, STATUS_CRASH };
	command_drain(&command, 10000000, -1);
	command_finish(&command, &ended);
	assert_int_equal(ended.status, STATUS_CRASH);
	assert_non_null(strstr(logged, "output is lost"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_null),
		test(test_streams),
		test(test_input_credit),
		test(test_output_stalls),
		test(test_output_credit),
		test(test_reader_gone),
		test(test_signals),
		test(test_hostile),
		test(test_too_much),
		test(test_before_ready),
		test(test_serial),
		test(test_tail),
		test(test_time),
		test(test_out_of_memory),
		test(test_no_status),
		test(test_on_its_way),
		test(test_stalled_reader),
		test(test_restored),
		test(test_restored_long),
		test(test_restored_hostile),
		test(test_not_restored),
		test(test_restored_asks_late),
		test(test_restored_serial),
		test(test_saved),
		test(test_saved_is_judged),
		test(test_program),
		test(test_program_runs_already),
		test(test_program_saved_again),
		test(test_program_restored),
		test(test_session),
		test(test_session_lost),
		test(test_session_refused),
		test(test_session_hostile),
		test(test_session_long),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
