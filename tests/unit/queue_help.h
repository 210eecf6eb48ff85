/*
 * For the tests of virtio/queue.c: one queue over 32 MiB of RAM, its driver's
 * side, and a chain of two buffers to read and two to write. Included by one C
 * file of a test program.
 */
#ifndef TESTS_UNIT_QUEUE_HELP_H
#define TESTS_UNIT_QUEUE_HELP_H

#include <errno.h>

#include "tests/unit/boot_help.h"
#include "tests/unit/ring.h"

#define SIZE	8
#define RING_AT 0x10000
#define DATA	0x100000 /* buffers */
#define TABLE	0x80000	 /* indirect tables */
#define RAM_END (32 * MIB)

static struct ram ram;
static struct ring ring;
static struct queue queue;
static struct chain chain;

static inline void start_sized(uint16_t size, bool event_idx, bool indirect)
{
	struct queue_config config;

	ring_init(&ring, &ram, GPA(RING_AT), size);
	ring.event_idx = event_idx;
	ring.indirect = indirect;
	config = ring_config(&ring);
	assert_int_equal(queue_start(&queue, &ram, &config), 0);
}

static inline void start(bool event_idx, bool indirect)
{
	start_sized(SIZE, event_idx, indirect);
}

static inline void expect_segment(unsigned i, uint64_t at, size_t len)
{
	assert_ptr_equal(chain.segment[i].iov_base, ram_span(&ram, GPA(at), 1));
	assert_int_equal(chain.segment[i].iov_len, len);
}

static const struct ring_buffer mixed[] = {
	{ { DATA }, 16, false },
	{ { DATA + 0x1000 }, 0x2000, false },
	{ { RAM_END - 1 }, 1, true },
	{ { 0 }, 5, true },
};

static inline void expect_mixed(uint16_t head)
{
	assert_int_equal(queue_pop(&queue, &chain), 1);
	assert_int_equal(chain.head, head);
	assert_int_equal(chain.count, 4);
	assert_int_equal(chain.readable, 2);
	assert_int_equal(chain.read_len, 0x2010);
	assert_int_equal(chain.write_len, 6);
	expect_segment(0, DATA, 16);
	expect_segment(1, DATA + 0x1000, 0x2000);
	expect_segment(2, RAM_END - 1, 1);
	expect_segment(3, 0, 5);
}

static inline int make(void **state)
{
	(void)state;
	make_ram(&ram, RAM_END);
	return 0;
}

static inline int destroy(void **state)
{
	(void)state;
	ram_destroy(&ram);
	return 0;
}

#endif
