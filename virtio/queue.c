/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Split virtqueues (virtio 1.2, 2.7), the device's side.
 *
 * The driver fills descriptors, puts the index of a chain's first one into the
 * avail ring and counts avail->idx up; the device walks the chain, and hands
 * the same index back through the used ring. Both count freely modulo 2^16.
 *
 *	desc	size x { addr 64, len 32, flags 16, next 16 }
 *	avail	flags 16, idx 16, ring[size] 16, used_event 16
 *	used	flags 16, idx 16, ring[size] { id 32, len 32 }, avail_event 16
 *
 * Nothing that the driver wrote is trusted, and it may write at any time: each
 * field is loaded exactly once (by atomic or volatile access, which no compiler
 * repeats), then judged. Ordering: avail->idx is loaded with acquire before
 * what it covers, used->idx stored with release after what it covers. Where the
 * device stores and must then load what the driver stored in answer (2.7.7,
 * 2.7.10), the store is an exchange, x86's cheapest full barrier.
 *
 * Owns nothing; guest RAM outlives it. One thread at a time.
 */
#include "virtio/queue.h"

#include <errno.h>

#include "mem/util.h"

#define DESC_SIZE     16u
#define USED_SIZE     8u
#define RING_HEADER   4u /* flags, idx */
#define RING_EVENT    2u
#define DESC_ALIGN    16u /* virtio 1.2, 2.7 */
#define AVAIL_ALIGN   2u
#define USED_ALIGN    4u
#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY	   1u

/* A descriptor as it was when it was looked at. */
struct desc {
	gpa addr;
	uint32_t len;
	uint16_t flags, next;
};

/* A table of descriptors: the queue's own, or an indirect one. */
struct table {
	const uint8_t *at;
	uint32_t count;
	bool indirect;
};

static uint16_t load16(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at,
			       __ATOMIC_RELAXED);
}

static uint16_t load16_acquire(const uint8_t *at)
{
	return __atomic_load_n((const uint16_t *)(const void *)at,
			       __ATOMIC_ACQUIRE);
}

/* An indirect table need not be aligned, so this is no atomic; still once. */
static uint64_t load64(const uint8_t *at)
{
	const volatile struct {
		uint64_t value;
	} __attribute__((packed)) *from = (const volatile void *)at;

	return from->value;
}

static void store16(uint8_t *at, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)at, value, __ATOMIC_RELAXED);
}

/* Stores with release, and nothing after it is loaded before. */
static void store16_fence(uint8_t *at, uint16_t value)
{
	__atomic_exchange_n((uint16_t *)(void *)at, value, __ATOMIC_SEQ_CST);
}

static struct desc load_desc(const struct table *table, uint32_t index)
{
	const uint8_t *at = table->at + (size_t)index * DESC_SIZE;
	uint64_t rest = load64(at + 8);

	return (struct desc){
		.addr = GPA(load64(at)),
		.len = (uint32_t)rest,
		.flags = (uint16_t)(rest >> 32),
		.next = (uint16_t)(rest >> 48),
	};
}

static uint8_t *ring_at(const struct ram *ram, gpa at, uint64_t align,
			uint64_t size)
{
	return at.v % align ? NULL : ram_span(ram, at, size);
}

int queue_start(struct queue *queue, const struct ram *ram,
		const struct queue_config *config)
{
	const uint64_t size = config->size;

	*queue = (struct queue){
		.ram = ram,
		.config = *config,
		.avail_seen = config->next_avail,
		.next_avail = config->next_avail,
		.next_used = config->next_used,
		.published = config->published,
		.told = config->published,
	};
	if (!size || size > QUEUE_SIZE_MAX || size & (size - 1) ||
	    (uint16_t)(queue->next_avail - queue->next_used) > size ||
	    (uint16_t)(queue->next_used - queue->published) > size)
		return -EINVAL;
	queue->desc = ring_at(ram, config->desc, DESC_ALIGN, size * DESC_SIZE);
	queue->avail = ring_at(ram, config->driver, AVAIL_ALIGN,
			       RING_HEADER + size * 2 + RING_EVENT);
	queue->used = ring_at(ram, config->device, USED_ALIGN,
			      RING_HEADER + size * USED_SIZE + RING_EVENT);
	if (!queue->desc || !queue->avail || !queue->used)
		return -EINVAL;
	queue->mask = (uint16_t)(size - 1);
	queue->ready = true;
	return 0;
}

