/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib_traffic.c: all devices busy at once, for guests that are saved in the
 * midst of it. What is asked for in traffic_begin is checked in traffic_end:
 *
 *	disks	reads and writes of blocks whose content is known
 *	net	a frame, which comes back from the other end; where it was
 *		lost with that, another one
 *	vsock	a piece of a stream to port 1234 of the host, which comes back;
 *		where the stream was reset, over another one
 *
 * Waits by their interrupt, with the local APIC's timer (IRQ_VECTOR) for when
 * none comes; interrupts are off but for that.
 */
#ifndef TESTS_GUEST_TRAFFIC_H
#define TESTS_GUEST_TRAFFIC_H

#include "tests/guest/virtio.h"

#define LVT_TIMER    0x320
#define TIMER_INIT   0x380
#define TIMER_DIVIDE 0x3E0
#define DIVIDE_BY_1  0xB

/* The timer's handler, all interrupts' routes, and what devices there are. */
void traffic_init(void);

/* Starts them, but for the last `spared` disks; the slot of the first of those,
 * or VIRTIO_SLOTS. */
unsigned traffic_start(unsigned spared);

void traffic_begin(void);
void traffic_end(void);

/* Stops one of several disks and starts it anew. */
void traffic_restart(void);

/* One round of what is there, as text: "2 disks, 1 net, 1 vsock". */
void traffic_name(void);

/* A while, asleep, until the timer. */
void traffic_sleep(void);

/* Until it is done, or, after long, never: false. */
bool traffic_await(bool (*done)(void *arg), void *arg);

/* One sector of a disk, polled for, from any CPU that has a ring of its own. */
struct traffic_request {
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	volatile uint8_t status;
	uint8_t data[SECTOR];
};
void traffic_poll_disk(unsigned slot, struct vring *ring,
		       struct traffic_request *request);

#endif
