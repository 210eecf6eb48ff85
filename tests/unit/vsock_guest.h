/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver of a vsock device that has no transport: guest_* is what it does.
 */
#ifndef TESTS_UNIT_VSOCK_GUEST_H
#define TESTS_UNIT_VSOCK_GUEST_H

#include "tests/unit/ring.h"
#include "tests/unit/unit.h"
#include "virtio/vsock/vsock.h"

#define HEADER	 44u
#define CID	 7u
#define RX_SIZE	 128u
#define TX_SIZE	 128u
#define RX_RING	 0x100000u
#define TX_RING	 0x110000u
#define EV_RING	 0x120000u
#define RX_DATA	 0x200000u /* RX_STEP for each receive buffer */
#define RX_STEP	 0x2000u
#define TX_DATA	 0x400000u /* TX_STEP for each packet sent */
#define TX_STEP	 0x20000u
#define EV_DATA	 0x130000u
#define RAM_SIZE (32u << 20)
#define WINDOW	 262144u

extern struct ram ram;
extern struct ring rx, tx, ev;
extern struct vsock *vsock;

/* What the device did to its transport. */
extern unsigned interrupts, breaks;
extern const char *broken_why;

/* How the driver lays out a receive buffer: 44 + 4096, one piece, crumbs. */
extern enum shape { TWO, ONE, CRUMBS } shape;

/* What the guest says of itself in each packet. */
extern uint32_t guest_alloc, guest_fwd;

/* As a driver does: rings, buffers, DRIVER_OK; and its reset. */
void guest_start(void);
void guest_stop(void);

void guest_kick(unsigned queue);

/* Descriptors of a receive buffer. */
unsigned rx_descs(void);

struct vsock_packet guest_packet(enum vsock_op op, uint32_t host_port,
				 uint32_t guest_port);

/* Any packet, `real` bytes of payload; the device has it when this returns. */
void guest_send_raw(const struct vsock_packet *packet, const void *data,
		    uint32_t real);

/* The same without a kick; and how many came back since this was asked. */
void guest_queue_raw(const struct vsock_packet *packet, const void *data,
		     uint32_t real);
unsigned guest_sent(void);

void guest_op(enum vsock_op op, uint32_t host_port, uint32_t guest_port,
	      uint32_t flags);
void guest_data(uint32_t host_port, uint32_t guest_port, const void *data,
		uint32_t len);

/* The next packet from the device, if there is one; its buffer goes back. */
bool guest_take(struct vsock_packet *packet, void *data);

/* From now on it does not; and all that did not, do, with one kick. */
void guest_withhold(void);
void guest_give_back(void);

#endif
