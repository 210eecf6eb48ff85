/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/uart.c mem/log.c mem/state.c */
/* uses: tests/unit/serial_help.c tests/unit/linux_8250.c */
/*
 * The serial port's state: a guest that goes on elsewhere finds the port as it
 * was, and its input whole; its output stays behind. And what is refused.
 */
#include "tests/unit/linux_8250.h"

#include <string.h>

#include "mem/state.h"

#define BYTES_MAX 1200

/* Where fields stand in what is saved. */
enum {
	AT_IER = 0,
	AT_FCR = 1,
	AT_MCR = 3,
	AT_ERRORS = 7,
	AT_DELTAS = 8,
	AT_PENDING = 9,
	AT_POLLS = 12,
	AT_FIFO = 16,
	AT_INPUT = 20,
};

static uint8_t bytes[BYTES_MAX];
static size_t len;

static void save_port(void)
{
	struct state s = state_save(bytes, sizeof(bytes));

	uart_state(&serial, &s);
	assert_true(state_is_whole(&s));
	len = s.at;
}

static const char *load_port(void)
{
	struct state s = state_load(bytes, len);

	uart_state(&serial, &s);
	state_is_whole(&s);
	return s.wrong;
}

/* The guest goes on in another process. */
static void move_port(void)
{
	save_port();
	serial_teardown(NULL);
	serial_setup(NULL);
	assert_null(load_port());
	assert_int_equal(irqs(), 0);
	uart_restored(&serial);
}

static void test_port_is_as_it_was(void **state)
{
	(void)state;
	out(LCR, 0x80);
	out(0, 0x12);
	out(1, 0x34);
	out(LCR, 0x03);
	out(FCR, FCR_ENABLE | FCR_TRIGGER_8);
	out(IER, IER_THRI | IER_RDI);
	out(MCR, MCR_RTS | MCR_OUT2);
	out(SCR, 0x5a);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_THRI);
	irqs();
	move_port();
	/* nothing is pending: no edge */
	assert_int_equal(irqs(), 0);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	assert_int_equal(in(IER), IER_THRI | IER_RDI);
	assert_int_equal(in(LCR), 0x03);
	assert_int_equal(in(MCR), MCR_RTS | MCR_OUT2);
	assert_int_equal(in(SCR), 0x5a);
	out(LCR, 0x83);
	assert_int_equal(in(0), 0x12);
	assert_int_equal(in(1), 0x34);
	assert_false(event());
}

/* The ring of the FIFO begins anywhere; what waits behind it comes, too. */
static void test_input_goes_with_the_guest(void **state)
{
	char text[1040], *at = text;

	(void)state;
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 23);
	out(FCR, FCR_ENABLE);
	out(IER, IER_RDI);
	/* so that the queue's head is somewhere in the middle */
	assert_int_equal(uart_input(&serial, (uint8_t *)text, 700), 700);
	for (unsigned i = 0; i < 700; i++)
		assert_int_equal(in(RX), (uint8_t)text[i]);
	assert_int_equal(uart_input(&serial, (uint8_t *)text, 1024), 1024);
	/* and more than a queue's full, since 16 are in the FIFO */
	assert_int_equal(uart_input(&serial, (uint8_t *)text + 1024, 16), 16);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(in(RX), (uint8_t)*at++);
	irqs();
	move_port();
	/* an interrupt that was on its way is not lost */
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_RDI);
	while (at < text + sizeof(text))
		assert_int_equal(in(RX), (uint8_t)*at++);
	assert_int_equal(in(LSR)&LSR_DR, 0);
}

/* Nobody reads there, and here the ring is empty: the guest may send. */
static void test_output_that_waits_stays_behind(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE);
	out(IER, IER_THRI);
	for (unsigned i = 0; i <= UART_OUTPUT_HIGH; i++)
		out(TX, '.');
	assert_int_equal(in(LSR)&LSR_EMPTY, 0);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_NO_INT);
	irqs();
	move_port();
	assert_int_equal(irqs(), 1);
	assert_int_equal(in(LSR)&LSR_EMPTY, LSR_EMPTY);
	assert_int_equal(in(IIR), IIR_FIFO | IIR_THRI);
	assert_int_equal(uart_output_waiting(&serial), 0);
	assert_int_equal(uart_counter(&serial, SERIAL_OUT_BYTES), 0);
}

