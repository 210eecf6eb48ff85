/*
 * The terminal's raw mode and the way back from it, which there must be on
 * every way out: process-wide state, because signal handlers need it.
 */
#ifndef CPU_CONSOLE_TTY_H
#define CPU_CONSOLE_TTY_H

#include <stdbool.h>

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

#endif
