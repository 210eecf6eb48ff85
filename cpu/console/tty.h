/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mote's own terminal: its raw mode, the way back from it, which there must be
 * on every way out, and the keys that are not meant for the guest.
 */
#ifndef CPU_CONSOLE_TTY_H
#define CPU_CONSOLE_TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Puts `fd`'s terminal into raw mode (every byte as it is, both ways; no echo,
 * no signals from keys) after remembering the settings. 0; -EAGAIN where the
 * terminal belongs to another process group just now (not an error, not
 * logged); -errno, logged.
 */
int tty_raw(int fd);

/*
 * Puts back what tty_raw changed; nothing where it did not, or where the
 * terminal belongs to somebody else by now. Async-signal-safe: for exit paths
 * and for handlers of fatal signals. Leaves errno.
 */
void tty_restore(void);

/* Whether this process may read `fd`'s terminal without being stopped. */
bool tty_is_ours(int fd);

/* What is typed after Ctrl-A is for mote. */
struct tty_escape {
	bool begun;		    /* Ctrl-A came; the next byte says what */
	void (*on_quit)(void *arg); /* Ctrl-A x; or NULL */
	void *arg;
};

/* Takes these keys out of what was typed, and obeys; returns what is left. */
size_t tty_filter(struct tty_escape *escape, uint8_t *data, size_t len);

#endif
