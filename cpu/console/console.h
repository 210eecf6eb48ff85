/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of the serial port. Opened before the sandbox closes in,
 * attached to the loop before the vCPUs run. Main thread.
 */
#ifndef CPU_CONSOLE_CONSOLE_H
#define CPU_CONSOLE_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/console/open.h"
#include "cpu/console/tty.h"
#include "cpu/console/uart.h"
#include "cpu/loop/loop.h"

#define CONSOLE_BUFFER 4096

struct console {
	/* The first: not cleared at start. */
	uint8_t input[CONSOLE_BUFFER]; /* read, not yet taken by the guest */
	size_t input_start, input_end;
	bool opened; /* all zero is a console that was never opened */
	struct console_host host;
	struct loop *loop; /* NULL: not started, or stopped */
	struct uart *serial;
	struct loop_source event; /* the serial port's event_fd */
	struct loop_source wait;  /* for clients: host.wait_fd */
	struct loop_timer flush;
	uint64_t flushed_ns; /* when output was last written */
	bool accept_later;   /* there were no descriptors left for a client */
	bool input_over;     /* the client has sent all that it will */
	bool background;     /* the terminal is somebody else's just now */
	struct tty_escape escape;
};

/*
 * These return 0 or -errno, logged. console_open opens the host's side and
 * creates nothing in the loop; it leaves the terminal as it is. After a
 * failure, and at the end in any case, console_close.
 */
int console_open(struct console *console,
		 const struct console_options *options);
int console_start(struct console *console, struct loop *loop,
		  struct uart *serial, struct tty_escape escape);

/* After console_open: bits of enum feature that it needs. */
unsigned console_features(const struct console *console);

/*
 * On SIGTSTP (before mote stops itself) and after SIGCONT: hand the terminal
 * back, and take it again if it is ours (again, or at last: `mote &`, `fg`).
 */
void console_suspend(struct console *console);
void console_resume(struct console *console);

/*
 * After the guest has ended and the loop with it: writes what the ring still
 * holds. Waits for a slow reader for `timeout_ns` at most (UINT64_MAX: for
 * ever), or until `stop_fd` (-1: none) is readable; it is not read. Returns the
 * number of bytes that are lost.
 */
uint64_t console_drain(struct console *console, uint64_t timeout_ns,
		       int stop_fd);

/* Leaves the loop and restores the terminal. Harmless if not started. */
void console_stop(struct console *console);

/* Stops it and closes what console_open opened, the socket's file included. */
void console_close(struct console *console);

#endif
