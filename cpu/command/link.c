/*
 * The two links of a command to its guest, and what the guest says by them.
 *
 * Each is a socket pair: one to the vsock device, whose first connection to
 * PROTOCOL_PORT ends in it, and one to the serial port, where the kernel's
 * messages come from and, after PROTOCOL_MAGIC, the same frames, if the guest's
 * kernel has no vsock driver. The first that has a frame is the one. The serial
 * port's last words are kept otherwise: they say why a guest died.
 *
 * The guest is hostile: what is no frame, or not its turn, ends it. A guest
 * that drops its end is given a moment to end by itself, for that is what a
 * reboot looks like. The loop's thread.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "cpu/command/command.h"
#include "mem/log.h"

#define LOST_NS 5000000000ULL /* for a guest to end after its stream */

/* -- frames --------------------------------------------------------------- */

static int on_data(void *arg, unsigned stream, const uint8_t *data, size_t len)
{
	struct command *c = arg;

	if (c->exited || !c->ready)
		return -EPROTO;
	if (c->report)
		report_stage(c->report, "output", report_now());
	c->report = NULL;
	return command_output_take(c, stream, data, len);
}

static void become_ready(struct command *c)
{
	command_log_note(c);
	c->ready = true;
	if (c->tty)
		command_resume(c);
}

static int on_words(void *arg, unsigned type,
		    const uint32_t word[PROTOCOL_WORDS])
{
	struct command *c = arg;

	if (c->exited || (type == PROTOCOL_READY && c->ready))
		return -EPROTO;
	if (type == PROTOCOL_READY) {
		become_ready(c);
	} else if (type == PROTOCOL_EXIT) {
		/* Why there is no command is no mere warning. */
		if (!c->ready && c->note[0])
			log_error("%s", c->note);
		else
			command_log_note(c);
		c->note[0] = 0;
		c->exited = true;
		c->status = word[0] & 0xff;
	} else if (word[0] != PROTOCOL_STDIN) {
		return -EPROTO;
	} else if (type == PROTOCOL_CLOSED) {
		c->in_over = true;
		stream_close(&c->in);
	} else {
		if (word[1] > PROTOCOL_CREDIT - c->in_credit)
			return -EPROTO;
		c->in_credit += word[1];
	}
	return 0;
}

void command_log_note(struct command *c)
{
	static struct log_limit limit;

	if (c->note[0])
		log_guest(&limit, "%s", c->note);
	c->note[0] = 0;
}

static int on_note(void *arg, const char *text)
{
	struct command *c = arg;

	command_log_note(c);
	snprintf(c->note, sizeof(c->note), "%s", text);
	if (c->ready)
		command_log_note(c);
	return 0;
}

static const struct frames_ops frame_ops = { on_data, on_words, on_note };

static void keep_tail(struct command *c, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		c->tail[c->tail_len++ % COMMAND_TAIL] = data[i];
}

static void feed(struct command *c, const uint8_t *data, size_t len)
{
	if (c->over || !frames_feed(&c->frames, data, len, &frame_ops, c))
		return;
	c->over = true;
	/* A panic's words, which a moment later it will have ended of? */
	if (c->link == &c->serial) {
		keep_tail(c, data, len);
		loop_timer_set(&c->lost, LOST_NS);
		return;
	}
	stream_unwatch(c->link);
	log_error("the guest sends what makes no sense instead of the "
		  "command's output");
	platform_end(c->platform, END_CRASH, STATUS_CRASH);
}

void command_settle(struct command *c)
{
	if (c->exited && !c->over && command_output_empty(c)) {
		c->over = true;
		platform_end(c->platform, END_EXITED, c->status);
	}
}

/* -- links ---------------------------------------------------------------- */

static void on_lost(void *arg)
{
	struct command *c = arg;

	log_error(c->link == &c->serial && c->link->source.fd >= 0
			  ? "something else than the command's output came by "
			    "the serial port; with a vsock driver in the "
			    "guest it would not be needed"
			  : "the guest has given up the command's stream");
	platform_end(c->platform, END_CRASH, STATUS_CRASH);
}

