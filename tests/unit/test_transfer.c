/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/command.c cpu/command/frames.c */
/* uses: cpu/command/saved.c */
/* uses: cpu/command/output.c cpu/command/transfer.c cpu/loop/file.c */
/* uses: cpu/command/orders.c mem/state.c mem/log.c */
/* uses: cpu/console/stream.c cpu/console/tty.c cpu/loop/loop.c */
/*
 * --put and --get in mote, with a guest that is this test: what goes into
 * frames and into files, who waits, and which guests and walkers are refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cpu/command/command.h"
#include "mem/log.h"
#include "mem/util.h"

static struct loop loop;
static struct loop_timer tick;
static struct command command;
static struct transfers transfers;
static struct platform platform;
static struct ending ended;
static struct transfer_options puts_given[2], gets_given[2];
static unsigned put_count, get_count;
static char dir[] = "/tmp/mote-transfer-XXXXXX", path[2][64];
static int link_fd, put_fd[2], said; /* stderr is a pipe's end */
static bool tty;

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
}

void report_stage(struct report *report, const char *name, uint64_t ns)
{
	(void)report, (void)name, (void)ns;
}

/* -- the loop and the guest ------------------------------------------------ */

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
	ssize_t n;

	spin();
	n = recv(link_fd, header, sizeof(header), MSG_DONTWAIT);
	if (n < 0)
		return -1;
	assert_int_equal(n, sizeof(header));
	*len = get_le32(header + 4);
	assert_in_range(*len, 0, PROTOCOL_CHUNK);
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

	assert_int_equal(hear(payload, &len), type);
	assert_int_equal(len, 8);
	assert_int_equal(get_le32(payload), a);
	assert_int_equal(get_le32(payload + 4), b);
}

static void expect_nothing(void)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len = 0;

	assert_int_equal(hear(payload, &len), -1);
}

static void expect_put(const char *bytes)
{
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len = 0;

	assert_int_equal(hear(payload, &len), PROTOCOL_PUT);
	assert_int_equal(len, strlen(bytes));
	assert_memory_equal(payload, bytes, len);
}

/* Of a walker's. */
static void walk(int fd, char type, const char *text)
{
	char message[256];
	const int len = snprintf(message, sizeof(message), "%c%s", type, text);

	assert_int_equal(send(fd, message, (size_t)len, 0), len);
	spin();
}

static void expect_file(const char *name, const char *bytes)
{
	char got[256];
	const int fd = open(name, O_RDONLY);

	assert_int_equal(read(fd, got, sizeof(got)), strlen(bytes));
	assert_memory_equal(got, bytes, strlen(bytes));
	close(fd);
}

static void expect_said(const char *text)
{
	static char got[4096];
	const ssize_t n = read(said, got, sizeof(got) - 1);

	got[n > 0 ? n : 0] = 0;
	if (*text ? !strstr(got, text) : *got)
		fail_msg("it said '%s'", got);
}

static int setup(void **state)
{
	(void)state;
	alarm(60);
	memset(&command, 0, sizeof(command));
	memset(&transfers, 0, sizeof(transfers));
	ended = (struct ending){ END_NONE, 0 };
	put_count = get_count = 0;
	for (int i = 0; i < 2; i++) {
		snprintf(path[i], sizeof(path[i]), "%s/%d", dir, i);
		unlink(path[i]);
		puts_given[i] =
			(struct transfer_options){ .file = { NULL, -1 } };
		gets_given[i] =
			(struct transfer_options){ .file = { path[i], -1 },
						   .guest = "/there" };
	}
	return loop_create(&loop) ||
	       loop_timer_create(&loop, &tick, ticked, NULL);
}

static int teardown(void **state)
{
	(void)state;
	command_close(&command);
	transfers_close(&transfers);
	loop_timer_destroy(&loop, &tick);
	loop_destroy(&loop);
	return 0;
}

static int open_all(void)
{
	return transfers_open(&transfers, puts_given, put_count, gets_given,
			      get_count, false);
}

