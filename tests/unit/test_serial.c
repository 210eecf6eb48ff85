/* uses: cpu/serial.c cpu/serial_line.c mem/log.c */
/*
 * The serial port, driven register by register as Linux's 8250 driver drives
 * one (drivers/tty/serial/8250/8250_port.c of Linux 6.1), and as simpler and
 * ruder guests do.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/serial.h"

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

static struct serial serial;
static int irq_fd;

static uint8_t in(unsigned offset)
{
	uint8_t value;

	serial_bus_ops.read(&serial, offset, &value, 1);
	return value;
}

static void out(unsigned offset, uint8_t value)
{
	serial_bus_ops.write(&serial, offset, &value, 1);
}

static uint64_t taken(int fd)
{
	uint64_t count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static uint64_t irqs(void)
{
	return taken(irq_fd);
}

static bool event(void)
{
	return taken(serial.event_fd) != 0;
}

static size_t give(const char *text)
{
	return serial_input(&serial, (const uint8_t *)text, strlen(text));
}

/* The host takes all output; returns how much, checks against `want`. */
static size_t drain(const char *want)
{
	const uint8_t *data;
	size_t len, total = 0;

	while ((len = serial_output_peek(&serial, &data))) {
		if (want)
			assert_memory_equal(data, want + total, len);
		serial_output_consume(&serial, len);
		total += len;
	}
	return total;
}

static int setup(void **state)
{
	(void)state;
	alarm(60);
	irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return serial_create(&serial, irq_fd);
}

static int teardown(void **state)
{
	(void)state;
	serial_destroy(&serial);
	close(irq_fd);
	return 0;
}

/* -- Linux's driver ------------------------------------------------------- */

static void clear_fifos(void)
{
	out(FCR, FCR_ENABLE);
	out(FCR, FCR_ENABLE | FCR_CLEAR);
	out(FCR, 0);
}

static void linux_autoconfig(void)
{
	uint8_t saved_mcr, saved_lcr, first, second;

	/* Is there anything? */
	out(IER, 0);
	assert_int_equal(in(IER)&0x0f, 0);
	out(IER, 0x0f);
	assert_int_equal(in(IER), 0x0f);
	out(IER, 0);

	/* Modem lines in loopback. */
	saved_mcr = in(MCR);
	saved_lcr = in(LCR);
	out(MCR, MCR_LOOP | MCR_OUT2 | MCR_RTS);
	assert_int_equal(in(MSR)&0xf0, 0x90);
	out(MCR, saved_mcr);

	/* An EFR? No 16650 or later. */
	out(LCR, 0xbf);
	out(2, 0);
	out(LCR, 0);
	out(FCR, FCR_ENABLE);
	assert_int_equal(in(IIR) >> 6, 3); /* 16550A */
	out(LCR, 0x80);
	assert_int_not_equal(in(2), 0);
	out(LCR, 0xbf);
	assert_int_not_equal(in(2), 0);

	/* A National Semiconductor SuperIO shows MCR in register 2. */
	out(LCR, 0);
	first = in(MCR);
	out(LCR, 0xe0);
	second = in(2);
	assert_int_equal((first ^ second) & MCR_LOOP, 0);
	out(LCR, 0);
	out(MCR, first ^ MCR_LOOP);
	out(LCR, 0xe0);
	second = in(2);
	out(LCR, 0);
	out(MCR, first);
	assert_int_equal((first ^ second) & MCR_LOOP, 0);

	/* The 64 byte FIFO of a 16750? */
	out(FCR, FCR_ENABLE);
	first = in(IIR) >> 5;
	out(FCR, FCR_ENABLE);
	out(LCR, 0x80);
	out(FCR, FCR_ENABLE | 0x20);
	second = in(IIR) >> 5;
	out(FCR, FCR_ENABLE);
	out(LCR, 0);
	assert_int_equal(first, 6);
	assert_int_equal(second, 6);

	/* The UUE bit of an XScale? */
	out(IER, 0x40);
	assert_int_equal(in(IER)&0x40, 0);

	out(LCR, saved_lcr);
	out(MCR, saved_mcr);
	clear_fifos();
	in(RX);
	out(IER, 0);
}

/* serial8250_do_startup and set_termios: a program opens the tty. */
static void linux_startup(void)
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

