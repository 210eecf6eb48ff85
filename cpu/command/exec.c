/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects to a guest that another mote runs, for --exec.
 *
 *	connect to PATH			who may write to that socket, may
 *	"CONNECT port\n"		as any client of --vsock
 *	"OK number\n"			mote's init has its port open
 *
 * Instead of the last line the connection ends where nobody in the guest has
 * that port. It may be about to: the guest boots. So that is tried again for a
 * while, as is a socket with too many at its door.
 *
 * Whoever is behind the socket may be hostile: of his one line no more is read
 * than that has at most, byte by byte, as what follows is the command's; and he
 * is not waited for without end. Main thread, before the sandbox closes in.
 */
#include "cpu/command/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cpu/command/protocol.h"
#include "cpu/loop/loop.h"
#include "mem/log.h"

#define BOOT_NS	     5000000000ULL /* for a guest that boots */
#define ANSWER_NS    30000000000ULL
#define AGAIN_MS     50
#define GREETING_MAX 24 /* "OK 4294967295\n", and some */

static int fail_exec(const struct option_file *file, int error, const char *why)
{
	char room[FILE_NAME_BYTES];

	log_error("--exec %s: %s", file_name(file, room), why);
	return -error;
}

/* -- the lines ------------------------------------------------------------- */

static bool is_greeting(const char *line)
{
	static const char start[] = "OK ";
	const char *digits = line + sizeof(start) - 1;

	return !strncmp(line, start, sizeof(start) - 1) && *digits &&
	       !digits[strspn(digits, "0123456789")];
}

/* A byte; 0: the end; -errno. */
static int read_answer(int fd, char *byte, uint64_t deadline)
{
	struct pollfd wait = { .fd = fd, .events = POLLIN };
	ssize_t n;

	for (;;) {
		n = recv(fd, byte, 1, MSG_DONTWAIT);
		if (n >= 0)
			return (int)n;
		if (errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (loop_now() >= deadline)
			return -ETIMEDOUT;
		poll(&wait, 1, AGAIN_MS);
	}
}

/* 1: the guest is there; 0: it, or its port, is not; -errno. */
static int say_hello(int fd)
{
	const uint64_t deadline = loop_now() + ANSWER_NS;
	char line[GREETING_MAX] = "";
	size_t len = (size_t)snprintf(line, sizeof(line), "CONNECT %u\n",
				      PROTOCOL_EXEC_PORT);
	int got;

	if (send(fd, line, len, MSG_NOSIGNAL) != (ssize_t)len)
		return errno == EPIPE || errno == ECONNRESET ? 0 : -errno;
	for (len = 0; len < sizeof(line); len++) {
		got = read_answer(fd, &line[len], deadline);
		if (got < 0)
			return got;
		if (!got)
			return len ? -EPROTO : 0;
		if (line[len] == '\n') {
			line[len] = 0;
			return is_greeting(line) ? 1 : -EPROTO;
		}
	}
	return -EPROTO;
}

/* -- the socket ------------------------------------------------------------ */

/* -EAGAIN: too many are at its door. */
static int dial_path(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const void *any = &address;
	const size_t len = strlen(path);
	int fd, error;

	if (len >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, len);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, any, sizeof(address)))
		return fd;
	error = errno;
	close(fd);
	return -error;
}

/* The caller's, which cannot be tried twice. */
static int take_connection(const struct option_file *file)
{
	struct sockaddr_storage peer = { .ss_family = AF_UNSPEC };
	socklen_t len = sizeof(peer);
	void *any = &peer;

	if (file_take(file->fd, "--exec ") < 0)
		return -EBADF;
	if (getpeername(file->fd, any, &len) || peer.ss_family != AF_UNIX)
		return fail_exec(file, ENOTCONN,
				 "it is no unix socket that is connected to "
				 "the one of --vsock");
	return file->fd;
}

static int explain_exec(const struct option_file *file, int error)
{
	static const struct file_advice why[] = {
		{ ENOENT, "no such file: it is the PATH that the guest's own "
			  "mote has for --vsock" },
		{ ECONNREFUSED, "no guest is there (any more): its mote is "
				"started with --vsock PATH and a command" },
		{ EACCES, "permission denied: it takes the right to write to "
			  "the socket" },
		{ ENAMETOOLONG, "the path is too long for a socket" },
		{ EPROTOTYPE, "it is another kind of socket than that of "
			      "--vsock" },
		{ ENOTCONN, "nobody in the guest takes commands: it boots "
			    "still, has ended, or was started without one "
			    "(mote --vsock PATH ... -- command)" },
		{ EPROTO, "who answers there is no mote with --vsock" },
		{ ETIMEDOUT, "it does not answer" },
		{ EAGAIN, "it does not answer: is its mote stopped?" },
	};
	const char *text = strerror(error);

	for (size_t i = 0; i < sizeof(why) / sizeof(why[0]); i++)
		if (why[i].error == error)
			text = why[i].mend;
	return fail_exec(file, error, text);
}

int exec_connect(const struct option_file *file)
{
	const uint64_t deadline = loop_now() + BOOT_NS;
	int fd, result;

	for (;;) {
		fd = file->path ? dial_path(file->path) : take_connection(file);
		if (!file->path && fd < 0)
			return fd;
		result = fd < 0 ? fd : say_hello(fd);
		if (result > 0)
			return fd;
		if (fd >= 0)
			close(fd);
		if (!result)
			result = -ENOTCONN;
		if (!file->path || loop_now() >= deadline ||
		    (result != -ENOTCONN && result != -EAGAIN))
			return explain_exec(file, -result);
		poll(NULL, 0, AGAIN_MS);
	}
}
