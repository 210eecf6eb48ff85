/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Breaks the rules of virtio on the disk in slot 0, one after the other: each
 * time the device must ask for a reset and do nothing else, the disk in slot 1
 * must go on to serve, and a reset must make good. See virtio 1.2, 2.7, and
 * tests/unit/test_queue_bad.c, which has more cases.
 */
#include "tests/guest/virtio.h"

#define RING_SIZE 16
#define FEATURES  (F_VERSION_1 | F_INDIRECT | F_EVENT_IDX)
#define NOWHERE	  0xE0000000UL /* neither RAM nor a device */

static struct vring bad_ring, good_ring;
static uint8_t buffer[SECTOR];
static struct vring_desc table[RING_SIZE + 2] __attribute__((aligned(16)));

static uint64_t at(const volatile void *pointer)
{
	return (uintptr_t)pointer;
}

static void set(unsigned i, uint64_t addr, uint32_t len, uint16_t flags,
		uint16_t next)
{
	vring_set(&bad_ring, i, addr, len, flags, next);
}

/* -- malformed rings: each is filled in, offered and notified -------------- */

static void head_past_table(void)
{
	vring_offer(&bad_ring, RING_SIZE);
}

static void next_past_table(void)
{
	set(0, at(buffer), 16, D_NEXT, RING_SIZE);
	vring_offer(&bad_ring, 0);
}

static void loop_of_one(void)
{
	set(0, at(buffer), 16, D_NEXT, 0);
	vring_offer(&bad_ring, 0);
}

static void loop_of_two(void)
{
	set(0, at(buffer), 16, D_NEXT, 1);
	set(1, at(buffer), 16, D_NEXT, 0);
	vring_offer(&bad_ring, 0);
}

static void outside_of_ram(void)
{
	set(0, NOWHERE, 16, 0, 0);
	vring_offer(&bad_ring, 0);
}

static void over_the_end(void)
{
	set(0, at(buffer), 0xfffffff0, 0, 0);
	vring_offer(&bad_ring, 0);
}

static void address_wraps(void)
{
	set(0, ~0UL - 7, 16, 0, 0);
	vring_offer(&bad_ring, 0);
}

static void onto_a_device(void)
{
	set(0, VIRTIO_BASE, 16, D_WRITE, 0);
	vring_offer(&bad_ring, 0);
}

static void lengths_overflow(void)
{
	/* 16 times 256 MiB are 2^32, where there is that much RAM. */
	for (uint16_t i = 0; i < RING_SIZE; i++)
		set(i, 0, 1u << 28, i + 1 < RING_SIZE ? D_NEXT : 0,
		    (uint16_t)(i + 1));
	vring_offer(&bad_ring, 0);
}

static void empty_buffer(void)
{
	set(0, at(buffer), 0, 0, 0);
	vring_offer(&bad_ring, 0);
}

static void write_before_read(void)
{
	set(0, at(buffer), 16, D_NEXT | D_WRITE, 1);
	set(1, at(buffer), 16, 0, 0);
	vring_offer(&bad_ring, 0);
}

static void index_jumps(void)
{
	bad_ring.avail_idx = RING_SIZE;
	vring_offer(&bad_ring, 0);
}

static void index_goes_back(void)
{
	bad_ring.avail_idx = 0xfff0;
	vring_offer(&bad_ring, 0);
}

static void offer_table(uint32_t len, uint16_t flags)
{
	set(0, at(table), len, flags, 1);
	vring_offer(&bad_ring, 0);
}

static void too_long(void)
{
	for (uint16_t i = 0; i <= RING_SIZE; i++)
		table[i] = (struct vring_desc){ at(buffer), 1,
						i < RING_SIZE ? D_NEXT : 0,
						(uint16_t)(i + 1) };
	offer_table((RING_SIZE + 1) * sizeof(table[0]), D_INDIRECT);
}

static void nested_table(void)
{
	table[0] = (struct vring_desc){ at(table), 32, D_INDIRECT, 0 };
	offer_table(32, D_INDIRECT);
}

static void table_and_next(void)
{
	table[0] = (struct vring_desc){ at(buffer), 16, 0, 0 };
	set(1, at(buffer), 16, 0, 0);
	offer_table(16, D_INDIRECT | D_NEXT);
}

static void odd_table(void)
{
	table[0] = (struct vring_desc){ at(buffer), 16, 0, 0 };
	offer_table(24, D_INDIRECT);
}

static void empty_table(void)
{
	offer_table(0, D_INDIRECT);
}

static void table_is_the_ring(void)
{
	set(0, at(bad_ring.desc), sizeof(bad_ring.desc[0]) * RING_SIZE,
	    D_INDIRECT, 0);
	vring_offer(&bad_ring, 0);
}

static void table_outside_of_ram(void)
{
	set(0, NOWHERE, 16, D_INDIRECT, 0);
	vring_offer(&bad_ring, 0);
}

static const struct bad_ring {
	const char *name;
	void (*make)(void);
} bad_rings[] = {
	{ "head past the table", head_past_table },
	{ "next past the table", next_past_table },
	{ "descriptor loop of one", loop_of_one },
	{ "descriptor loop of two", loop_of_two },
	{ "buffer outside of RAM", outside_of_ram },
	{ "buffer over the end of RAM", over_the_end },
	{ "buffer address wraps", address_wraps },
	{ "buffer on a device", onto_a_device },
	{ "lengths overflow", lengths_overflow },
	{ "empty buffer", empty_buffer },
	{ "write before read", write_before_read },
	{ "index jumps", index_jumps },
	{ "index goes back", index_goes_back },
	{ "chain longer than the ring", too_long },
	{ "table in a table", nested_table },
	{ "table with NEXT", table_and_next },
	{ "table of one and a half", odd_table },
	{ "empty table", empty_table },
	{ "the ring as its own table", table_is_the_ring },
	{ "table outside of RAM", table_outside_of_ram },
};

