/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver's side of a split virtqueue in guest RAM, for tests and fuzzers of
 * devices: lays out a ring, offers chains, collects what came back. It can
 * also be told to lie: ring_desc and ring_offer write whatever is asked for.
 *
 *	ring_init(&ring, &ram, GPA(0x10000), 16);
 *	config = ring_config(&ring);
 *	head = ring_add_chain(&ring, (struct ring_buffer[]){ ... }, n);
 *	... the device works ...
 *	while (ring_used(&ring, &head, &written))
 */
#ifndef TESTS_UNIT_RING_H
#define TESTS_UNIT_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/ram.h"
#include "mem/util.h"
#include "virtio/queue.h"

#define RING_NEXT     1u /* descriptor flags */
#define RING_WRITE    2u
#define RING_INDIRECT 4u
#define RING_DESC     16u /* bytes of a descriptor */

struct ring {
	const struct ram *ram;
	gpa desc, avail, used;
	uint16_t size;
	uint16_t next_desc; /* descriptors are taken in a circle */
	uint16_t avail_idx; /* ours, published by each ring_offer */
	uint16_t used_idx;  /* how far we have looked */
	bool event_idx, indirect;
};

struct ring_buffer {
	gpa at;
	uint32_t len;
	bool write; /* for the device to write */
};

static inline uint16_t ring_get16(const struct ring *ring, gpa at)
{
	uint8_t bytes[2] = { 0 };

	ram_read(ring->ram, bytes, at, sizeof(bytes));
	return get_le16(bytes);
}

static inline void ring_put16(const struct ring *ring, gpa at, uint16_t value)
{
	uint8_t bytes[2];

	put_le16(bytes, value);
	ram_write(ring->ram, at, bytes, sizeof(bytes));
}

/* An empty ring from `at` (a page's start) on; ring_end is what follows it. */
static inline void ring_init(struct ring *ring, const struct ram *ram, gpa at,
			     uint16_t size)
{
	*ring = (struct ring){ .ram = ram, .size = size, .desc = at };
	ring->avail = gpa_add(at, (uint64_t)RING_DESC * size);
	ring->used = gpa_add(ring->avail,
			     round_up(6 + (uint64_t)2 * size, RAM_PAGE));
	ram_clear(ram, at,
		  ring->used.v + 6 + (uint64_t)8 * size - ring->desc.v);
}

static inline gpa ring_end(const struct ring *ring)
{
	return GPA(round_up(ring->used.v + 6 + (uint64_t)8 * ring->size,
			    RAM_PAGE));
}

static inline struct queue_config ring_config(const struct ring *ring)
{
	return (struct queue_config){
		.size = ring->size,
		.desc = ring->desc,
		.driver = ring->avail,
		.device = ring->used,
		.event_idx = ring->event_idx,
		.indirect = ring->indirect,
	};
}

/* Writes entry `index` of the table at `table`; nothing is checked. */
static inline void ring_desc(const struct ring *ring, gpa table, uint32_t index,
			     uint64_t addr, uint32_t len, uint16_t flags,
			     uint16_t next)
{
	uint8_t bytes[RING_DESC];

	put_le64(bytes, addr);
	put_le32(bytes + 8, len);
	put_le16(bytes + 12, flags);
	put_le16(bytes + 14, next);
	ram_write(ring->ram, gpa_add(table, (uint64_t)index * RING_DESC), bytes,
		  sizeof(bytes));
}

/* Makes a head available; the device sees it at once. */
static inline void ring_offer(struct ring *ring, uint16_t head)
{
	const uint64_t entry = 2u * (ring->avail_idx % ring->size);

	ring_put16(ring, gpa_add(ring->avail, 4 + entry), head);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	ring_put16(ring, gpa_add(ring->avail, 2), ++ring->avail_idx);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/*
 * A chain of direct descriptors, made available: its head. The caller does not
 * have more descriptors in flight than the ring has.
 */
static inline uint16_t ring_add_chain(struct ring *ring,
				      const struct ring_buffer *buffer,
				      unsigned count)
{
	uint16_t head = ring->next_desc;

	for (unsigned i = 0; i < count; i++) {
		const uint16_t at = ring->next_desc;
		uint16_t flags = buffer[i].write ? RING_WRITE : 0;

		ring->next_desc = (uint16_t)((at + 1u) % ring->size);
		if (i + 1 < count)
			flags |= RING_NEXT;
		ring_desc(ring, ring->desc, at, buffer[i].at.v, buffer[i].len,
			  flags, ring->next_desc);
	}
	ring_offer(ring, head);
	return head;
}

/* The same through an indirect table, which is written at `table`. */
static inline uint16_t ring_add_indirect(struct ring *ring, gpa table,
					 const struct ring_buffer *buffer,
					 unsigned count)
{
	uint16_t head = ring->next_desc;

	for (unsigned i = 0; i < count; i++)
		ring_desc(ring, table, i, buffer[i].at.v, buffer[i].len,
			  (uint16_t)((buffer[i].write ? RING_WRITE : 0) |
				     (i + 1 < count ? RING_NEXT : 0)),
			  (uint16_t)(i + 1));
	ring_desc(ring, ring->desc, head, table.v, count * RING_DESC,
		  RING_INDIRECT, 0);
	ring->next_desc = (uint16_t)((head + 1u) % ring->size);
	ring_offer(ring, head);
	return head;
}

/* The next chain that came back; false where there is none. */
static inline bool ring_used(struct ring *ring, uint32_t *head,
			     uint32_t *written)
{
	const uint64_t entry = 8u * (ring->used_idx % ring->size);
	uint8_t bytes[8] = { 0 };

	if (ring_get16(ring, gpa_add(ring->used, 2)) == ring->used_idx)
		return false;
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	ram_read(ring->ram, bytes, gpa_add(ring->used, 4 + entry), 8);
	*head = get_le32(bytes);
	*written = get_le32(bytes + 4);
	ring->used_idx++;
	return true;
}

/* Interrupt me when used->idx passes `event` (EVENT_IDX). */
static inline void ring_set_used_event(const struct ring *ring, uint16_t event)
{
	ring_put16(ring, gpa_add(ring->avail, 4 + (uint64_t)2 * ring->size),
		   event);
}

/* What the device wants to be kicked for: avail_event (EVENT_IDX). */
static inline uint16_t ring_avail_event(const struct ring *ring)
{
	return ring_get16(ring,
			  gpa_add(ring->used, 4 + (uint64_t)8 * ring->size));
}

static inline void ring_set_avail_flags(const struct ring *ring, uint16_t flags)
{
	ring_put16(ring, ring->avail, flags);
}

static inline uint16_t ring_used_flags(const struct ring *ring)
{
	return ring_get16(ring, ring->used);
}

#endif
