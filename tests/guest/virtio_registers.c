/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers under attack, by two CPUs at once. The second one writes and reads
 * in every width and at any offset: all of the disk in slot 1, and of that in
 * slot 0 what may not be written, which must stay as it was. Meanwhile the
 * first one has the device in slot 1 started, broken and reset, so that what is
 * read there changes, and reads from the disk in slot 0. `rounds=` of the
 * second.
 */
#include "tests/guest/virtio.h"

#define PAGE_SIZE 0x1000
#define KINDS	  8

static struct vring ring, bad_ring;
static uint8_t sector[SECTOR];
static volatile bool over;
static volatile unsigned writes, wrong;
static volatile uint32_t wrong_at;
static uint64_t seed = 1;

static uint32_t random_below(uint32_t limit)
{
	seed = seed * 6364136223846793005UL + 1442695040888963407UL;
	return (uint32_t)(seed >> 33) % limit;
}

static volatile void *at(unsigned slot, unsigned offset)
{
	return at_physical(VIRTIO_BASE + slot * VIRTIO_SLOT + offset);
}

/* -- the second CPU ---------------------------------------------------------
 */

static void store(volatile void *to, unsigned kind)
{
	const uint64_t value = ~0UL ^ (seed & 0xff00ff00ff00ffUL);

	switch (kind) {
	case 0:
		*(volatile uint8_t *)to = (uint8_t)value;
		break;
	case 1:
		*(volatile uint16_t *)to = (uint16_t)value;
		break;
	case 2:
		*(volatile uint32_t *)to = (uint32_t)value;
		break;
	case 3:
		*(volatile uint64_t *)to = value;
		break;
	case 4:
		__atomic_exchange_n((volatile uint32_t *)to, (uint32_t)value,
				    __ATOMIC_SEQ_CST);
		break;
	case 5:
		__atomic_fetch_add((volatile uint32_t *)to, 1,
				   __ATOMIC_SEQ_CST);
		break;
	case 6:
		__atomic_fetch_or((volatile uint8_t *)to, 0xff,
				  __ATOMIC_SEQ_CST);
		break;
	default:
		for (unsigned i = 0; i < 16; i++)
			((volatile uint8_t *)to)[i] = (uint8_t)value;
	}
}

static void load(volatile void *from, unsigned kind)
{
	if (kind % 4 == 0)
		(void)*(volatile uint8_t *)from;
	else if (kind % 4 == 1)
		(void)*(volatile uint16_t *)from;
	else if (kind % 4 == 2)
		(void)*(volatile uint32_t *)from;
	else
		(void)*(volatile uint64_t *)from;
}

/* What slot 0 shows from R_INTERRUPT to the end of its page; Status besides. */
static void remember(uint8_t *to)
{
	for (unsigned i = 0; i < VIRTIO_END - R_INTERRUPT; i++)
		to[i] = *(volatile uint8_t *)at(0, R_INTERRUPT + i);
}

static void compare(const uint8_t *before)
{
	for (unsigned i = 0; i < VIRTIO_END - R_INTERRUPT; i++)
		if (*(volatile uint8_t *)at(0, R_INTERRUPT + i) != before[i]) {
			wrong_at = R_INTERRUPT + i;
			wrong++;
		}
}

/* A write here would do what it is for: a reset, for one. */
static bool is_for_writing(unsigned offset)
{
	return offset + 16 > R_STATUS && offset < R_STATUS + 4;
}

static void attack(unsigned index)
{
	static uint8_t before[PAGE_SIZE];
	const unsigned rounds = cmdline_number("rounds", 20000);

	(void)index;
	remember(before);
	for (unsigned i = 0; i < rounds; i++) {
		unsigned offset = random_below(VIRTIO_END - 16);

		if (random_below(4))
			offset %= 0x180;
		load(at(1, offset), random_below(KINDS));
		store(at(1, offset), random_below(KINDS));
		offset = R_INTERRUPT + random_below(PAGE_SIZE - 16);
		if (random_below(4))
			offset = R_INTERRUPT + offset % 0x120;
		if (is_for_writing(offset))
			continue;
		store(at(0, offset), random_below(KINDS));
		load(at(0, offset), random_below(KINDS));
		writes++;
		if (i % 1024 == 0)
			compare(before);
	}
	compare(before);
	over = true;
	halt_forever();
}

/* -- the first --------------------------------------------------------------
 */

/* Whatever the other CPU makes of it. */
static void change_slot_1(void)
{
	reg_write(1, R_STATUS, 0);
	reg_write(1, R_STATUS, 1);
	reg_write(1, R_STATUS, S_DRIVER);
	reg_write(1, R_DRIVER_FEATURES_SEL, 1);
	reg_write(1, R_DRIVER_FEATURES, (uint32_t)(F_VERSION_1 >> 32));
	reg_write(1, R_DRIVER_FEATURES_SEL, 0);
	reg_write(1, R_DRIVER_FEATURES, 0);
	reg_write(1, R_STATUS, S_DRIVER | S_FEATURES_OK);
	virtio_queue(1, 0, &bad_ring, 16);
	reg_write(1, R_STATUS, S_RUNNING);
	vring_offer(&bad_ring, 16); /* past the table */
	reg_write(1, R_QUEUE_NOTIFY, 0);
	(void)reg_read(1, R_STATUS);
	reg_write(1, R_INTERRUPT_ACK, reg_read(1, R_INTERRUPT));
}

void guest_main(const uint8_t *boot_params)
{
	unsigned changes = 0, broken = 0;

	(void)boot_params;
	virtio_init();
	irq_init();
	virtio_start(0, F_VERSION_1, &ring);
	if (reg_read(0, R_INTERRUPT) != 1)
		fail("InterruptStatus %x", reg_read(0, R_INTERRUPT));
	if (!smp_start(1, 0, attack))
		fail("no second CPU");
	while (!over) {
		change_slot_1();
		changes++;
		broken += (reg_read(1, R_STATUS) & S_NEEDS_RESET) != 0;
		if (block_request(0, &ring, BLK_READ, 0, sector, SECTOR))
			fail("disk 0 does not serve");
	}
	if (wrong)
		fail("%u registers have been written, one at %x", wrong,
		     wrong_at);
	print("writes %u changes %u broken %u\n", writes, changes, broken);
	virtio_start(1, F_VERSION_1, &bad_ring);
	if (block_request(1, &bad_ring, BLK_READ, 0, sector, SECTOR))
		fail("disk 1 does not serve after a reset");
	print("registers hold\n");
}