static void start(void)
{
	const struct command_options options = { .tty = tty,
						 .transfers = &transfers };

	assert_int_equal(command_open(&command, &options), 0);
	assert_int_equal(command_start(&command, &loop, &platform, NULL), 0);
	link_fd = command.vsock_fd;
	say(PROTOCOL_TIME, "", 0);
	assert_int_equal(hear((uint8_t[PROTOCOL_CHUNK]){ 0 }, &(uint32_t){ 0 }),
			 PROTOCOL_TIME);
}

static void start_put(bool walker)
{
	int pair[2];

	put_count = 1;
	if (walker)
		puts_given[0].file.path = dir;
	else
		puts_given[0].file.fd = put_fd[0];
	assert_int_equal(open_all(), 0);
	if (walker) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair),
				 0);
		assert_int_equal(transfers_set_walker(&transfers, 0, pair[0]),
				 0);
		put_fd[1] = pair[1];
	}
	start();
}

static void start_get(void)
{
	get_count = 2;
	assert_int_equal(open_all(), 0);
	start();
	say(PROTOCOL_READY, "", 0);
}

/* The command has ended, and they come. */
static void begin_get(void)
{
	start_get();
	say_words(PROTOCOL_TAKEN, PROTOCOL_GET, 0);
}

static void end_with(unsigned status, enum end_reason reason, unsigned is)
{
	say_words(PROTOCOL_EXIT, status, 0);
	command_drain(&command, 0, -1);
	command_finish(&command, &ended);
	assert_int_equal(ended.reason, reason);
	assert_int_equal(ended.status, is);
}

static void expect_refused(void)
{
	assert_int_equal(ended.reason, END_CRASH);
	expect_said("makes no sense");
}

/* -- --put ----------------------------------------------------------------- */

/* Not before the guest asks, and no more than it has room for. */
static void test_put_credit(void **state)
{
	static uint8_t bytes[PROTOCOL_CHUNK];
	uint32_t len, sent = 0;

	(void)state;
	assert_int_equal(pipe2(put_fd, O_CLOEXEC), 0);
	fcntl(put_fd[1], F_SETFL, O_NONBLOCK);
	start_put(false);
	assert_int_equal(write(put_fd[1], "early", 5), 5);
	expect_nothing();
	say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, PROTOCOL_CREDIT);
	expect_put("early");
	for (int i = 0; i < 100; i++) {
		while (write(put_fd[1], bytes, 4096) > 0)
			;
		if (hear(bytes, &len) == PROTOCOL_PUT)
			sent += len;
	}
	assert_in_range(sent, PROTOCOL_CHUNK, PROTOCOL_CREDIT - 5);
	say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, sent + 5);
	close(put_fd[1]);
	do {
		assert_int_equal(hear(bytes, &len), PROTOCOL_PUT);
		say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, len);
	} while (len);
	say(PROTOCOL_READY, "", 0);
	end_with(7, END_EXITED, 7);
	close(put_fd[0]);
}

/* A tree is what its walker says, and how it ends, too. */
static void test_walker(void **state)
{
	(void)state;
	start_put(true);
	say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, PROTOCOL_CREDIT);
	walk(put_fd[1], TRANSFER_BYTES, "some");
	walk(put_fd[1], TRANSFER_WARN, "odd: \033[2J");
	expect_said("odd: ?[2J");
	walk(put_fd[1], TRANSFER_BYTES, "more");
	expect_put("some");
	expect_put("more");
	walk(put_fd[1], TRANSFER_END, "");
	close(put_fd[1]);
	expect_put("");
	expect_nothing();
	say(PROTOCOL_READY, "", 0);
	end_with(0, END_EXITED, 0);
	expect_said("");
}

/* One that dies, or gives up, is mote's own failure. */
static void test_walker_fails(void **state)
{
	(void)state;
	for (int died = 0; died < 2; died++) {
		start_put(true);
		say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, PROTOCOL_CREDIT);
		if (!died)
			walk(put_fd[1], TRANSFER_ERROR, "it burns");
		close(put_fd[1]);
		spin();
		assert_int_equal(ended.reason, END_ERROR);
		assert_int_equal(ended.status, 125);
		expect_said(died ? "is gone" : "it burns");
		teardown(NULL);
		setup(NULL);
	}
}

