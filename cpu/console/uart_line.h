/*
 * Between the serial port's registers (serial.c) and its queues
 * (serial_line.c); for these two files only.
 */
#ifndef CPU_CONSOLE_UART_LINE_H
#define CPU_CONSOLE_UART_LINE_H

#include "cpu/console/uart.h"

/* PC16550D, table II: bits that matter to both. */
#define IER_RDI	 0x01 /* received data */
#define IER_THRI 0x02 /* transmitter holding register empty */
#define IER_RLSI 0x04 /* receiver line status */
#define IER_MSI	 0x08 /* modem status */
#define IER_ALL	 0x0f

#define FCR_ENABLE 0x01

#define MCR_RTS	 0x02
#define MCR_LOOP 0x10

#define LSR_DR	 0x01
#define LSR_OE	 0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

/*
 * The lock is held between these two. Unlocking tells whom it concerns what has
 * changed: an edge for each cause of an interrupt that was not there before.
 */
struct serial_wake {
	uint8_t causes_before;
	bool irq;   /* an edge even so, if anything is pending */
	bool event; /* for the main thread */
};
struct serial_wake serial_line_lock(struct serial *serial);
void serial_line_unlock(struct serial *serial, struct serial_wake *wake);

/* The interrupts that are pending and enabled, as bits of IER. */
uint8_t serial_line_causes(const struct serial *serial);

/* After each access: moves what waits into the FIFO, if the guest listens. */
void serial_line_receive(struct serial *serial, struct serial_wake *wake);

/* RBR: the oldest byte in the FIFO, 0 where there is none. */
uint8_t serial_line_take(struct serial *serial);

/* THR: onto the line, or back into the FIFO in loopback. */
void serial_line_send(struct serial *serial, uint8_t byte,
		      struct serial_wake *wake);

/* Empties the FIFO; bytes that came from the host go back to the queue. */
void serial_line_reset_fifo(struct serial *serial);

/* LSR, a read of it being a sign that the guest polls. */
uint8_t serial_line_status(struct serial *serial);

#endif
