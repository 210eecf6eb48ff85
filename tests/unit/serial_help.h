/*
 * What the serial port's tests share: the port, and Linux's driver for it, as
 * far as the registers see it (drivers/tty/serial/8250/8250_port.c of 6.1).
 */
#ifndef TESTS_SERIAL_HELP_H
#define TESTS_SERIAL_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

static struct uart serial;
static int irq_fd;

static inline uint8_t in(unsigned offset)
{
	uint8_t value;

	uart_bus_ops.read(&serial, offset, &value, 1);
	return value;
}

static inline void out(unsigned offset, uint8_t value)
{
	uart_bus_ops.write(&serial, offset, &value, 1);
}

static inline uint64_t taken(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static inline uint64_t irqs(void)
{
	return taken(irq_fd);
}

static inline bool event(void)
{
	return taken(serial.event_fd) != 0;
}

static inline size_t give(const char *text)
{
	return uart_input(&serial, (const uint8_t *)text, strlen(text));
}

/* The host takes all output; returns how much, checks against `want`. */
static inline size_t drain(const char *want)
{
	const uint8_t *data;
	size_t len, total = 0;

	while ((len = uart_output_peek(&serial, &data))) {
		if (want)
			assert_memory_equal(data, want + total, len);
		uart_output_consume(&serial, len);
		total += len;
	}
	return total;
}

static inline int setup(void **state)
{
	(void)state;
	alarm(60);
	irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return uart_create(&serial, irq_fd);
}

static inline int teardown(void **state)
{
	(void)state;
	uart_destroy(&serial);
	close(irq_fd);
	return 0;
}

/* -- Linux's driver ------------------------------------------------------- */

static inline void clear_fifos(void)
{
	out(FCR, FCR_ENABLE);
	out(FCR, FCR_ENABLE | FCR_CLEAR);
	out(FCR, 0);
}

/* Anything there at all, and do its modem lines follow MCR in loopback? */
static inline void linux_autoconfig_presence(void)
{
	const uint8_t mcr = in(MCR);

	out(IER, 0);
	assert_int_equal(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	assert_int_equal(in(IER), 0x0f);
	out(IER, 0);
	out(MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, mcr);
}

/* A National Semiconductor SuperIO shows MCR in register 2. */
static inline void linux_autoconfig_superio(void)
{
	uint8_t mcr, shown;

	out(LCR, 0);
	mcr = in(MCR);
	out(LCR, 0xe0);
	shown = in(2);
	assert_int_equal((mcr ^ shown) & MCR_LOOP, 0);
	out(LCR, 0);
	out(MCR, mcr ^ MCR_LOOP);
	out(LCR, 0xe0);
	shown = in(2);
	out(LCR, 0);
	out(MCR, mcr);
	assert_int_equal((mcr ^ shown) & MCR_LOOP, 0);
}

/* A 16550A it is, and none of those that came after it. */
static inline void linux_autoconfig_kind(void)
{
	uint8_t before, after;

	out(LCR, 0xbf);
	out(2, 0);
	out(LCR, 0);
	out(FCR, FCR_ENABLE);
	assert_int_equal(in(IIR) >> 6, 3);
	/* No EFR: no 16650 or later. */
	out(LCR, 0x80);
	assert_int_not_equal(in(2), 0);
	out(LCR, 0xbf);
	assert_int_not_equal(in(2), 0);
	linux_autoconfig_superio();
	/* The 64 byte FIFO of a 16750? */
	out(FCR, FCR_ENABLE);
	before = in(IIR) >> 5;
	out(FCR, FCR_ENABLE);
	out(LCR, 0x80);
	out(FCR, FCR_ENABLE | 0x20);
	after = in(IIR) >> 5;
	out(FCR, FCR_ENABLE);
	out(LCR, 0);
	assert_int_equal(before, 6);
	assert_int_equal(after, 6);
	/* The UUE bit of an XScale? */
	out(IER, 0x40);
	assert_int_equal(in(IER)&0x40, 0);
}

static inline void linux_autoconfig(void)
{
	const uint8_t mcr = in(MCR), lcr = in(LCR);

	linux_autoconfig_presence();
	linux_autoconfig_kind();
	out(LCR, lcr);
	out(MCR, mcr);
	clear_fifos();
	in(RX);
	out(IER, 0);
}

/* serial8250_do_startup and set_termios: a program opens the tty. */
static inline void linux_startup(void)
{
	uint8_t first, lsr;

	clear_fifos();
	in(LSR);
	in(RX);
	in(IIR);
	in(MSR);
	assert_int_not_equal(in(LSR), 0xff);

	/* Must not look like a UART with UART_BUG_THRE ... */
	out(IER, IER_THRI);
	first = in(IIR);
	out(IER, 0);
	out(IER, IER_THRI);
	assert_false(!(first & IIR_NO_INT) && in(IIR)&IIR_NO_INT);
	out(IER, 0);

	out(LCR, 0x03);
	out(MCR, MCR_OUT2);
	/* ... nor UART_BUG_TXEN. */
	out(IER, IER_THRI);
	lsr = in(LSR);
	assert_false((lsr & 0x40) && (in(IIR)&IIR_NO_INT));
	out(IER, 0);

	in(LSR);
	in(RX);
	in(IIR);
	in(MSR);

	out(IER, IER_RLSI | IER_RDI);
	out(LCR, 0x83);
	out(0, 1);
	out(1, 0);
	out(LCR, 0x03);
	out(FCR, FCR_ENABLE);
	out(FCR, FCR_ENABLE | FCR_TRIGGER_8);
	out(MCR, MCR_OUT2 | MCR_RTS | 0x01);
}

static inline void linux_shutdown(void)
{
	out(IER, 0);
	out(MCR, 0);
	clear_fifos();
	in(RX);
}

/* serial8250_console_write: polled, with the interrupts put aside. */
static inline void linux_printk(const char *text)
{
	const uint8_t ier = in(IER);

	out(IER, 0);
	for (; *text; text++) {
		assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
		out(TX, (uint8_t)*text);
	}
	assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
	out(IER, ier);
}

/* The tty layer's buffer, and what the guest's user has received. */
struct tty {
	const char *send;
	size_t left;
	char got[64];
	size_t got_len;
};

/*
 * serial8250_interrupt with serial8250_handle_irq: until nothing is pending, or
 * PASS_LIMIT rounds have passed; then only another edge brings it back.
 */
static inline void linux_interrupt(struct tty *tty)
{
	uint8_t lsr;

	for (int round = 0; round < 512 && !(in(IIR)&IIR_NO_INT); round++) {
		lsr = in(LSR);
		for (int i = 0; lsr & LSR_DR && i < 256; i++) {
			const char byte = (char)in(RX);

			if (tty->got_len < sizeof(tty->got))
				tty->got[tty->got_len++] = byte;
			lsr = in(LSR);
		}
		in(MSR);
		if (!(lsr & 0x20 && in(IER)&IER_THRI))
			continue;
		for (int i = 0; i < 16 && tty->left; i++, tty->left--)
			out(TX, (uint8_t)*tty->send++);
		if (!tty->left)
			out(IER, in(IER) & ~IER_THRI);
	}
}

#endif
