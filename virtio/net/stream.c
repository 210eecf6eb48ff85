/*
 * A stream socket as the host's side of virtio-net, as passt and QEMU
 * (-netdev stream) speak it: each Ethernet frame follows its length, 32 bits,
 * big-endian. There is no virtio header on it, so no offloads.
 *
 * In: the length is known before the frame, so the frame is read straight into
 * the driver's buffers, and the same system call reads the next length. Out:
 * frames and their lengths are gathered from where they lie, and one system
 * call sends many. Both may be cut anywhere and go on where they were. When the
 * driver resets the device in the middle of a frame, what is still to come of
 * it is skipped, and what is still to go is zeros: the stream stays in step.
 *
 * The peer is not trusted: a length that no frame has, or the end of the
 * stream, ends the connection and takes the guest's link down. It does not
 * come back: to connect again would take rights that the sandbox has given up.
 *
 * Owns nothing: net.c closes. The loop's thread; opening: the main thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/net/backend.h"

static enum net_outcome lost(struct net *net, ssize_t result)
{
	const int error = result < 0 ? errno : 0;

	if (error == ENOBUFS || error == ENOMEM)
		net_no_memory(net);
	if (error == EAGAIN || error == EINTR || error == ENOBUFS ||
	    error == ENOMEM)
		return NET_WAIT;
	net_link_down(net, error && error != EPIPE && error != ECONNRESET
				   ? strerror(error)
				   : "the other end has closed the connection");
	return NET_GONE;
}

/* -- opening --------------------------------------------------------------- */

