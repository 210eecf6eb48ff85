/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/uart.c mem/log.c mem/state.c */
/* uses: tests/unit/serial_help.c tests/unit/linux_8250.c */
/*
 * The serial port as a transmitter, driven register by register as Linux drives
 * one, and as ruder guests do: interrupts, back-pressure, what is dropped.
 */
#include "tests/unit/linux_8250.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void test_linux_probe(void **state)
{
	(void)state;
	linux_autoconfig();
	linux_startup();
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	linux_shutdown();
	assert_int_equal(uart_counter(&serial, SERIAL_OUT_BYTES), 0);
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

/* A driver of that kind that follows one of the other kind. */
static void test_thre_driver_changes(void **state)
{
	(void)state;
	out(IER, IER_THRI);
	assert_int_equal(in(IIR), IIR_THRI);
	out(TX, 'a');
	irqs();
	out(TX, 'a');
	assert_int_equal(irqs(), 0); /* it is pending still */
	out(IER, 0);
	out(IER, IER_THRI);
	assert_int_equal(irqs(), 1);
	out(TX, 'a');
	assert_int_equal(irqs(), 1);
}

static void test_output(void **state)
{
	(void)state;
	linux_printk("hello, ");
	assert_true(event());
	assert_int_equal(uart_output_waiting(&serial), 7);
	linux_printk("world");
	assert_false(event()); /* only when it was empty before */
	assert_int_equal(drain_port("hello, world"), 12);
	assert_int_equal(uart_output_waiting(&serial), 0);
	linux_printk("!");
	assert_true(event());
	assert_int_equal(drain_port("!"), 1);
	assert_int_equal(uart_counter(&serial, SERIAL_OUT_BYTES), 13);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
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
	assert_int_equal(drain_port("a line from a program\r\n"), 23);
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
	while (tty.left || uart_output_waiting(&serial)) {
		/* The guest runs only when it is interrupted. */
		if (irqs()) {
			linux_interrupt(&tty);
			continue;
		}
		if (tty.left) {
			/* It waits for us, and says so. */
			assert_in_range(uart_output_waiting(&serial),
					UART_OUTPUT_LOW, UART_OUTPUT_HIGH + 16);
			assert_int_equal(in(LSR)&LSR_EMPTY, 0);
			assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
			stalls++;
		}
		len = uart_output_peek(&serial, &data);
		assert_true(len > 0);
		if (len > 1000)
			len = 1000;
		memcpy(line + total, data, len);
		uart_output_consume(&serial, len);
		total += len;
	}
	assert_true(stalls > 10);
	assert_int_equal(total, size);
	assert_memory_equal(line, text, size);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	assert_int_equal(in(IER), IER_RLSI | IER_RDI);
	free(text);
	free(line);
}

/* printk while a program is held back: goes out, and does not let it loose. */
static void test_printk_while_blocked(void **state)
{
	const size_t size = 2 * UART_OUTPUT_RING;
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
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	/* Drained: the program goes on by an interrupt. */
	drain_port(NULL);
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
	linux_interrupt(&tty);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	free(text);
}

/* Blocked by the kernel's output before a program starts to print. */
static void test_start_while_blocked(void **state)
{
	struct tty tty = { .send = "user", .left = 4 };

	(void)state;
	linux_startup();
	irqs();
	for (unsigned i = 0; i < UART_OUTPUT_RING - 100; i++)
		out(TX, 'k');
	out(IER, in(IER) | IER_THRI);
	assert_int_equal(irqs(), 0);
	assert_int_equal(in(LSR)&LSR_EMPTY, 0);
	/* Not before LOW. */
	uart_output_consume(&serial, UART_OUTPUT_RING / 2 - 100);
	assert_int_equal(uart_output_waiting(&serial), UART_OUTPUT_LOW);
	assert_int_equal(irqs(), 0);
	uart_output_consume(&serial, 1);
	assert_int_equal(irqs(), 1);
	linux_interrupt(&tty);
	assert_int_equal(tty.left, 0);
	/* No interrupt for one that does not transmit any more. */
	for (unsigned i = 0; i < UART_OUTPUT_RING; i++)
		out(TX, 'k');
	irqs();
	drain_port(NULL);
	assert_int_equal(irqs(), 0);
}

static void test_polled_drop(void **state)
{
	const uint8_t *data;

	(void)state;
	/* Polls LSR, never waits, never an interrupt. */
	for (unsigned i = 0; i < UART_OUTPUT_RING + 1000; i++) {
		assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
		out(TX, i < UART_OUTPUT_RING ? 'a' : 'b');
	}
	assert_int_equal(uart_counter(&serial, SERIAL_OUT_BYTES),
			 UART_OUTPUT_RING + 1000);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 1000);
	assert_int_equal(uart_output_peek(&serial, &data), UART_OUTPUT_RING);
	for (unsigned i = 0; i < UART_OUTPUT_RING; i++)
		assert_int_equal(data[i], 'a');
	assert_int_equal(irqs(), 0);
	uart_output_consume(&serial, UART_OUTPUT_RING);
	out(TX, 'c');
	assert_int_equal(drain_port("c"), 1);
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
			len = uart_output_peek(&serial, &data);
			assert_true(len > 0);
			if (len > left)
				len = left;
			for (size_t i = 0; i < len; i++)
				assert_int_equal(data[i], expected++);
			uart_output_consume(&serial, len);
		}
		assert_int_equal(uart_output_waiting(&serial), 1);
	}
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
}

