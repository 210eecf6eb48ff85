/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/command.c cpu/command/frames.c */
/* uses: cpu/command/saved.c */
/* uses: cpu/command/output.c cpu/command/transfer.c cpu/loop/file.c */
/* uses: cpu/command/orders.c mem/state.c */
/* uses: cpu/console/stream.c cpu/console/tty.c */
/* uses: cpu/loop/loop.c mem/log.c */
/* ldflags: -Wl,--wrap=stream_open */
/*
 * The host's end of a command, and a guest that sends what the input says. The
 * first byte says by which link, whether it was restored, whether it is another
 * mote's, and whether there are --put and --get; then, again and again, a byte
 * that says what happens (modulo 6) and one that says how much:
 *
 *	0, 1 n bytes...		the guest sends them
 *	2 n			a reader takes so much of all that is written
 *	3 n			mote's stdin has so much for the command
 *	4 n			signal n comes
 *	5 n			a --put has so much: of a stream, or a walker's
 *				message of that kind; 0: its end
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
static struct transfers transfers;
static struct transfer_options put_options[2], get_options[2];
static int put_fd[2][2], get_fd[2][2]; /* a stream and a walker's; pipes */
static bool files;
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
	if (fd <= STDERR_FILENO)
		fd = pipes[fd][fd > 0];
	return __real_stream_open(fd, direction, owned);
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

static void open_files(void)
{
	memset(&transfers, 0, sizeof(transfers));
	for (int i = 0; i < 2; i++) {
		require(!pipe2(get_fd[i], O_CLOEXEC | O_NONBLOCK));
		get_options[i].file =
			(struct option_file){ NULL, get_fd[i][1] };
		get_options[i].guest = "/get";
	}
	require(!pipe2(put_fd[0], O_CLOEXEC | O_NONBLOCK));
	put_options[0].file = (struct option_file){ NULL, put_fd[0][0] };
	put_options[1].file = (struct option_file){ "/", -1 };
	require(!transfers_open(&transfers, put_options, 2, get_options, 2,
				false));
	require(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0,
			    put_fd[1]));
	require(!transfers_set_walker(&transfers, 1, put_fd[1][0]));
}

static void close_end(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void close_files(void)
{
	transfers_close(&transfers);
	close_end(&put_fd[0][0]);
	close_end(&put_fd[0][1]);
	close_end(&put_fd[1][1]);
	for (int i = 0; i < 2; i++) {
		close_end(&get_fd[i][0]);
		close_end(&get_fd[i][1]);
	}
}

/* More than a message of a walker's may have, too. */
static void feed_put(size_t len)
{
	static const char kinds[] = { TRANSFER_BYTES, TRANSFER_WARN,
				      TRANSFER_ERROR, TRANSFER_END, 'x' };
	static char bytes[65536];
	ssize_t done;

	if (!files)
		return;
	if (!len) {
		close_end(&put_fd[0][1]);
		return;
	}
	if (put_fd[0][1] >= 0) {
		done = write(put_fd[0][1], bytes, len * 256);
	} else {
		bytes[0] = kinds[len % sizeof(kinds)];
		done = send(put_fd[1][1], bytes, 1 + len * 128,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	}
	(void)done; /* full, or nobody is there: as good */
}

static void open_all(bool restored, bool session)
{
	const struct command_options options = {
		.serial = true,
		.restored = restored,
		.transfers = files ? &transfers : NULL,
	};

	memset(&command, 0, sizeof(command));
	ended = (struct ending){ END_NONE, 0 };
	sent = received = 0;
	for (int i = 0; i < 3; i++)
		require(!pipe2(pipes[i], O_CLOEXEC | O_NONBLOCK));
	require(!loop_create(&loop));
	if (files)
		open_files();
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
	if (files)
		close_files();
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
		n = files ? read(get_fd[i - 1][0], bytes, len * 256 % 65536)
			  : 0;
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
	require(got <= 3 * PROTOCOL_CREDIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const bool serial = size && data[0] & 1, session = size && data[0] & 4;
	int fd;

	log_set_level(LOG_ERROR);
	files = size && data[0] & 8 && !session;
	open_all(size && data[0] & 2, session);
	fd = session ? pair[1] : serial ? command.serial_fd : command.vsock_fd;
	for (size_t at = 1, len; at + 2 <= size; at += 2) {
		const unsigned what = data[at] % 6, n = data[at + 1];

		if (what < 2) {
			len = n < size - at - 2 ? n : size - at - 2;
			if (send(fd, data + at + 2, len, MSG_DONTWAIT) > 0)
				sent += len;
			at += len;
		} else if (what == 2) {
			read_output(n);
		} else if (what == 3) {
			write_input(n);
		} else if (what == 4) {
			command_signal(&command, (int)(n % 64));
		} else {
			feed_put(n);
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
