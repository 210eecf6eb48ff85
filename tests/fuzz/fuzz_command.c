/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/command.c cpu/command/frames.c */
/* uses: cpu/command/orders.c mem/state.c */
/* uses: cpu/console/stream.c cpu/console/tty.c */
/* uses: cpu/loop/loop.c mem/log.c */
/* ldflags: -Wl,--wrap=stream_open */
/*
 * The host's end of a command, and a guest that sends what the input says. The
 * first byte says by which link, and whether it was restored, or is another
 * mote's; then, again and again, a byte that says what happens (modulo 5) and
 * one that says how much:
 *
 *	0, 1 n bytes...		the guest sends them
 *	2 n			a reader takes so much of stdout and stderr
 *	3 n			mote's stdin has so much for the command
 *	4 n			signal n comes
 *
 * The guest must not get more than the credit of its input, nor mote's readers
 * a byte that it did not send, nor may it end without a word.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu/command/command.h"
#include "mem/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
struct stream __real_stream_open(int fd, int direction, bool owned);
struct stream __wrap_stream_open(int fd, int direction, bool owned);

static struct command command;
static struct platform platform;
static struct loop loop;
static struct ending ended;
static int pipes[3][2], pair[2] = { -1, -1 };
static size_t sent, received;

void platform_end(struct platform *p, enum end_reason reason, unsigned status)
{
	(void)p;
	if (ended.reason == END_NONE)
		ended = (struct ending){ reason, status };
}

void platform_ready(struct platform *p)
{
	(void)p;
}

void report_stage(struct report *report, const char *name, uint64_t ns)
{
	(void)report, (void)name, (void)ns;
}

/* The fuzzer needs its own stderr. */
struct stream __wrap_stream_open(int fd, int direction, bool owned)
{
	return __real_stream_open(pipes[fd][fd > 0], direction, owned);
}

static void require(bool promise)
{
	if (!promise)
		abort();
}

static void open_session(const struct command_options *options)
{
	struct orders orders = { .len = 0 };

	require(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	command_join(&command, options, pair[0]);
	orders_add(&orders, RUN_ARGUMENT, "sh");
	require(!command_take_orders(&command, &orders));
}

static void open_all(bool restored, bool session)
{
	const struct command_options options = { .serial = true,
						 .restored = restored };

	memset(&command, 0, sizeof(command));
	ended = (struct ending){ END_NONE, 0 };
	sent = received = 0;
	for (int i = 0; i < 3; i++)
		require(!pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK));
	require(!loop_create(&loop));
	if (session)
		open_session(&options);
	else
		require(!command_open(&command, &options));
	if (restored && !session)
		command_restored(&command, "me");
	require(!command_start(&command, &loop, &platform, NULL));
}

static void close_all(void)
{
	command_close(&command);
	if (pair[1] >= 0)
		close(pair[1]);
	pair[1] = -1;
	loop_destroy(&loop);
	for (int i = 0; i < 3; i++)
		for (int j = 0; j < 2; j++)
			close(pipes[i][j]);
}

/* Until nothing is left to do, or what is left waits for the other side. */
static void turn(void)
{
	for (int i = 0; i < 4; i++)
		if (loop_turn(&loop, 0) <= 0)
			break;
}

static void read_output(size_t len)
{
	static uint8_t bytes[65536];

	for (int i = 1; i < 3; i++) {
		ssize_t n = read(pipes[i][0], bytes, len * 256 % 65536);

		received += n > 0 ? (size_t)n : 0;
	}
	require(received <= sent);
}

static void write_input(size_t len)
{
	static const uint8_t bytes[65536];
	ssize_t done = write(pipes[0][1], bytes, len * 256 % 65536);

	(void)done; /* a full pipe is as good */
}

/* The guest reads all that there is for it. */
static void drain(int fd)
{
	static uint8_t bytes[65536];
	size_t got = 0;
	ssize_t n;

	while ((n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		got += (size_t)n;
	require(got <= 2 * PROTOCOL_CREDIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const bool serial = size && data[0] & 1, session = size && data[0] & 4;
	int fd;

	log_set_level(LOG_ERROR);
	open_all(size && data[0] & 2, session);
	fd = session ? pair[1] : serial ? command.serial_fd : command.vsock_fd;
	for (size_t at = 1, len; at + 2 <= size; at += 2) {
		const unsigned what = data[at] % 5, n = data[at + 1];

		if (what < 2) {
			len = n < size - at - 2 ? n : size - at - 2;
			if (send(fd, data + at + 2, len, MSG_DONTWAIT) > 0)
				sent += len;
			at += len;
		} else if (what == 2) {
			read_output(n);
		} else if (what == 3) {
			write_input(n);
		} else {
			command_signal(&command, (int)(n % 64));
		}
		turn();
		drain(fd);
	}
	command_drain(&command, 0, -1);
	command_finish(&command, &ended);
	if (command.exited)
		require(ended.reason != END_NONE);
	close_all();
	return 0;
}
