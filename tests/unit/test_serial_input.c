/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/uart.c mem/log.c mem/state.c */
/* uses: tests/unit/serial_help.c tests/unit/linux_8250.c */
/*
 * The serial port as a receiver: nothing that the host sends is lost, whatever
 * the guest's driver does; and its registers.
 */
#include "tests/unit/linux_8250.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static size_t input_room(void)
{
	const size_t waiting = serial.input_count - serial.fifo_count;

	return waiting < UART_INPUT_QUEUE ? UART_INPUT_QUEUE - waiting : 0;
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
	assert_int_equal(uart_counter(&serial, SERIAL_IN_BYTES), 22);
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
	for (int c = '1'; c <= '8'; c++) {
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
		assert_int_equal(input_room() > 0, 1);
		do {
			took = uart_input(&serial, text + offered,
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
	assert_int_equal(uart_counter(&serial, SERIAL_IN_BYTES), size);
	free(text);
}

static void test_input_room(void **state)
{
	uint8_t data[UART_INPUT_QUEUE + 1] = { 0 };

	(void)state;
	assert_int_equal(input_room(), UART_INPUT_QUEUE);
	assert_int_equal(uart_input(&serial, data, sizeof(data)),
			 UART_INPUT_QUEUE);
	assert_int_equal(input_room(), 0);
	assert_int_equal(uart_input(&serial, data, 1), 0);
	assert_false(event());
	/* The FIFO takes 16 of them; put back, they still have a place. */
	out(FCR, FCR_ENABLE);
	out(IER, IER_RDI);
	assert_int_equal(input_room(), 16);
	assert_int_equal(uart_input(&serial, data, 16), 16);
	out(IER, 0);
	out(FCR, FCR_ENABLE | FCR_CLEAR);
	assert_int_equal(input_room(), 0);
	assert_int_equal(in(LSR)&LSR_DR, 0);
	out(IER, IER_RDI);
	for (unsigned i = 0; i < UART_INPUT_QUEUE + 16; i++) {
		assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
		in(RX);
	}
	assert_int_equal(in(LSR)&LSR_DR, 0);
	assert_false(event()); /* the last offer was taken whole */
}

/* PC16550D, FIFO control register: changing FCR's bit 0 empties the FIFOs. */
static void test_fifo_toggle(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE);
	out(MCR, MCR_LOOP);
	out(TX, 'a');
	assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
	out(FCR, FCR_ENABLE);
	assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
	out(FCR, 0);
	assert_int_equal(in(LSR)&LSR_DR, 0);
	out(TX, 'b');
	out(FCR, FCR_CLEAR); /* without bit 0 the others do nothing */
	assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
	out(FCR, FCR_ENABLE);
	assert_int_equal(in(LSR)&LSR_DR, 0);
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
	assert_int_equal(uart_output_waiting(&serial), 0);
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
	assert_int_equal(uart_output_waiting(&serial), 0);
	out(MCR, 0xeb);
	assert_int_equal(in(MCR), 0x0b);
	out(LSR, 0xff);
	out(MSR, 0xff);
	assert_int_equal(in(LSR), LSR_EMPTY);
	assert_int_equal(in(MSR), 0xb0);
	/* outw and outl: each byte to its register. */
	uart_bus_ops.write(&serial, LCR, (const uint8_t[]){ 0x1b, 0x03 }, 2);
	assert_int_equal(in(LCR), 0x1b);
	assert_int_equal(in(MCR), 0x03);
	uart_bus_ops.read(&serial, 0, wide, 8);
	assert_memory_equal(wide, "\x00\x05\x01\x1b\x03\x60\xb0\xa5", 8);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, serial_setup, serial_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_input_survives_probe),
		TEST(test_receive_interrupts),
		TEST(test_receive_one_by_one),
		TEST(test_priorities),
		TEST(test_polled_receive),
		TEST(test_large_input),
		TEST(test_input_room),
		TEST(test_fifo_toggle),
		TEST(test_flow_control),
		TEST(test_loopback),
		TEST(test_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