static void linux_shutdown(void)
{
	out(IER, 0);
	out(MCR, 0);
	clear_fifos();
	in(RX);
}

/* serial8250_console_write: polled, with the interrupts put aside. */
static void linux_printk(const char *text)
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
static void linux_interrupt(struct tty *tty)
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

static void test_linux_probe(void **state)
{
	(void)state;
	linux_autoconfig();
	linux_startup();
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	linux_shutdown();
	assert_int_equal(serial_counters(&serial).out, 0);
}

/* What comes before the guest's shell is there is not eaten by any probe. */
static void test_input_survives_probe(void **state)
{
	struct tty tty = { 0 };

	(void)state;
	assert_int_equal(give("echo early\nexit\n"), 16);
	linux_printk("booting\r\n");
	linux_autoconfig();
	linux_printk("found a 16550A\r\n");
	linux_startup();
	assert_true(irqs() > 0);
	linux_interrupt(&tty);
	assert_int_equal(tty.got_len, 16);
	assert_memory_equal(tty.got, "echo early\nexit\n", 16);

	/* Closed and opened again: the same. */
	give("abc");
	linux_shutdown();
	give("def");
	linux_startup();
	tty.got_len = 0;
	linux_interrupt(&tty);
	assert_int_equal(tty.got_len, 6);
	assert_memory_equal(tty.got, "abcdef", 6);
	assert_int_equal(serial_counters(&serial).in, 22);
}

/* -- transmit ------------------------------------------------------------- */

static void test_thre_sequence(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	assert_int_equal(irqs(), 0);
	/* Raised by enabling it while THR is empty. */
	out(IER, IER_THRI);
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_THRI);
	/* Ended by that read; and not raised by itself. */
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	assert_int_equal(irqs(), 0);
	/* A byte leaves: raised again; the whole burst is one edge. */
	for (int i = 0; i < 16; i++)
		out(TX, 'a');
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_THRI);
	/* Disabled and enabled: raised again. */
	out(IER, 0);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	out(IER, IER_THRI);
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_THRI);
	/* Enabled while it is enabled: nothing new. */
	out(IER, IER_THRI);
	assert_int_equal(irqs(), 0);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
}

/* A handler that writes THR and never reads IIR gets an edge for each byte. */
static void test_thre_without_iir(void **state)
{
	(void)state;
	out(IER, IER_THRI);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(irqs(), 1);
		out(TX, 'a');
	}
	assert_int_equal(irqs(), 1);
}

static void test_output(void **state)
{
	(void)state;
	linux_printk("hello, ");
	assert_true(event());
	assert_int_equal(serial_output_waiting(&serial), 7);
	linux_printk("world");
	assert_false(event()); /* only when it was empty before */
	assert_int_equal(drain("hello, world"), 12);
	assert_int_equal(serial_output_waiting(&serial), 0);
	linux_printk("!");
	assert_true(event());
	assert_int_equal(drain("!"), 1);
	assert_int_equal(serial_counters(&serial).out, 13);
	assert_int_equal(serial_counters(&serial).dropped, 0);
}

static void test_user_output(void **state)
{
	struct tty tty = { .send = "a line from a program\r\n", .left = 23 };

	(void)state;
	linux_startup();
	irqs();
	out(IER, in(IER) | IER_THRI); /* start_tx */
	assert_int_equal(irqs(), 1);
	linux_interrupt(&tty);
	assert_int_equal(tty.left, 0);
	assert_int_equal(in(IER), IER_RLSI | IER_RDI);
	assert_int_equal(drain("a line from a program\r\n"), 23);
}

/*
 * The reader stalls. Programs in the guest wait, the kernel prints on, then
 * everything arrives in order.
 */