static void test_put_refused(void **state)
{
	(void)state;
	/* The command would start without its files. */
	start_put(true);
	say(PROTOCOL_READY, "", 0);
	expect_refused();
	teardown(NULL);
	setup(NULL);
	close(put_fd[1]);
	/* More than all. */
	start_put(true);
	say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, PROTOCOL_CREDIT + 1);
	expect_refused();
	close(put_fd[1]);
}

static void test_open_refused(void **state)
{
	char fifo[64];

	(void)state;
	snprintf(fifo, sizeof(fifo), "%s/fifo", dir);
	mkfifo(fifo, 0600);
	put_count = 1;
	puts_given[0].file.path = fifo;
	assert_int_not_equal(open_all(), 0);
	expect_said("neither a file nor a directory");
	transfers_close(&transfers);
	puts_given[0].file.path = "src:lib";
	assert_int_not_equal(open_all(), 0);
	expect_said("begins with /");
	unlink(fifo);
	transfers_close(&transfers);
	put_count = 0;
	get_count = 1;
	gets_given[0].file.path = NULL;
	gets_given[0].guest = "/";
	assert_int_not_equal(open_all(), 0);
	expect_said("name the file");
}

/* Two that share a file, or one that would empty what goes in: all stays. */
static void test_same_file(void **state)
{
	int fd;

	(void)state;
	for (int check = 0; check < 2; check++) {
		gets_given[0].file.path = path[1];
		get_count = 2;
		assert_int_equal(transfers_open(&transfers, NULL, 0, gets_given,
						2, check),
				 -EINVAL);
		expect_said("another --get");
		transfers_close(&transfers);
		assert_int_equal(access(path[1], F_OK), check ? -1 : 0);
		unlink(path[1]);
	}
	fd = open(path[1], O_WRONLY | O_CREAT, 0600);
	assert_int_equal(write(fd, "mine", 4), 4);
	close(fd);
	puts_given[0].file.path = path[1];
	put_count = 1;
	assert_int_equal(open_all(), -EINVAL);
	expect_said("of a --put as well");
	expect_file(path[1], "mine");
	transfers_close(&transfers);
	/* Without that it is emptied. */
	get_count = 1;
	put_count = 0;
	assert_int_equal(open_all(), 0);
	expect_file(path[1], "");
}

/* -- --get ----------------------------------------------------------------- */

static void test_get(void **state)
{
	(void)state;
	begin_get();
	say(PROTOCOL_GET, "first", 5);
	expect_nothing();
	say(PROTOCOL_GET, "", 0);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 0);
	say(PROTOCOL_GET, "second", 6);
	say(PROTOCOL_GET, "", 0);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 1);
	expect_file(path[0], "first");
	expect_file(path[1], "second");
	end_with(3, END_EXITED, 3);
	expect_said("");
}

static void test_get_credit(void **state)
{
	static uint8_t bytes[PROTOCOL_CHUNK];

	(void)state;
	begin_get();
	say(PROTOCOL_GET, bytes, 10000);
	expect_nothing();
	say(PROTOCOL_GET, bytes, 10000);
	expect_words(PROTOCOL_TAKEN, PROTOCOL_GET, 20000);
	/* What mote has not told yet is no loss of the next one's. */
	say(PROTOCOL_GET, bytes, 10000);
	say(PROTOCOL_GET, "", 0);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 0);
	assert_int_equal(transfers.out.taken, 0);
}

