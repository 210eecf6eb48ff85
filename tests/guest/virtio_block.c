/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk driven as it should be, by interrupts: read, write, read again, flush,
 * name; directly and through indirect tables; reset and started anew; with and
 * without EVENT_IDX.
 */
#include "tests/guest/virtio.h"

#define SECTORS 8

static struct vring ring;
static uint8_t data[SECTORS * SECTOR] __attribute__((aligned(512)));
static uint8_t again[SECTORS * SECTOR] __attribute__((aligned(512)));
static unsigned slot;
static volatile unsigned interrupts;

static void on_interrupt(void)
{
	uint32_t why = reg_read(slot, R_INTERRUPT);

	/* 0: raised before a reset, and taken after it. */
	if (why & ~1u)
		fail("an interrupt for %x", why);
	interrupts += why;
	reg_write(slot, R_INTERRUPT_ACK, why);
}

static void must_be(int got, int wanted, const char *what)
{
	if (got != wanted)
		fail("%s: status %d, not %d", what, got, wanted);
}

static void round(uint64_t features, unsigned pass)
{
	const uint64_t sector = 16 + 8UL * pass;
	unsigned before;

	virtio_start(slot, features, &ring);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 512 + pass);
	before = interrupts;
	irq_enable();
	must_be(block_request(slot, &ring, BLK_WRITE, sector, data,
			      sizeof(data)),
		0, "write");
	must_be(block_request(slot, &ring, BLK_FLUSH, 0, NULL, 0), 0, "flush");
	memset(again, 0xee, sizeof(again));
	must_be(block_request(slot, &ring, BLK_READ, sector, again,
			      sizeof(again)),
		0, "read");
	wait_a_while();
	irq_disable();
	if (memcmp(data, again, sizeof(data)))
		fail("read back something else");
	if (interrupts == before)
		fail("no interrupt came");
	/* More requests than the ring has entries, one after the other. */
	for (unsigned i = 0; i < 100; i++)
		must_be(block_request(slot, &ring, BLK_READ, sector + i % 8,
				      again, SECTOR),
			0, "read one");
	print("round %u ok\n", pass);
}

void guest_main(const uint8_t *boot_params)
{
	uint64_t capacity;
	char id[21] = { 0 };

	(void)boot_params;
	slot = cmdline_number("slot", 0);
	virtio_init();
	irq_init();
	irq_handle(IRQ_VECTOR, on_interrupt);
	irq_route(VIRTIO_GSI + slot, IRQ_VECTOR, false);
	if (reg_read(slot, R_DEVICE_ID) != ID_BLOCK)
		fail("slot %u is no disk", slot);
	capacity = reg_read(slot, R_CONFIG) |
		   (uint64_t)reg_read(slot, R_CONFIG + 4) << 32;
	print("capacity %lu\n", (unsigned long)capacity);
	round(F_VERSION_1, 0);
	round(F_VERSION_1 | F_EVENT_IDX, 1);
	round(F_VERSION_1 | F_EVENT_IDX | F_INDIRECT, 2);
	must_be(block_request(slot, &ring, BLK_GET_ID, 0, id, 20), 0, "id");
	print("id %s\n", id);
	must_be(block_request(slot, &ring, BLK_READ, capacity, again, SECTOR),
		1, "past the end");
	must_be(block_request(slot, &ring, 77, 0, again, SECTOR), 2,
		"no such request");
}
