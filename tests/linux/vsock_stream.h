/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams with known contents, for the two ends of tests/linux/vsock.t:
 * vsock_serve.c and vsock_load.c. Each included by one file of a program.
 *
 * A stream begins with ORDER bytes, what the server is to do with it: "echo",
 * "sink" or "source", a seed and a length. What is sent is a pseudo-random
 * sequence from that seed, compared with what it should be byte by byte and, as
 * a sum of all of it, once more at the end.
 *
 * An address is vsock:CID:PORT, tcp:A.B.C.D:PORT, unix:PATH or mote:PATH:PORT
 * (the unix socket of a mote, to a port of its guest).
 */
#ifndef TESTS_LINUX_VSOCK_STREAM_H
#define TESTS_LINUX_VSOCK_STREAM_H

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define ORDER	64
#define CHUNK	65536
#define STREAMS 4096

#define PATIENCE_S 120 /* for a busy host */

struct stream {
	char verb;     /* of the order: e, s(ink), r (source); 0: not yet */
	uint64_t seed; /* of the next word */
	uint64_t left, sum;
};

static inline _Noreturn void die(const char *what)
{
	fprintf(stderr, "vsock_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static inline _Noreturn void wrong(const char *what)
{
	fprintf(stderr, "vsock_load: %s\n", what);
	exit(1);
}

/* -- contents ------------------------------------------------------------- */

static inline uint64_t next_word(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* The next CHUNK bytes of a sequence: lengths are multiples of 8. */
static inline void make_chunk(struct stream *s, uint64_t *words, size_t bytes)
{
	for (size_t i = 0; i < bytes / 8; i++) {
		words[i] = next_word(&s->seed);
		s->sum = s->sum * 31 + words[i];
	}
	s->left -= bytes;
}

static inline size_t next_size(const struct stream *s)
{
	return s->left < CHUNK ? (size_t)s->left : CHUNK;
}

static inline bool try_write(int fd, const void *from, size_t bytes)
{
	const char *at = from;

	for (ssize_t len; bytes; at += len, bytes -= (size_t)len) {
		len = write(fd, at, bytes);
		if (len < 0)
			return false;
	}
	return true;
}

static inline void write_all(int fd, const void *from, size_t bytes)
{
	if (!try_write(fd, from, bytes))
		die("write");
}

static inline void read_all(int fd, void *to, size_t bytes)
{
	char *at = to;

	for (ssize_t len; bytes; at += len, bytes -= (size_t)len) {
		len = read(fd, at, bytes);
		if (len < 0)
			die("read");
		if (!len)
			wrong("the stream ended early");
	}
}

static inline void expect_end(int fd)
{
	char byte;
	ssize_t len = read(fd, &byte, 1);

	if (len > 0)
		wrong("there is more in the stream than there should be");
	if (len < 0)
		die("read at the end");
}

static uint64_t words[CHUNK / 8], check[CHUNK / 8];

static inline void send_sequence(int fd, struct stream *s)
{
	for (size_t size; (size = next_size(s)) > 0;) {
		make_chunk(s, words, size);
		write_all(fd, words, size);
	}
}

static inline void take_sequence(int fd, struct stream *s)
{
	for (size_t size; (size = next_size(s)) > 0;) {
		read_all(fd, words, size);
		make_chunk(s, check, size);
		if (memcmp(words, check, size) != 0)
			wrong("the stream's contents are not what was sent");
	}
}

/* -- addresses ------------------------------------------------------------ */

union address {
	struct sockaddr any;
	struct sockaddr_vm vm;
	struct sockaddr_in in;
	struct sockaddr_un un;
};

/* `port` is what follows mote:PATH:, else NULL. */
static inline socklen_t parse(const char *where, union address *a,
			      const char **port)
{
	char *path = a->un.sun_path, *colon;
	unsigned cid, number;
	char host[16];

	memset(a, 0, sizeof(*a));
	*port = NULL;
	if (sscanf(where, "vsock:%u:%u", &cid, &number) == 2) {
		a->vm.svm_family = AF_VSOCK;
		a->vm.svm_cid = cid;
		a->vm.svm_port = number;
		return sizeof(a->vm);
	}
	if (sscanf(where, "tcp:%15[0-9.]:%u", host, &number) == 2) {
		a->in.sin_family = AF_INET;
		a->in.sin_addr.s_addr = inet_addr(host);
		a->in.sin_port = htons((uint16_t)number);
		return sizeof(a->in);
	}
	a->un.sun_family = AF_UNIX;
	if (strncmp(where, "unix:", 5) != 0 && strncmp(where, "mote:", 5) != 0)
		wrong("an address is vsock:CID:PORT, tcp:A.B.C.D:PORT, "
		      "unix:PATH or mote:PATH:PORT");
	snprintf(path, sizeof(a->un.sun_path), "%s", where + 5);
	if (*where == 'm') {
		colon = strrchr(path, ':');
		if (!colon)
			wrong("mote:PATH:PORT has no port");
		*colon = 0;
		*port = strrchr(where, ':') + 1;
	}
	return sizeof(a->un);
}

/* The answer comes a byte at a time: what follows is the stream's. */
static inline int ask_mote(int fd, const char *port)
{
	char line[64];
	size_t len = 0;

	dprintf(fd, "CONNECT %s\n", port);
	while (len < sizeof(line) - 1 && read(fd, line + len, 1) == 1)
		if (line[len++] == '\n')
			return strncmp(line, "OK ", 3) == 0 ? 0 : -1;
	errno = ECONNRESET;
	return -1;
}

/*
 * A descriptor, or -1 and errno. How long a vsock may take to connect; 0: as
 * long as Linux itself waits, 2 s.
 */
static inline int try_dial(const char *where, int patience_s)
{
	union address a;
	const char *port;
	socklen_t len = parse(where, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_STREAM, 0);
	struct timeval patience = { .tv_sec = patience_s };

	if (fd < 0)
		die("socket");
	if (patience_s && a.any.sa_family == AF_VSOCK &&
	    setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &patience,
		       sizeof(patience)))
		die("setsockopt");
	if (connect(fd, &a.any, len) || (port && ask_mote(fd, port))) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int dial(const char *where)
{
	int fd = try_dial(where, PATIENCE_S);

	if (fd < 0)
		die(where);
	return fd;
}

static inline int listen_at(const char *where, int backlog)
{
	union address a;
	const char *port;
	socklen_t len = parse(where, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_STREAM, 0);

	if (a.any.sa_family == AF_UNIX)
		unlink(a.un.sun_path);
	else if (a.any.sa_family == AF_VSOCK)
		a.vm.svm_cid = VMADDR_CID_ANY;
	if (fd < 0 || bind(fd, &a.any, len) || listen(fd, backlog))
		die(where);
	return fd;
}

/* As many descriptors as may be; a write to what is closed is an error. */
static inline void prepare(void)
{
	struct rlimit limit;

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
