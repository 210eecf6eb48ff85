/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps much in flight on its disks, and then stops them, or is stopped: what
 * is queued must not be waited for. `n=` requests of 4 MiB on each of
 * `disks=`, writes or, with read=1, reads; a disk's write I fills the I-th
 * place of that size with bytes of 1 + I % 4. It says which are back. With
 * one=1 the first disk does one of them alone before.
 *
 * When `after=` of the first disk are back it does what `do=` says: `go-on`,
 * for ever; `poweroff`; or `reset` or `queue`, for all disks, and then it looks
 * whether memory and the used ring stay as they are, and whether the first disk
 * works again.
 */
#include "tests/guest/virtio.h"

#define DISKS	  4
#define REQUESTS  250
#define DATA_AT	  (32UL << 20)
#define PIECE	  (128UL << 10)
#define PIECES	  32
#define BYTES	  (PIECES * PIECE)
#define PATTERNS  4
#define UNTOUCHED 0xa5

static struct vring ring[DISKS];
static struct vring_desc table[DISKS][REQUESTS][PIECES + 2]
	__attribute__((aligned(16)));
static struct {
	uint32_t type, reserved;
	uint64_t sector;
} header[REQUESTS];
static uint8_t status[DISKS][REQUESTS];
static bool back[DISKS][REQUESTS];
static uint8_t sector_data[SECTOR] __attribute__((aligned(SECTOR)));

static unsigned disks, requests;
static bool reads;

/* All of a request's data is one piece, over and over. */
static void fill_table(unsigned disk, unsigned i)
{
	struct vring_desc *part = table[disk][i];
	const uint64_t data = DATA_AT + (reads ? 0 : i % PATTERNS * PIECE);
	const uint16_t flags = (uint16_t)(D_NEXT | (reads ? D_WRITE : 0));

	part[0] = (struct vring_desc){ (uintptr_t)&header[i], sizeof(header[i]),
				       D_NEXT, 1 };
	for (uint16_t n = 1; n <= PIECES; n++)
		part[n] = (struct vring_desc){ data, PIECE, flags,
					       (uint16_t)(n + 1) };
	part[PIECES + 1] = (struct vring_desc){ (uintptr_t)&status[disk][i], 1,
						D_WRITE, 0 };
	status[disk][i] = 0xee;
}

static void start_disk(unsigned disk)
{
	if (!virtio_features(disk, F_VERSION_1 | BLK_F_FLUSH | F_INDIRECT) ||
	    !virtio_queue(disk, 0, &ring[disk], RING_MAX))
		fail("disk %u does not start", disk);
	reg_write(disk, R_STATUS, S_RUNNING);
}

static void queue_requests(unsigned disk, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		fill_table(disk, i);
		vring_set(&ring[disk], i, (uintptr_t)table[disk][i],
			  sizeof(table[disk][i]), D_INDIRECT, 0);
		vring_offer(&ring[disk], (uint16_t)i);
	}
	reg_write(disk, R_QUEUE_NOTIFY, 0);
}

static bool is_one_back(void *arg)
{
	uint32_t id, len;

	return vring_used(arg, &id, &len);
}

/* How long one takes is for the host to see. */
static void do_one(void)
{
	print("one\n");
	queue_requests(0, 1);
	if (!wait_for(is_one_back, &ring[0]) || status[0][0])
		fail("one request alone is not done");
	print("one back\n");
}

/* Takes what is back; how many that were. */
static unsigned collect(unsigned disk)
{
	uint32_t id, len;
	unsigned count = 0;

	for (; vring_used(&ring[disk], &id, &len); count++) {
		if (id >= requests || back[disk][id] || status[disk][id])
			fail("disk %u: request %u, status %u", disk, id,
			     status[disk][id]);
		back[disk][id] = true;
		print("back %u %u\n", disk, id);
	}
	return count;
}

static void stop_disks(bool reset)
{
	for (unsigned disk = 0; disk < disks; disk++) {
		print("stop %u\n", disk);
		if (reset) {
			reg_write(disk, R_STATUS, 0);
		} else {
			reg_write(disk, R_QUEUE_SEL, 0);
			reg_write(disk, R_QUEUE_READY, 0);
		}
		if (reg_read(disk, reset ? R_STATUS : R_QUEUE_READY))
			fail("disk %u goes on", disk);
		print("stopped %u\n", disk);
		collect(disk);
	}
}

/* Nothing is read into memory any more, and no request comes back. */
static void expect_silence(void)
{
	uint8_t *data = at_physical(DATA_AT);

	memset(data, UNTOUCHED, PIECE);
	for (unsigned disk = 0; disk < disks; disk++)
		memset(status[disk], UNTOUCHED, sizeof(status[disk]));
	for (unsigned i = 0; i < 10; i++)
		wait_a_while();
	for (unsigned i = 0; i < PIECE; i++)
		if (data[i] != UNTOUCHED)
			fail("memory at %u was written later", i);
	for (unsigned disk = 0; disk < disks; disk++) {
		for (unsigned i = 0; i < requests; i++)
			if (status[disk][i] != UNTOUCHED)
				fail("a status was written later");
		if (collect(disk))
			fail("a request came back later");
	}
	print("silent\n");
}

static void use_again(void)
{
	int result;

	virtio_start(0, F_VERSION_1 | BLK_F_FLUSH, &ring[0]);
	result = block_request(0, &ring[0], BLK_READ, 0, sector_data, SECTOR);
	if (result)
		fail("a disk after a reset: status %d", result);
	print("used again\n");
}

/* What is asked for next. */
static bool is_to(const char *what)
{
	char word[16];

	return cmdline_get("do", word, sizeof(word)) &&
	       strlen(word) == strlen(what) &&
	       !memcmp(word, what, strlen(what));
}

static void read_cmdline(void)
{
	disks = cmdline_number("disks", 1);
	requests = cmdline_number("n", REQUESTS);
	reads = cmdline_number("read", 0);
	if (disks > DISKS || requests > REQUESTS)
		fail("so many");
}

static void prepare(void)
{
	virtio_init();
	for (unsigned i = 0; i < requests; i++) {
		header[i].type = reads ? BLK_READ : BLK_WRITE;
		header[i].sector = (uint64_t)i * (BYTES / SECTOR);
	}
	for (unsigned i = 0; i < PATTERNS && !reads; i++)
		memset(at_physical(DATA_AT + i * PIECE), (int)(1 + i), PIECE);
}

void guest_main(const uint8_t *boot_params)
{
	const unsigned after = cmdline_number("after", 4);
	unsigned count = 0;

	(void)boot_params;
	read_cmdline();
	prepare();
	for (unsigned disk = 0; disk < disks; disk++)
		start_disk(disk);
	if (cmdline_number("one", 0))
		do_one();
	for (unsigned disk = 0; disk < disks; disk++)
		queue_requests(disk, requests);
	print("queued\n");
	while (count < after || is_to("go-on")) {
		for (unsigned disk = 1; disk < disks; disk++)
			collect(disk);
		count += collect(0);
		pause_cpu();
	}
	if (is_to("poweroff")) {
		print("off\n");
		return;
	}
	stop_disks(is_to("reset"));
	expect_silence();
	use_again();
}
