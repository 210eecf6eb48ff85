/*
 * What mote sends to the guest: the command's input, and all that is said about
 * it besides.
 *
 * One frame at a time, made from what is due when the one before has left: what
 * is urgent first, so that a Ctrl-C never waits behind input that the command
 * does not read. Input is read no faster than the guest has room for it, so
 * whoever writes to mote has to wait, and nothing is kept here.
 *
 * A terminal that is somebody else's just now (`mote ... &`) is not read: that
 * would stop mote. The loop's thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu/command/command.h"
#include "cpu/console/tty.h"
#include "mem/log.h"
#include "mem/util.h"

/* -- frames --------------------------------------------------------------- */

static void make(struct command *c, unsigned type, uint32_t a, uint32_t b)
{
	uint8_t *to = c->send + PROTOCOL_HEADER;

	put_le32(to, a);
	put_le32(to + 4, b);
	frames_header(c->send, type, 8);
	c->send_at = 0;
	c->send_end = PROTOCOL_HEADER + 8;
}

static bool make_signal(struct command *c)
{
	const int number = c->signals ? __builtin_ctzll(c->signals) : 0;

	if (!number)
		return false;
	c->signals &= ~(1ULL << number);
	make(c, PROTOCOL_SIGNAL, (uint32_t)number, 0);
	return true;
}

static bool make_winch(struct command *c)
{
	struct winsize size;

	if (!c->winch)
		return false;
	c->winch = false;
	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size))
		return false;
	make(c, PROTOCOL_WINCH, size.ws_row, size.ws_col);
	return true;
}

static bool make_credit(struct command *c)
{
	for (unsigned i = 0; i < ARRAY_LEN(c->out); i++) {
		struct command_output *output = &c->out[i];

		if (output->end.source.fd < 0 && !output->told_closed) {
			output->told_closed = true;
			make(c, PROTOCOL_CLOSED, PROTOCOL_STDOUT + i, 0);
			return true;
		}
		if (output->taken >= PROTOCOL_CREDIT / 4) {
			make(c, PROTOCOL_TAKEN, PROTOCOL_STDOUT + i,
			     output->taken);
			output->taken = 0;
			return true;
		}
	}
	return false;
}

/* -- input ---------------------------------------------------------------- */

static void input_over(struct command *c)
{
	c->in_over = true;
	stream_close(&c->in);
	frames_header(c->send, PROTOCOL_STDIN, 0);
	c->send_at = 0;
	c->send_end = PROTOCOL_HEADER;
}

static bool may_read(const struct command *c)
{
	return c->ready && !c->in_over && !c->in_background && c->in_credit;
}

static bool make_input(struct command *c)
{
	uint8_t *to = c->send + PROTOCOL_HEADER;
	size_t len =
		c->in_credit < PROTOCOL_CHUNK ? c->in_credit : PROTOCOL_CHUNK;
	ssize_t n;

	if (!may_read(c) || !(c->in_readable || c->in.mode == STREAM_DIRECT))
		return false;
	c->in_readable = false;
	n = stream_read(&c->in, to, len);
	if (n == -EAGAIN)
		return false;
	if (n <= 0) {
		if (n < 0)
			log_warn("cannot read the command's stdin: %s",
				 strerror((int)-n));
		input_over(c);
		return true;
	}
	len = (size_t)n;
	if (c->tty && c->in_tty)
		len = tty_filter(&c->escape, to, len);
	if (!len)
		return false;
	c->in_credit -= (uint32_t)len;
	frames_header(c->send, PROTOCOL_STDIN, len);
	c->send_at = 0;
	c->send_end = PROTOCOL_HEADER + len;
	return true;
}

static void watch_input(struct command *c)
{
	if (c->in_tty)
		c->in_background = !tty_is_ours(STDIN_FILENO);
	if (may_read(c) && c->send_at == c->send_end)
		stream_watch(&c->in, EPOLLIN);
	else
		stream_unwatch(&c->in);
}

void command_input_ready(void *arg, uint32_t events)
{
	struct command *c = arg;

	(void)events; /* an end or an error shows in the read */
	c->in_readable = !c->in_tty || tty_is_ours(STDIN_FILENO);
	command_pump(c);
}

void command_input_open(struct command *c)
{
	c->in = stream_open(STDIN_FILENO, O_RDONLY, false);
	c->in_credit = PROTOCOL_CREDIT;
	c->in_tty = isatty(STDIN_FILENO);
	c->in_background = c->in_tty && !tty_is_ours(STDIN_FILENO);
}

/* -- sending -------------------------------------------------------------- */

static bool make_any(struct command *c)
{
	if (!c->ready)
		return false;
	return make_signal(c) || make_winch(c) || make_credit(c) ||
	       make_input(c);
}

void command_pump(struct command *c)
{
	ssize_t n;

	if (!c->link || c->link->source.fd < 0 || c->over || !c->loop)
		return;
	while (c->send_at < c->send_end || make_any(c)) {
		n = stream_write(c->link, c->send + c->send_at,
				 c->send_end - c->send_at);
		if (n == -EAGAIN) {
			stream_watch(c->link, EPOLLIN | EPOLLOUT);
			watch_input(c);
			return;
		}
		if (n < 0) {
			command_lost(c);
			return;
		}
		c->send_at += (size_t)n;
	}
	stream_watch(c->link, EPOLLIN);
	watch_input(c);
}
