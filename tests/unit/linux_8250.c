/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/linux_8250.h"

static void clear_fifos(void)
{
	out(FCR, FCR_ENABLE);
	out(FCR, FCR_ENABLE | FCR_CLEAR);
	out(FCR, 0);
}

/* Anything there at all, and do its modem lines follow MCR in loopback? */
static void linux_autoconfig_presence(void)
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
static void linux_autoconfig_superio(void)
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
static void linux_autoconfig_kind(void)
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

void linux_autoconfig(void)
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
void linux_startup(void)
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

void linux_shutdown(void)
{
	out(IER, 0);
	out(MCR, 0);
	clear_fifos();
	in(RX);
}

/* serial8250_console_write: polled, with the interrupts put aside. */
void linux_printk(const char *text)
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

/*
 * serial8250_interrupt with serial8250_handle_irq: until nothing is pending, or
 * PASS_LIMIT rounds have passed; then only another edge brings it back.
 */
void linux_interrupt(struct tty *tty)
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
