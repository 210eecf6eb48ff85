/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lives through many snapshots with requests in flight: a write to a part of a
 * cluster, one of whole ones, a DISCARD and a FLUSH of each of two disks are
 * notified, READY is said at once, and whoever goes on waits for them. Then all
 * of both disks must be what memory says.
 *
 *	generations=N	of the command line: how many to live through (10)
 */
#include "tests/guest/virtio.h"

#define DISKS	 2u
#define SECTORS	 96u
#define BYTES	 (SECTORS * SECTOR)
#define REQUESTS 4u
#define BLK_TRIM 11

static struct vring ring[DISKS];
static uint8_t model[DISKS][BYTES], data[BYTES];

static struct request {
	uint32_t type, reserved;
	uint64_t sector;
	uint8_t data[2 * 4096];
	volatile uint8_t status;
} requests[DISKS][REQUESTS];

static void put_request(unsigned disk, struct request *r, uint32_t type,
			unsigned sector, uint32_t len)
{
	r->type = type;
	r->sector = type == BLK_WRITE ? sector : 0;
	r->status = 0xff;
	vring_add(&ring[disk], r, 16, D_NEXT);
	if (len)
		vring_add(&ring[disk], r->data, len, D_NEXT);
	vring_add(&ring[disk], &r->status, 1, D_WRITE);
}

static void put_write(unsigned disk, struct request *r, unsigned sector,
		      unsigned sectors, uint8_t byte)
{
	memset(r->data, byte, sectors * SECTOR);
	memset(model[disk] + sector * SECTOR, byte, sectors * SECTOR);
	put_request(disk, r, BLK_WRITE, sector, sectors * SECTOR);
}

static void put_trim(unsigned disk, struct request *r, unsigned sector)
{
	const struct {
		uint64_t sector;
		uint32_t sectors, flags;
	} range = { sector, 8, 0 };

	memcpy(r->data, &range, sizeof(range));
	memset(model[disk] + sector * SECTOR, 0, 8 * SECTOR);
	put_request(disk, r, BLK_TRIM, 0, sizeof(range));
}

/* Of this generation, each disk its own, and none where another one writes. */
static void put_all(unsigned disk, unsigned n)
{
	struct request *r = requests[disk];

	put_write(disk, &r[0], n * 7 % 32, 1, (uint8_t)(n + disk));
	put_write(disk, &r[1], 32 + n % 4 * 8, 16, (uint8_t)(n * 3 + disk));
	put_trim(disk, &r[2], 72 + n % 3 * 8);
	put_request(disk, &r[3], BLK_FLUSH, 0, 0);
	reg_write(disk, R_QUEUE_NOTIFY, 0);
}

static bool all_done(void *arg)
{
	uint32_t id, len;

	(void)arg;
	for (unsigned disk = 0; disk < DISKS; disk++) {
		while (vring_used(&ring[disk], &id, &len))
			;
		if (ring[disk].used_idx != ring[disk].avail_idx)
			return false;
	}
	return true;
}

static void check_all(unsigned n)
{
	for (unsigned disk = 0; disk < DISKS; disk++) {
		for (unsigned i = 0; n && i < REQUESTS; i++)
			if (requests[disk][i].status)
				fail("disk %u, request %u: status %u", disk, i,
				     requests[disk][i].status);
		if (block_request(disk, &ring[disk], BLK_READ, 0,
				  n ? data : model[disk], BYTES))
			fail("disk %u cannot be read", disk);
		for (unsigned i = 0; n && i < BYTES; i++)
			if (data[i] != model[disk][i])
				fail("disk %u, byte %u: %u, not %u", disk, i,
				     data[i], model[disk][i]);
	}
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned count = cmdline_number("generations", 10);

	(void)boot_params;
	virtio_init();
	for (unsigned disk = 0; disk < DISKS; disk++)
		virtio_start(disk,
			     F_VERSION_1 | F_EVENT_IDX | BLK_F_FLUSH |
				     BLK_F_DISCARD,
			     &ring[disk]);
	check_all(0);
	for (unsigned n = 1; n <= count; n++) {
		for (unsigned disk = 0; disk < DISKS; disk++)
			put_all(disk, n);
		in8(PORT_READY);
		if (!wait_for(all_done, NULL))
			fail("generation %u: a request is lost", n);
		check_all(n);
		print("generation %u\n", n);
	}
}
