/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the serial port: what --serial names, the bytes between it
 * and the port, the clients that come and go, and the last words of a guest.
 *
 *	guest <-> uart.c <-> console.c <-> stream.c <-> terminal, pipe, file,
 *	                                                socket, pseudo-terminal
 *
 * open.c opens what --serial names before the sandbox closes in; from then on
 * there are descriptors alone. tty.c knows the terminal's raw mode and the keys
 * that are mote's own. guest.c calls console_start before the vCPUs run, and
 * console_drain at the end.
 *
 * Output. uart.c makes its event_fd readable when its ring is no longer empty,
 * or when it has room for input again; the loop then calls port_changed. The
 * ring is written out; what the reader does not take now waits for EPOLLOUT. A
 * guest's output comes byte by byte, and a write for each would be dear, so
 * between two writes there is FLUSH_NS at least: the first byte after a pause
 * goes out at once; a steady stream goes out some hundred bytes at a time.
 *
 * Input. It is read when the buffer is empty, offered to the port, and read no
 * further while the port has no room; then whoever writes to us has to wait.
 * Nothing is dropped.
 *
 * Clients. With stdio, file and fd the other side is there from the start, and
 * a reader that has left does not come back: from then on output is dropped,
 * and the guest runs on. A unix socket and a pseudo-terminal have clients, one
 * at a time:
 *
 *	nobody     --> there       accept(), or somebody opens the terminal
 *	there      --> input over  a socket's client has sent all that it will,
 *	                           and still wants the output
 *	there, input over
 *	           --> nobody      it hangs up, and what it sent has been read
 *
 * Of the output that comes while nobody is there, the ring keeps the last 64
 * KiB for the next client, and drops the rest: a program that prints must not
 * hang because nobody looks. What a client sent reaches the guest even if it
 * has left since. Connections queue in the kernel, as accept() is called only
 * while there is no client. POLLHUP says that nobody has the pseudo-terminal
 * open, and inotify when somebody opens it.
 *
 * For example `--serial unix=S`: a client connects, and client_waits accepts
 * it. The guest writes "login: " to THR, byte by byte; at the first one the
 * port's event calls port_changed, which writes it, and sets a timer for the
 * rest. The client sends "root\n": input_came reads it and offers it to the
 * port, which interrupts the guest.
 *
 * The end. console_drain writes what is left before mote exits. A stalled
 * reader holds that up until the time limit at most, or until a signal tells
 * mote to stop.
 *
 * Main thread. Whoever is on the other side may do what it likes: stall, leave,
 * close one half. Owns what open.c opened.
 */
#include "cpu/console/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "mem/log.h"

#define FLUSH_NS	1000000u
#define ACCEPT_AGAIN_NS 100000000u
#define LINGER_NS	250000000u /* for the reader of a pseudo-terminal */

/* Whether the other side may come and go. */
static bool has_clients(const struct console *c)
{
	return c->host.kind == CONSOLE_UNIX || c->host.kind == CONSOLE_PTY;
}

static bool has_hung_up(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLHUP;
}

/* A new terminal echoes, and the next client finds what the last one set. */
static void make_pty_raw(int fd)
{
	struct termios settings;

	if (!tcgetattr(fd, &settings)) {
		cfmakeraw(&settings);
		tcsetattr(fd, TCSANOW, &settings);
	}
}

static void client_left(struct console *c)
{
	uart_set_reader(c->serial, UART_READER_AWAITED);
	stream_close(&c->host.in);
	stream_close(&c->host.out);
	c->input_over = false;
	if (c->host.kind == CONSOLE_PTY)
		make_pty_raw(c->host.pty_fd);
	else
		loop_add(c->loop, &c->wait, EPOLLIN);
}

/* -- output --------------------------------------------------------------- */

/* Nobody takes output any more; input may still be on its way. */
static void reader_left(struct console *c, int error)
{
	const char *name = c->host.kind == CONSOLE_STDIO ? "stdout"
			   : c->host.kind == CONSOLE_FD	 ? "fd"
							 : "file";

	uart_set_reader(c->serial, has_clients(c) ? UART_READER_AWAITED
						  : UART_READER_GONE);
	if (has_clients(c)) {
		stream_unwatch(&c->host.out);
		return;
	}
	if (error == EPIPE)
		log_info("serial: the reader of %s is gone; output is dropped "
			 "from here on",
			 name);
	else
		log_warn("serial: cannot write to %s: %s; output is dropped "
			 "from here on",
			 name, strerror(error));
	stream_close(&c->host.out);
}

