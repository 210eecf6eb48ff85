/*
 * Streams with known contents, between guest and host; the same program at both
 * ends, static.
 *
 *	vsock_load serve WHERE		serves streams until it is killed
 *	vsock_load hold WHERE SECONDS	listens (backlog 1) and never accepts
 *	vsock_load send WHERE BYTES	sends; the server checks and says so
 *	vsock_load recv WHERE BYTES	the server sends; checked here
 *	vsock_load both WHERE BYTES	both at once, on two streams
 *	vsock_load half WHERE BYTES	echo; half-closed after the last byte
 *	vsock_load many WHERE N ROUNDS	N streams open at once, echo on each
 *	vsock_load slow WHERE BYTES	one stream's answer is not read while
 *					another echoes, then it is
 *	vsock_load abrupt WHERE STATE	closes there: connected, told, sending,
 *					receiving, unread, half, answered
 *	vsock_load fails WHERE		connecting fails: says how, and how soon
 *	vsock_load cid			says which CID this machine has
 *
 * WHERE is vsock:CID:PORT, unix:PATH or mote:PATH:PORT (the unix socket of a
 * mote, to a port of its guest). A stream begins with 64 bytes: what to do,
 * "echo", "sink" or "source", a seed and a length. What is sent is a pseudo-
 * random sequence from that seed, compared with what it should be byte by byte
 * and, as a sum of all of it, once more at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define ORDER	  64
#define CHUNK	  65536
#define STREAMS	  4096
#define ECHO_SIZE 64

struct stream {
	char verb;     /* of the order: e, s(ink), r (source); 0: not yet */
	uint64_t seed; /* of the next word */
	uint64_t left, sum;
};

