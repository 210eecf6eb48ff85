/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream socket as the host's side of virtio-net, as passt and QEMU
 * (-netdev stream) speak it: each Ethernet frame follows its length, 32 bits,
 * big-endian. There is no virtio header on it, so no offloads.
 *
 * In: the length is known before the frame, so the frame is read straight into
 * the driver's buffers, and the same system call reads the next length. Out:
 * frames and their lengths are gathered from where they lie, and one system
 * call sends many. Both may be interrupted anywhere and go on where they were.
 * When the driver resets the device in the middle of a frame, what is still to
 * come of it is skipped, and what is still to go is sent as zeros: the stream
 * stays in step.
 *
 * The peer is not trusted: a length that no frame has, or the end of the
 * stream, ends the connection. It does not come back: to connect again would
 * take rights that the sandbox has given up.
 *
 * Owns nothing: net.c closes the socket. The loop's thread; opening: the main
 * thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem/log.h"
#include "virtio/net/backend.h"

/* -- opening --------------------------------------------------------------- */

static const char *stream_advice(int error)
{
	return error == ENOENT
		       ? "; start the program that serves it first, for "
			 "example: passt -s PATH"
	       : error == ECONNREFUSED
		       ? "; the program that served it has ended: start it "
			 "again, for example: passt -s PATH"
	       : error == EAGAIN
		       ? "; the program that serves it takes no more clients "
			 "just now"
	       : error == EPROTOTYPE ? "; it is no stream socket"
				     : "";
}

/* A socket that is connected serves from now on. */
static int stream_use(struct net_backend *backend, int fd)
{
	backend->ops = &net_stream_ops;
	backend->fd = fd;
	backend->clear_header = true;
	return 0;
}