static void test_back_pressure(void **state)
{
	const size_t size = 1000000;
	char *text = malloc(size), *line = malloc(size);
	struct tty tty = { .send = text, .left = size };
	const uint8_t *data;
	size_t stalls = 0, total = 0, len;

	(void)state;
	for (size_t i = 0; i < size; i++)
		text[i] = (char)(i * 7 + i / 251);
	linux_startup();
	irqs();
	out(IER, in(IER) | IER_THRI);
	while (tty.left || serial_output_waiting(&serial)) {
		/* The guest runs only when it is interrupted. */
		if (irqs()) {
			linux_interrupt(&tty);
			continue;
		}
		if (tty.left) {
			/* It waits for us, and says so. */
			assert_in_range(serial_output_waiting(&serial),
					SERIAL_OUTPUT_LOW,
					SERIAL_OUTPUT_HIGH + 16);
			assert_int_equal(in(LSR)&LSR_EMPTY, 0);
			assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
			stalls++;
		}
		len = serial_output_peek(&serial, &data);
		assert_true(len > 0);
		if (len > 1000)
			len = 1000;
		memcpy(line + total, data, len);
		serial_output_consume(&serial, len);
		total += len;
	}
	assert_true(stalls > 10);
	assert_int_equal(total, size);
	assert_memory_equal(line, text, size);
	assert_int_equal(serial_counters(&serial).dropped, 0);
	assert_int_equal(in(IER), IER_RLSI | IER_RDI);
	free(text);
	free(line);
}

/* printk while a program is held back: goes out, and does not let it loose. */
static void test_printk_while_blocked(void **state)
{
	const size_t size = 2 * SERIAL_OUTPUT_RING;
	char *text = malloc(size);
	struct tty tty = { .send = text, .left = size };

	(void)state;
	memset(text, 'u', size);
	linux_startup();
	irqs();
	out(IER, in(IER) | IER_THRI);
	while (irqs())
		linux_interrupt(&tty);
	assert_true(tty.left > 0);
	linux_printk("kernel says\r\n"); /* asserts that it never waits */
	assert_int_equal(in(IER), IER_RLSI | IER_RDI | IER_THRI);
	assert_int_equal(in(LSR)&LSR_EMPTY, 0);
	assert_int_equal(irqs(), 0);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	assert_int_equal(serial_counters(&serial).dropped, 0);
	/* Drained: the program goes on by an interrupt. */
	drain(NULL);
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
	linux_interrupt(&tty);
	assert_int_equal(serial_counters(&serial).dropped, 0);
	free(text);
}

/* Blocked by the kernel's output before a program starts to print. */
static void test_start_while_blocked(void **state)
{
	struct tty tty = { .send = "user", .left = 4 };

	(void)state;
	linux_startup();
	irqs();
	for (unsigned i = 0; i < SERIAL_OUTPUT_RING - 100; i++)
		out(TX, 'k');
	out(IER, in(IER) | IER_THRI);
	assert_int_equal(irqs(), 0);
	assert_int_equal(in(LSR)&LSR_EMPTY, 0);
	/* Not before LOW. */
	serial_output_consume(&serial, SERIAL_OUTPUT_RING / 2 - 100);
	assert_int_equal(serial_output_waiting(&serial), SERIAL_OUTPUT_LOW);
	assert_int_equal(irqs(), 0);
	serial_output_consume(&serial, 1);
	assert_int_equal(irqs(), 1);
	linux_interrupt(&tty);
	assert_int_equal(tty.left, 0);
	/* No interrupt for one that does not transmit any more. */
	for (unsigned i = 0; i < SERIAL_OUTPUT_RING; i++)
		out(TX, 'k');
	irqs();
	drain(NULL);
	assert_int_equal(irqs(), 0);
}

static void test_polled_drop(void **state)
{
	const uint8_t *data;

	(void)state;
	/* Polls LSR, never waits, never an interrupt. */
	for (unsigned i = 0; i < SERIAL_OUTPUT_RING + 1000; i++) {
		assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
		out(TX, i < SERIAL_OUTPUT_RING ? 'a' : 'b');
	}
	assert_int_equal(serial_counters(&serial).out,
			 SERIAL_OUTPUT_RING + 1000);
	assert_int_equal(serial_counters(&serial).dropped, 1000);
	assert_int_equal(serial_output_peek(&serial, &data),
			 SERIAL_OUTPUT_RING);
	for (unsigned i = 0; i < SERIAL_OUTPUT_RING; i++)
		assert_int_equal(data[i], 'a');
	assert_int_equal(irqs(), 0);
	serial_output_consume(&serial, SERIAL_OUTPUT_RING);
	out(TX, 'c');
	assert_int_equal(drain("c"), 1);
}