int net_stream_open(struct net *net, const char *path)
{
	static const struct net_advice advice[] = {
		{ ENOENT, "; start the program that serves it first, for "
			  "example: passt -s PATH" },
		{ ECONNREFUSED, "; the program that served it has ended: start "
				"it again, for example: passt -s PATH" },
		{ EAGAIN, "; the program that serves it takes no more clients "
			  "just now" },
		{ EPROTOTYPE, "; it is no stream socket" },
		{ 0, NULL },
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const void *any = &address;
	int fd, error;

	if (!*path || strlen(path) >= sizeof(address.sun_path)) {
		log_error("%s: the path of a socket has 1 to %zu bytes",
			  net->name, sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return log_errno("socket");
	if (connect(fd, any, sizeof(address)) < 0) {
		error = errno;
		close(fd);
		return net_refuse(net, error, advice);
	}
	net->backend = &net_stream_backend;
	return fd;
}

int net_stream_take(struct net *net, int fd)
{
	struct sockaddr_un address;
	socklen_t len = sizeof(int), address_len = sizeof(address);
	void *any = &address;
	int type = 0;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 ||
	    type != SOCK_STREAM) {
		log_error("%s: it is no stream socket", net->name);
		return -EPROTOTYPE;
	}
	if (getpeername(fd, any, &address_len) < 0) {
		log_error("%s: it is not connected: give mote the connection, "
			  "not the socket that listens",
			  net->name);
		return -ENOTCONN;
	}
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return log_errno(net->name);
	net->backend = &net_stream_backend;
	return fd;
}

/* -- in -------------------------------------------------------------------- */

/* The length of the next frame: NET_DONE when it is there. */
static enum net_outcome read_prefix(struct net *net)
{
	struct net_stream *s = &net->stream;
	uint32_t prefix;
	ssize_t len;

	while (s->prefix_have < sizeof(s->prefix)) {
		len = recv(net->source.fd, s->prefix + s->prefix_have,
			   sizeof(s->prefix) - s->prefix_have, MSG_DONTWAIT);
		if (len <= 0)
			return lost(net, len);
		s->prefix_have += (unsigned)len;
	}
	memcpy(&prefix, s->prefix, sizeof(prefix));
	s->frame = ntohl(prefix);
	s->frame_have = 0;
	if (s->frame && s->frame <= NET_FRAME_MAX) {
		s->skip = s->frame < NET_FRAME_MIN;
		net->in.dropped += s->skip;
		return NET_DONE;
	}
	net_link_down(net, "the other end sent a length that no frame has: "
			   "does it speak passt's and QEMU's protocol?");
	return NET_GONE;
}

/* Where the rest of the frame goes: the number of entries of net->iov. */
static unsigned frame_iov(struct net *net, size_t *room)
{
	struct net_stream *s = &net->stream;
	const size_t left = s->frame - s->frame_have;
	unsigned count;

	if (!s->skip) {
		count = net_rx_iov(net, NET_HEADER + s->frame_have, left, room);
		if (*room == left)
			return count;
		/* The driver's one buffer for it is too small. */
		s->skip = true;
		net->in.dropped++;
	}
	/* Over and over into the same few bytes; they are nobody's. */
	*room = 0;
	for (count = 0; count < NET_WINDOW_SEGMENTS && *room < left; count++) {
		const size_t part = left - *room < sizeof(s->waste)
					    ? left - *room
					    : sizeof(s->waste);

		net->iov[count] = (struct iovec){ s->waste, part };
		*room += part;
	}
	return count;
}

/* One system call: as much of the frame as there is, and the next length. */
static enum net_outcome read_frame(struct net *net)
{
	struct net_stream *s = &net->stream;
	size_t room, part;
	unsigned count = frame_iov(net, &room);
	ssize_t len;

	net->iov[count++] = (struct iovec){ s->prefix, sizeof(s->prefix) };
	len = readv(net->source.fd, net->iov, (int)count);
	if (len <= 0)
		return lost(net, len);
	part = (size_t)len < room ? (size_t)len : room;
	s->frame_have += (uint32_t)part;
	s->prefix_have = (unsigned)((size_t)len - part);
	return NET_DONE;
}

static enum net_outcome stream_receive(struct net *net)
{
	struct net_stream *s = &net->stream;
	enum net_outcome outcome = NET_DONE;

	if (!s->frame)
		outcome = read_prefix(net);
	while (outcome == NET_DONE && s->frame_have < s->frame) {
		if (!s->skip && !net_rx_reserve(net, NET_HEADER + s->frame))
			return NET_STARVED;
		outcome = read_frame(net);
	}
	if (outcome != NET_DONE)
		return outcome;
	if (!s->skip) {
		net_rx_no_header(net);
		net_rx_deliver(net, NET_HEADER + s->frame);
	}
	s->frame = 0;
	return NET_DONE;
}

/* -- out ------------------------------------------------------------------- */

/* The frames that have gone wholly go back to the driver. */
static void complete(struct net *net, size_t bytes)
{
	struct net_stream *s = &net->stream;

	while (s->sent < s->frames) {
		struct net_stream_frame *frame = &s->out[s->sent];

		if (bytes < frame->left) {
			frame->left -= (uint32_t)bytes;
			return;
		}
		bytes -= frame->left;
		if (!frame->cut)
			queue_push(&net->device.queue[NET_TX], frame->head, 0);
		s->sent++;
	}
	s->sent = s->frames = s->first = s->end = 0;
}

static void skip_iov(struct net_stream *s, size_t bytes)
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

static enum net_outcome stream_flush(struct net *net)
{
	struct net_stream *s = &net->stream;
	enum net_outcome outcome = net->link_up ? NET_DONE : NET_GONE;
	struct msghdr message = { 0 };
	ssize_t len;

	while (outcome == NET_DONE && s->frames) {
		message.msg_iov = s->iov + s->first;
		message.msg_iovlen = s->end - s->first;
		len = sendmsg(net->source.fd, &message,
			      MSG_NOSIGNAL | MSG_DONTWAIT);
		if (len < 0) {
			outcome = lost(net, len);
			break;
		}
		skip_iov(s, (size_t)len);
		complete(net, (size_t)len);
	}
	if (outcome == NET_GONE) {
		net->out.dropped += s->frames - s->sent;
		complete(net, SIZE_MAX);
	}
	return outcome;
}

static bool has_room(const struct net *net)
{
	const struct net_stream *s = &net->stream;

	return s->frames < NET_STREAM_MAX &&
	       s->end + net->chain.readable < NET_STREAM_IOV;
}

static enum net_outcome stream_send(struct net *net)
{
	struct net_stream *s = &net->stream;
	struct cursor cursor = chain_reader(&net->chain);
	enum net_outcome outcome = NET_DONE;
	struct net_stream_frame *frame;
	uint32_t prefix;
	size_t bytes;

	if (!has_room(net))
		outcome = stream_flush(net);
	if (outcome != NET_DONE)
		return outcome;
	cursor_skip(&cursor, NET_HEADER);
	prefix = htonl((uint32_t)cursor.left);
	frame = &s->out[s->frames++];
	frame->bytes = frame->left = (uint32_t)(sizeof(prefix) + cursor.left);
	frame->head = net->chain.head;
	frame->cut = false;
	memcpy(frame->prefix, &prefix, sizeof(prefix));
	s->iov[s->end++] = (struct iovec){ frame->prefix, sizeof(prefix) };
	s->end += cursor_iov(&cursor, cursor.left, s->iov + s->end,
			     NET_STREAM_IOV - s->end, &bytes);
	return NET_DONE;
}

/* -- the driver comes and goes --------------------------------------------- */

static void stream_start(struct net *net)
{
	(void)net;
}

/*
 * The rest of a frame that is partly sent goes on later: of its prefix as it
 * was, of the driver's memory as zeros.
 */
static void cut_short(struct net_stream *s, const struct net_stream_frame *from)
{
	static uint8_t zeros[4096]; /* never written; no room in the file */
	struct net_stream_frame frame = *from;
	const size_t body = frame.bytes - sizeof(frame.prefix);
	size_t left = frame.left, part;

	frame.cut = true;
	s->out[0] = frame;
	s->frames = 1;
	if (left > body) {
		part = left - body;
		s->iov[s->end++] = (struct iovec){
			s->out[0].prefix + sizeof(frame.prefix) - part, part
		};
		left -= part;
	}
	for (; left; left -= part) {
		part = left < sizeof(zeros) ? left : sizeof(zeros);
		s->iov[s->end++] = (struct iovec){ zeros, part };
	}
}

static void stream_stop_out(struct net *net)
{
	struct net_stream *s = &net->stream;
	const struct net_stream_frame *frame = &s->out[s->sent];
	const bool part = s->frames && frame->left < frame->bytes;

	/* Frames go in turn, so no other than the first has begun. */
	s->sent = s->frames = s->first = s->end = 0;
	if (part)
		cut_short(s, frame);
}

static void stream_stop(struct net *net)
{
	if (net->stream.frame_have)
		net->stream.skip = true;
	stream_stop_out(net);
}

const struct net_backend net_stream_backend = {
	.start = stream_start,
	.stop = stream_stop,
	.stop_out = stream_stop_out,
	.receive = stream_receive,
	.send = stream_send,
	.flush = stream_flush,
};