/*
 * Writes what waits now. What the guest adds in the meantime is left to the
 * timer: the ring is not empty then, so no event will tell of it.
 */
static void flush_port(struct console *c)
{
	struct stream *out = &c->host.out;
	size_t left = uart_output_waiting(c->serial), len;
	const uint8_t *data;
	ssize_t written;

	c->flushed_ns = loop_now();
	for (; left && out->source.fd >= 0; left -= (size_t)written) {
		len = uart_output_peek(c->serial, &data);
		written = stream_write(out, data, len < left ? len : left);
		if (written == -EAGAIN) {
			stream_watch(out, EPOLLOUT);
			/* A device that cannot be polled, yet would wait. */
			if (!out->watched)
				loop_timer_set(&c->flush, 10 * FLUSH_NS);
			return;
		}
		if (written < 0) {
			reader_left(c, (int)-written);
			return;
		}
		uart_output_consume(c->serial, (size_t)written);
	}
	stream_unwatch(out);
	if (uart_output_waiting(c->serial))
		loop_timer_set(&c->flush, FLUSH_NS);
}

static void reader_is_ready(void *arg, uint32_t events)
{
	(void)events; /* an error shows in the write */
	flush_port(arg);
}

static void flush_port_when_due(struct console *c)
{
	const uint64_t since = loop_now() - c->flushed_ns;

	if (c->host.out.watched)
		return;
	if (since >= FLUSH_NS)
		flush_port(c);
	else
		loop_timer_set(&c->flush, FLUSH_NS - since);
}

/* -- input ---------------------------------------------------------------- */

static void input_ended(struct console *c)
{
	struct stream *in = &c->host.in;

	if (c->host.kind == CONSOLE_PTY ||
	    (c->host.kind == CONSOLE_UNIX && has_hung_up(in->source.fd))) {
		client_left(c);
	} else if (c->host.kind == CONSOLE_UNIX) {
		/* `echo halt | nc -U` has sent all, and wants the output. */
		c->input_over = true;
		stream_watch(in, 0);
	} else {
		stream_close(in);
	}
}

/* The buffer is empty. Returns whether it is worth to go on. */
static bool read_host_input(struct console *c)
{
	ssize_t count = stream_read(&c->host.in, c->input, sizeof(c->input));

	if (count == -EAGAIN)
		return false;
	if (count <= 0) {
		input_ended(c);
		return false;
	}
	c->input_start = 0;
	c->input_end = (size_t)count;
	if (c->host.tty_fd >= 0)
		c->input_end = tty_filter(&c->escape, c->input, (size_t)count);
	return true;
}

static void offer_input(struct console *c)
{
	struct stream *in = &c->host.in;

	do {
		c->input_start +=
			uart_input(c->serial, c->input + c->input_start,
				   c->input_end - c->input_start);
		if (c->input_start < c->input_end) {
			stream_watch(in, 0);
			return;
		}
		if (in->source.fd < 0 || c->background || c->input_over)
			return;
		stream_watch(in, EPOLLIN);
		/* The loop will call; but not for what cannot be watched. */
	} while (in->mode == STREAM_DIRECT && read_host_input(c));
}

static void input_came(void *arg, uint32_t events)
{
	struct console *c = arg;

	(void)events;
	if (c->host.in.events & EPOLLIN) {
		read_host_input(c);
		offer_input(c);
	} else if (c->input_over) {
		client_left(c);
	} else {
		/*
		 * The other side left while the guest has no room. What it sent
		 * is read when there is some; until then it would be reported
		 * over and over.
		 */
		stream_unwatch(&c->host.in);
		if (has_clients(c))
			uart_set_reader(c->serial, UART_READER_AWAITED);
	}
}

static void port_changed(void *arg, uint32_t events)
{
	struct console *c = arg;
	uint64_t count;

	(void)events;
	if (read(c->event.fd, &count, sizeof(count)) < 0)
		return;
	flush_port_when_due(c);
	offer_input(c);
}

/* -- clients -------------------------------------------------------------- */

