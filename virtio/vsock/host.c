/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of vsock: unix stream sockets, by Firecracker's convention
 * (docs/vsock.md of that project).
 *
 * A client of the listening socket says where it wants to go, in one line that
 * is read no further than its end: what follows is for the guest. A connection
 * that the guest began goes to PATH_<port>. Either mote makes the socket at
 * PATH, which is removed at the end, or the caller has made it. In the sandbox
 * nothing of the host's can be reached: a broker (cpu/loop/broker.c) connects,
 * and hands the descriptor over. Listeners may come and go as before.
 *
 * Streams are watched edge-triggered: a read or a write is tried only where it
 * may succeed, and flow control costs no system calls. So what is known of a
 * socket is kept with care: `readable` stays until a read came back short, and
 * after a hang-up until end of file; `blocked` stays from a short write until
 * EPOLLOUT.
 *
 * Trusts the command line, but not that a descriptor is what it should be, and
 * the host's programs with nothing but their own streams. Owns all descriptors.
 * It knows no connection and calls nobody above it. The loop's thread.
 */
#include "virtio/vsock/host.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"

#define PORT_CHARS 12 /* "_4294967295", and one for broker_map */
#define WATCHED	   (EPOLLIN | EPOLLRDHUP | EPOLLET)

/* -- where it listens ----------------------------------------------------- */

/*
 * A socket of the caller's has a path, or not; and its directory may be out of
 * reach: then the guest's own connections are refused.
 */
static void vsock_find_listeners(struct vsock_host *host)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(address);
	char dir[UNIXSOCK_PATH_MAX + 1];
	void *any = &address;

	if (!getsockname(host->fd, any, &len) && len <= sizeof(address))
		memcpy(host->bound, address.sun_path, sizeof(address.sun_path));
	if (host->bound[0] &&
	    strlen(host->bound) + PORT_CHARS < UNIXSOCK_PATH_MAX) {
		unixsock_directory(host->bound, dir);
		host->file.dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (host->file.dir_fd >= 0)
		host->file.path = host->prefix = host->bound;
	else
		log_info("--vsock fd=%d: its directory cannot be reached, so "
			 "the guest's own connections are refused",
			 host->fd);
}

int vsock_host_listen(struct vsock_host *host, const struct option_file *file)
{
	int fd = file->fd;

	if (!file->path) {
		int error = unixsock_take("--vsock ", fd);

		if (error)
			return error;
		host->fd = fd;
		vsock_find_listeners(host);
		return 0;
	}
	if (strlen(file->path) + PORT_CHARS >= UNIXSOCK_PATH_MAX) {
		log_error("--vsock %s: the path is too long; %zu bytes at most",
			  file->path, UNIXSOCK_PATH_MAX - PORT_CHARS - 1);
		return -ENAMETOOLONG;
	}
	host->prefix = file->path;
	fd = unixsock_listen(&host->file, "--vsock ", file->path,
			     VSOCK_BACKLOG);
	if (fd < 0)
		return fd;
	host->fd = fd;
	return 0;
}

void vsock_host_unlisten(struct vsock_host *host)
{
	unixsock_remove(&host->file);
	if (host->fd >= 0)
		close(host->fd);
	host->fd = -1;
}

uint32_t vsock_host_unread(const struct vsock_host *host)
{
	int bytes = 0;
	socklen_t len = sizeof(bytes);

	/* One that listens has what all begin with: net.core.wmem_default. */
	if (getsockopt(host->fd, SOL_SOCKET, SO_SNDBUF, &bytes, &len))
		return 0;
	return (uint32_t)bytes;
}

/* -- beginnings of streams ------------------------------------------------ */

