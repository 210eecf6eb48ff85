/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts that can wait. A driver that has sent something wants to hear that
 * its buffers are free again, but seldom waits for that: it looks when it sends
 * the next time, or when another interrupt comes. So used buffers are visible
 * to it at once, and the interrupt that says so is held back for a short time,
 * in which it mostly becomes needless.
 *
 * The device of one queue calls, in the loop's thread:
 *	lazy_publish	in queue_publish's place
 *	lazy_told	when it raises the interrupt for another queue's sake
 *	lazy_expired	no later than lazy->due_ns
 */
#ifndef VIRTIO_LAZY_H
#define VIRTIO_LAZY_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio/queue.h"

/* What is held back at most: a part of the ring, and bytes sent. */
#define LAZY_SHARE 8u
#define LAZY_BYTES (128u << 10)

struct lazy {
	struct queue *queue;
	uint64_t patience_ns;
	uint64_t due_ns; /* loop_now(): interrupt by then; 0: nothing is due */
	uint64_t bytes;	 /* that what is held back has sent */
	uint8_t at_once; /* so many times from now on nothing is held back */
	uint8_t penalty; /* and so many after the next time in vain */
};

/* Nothing is due; holds back for so long from now on. */
void lazy_start(struct lazy *lazy, struct queue *queue, uint64_t patience_ns);

/*
 * Makes visible what was pushed, for which `bytes` were sent. True: interrupt
 * now. False: there is nothing to say, or it is due at lazy->due_ns.
 */
bool lazy_publish(struct lazy *lazy, uint64_t bytes);

/* The driver is interrupted anyway, and looks at all queues then. */
void lazy_told(struct lazy *lazy);

/* The time is over: true where the driver has not looked: interrupt now. */
bool lazy_expired(struct lazy *lazy);

#endif