static void attach_streams(struct console *c)
{
	stream_attach(&c->host.in, c->loop, input_came, c);
	stream_attach(&c->host.out, c->loop, reader_is_ready, c);
}

/* No event tells of what was kept for him. */
static void welcome_reader(struct console *c)
{
	uart_set_reader(c->serial, UART_READER_THERE);
	flush_port(c);
	offer_input(c);
}

static void client_came(struct console *c, int fd)
{
	const int other = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (other < 0) {
		log_warn("serial: a client was turned away: %s",
			 strerror(errno));
		close(fd);
		return;
	}
	c->host.in = stream_own(fd);
	c->host.out = stream_own(other);
	attach_streams(c);
	if (c->host.kind == CONSOLE_UNIX)
		loop_remove(c->loop, &c->wait);
	welcome_reader(c);
}

static void client_waits(void *arg, uint32_t events)
{
	struct console *c = arg;
	int fd = accept4(c->host.wait_fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		client_came(c, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		/* It would be said again at once, and for as long as it is. */
		loop_remove(c->loop, &c->wait);
		c->accept_later = true;
		loop_timer_set(&c->flush, ACCEPT_AGAIN_NS);
	}
}

static void flush_timer_expired(void *arg)
{
	struct console *c = arg;

	if (c->accept_later)
		loop_add(c->loop, &c->wait, EPOLLIN);
	c->accept_later = false;
	flush_port(c);
}

static void look_for_pty_client(struct console *c)
{
	if (has_hung_up(c->host.pty_fd))
		return;
	if (c->host.in.source.fd >= 0) {
		/* Another one, before all that the last had sent was read. */
		welcome_reader(c);
		return;
	}
	client_came(c,
		    fcntl(c->host.pty_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

static void pty_was_opened(void *arg, uint32_t events)
{
	struct console *c = arg;
	char seen[1024];

	(void)events;
	while (read(c->host.wait_fd, seen, sizeof(seen)) > 0)
		;
	look_for_pty_client(c);
}

static int watch_source(struct console *c, struct loop_source *source, int fd,
			void (*ready)(void *arg, uint32_t events))
{
	int error;

	*source = (struct loop_source){ fd, ready, c };
	error = loop_add(c->loop, source, EPOLLIN);
	if (error)
		log_error("serial: epoll: %s", strerror(-error));
	return error;
}

/* One may be there already. */
static int wait_for_clients(struct console *c)
{
	const struct console_host *host = &c->host;
	int error;

	if (host->kind == CONSOLE_UNIX)
		return watch_source(c, &c->wait, host->wait_fd, client_waits);
	if (host->kind != CONSOLE_PTY)
		return 0;
	make_pty_raw(host->pty_fd);
	error = watch_source(c, &c->wait, host->wait_fd, pty_was_opened);
	if (!error)
		look_for_pty_client(c);
	return error;
}

/* -- the terminal --------------------------------------------------------- */

void console_suspend(struct console *c)
{
	if (!c->loop || c->host.tty_fd < 0)
		return;
	tty_restore();
	c->background = true;
	stream_unwatch(&c->host.in);
}

/* The terminal is ours, or else not read until it is. */
static int take_terminal(struct console *c)
{
	int error = 0;

	if (c->host.tty_fd >= 0)
		error = tty_raw(c->host.tty_fd);
	c->background = error == -EAGAIN;
	return c->background ? 0 : error;
}

void console_resume(struct console *c)
{
	if (!c->loop || c->host.tty_fd < 0)
		return;
	take_terminal(c);
	stream_unwatch(&c->host.in);
	offer_input(c);
}

/* -- the end -------------------------------------------------------------- */

/* What the pseudo-terminal's reader has still to read. */
static uint64_t count_unread(int pty_fd)
{
	int bytes = 0,
	    slave = ioctl(pty_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct pollfd poll_fd = { .fd = slave, .events = POLLIN };

	if (slave < 0)
		return 0;
	/*
	 * What was written goes through a work queue; FIONREAD does not see it
	 * there, but poll() waits for that (drivers/tty/n_tty.c, n_tty_poll).
	 */
	if (poll(&poll_fd, 1, 0) < 0 || ioctl(slave, FIONREAD, &bytes) < 0)
		bytes = 0;
	close(slave);
	return (uint64_t)bytes;
}

/*
 * Closing a pseudo-terminal's master takes away what its reader has not read
 * yet: waits for that too. Returns what is lost. The sandbox has no way to the
 * other end, so in it what is unread is not known: a reader who reads gets it
 * all in LINGER_NS.
 */
static uint64_t drain_pty(const struct console *c, uint64_t deadline,
			  int stop_fd)
{
	const uint64_t linger = stream_deadline(LINGER_NS);
	uint64_t left;

	if (c->host.sealed && deadline > linger)
		deadline = linger;
	do {
		if (has_hung_up(c->host.pty_fd))
			return 0; /* it does not want any more */
		left = c->host.sealed ? 1 : count_unread(c->host.pty_fd);
	} while (left && stream_wait(-1, -1, deadline, stop_fd));
	return c->host.sealed ? 0 : left;
}

uint64_t console_drain(struct console *c, uint64_t timeout_ns, int stop_fd)
{
	const uint64_t deadline = stream_deadline(timeout_ns);
	struct stream *out = &c->host.out;
	const uint8_t *data;
	ssize_t written;
	size_t len;

	while (out->source.fd >= 0) {
		len = uart_output_peek(c->serial, &data);
		if (!len)
			break;
		written = stream_write(out, data, len);
		if (written > 0) {
			uart_output_consume(c->serial, (size_t)written);
			continue;
		}
		/* Who waits must be able to end it with Ctrl-C again. */
		tty_restore();
		if (written != -EAGAIN ||
		    !stream_wait(out->source.fd, -1, deadline, stop_fd))
			break;
	}
	len = uart_output_waiting(c->serial);
	if (!len && c->host.kind == CONSOLE_PTY && out->source.fd >= 0)
		return drain_pty(c, deadline, stop_fd);
	return len;
}

/* -- life ----------------------------------------------------------------- */

int console_open(struct console *c, const struct console_options *options)
{
	memset(&c->input_start, 0,
	       sizeof(*c) - offsetof(struct console, input_start));
	c->opened = true;
	c->event.fd = c->wait.fd = c->flush.source.fd = -1;
	return console_host_open(&c->host, options);
}

unsigned console_features(const struct console *c)
{
	return console_host_features(&c->host);
}

int console_start(struct console *c, struct loop *loop, struct uart *serial,
		  struct tty_escape escape)
{
	int error;

	c->loop = loop;
	c->serial = serial;
	c->escape = escape;
	attach_streams(c);
	if (has_clients(c))
		uart_set_reader(serial, UART_READER_AWAITED);
	else if (c->host.out.source.fd < 0)
		uart_set_reader(serial, UART_READER_GONE);
	error = loop_timer_create(loop, &c->flush, flush_timer_expired, c);
	if (!error)
		error = watch_source(c, &c->event, serial->event_fd,
				     port_changed);
	if (!error)
		error = wait_for_clients(c);
	if (!error)
		error = take_terminal(c);
	if (error)
		console_stop(c);
	else
		offer_input(c);
	return error;
}

/* Whoever reads a gap in the output should know that it is one. */
static void log_dropped(const struct console *c)
{
	const uint64_t dropped = uart_counter(c->serial, SERIAL_DROPPED_BYTES);
	const bool expected = has_clients(c) || c->host.out.source.fd < 0;

	if (dropped && !expected)
		log_warn("serial: %llu bytes of output were dropped: the "
			 "guest did not wait for their slow reader",
			 (unsigned long long)dropped);
	else if (dropped)
		log_info("serial: %llu bytes of output had no reader",
			 (unsigned long long)dropped);
}

void console_stop(struct console *c)
{
	tty_restore();
	if (!c->loop)
		return;
	if (c->host.out.source.fd < 0)
		uart_set_reader(c->serial, UART_READER_GONE);
	log_dropped(c);
	stream_unwatch(&c->host.in);
	stream_unwatch(&c->host.out);
	if (c->event.fd >= 0)
		loop_remove(c->loop, &c->event);
	if (c->wait.fd >= 0)
		loop_remove(c->loop, &c->wait);
	loop_timer_destroy(c->loop, &c->flush);
	c->event.fd = c->wait.fd = -1;
	c->loop = NULL;
}

void console_close(struct console *c)
{
	if (!c->opened)
		return;
	c->opened = false;
	console_stop(c);
	console_host_close(&c->host);
}