int vsock_host_accept(const struct vsock_host *host)
{
	int fd = accept4(host->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int vsock_host_dial(const struct vsock_host *host, uint32_t port, uint32_t tag)
{
	return host->broker_fd < 0 ? -ECONNREFUSED
				   : broker_request(host->broker_fd, port, tag);
}

int vsock_host_dialled(const struct vsock_host *host,
		       struct broker_answer *answer)
{
	static struct log_limit limit;
	const int got = broker_receive(host->broker_fd, answer);

	if (got > 0 && answer->result == -EACCES)
		log_guest(&limit,
			  "--vsock: mote's user may not connect to %s_%u: give "
			  "it the rights to both directory and socket, or "
			  "choose another --user",
			  host->prefix, answer->port);
	return got;
}

int vsock_host_watch(struct vsock_socket *socket, struct loop *loop, int fd,
		     void (*ready)(void *arg, uint32_t events), void *arg)
{
	int error;

	socket->loop = loop;
	socket->source = (struct loop_source){ fd, ready, arg };
	error = loop_add(loop, &socket->source, WATCHED);
	if (error) {
		close(fd);
		socket->source.fd = -1;
	}
	return error;
}

/* "CONNECT <port>", in any case, blanks around, more words ignored. */
static bool vsock_parse_command(const char *line, uint32_t *port)
{
	static const char verb[] = "connect", blanks[] = " \t\r\v\f";
	unsigned long long value;
	const char *digits;
	char *end;

	line += strspn(line, blanks);
	if (strncasecmp(line, verb, sizeof(verb) - 1) != 0)
		return false;
	line += sizeof(verb) - 1;
	digits = line + strspn(line, blanks);
	if (digits == line || !isdigit((unsigned char)*digits))
		return false;
	value = strtoull(digits, &end, 10);
	*port = (uint32_t)value;
	return value <= UINT32_MAX && (!*end || strchr(blanks, *end));
}

int vsock_host_read_command(struct vsock_socket *socket, uint32_t *port)
{
	char *at, *end = NULL;
	ssize_t len;

	/* It looks first, and takes no more than the line. */
	while (!end) {
		const size_t room = VSOCK_COMMAND_MAX - socket->command_len;

		at = socket->command + socket->command_len;
		len = room ? recv(socket->source.fd, at, room, MSG_PEEK) : 0;
		if (len < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (len <= 0)
			return -1;
		end = memchr(at, '\n', (size_t)len);
		if (end)
			len = end - at + 1;
		if (recv(socket->source.fd, at, (size_t)len, 0) != len)
			return -1;
		socket->command_len = (uint8_t)(socket->command_len + len);
	}
	*end = 0; /* there may be no other zero */
	return strlen(socket->command) == (size_t)(end - socket->command) &&
			       vsock_parse_command(socket->command, port)
		       ? 1
		       : -1;
}

void vsock_host_greet(struct vsock_socket *socket, uint32_t port)
{
	char line[24];
	int len = snprintf(line, sizeof(line), "OK %u\n", port);
	struct iovec iov = { line, (size_t)len };

	/* A socket that nothing was written to yet takes all of it. */
	if (!socket->gone && vsock_host_write(socket, &iov, 1) != (size_t)len)
		socket->gone = true;
}

/* -- streams -------------------------------------------------------------- */

void vsock_host_events(struct vsock_socket *socket, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		socket->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		socket->hangup = true;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		socket->blocked = false;
	/* Nothing that is written will be read any more. */
	if (events & EPOLLHUP)
		socket->gone = true;
}

static size_t vsock_iov_bytes(const struct iovec *iov, unsigned count)
{
	size_t bytes = 0;

	for (unsigned i = 0; i < count; i++)
		bytes += iov[i].iov_len;
	return bytes;
}

/*
 * After a read that was short. Descriptors that somebody has passed end one
 * early, and only recvmsg would say so, which takes them as well: it is none of
 * the calls that mote may make.
 */
static bool vsock_has_more(const struct vsock_socket *socket)
{
	char byte;

	return recv(socket->source.fd, &byte, 1, MSG_PEEK) >= 0 ||
	       errno != EAGAIN;
}

size_t vsock_host_read(struct vsock_socket *socket, struct iovec *iov,
		       unsigned count)
{
	ssize_t len;

	do
		len = readv(socket->source.fd, iov, (int)count);
	while (len < 0 && errno == EINTR);
	if (len > 0) {
		if ((size_t)len < vsock_iov_bytes(iov, count) &&
		    !socket->hangup)
			socket->readable = vsock_has_more(socket);
		return (size_t)len;
	}
	socket->readable = false;
	if (len < 0 && errno == EAGAIN)
		return 0;
	socket->eof = true;
	/* It was closed with data in it that nobody had read. */
	if (len < 0)
		socket->gone = socket->reset = true;
	return 0;
}

void vsock_host_watch_out(struct vsock_socket *socket, bool watch)
{
	if (socket->out_watched == watch)
		return;
	socket->out_watched = watch;
	loop_change(socket->loop, &socket->source,
		    watch ? WATCHED | EPOLLOUT : WATCHED);
}

size_t vsock_host_write(struct vsock_socket *socket, struct iovec *iov,
			unsigned count)
{
	ssize_t len;

	do
		len = writev(socket->source.fd, iov, (int)count);
	while (len < 0 && errno == EINTR);
	if (len < 0 && errno != EAGAIN) {
		socket->gone = true;
	} else if (len < (ssize_t)vsock_iov_bytes(iov, count)) {
		socket->blocked = true;
		vsock_host_watch_out(socket, true);
	}
	return len < 0 ? 0 : (size_t)len;
}

void vsock_host_limit_unread(const struct vsock_socket *socket, uint32_t bytes)
{
	const int half =
		(int)(bytes / 2); /* the kernel doubles it: socket(7) */

	setsockopt(socket->source.fd, SOL_SOCKET, SO_SNDBUF, &half,
		   sizeof(half));
}

void vsock_host_shutdown(const struct vsock_socket *socket, int direction)
{
	if (socket->source.fd >= 0)
		shutdown(socket->source.fd, direction);
}

void vsock_host_close(struct vsock_socket *socket)
{
	if (socket->source.fd < 0)
		return;
	loop_remove(socket->loop, &socket->source);
	close(socket->source.fd);
	socket->source.fd = -1;
	socket->eof = socket->gone = true;
}