static void test_ring_wrap(void **state)
{
	uint8_t written = 0, expected = 0;
	const uint8_t *data;
	size_t len;

	(void)state;
	/* Never empty, so that it goes round and round. */
	out(TX, written++);
	for (int turn = 0; turn < 3000; turn++) {
		for (int i = 0; i < 97; i++)
			out(TX, written++);
		for (size_t left = 97; left; left -= len) {
			len = serial_output_peek(&serial, &data);
			assert_true(len > 0);
			if (len > left)
				len = left;
			for (size_t i = 0; i < len; i++)
				assert_int_equal(data[i], expected++);
			serial_output_consume(&serial, len);
		}
		assert_int_equal(serial_output_waiting(&serial), 1);
	}
	assert_int_equal(serial_counters(&serial).dropped, 0);
}

static void test_discard(void **state)
{
	struct tty tty = { .send = "more", .left = 4 };

	(void)state;
	linux_startup();
	for (unsigned i = 0; i < SERIAL_OUTPUT_RING; i++)
		out(TX, 'x');
	out(IER, in(IER) | IER_THRI);
	irqs();
	event();
	/* The reader is gone for good: whoever waits goes on. */
	serial_output_discard(&serial, true);
	assert_int_equal(irqs(), 1);
	linux_interrupt(&tty);
	assert_int_equal(tty.left, 0);
	linux_printk("to nobody");
	assert_int_equal(serial_output_waiting(&serial), 0);
	assert_false(event());
	assert_int_equal(serial_counters(&serial).dropped,
			 SERIAL_OUTPUT_RING + 4 + 9);
	serial_output_discard(&serial, false);
	linux_printk("to somebody");
	assert_true(event());
	assert_int_equal(drain("to somebody"), 11);
}

/* -- receive -------------------------------------------------------------- */

static void test_receive_interrupts(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE | FCR_TRIGGER_8);
	out(IER, IER_RDI);
	assert_int_equal(irqs(), 0);
	assert_int_equal(give("1234567"), 7);
	assert_int_equal(irqs(), 1);
	/* Below the trigger level: the timeout, which has no wait here. */
	assert_int_equal(in(IIR), IIR_FIFO | IIR_TIMEOUT);
	assert_int_equal(give("8"), 1);
	assert_int_equal(irqs(), 1); /* an edge of its own */
	assert_int_equal(in(IIR), IIR_FIFO | IIR_RDI);
	for (char c = '1'; c <= '8'; c++) {
		assert_int_equal(in(LSR), LSR_EMPTY | LSR_DR);
		assert_int_equal(in(RX), c);
	}
	assert_int_equal(in(LSR), LSR_EMPTY);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	assert_int_equal(in(RX), 0);
	assert_int_equal(irqs(), 0);
}

/* One byte for each interrupt, no FIFO: the next one is an edge again. */
static void test_receive_one_by_one(void **state)
{
	(void)state;
	out(IER, IER_RDI);
	give("slowly");
	for (const char *c = "slowly"; *c; c++) {
		assert_int_equal(irqs(), 1);
		assert_int_equal(in(IIR), IIR_RDI);
		assert_int_equal(in(RX), *c);
	}
	assert_int_equal(irqs(), 0);
}

static void test_priorities(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE);
	/* In loopback: overrun, data and modem lines by our own doing. */
	out(MCR, MCR_LOOP);
	for (int i = 0; i < 17; i++)
		out(TX, (uint8_t)i);
	out(MCR, MCR_LOOP | MCR_RTS);
	out(IER, IER_RDI | IER_THRI | IER_RLSI | IER_MSI);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_RLSI);
	assert_int_equal(in(LSR), LSR_EMPTY | LSR_DR | LSR_OE);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_RDI);
	for (int i = 0; i < 16; i++)
		assert_int_equal(in(RX), i);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_THRI);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_MSI);
	in(MSR);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
}

/* A guest without interrupts: data come once it polls for them. */
static void test_polled_receive(void **state)
{
	int polls = 0;

	(void)state;
	give("xyz");
	while (!(in(LSR)&LSR_DR))
		assert_true(++polls < 100);
	assert_int_equal(in(RX), 'x');
	/* No FIFO is enabled: one byte at a time. */
	assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
	assert_int_equal(in(RX), 'y');
	assert_int_equal(in(RX), 'z');
	assert_int_equal(in(LSR)&LSR_DR, 0);
	assert_int_equal(in(IIR), IIR_NO_INT);
}

