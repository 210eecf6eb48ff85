/* SPDX-License-Identifier: Apache-2.0 */
/* A virtio-mmio driver for the tests; see virtio.h. */
#include "tests/guest/virtio.h"

#define CYCLES_PER_S 3000000000UL /* or so */

static uint64_t cycles(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

void virtio_init(void)
{
	map_memory(4UL << 30);
}

static volatile uint32_t *reg(unsigned slot, unsigned offset)
{
	return at_physical(VIRTIO_BASE + slot * VIRTIO_SLOT + offset);
}

uint32_t reg_read(unsigned slot, unsigned offset)
{
	return *reg(slot, offset);
}

void reg_write(unsigned slot, unsigned offset, uint32_t value)
{
	/* What the device is told of must be in memory by then. */
	__asm__ volatile("" : : : "memory");
	*reg(slot, offset) = value;
}

void reg_write64(unsigned slot, unsigned offset, uint64_t value)
{
	reg_write(slot, offset, (uint32_t)value);
	reg_write(slot, offset + 4, (uint32_t)(value >> 32));
}

uint64_t virtio_offered(unsigned slot)
{
	uint64_t features;

	reg_write(slot, R_FEATURES_SEL, 1);
	features = (uint64_t)reg_read(slot, R_FEATURES) << 32;
	reg_write(slot, R_FEATURES_SEL, 0);
	return features | reg_read(slot, R_FEATURES);
}

bool virtio_features(unsigned slot, uint64_t features)
{
	reg_write(slot, R_STATUS, 0);
	if (reg_read(slot, R_STATUS))
		fail("slot %u: a reset leaves status %x", slot,
		     reg_read(slot, R_STATUS));
	reg_write(slot, R_STATUS, 1);
	reg_write(slot, R_STATUS, S_DRIVER);
	reg_write(slot, R_DRIVER_FEATURES_SEL, 1);
	reg_write(slot, R_DRIVER_FEATURES, (uint32_t)(features >> 32));
	reg_write(slot, R_DRIVER_FEATURES_SEL, 0);
	reg_write(slot, R_DRIVER_FEATURES, (uint32_t)features);
	reg_write(slot, R_STATUS, S_DRIVER | S_FEATURES_OK);
	return reg_read(slot, R_STATUS) & S_FEATURES_OK;
}

bool virtio_queue_at(unsigned slot, unsigned queue, unsigned size,
		     uint64_t desc, uint64_t driver, uint64_t device)
{
	reg_write(slot, R_QUEUE_SEL, queue);
	reg_write(slot, R_QUEUE_NUM, size);
	reg_write64(slot, R_QUEUE_DESC, desc);
	reg_write64(slot, R_QUEUE_DRIVER, driver);
	reg_write64(slot, R_QUEUE_DEVICE, device);
	reg_write(slot, R_QUEUE_READY, 1);
	return reg_read(slot, R_QUEUE_READY) == 1;
}

bool virtio_queue(unsigned slot, unsigned queue, struct vring *ring,
		  unsigned size)
{
	vring_clear(ring, size);
	return virtio_queue_at(slot, queue, size, (uintptr_t)ring->desc,
			       (uintptr_t)&ring->avail, (uintptr_t)&ring->used);
}

void virtio_start(unsigned slot, uint64_t features, struct vring *ring)
{
	if (!virtio_features(slot, features))
		fail("slot %u refuses features %lx", slot,
		     (unsigned long)features);
	if (!virtio_queue(slot, 0, ring, 16))
		fail("slot %u refuses a queue", slot);
	reg_write(slot, R_STATUS, S_RUNNING);
	if (reg_read(slot, R_STATUS) != S_RUNNING)
		fail("slot %u: status %x after DRIVER_OK", slot,
		     reg_read(slot, R_STATUS));
}

/* The used ring lies where a ring of `size` has it; so do the others. */
void vring_clear(struct vring *ring, unsigned size)
{
	memset(ring, 0, sizeof(*ring));
	ring->size = size;
}

void vring_set(struct vring *ring, unsigned index, uint64_t addr, uint32_t len,
	       uint16_t flags, uint16_t next)
{
	ring->desc[index] = (struct vring_desc){ addr, len, flags, next };
}

void vring_offer(struct vring *ring, uint16_t head)
{
	ring->avail.ring[ring->avail_idx++ % ring->size] = head;
	__atomic_store_n(&ring->avail.idx, ring->avail_idx, __ATOMIC_RELEASE);
}

void vring_add(struct vring *ring, const volatile void *at, uint32_t len,
	       uint16_t flags)
{
	static uint16_t head;
	static bool inside;
	const uint16_t index = ring->next;

	if (!inside)
		head = index;
	ring->next = (uint16_t)((index + 1u) % ring->size);
	vring_set(ring, index, (uintptr_t)at, len, flags, ring->next);
	inside = flags & D_NEXT;
	if (!inside)
		vring_offer(ring, head);
}

bool vring_used(struct vring *ring, uint32_t *id, uint32_t *len)
{
	const unsigned at = ring->used_idx % ring->size;

	if (__atomic_load_n(&ring->used.idx, __ATOMIC_ACQUIRE) ==
	    ring->used_idx)
		return false;
	*id = ring->used.ring[at].id;
	*len = ring->used.ring[at].len;
	ring->used_idx++;
	return true;
}

bool wait_for(bool (*done)(void *arg), void *arg)
{
	const uint64_t start = cycles();

	while (!done(arg)) {
		if (cycles() - start > PATIENCE * CYCLES_PER_S)
			return false;
		pause_cpu();
	}
	return true;
}

void wait_a_while(void)
{
	const uint64_t start = cycles();

	while (cycles() - start < CYCLES_PER_S / 50)
		pause_cpu();
}

struct waiting {
	struct vring *ring;
	uint32_t id, len;
};

static bool came_back(void *arg)
{
	struct waiting *w = arg;

	return vring_used(w->ring, &w->id, &w->len);
}

int block_request(unsigned slot, struct vring *ring, uint32_t type,
		  uint64_t sector, void *data, uint32_t len)
{
	static struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header;
	static volatile uint8_t status;
	const bool in = type == BLK_READ || type == BLK_GET_ID;
	const uint32_t written = in ? len + 1 : 1;
	const uint16_t head = ring->next;
	struct waiting waiting = { .ring = ring };

	header.type = type;
	header.sector = sector;
	status = 0xff;
	vring_add(ring, &header, sizeof(header), D_NEXT);
	if (len)
		vring_add(ring, data, len,
			  (uint16_t)(in ? D_NEXT | D_WRITE : D_NEXT));
	vring_add(ring, &status, 1, D_WRITE);
	reg_write(slot, R_QUEUE_NOTIFY, 0);
	if (!wait_for(came_back, &waiting))
		return -1;
	/* After an error nothing is said of the data: virtio 1.2, 2.7.8.2. */
	if (waiting.id != head || (!status && waiting.len != written) ||
	    waiting.len > written)
		fail("slot %u: used entry %u of %u bytes", slot, waiting.id,
		     waiting.len);
	return status;
}