void queue_stop(struct queue *queue)
{
	queue->ready = false;
}

static bool is_queue_usable(const struct queue *queue)
{
	return queue->ready && !queue->broken;
}

static int mark_queue_broken(struct queue *queue)
{
	queue->broken = true;
	return -EPROTO;
}

/* Looks how far the driver has come: the number of chains that wait. */
static int refresh_avail_index(struct queue *queue)
{
	uint16_t idx = load16_acquire(queue->avail + 2);
	uint16_t waiting = (uint16_t)(idx - queue->next_avail);

	/* 2.7.13.3: it cannot be more than a ring ahead of the device. */
	if (waiting > queue->config.size)
		return mark_queue_broken(queue);
	queue->avail_seen = idx;
	return waiting;
}

/*
 * ram_span, without the call for low RAM, where most buffers are. An empty
 * buffer has no address.
 */
static uint8_t *resolve_segment(const struct ram *ram, gpa at, uint32_t len)
{
	const struct ram_region *low = &ram->region[0];
	uint64_t offset = at.v - low->start.v;

	if (offset < low->size && len && len <= low->size - offset)
		return low->host + offset;
	return ram_span(ram, at, len);
}

/* 2.7.5.3: the last descriptor of a chain may refer to a table of more. */
static bool enter_indirect(const struct queue *queue, struct table *table,
			   const struct desc *desc)
{
	if (!queue->config.indirect || table->indirect ||
	    desc->flags & DESC_NEXT || desc->len % DESC_SIZE)
		return false;
	*table = (struct table){
		.at = resolve_segment(queue->ram, desc->addr, desc->len),
		.count = desc->len / DESC_SIZE,
		.indirect = true,
	};
	return table->at;
}

/*
 * Ends, whatever the driver wrote: no more than `size` buffers are taken, and a
 * table is entered at most once. What is counted stays in registers.
 */
static bool walk_descriptors(const struct queue *queue, struct chain *chain)
{
	struct table table = { queue->desc, queue->config.size, false };
	unsigned count = 0, readable = 0;
	uint64_t read_len = 0, write_len = 0;
	uint32_t next = chain->head;
	struct desc desc;
	uint8_t *host;

	do {
		if (next >= table.count)
			return false;
		desc = load_desc(&table, next);
		next = desc.next;
		if (desc.flags & DESC_INDIRECT) {
			if (!enter_indirect(queue, &table, &desc))
				return false;
			desc.flags = DESC_NEXT;
			next = 0;
			continue;
		}
		host = resolve_segment(queue->ram, desc.addr, desc.len);
		if (!host || count > queue->mask)
			return false;
		chain->segment[count++] = (struct iovec){ host, desc.len };
		if (desc.flags & DESC_WRITE) {
			write_len += desc.len;
			continue;
		}
		/* 2.7.4.2: what is read comes before what is written. */
		if (write_len)
			return false;
		read_len += desc.len;
		readable = count;
	} while (desc.flags & DESC_NEXT);
	chain->count = (uint16_t)count;
	chain->readable = (uint16_t)readable;
	chain->read_len = (uint32_t)read_len;
	chain->write_len = (uint32_t)write_len;
	/* 2.7.5: at most 2^32 bytes in all. */
	return read_len + write_len <= UINT32_MAX;
}

int queue_pop(struct queue *queue, struct chain *chain)
{
	int waiting;

	if (!is_queue_usable(queue))
		return queue->broken ? -EPROTO : 0;
	if (queue->next_avail == queue->avail_seen) {
		waiting = refresh_avail_index(queue);
		if (waiting <= 0)
			return waiting;
	}
	chain->head = load16(queue->avail + RING_HEADER +
			     2u * (queue->next_avail & queue->mask));
	if (!walk_descriptors(queue, chain))
		return mark_queue_broken(queue);
	queue->next_avail++;
	return 1;
}

void queue_unpop(struct queue *queue)
{
	queue->next_avail--;
}

void queue_push(struct queue *queue, uint16_t head, uint32_t written)
{
	size_t entry = queue->next_used & queue->mask;

	if (!is_queue_usable(queue))
		return;
	put_le64(queue->used + RING_HEADER + USED_SIZE * entry,
		 head | (uint64_t)written << 32);
	queue->next_used++;
}