static void test_loopback_goes_with_the_guest(void **state)
{
	(void)state;
	out(FCR, FCR_ENABLE);
	out(MCR, MCR_LOOP);
	for (unsigned i = 0; i < 20; i++)
		out(TX, (uint8_t)i);
	assert_int_equal(in(RX), 0);
	assert_int_equal(in(RX), 1);
	out(TX, 99);
	move_port();
	assert_int_equal(in(LSR)&LSR_OE, LSR_OE);
	for (unsigned i = 2; i < UART_FIFO; i++)
		assert_int_equal(in(RX), i);
	assert_int_equal(in(RX), 99);
	assert_int_equal(in(LSR)&LSR_DR, 0);
}

/* A guest that polls has looked so often already. */
static void test_polls_go_on(void **state)
{
	(void)state;
	give("x");
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(in(LSR)&LSR_DR, 0);
	move_port();
	in(LSR);
	assert_int_equal(in(LSR)&LSR_DR, LSR_DR);
	assert_int_equal(in(RX), 'x');
}

static void test_impossible_ports_are_refused(void **state)
{
	static const char registers[] = "its registers are impossible",
			  fifo[] = "its FIFO holds more than it can",
			  ring[] = "it holds more than it can",
			  flag[] = "a flag is neither 0 nor 1";
	static const struct {
		size_t at;
		uint8_t value;
		const char *wrong;
	} cases[] = {
		{ AT_IER, 0x10, registers },
		{ AT_FCR, 0x02, registers },
		{ AT_MCR, 0x20, registers },
		{ AT_ERRORS, 0x04, registers },
		{ AT_DELTAS, 0x10, registers },
		{ AT_PENDING, 2, flag },
		{ AT_PENDING + 1, 2, flag },
		{ AT_PENDING + 2, 2, flag },
		{ AT_POLLS, 17, registers },
		{ AT_FIFO, 17, fifo }, /* deeper than it is */
		{ AT_FIFO + 3, 0x80, fifo },
		{ AT_FCR, 0, fifo },	   /* without FIFOs, one byte */
		{ AT_INPUT + 1, 5, ring }, /* 1,300 */
		{ AT_INPUT + 3, 0x80, ring },
		{ AT_INPUT + 4 + 20, 17, ring }, /* in the loopback */
	};

	(void)state;
	out(FCR, FCR_ENABLE);
	out(IER, IER_RDI);
	give("01234567890123456789");
	save_port();
	assert_int_equal(bytes[AT_FIFO], 16);
	assert_int_equal(bytes[AT_INPUT], 20);
	assert_null(load_port());
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const uint8_t was = bytes[cases[i].at];
		const char *wrong;

		bytes[cases[i].at] = cases[i].value;
		wrong = load_port();
		if (!wrong || strcmp(wrong, cases[i].wrong))
			fail_msg("case %zu: %s", i, wrong ? wrong : "taken");
		bytes[cases[i].at] = was;
	}
	for (unsigned i = 0; i < 19; i++)
		in(RX);
	save_port();
	bytes[AT_FIFO]++; /* more than there is of input */
	assert_string_equal(load_port(), fifo);
	for (size_t whole = len--; len < whole && len; len--)
		assert_string_equal(load_port(), "it is too short");
}

int main(void)
{
#define TEST(name)                                                             \
	cmocka_unit_test_setup_teardown(name, serial_setup, serial_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_port_is_as_it_was),
		TEST(test_input_goes_with_the_guest),
		TEST(test_output_that_waits_stays_behind),
		TEST(test_loopback_goes_with_the_guest),
		TEST(test_polls_go_on),
		TEST(test_impossible_ports_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
