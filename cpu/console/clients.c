/*
 * The serial port's clients, where its host end is a unix socket or a pty.
 *
 * One at a time; the next is waited for when it has left, and output that comes
 * in between is dropped: a program that prints must not hang because nobody
 * looks. What a client sent reaches the guest even if it has left since.
 *
 * unix: connections queue in the kernel; accept() is called while there is no
 * client. pty: POLLHUP says that nobody has the slave open, and inotify when
 * somebody opens it.
 *
 * Main thread. A client may do what it likes: stall, leave, close one half.
 */
#include "cpu/console/clients.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "mem/log.h"

#define ACCEPT_AGAIN_NS 100000000u

bool console_has_clients(const struct console *console)
{
	return console->kind == CONSOLE_UNIX || console->kind == CONSOLE_PTY;
}

bool console_hung_up(int fd)
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

void console_client_left(struct console *console)
{
	uart_output_discard(console->serial, true);
	console_end_close(&console->in, console->loop);
	console_end_close(&console->out, console->loop);
	console->input_over = false;
	if (console->kind == CONSOLE_PTY)
		pty_make_raw(console->pty_fd);
	else
		loop_add(console->loop, &console->wait, EPOLLIN);
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
	console_set_ready(console);
	if (console->kind == CONSOLE_UNIX)
		loop_remove(console->loop, &console->wait);
	uart_output_discard(console->serial, false);
	console_pump_input(console);
}

static void accept_ready(void *arg, uint32_t events)
{
	struct console *console = arg;
	int fd = accept4(console->wait_fd, NULL, NULL,
			 SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)events;
	if (fd >= 0) {
		client_came(console, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
		/* It would be said again at once, and for as long as it is. */
		loop_remove(console->loop, &console->wait);
		console->accept_later = true;
		loop_timer_set(&console->flush, ACCEPT_AGAIN_NS);
	}
}

void console_accept_again(struct console *console)
{
	if (!console->accept_later)
		return;
	console->accept_later = false;
	loop_add(console->loop, &console->wait, EPOLLIN);
}

static void pty_opened(struct console *console)
{
	if (console_hung_up(console->pty_fd))
		return;
	if (console->in.source.fd >= 0) {
		/* Another one, before all that the last had sent was read. */
		uart_output_discard(console->serial, false);
		console_pump_input(console);
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

int console_clients_start(struct console *console)
{
	struct loop_source *wait = &console->wait;
	int error;

	if (!console_has_clients(console))
		return 0;
	*wait = (struct loop_source){ console->wait_fd, accept_ready, console };
	if (console->kind == CONSOLE_PTY) {
		wait->ready = inotify_ready;
		pty_make_raw(console->pty_fd);
	}
	error = loop_add(console->loop, wait, EPOLLIN);
	if (error)
		log_error("serial: epoll: %s", strerror(-error));
	else if (console->kind == CONSOLE_PTY)
		pty_opened(console);
	return error;
}
