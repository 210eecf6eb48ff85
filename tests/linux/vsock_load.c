/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a stream that connects: tests/linux/vsock_stream.h.
 *
 *	vsock_load send WHERE BYTES	sends; the server checks and says so
 *	vsock_load recv WHERE BYTES	the server sends; checked here
 *	vsock_load both WHERE BYTES	both at once, on two streams
 *	vsock_load half WHERE BYTES	echo; half-closed after the last byte
 *	vsock_load slow WHERE BYTES	one stream's answer is not read while
 *					another echoes, then it is
 *	vsock_load many WHERE N ROUNDS	N streams open at once, echo on each
 *	vsock_load idle WHERE N		the same with one round; then says so
 *					and keeps them, until it is killed
 *	vsock_load abrupt WHERE STATE	closes there: connected, told, sending,
 *					receiving, unread, half, answered
 *	vsock_load cut WHERE		an open stream; waits for its end
 *	vsock_load fails WHERE		connecting fails: says how, and how soon
 *	vsock_load part unix:PATH TEXT	writes that, waits for the end, says how
 *					soon it came
 *	vsock_load leave unix:PATH TEXT	writes the first byte of that and goes;
 *					and so on to the whole of it
 *	vsock_load cid			says which CID this machine has
 *
 * Runs in the guest and on the host; static.
 */
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/linux/vsock_stream.h"

#define ECHO_SIZE 64

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct stream order(int fd, const char *verb, uint64_t seed,
			   uint64_t bytes)
{
	char text[ORDER] = "";

	snprintf(text, sizeof(text), "%s %" PRIu64 " %" PRIu64, verb, seed,
		 bytes);
	write_all(fd, text, sizeof(text));
	return (struct stream){ *verb, seed, bytes, 0 };
}

/* -- clients -------------------------------------------------------------- */

static void send_long(const char *where, uint64_t bytes)
{
	int fd = dial(where);
	struct stream s = order(fd, "sink", 88172645463325252u, bytes);
	uint64_t sum;

	send_sequence(fd, &s);
	read_all(fd, &sum, sizeof(sum));
	expect_end(fd);
	if (sum != s.sum)
		wrong("the server's sum is another");
}

static void recv_long(const char *where, uint64_t bytes)
{
	int fd = dial(where);
	struct stream s = order(fd, "source", 1234567890123456789u, bytes);
	uint64_t sum;

	take_sequence(fd, &s);
	read_all(fd, &sum, sizeof(sum));
	expect_end(fd);
	if (sum != s.sum)
		wrong("the server's sum is another");
}

static void both_long(const char *where, uint64_t bytes)
{
	int status;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		send_long(where, bytes);
		exit(0);
	}
	recv_long(where, bytes);
	if (waitpid(pid, &status, 0) != pid || status)
		wrong("the sending half failed");
}

/* The whole of it comes back, although this end was closed for writing. */
static void half(const char *where, uint64_t bytes)
{
	int fd = dial(where);
	struct stream out = order(fd, "echo", 5, bytes), in = out;
	pid_t pid = fork();

	if (pid < 0)
		die("fork");
	if (!pid) {
		send_sequence(fd, &out);
		shutdown(fd, SHUT_WR);
		exit(0);
	}
	take_sequence(fd, &in);
	expect_end(fd);
	waitpid(pid, NULL, 0);
}

static void echo_once(int fd, unsigned number, unsigned round)
{
	char text[ECHO_SIZE] = "", back[ECHO_SIZE];

	snprintf(text, sizeof(text), "stream %u, round %u", number, round);
	write_all(fd, text, sizeof(text));
	read_all(fd, back, sizeof(back));
	if (memcmp(text, back, sizeof(text)) != 0)
		wrong("an echo belongs to another stream");
}

static void many(const char *where, unsigned streams, unsigned rounds,
		 bool keep)
{
	static int fd[STREAMS];

	if (streams > STREAMS)
		wrong("that is too many");
	for (unsigned i = 0; i < streams; i++) {
		fd[i] = dial(where);
		order(fd[i], "echo", 1, 0);
	}
	for (unsigned round = 0; round < rounds; round++)
		for (unsigned i = 0; i < streams; i++)
			echo_once(fd[i], i, round);
	if (keep) {
		printf("%u streams\n", streams);
		fflush(stdout);
		pause();
	}
	for (unsigned i = 0; i < streams; i++)
		close(fd[i]);
}

