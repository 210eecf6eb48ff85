/*
 * Carries bytes between the serial port and its host end.
 *
 * Output: the port's event says that its ring is no longer empty. The ring is
 * then written out; what the reader does not take now waits for EPOLLOUT. A
 * guest's output comes byte by byte, and a write for each would be dear, so
 * between two writes there is FLUSH_NS at least: the first byte after a pause
 * goes out at once, of a stream some hundred bytes each time.
 *
 * Input: read when the buffer is empty, offered to the port, and read no
 * further while the port has no room; then whoever writes to us has to wait.
 * Nothing is dropped.
 *
 * Whoever is on the other side may stall and go. With stdio and fd a reader
 * that is gone is gone: output is dropped from there on and the guest runs on.
 * For unix and pty see console_clients.c.
 *
 * Opened by console_open.c. Main thread.
 */
#include "cpu/console/console.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cpu/console/clients.h"
#include "cpu/console/tty.h"
#include "mem/log.h"

#define FLUSH_NS 1000000u

static const char *const names[] = {
	[CONSOLE_STDIO] = "stdout", [CONSOLE_OFF] = "off",
	[CONSOLE_PTY] = "pty",	    [CONSOLE_FILE] = "file",
	[CONSOLE_UNIX] = "unix",    [CONSOLE_FD] = "fd",
};

/* Nobody takes output any more; input may still be on its way. */
static void output_gone(struct console *console, int error)
{
	uart_output_discard(console->serial, true);
	if (console_has_clients(console)) {
		console_end_unwatch(&console->out, console->loop);
		return;
	}
	if (error == EPIPE)
		log_info("serial: the reader of %s is gone; output is dropped "
			 "from here on",
			 names[console->kind]);
	else
		log_warn("serial: cannot write to %s: %s; output is dropped "
			 "from here on",
			 names[console->kind], strerror(error));
	console_end_close(&console->out, console->loop);
}

/* Output */

/*
 * Writes what waits now. What the guest adds in the meantime is left to the
 * timer: the ring is not empty then, so no event will tell of it.
 */
static void flush(struct console *console)
{
	struct console_end *out = &console->out;
	size_t left = uart_output_waiting(console->serial), len;
	const uint8_t *data;
	ssize_t written;

	console->flushed_ns = loop_now();
	for (; left && out->source.fd >= 0; left -= (size_t)written) {
		len = uart_output_peek(console->serial, &data);
		written = console_end_write(out, data, len < left ? len : left);
		if (written == -EAGAIN) {
			console_end_watch(out, console->loop, EPOLLOUT);
			/* A device that cannot be polled, yet would wait. */
			if (!out->watched)
				loop_timer_set(&console->flush, 10 * FLUSH_NS);
			return;
		}
		if (written < 0) {
			output_gone(console, (int)-written);
			return;
		}
		uart_output_consume(console->serial, (size_t)written);
	}
	console_end_unwatch(out, console->loop);
	if (uart_output_waiting(console->serial))
		loop_timer_set(&console->flush, FLUSH_NS);
}

static void flush_expired(void *arg)
{
	console_accept_again(arg);
	flush(arg);
}

static void out_ready(void *arg, uint32_t events)
{
	(void)events; /* an error shows in the write */
	flush(arg);
}

static void flush_when_due(struct console *console)
{
	const uint64_t since = loop_now() - console->flushed_ns;

	if (console->out.watched)
		return;
	if (since >= FLUSH_NS)
		flush(console);
	else
		loop_timer_set(&console->flush, FLUSH_NS - since);
}

/* Input */

static void input_ended(struct console *console)
{
	if (console->kind == CONSOLE_PTY ||
	    (console->kind == CONSOLE_UNIX &&
	     console_hung_up(console->in.source.fd))) {
		console_client_left(console);
	} else if (console->kind == CONSOLE_UNIX) {
		/* `echo halt | nc -U` has sent all, and wants the output. */
		console->input_over = true;
		console_end_watch(&console->in, console->loop, 0);
	} else {
		console_end_close(&console->in, console->loop);
	}
}

/* The buffer is empty. Returns whether it is worth to go on. */
static bool read_input(struct console *console)
{
	ssize_t count = console_end_read(&console->in, console->input,
					 sizeof(console->input));

	if (count == -EAGAIN)
		return false;
	if (count <= 0) {
		input_ended(console);
		return false;
	}
	console->input_start = 0;
	console->input_end = (size_t)count;
	if (console->tty_fd >= 0)
		console->input_end = escape_filter(
			&console->escape, console->input, (size_t)count);
	return true;
}

