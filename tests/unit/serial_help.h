/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A serial port as a guest sees it, register by register, and its host's end.
 */
#ifndef TESTS_UNIT_SERIAL_HELP_H
#define TESTS_UNIT_SERIAL_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>

#include "cpu/console/uart.h"

/* include/uapi/linux/serial_reg.h's names and values. */
enum { RX, IER, IIR, LCR, MCR, LSR, MSR, SCR, TX = RX, FCR = IIR };
#define IER_RDI	      0x01
#define IER_THRI      0x02
#define IER_RLSI      0x04
#define IER_MSI	      0x08
#define IIR_NO_INT    0x01
#define IIR_MSI	      0x00
#define IIR_THRI      0x02
#define IIR_RDI	      0x04
#define IIR_RLSI      0x06
#define IIR_TIMEOUT   0x0c
#define IIR_FIFO      0xc0
#define FCR_ENABLE    0x01
#define FCR_CLEAR     0x06
#define FCR_TRIGGER_8 0x80
#define MCR_RTS	      0x02
#define MCR_OUT2      0x08
#define MCR_LOOP      0x10
#define LSR_DR	      0x01
#define LSR_OE	      0x02
#define LSR_EMPTY     0x60 /* THRE and TEMT */

extern struct uart serial;
extern int irq_fd;

/* The guest's accesses. */
uint8_t in(unsigned offset);
void out(unsigned offset, uint8_t value);

/* How often the descriptor was written, since the last time. */
uint64_t taken(int fd);
uint64_t irqs(void);
bool event(void);

/* The host sends: how much of it was taken. */
size_t give(const char *text);

/* The host takes all output; returns how much, checks against `want`. */
size_t drain_port(const char *want);

int serial_setup(void **state);
int serial_teardown(void **state);

#endif
