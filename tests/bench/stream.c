/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures a stream, TCP or vsock, with the plainest of calls, so that what
 * carries it is what is measured: bytes that nobody looks at.
 *
 *	stream serve WHERE		serves streams until it is killed
 *	stream send WHERE KIB SECONDS	sends that much, or for so long
 *	stream recv WHERE KIB SECONDS	the server sends
 *	stream trip WHERE N SECONDS	round trips of 64 bytes, one by one
 *
 * The last three print the microseconds of each KiB or round trip, and how many
 * there were. A stream begins with a byte that says what the server is to do.
 * WHERE is as in tests/linux/ vsock_stream.h. Runs in the guest and on the
 * host; static.
 */
#include <sys/wait.h>
#include <time.h>

#include "tests/linux/vsock_stream.h"

#define TRIP 64
#define KIB  1024

static char bytes[CHUNK];
static uint64_t limit_ns;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* -- the server ----------------------------------------------------------- */

static void serve_stream(int fd)
{
	ssize_t len;
	char verb;

	read_all(fd, &verb, 1);
	if (verb == 'r')
		while (try_write(fd, bytes, sizeof(bytes)))
			;
	else if (verb == 't')
		while ((len = read(fd, bytes, sizeof(bytes))) > 0)
			write_all(fd, bytes, (size_t)len);
	else
		while (read(fd, bytes, sizeof(bytes)) > 0)
			;
	/* A sender waits for this: all has been received. */
	try_write(fd, &verb, 1);
	exit(0);
}

static void serve(const char *where)
{
	int listener = listen_at(where, 8), fd;

	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			die("accept");
		if (!fork()) {
			close(listener);
			serve_stream(fd);
		}
		close(fd);
	}
}

/* -- clients: each returns how many KiB or trips it was ------------------- */

static uint64_t send_stream(int fd, uint64_t kib)
{
	uint64_t done = 0;

	for (; done < kib && now_ns() < limit_ns; done += CHUNK / KIB)
		write_all(fd, bytes, CHUNK);
	shutdown(fd, SHUT_WR);
	read_all(fd, bytes, 1);
	return done;
}

static uint64_t recv_stream(int fd, uint64_t kib)
{
	uint64_t done = 0;

	for (; done < kib && now_ns() < limit_ns; done += CHUNK / KIB)
		read_all(fd, bytes, CHUNK);
	return done;
}

static uint64_t trip_stream(int fd, uint64_t trips)
{
	uint64_t done = 0;

	for (; done < trips && now_ns() < limit_ns; done++) {
		write_all(fd, bytes, TRIP);
		read_all(fd, bytes, TRIP);
	}
	return done;
}

static const struct {
	const char *name;
	uint64_t (*run)(int fd, uint64_t count);
} verbs[] = {
	{ "send", send_stream },
	{ "recv", recv_stream },
	{ "trip", trip_stream },
};

int main(int argc, char **argv)
{
	const char *name = argc > 2 ? argv[1] : "";
	uint64_t began, done, took;
	int fd;

	prepare();
	if (argc == 3 && strcmp(name, "serve") == 0)
		serve(argv[2]);
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(name, verbs[i].name) != 0 || argc != 5)
			continue;
		fd = dial(argv[2]);
		began = now_ns();
		limit_ns = began + strtoull(argv[4], NULL, 10) * 1000000000u;
		write_all(fd, name, 1);
		done = verbs[i].run(fd, strtoull(argv[3], NULL, 10));
		took = now_ns() - began;
		if (!done)
			wrong("nothing came of it");
		printf("%.4f %" PRIu64 "\n", (double)took / 1e3 / (double)done,
		       done);
		return 0;
	}
	fprintf(stderr, "stream serve WHERE | "
			"send|recv|trip WHERE COUNT SECONDS\n");
	return 2;
}