int net_stream_open(struct net_backend *backend, const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const void *any = &address;
	int fd, error;

	if (!*path || strlen(path) >= sizeof(address.sun_path)) {
		log_error("%s: the path of a socket has 1 to %zu bytes",
			  backend->name, sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return log_errno("socket");
	if (connect(fd, any, sizeof(address)) < 0) {
		error = errno;
		close(fd);
		log_error("%s: %s%s", backend->name, strerror(error),
			  stream_advice(error));
		return -error;
	}
	return stream_use(backend, fd);
}

int net_stream_take(struct net_backend *backend, int fd)
{
	struct sockaddr_un address;
	socklen_t len = sizeof(int), address_len = sizeof(address);
	void *any = &address;
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_STREAM) {
		log_error("%s: it is no stream socket", backend->name);
		return -EPROTOTYPE;
	}
	if (getpeername(fd, any, &address_len) < 0) {
		log_error("%s: it is not connected: give mote the connection, "
			  "not the socket that listens",
			  backend->name);
		return -ENOTCONN;
	}
	return stream_use(backend, fd);
}

/* -- in -------------------------------------------------------------------- */

/* What became of the connection, from what a system call returned: not > 0. */
static enum net_outcome stream_failure(struct net_backend *backend,
				       ssize_t result)
{
	const int error = result < 0 ? errno : ECONNRESET;

	switch (error) {
	case EAGAIN:
	case EINTR:
		return NET_WAIT;
	case ENOBUFS:
	case ENOMEM:
		return NET_NO_MEMORY;
	case EPIPE:
	case ECONNRESET:
		backend->gone = "the other end has closed the connection";
		return NET_GONE;
	default:
		backend->gone = strerror(error);
		return NET_GONE;
	}
}

static enum net_outcome parse_frame_prefix(struct net_backend *backend)
{
	struct net_stream *s = &backend->stream;
	uint32_t prefix;

	memcpy(&prefix, s->prefix, sizeof(prefix));
	s->frame = ntohl(prefix);
	s->frame_have = s->prefix_have = 0;
	s->skip = s->frame < NET_FRAME_MIN;
	if (s->frame && s->frame <= NET_FRAME_MAX)
		return NET_DONE;
	backend->gone = "the other end sent a length that no frame has: does "
			"it speak passt's and QEMU's protocol?";
	return NET_GONE;
}

/* Where the rest of the frame goes: the number of entries of backend->iov. */
static unsigned frame_iov(struct net_backend *backend,
			  const struct rx_buffers *rx, size_t *room)
{
	static uint8_t waste[NET_FRAME_MAX]; /* never read */
	struct net_stream *s = &backend->stream;
	const size_t left = s->frame - s->frame_have;
	unsigned count;

	if (!s->skip) {
		count = rx_buffers_iov(rx, NET_HEADER + s->frame_have, left,
				       backend->iov, RX_SEGMENTS, room);
		if (*room == left)
			return count;
		/* The driver's one buffer for it is too small. */
		s->skip = true;
	}
	*backend->iov = (struct iovec){ waste, *room = left };
	return 1;
}

/* One system call: as much of the frame as there is, and the next length. */
static enum net_outcome read_frame_part(struct net_backend *backend,
					const struct rx_buffers *rx)
{
	struct net_stream *s = &backend->stream;
	struct iovec prefix = { s->prefix + s->prefix_have,
				sizeof(s->prefix) - s->prefix_have };
	size_t room = 0, part;
	unsigned count;
	ssize_t len;

	if (s->frame) {
		count = frame_iov(backend, rx, &room);
		backend->iov[count++] = prefix;
		len = readv(backend->fd, backend->iov, (int)count);
	} else {
		len = recv(backend->fd, prefix.iov_base, prefix.iov_len,
			   MSG_DONTWAIT);
	}
	if (len <= 0)
		return stream_failure(backend, len);
	part = (size_t)len < room ? (size_t)len : room;
	s->frame_have += (uint32_t)part;
	s->prefix_have += (unsigned)((size_t)len - part);
	return NET_DONE;
}

static enum net_outcome stream_receive(struct net_backend *backend,
				       struct rx_buffers *rx, size_t *bytes)
{
	struct net_stream *s = &backend->stream;
	enum net_outcome outcome;

	while (!s->frame || s->frame_have < s->frame) {
		if (s->frame && !s->skip &&
		    !rx_buffers_reserve(rx, NET_HEADER + s->frame))
			return NET_STARVED;
		if (!s->frame && s->prefix_have == sizeof(s->prefix))
			outcome = parse_frame_prefix(backend);
		else
			outcome = read_frame_part(backend, rx);
		if (outcome != NET_DONE)
			return outcome;
	}
	*bytes = NET_HEADER + s->frame;
	s->frame = 0;
	return s->skip ? NET_DROPPED : NET_DONE;
}

/* -- out ------------------------------------------------------------------- */

/* So many bytes more have gone: whole frames go back to the driver. */
static void complete_frames(struct net_stream *s, struct queue *tx,
			    size_t bytes)
{
	while (s->sent < s->frames) {
		struct net_stream_frame *frame = &s->out[s->sent];

		if (bytes < frame->left) {
			frame->left -= (uint32_t)bytes;
			return;
		}
		bytes -= frame->left;
		if (!frame->orphaned)
			queue_push(tx, frame->head, 0);
		s->sent++;
	}
	s->sent = s->frames = s->first = s->end = 0;
}

static void skip_sent_iov(struct net_stream *s, size_t bytes)
{
	while (bytes) {
		struct iovec *iov = &s->iov[s->first];

		if (bytes < iov->iov_len) {
			iov->iov_base = (uint8_t *)iov->iov_base + bytes;
			iov->iov_len -= bytes;
			return;
		}
		bytes -= iov->iov_len;
		s->first++;
	}
}

static enum net_outcome stream_flush(struct net_backend *backend,
				     struct queue *tx)
{
	struct net_stream *s = &backend->stream;
	enum net_outcome outcome = backend->fd < 0 ? NET_GONE : NET_DONE;
	ssize_t len;

	while (outcome == NET_DONE && s->frames) {
		/* Nobody is signalled: SIGPIPE is ignored. */
		len = writev(backend->fd, s->iov + s->first,
			     (int)(s->end - s->first));
		if (len < 0) {
			outcome = stream_failure(backend, len);
			break;
		}
		skip_sent_iov(s, (size_t)len);
		complete_frames(s, tx, (size_t)len);
	}
	if (outcome == NET_GONE)
		complete_frames(s, tx, SIZE_MAX);
	return outcome;
}

static enum net_outcome stream_send(struct net_backend *backend,
				    struct queue *tx, const struct chain *chain)
{
	struct net_stream *s = &backend->stream;
	struct cursor cursor = chain_reader(chain);
	enum net_outcome outcome = NET_DONE;
	struct net_stream_frame *frame;
	uint32_t prefix;
	size_t bytes;

	if (s->frames == NET_STREAM_MAX ||
	    s->end + chain->readable >= NET_STREAM_IOV)
		outcome = stream_flush(backend, tx);
	if (outcome != NET_DONE)
		return outcome;
	cursor_skip(&cursor, NET_HEADER);
	prefix = htonl((uint32_t)cursor.left);
	frame = &s->out[s->frames++];
	frame->bytes = frame->left = (uint32_t)(sizeof(prefix) + cursor.left);
	frame->head = chain->head;
	frame->orphaned = false;
	memcpy(frame->prefix, &prefix, sizeof(prefix));
	s->iov[s->end++] = (struct iovec){ frame->prefix, sizeof(prefix) };
	s->end += cursor_iov(&cursor, cursor.left, s->iov + s->end,
			     NET_STREAM_IOV - s->end, &bytes);
	return NET_DONE;
}

static unsigned stream_held(const struct net_backend *backend)
{
	const struct net_stream *s = &backend->stream;
	unsigned held = 0;

	for (unsigned i = s->sent; i < s->frames; i++)
		held += !s->out[i].orphaned;
	return held;
}

/* -- the driver goes ------------------------------------------------------- */

/*
 * The rest of a frame that is partly sent goes on later: of its prefix as it
 * was, of the driver's memory as zeros.
 */
static void orphan_frame(struct net_stream *s, struct net_stream_frame frame)
{
	static uint8_t zeros[NET_FRAME_MAX]; /* never written */
	const size_t body = frame.bytes - sizeof(frame.prefix);
	size_t left = frame.left;

	frame.orphaned = true;
	s->out[0] = frame;
	s->frames = 1;
	if (left > body) {
		s->iov[s->end++] =
			(struct iovec){ &s->out[0].prefix[frame.bytes - left],
					left - body };
		left = body;
	}
	s->iov[s->end++] = (struct iovec){ zeros, left };
}

static void stream_stop_out(struct net_backend *backend)
{
	struct net_stream *s = &backend->stream;
	const struct net_stream_frame *frame = &s->out[s->sent];
	const bool part = s->frames && frame->left < frame->bytes;

	/* Frames go in order, so no other than the first has begun. */
	s->sent = s->frames = s->first = s->end = 0;
	if (part)
		orphan_frame(s, *frame);
}

static void stream_stop(struct net_backend *backend)
{
	if (backend->stream.frame_have)
		backend->stream.skip = true;
	stream_stop_out(backend);
}

const struct net_backend_ops net_stream_ops = {
	.stop = stream_stop,
	.stop_out = stream_stop_out,
	.receive = stream_receive,
	.send = stream_send,
	.flush = stream_flush,
	.held = stream_held,
};
