/*
 * The host's end of vsock connections: unix stream sockets, by Firecracker's
 * convention (docs/vsock.md of that project).
 *
 * A client of the listening socket says where it wants to go, in one line that
 * is read no further than its end: what follows is for the guest. Until then it
 * has a slot and a time limit and nothing else, whatever it sends or does not
 * send. A connection that the guest began goes to PATH_<port>.
 *
 * Sockets are watched edge-triggered: a read or a write is tried only where it
 * may succeed, and flow control costs no system calls. So the flags are kept
 * with care: READABLE stays until a read came back short, and after a hang-up
 * until end of file; BLOCKED from a short write until EPOLLOUT.
 *
 * Trusts the host's programs with nothing but their own streams. Owns the
 * descriptors. The loop's thread.
 */
#include "virtio/vsock/conn.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mem/log.h"
#include "virtio/vsock/vsock.h"

#define ACCEPTS		16 /* clients in one turn */
#define ACCEPT_PAUSE_NS 100000000ULL
#define WATCHED		(EPOLLIN | EPOLLRDHUP | EPOLLET)

static void host_ready(void *arg, uint32_t events);
static void client_ready(void *arg, uint32_t events);

/*
 * Where the host's end of vsock is found: the listening socket, and the
 * directory in which the host's own listeners appear.
 *
 * Either mote makes the socket at a path, and removes it at the end, or the
 * caller has made it. Once the sandbox has closed in, that directory is all
 * that can be reached, as the working directory; listeners may come and go in
 * it as before.
 *
 * Trusts the command line, but not that a descriptor is what it should be.
 * Main thread, before the guest runs and after.
 */

#define PORT_CHARS 11 /* "_4294967295" */

/*
 * A socket of the caller's has a path, or not; and its directory may be out of
 * reach: then the guest's own connections are refused.
 */
static void find_listeners(struct vsock *vsock, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t len = sizeof(address);
	char dir[UNIXSOCK_PATH_MAX + 1];
	void *any = &address;

	if (!getsockname(fd, any, &len) && len <= sizeof(address))
		memcpy(vsock->bound, address.sun_path,
		       sizeof(address.sun_path));
	if (vsock->bound[0] &&
	    strlen(vsock->bound) + PORT_CHARS < UNIXSOCK_PATH_MAX) {
		unixsock_directory(vsock->bound, dir);
		vsock->file.dir_fd =
			open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	}
	if (vsock->file.dir_fd >= 0)
		vsock->file.path = vsock->prefix = vsock->bound;
	else
		log_info("--vsock fd=%d: its directory cannot be reached, so "
			 "the guest's own connections are refused",
			 fd);
}

static int listen_at(struct vsock *vsock, const char *path)
{
	if (strlen(path) + PORT_CHARS >= UNIXSOCK_PATH_MAX) {
		log_error("--vsock %s: the path is too long; %zu bytes at most",
			  path, UNIXSOCK_PATH_MAX - PORT_CHARS - 1);
		return -ENAMETOOLONG;
	}
	vsock->prefix = path;
	vsock->listener.fd = unixsock_listen(&vsock->file, "--vsock ", path,
					     (int)VSOCK_CONNECTIONS_MAX);
	return vsock->listener.fd < 0 ? vsock->listener.fd : 0;
}

int vsock_host_listen(struct vsock *vsock)
{
	const struct option_file *file = &vsock->options.file;
	int error;

	if (!vsock_is_shared(&vsock->options))
		return 0;
	if (file->path)
		return listen_at(vsock, file->path);
	error = unixsock_take("--vsock ", file->fd);
	if (error)
		return error;
	vsock->listener.fd = file->fd;
	find_listeners(vsock, file->fd);
	return 0;
}

bool vsock_dials(const struct vsock *vsock)
{
	return vsock->prefix;
}

void vsock_enter(struct vsock *vsock, const char *barred)
{
	if (!vsock->prefix)
		return;
	if (!barred && vsock->file.dir_fd < 0)
		barred = "its directory cannot be cut out here (Linux 5.2)";
	if (barred) {
		log_warn("--vsock %s: %s, so the guest's own connections are "
			 "refused",
			 vsock->prefix, barred);
		vsock->prefix = NULL;
		return;
	}
	if (fchdir(vsock->file.dir_fd)) {
		/* Root became somebody whom the directory does not let in. */
		log_warn("--vsock %s: mote's user may not enter its directory, "
			 "so the guest's own connections are refused: chmod "
			 "a+x, or choose another --user",
			 vsock->prefix);
		vsock->prefix = NULL;
		return;
	}
	vsock->prefix = unixsock_name(vsock->prefix);
}

void vsock_host_unlisten(struct vsock *vsock)
{
	unixsock_remove(&vsock->file);
	if (vsock->listener.fd >= 0)
		close(vsock->listener.fd);
	vsock->listener.fd = -1;
}

