/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lib_virtio.c: a driver for bare-metal guests, as polite as its caller wants:
 * the registers of virtio-mmio slots, split rings, and block requests. What
 * goes wrong where it should not ends the guest with fail().
 */
#ifndef TESTS_GUEST_VIRTIO_H
#define TESTS_GUEST_VIRTIO_H

#include "tests/guest/guest.h"

#define VIRTIO_BASE  0xD0000FA0UL
#define VIRTIO_ALIAS 0xD0100FA0UL
#define VIRTIO_SLOT  0x2000UL
#define VIRTIO_END   0x1060UL /* of what a slot may have */
#define VIRTIO_GSI   5
#define VIRTIO_SLOTS 19

/* virtio 1.2, 4.2.2 */
#define R_MAGIC		      0x000
#define R_VERSION	      0x004
#define R_DEVICE_ID	      0x008
#define R_FEATURES	      0x010
#define R_FEATURES_SEL	      0x014
#define R_DRIVER_FEATURES     0x020
#define R_DRIVER_FEATURES_SEL 0x024
#define R_QUEUE_SEL	      0x030
#define R_QUEUE_NUM_MAX	      0x034
#define R_QUEUE_NUM	      0x038
#define R_QUEUE_READY	      0x044
#define R_QUEUE_NOTIFY	      0x050
#define R_INTERRUPT	      0x060
#define R_INTERRUPT_ACK	      0x064
#define R_STATUS	      0x070
#define R_QUEUE_DESC	      0x080
#define R_QUEUE_DRIVER	      0x090
#define R_QUEUE_DEVICE	      0x0a0
#define R_CONFIG	      0x100

#define S_DRIVER      3 /* ACKNOWLEDGE and DRIVER */
#define S_FEATURES_OK 8
#define S_DRIVER_OK   4
#define S_RUNNING     15
#define S_NEEDS_RESET 64

#define F_INDIRECT  (1UL << 28)
#define F_EVENT_IDX (1UL << 29)
#define F_VERSION_1 (1UL << 32)

#define ID_NET	 1
#define ID_BLOCK 2
#define ID_VSOCK 19

#define D_NEXT	   1 /* descriptor flags */
#define D_WRITE	   2
#define D_INDIRECT 4

#define RING_MAX 256

struct vring {
	unsigned size;
	uint16_t next; /* the next free descriptor, in a circle */
	uint16_t avail_idx, used_idx;
	struct vring_desc {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} desc[RING_MAX] __attribute__((aligned(16)));
	struct {
		uint16_t flags, idx, ring[RING_MAX + 1];
	} avail __attribute__((aligned(2)));
	struct {
		uint16_t flags, idx;
		struct {
			uint32_t id, len;
		} ring[RING_MAX];
		uint16_t avail_event;
	} used __attribute__((aligned(4)));
};

/* Maps the slots; before all else. */
void virtio_init(void);

uint32_t reg_read(unsigned slot, unsigned offset);
void reg_write(unsigned slot, unsigned offset, uint32_t value);
void reg_write64(unsigned slot, unsigned offset, uint64_t value);

/* Reset, and on to FEATURES_OK: does the device accept? */
bool virtio_features(unsigned slot, uint64_t features);
uint64_t virtio_offered(unsigned slot);

/* An empty ring as queue `queue`: is it ready? */
bool virtio_queue(unsigned slot, unsigned queue, struct vring *ring,
		  unsigned size);
bool virtio_queue_at(unsigned slot, unsigned queue, unsigned size,
		     uint64_t desc, uint64_t driver, uint64_t device);

/* All of it, with one queue of 16; fails where the device does not run. */
void virtio_start(unsigned slot, uint64_t features, struct vring *ring);

void vring_clear(struct vring *ring, unsigned size);
void vring_set(struct vring *ring, unsigned index, uint64_t addr, uint32_t len,
	       uint16_t flags, uint16_t next);
void vring_offer(struct vring *ring, uint16_t head);
/* Appends one buffer to a chain; the last of them (no D_NEXT) offers it. */
void vring_add(struct vring *ring, const volatile void *at, uint32_t len,
	       uint16_t flags);
/* True, and the entry, where something came back. */
bool vring_used(struct vring *ring, uint32_t *id, uint32_t *len);

/* Seconds that everything here may take before it counts as never. */
#define PATIENCE 20
/* Waits until `done(arg)`; false where it never comes. */
bool wait_for(bool (*done)(void *arg), void *arg);
/* Waits a while in which what must not happen would have happened. */
void wait_a_while(void);

/* virtio 1.2, 5.2.6 */
#define BLK_READ   0
#define BLK_WRITE  1
#define BLK_FLUSH  4
#define BLK_GET_ID 8
#define SECTOR	   512

/* virtio 1.2, 5.2.3 */
#define BLK_F_RO      (1UL << 5)
#define BLK_F_FLUSH   (1UL << 9)
#define BLK_F_DISCARD (1UL << 13)

/*
 * One request of `len` bytes, notified and waited for: its status byte, or -1
 * where it does not come back.
 */
int block_request(unsigned slot, struct vring *ring, uint32_t type,
		  uint64_t sector, void *data, uint32_t len);

/* virtio 1.2, 5.10.6 */
struct vsock_header {
	uint64_t src_cid, dst_cid;
	uint32_t src_port, dst_port, len;
	uint16_t type, op;
	uint32_t flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

#endif
