/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linux's driver for the serial port, as far as the registers see it
 * (drivers/tty/serial/8250/8250_port.c of 6.1).
 */
#ifndef TESTS_UNIT_LINUX_8250_H
#define TESTS_UNIT_LINUX_8250_H

#include "tests/unit/serial_help.h"

/* The kernel finds the port, and a 16550A in it. */
void linux_autoconfig(void);

/* A program opens the tty, and closes it. */
void linux_startup(void);
void linux_shutdown(void);

/* The kernel's console prints. */
void linux_printk(const char *text);

/* The tty layer's buffer, and what the guest's user has received. */
struct tty {
	const char *send;
	size_t left;
	char got[64];
	size_t got_len;
};

/* What an interrupt makes it do. */
void linux_interrupt(struct tty *tty);

#endif