/* 10 MB through a 16 byte FIFO, all of it. */
static void test_large_input(void **state)
{
	const size_t size = 10 << 20;
	uint8_t *text = malloc(size);
	size_t offered = 0, got = 0, took;

	(void)state;
	for (size_t i = 0; i < size; i++)
		text[i] = (uint8_t)(i * 13 + i / 241);
	linux_startup();
	irqs();
	event();
	while (got < size) {
		/* Until there is no more room; then not before the event. */
		assert_int_equal(serial_input_room(&serial) > 0, 1);
		do {
			took = serial_input(&serial, text + offered,
					    size - offered);
			offered += took;
		} while (took);
		assert_true(irqs() > 0 || offered == size);
		for (bool again = false; !again && got < size;) {
			assert_false(in(IIR)&IIR_NO_INT);
			for (int i = 0; i < 256 && in(LSR)&LSR_DR; i++) {
				if (in(RX) != text[got++])
					fail_msg("byte %zu differs", got - 1);
			}
			again = event();
			assert_true(again || got == size ||
				    !(in(IIR)&IIR_NO_INT));
		}
	}
	assert_int_equal(offered, size);
	assert_int_equal(in(LSR)&LSR_DR, 0);
	assert_int_equal(serial_counters(&serial).in, size);
	free(text);
}

static void test_input_room(void **state)
{
	uint8_t data[SERIAL_INPUT_QUEUE + 1] = { 0 };

	(void)state;
	assert_int_equal(serial_input_room(&serial), SERIAL_INPUT_QUEUE);
	assert_int_equal(serial_input(&serial, data, sizeof(data)),
			 SERIAL_INPUT_QUEUE);
	assert_int_equal(serial_input_room(&serial), 0);
	assert_int_equal(serial_input(&serial, data, 1), 0);
	assert_false(event());
	/* The FIFO takes 16 of them; put back, they still have a place. */
	out(FCR, FCR_ENABLE);
	out(IER, IER_RDI);
	assert_int_equal(serial_input_room(&serial), 16);
	assert_int_equal(serial_input(&serial, data, 16), 16);
	out(IER, 0);
	out(FCR, FCR_ENABLE | FCR_CLEAR);
	assert_int_equal(serial_input_room(&serial), 0);
	assert_int_equal(in(LSR)&LSR_DR, 0);
	out(IER, IER_RDI);
	for (unsigned i = 0; i < SERIAL_INPUT_QUEUE + 16; i++) {
		assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
		in(RX);
	}
	assert_int_equal(in(LSR)&LSR_DR, 0);
	assert_false(event()); /* the last offer was taken whole */
}

/* `stty crtscts` in the guest: it takes RTS away when its buffers are full. */
static void test_flow_control(void **state)
{
	(void)state;
	linux_startup();
	give("abc");
	assert_int_equal(in(RX), 'a');
	out(MCR, MCR_OUT2 | 0x01);
	give("def");
	assert_int_equal(in(RX), 'b');
	assert_int_equal(in(RX), 'c');
	assert_int_equal(in(LSR)&LSR_DR, 0);
	irqs();
	out(MCR, MCR_OUT2 | MCR_RTS | 0x01);
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(RX), 'd');
}

/* -- registers ------------------------------------------------------------ */

static void test_loopback(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE);
	out(IER, IER_RDI);
	give("host");
	out(MCR, MCR_LOOP);
	/* The line is cut in both directions. */
	assert_int_equal(in(LSR)&LSR_DR, 0);
	out(TX, 'l');
	out(TX, 'o');
	assert_int_equal(serial_output_waiting(&serial), 0);
	assert_int_equal(in(RX), 'l');
	/* All modem lines follow MCR. */
	assert_int_equal(in(MSR), 0x0b); /* CTS, DSR, DCD went off */
	out(MCR, MCR_LOOP | 0x0f);
	assert_int_equal(in(MSR), 0xfb);
	out(MCR, MCR_LOOP | 0x0b);
	assert_int_equal(in(MSR), 0xb4); /* RI: its trailing edge */
	out(MCR, 0);
	assert_int_equal(in(MSR), 0xb0);
	/* What is left comes first, then the host's bytes, all of them. */
	assert_int_equal(in(RX), 'o');
	for (const char *c = "host"; *c; c++)
		assert_int_equal(in(RX), *c);
}

