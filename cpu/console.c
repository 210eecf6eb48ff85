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
 * Whoever is on the other side may come, go and stall. stdio and fd: a reader
 * that is gone is gone, output is dropped from there on. unix and pty: the next
 * client is waited for, and output that comes in between is dropped (a program
 * that prints must not hang because nobody looks).
 *
 * Opened by console_open.c. Main thread.
 */
#include "cpu/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "cpu/tty.h"
#include "mem/log.h"

#define NS_PER_S   1000000000u
#define NS_PER_MS  1000000u
#define FLUSH_NS   NS_PER_MS
#define FLUSH_MOST SERIAL_OUTPUT_RING /* then others have their turn */
#define ESCAPE	   0x01		      /* Ctrl-A */

static const char *const names[] = {
	[CONSOLE_STDIO] = "stdout", [CONSOLE_OFF] = "off",
	[CONSOLE_PTY] = "pty",	    [CONSOLE_FILE] = "file",
	[CONSOLE_UNIX] = "unix",    [CONSOLE_FD] = "fd",
};

static const char help[] =
	"\r\nmote: Ctrl-A x  ends the guest\r\n"
	"      Ctrl-A a  (or Ctrl-A twice) sends a Ctrl-A to the guest\r\n"
	"      Ctrl-A h  shows this\r\n";

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Clients */

static bool has_clients(const struct console *console)
{
	return console->kind == CONSOLE_UNIX || console->kind == CONSOLE_PTY;
}

static bool hung_up(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLHUP;
}

/* A new terminal echoes, and the next client finds what the last one set. */
static void pty_make_raw(int fd)
{
	struct termios settings;

	if (!tcgetattr(fd, &settings)) {
		cfmakeraw(&settings);
		tcsetattr(fd, TCSANOW, &settings);
	}
}

static void client_left(struct console *console)
{
	serial_output_discard(console->serial, true);
	console_end_close(&console->in, console->loop);
	console_end_close(&console->out, console->loop);
	console->input_over = false;
	if (console->kind == CONSOLE_PTY)
		pty_make_raw(console->pty_fd);
	else
		loop_add(console->loop, &console->wait, EPOLLIN);
}