/* -- what must come of it -------------------------------------------------- */

static bool wants_reset(void *arg)
{
	(void)arg;
	return reg_read(0, R_STATUS) & S_NEEDS_RESET;
}

static void others_serve(const char *name)
{
	if (block_request(1, &good_ring, BLK_READ, 0, buffer, SECTOR))
		fail("%s: disk 1 does not serve", name);
}

static void reset_mends(const char *name)
{
	virtio_start(0, FEATURES, &bad_ring);
	if (block_request(0, &bad_ring, BLK_READ, 1, buffer, SECTOR))
		fail("%s: disk 0 does not serve after a reset", name);
	print("ok %s\n", name);
}

static void try_ring(const struct bad_ring *bad)
{
	virtio_start(0, FEATURES, &bad_ring);
	bad->make();
	reg_write(0, R_QUEUE_NOTIFY, 0);
	if (!wait_for(wants_reset, NULL))
		fail("%s: status %x", bad->name, reg_read(0, R_STATUS));
	if (!(reg_read(0, R_INTERRUPT) & 2))
		fail("%s: interrupt status %x", bad->name,
		     reg_read(0, R_INTERRUPT));
	/* Nothing more until the reset, not even for good chains. */
	vring_add(&bad_ring, buffer, 16, 0);
	reg_write(0, R_QUEUE_NOTIFY, 0);
	others_serve(bad->name);
	if (bad_ring.used.idx)
		fail("%s: something came back", bad->name);
	reset_mends(bad->name);
}

static void must_want_reset(const char *name)
{
	if (!wants_reset(NULL))
		fail("%s: status %x", name, reg_read(0, R_STATUS));
	reg_write(0, R_STATUS, S_RUNNING);
	vring_clear(&bad_ring, RING_SIZE);
	vring_add(&bad_ring, buffer, 16, 0);
	reg_write(0, R_QUEUE_NOTIFY, 0);
	others_serve(name);
	if (bad_ring.used.idx)
		fail("%s: something came back", name);
	reset_mends(name);
}

static void try_features(void)
{
	if (virtio_features(0, FEATURES & ~F_VERSION_1) || wants_reset(NULL))
		fail("without VERSION_1: status %x", reg_read(0, R_STATUS));
	reset_mends("features without VERSION_1");
	for (unsigned bit = 0; bit < 64; bit++)
		if (!(virtio_offered(0) >> bit & 1) &&
		    (virtio_features(0, FEATURES | 1UL << bit) ||
		     !wants_reset(NULL)))
			fail("feature %u: status %x", bit,
			     reg_read(0, R_STATUS));
	must_want_reset("features that were not offered");
	virtio_features(0, 0);
	reg_write(0, R_STATUS, S_DRIVER | S_DRIVER_OK);
	must_want_reset("DRIVER_OK without FEATURES_OK");
}

static void try_queues(void)
{
	const uint64_t desc = at(bad_ring.desc), avail = at(&bad_ring.avail);
	const uint64_t used = at(&bad_ring.used);
	const struct {
		const char *name;
		unsigned size;
		uint64_t desc, driver, device;
	} queues[] = {
		{ "descriptors outside of RAM", 16, NOWHERE, avail, used },
		{ "avail ring outside of RAM", 16, desc, NOWHERE, used },
		{ "used ring outside of RAM", 16, desc, avail, NOWHERE },
		{ "used ring on a device", 16, desc, avail, VIRTIO_BASE },
		{ "queue address wraps", 16, ~0UL - 15, avail, used },
		{ "descriptors askew", 16, desc + 8, avail, used },
		{ "used ring askew", 16, desc, avail, used + 2 },
		{ "queue of 0", 0, desc, avail, used },
		{ "queue of 3", 3, desc, avail, used },
		{ "queue of 65536", 65536, desc, avail, used },
	};

	for (unsigned i = 0; i < sizeof(queues) / sizeof(queues[0]); i++) {
		virtio_features(0, FEATURES);
		vring_clear(&bad_ring, RING_SIZE);
		if (virtio_queue_at(0, 0, queues[i].size, queues[i].desc,
				    queues[i].driver, queues[i].device))
			fail("%s: ready", queues[i].name);
		must_want_reset(queues[i].name);
	}
}

/* Every offset in every width; what comes of it is not asked. */
static void try_accesses(void)
{
	for (unsigned offset = 0; offset < VIRTIO_END; offset++) {
		void *reg = at_physical(VIRTIO_BASE + offset);

		(void)*(volatile uint8_t *)reg;
		*(volatile uint8_t *)reg = 0xff;
		(void)*(volatile uint16_t *)reg;
		*(volatile uint16_t *)reg = 0xffff;
		(void)*(volatile uint32_t *)reg;
		*(volatile uint32_t *)reg = 0xffffffff;
		(void)*(volatile uint64_t *)reg;
		*(volatile uint64_t *)reg = ~0UL;
	}
	others_serve("any access");
	reset_mends("any access");
}

void guest_main(const uint8_t *boot_params)
{
	(void)boot_params;
	virtio_init();
	virtio_start(1, F_VERSION_1, &good_ring);
	reset_mends("to begin with");
	try_features();
	try_queues();
	for (unsigned i = 0; i < sizeof(bad_rings) / sizeof(bad_rings[0]); i++)
		try_ring(&bad_rings[i]);
	try_accesses();
	print("all is well\n");
}