/* A reader that stalls holds up the guest, and what comes is bounded. */
static void test_get_stalls(void **state)
{
	static uint8_t bytes[PROTOCOL_CHUNK];
	int pipes[2];

	(void)state;
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	fcntl(pipes[1], F_SETPIPE_SZ, 4096);
	gets_given[0].file = (struct option_file){ NULL, pipes[1] };
	begin_get();
	say(PROTOCOL_GET, bytes, PROTOCOL_CHUNK);
	say(PROTOCOL_GET, bytes, PROTOCOL_CHUNK);
	expect_nothing();
	say(PROTOCOL_GET, bytes, 5000);
	expect_refused();
	teardown(NULL);
	setup(NULL);
	/* Nor is there more of one that is over. */
	gets_given[0].file = (struct option_file){ NULL, pipes[1] };
	begin_get();
	say(PROTOCOL_GET, bytes, PROTOCOL_CHUNK);
	say(PROTOCOL_GET, "", 0);
	expect_nothing();
	say(PROTOCOL_GET, bytes, 1);
	expect_refused();
	close(pipes[0]);
	close(pipes[1]);
}

/* A disk that is full: the guest need not go on, the next one is not hurt. */
static void test_get_full(void **state)
{
	(void)state;
	gets_given[0].file.path = "/dev/full";
	begin_get();
	say(PROTOCOL_GET, "lost", 4);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 0);
	say(PROTOCOL_GET, "under way", 9);
	say(PROTOCOL_GET, "", 0);
	say(PROTOCOL_GET, "second", 6);
	say(PROTOCOL_GET, "", 0);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 1);
	expect_file(path[1], "second");
	expect_said("cannot write its file: No space left on device");
	end_with(0, END_ERROR, 125);
}

/* Nor is one whose file system says at its close that there was no room. */
static void test_get_close(void **state)
{
	(void)state;
	begin_get();
	say(PROTOCOL_GET, "lost", 4);
	expect_nothing();
	close(transfers.out.stream.source.fd); /* so that it fails */
	say(PROTOCOL_GET, "", 0);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 0);
	say(PROTOCOL_GET, "second", 6);
	say(PROTOCOL_GET, "", 0);
	expect_words(PROTOCOL_CLOSED, PROTOCOL_GET, 1);
	expect_file(path[1], "second");
	expect_said("cannot write its file");
	end_with(0, END_ERROR, 125);
}

/* What is missing is said, and is not success; another status is kept. */
static void test_get_missing(void **state)
{
	(void)state;
	for (unsigned status = 0; status < 2; status++) {
		begin_get();
		say(PROTOCOL_GET, "part", 4);
		end_with(status, status ? END_EXITED : END_ERROR,
			 status ? status : 125);
		expect_said("the guest has ended before");
		expect_file(path[0], "part");
		teardown(NULL);
		setup(NULL);
	}
}

/* In no other order; and nothing that nobody asked for. */
static void test_get_refused(void **state)
{
	static const unsigned late[] = { PROTOCOL_STDOUT, PROTOCOL_STDERR };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(late); i++) {
		begin_get();
		say(late[i], "late", 4);
		expect_refused();
		teardown(NULL);
		setup(NULL);
	}
	get_count = 1;
	assert_int_equal(open_all(), 0);
	start();
	say(PROTOCOL_GET, "early", 5);
	expect_refused();
	teardown(NULL);
	setup(NULL);
	start_get();
	say(PROTOCOL_GET, "before the end", 14);
	expect_refused();
	teardown(NULL);
	setup(NULL);
	start_get();
	say_words(PROTOCOL_TAKEN, PROTOCOL_GET, 1);
	expect_refused();
	teardown(NULL);
	setup(NULL);
	begin_get();
	for (int i = 0; i < 3; i++)
		say(PROTOCOL_GET, "", 0);
	expect_refused();
}

/* There is no command any more that could obey. */
static void test_signal(void **state)
{
	(void)state;
	start_get();
	assert_true(command_signal(&command, SIGINT));
	expect_words(PROTOCOL_SIGNAL, SIGINT, 0);
	say_words(PROTOCOL_TAKEN, PROTOCOL_GET, 0);
	assert_true(command_signal(&command, SIGINT));
	assert_int_equal(ended.reason, END_SIGNAL);
	assert_int_equal(ended.status, 128 + SIGINT);
}

static bool is_raw(int fd)
{
	struct termios settings;

	assert_int_equal(tcgetattr(fd, &settings), 0);
	return !(settings.c_lflag & ISIG);
}

