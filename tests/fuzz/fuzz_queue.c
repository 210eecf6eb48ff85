/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/queue.c mem/ram.c mem/log.c mem/pool.c */
/*
 * The queue walk over a small RAM that the input fills: whatever the driver
 * wrote, a chain lies in RAM, fits its own sums, and the walk ends.
 *
 *	byte 0		log2 of the queue's size
 *	byte 1		features: bit 0 EVENT_IDX, bit 1 INDIRECT_DESC
 *	bytes 2..7	descriptor table, avail ring, used ring: offset / 4, 16
 *			bits each
 *	byte 8		number of operations, then one byte each: see operate()
 *	the rest	RAM, from 0 on
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "mem/ram.h"
#include "mem/util.h"
#include "virtio/queue.h"

#define RAM_SIZE (64 * 1024)
#define HEADER	 9

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ram ram;
static struct queue queue;
static struct chain chain;
static uint16_t heads[QUEUE_SIZE_MAX]; /* taken, not yet given back */
static unsigned taken;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

static void check_segments(void)
{
	const uint8_t *low = ram.region[0].host, *high = low + RAM_SIZE;
	uint64_t bytes[2] = { 0 };

	must(chain.head < queue.config.size, "head within the table");
	must(chain.count && chain.count <= queue.config.size, "chain length");
	must(chain.readable <= chain.count, "readable part");
	for (unsigned i = 0; i < chain.count; i++) {
		const uint8_t *at = chain.segment[i].iov_base;
		size_t len = chain.segment[i].iov_len;

		must(len && at >= low && at < high && len <= RAM_SIZE,
		     "segment begins in RAM");
		must(at + len <= high, "segment ends in RAM");
		bytes[i >= chain.readable] += len;
	}
	must(bytes[0] == chain.read_len, "bytes to read");
	must(bytes[1] == chain.write_len, "bytes to write");
}

/* Through both parts in steps that the operation's byte decides. */
static void check_cursors(uint8_t step)
{
	struct cursor reader = chain_reader(&chain);
	struct cursor writer = chain_writer(&chain);
	uint8_t buffer[64];
	struct iovec iov[4];
	size_t len = step % sizeof(buffer) + 1, bytes, all = 0;

	while (cursor_get(&reader, buffer, len))
		all += len;
	must(reader.left < len, "cursor_get stops early");
	must(!reader.left || cursor_skip(&reader, reader.left), "the rest");
	must(!cursor_get(&reader, buffer, 1), "cursor_get past the end");
	reader = chain_reader(&chain);
	all = 0;
	while (cursor_iov(&reader, len * 100, iov, 1 + step % 4, &bytes))
		all += bytes;
	must(all == chain.read_len, "cursor_iov gives everything");
	if (chain.write_len > len) {
		memset(buffer, step, sizeof(buffer));
		must(cursor_skip(&writer, chain.write_len - len), "skip");
		must(cursor_put(&writer, buffer, len), "cursor_put");
		must(!cursor_put(&writer, buffer, 1), "put past the end");
	}
}

static bool pop(uint8_t step)
{
	bool was_broken = queue.broken;
	int result = queue_pop(&queue, &chain);

	must(result == 1 || result == 0 || result == -EPROTO, "result of pop");
	must(!was_broken || result == -EPROTO, "a broken queue gives nothing");
	must(queue.broken == (result == -EPROTO), "broken");
	if (result != 1)
		return false;
	check_segments();
	check_cursors(step);
	if (taken < QUEUE_SIZE_MAX)
		heads[taken++] = chain.head;
	return true;
}

static void operate(uint8_t operation, const uint8_t *data, size_t size)
{
	const unsigned argument = operation >> 3;
	uint16_t before = queue.next_used;

	switch (operation & 7) {
	case 0:
	case 1:
		/* A device takes what there is; a driver adds no more here. */
		for (unsigned i = 0; i <= QUEUE_SIZE_MAX; i++)
			if (!pop(operation))
				return;
		must(false, "more chains than the ring has entries");
		break;
	case 2:
		pop(operation);
		break;
	case 3:
		if (taken) {
			queue_unpop(&queue);
			taken--;
		}
		break;
	case 4:
		while (taken)
			queue_push(&queue, heads[--taken], argument);
		must(!queue.broken || queue.next_used == before,
		     "a broken queue takes nothing");
		break;
	case 5:
		must(!queue_publish(&queue) || !queue.broken, "publish");
		must(!queue_publish(&queue), "published twice");
		break;
	case 6:
		queue_want_kick(&queue);
		must(queue.broken || !queue_want_kick(&queue),
		     "nothing is new the second time");
		break;
	default:
		/* The driver changes its mind, and its memory. */
		for (size_t i = argument; i < size && i < RAM_SIZE; i += 32)
			ram.region[0].host[i] ^= data[size - 1 - i];
		queue_ignore_kicks(&queue);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ram_options options = { .size = RAM_SIZE };
	struct queue_config config;
	size_t operations, left;

	if (!ram.size && ram_create(&ram, &options))
		abort();
	if (size < HEADER || size < HEADER + (size_t)data[8])
		return 0;
	config = (struct queue_config){
		.size = (uint16_t)(1u << data[0] % 9),
		.event_idx = data[1] & 1,
		.indirect = data[1] & 2,
		.desc = GPA(4ULL * get_le16(data + 2)),
		.driver = GPA(4ULL * get_le16(data + 4)),
		.device = GPA(4ULL * get_le16(data + 6)),
	};
	operations = data[8];
	left = size - HEADER - operations;
	memset(ram.region[0].host, 0, RAM_SIZE);
	memcpy(ram.region[0].host, data + HEADER + operations,
	       left < RAM_SIZE ? left : RAM_SIZE);
	taken = 0;
	if (queue_start(&queue, &ram, &config))
		return 0;
	for (size_t i = 0; i < operations; i++)
		operate(data[HEADER + i], data, size);
	queue_stop(&queue);
	must(queue_pop(&queue, &chain) <= 0, "a stopped queue is empty");
	return 0;
}