static void die(const char *what)
{
	fprintf(stderr, "vsock_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void wrong(const char *what)
{
	fprintf(stderr, "vsock_load: %s\n", what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* -- contents ------------------------------------------------------------- */

static uint64_t next_word(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* The next CHUNK bytes of a sequence: lengths are multiples of 8. */
static void make_chunk(struct stream *s, uint64_t *words, size_t bytes)
{
	for (size_t i = 0; i < bytes / 8; i++) {
		words[i] = next_word(&s->seed);
		s->sum = s->sum * 31 + words[i];
	}
	s->left -= bytes;
}

static size_t next_size(const struct stream *s)
{
	return s->left < CHUNK ? (size_t)s->left : CHUNK;
}

static bool try_write(int fd, const void *from, size_t bytes)
{
	const char *at = from;

	for (ssize_t len; bytes; at += len, bytes -= (size_t)len) {
		len = write(fd, at, bytes);
		if (len < 0)
			return false;
	}
	return true;
}

static void write_all(int fd, const void *from, size_t bytes)
{
	if (!try_write(fd, from, bytes))
		die("write");
}

static void read_all(int fd, void *to, size_t bytes)
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

static void expect_end(int fd)
{
	char byte;
	ssize_t len = read(fd, &byte, 1);

	if (len > 0)
		wrong("there is more in the stream than there should be");
	if (len < 0)
		die("read at the end");
}

static uint64_t words[CHUNK / 8], check[CHUNK / 8];

static void send_sequence(int fd, struct stream *s)
{
	for (size_t size; (size = next_size(s)) > 0;) {
		make_chunk(s, words, size);
		write_all(fd, words, size);
	}
}

static void take_sequence(int fd, struct stream *s)
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
	struct sockaddr_un un;
};

/* `port` is what follows mote:PATH:, else NULL. */
static socklen_t parse(const char *where, union address *a, const char **port)
{
	char *path = a->un.sun_path, *colon;
	unsigned cid, number;

	memset(a, 0, sizeof(*a));
	*port = NULL;
	if (sscanf(where, "vsock:%u:%u", &cid, &number) == 2) {
		a->vm.svm_family = AF_VSOCK;
		a->vm.svm_cid = cid;
		a->vm.svm_port = number;
		return sizeof(a->vm);
	}
	a->un.sun_family = AF_UNIX;
	if (strncmp(where, "unix:", 5) != 0 && strncmp(where, "mote:", 5) != 0)
		wrong("an address is vsock:CID:PORT, unix:PATH or "
		      "mote:PATH:PORT");
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
static int ask_mote(int fd, const char *port)
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

/* A descriptor, or -1 and errno. */
static int try_dial(const char *where)
{
	union address a;
	const char *port;
	socklen_t len = parse(where, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, &a.any, len) || (port && ask_mote(fd, port))) {
		close(fd);
		return -1;
	}
	return fd;
}

static int dial(const char *where)
{
	int fd = try_dial(where);

	if (fd < 0)
		die(where);
	return fd;
}

static int listen_at(const char *where, int backlog)
{
	union address a;
	const char *port;
	socklen_t len = parse(where, &a, &port);
	int fd = socket(a.any.sa_family, SOCK_STREAM, 0);

	if (a.any.sa_family == AF_UNIX)
		unlink(a.un.sun_path);
	else
		a.vm.svm_cid = VMADDR_CID_ANY;
	if (fd < 0 || bind(fd, &a.any, len) || listen(fd, backlog))
		die(where);
	return fd;
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

/* -- the server ----------------------------------------------------------- */

/* A long stream has a process of its own, with ordinary blocking calls. */
static void serve_long(int fd, struct stream *s)
{
	if (s->verb == 's') {
		take_sequence(fd, s);
		write_all(fd, &s->sum, sizeof(s->sum));
	} else {
		send_sequence(fd, s);
		write_all(fd, &s->sum, sizeof(s->sum));
	}
	shutdown(fd, SHUT_WR);
	expect_end(fd);
	exit(0);
}

static struct pollfd fds[STREAMS]; /* the listener first */
static nfds_t count;

/* A copy of another stream's descriptor would keep that stream open. */
static void close_others(int fd)
{
	for (nfds_t i = 0; i < count; i++)
		if (fds[i].fd != fd)
			close(fds[i].fd);
}

/* Echo goes through this process, a chunk at a time; false: it is over. */
static bool serve_some(int fd, struct stream *s)
{
	char text[ORDER + 1] = "", verb[8] = "";
	ssize_t len;

	if (s->verb == 'e') {
		len = read(fd, words, sizeof(words));
		return len > 0 && try_write(fd, words, (size_t)len);
	}
	if (recv(fd, text, ORDER, MSG_WAITALL) != ORDER ||
	    sscanf(text, "%7s %" SCNu64 " %" SCNu64, verb, &s->seed,
		   &s->left) != 3)
		return false;
	s->verb = strcmp(verb, "source") == 0 ? 'r' : *verb;
	if (s->verb == 'e')
		return true;
	if (fork() == 0) {
		close_others(fd);
		serve_long(fd, s);
	}
	return false;
}

static void serve(const char *where)
{
	static struct stream streams[STREAMS];

	count = 1;
	fds[0] = (struct pollfd){ listen_at(where, 1024), POLLIN, 0 };
	puts("serving");
	fflush(stdout);
	for (;;) {
		if (poll(fds, count, -1) < 0)
			die("poll");
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		for (nfds_t i = count - 1; i > 0; i--) {
			if (!fds[i].revents ||
			    serve_some(fds[i].fd, &streams[i]))
				continue;
			close(fds[i].fd);
			count--;
			fds[i] = fds[count];
			streams[i] = streams[count];
			fds[i].revents = 0;
		}
		if (fds[0].revents && count < STREAMS) {
			fds[count] =
				(struct pollfd){ accept(fds[0].fd, NULL, NULL),
						 POLLIN, 0 };
			streams[count] = (struct stream){ 0 };
			count += fds[count].fd >= 0;
		}
	}
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

static void many(const char *where, unsigned streams, unsigned rounds)
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
	int fd = try_dial(where);

	if (fd >= 0)
		wrong("it connects");
	printf("%s after %.0f s\n", strerror(errno), now() - began);
}

static void cid(void)
{
	int fd = open("/dev/vsock", O_RDONLY);
	unsigned number;

	if (fd < 0 || ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &number))
		die("/dev/vsock");
	printf("%u\n", number);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const char *where = argc > 2 ? argv[2] : "";
	uint64_t number = argc > 3 ? strtoull(argv[3], NULL, 0) : 0;
	struct rlimit limit;
	double began = now();

	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (strcmp(what, "cid") == 0)
		cid();
	else if (strcmp(what, "serve") == 0)
		serve(where);
	else if (strcmp(what, "hold") == 0)
		listen_at(where, 1), sleep((unsigned)number);
	else if (strcmp(what, "send") == 0)
		send_long(where, number);
	else if (strcmp(what, "recv") == 0)
		recv_long(where, number);
	else if (strcmp(what, "both") == 0)
		both_long(where, number);
	else if (strcmp(what, "half") == 0)
		half(where, number);
	else if (strcmp(what, "many") == 0 && argc > 4)
		many(where, (unsigned)number, (unsigned)atoi(argv[4]));
	else if (strcmp(what, "slow") == 0)
		slow(where, number);
	else if (strcmp(what, "abrupt") == 0 && argc > 3)
		abrupt(where, argv[3]);
	else if (strcmp(what, "fails") == 0)
		fails(where);
	else
		wrong("usage: see the head of vsock_load.c");
	if (number >= 1 << 20)
		fprintf(stderr, "%s %" PRIu64 " MiB: %.1f MiB/s\n", what,
			number >> 20,
			(double)number / (now() - began) / (1 << 20));
	return 0;
}
