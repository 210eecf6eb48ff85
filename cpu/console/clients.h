/*
 * Between console.c, which carries the bytes, and console_clients.c, which
 * knows who is there; for these and console_drain.c only.
 */
#ifndef CPU_CONSOLE_CLIENTS_H
#define CPU_CONSOLE_CLIENTS_H

#include "cpu/console/console.h"

/* Whether the other side may come and go: unix and pty. */
bool console_has_clients(const struct console *console);

/* Waits for clients; one may be there already. 0 or -errno, logged. */
int console_clients_start(struct console *console);
void console_client_left(struct console *console);

/* When the timer has expired: tries what failed for want of descriptors. */
void console_accept_again(struct console *console);

bool console_hung_up(int fd);

/* console.c's, for a client that came: `in` and `out` are new. */
void console_set_ready(struct console *console);
void console_pump_input(struct console *console);

#endif