void console_pump_input(struct console *console)
{
	do {
		console->input_start += uart_input(
			console->serial, console->input + console->input_start,
			console->input_end - console->input_start);
		if (console->input_start < console->input_end) {
			console_end_watch(&console->in, console->loop, 0);
			return;
		}
		if (console->in.source.fd < 0 || console->background ||
		    console->input_over)
			return;
		console_end_watch(&console->in, console->loop, EPOLLIN);
		/* The loop will call; but not for what cannot be watched. */
	} while (console->in.way == CONSOLE_DIRECT && read_input(console));
}

static void in_ready(void *arg, uint32_t events)
{
	struct console *console = arg;

	(void)events;
	if (console->in.events & EPOLLIN) {
		read_input(console);
		console_pump_input(console);
	} else if (console->input_over) {
		console_client_left(console);
	} else {
		/*
		 * The other side left while the guest has no room. What it sent
		 * is read when there is some; until then it would be reported
		 * over and over.
		 */
		console_end_unwatch(&console->in, console->loop);
		if (console_has_clients(console))
			uart_output_discard(console->serial, true);
	}
}

void console_set_ready(struct console *console)
{
	console->in.source.ready = in_ready;
	console->in.source.arg = console;
	console->out.source.ready = out_ready;
	console->out.source.arg = console;
}

static void event_ready(void *arg, uint32_t events)
{
	struct console *console = arg;
	uint64_t count;

	(void)events;
	if (read(console->event.fd, &count, sizeof(count)) < 0)
		return;
	flush_when_due(console);
	console_pump_input(console);
}

/* Life */

void console_on_quit(struct console *console, void (*on_quit)(void *arg),
		     void *arg)
{
	console->escape.on_quit = on_quit;
	console->escape.arg = arg;
}

void console_suspend(struct console *console)
{
	if (!console->loop || console->tty_fd < 0)
		return;
	tty_restore();
	console->background = true;
	console_end_unwatch(&console->in, console->loop);
}

/* The terminal is ours, or else not read until it is. */
static int take_terminal(struct console *console)
{
	int error = 0;

	if (console->tty_fd >= 0)
		error = tty_raw(console->tty_fd);
	console->background = error == -EAGAIN;
	return console->background ? 0 : error;
}

void console_resume(struct console *console)
{
	if (!console->loop || console->tty_fd < 0)
		return;
	take_terminal(console);
	console_end_unwatch(&console->in, console->loop);
	console_pump_input(console);
}

static int watch_port(struct console *console)
{
	int error;

	console->event = (struct loop_source){ console->serial->event_fd,
					       event_ready, console };
	error = loop_add(console->loop, &console->event, EPOLLIN);
	if (error)
		log_error("serial: epoll: %s", strerror(-error));
	return error;
}

int console_start(struct console *console, struct loop *loop,
		  struct uart *serial)
{
	int error;

	console->loop = loop;
	console->serial = serial;
	console_set_ready(console);
	if (console->out.source.fd < 0)
		uart_output_discard(serial, true);
	error = loop_timer_create(loop, &console->flush, flush_expired,
				  console);
	if (!error)
		error = watch_port(console);
	if (!error)
		error = console_clients_start(console);
	if (!error)
		error = take_terminal(console);
	if (error)
		console_stop(console);
	else
		console_pump_input(console);
	return error;
}

/* Whoever reads a gap in the output should know that it is one. */
static void say_dropped(const struct console *console)
{
	const uint64_t dropped = uart_counters(console->serial).dropped;
	const bool expected =
		console_has_clients(console) || console->out.source.fd < 0;

	if (dropped && !expected)
		log_warn("serial: %llu bytes of output were dropped: the "
			 "guest did not wait for their slow reader",
			 (unsigned long long)dropped);
	else if (dropped)
		log_info("serial: %llu bytes of output had no reader",
			 (unsigned long long)dropped);
}

void console_stop(struct console *console)
{
	tty_restore();
	if (!console->loop)
		return;
	say_dropped(console);
	console_end_unwatch(&console->in, console->loop);
	console_end_unwatch(&console->out, console->loop);
	if (console->event.fd >= 0)
		loop_remove(console->loop, &console->event);
	if (console->wait.fd >= 0)
		loop_remove(console->loop, &console->wait);
	loop_timer_destroy(console->loop, &console->flush);
	console->event.fd = console->wait.fd = -1;
	console->loop = NULL;
}
