/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Echoes what the serial port receives until it is a q, by interrupts alone: it
 * sleeps in HLT, takes received bytes into a ring and sends the ring by THRE
 * interrupts (16550A: IER, IIR), as an operating system's driver does.
 */
#include "tests/guest/guest.h"

#define IER	   (SERIAL + 1)
#define IER_RX	   1
#define IER_THRE   2
#define IIR	   (SERIAL + 2)
#define IIR_NONE   1
#define IIR_THRE   0x2
#define IIR_RX	   0x4
#define IIR_RX_OLD 0xC
#define MCR	   (SERIAL + 4)
#define MCR_OUT2   0x0B /* DTR, RTS, and the gate of the interrupt line */
#define LSR	   (SERIAL + 5)
#define LSR_DR	   1
#define FIFO	   16
#define GSI	   4
#define RING	   65536

static uint8_t ring[RING];
static unsigned head, tail;
static unsigned long received, interrupts, sent;
static bool quit;

static void receive(void)
{
	while (in8(LSR) & LSR_DR) {
		uint8_t c = in8(SERIAL);

		received++;
		quit |= c == 'q';
		if (head - tail < RING)
			ring[head++ % RING] = c;
	}
}

/* A FIFO's worth for each THRE interrupt; it is off when nothing is left. */
static void transmit(void)
{
	for (unsigned i = 0; i < FIFO && tail != head; i++, sent++)
		out8(SERIAL, ring[tail++ % RING]);
}

static void on_serial(void)
{
	uint8_t cause;

	interrupts++;
	while (!((cause = in8(IIR)) & IIR_NONE)) {
		switch (cause & 0x0F) {
		case IIR_RX:
		case IIR_RX_OLD:
			receive();
			break;
		case IIR_THRE:
			transmit();
			break;
		default:
			fail("IIR %x", cause);
		}
	}
	out8(IER, tail != head ? IER_RX | IER_THRE : IER_RX);
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	irq_init();
	irq_handle(IRQ_VECTOR, on_serial);
	irq_route(GSI, IRQ_VECTOR, false);
	print("echo by interrupts\n");
	out8(SERIAL + 2, 7);
	out8(MCR, MCR_OUT2);
	out8(IER, IER_RX);
	while (!quit || tail != head)
		irq_wait();
	out8(IER, 0);
	print("\nreceived %lu sent %lu %s\n", received, sent,
	      interrupts ? "by interrupts" : "without interrupts");
}