/* Nor one that would read what is typed: the terminal is mote's caller's. */
static void test_terminal(void **state)
{
	const int standard = dup(STDIN_FILENO);
	const int keys = posix_openpt(O_RDWR | O_NOCTTY);
	uint8_t payload[PROTOCOL_CHUNK];
	uint32_t len;
	int screen;

	(void)state;
	assert_int_equal(unlockpt(keys), 0);
	screen = open(ptsname(keys), O_RDWR | O_NOCTTY);
	dup2(screen, STDIN_FILENO);
	get_count = 1;
	assert_int_equal(open_all(), 0);
	tty = true;
	start();
	say(PROTOCOL_READY, "", 0);
	assert_true(is_raw(screen));
	assert_int_equal(hear(payload, &len), PROTOCOL_WINCH);
	say_words(PROTOCOL_TAKEN, PROTOCOL_GET, 0);
	assert_false(is_raw(screen));
	assert_int_equal(write(keys, "next\n", 5), 5);
	expect_nothing();
	command_resume(&command);
	assert_false(is_raw(screen));
	assert_int_equal(hear(payload, &len), PROTOCOL_TIME);
	expect_nothing();
	tty = false;
	teardown(NULL);
	setup(NULL);
	dup2(standard, STDIN_FILENO);
	close(standard);
	close(screen);
	close(keys);
}

/* A line on a terminal, once it takes long, which is gone afterwards. */
static void test_progress(void **state)
{
	char got[256];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(put_fd, O_CLOEXEC), 0);
	put_count = 1;
	puts_given[0].file.fd = put_fd[0];
	assert_int_equal(open_all(), 0);
	transfers.progress = true;
	start();
	say_words(PROTOCOL_TAKEN, PROTOCOL_PUT, PROTOCOL_CREDIT);
	assert_int_equal(write(put_fd[1], "some", 4), 4);
	do
		spin();
	while ((n = read(said, got, sizeof(got) - 1)) < 0);
	got[n] = 0;
	assert_string_equal(got, "\rmote: --put: 0 MiB, 0 MiB/s\033[K");
	close(put_fd[1]);
	spin();
	expect_said("\r\033[K");
	spin();
	expect_said("");
	close(put_fd[0]);
}

static void test_orders(void **state)
{
	static const char want[] = "P0 /src\0Pk \0Gk /there\0G0 /there";
	struct orders orders = { .len = 0 };

	(void)state;
	put_count = get_count = 2;
	puts_given[0].file.path = puts_given[1].file.path = dir;
	puts_given[0].guest = "/src";
	puts_given[1].owner = gets_given[0].owner = TRANSFER_OWNER_KEEP;
	assert_int_equal(open_all(), 0);
	transfers_add_orders(&transfers, &orders);
	assert_int_equal(orders.len, sizeof(want));
	assert_memory_equal(orders.bytes, want, sizeof(want));
	orders_free(&orders);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(test_put_credit),	 test(test_walker),
		test(test_walker_fails), test(test_put_refused),
		test(test_open_refused), test(test_get),
		test(test_get_credit),	 test(test_get_stalls),
		test(test_get_full),	 test(test_get_missing),
		test(test_get_refused),	 test(test_signal),
		test(test_progress),	 test(test_orders),
		test(test_same_file),	 test(test_terminal),
		test(test_get_close),
	};
	const int real = dup(STDERR_FILENO);
	char why[4096];
	int failed, pipes[2];

	/* Its stdin has nothing, and no end. */
	if (!mkdtemp(dir) || pipe(pipes) || dup2(pipes[0], STDIN_FILENO) ||
	    pipe2(pipes, O_CLOEXEC | O_NONBLOCK))
		return 1;
	said = pipes[0];
	dup2(pipes[1], STDERR_FILENO);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	/* Why one failed is there as well. */
	for (ssize_t n; (n = read(said, why, sizeof(why))) > 0;)
		if (write(real, why, (size_t)n) < 0)
			break;
	unlink(path[0]);
	unlink(path[1]);
	rmdir(dir);
	return failed;
}
