/*
 * Raw mode for the terminal that mote is run in, and its way back.
 *
 * The settings found by the first tty_raw are what tty_restore puts back. It
 * may be called from a signal handler at any moment: a flag that is set before
 * the terminal is changed says whether there is anything to put back, and all
 * calls used are async-signal-safe (POSIX.1-2017, 2.4.3).
 *
 * A process in the background must not touch the terminal: the kernel would
 * stop it with SIGTTOU, and the shell has set its own modes by then.
 *
 * Main thread, and handlers of fatal signals in any thread.
 */
#include "cpu/console/tty.h"

#include "mem/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct termios saved;
static _Atomic int raw_fd = -1;
static _Atomic pid_t group; /* ours: known once, as the sandbox has no call */

bool tty_is_ours(int fd)
{
	const pid_t owner = tcgetpgrp(fd);

	if (!group)
		group = getpgrp();
	/* Not our controlling terminal: no job control, nobody stops us. */
	return owner < 0 || owner == group;
}

int tty_raw(int fd)
{
	struct termios settings;
	int error;

	if (!tty_is_ours(fd))
		return -EAGAIN;
	if (tcgetattr(fd, &settings) < 0)
		goto failed;
	/* Still in force after SIGSTOP and SIGCONT: keep what came before. */
	if (raw_fd < 0) {
		saved = settings;
		raw_fd = fd;
	}
	cfmakeraw(&settings);
	if (tcsetattr(fd, TCSANOW, &settings) < 0)
		goto failed;
	log_set_raw(isatty(STDERR_FILENO));
	return 0;
failed:
	error = errno;
	raw_fd = -1;
	log_error("cannot set the terminal to raw mode: %s", strerror(error));
	return -error;
}

void tty_restore(void)
{
	const int error = errno;
	const int fd = atomic_exchange(&raw_fd, -1);

	if (fd >= 0) {
		log_set_raw(false);
		if (tty_is_ours(fd))
			tcsetattr(fd, TCSANOW, &saved);
	}
	errno = error;
}