/* -- clients -------------------------------------------------------------- */

void vsock_host_accept(struct vsock *vsock, bool accept)
{
	accept = accept && vsock->running && vsock_pool_has_room(vsock) &&
		 vsock->listener.fd >= 0;
	if (accept == vsock->listening)
		return;
	vsock->listening = accept;
	vsock->listener.ready = client_ready;
	vsock->listener.arg = vsock;
	if (!accept)
		loop_remove(vsock->loop, &vsock->listener);
	else if (loop_add(vsock->loop, &vsock->listener, EPOLLIN))
		vsock->listening = false;
}

/* Puts a descriptor into the loop; it is closed where that fails. */
static int watch(struct vsock_conn *conn, int fd)
{
	int error;

	conn->host = (struct loop_source){ fd, host_ready, conn };
	error = loop_add(conn->vsock->loop, &conn->host, WATCHED);
	if (error) {
		close(fd);
		conn->host.fd = -1;
	}
	return error;
}

static void accept_failed(struct vsock *vsock)
{
	static struct log_limit limit;

	log_guest(&limit, "--vsock: accept: %s; clients have to wait",
		  strerror(errno));
	vsock_host_accept(vsock, false);
	vsock_pool_wake(vsock, ACCEPT_PAUSE_NS);
}

static void client_ready(void *arg, uint32_t events)
{
	struct vsock *vsock = arg;
	struct vsock_conn *conn;
	int fd;

	(void)events;
	for (int i = 0; i < ACCEPTS; i++) {
		if (vsock->count == vsock->max &&
		    (i || !vsock_pool_make_room(vsock)))
			break;
		fd = accept4(vsock->listener.fd, NULL, NULL,
			     SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno == EMFILE && vsock_pool_make_room(vsock))
			continue;
		if (fd < 0) {
			if (errno != EAGAIN)
				accept_failed(vsock);
			return;
		}
		conn = vsock_pool_take(vsock, VSOCK_COMMAND);
		if (watch(conn, fd))
			vsock_pool_give(conn);
		else
			vsock_pool_wait(conn, VSOCK_WAIT_COMMAND);
	}
	/* The rest wait in the backlog until there is room. */
	vsock_host_accept(vsock, vsock->listening);
}

/* "CONNECT <port>", in any case, blanks around, more words ignored. */
static bool parse_command(const char *line, uint32_t *port)
{
	static const char verb[] = "connect";
	uint64_t value = 0;

	while (isspace((unsigned char)*line))
		line++;
	if (strncasecmp(line, verb, sizeof(verb) - 1) != 0)
		return false;
	line += sizeof(verb) - 1;
	if (!isspace((unsigned char)*line))
		return false;
	while (isspace((unsigned char)*line))
		line++;
	if (!isdigit((unsigned char)*line))
		return false;
	for (; isdigit((unsigned char)*line); line++) {
		value = value * 10 + (uint64_t)(*line - '0');
		if (value > UINT32_MAX)
			return false;
	}
	*port = (uint32_t)value;
	return !*line || isspace((unsigned char)*line);
}

/*
 * Looks first and takes no more than the line: 1 where it is complete, 0 where
 * there is more to come, -1 where the client is gone or makes no sense.
 */
static int read_command(struct vsock_conn *conn)
{
	char *at = conn->command + conn->command_len;
	size_t room = VSOCK_COMMAND_MAX - conn->command_len;
	const char *end;
	ssize_t len;

	if (!room)
		return -1;
	len = recv(conn->host.fd, at, room, MSG_PEEK);
	if (len < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -1;
	if (!len)
		return -1;
	end = memchr(at, '\n', (size_t)len);
	if (end)
		len = end - at + 1;
	if (recv(conn->host.fd, at, (size_t)len, 0) != len)
		return -1;
	conn->command_len = (uint8_t)(conn->command_len + len);
	return end ? 1 : read_command(conn);
}

static void take_command(struct vsock_conn *conn)
{
	int done = read_command(conn);
	uint32_t port;
	char *end;

	if (!done)
		return;
	end = conn->command + conn->command_len - 1;
	if (done > 0)
		*end = 0; /* in place of the newline; there is no other zero */
	if (done > 0 &&
	    strlen(conn->command) == (size_t)(end - conn->command) &&
	    parse_command(conn->command, &port))
		vsock_conn_connect(conn, port);
	else
		vsock_pool_give(conn);
}

void vsock_host_greet(struct vsock_conn *conn)
{
	char line[24];
	int len = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);
	struct iovec iov = { line, (size_t)len };

	if (conn->flags & VSOCK_HOST_GONE)
		return;
	/* A socket that nothing was written to yet takes all of it. */
	if (vsock_host_write(conn, &iov, 1) != (size_t)len)
		conn->flags |= VSOCK_HOST_GONE;
}

