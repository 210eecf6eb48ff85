/*
 * A 16550A serial port (National Semiconductor PC16550D): eight registers on a
 * bus for the guest, two byte queues for the host's end of the line.
 *
 * Guest side: serial_bus_ops, from any vCPU thread. Host side: the main
 * thread. A mutex inside; the host side may call anything at any time.
 */
#ifndef CPU_CONSOLE_UART_H
#define CPU_CONSOLE_UART_H

#include "cpu/bus.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SERIAL_PORT	   0x3f8
#define SERIAL_REGISTERS   8 /* the size of its bus range */
#define SERIAL_FIFO	   16
#define SERIAL_OUTPUT_RING 65536u /* a power of two */
#define SERIAL_INPUT_QUEUE 1024u  /* a power of two */

/*
 * Above HIGH bytes waiting in the ring, an interrupt-driven guest is told to
 * wait until fewer than LOW are left.
 */
#define SERIAL_OUTPUT_HIGH (SERIAL_OUTPUT_RING * 3 / 4)
#define SERIAL_OUTPUT_LOW  (SERIAL_OUTPUT_RING / 2)

struct serial_counters {
	uint64_t out;	  /* bytes that the guest sent */
	uint64_t dropped; /* of them, did not fit or had nobody to go to */
	uint64_t in;	  /* bytes that the guest has read */
};

struct serial {
	pthread_mutex_t lock;
	int irq_fd;   /* the owner's; -1: no interrupt */
	int event_fd; /* see serial_create */

	uint8_t ier, fcr, lcr, mcr, scr, dll, dlm;
	uint8_t line_errors;	/* LSR bits that a read of LSR clears */
	uint8_t modem_deltas;	/* MSR bits 0..3 */
	bool thre_pending;	/* a THRE interrupt that was not read yet */
	bool thre_acknowledged; /* ... by a read of IIR, since THRI is set */
	bool output_blocked;	/* above HIGH, not yet below LOW */
	bool output_discard;

	uint8_t fifo[SERIAL_FIFO]; /* received, from fifo_head on */
	unsigned fifo_head, fifo_count;
	bool fifo_loopback; /* it holds what the guest sent to itself */
	bool rts_seen;
	unsigned polls; /* reads of an empty LSR in a row */

	/* Free-running indexes; `input` has spare room for a FIFO put back. */
	uint8_t input[SERIAL_INPUT_QUEUE + SERIAL_FIFO];
	unsigned input_head, input_count;
	bool input_wanted; /* the host has more than fitted */

	uint8_t output[SERIAL_OUTPUT_RING];
	uint32_t output_head, output_tail;
	struct serial_counters counters;
};

extern const struct bus_ops serial_bus_ops;

/*
 * 0 or -errno, logged. A 1 is written to `irq_fd` (an eventfd, for an irqfd
 * without resampling: the line is edge-triggered) for each new cause of an
 * interrupt. `event_fd` becomes readable when output is waiting that was not
 * before, and when there is room again after serial_input took less than it
 * was offered.
 */
int serial_create(struct serial *serial, int irq_fd);
void serial_destroy(struct serial *serial);

/*
 * From the host to the guest: how many of the bytes were taken. Bytes that were
 * taken reach the guest in order and whole, whatever it does with its FIFO.
 */
size_t serial_input(struct serial *serial, const uint8_t *data, size_t len);
size_t serial_input_room(struct serial *serial);

/*
 * From the guest to the host: *data is set to the oldest bytes and their number
 * returned (0: none; there may be more after these have been consumed). They
 * stay in place until they are consumed.
 */
size_t serial_output_peek(struct serial *serial, const uint8_t **data);
void serial_output_consume(struct serial *serial, size_t len);
size_t serial_output_waiting(struct serial *serial);

/*
 * With `discard` output goes nowhere, what waits in the ring included, and is
 * counted as dropped; there are no events for it.
 */
void serial_output_discard(struct serial *serial, bool discard);

struct serial_counters serial_counters(struct serial *serial);

#endif