static void slow(const char *where, uint64_t bytes)
{
	int lazy = dial(where), quick = dial(where);
	struct stream s = order(lazy, "source", 7, bytes);
	uint64_t sum;

	order(quick, "echo", 1, 0);
	for (unsigned round = 0; round < 50; round++)
		echo_once(quick, 0, round);
	take_sequence(lazy, &s);
	read_all(lazy, &sum, sizeof(sum));
	if (sum != s.sum)
		wrong("the server's sum is another");
}

static void abrupt(const char *where, const char *state)
{
	int fd = dial(where);
	struct stream s;
	char byte;

	if (strcmp(state, "connected") == 0)
		return;
	if (strcmp(state, "told") == 0) {
		write_all(fd, "sink 1 1000000", 15);
	} else if (strcmp(state, "sending") == 0) {
		s = order(fd, "sink", 3, 1 << 30);
		s.left = 1 << 20;
		send_sequence(fd, &s);
	} else if (strcmp(state, "receiving") == 0) {
		order(fd, "source", 3, 1 << 30);
		read_all(fd, words, 1 << 15);
	} else if (strcmp(state, "unread") == 0) {
		order(fd, "source", 3, 1 << 30);
		poll(&(struct pollfd){ fd, POLLIN, 0 }, 1, 10000);
	} else if (strcmp(state, "half") == 0) {
		order(fd, "echo", 3, 0);
		write_all(fd, "x", 1);
		shutdown(fd, SHUT_WR);
	} else if (strcmp(state, "answered") == 0) {
		order(fd, "echo", 3, 0);
		write_all(fd, "x", 1);
		read_all(fd, &byte, 1);
	} else {
		wrong("no such state");
	}
}

static void fails(const char *where)
{
	double began = now();
	int fd = try_dial(where, 0);

	if (fd >= 0)
		wrong("it connects");
	printf("%s after %.0f s\n", strerror(errno), now() - began);
}

static void cut(const char *where)
{
	int fd = dial(where);
	char byte;

	order(fd, "echo", 1, 0);
	echo_once(fd, 0, 0);
	if (read(fd, &byte, 1) > 0)
		wrong("there is more in the stream");
}

static void part(const char *where, const char *text)
{
	double began = now();
	int fd = dial(where);
	char byte;

	write_all(fd, text, strlen(text));
	if (read(fd, &byte, 1) > 0)
		wrong("it is answered");
	printf("ended after %.0f s\n", now() - began);
}

static void leave(const char *where, const char *text)
{
	for (size_t len = 0; len <= strlen(text); len++) {
		int fd = dial(where);

		write_all(fd, text, len);
		close(fd);
	}
}

static void cid(void)
{
	int fd = open("/dev/vsock", O_RDONLY);
	unsigned number;

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &number))
		die("/dev/vsock");
	printf("%u\n", number);
}

/* Of each mode one function: by how much it has to be told. */
static const struct mode {
	const char *name;
	int args;
	void (*plain)(const char *where);
	void (*bytes)(const char *where, uint64_t bytes);
	void (*text)(const char *where, const char *text);
} modes[] = {
	{ "send", 4, NULL, send_long, NULL },
	{ "recv", 4, NULL, recv_long, NULL },
	{ "both", 4, NULL, both_long, NULL },
	{ "half", 4, NULL, half, NULL },
	{ "slow", 4, NULL, slow, NULL },
	{ "abrupt", 4, NULL, NULL, abrupt },
	{ "part", 4, NULL, NULL, part },
	{ "leave", 4, NULL, NULL, leave },
	{ "cut", 3, cut, NULL, NULL },
	{ "fails", 3, fails, NULL, NULL },
};

static void run_bytes(const struct mode *mode, const char *where,
		      uint64_t bytes)
{
	double began = now();

	mode->bytes(where, bytes);
	fprintf(stderr, "# %s %.0f MiB: %.1f MiB/s\n", mode->name,
		(double)bytes / (1 << 20),
		(double)bytes / (now() - began) / (1 << 20));
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	prepare();
	if (argc == 2 && strcmp(name, "cid") == 0) {
		cid();
		return 0;
	}
	if (argc == 5 && strcmp(name, "many") == 0) {
		many(argv[2], (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]),
		     false);
		return 0;
	}
	if (argc == 4 && strcmp(name, "idle") == 0) {
		many(argv[2], (unsigned)atoi(argv[3]), 1, true);
		return 0;
	}
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(name, modes[i].name) != 0 || argc != modes[i].args)
			continue;
		if (modes[i].plain)
			modes[i].plain(argv[2]);
		else if (modes[i].bytes)
			run_bytes(&modes[i], argv[2],
				  strtoull(argv[3], NULL, 0));
		else
			modes[i].text(argv[2], argv[3]);
		return 0;
	}
	wrong("usage: see the head of vsock_load.c");
}