/* -- listeners of the host ------------------------------------------------ */

/* Whoever else connects to that port finds nobody there. */
static int connect_own(struct vsock_conn *conn)
{
	struct vsock_options *options = &conn->vsock->options;

	if (!options->own)
		return -ECONNREFUSED;
	options->own = false;
	return watch(conn, options->own_fd);
}

int vsock_host_connect(struct vsock_conn *conn)
{
	static struct log_limit limit;
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd, error;

	if (conn->vsock->options.own_port == conn->host_port)
		return connect_own(conn);
	if (!conn->vsock->prefix)
		return -ECONNREFUSED;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s_%u",
		 conn->vsock->prefix, conn->host_port);
	fd = socket(AF_UNIX, type, 0);
	if (fd < 0 && errno == EMFILE && vsock_pool_make_room(conn->vsock))
		fd = socket(AF_UNIX, type, 0);
	if (fd < 0)
		return -ECONNREFUSED;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address))) {
		error = errno;
		close(fd);
		if (error == EACCES)
			log_guest(&limit,
				  "--vsock: mote's user may not connect to %s: "
				  "chmod a+w, or choose another --user",
				  address.sun_path);
		return -error;
	}
	return watch(conn, fd);
}

/* -- streams -------------------------------------------------------------- */

static void host_ready(void *arg, uint32_t events)
{
	struct vsock_conn *conn = arg;
	struct vsock *vsock = conn->vsock;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->flags |= VSOCK_READABLE;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->flags |= VSOCK_HANGUP;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		conn->flags &= (uint16_t)~VSOCK_BLOCKED;
	if (conn->state == VSOCK_COMMAND) {
		take_command(conn);
	} else {
		/* Nothing that is written will be read any more. */
		if (events & EPOLLHUP)
			conn->flags |= VSOCK_HOST_GONE;
		vsock_conn_settle(conn);
	}
	vsock_turn(vsock);
}

size_t vsock_host_read(struct vsock_conn *conn, struct iovec *iov,
		       unsigned count)
{
	struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	size_t room = 0;
	ssize_t len;

	for (unsigned i = 0; i < count; i++)
		room += iov[i].iov_len;
	do
		len = recvmsg(conn->host.fd, &message, 0);
	while (len < 0 && errno == EINTR);
	if (len > 0) {
		/* Descriptors that somebody passed end a read early. */
		if ((size_t)len < room && !(message.msg_flags & MSG_CTRUNC) &&
		    !(conn->flags & VSOCK_HANGUP))
			conn->flags &= (uint16_t)~VSOCK_READABLE;
		return (size_t)len;
	}
	if (len < 0 && errno == EAGAIN) {
		conn->flags &= (uint16_t)~VSOCK_READABLE;
		return 0;
	}
	conn->flags &= (uint16_t)~VSOCK_READABLE;
	conn->flags |= VSOCK_HOST_EOF;
	/* It was closed with data in it that nobody had read. */
	if (len < 0)
		conn->flags |= VSOCK_HOST_GONE | VSOCK_HOST_RESET;
	return 0;
}

/*
 * EPOLLOUT is asked for only while there is something to write: else each read
 * at the other end would wake the loop.
 */
static void set_blocked(struct vsock_conn *conn)
{
	conn->flags |= VSOCK_BLOCKED;
	if (conn->flags & VSOCK_OUT_WATCHED)
		return;
	conn->flags |= VSOCK_OUT_WATCHED;
	loop_change(conn->vsock->loop, &conn->host, WATCHED | EPOLLOUT);
}

void vsock_host_written(struct vsock_conn *conn)
{
	if (!(conn->flags & VSOCK_OUT_WATCHED))
		return;
	conn->flags &= (uint16_t)~VSOCK_OUT_WATCHED;
	loop_change(conn->vsock->loop, &conn->host, WATCHED);
}

size_t vsock_host_write(struct vsock_conn *conn, struct iovec *iov,
			unsigned count)
{
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = count };
	size_t want = 0;
	ssize_t len;

	for (unsigned i = 0; i < count; i++)
		want += iov[i].iov_len;
	do
		len = sendmsg(conn->host.fd, &message, MSG_NOSIGNAL);
	while (len < 0 && errno == EINTR);
	if (len < 0 && errno != EAGAIN)
		conn->flags |= VSOCK_HOST_GONE;
	else if (len < (ssize_t)want)
		set_blocked(conn);
	return len < 0 ? 0 : (size_t)len;
}

void vsock_host_shutdown(struct vsock_conn *conn, int how)
{
	if (conn->host.fd >= 0)
		shutdown(conn->host.fd, how);
}

void vsock_host_close(struct vsock_conn *conn)
{
	if (conn->host.fd < 0)
		return;
	loop_remove(conn->vsock->loop, &conn->host);
	close(conn->host.fd);
	conn->host.fd = -1;
}
