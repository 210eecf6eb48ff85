/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal that mote is run in: raw mode, its way back, and mote's own
 * keys.
 *
 * The settings found by the first tty_raw are what tty_restore puts back. It
 * may be called from a signal handler at any moment: a flag that is set before
 * the terminal is changed says whether there is anything to put back, and all
 * calls used are async-signal-safe (POSIX.1-2017, 2.4.3).
 *
 * A process in the background must not touch the terminal: the kernel would
 * stop it with SIGTTOU, and the shell has set its own modes by then.
 *
 * What raw mode changes is process-wide, because handlers need it. Trusts what
 * is typed. Main thread, and handlers of fatal signals in any thread.
 */
#include "cpu/console/tty.h"

#include "mem/log.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#define ESCAPE_KEY 0x01 /* Ctrl-A */

static struct termios tty_saved;
static _Atomic int tty_raw_fd = -1;
/* mote's group is asked for once: the sandbox has no call for it. */
static _Atomic pid_t tty_group;

static const char tty_help[] =
	"\r\nmote: Ctrl-A x  ends the guest (with --exec: the command)\r\n"
	"      Ctrl-A a  (or Ctrl-A twice) sends a Ctrl-A to the guest\r\n"
	"      Ctrl-A h  shows this\r\n";

bool tty_is_ours(int fd)
{
	const pid_t owner = tcgetpgrp(fd);

	if (!tty_group)
		tty_group = getpgrp();
	/* Not our controlling terminal: no job control, nobody stops us. */
	return owner < 0 || owner == tty_group;
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
	if (tty_raw_fd < 0) {
		tty_saved = settings;
		tty_raw_fd = fd;
	}
	cfmakeraw(&settings);
	if (tcsetattr(fd, TCSANOW, &settings) < 0)
		goto failed;
	log_set_raw(isatty(STDERR_FILENO));
	return 0;
failed:
	error = errno;
	tty_raw_fd = -1;
	log_error("cannot set the terminal to raw mode: %s", strerror(error));
	return -error;
}

void tty_restore(void)
{
	const int error = errno;
	const int fd = atomic_exchange(&tty_raw_fd, -1);

	if (fd >= 0) {
		log_set_raw(false);
		if (tty_is_ours(fd))
			tcsetattr(fd, TCSANOW, &tty_saved);
	}
	errno = error;
}

size_t tty_filter(struct tty_escape *escape, uint8_t *data, size_t len)
{
	size_t kept = 0;

	for (size_t i = 0; i < len; i++) {
		const uint8_t byte = data[i];

		if (!escape->begun) {
			escape->begun = byte == ESCAPE_KEY;
			if (!escape->begun)
				data[kept++] = byte;
			continue;
		}
		escape->begun = false;
		if (byte == ESCAPE_KEY || byte == 'a') {
			data[kept++] = ESCAPE_KEY;
		} else if (byte == 'x') {
			if (escape->on_quit)
				escape->on_quit(escape->arg);
		} else if (byte == 'h' || byte == '?') {
			log_write(tty_help, sizeof(tty_help) - 1);
		}
	}
	return kept;
}
