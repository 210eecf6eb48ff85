/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/queue.c tests/unit/guest_ram.c */
#include "tests/unit/queue_help.h"

struct ram ram;
struct ring ring;
struct queue queue;
struct chain chain;

void start_sized(uint16_t size, bool event_idx, bool indirect)
{
	struct queue_config config;

	ring_init(&ring, &ram, GPA(RING_AT), size);
	ring.event_idx = event_idx;
	ring.indirect = indirect;
	config = ring_config(&ring);
	assert_int_equal(queue_start(&queue, &ram, &config), 0);
}

void start(bool event_idx, bool indirect)
{
	start_sized(SIZE, event_idx, indirect);
}

void expect_segment(unsigned i, uint64_t at, size_t len)
{
	assert_ptr_equal(chain.segment[i].iov_base, ram_span(&ram, GPA(at), 1));
	assert_int_equal(chain.segment[i].iov_len, len);
}

const struct ring_buffer mixed[4] = {
	{ { DATA }, 16, false },
	{ { DATA + 0x1000 }, 0x2000, false },
	{ { RAM_END - 1 }, 1, true },
	{ { 0 }, 5, true },
};

void expect_mixed(uint16_t head)
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

int make(void **state)
{
	(void)state;
	make_ram(&ram, RAM_END);
	return 0;
}

int destroy(void **state)
{
	(void)state;
	ram_destroy(&ram);
	return 0;
}