/* Nobody takes output any more; input may still be on its way. */
static void output_gone(struct console *console, int error)
{
	serial_output_discard(console->serial, true);
	if (has_clients(console)) {
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

static void flush(struct console *console)
{
	struct console_end *out = &console->out;
	const uint8_t *data;
	size_t len, total = 0;
	ssize_t written;

	console->flushed_ns = now_ns();
	while (out->source.fd >= 0 && total < FLUSH_MOST) {
		len = serial_output_peek(console->serial, &data);
		if (!len)
			break;
		written = console_end_write(out, data, len);
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
		serial_output_consume(console->serial, (size_t)written);
		total += (size_t)written;
	}
	console_end_unwatch(out, console->loop);
	if (total >= FLUSH_MOST)
		loop_timer_set(&console->flush, FLUSH_NS);
}

static void flush_expired(void *arg)
{
	flush(arg);
}

static void out_ready(void *arg, uint32_t events)
{
	(void)events; /* an error shows in the write */
	flush(arg);
}

static void flush_when_due(struct console *console)
{
	const uint64_t since = now_ns() - console->flushed_ns;

	if (console->out.watched)
		return;
	if (since >= FLUSH_NS)
		flush(console);
	else
		loop_timer_set(&console->flush, FLUSH_NS - since);
}

/* Input */

/* Takes the Ctrl-A commands out of what was typed; returns what is left. */
static size_t take_commands(struct console *console, uint8_t *data, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		const uint8_t byte = data[i];

		if (!console->escape) {
			console->escape = byte == ESCAPE;
			if (!console->escape)
				data[kept++] = byte;
			continue;
		}
		console->escape = false;
		if (byte == ESCAPE || byte == 'a') {
			data[kept++] = ESCAPE;
		} else if (byte == 'x') {
			if (console->on_quit)
				console->on_quit(console->on_quit_arg);
		} else if (byte == 'h' || byte == '?') {
			if (write(STDERR_FILENO, help, sizeof(help) - 1) < 0)
				log_debug("help: %s", strerror(errno));
		}
	}
	return kept;
}

static void input_ended(struct console *console)
{
	if (console->kind == CONSOLE_PTY ||
	    (console->kind == CONSOLE_UNIX && hung_up(console->in.source.fd))) {
		client_left(console);
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
		console->input_end =
			take_commands(console, console->input, (size_t)count);
	return true;
}

static void pump_input(struct console *console)
{
	do {
		console->input_start += serial_input(
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
		pump_input(console);
	} else if (console->input_over) {
		client_left(console);
	} else {
		/*
		 * The other side left while the guest has no room. What it sent
		 * is read when there is some; until then it would be reported
		 * over and over.
		 */
		console_end_unwatch(&console->in, console->loop);
		if (has_clients(console))
			serial_output_discard(console->serial, true);
	}
}

static void event_ready(void *arg, uint32_t events)
{
	struct console *console = arg;
	uint64_t count;

	(void)events;
	if (read(console->event.fd, &count, sizeof(count)) < 0)
		return;
	flush_when_due(console);
	pump_input(console);
}

/* Clients that come */

static void set_ready(struct console *console)
{
	console->in.source.ready = in_ready;
	console->in.source.arg = console;
	console->out.source.ready = out_ready;
	console->out.source.arg = console;
}

static void client_came(struct console *console, int fd)
{
	const int other = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);

	if (other < 0) {
		log_warn("serial: a client was turned away: %s",
			 strerror(errno));
		close(fd);
		return;
	}
	console->in = console_end_own(fd);
	console->out = console_end_own(other);
	set_ready(console);
	if (console->kind == CONSOLE_UNIX)
		loop_remove(console->loop, &console->wait);
	serial_output_discard(console->serial, false);
	pump_input(console);
}

static void accept_ready(void *arg, uint32_t events)
{
	struct console *console = arg;
	int fd = accept4(console->wait_fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0)
		client_came(console, fd);
}

static void pty_opened(struct console *console)
{
	if (hung_up(console->pty_fd))
		return;
	if (console->in.source.fd >= 0) {
		/* Another one, before all that the last had sent was read. */
		serial_output_discard(console->serial, false);
		pump_input(console);
		return;
	}
	client_came(console,
		    fcntl(console->pty_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
}

static void inotify_ready(void *arg, uint32_t events)
{
	struct console *console = arg;
	char seen[1024];

	(void)events;
	while (read(console->wait_fd, seen, sizeof(seen)) > 0)
		;
	pty_opened(console);
}

/* Life */

void console_on_quit(struct console *console, void (*on_quit)(void *arg),
		     void *arg)
{
	console->on_quit = on_quit;
	console->on_quit_arg = arg;
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
	pump_input(console);
}

static int watch(struct console *console, struct loop_source *source, int fd,
		 void (*ready)(void *arg, uint32_t events))
{
	int error;

	*source = (struct loop_source){ fd, ready, console };
	error = loop_add(console->loop, source, EPOLLIN);
	if (error)
		log_error("serial: epoll: %s", strerror(-error));
	return error;
}

int console_start(struct console *console, struct loop *loop,
		  struct serial *serial)
{
	int error;

	console->loop = loop;
	console->serial = serial;
	set_ready(console);
	if (console->out.source.fd < 0)
		serial_output_discard(serial, true);
	error = loop_timer_create(loop, &console->flush, flush_expired,
				  console);
	if (!error)
		error = watch(console, &console->event, serial->event_fd,
			      event_ready);
	if (!error && console->kind == CONSOLE_UNIX)
		error = watch(console, &console->wait, console->wait_fd,
			      accept_ready);
	if (!error && console->kind == CONSOLE_PTY) {
		error = watch(console, &console->wait, console->wait_fd,
			      inotify_ready);
		pty_make_raw(console->pty_fd);
	}
	if (!error)
		error = take_terminal(console);
	if (error) {
		console_stop(console);
		return error;
	}
	if (console->kind == CONSOLE_PTY)
		pty_opened(console);
	pump_input(console);
	return 0;
}

void console_stop(struct console *console)
{
	tty_restore();
	if (!console->loop)
		return;
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

/* The end */

/* Whether to try again: not after the deadline, nor once `stop_fd` has come. */
static bool wait_for(int fd, uint64_t deadline, uint64_t most_ns, int stop_fd)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLOUT },
				{ .fd = stop_fd, .events = POLLIN } };
	const uint64_t now = now_ns();
	uint64_t ns = now < deadline ? deadline - now : 0;
	struct timespec time;

	if (!ns)
		return false;
	if (ns > most_ns)
		ns = most_ns;
	time = (struct timespec){ (time_t)(ns / NS_PER_S),
				  (long)(ns % NS_PER_S) };
	if (ppoll(fds, 2, &time, NULL) < 0 && errno != EINTR)
		return false;
	return !fds[1].revents;
}

/*
 * Closing a pseudo-terminal's master takes away what its reader has not read
 * yet: wait for that too. Returns what is lost.
 */
static uint64_t drain_pty(const struct console *console, uint64_t deadline,
			  int stop_fd)
{
	int slave, unread = 0;

	do {
		if (hung_up(console->pty_fd))
			return (uint64_t)unread;
		slave = ioctl(console->pty_fd, TIOCGPTPEER,
			      O_RDWR | O_NOCTTY | O_CLOEXEC);
		if (slave < 0 || ioctl(slave, FIONREAD, &unread) < 0)
			unread = 0;
		if (slave >= 0)
			close(slave);
	} while (unread && wait_for(-1, deadline, 5 * NS_PER_MS, stop_fd));
	return (uint64_t)unread;
}

uint64_t console_drain(struct console *console, uint64_t timeout_ns,
		       int stop_fd)
{
	const uint64_t now = now_ns();
	const uint64_t deadline =
		timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
	struct console_end *out = &console->out;
	const uint8_t *data;
	ssize_t written;
	size_t len;

	while (out->source.fd >= 0) {
		len = serial_output_peek(console->serial, &data);
		if (!len)
			break;
		written = console_end_write(out, data, len);
		if (written > 0)
			serial_output_consume(console->serial, (size_t)written);
		else if (written != -EAGAIN ||
			 !wait_for(out->source.fd, deadline, NS_PER_S, stop_fd))
			return serial_output_waiting(console->serial);
	}
	if (console->kind == CONSOLE_PTY && out->source.fd >= 0) {
		/* What was written is on its way through a work queue. */
		wait_for(-1, deadline, 5 * NS_PER_MS, stop_fd);
		return drain_pty(console, deadline, stop_fd);
	}
	return serial_output_waiting(console->serial);
}
