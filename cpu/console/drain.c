/*
 * The last of the guest's output, after the guest and the loop have ended: it
 * must be out before mote is, and a reader that has stalled must not keep mote
 * for ever against its user's will. Main thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cpu/console/clients.h"
#include "cpu/console/tty.h"

#define NS_PER_S  1000000000u
#define NS_PER_MS 1000000u
#define LINGER_NS 250000000u /* for the reader of a pseudo-terminal */

/* Whether to try again: not after the deadline, nor once `stop_fd` has come. */
static bool wait_for(int fd, uint64_t deadline, uint64_t most_ns, int stop_fd)
{
	struct pollfd fds[] = { { .fd = fd, .events = POLLOUT },
				{ .fd = stop_fd, .events = POLLIN } };
	const uint64_t now = loop_now();
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

/* What the pseudo-terminal's reader has still to read. */
static uint64_t unread(int pty_fd)
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
 * The sandbox has no way to the other end, so what is unread there is not
 * known: a reader who reads gets it all in this time.
 */
static void linger(const struct console *console, uint64_t deadline,
		   int stop_fd)
{
	const uint64_t end = loop_now() + LINGER_NS;

	while (!console_hung_up(console->pty_fd) &&
	       wait_for(-1, end < deadline ? end : deadline, 5 * NS_PER_MS,
			stop_fd))
		;
}

/*
 * Closing a pseudo-terminal's master takes away what its reader has not read
 * yet: wait for that too. Returns what is lost.
 */
static uint64_t drain_pty(const struct console *console, uint64_t deadline,
			  int stop_fd)
{
	uint64_t left;

	if (console->sealed) {
		linger(console, deadline, stop_fd);
		return 0;
	}
	do {
		if (console_hung_up(console->pty_fd))
			return 0; /* it does not want any more */
		left = unread(console->pty_fd);
	} while (left && wait_for(-1, deadline, 5 * NS_PER_MS, stop_fd));
	return left;
}

uint64_t console_drain(struct console *console, uint64_t timeout_ns,
		       int stop_fd)
{
	const uint64_t now = loop_now();
	const uint64_t deadline =
		timeout_ns > UINT64_MAX - now ? UINT64_MAX : now + timeout_ns;
	struct console_end *out = &console->out;
	const uint8_t *data;
	ssize_t written;
	size_t len;

	while (out->source.fd >= 0) {
		len = uart_output_peek(console->serial, &data);
		if (!len)
			break;
		written = console_end_write(out, data, len);
		if (written > 0) {
			uart_output_consume(console->serial, (size_t)written);
			continue;
		}
		/* Who waits must be able to end it with Ctrl-C again. */
		tty_restore();
		if (written != -EAGAIN ||
		    !wait_for(out->source.fd, deadline, NS_PER_S, stop_fd))
			break;
	}
	len = uart_output_waiting(console->serial);
	if (!len && console->kind == CONSOLE_PTY && out->source.fd >= 0)
		return drain_pty(console, deadline, stop_fd);
	return len;
}
