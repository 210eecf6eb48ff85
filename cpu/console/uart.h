/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port (National Semiconductor PC16550D): eight registers on a
 * bus for the guest, two byte queues for the host's end of the line.
 *
 * Guest side: uart_bus_ops, from any vCPU thread. Host side: the main
 * thread. A mutex inside; the host side may call anything at any time.
 */
#ifndef CPU_CONSOLE_UART_H
#define CPU_CONSOLE_UART_H

#include "cpu/bus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/counters.h"
#include "mem/state.h"

#define UART_PORT	 0x3f8
#define UART_REGISTERS	 8 /* the size of its bus range */
#define UART_FIFO	 16
#define UART_OUTPUT_RING 65536u /* a power of two */
#define UART_INPUT_QUEUE 1024u	/* a power of two */

/*
 * Above HIGH bytes waiting in the ring, an interrupt-driven guest is told to
 * wait until fewer than LOW are left.
 */
#define UART_OUTPUT_HIGH (UART_OUTPUT_RING * 3 / 4)
#define UART_OUTPUT_LOW	 (UART_OUTPUT_RING / 2)

/* Whoever takes the output at the host's end of the line. */
enum uart_reader {
	UART_READER_THERE,
	UART_READER_AWAITED, /* the ring keeps what the guest sent last */
	UART_READER_GONE,    /* output goes nowhere */
};

struct uart {
	pthread_mutex_t lock;
	int irq_fd;   /* the owner's; -1: no interrupt */
	int event_fd; /* see uart_create */

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t line_errors;	/* LSR bits that a read of LSR clears */
	uint8_t modem_deltas;	/* MSR bits 0..3 */
	bool thre_pending;	/* a THRE interrupt that was not read yet */
	bool thre_acknowledged; /* ... by a read of IIR, since THRI is set */
	bool output_blocked;	/* above HIGH, not yet below LOW */
	enum uart_reader reader;

	bool rts_seen;
	unsigned polls; /* reads of an empty LSR in a row */

	/*
	 * From the host. The guest sees the first fifo_count bytes of it, for
	 * which there is room beyond the queue's size.
	 */
	uint8_t input[UART_INPUT_QUEUE + UART_FIFO];
	unsigned input_head, input_count, fifo_count;
	bool input_wanted; /* the host has more than fitted */

	/* What the guest has sent to itself; then fifo_count is 0. */
	uint8_t loopback[UART_FIFO];
	unsigned loopback_head, loopback_count;

	/* From the guest; the indexes run freely. */
	uint32_t output_head, output_tail;
	_Atomic uint64_t counter[SERIAL_COUNTERS]; /* written with the lock */
	uint8_t output[UART_OUTPUT_RING]; /* the last: not cleared at start */
};

extern const struct bus_ops uart_bus_ops;

/*
 * 0 or -errno, logged. A 1 is written to `irq_fd` (an eventfd, for an irqfd
 * without resampling: the line is edge-triggered) for each new cause of an
 * interrupt. `event_fd` becomes readable when output is waiting that was not
 * before, and when there is room again after uart_input took less than it
 * was offered.
 */
int uart_create(struct uart *uart, int irq_fd);
void uart_destroy(struct uart *uart);

/*
 * From the host to the guest: how many of the bytes were taken. Bytes that were
 * taken reach the guest in order and whole, whatever it does with its FIFO.
 */
size_t uart_input(struct uart *uart, const uint8_t *data, size_t len);

/*
 * From the guest to the host: *data is set to the oldest bytes and their number
 * returned (0: none; there may be more after these have been consumed). They
 * stay in place until they are consumed.
 */
size_t uart_output_peek(struct uart *uart, const uint8_t **data);
void uart_output_consume(struct uart *uart, size_t len);
size_t uart_output_waiting(struct uart *uart);

/*
 * While nobody is there, there are no events for output, none of it waits for
 * the calls above, and the guest is not held up; what is lost is counted as
 * dropped. A reader that comes has to look for output once by itself.
 */
void uart_set_reader(struct uart *uart, enum uart_reader reader);

/*
 * Bytes that the guest has read, that it sent, and how many of those did not
 * fit or had nobody to go to: from any thread, or a handler of signals.
 */
uint64_t uart_counter(const struct uart *uart, enum serial_counter counter);

/*
 * The guest's side of it and the input that was taken, while no vCPU runs. The
 * output stays with whoever has it: a guest that is loaded starts with an empty
 * ring.
 */
void uart_state(struct uart *uart, struct state *s);

/*
 * After the interrupt controllers were loaded, too: raises an edge, since one
 * that was on its way may have been in none of what was saved.
 */
void uart_restored(struct uart *uart);

#endif