bool queue_show(struct queue *queue)
{
	if (queue->next_used == queue->published || !is_queue_usable(queue))
		return false;
	queue->published = queue->next_used;
	store16_fence(queue->used + 2, queue->published);
	return true;
}

uint16_t queue_untold(const struct queue *queue)
{
	return (uint16_t)(queue->published - queue->told);
}

/*
 * However late it is asked: a driver that has set its event since, or allowed
 * interrupts, looks for itself at what was visible before (2.7.7.1).
 */
bool queue_is_awaited(const struct queue *queue)
{
	uint16_t event;

	if (!queue_untold(queue) || !is_queue_usable(queue))
		return false;
	if (!queue->config.event_idx)
		return !(load16(queue->avail) & AVAIL_NO_INTERRUPT);
	/* 2.7.7.2: does the driver's event lie among those entries? */
	event = load16(queue->avail + RING_HEADER + 2u * queue->config.size);
	return (uint16_t)(queue->published - event - 1) < queue_untold(queue);
}

void queue_told(struct queue *queue)
{
	queue->told = queue->published;
}

bool queue_publish(struct queue *queue)
{
	bool awaited;

	queue_show(queue);
	awaited = queue_is_awaited(queue);
	queue_told(queue);
	return awaited;
}

void queue_ignore_kicks(struct queue *queue)
{
	/* With EVENT_IDX nothing: the event that the driver has passed stays */
	if (is_queue_usable(queue) && !queue->config.event_idx)
		store16(queue->used, USED_NO_NOTIFY);
}

bool queue_want_kick(struct queue *queue)
{
	uint16_t seen = queue->avail_seen;

	if (!is_queue_usable(queue))
		return false;
	if (queue->config.event_idx)
		store16_fence(queue->used + RING_HEADER +
				      (size_t)USED_SIZE * queue->config.size,
			      seen);
	else
		store16_fence(queue->used, 0);
	return refresh_avail_index(queue) < 0 || queue->avail_seen != seen;
}

struct cursor chain_reader(const struct chain *chain)
{
	return (struct cursor){
		.chain = chain,
		.end = chain->readable,
		.left = chain->read_len,
	};
}

struct cursor chain_writer(const struct chain *chain)
{
	return (struct cursor){
		.chain = chain,
		.segment = chain->readable,
		.end = chain->count,
		.left = chain->write_len,
	};
}

/* The next at most `len` bytes that lie together; moves on past them. */
static struct iovec cursor_step(struct cursor *cursor, size_t len)
{
	const struct iovec *segment = &cursor->chain->segment[cursor->segment];
	struct iovec part = {
		.iov_base = (uint8_t *)segment->iov_base + cursor->offset,
		.iov_len = segment->iov_len - cursor->offset,
	};

	if (part.iov_len > len) {
		part.iov_len = len;
		cursor->offset += len;
	} else {
		cursor->segment++;
		cursor->offset = 0;
	}
	cursor->left -= part.iov_len;
	return part;
}

bool cursor_get(struct cursor *cursor, void *to, size_t len)
{
	uint8_t *at = to;

	if (len > cursor->left)
		return false;
	for (struct iovec part; len; len -= part.iov_len) {
		part = cursor_step(cursor, len);
		memcpy(at, part.iov_base, part.iov_len);
		at += part.iov_len;
	}
	return true;
}

bool cursor_put(struct cursor *cursor, const void *from, size_t len)
{
	const uint8_t *at = from;

	if (len > cursor->left)
		return false;
	for (struct iovec part; len; len -= part.iov_len) {
		part = cursor_step(cursor, len);
		memcpy(part.iov_base, at, part.iov_len);
		at += part.iov_len;
	}
	return true;
}

bool cursor_skip(struct cursor *cursor, size_t len)
{
	if (len > cursor->left)
		return false;
	while (len)
		len -= cursor_step(cursor, len).iov_len;
	return true;
}

unsigned cursor_iov(struct cursor *cursor, size_t len, struct iovec *iov,
		    unsigned max, size_t *bytes)
{
	unsigned count = 0;

	if (len > cursor->left)
		len = cursor->left;
	*bytes = 0;
	while (len && count < max) {
		iov[count] = cursor_step(cursor, len);
		*bytes += iov[count].iov_len;
		len -= iov[count++].iov_len;
	}
	return count;
}