static void test_discard(void **state)
{
	struct tty tty = { .send = "more", .left = 4 };

	(void)state;
	linux_startup();
	for (unsigned i = 0; i < UART_OUTPUT_RING; i++)
		out(TX, 'x');
	out(IER, in(IER) | IER_THRI);
	irqs();
	event();
	/* The reader is gone for good: whoever waits goes on. */
	uart_set_reader(&serial, UART_READER_GONE);
	assert_int_equal(irqs(), 1);
	linux_interrupt(&tty);
	assert_int_equal(tty.left, 0);
	linux_printk("to nobody");
	assert_int_equal(uart_output_waiting(&serial), 0);
	assert_false(event());
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES),
			 UART_OUTPUT_RING + 4 + 9);
	uart_set_reader(&serial, UART_READER_THERE);
	linux_printk("to somebody");
	assert_true(event());
	assert_int_equal(drain_port("to somebody"), 11);
}

/* What came last is kept for the reader, and nobody waits for him. */
static void test_awaited(void **state)
{
	struct tty tty = { .send = "more", .left = 4 };
	const uint8_t *data;

	(void)state;
	linux_startup();
	for (unsigned i = 0; i < UART_OUTPUT_RING; i++)
		out(TX, 'x');
	out(IER, in(IER) | IER_THRI);
	irqs();
	event();
	uart_set_reader(&serial, UART_READER_AWAITED);
	assert_int_equal(irqs(), 1);
	linux_interrupt(&tty);
	assert_int_equal(tty.left, 0);
	for (unsigned i = 0; i < 3 * UART_OUTPUT_RING + 5; i++)
		out(TX, 'y');
	linux_printk("the last");
	assert_false(event());
	assert_int_equal(uart_output_waiting(&serial), 0);
	assert_int_equal(uart_output_peek(&serial, &data), 0);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES),
			 3 * UART_OUTPUT_RING + 4 + 5 + 8);
	uart_set_reader(&serial, UART_READER_THERE);
	assert_int_equal(uart_output_waiting(&serial), UART_OUTPUT_RING);
	/* He has not taken it yet: the guest waits, as for any reader. */
	out(IER, in(IER) | IER_THRI);
	assert_int_equal(in(LSR)&LSR_EMPTY, 0);
	uart_output_consume(&serial, UART_OUTPUT_RING - 10);
	assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
	assert_int_equal(drain_port("yythe last"), 10);
	linux_printk("again");
	assert_true(event());
	assert_int_equal(drain_port("again"), 5);
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
		while ((len = uart_output_peek(&serial, &data))) {
			assert_true(total + len <= THREAD_BYTES);
			assert_memory_equal(data, text + total, len);
			uart_output_consume(&serial, len);
			total += len;
		}
	}
	pthread_join(program, NULL);
	pthread_join(kernel, NULL);
	assert_int_equal(tty.left, 0);
	assert_int_equal(uart_counter(&serial, SERIAL_DROPPED_BYTES), 0);
	free(text);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, serial_setup, serial_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_linux_probe),
		TEST(test_thre_sequence),
		TEST(test_thre_without_iir),
		TEST(test_thre_driver_changes),
		TEST(test_output),
		TEST(test_user_output),
		TEST(test_back_pressure),
		TEST(test_printk_while_blocked),
		TEST(test_start_while_blocked),
		TEST(test_polled_drop),
		TEST(test_ring_wrap),
		TEST(test_discard),
		TEST(test_awaited),
		TEST(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