void command_lost(struct command *c)
{
	stream_close(c->link);
	c->over = !c->exited;
	if (c->over)
		loop_timer_set(&c->lost, LOST_NS);
}

/* The kernel's messages, up to the mark and with it: how many bytes. */
static size_t find_mark(struct command *c, const uint8_t *data, size_t len)
{
	static const char mark[] = PROTOCOL_MAGIC;
	size_t i = 0;

	while (i < len && c->mark < sizeof(mark) - 1) {
		const char byte = (char)data[i++];

		if (byte == mark[c->mark])
			c->mark++;
		else
			c->mark = byte == mark[0];
	}
	return i;
}

static void take_serial(struct command *c, const uint8_t *data, size_t len)
{
	size_t before;

	if (c->link == &c->vsock || c->over) {
		keep_tail(c, data, len);
		return;
	}
	before = c->link ? 0 : find_mark(c, data, len);
	keep_tail(c, data, before);
	if (!c->link && c->mark == sizeof(PROTOCOL_MAGIC) - 1)
		c->link = &c->serial;
	if (c->link && before < len)
		feed(c, data + before, len - before);
}

static void take_vsock(struct command *c, const uint8_t *data, size_t len)
{
	if (!c->link)
		c->link = &c->vsock;
	if (c->link == &c->vsock)
		feed(c, data, len);
}

/* One read; false where there was nothing. */
static bool listen_once(struct command *c, struct stream *from)
{
	uint8_t data[PROTOCOL_HEADER + PROTOCOL_CHUNK];
	ssize_t n;

	if (from->source.fd < 0)
		return false;
	n = stream_read(from, data, sizeof(data));
	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		if (from == c->link)
			command_lost(c);
		else
			stream_unwatch(from);
		return false;
	}
	if (from == &c->serial)
		take_serial(c, data, (size_t)n);
	else
		take_vsock(c, data, (size_t)n);
	return true;
}

static void flush_all(struct command *c)
{
	command_output_flush(&c->out[0]);
	command_output_flush(&c->out[1]);
	command_pump(c);
	command_settle(c);
}

static void vsock_ready(void *arg, uint32_t events)
{
	struct command *c = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		listen_once(c, &c->vsock);
	flush_all(c);
}

static void serial_ready(void *arg, uint32_t events)
{
	struct command *c = arg;

	if (events & ~(uint32_t)EPOLLOUT)
		listen_once(c, &c->serial);
	flush_all(c);
}

static void on_retry(void *arg)
{
	flush_all(arg);
}

void command_listen(struct command *c)
{
	if (!c->on)
		return;
	while (listen_once(c, &c->vsock) || listen_once(c, &c->serial))
		;
}

/* -- life ----------------------------------------------------------------- */

static int open_link(struct stream *end, int *other)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
		       pair))
		return log_errno("socketpair");
	*end = stream_own(pair[0]);
	end->mode = STREAM_SOCKET;
	*other = pair[1];
	return 0;
}

int command_link_open(struct command *c, bool serial)
{
	int error = open_link(&c->vsock, &c->vsock_fd);

	if (!error && serial)
		error = open_link(&c->serial, &c->serial_fd);
	return error;
}

int command_link_start(struct command *c)
{
	int error = loop_timer_create(c->loop, &c->lost, on_lost, c);

	if (!error)
		error = loop_timer_create(c->loop, &c->retry, on_retry, c);
	if (error)
		return error;
	stream_attach(&c->vsock, c->loop, vsock_ready, c);
	stream_attach(&c->serial, c->loop, serial_ready, c);
	stream_watch(&c->vsock, EPOLLIN);
	stream_watch(&c->serial, EPOLLIN);
	/* Can it be watched at all? /dev/null, for one, cannot. */
	stream_watch(&c->in, EPOLLIN);
	stream_unwatch(&c->in);
	flush_all(c); /* are its readers still there? */
	return 0;
}