static void test_registers(void **state)
{
	uint8_t wide[8];

	(void)state;
	out(SCR, 0xa5);
	assert_int_equal(in(SCR), 0xa5);
	out(IER, 0xf5);
	assert_int_equal(in(IER), 0x05);
	out(LCR, 0x83);
	out(0, 0x0c);
	out(1, 0x34);
	assert_int_equal(in(0), 0x0c);
	assert_int_equal(in(1), 0x34);
	out(LCR, 0x03);
	assert_int_equal(in(IER), 0x05);
	assert_int_equal(in(0), 0);
	assert_int_equal(serial_output_waiting(&serial), 0);
	out(MCR, 0xeb);
	assert_int_equal(in(MCR), 0x0b);
	out(LSR, 0xff);
	out(MSR, 0xff);
	assert_int_equal(in(LSR), LSR_EMPTY);
	assert_int_equal(in(MSR), 0xb0);
	/* outw and outl: each byte to its register. */
	serial_bus_ops.write(&serial, LCR, (const uint8_t[]){ 0x1b, 0x03 }, 2);
	assert_int_equal(in(LCR), 0x1b);
	assert_int_equal(in(MCR), 0x03);
	serial_bus_ops.read(&serial, 0, wide, 8);
	assert_memory_equal(wide, "\x00\x05\x01\x1b\x03\x60\xb0\xa5", 8);
}

/* -- threads -------------------------------------------------------------- */

#define THREAD_BYTES 300000

/* Two vCPUs: one prints from the kernel, one from a program. */
static void *kernel_thread(void *arg)
{
	(void)arg;
	for (int i = 0; i < THREAD_BYTES; i++) {
		in(LSR);
		in(SCR);
	}
	return NULL;
}

static void *program_thread(void *arg)
{
	struct pollfd irq = { .fd = irq_fd, .events = POLLIN };
	struct tty *tty = arg;

	out(IER, IER_RLSI | IER_RDI | IER_THRI);
	while (tty->left) {
		if (poll(&irq, 1, 10000) != 1)
			break; /* the host's end forgot us */
		irqs();
		linux_interrupt(tty);
	}
	return NULL;
}

static void test_threads(void **state)
{
	char *text = malloc(THREAD_BYTES);
	struct tty tty = { .send = text, .left = THREAD_BYTES };
	pthread_t kernel, program;
	struct pollfd woken = { .fd = serial.event_fd, .events = POLLIN };
	size_t total = 0, len;
	const uint8_t *data;

	(void)state;
	for (size_t i = 0; i < THREAD_BYTES; i++)
		text[i] = (char)(i * 11 + i / 239);
	linux_startup();
	pthread_create(&kernel, NULL, kernel_thread, NULL);
	pthread_create(&program, NULL, program_thread, &tty);
	while (total < THREAD_BYTES) {
		/* Only by the event do we know that there is something. */
		assert_int_equal(poll(&woken, 1, 10000), 1);
		event();
		while ((len = serial_output_peek(&serial, &data))) {
			assert_true(total + len <= THREAD_BYTES);
			assert_memory_equal(data, text + total, len);
			serial_output_consume(&serial, len);
			total += len;
		}
	}
	pthread_join(program, NULL);
	pthread_join(kernel, NULL);
	assert_int_equal(tty.left, 0);
	assert_int_equal(serial_counters(&serial).dropped, 0);
	free(text);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_linux_probe),
		TEST(test_input_survives_probe),
		TEST(test_thre_sequence),
		TEST(test_thre_without_iir),
		TEST(test_output),
		TEST(test_user_output),
		TEST(test_back_pressure),
		TEST(test_printk_while_blocked),
		TEST(test_start_while_blocked),
		TEST(test_polled_drop),
		TEST(test_ring_wrap),
		TEST(test_discard),
		TEST(test_receive_interrupts),
		TEST(test_receive_one_by_one),
		TEST(test_priorities),
		TEST(test_polled_receive),
		TEST(test_large_input),
		TEST(test_input_room),
		TEST(test_flow_control),
		TEST(test_loopback),
		TEST(test_registers),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
