/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/devices.c virtio/limiter.c tests/unit/device_help.c */
/* uses: virtio/block/block.c virtio/block/request.c virtio/block/file.c */
/* uses: mem/pool.c */
/* uses: virtio/block/io.c virtio/block/io_uring.c virtio/block/io_thread.c */
/* uses: virtio/net/net.c virtio/net/rx_buffers.c virtio/net/stream.c */
/* uses: virtio/net/tap.c virtio/vsock/vsock.c virtio/vsock/conn.c */
/* uses: virtio/vsock/host.c tests/unit/vsock_check.c cpu/loop/unixsock.c */
/* uses: cpu/loop/thread.c cpu/loop/file.c cpu/loop/format.c */
/* uses: cpu/loop/helper.c virtio/net/passt.c */
/* uses: cpu/loop/report.c mem/available.c */
/* uses: cpu/loop/broker.c mem/pool.c virtio/lazy.c */
/* ldflags: -Wl,--wrap=preadv,--wrap=pwritev,--wrap=syscall */
/*
 * Devices whose driver changes everything that they look at while they look.
 *
 *	race_rings [SECONDS [SEED]]
 *
 * All devices are real, made by devices.c, over temporary files and sockets,
 * and the main thread runs their loop, as mote's does. Only KVM is missing.
 * Beside it, all at once, and as each thread's random numbers have it:
 *
 *	2 guests	offer chains, some of them spoilt, and rewrite
 *			descriptors, rings, indirect tables and payloads that
 *			are being walked: the same word good, bad, good, ...
 *	2 vCPUs		registers: kicks, acknowledgements, configuration,
 *			QueueReady, nonsense, and resets that meet requests in
 *			flight; then other features, other sizes of rings
 *	1 host		the other ends of the networks and the vsock's programs
 *	mote's own	a worker for each disk that has one; and the broker, a
 *			process, which connects the guest's streams
 *
 * It is built twice. With ASan and UBSan: RAM has guard pages, or a poisoned
 * fence at each end that must be whole when all is over. With TSan: whoever
 * guards too little in mote is told on. Guest memory itself is racy by nature:
 * so what the guests do to it, and what workers read and write there, is hidden
 * from TSan, and the loop's thread is the only one that it sees there. Arrays
 * and structures that lead to it are mote's own, and are not hidden.
 *
 * What a sanitizer cannot see is asked: each buffer of a disk's system call
 * lies in RAM; when the driver has read 0 from Status no call is under way and
 * nothing writes to the device's memory any more; connections are sound; in
 * the end no thread and no descriptor is left. And each device has done so much
 * that a run which finds nothing means something.
 *
 * Each slot has a zone of guest memory: rings, indirect tables, what devices
 * alone write (takes), and what they read (gives). No buffer reaches from one
 * zone's to another's takes, so that a slot can be watched by itself.
 */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/loop/broker.h"
#include "tests/unit/device_help.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/vsock_check.h"
#include "virtio/block/block.h"
#include "virtio/devices.h"

#define RAM_SIZE   (32u << 20)
#define FENCE	   (64u << 10)
#define FENCE_BYTE 0xa7
#define DISK_SIZE  (4u << 20)
#define HANG_S	   120 /* a turn of the loop, and a reset, on a busy machine */

/* A zone and what is in it. */
#define ZONE	  (4u << 20)
#define ZONE_AT	  (1u << 20)
#define RING_STEP 0x4000u
#define TABLES	  (1u << 20)
#define TABLE	  1024u /* 64 descriptors */
#define TAKES	  (2u << 20)
#define GIVES	  (3u << 20)
#define PART	  (512u << 10) /* where buffers begin in those, and how long */
#define HEADERS	  64u
#define HEADER	  64u
#define RX_STEP	  8192u

/* In the order of devices.c. */
enum {
	DISK_WORKER,
	DISK_RING,
	DISK_EPHEMERAL,
	DISK_LIMITED,
	DISKS,
	NET_STREAM = DISKS,
	NET_FRAMES,
	VSOCK,
	SLOTS
};

#define CPUS	     2 /* and queues of a disk */
#define VSOCK_CID    3
#define LISTEN_PORT  1000 /* and the one after it */
#define LISTENERS    2
#define CLIENTS	     24
#define QUEUES_LIMIT 3

/* What a run must have come to: nothing that is slow is at fault for less. */
#define USED_MIN    100
#define RESETS_MIN  100
#define BUSY_MIN    5
#define STREAMS_MIN 5

/* What is counted orders nothing: TSan would believe that it does. */
#define COUNT(counter, n)                                                      \
	atomic_fetch_add_explicit(&(counter), (n), memory_order_relaxed)
#define COUNTED(counter) atomic_load_explicit(&(counter), memory_order_relaxed)

struct slot_ring {
	atomic_flag busy;  /* somebody offers; for what follows, and tails */
	uint16_t size;	   /* 0: it was not started yet */
	uint16_t used;	   /* what the device has come to */
	uint32_t features; /* the low half of those negotiated */
	/* The last chain: where its descriptors begin, and how many it has. */
	uint64_t table;
	uint16_t first, count;
};

static struct slot {
	unsigned queues;
	/* Shared: registers are accessed. Exclusive: one looks at it alone. */
	pthread_rwlock_t lock;
	struct slot_ring ring[QUEUES_LIMIT];
	atomic_ulong used; /* entries that came back */
} slots[SLOTS];

static atomic_ulong resets, busy_resets, starts, streams_up, accepted,
	frames_in, frames_out;
static atomic_bool stop;
static uint64_t seed;
static uint8_t *guest; /* guest address 0 */
static struct devices devices;
static int broker_fd;

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "violated: %s; seed %llu; the log's last line: %s\n",
		what, (unsigned long long)seed, logged.last);
	abort();
}

/* -- random numbers: each thread has its own ------------------------------- */

struct actor {
	uint64_t random; /* not 0 */
	void (*act)(struct actor *actor);
	pthread_t thread;
};

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift" */
static uint32_t any(struct actor *a)
{
	a->random ^= a->random >> 12;
	a->random ^= a->random << 25;
	a->random ^= a->random >> 27;
	return (uint32_t)(a->random * 0x2545f4914f6cdd1d >> 32);
}

static uint32_t below(struct actor *a, uint32_t limit)
{
	return (uint32_t)((uint64_t)any(a) * limit >> 32);
}

static bool one_in(struct actor *a, uint32_t n)
{
	return !below(a, n);
}

/* -- guest memory, unseen by TSan ------------------------------------------ */

#define UNSEEN __attribute__((no_sanitize("thread"), noinline, unused))

#define GUEST_WORD(bits)                                                       \
	UNSEEN static void poke##bits(uint64_t at, uint##bits##_t value)       \
	{                                                                      \
		*(volatile uint##bits##_t *)(void *)(guest + at) = value;      \
	}                                                                      \
	UNSEEN static uint##bits##_t peek##bits(uint64_t at)                   \
	{                                                                      \
		return *(volatile uint##bits##_t *)(void *)(guest + at);       \
	}                                                                      \
	/* Bad and good in turn, and good in the end. */                       \
	UNSEEN static void flip##bits(uint64_t at, uint##bits##_t bad,         \
				      unsigned times)                          \
	{                                                                      \
		volatile uint##bits##_t *word = (void *)(guest + at);          \
		const uint##bits##_t good = *word;                             \
                                                                               \
		while (times--) {                                              \
			*word = bad;                                           \
			__builtin_ia32_pause();                                \
			*word = good;                                          \
			__builtin_ia32_pause();                                \
		}                                                              \
	}
GUEST_WORD(16)
GUEST_WORD(32)
GUEST_WORD(64)

UNSEEN static void clear(uint64_t at, uint64_t len)
{
	for (volatile uint64_t *word = (void *)(guest + at); len; len -= 8)
		*word++ = 0;
}

UNSEEN static uint64_t sum_of(uint64_t at, uint64_t len)
{
	const volatile uint64_t *word = (const void *)(guest + at);
	uint64_t sum = 0;

	for (uint64_t i = 0; i < len / 8; i++)
		sum = sum * 0x9e3779b97f4a7c15 + word[i];
	return sum;
}

static uint64_t zone_of(unsigned slot)
{
	return ZONE_AT + (uint64_t)slot * ZONE;
}

static uint64_t desc_of(unsigned slot, unsigned queue)
{
	return zone_of(slot) + (uint64_t)queue * RING_STEP;
}

static uint64_t avail_of(unsigned slot, unsigned queue)
{
	return desc_of(slot, queue) + 0x1000;
}

static uint64_t used_of(unsigned slot, unsigned queue)
{
	return desc_of(slot, queue) + 0x2000;
}

/* -- system calls of disks ------------------------------------------------- */

#define FDS 1024

static atomic_uint calls[FDS]; /* under way, by file */
static atomic_ulong all_calls;

/* In guest RAM; or zeros to be written, which are mote's. */
static bool may_be_moved(const struct iovec *part, bool write)
{
	const uint8_t *at = part->iov_base;

	if (at >= guest && at < guest + RAM_SIZE)
		return part->iov_len <= (size_t)(guest + RAM_SIZE - at);
	for (size_t i = 0; i < part->iov_len; i++)
		if (at[i])
			return false;
	return write;
}

/* A disk takes its time, and sometimes fails. */
static bool disk_fails(const struct iovec *iov, int count, bool write)
{
	const uint64_t number = COUNT(all_calls, 1) * 0x9e3779b97f4a7c15;

	for (int i = 0; i < count; i++)
		must(may_be_moved(&iov[i], write), "a disk's buffer in RAM");
	if (!(number >> 62))
		usleep(number >> 40 & 1023);
	return !(number >> 32 & 255);
}

/*
 * The calls that workers make with guest memory. TSan sees the vector, which is
 * mote's, but not what it leads to; ASan sees all.
 */
#ifdef __SANITIZE_THREAD__
#define MOVE(name, number)                                                     \
	__real_syscall(number, fd, (long)iov, count, (long)at, 0, 0)
#else
#define MOVE(name, number) __real_##name(fd, iov, count, at)
#endif
#define DISK_CALL(name, number, write)                                         \
	ssize_t __real_##name(int fd, const struct iovec *iov, int count,      \
			      off_t at);                                       \
	ssize_t __wrap_##name(int fd, const struct iovec *iov, int count,      \
			      off_t at);                                       \
	ssize_t __wrap_##name(int fd, const struct iovec *iov, int count,      \
			      off_t at)                                        \
	{                                                                      \
		ssize_t moved = -1;                                            \
                                                                               \
		must(fd >= 0 && fd < FDS, "a disk's file");                    \
		COUNT(calls[fd], 1);                                           \
		errno = EIO;                                                   \
		if (!disk_fails(iov, count, write))                            \
			moved = MOVE(name, number);                            \
		COUNT(calls[fd], -1);                                          \
		return moved;                                                  \
	}

long __real_syscall(long number, long a, long b, long c, long d, long e,
		    long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e,
		    long f);
DISK_CALL(preadv, SYS_preadv, false)
DISK_CALL(pwritev, SYS_pwritev, true)

/* What the page cache has is often not there: the engines are wanted. */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if ((number == SYS_preadv2 || number == SYS_pwritev2) &&
	    COUNT(all_calls, 1) & 3) {
		errno = EAGAIN;
		return -1;
	}
	return __real_syscall(number, a, b, c, d, e, f);
}

static unsigned calls_of(unsigned slot)
{
	const struct block_backing *disk = &devices.disk[slot];
	unsigned count = 0;

	if (slot >= DISKS)
		return 0;
	if (disk->fd >= 0)
		count += COUNTED(calls[disk->fd]);
	if (disk->overlay_fd >= 0)
		count += COUNTED(calls[disk->overlay_fd]);
	return count;
}

/* -- guests: chains -------------------------------------------------------- */

struct piece {
	uint64_t at;
	uint32_t len;
	uint16_t flags;
};
#define PIECES 8

static struct piece takes(struct actor *a, unsigned slot, uint32_t len)
{
	return (struct piece){ zone_of(slot) + TAKES + below(a, PART), len,
			       RING_WRITE };
}

static struct piece gives(struct actor *a, unsigned slot, uint32_t len)
{
	return (struct piece){ zone_of(slot) + GIVES + below(a, PART), len, 0 };
}

static uint64_t any_header(struct actor *a, unsigned slot)
{
	return zone_of(slot) + GIVES + (uint64_t)below(a, HEADERS) * HEADER;
}

static unsigned build_disk(struct actor *a, unsigned slot, struct piece *piece)
{
	static const uint8_t types[] = { 0, 0, 0, 0,  1,  1,  1, 1,
					 1, 4, 8, 11, 13, 13, 2, 255 };
	const uint64_t header = any_header(a, slot);
	const uint32_t type = types[below(a, ARRAY_LEN(types))];
	unsigned count = 1;

	poke32(header, type);
	poke64(header + 8, below(a, DISK_SIZE / BLOCK_SECTOR + 8));
	piece[0] = (struct piece){ header, 16, 0 };
	if (type == 8) {
		piece[count++] = takes(a, slot, 20);
	} else if (type == 11 || type == 13) {
		poke64(header + 16, below(a, DISK_SIZE / BLOCK_SECTOR));
		poke32(header + 24, below(a, 64));
		poke32(header + 28, below(a, 3));
		piece[count++] = (struct piece){ header + 16, 16, 0 };
	} else if (type != 4) {
		const unsigned pieces = 1 + below(a, PIECES - 2);

		for (; count <= pieces; count++) {
			uint32_t len = BLOCK_SECTOR * (1 + below(a, 16));

			if (one_in(a, 16))
				len = BLOCK_SECTOR * below(a, 1024);
			piece[count] = type ? gives(a, slot, len)
					    : takes(a, slot, len);
		}
	}
	piece[count++] = takes(a, slot, 1);
	return count;
}

static unsigned build_rx(struct actor *a, unsigned slot, struct piece *piece)
{
	unsigned count = 0;

	if (one_in(a, 2))
		piece[count++] = takes(a, slot, 1 + below(a, 64));
	piece[count++] = takes(a, slot, one_in(a, 4) ? 65562 : 1526);
	return count;
}

static unsigned build_tx(struct actor *a, unsigned slot, struct piece *piece)
{
	unsigned count = 0;

	piece[count++] = gives(a, slot, 12);
	if (one_in(a, 4))
		piece[count++] = gives(a, slot, 1 + below(a, 200));
	piece[count++] = gives(a, slot, below(a, one_in(a, 32) ? 66000 : 1500));
	return count;
}

/* An answer to what lies in some receive buffer, or something new. */
static void put_vsock_header(struct actor *a, unsigned slot, uint64_t at,
			     uint32_t len)
{
	const uint64_t from =
		zone_of(slot) + TAKES + (uint64_t)below(a, 64) * RX_STEP;
	uint32_t host_port = peek32(from + 16), port = peek32(from + 20);
	uint16_t op = peek16(from + 30) == 1 ? 2 : 5;

	if (one_in(a, 16)) {
		host_port = LISTEN_PORT + below(a, LISTENERS);
		port = 5000 + below(a, 64);
		op = 1;
	} else if (one_in(a, 16)) {
		op = (uint16_t)below(a, 9);
	}
	poke64(at, VSOCK_CID);
	poke64(at + 8, VSOCK_HOST_CID);
	poke32(at + 16, port);
	poke32(at + 20, host_port);
	poke32(at + 24, op == 5 ? len : 0);
	poke16(at + 28, 1);
	poke16(at + 30, op);
	poke32(at + 32, op == 4 ? below(a, 4) : 0);
	poke32(at + 36, 262144);
	poke32(at + 40, one_in(a, 8) ? below(a, 65536) : 0);
}

static unsigned build_vsock(struct actor *a, unsigned slot, unsigned queue,
			    struct piece *piece)
{
	const uint32_t len = below(a, one_in(a, 8) ? 65536 : 2048);
	const uint64_t header = any_header(a, slot);

	if (queue == VSOCK_TX) {
		put_vsock_header(a, slot, header, len);
		piece[0] = (struct piece){ header, 44, 0 };
		piece[1] = gives(a, slot, len + 1);
		piece[1].len = len;
		return len ? 2 : 1;
	}
	piece[0] = (struct piece){ zone_of(slot) + TAKES +
					   (uint64_t)below(a, 64) * RX_STEP,
				   queue == VSOCK_RX ? 44 : 8, RING_WRITE };
	piece[1] = (struct piece){ piece[0].at + 44, 4096, RING_WRITE };
	return queue == VSOCK_RX ? 2 : 1;
}

static unsigned build(struct actor *a, unsigned slot, unsigned queue,
		      struct piece *piece)
{
	if (slot < DISKS)
		return build_disk(a, slot, piece);
	if (slot == VSOCK)
		return build_vsock(a, slot, queue, piece);
	return queue == NET_RX ? build_rx(a, slot, piece)
			       : build_tx(a, slot, piece);
}

/* Lengths are at most PART, or out of RAM: no zone reaches into the next. */
static uint32_t bad_len(struct actor *a)
{
	static const uint32_t lens[] = {
		0,    1,     16,	511,	   513,	       4096,
		PART, 65536, 0x4000000, 0x4000000, 0x7fffffff, UINT32_MAX,
	};

	return lens[below(a, ARRAY_LEN(lens))];
}

static uint64_t bad_address(struct actor *a, unsigned slot)
{
	const uint64_t ats[] = {
		RAM_SIZE,
		RAM_SIZE - 1,
		RAM_SIZE - 4096,
		0,
		RAM_GAP_START,
		RAM_HIGH_START,
		UINT64_MAX,
		UINT64_MAX - 511,
		zone_of(slot) + TAKES,
		zone_of(slot) + GIVES,
		zone_of(slot) + TABLES,
	};
	const unsigned i = below(a, ARRAY_LEN(ats) + 1);

	return i < ARRAY_LEN(ats) ? ats[i]
				  : zone_of(slot) + below(a, RING_STEP);
}

static void spoil(struct actor *a, unsigned slot, struct piece *piece)
{
	if (one_in(a, 2))
		piece->len = bad_len(a);
	else if (one_in(a, 2))
		piece->at = bad_address(a, slot);
	else
		piece->flags ^= 1u << below(a, 4);
}

/* From `first` on, in a circle of `size`. */
static void put_descriptors(uint64_t table, unsigned first, unsigned size,
			    const struct piece *piece, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const uint64_t at =
			table + (uint64_t)((first + i) % size) * RING_DESC;

		poke64(at, piece[i].at);
		poke32(at + 8, piece[i].len);
		poke16(at + 12,
		       piece[i].flags | (i + 1 < count ? RING_NEXT : 0));
		poke16(at + 14, (uint16_t)((first + i + 1) % size));
	}
}

/* One chain anywhere in the table, over whatever was there: its head. */
static uint16_t put_chain(struct actor *a, unsigned slot, unsigned queue,
			  struct slot_ring *ring)
{
	const unsigned first = below(a, ring->size);
	struct piece piece[PIECES + 1];
	unsigned count = build(a, slot, queue, piece);

	if (one_in(a, 64))
		spoil(a, slot, &piece[below(a, count)]);
	ring->table = desc_of(slot, queue);
	ring->first = (uint16_t)first;
	ring->count = (uint16_t)count;
	if (ring->features & FEATURE_INDIRECT_DESC && one_in(a, 2)) {
		const uint64_t table =
			zone_of(slot) + TABLES + (uint64_t)below(a, 64) * TABLE;

		ring->table = table;
		ring->first = 0;
		put_descriptors(table, 0, TABLE / RING_DESC, piece, count);
		piece[0] = (struct piece){ table, count * RING_DESC,
					   RING_INDIRECT };
		count = 1;
	}
	put_descriptors(desc_of(slot, queue), first, ring->size, piece, count);
	return (uint16_t)first;
}

static bool enter_ring(struct slot_ring *ring)
{
	return !atomic_flag_test_and_set_explicit(&ring->busy,
						  memory_order_acquire);
}

static void leave_ring(struct slot_ring *ring)
{
	atomic_flag_clear_explicit(&ring->busy, memory_order_release);
}

/* As KVM does with a write to QueueNotify. */
static void kick(unsigned slot, unsigned queue)
{
	const uint64_t at = SLOT_AT + slot * SLOT_SIZE + R_QUEUE_NOTIFY;

	for (unsigned i = 0; i < host.ioeventfds; i++)
		if (host.ioeventfd[i].at == at &&
		    host.ioeventfd[i].match == (int64_t)queue)
			eventfd_raise(host.ioeventfd[i].fd);
}

static void offer_chains(struct actor *a, unsigned slot, unsigned queue)
{
	struct slot_ring *ring = &slots[slot].ring[queue];
	const uint64_t avail = avail_of(slot, queue);
	uint16_t idx, used, room, count;

	if (!enter_ring(ring))
		return;
	idx = peek16(avail + 2);
	used = peek16(used_of(slot, queue) + 2);
	if ((uint16_t)(used - ring->used) <= ring->size)
		COUNT(slots[slot].used, (uint16_t)(used - ring->used));
	ring->used = used;
	room = (uint16_t)(ring->size - (uint16_t)(idx - used));
	if (room > ring->size)
		room = 0;
	count = room ? (uint16_t)(1 + below(a, room > 8 ? 8 : room)) : 0;
	for (unsigned i = 0; i < count; i++)
		poke16(avail + 4 + 2ULL * ((idx + i) % ring->size),
		       put_chain(a, slot, queue, ring));
	poke16(avail + 2, (uint16_t)(idx + count));
	leave_ring(ring);
	if (count)
		kick(slot, queue);
}

/* -- guests: lies ---------------------------------------------------------- */

static void flip_descriptor(struct actor *a, unsigned slot, uint64_t at,
			    unsigned times)
{
	switch (below(a, 6)) {
	case 0:
		flip64(at, bad_address(a, slot), times);
		break;
	case 1:
		flip16(at + 12, (uint16_t)below(a, 8), times);
		break;
	case 2:
		flip16(at + 14, (uint16_t)any(a), times);
		break;
	default:
		flip32(at + 8, bad_len(a), times);
	}
}

static void flip_ring(struct actor *a, unsigned slot, unsigned queue,
		      unsigned size, unsigned times)
{
	const uint64_t avail = avail_of(slot, queue);

	switch (below(a, 4)) {
	case 0: /* forward, mostly: back is seen as a jump */
		flip16(avail + 2,
		       (uint16_t)(peek16(avail + 2) + below(a, size + 2)),
		       times);
		break;
	case 1:
		flip16(avail, (uint16_t)any(a), times);
		break;
	case 2:
		flip16(avail + 4 + 2ULL * size, (uint16_t)any(a), times);
		break;
	default:
		flip16(avail + 4 + 2ULL * below(a, size),
		       (uint16_t)below(a, size + 1), times);
	}
}

/* Any descriptor, but mostly one of the last chain. */
static uint64_t choose_descriptor(struct actor *a, unsigned slot,
				  unsigned queue, const struct slot_ring *ring)
{
	uint64_t index = below(a, ring->size);

	if (one_in(a, 8))
		return desc_of(slot, queue) + index * RING_DESC;
	index = ring->first + below(a, ring->count + 1u);
	if (ring->table == desc_of(slot, queue))
		index %= ring->size;
	return ring->table + index * RING_DESC;
}

/* Rewrites something again and again, while it may be looked at. */
static void lie(struct actor *a, unsigned slot, unsigned queue)
{
	struct slot_ring *ring = &slots[slot].ring[queue];
	const unsigned times = 1u << below(a, 16);
	uint64_t descriptor;
	unsigned size;

	if (!enter_ring(ring))
		return;
	size = ring->size;
	descriptor = choose_descriptor(a, slot, queue, ring);
	leave_ring(ring);
	switch (below(a, 8)) {
	case 0:
		flip32(any_header(a, slot) + 4ULL * below(a, 12),
		       one_in(a, 2) ? any(a) : below(a, 16), times);
		break;
	case 1:
		flip_ring(a, slot, queue, size, times);
		break;
	default:
		flip_descriptor(a, slot, descriptor, times);
	}
}

static void act_guest(struct actor *a)
{
	const unsigned slot = below(a, SLOTS);
	const unsigned queue = below(a, slots[slot].queues);
	struct slot_ring *ring = &slots[slot].ring[queue];
	bool started = false;

	if (enter_ring(ring)) {
		started = ring->size;
		leave_ring(ring);
	}
	if (!started)
		return;
	offer_chains(a, slot, queue);
	if (one_in(a, 3))
		lie(a, slot, queue);
}

/* -- vCPUs ----------------------------------------------------------------- */

static uint32_t get_reg(unsigned slot, unsigned offset)
{
	uint8_t bytes[4];

	guest_read(SLOT_AT + slot * SLOT_SIZE + offset, bytes, 4);
	return get_le32(bytes);
}

static void set_reg(unsigned slot, unsigned offset, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	bus_write(&host.vm.mmio, SLOT_AT + slot * SLOT_SIZE + offset, bytes, 4);
}

static void set_queue(struct actor *a, unsigned slot, unsigned queue,
		      uint32_t features)
{
	struct slot_ring *ring = &slots[slot].ring[queue];
	const unsigned log2 = one_in(a, 16) ? below(a, 9) : 3 + below(a, 6);
	const bool wrong = one_in(a, 256);

	while (!enter_ring(ring))
		sched_yield();
	clear(desc_of(slot, queue), RING_STEP);
	ring->size = (uint16_t)(1u << log2);
	ring->used = ring->first = ring->count = 0;
	ring->table = desc_of(slot, queue);
	ring->features = features;
	leave_ring(ring);
	set_reg(slot, R_QUEUE_SEL, queue);
	set_reg(slot, R_QUEUE_NUM, 1u << log2);
	set_reg(slot, R_QUEUE_DESC, (uint32_t)desc_of(slot, queue));
	set_reg(slot, R_QUEUE_DRIVER, (uint32_t)avail_of(slot, queue));
	set_reg(slot, R_QUEUE_DEVICE,
		(uint32_t)(wrong ? bad_address(a, slot)
				 : used_of(slot, queue)));
	set_reg(slot, R_QUEUE_READY, 1);
}

/* Everything from ACKNOWLEDGE to DRIVER_OK, as far as the other lets it. */
static void start_slot(struct actor *a, unsigned slot)
{
	const uint32_t early = S_ACKNOWLEDGE | S_DRIVER;
	uint32_t features, mask = any(a);

	set_reg(slot, R_STATUS, S_ACKNOWLEDGE);
	set_reg(slot, R_STATUS, early);
	set_reg(slot, R_FEATURES_SEL, 0);
	features = get_reg(slot, R_FEATURES);
	if (one_in(a, 2))
		features &= mask | any(a);
	set_reg(slot, R_DRIVER_FEATURES_SEL, 0);
	set_reg(slot, R_DRIVER_FEATURES, features);
	set_reg(slot, R_DRIVER_FEATURES_SEL, 1);
	set_reg(slot, R_DRIVER_FEATURES, 1);
	set_reg(slot, R_STATUS, early | S_FEATURES_OK);
	for (unsigned i = 0; i < slots[slot].queues; i++)
		set_queue(a, slot, i, features);
	set_reg(slot, R_STATUS, early | S_FEATURES_OK | S_DRIVER_OK);
	COUNT(starts, 1);
}

static void reset_slot(unsigned slot)
{
	COUNT(resets, 1);
	if (calls_of(slot))
		COUNT(busy_resets, 1);
	set_reg(slot, R_STATUS, 0);
}

/* A reset is over when Status reads as 0, which takes no more than time. */
static void await_reset(unsigned slot)
{
	const uint64_t end = loop_now() + HANG_S * 1000000000ULL;

	while (get_reg(slot, R_STATUS)) {
		must(loop_now() < end, "a reset that ends");
		sched_yield();
	}
	must(!calls_of(slot), "no call under way after a reset");
}

/* Alone with the slot: after its reset the device leaves memory in peace. */
static void reset_and_watch(struct actor *a, unsigned slot)
{
	const uint64_t at = zone_of(slot) + TAKES;
	uint64_t before;

	pthread_rwlock_wrlock(&slots[slot].lock);
	reset_slot(slot);
	await_reset(slot);
	before = sum_of(at, 2 * PART);
	usleep(below(a, 2000));
	must(!calls_of(slot), "no call begun after a reset");
	must(sum_of(at, 2 * PART) == before,
	     "memory that is left alone after a reset");
	start_slot(a, slot);
	pthread_rwlock_unlock(&slots[slot].lock);
}

static void read_configuration(struct actor *a, unsigned slot)
{
	const unsigned len = 1u << below(a, 4);
	const uint32_t before = get_reg(slot, R_GENERATION);
	uint8_t bytes[8];

	guest_read(SLOT_AT + slot * SLOT_SIZE + R_CONFIG + below(a, 80), bytes,
		   len);
	if (before != get_reg(slot, R_GENERATION))
		sched_yield();
}

/* DRIVER_OK and the like by chance: another vCPU mends it. */
static void access_anything(struct actor *a, unsigned slot)
{
	const uint64_t at = SLOT_AT + slot * SLOT_SIZE + below(a, 0x120);
	const unsigned len = 1u << below(a, 4);
	uint8_t bytes[8];

	put_le64(bytes, one_in(a, 2) ? any(a) : below(a, 16));
	/* By a load where it can be, or as on a host without such pages. */
	if (one_in(a, 4))
		bus_read(&host.vm.mmio, at, bytes, len);
	else if (one_in(a, 2))
		guest_read(at, bytes, len);
	else
		bus_write(&host.vm.mmio, at, bytes, len);
}

static void take_interrupt(unsigned slot)
{
	uint64_t count;

	(void)!read(host.irq_fd[VM_GSI_VIRTIO + slot], &count, sizeof(count));
	set_reg(slot, R_INTERRUPT_ACK, get_reg(slot, R_INTERRUPT_STATUS));
}

/* What is not well is started anew. */
static void mend_slot(struct actor *a, unsigned slot)
{
	const uint32_t well =
		S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK;

	if (get_reg(slot, R_STATUS) == well)
		return;
	reset_slot(slot);
	start_slot(a, slot);
}

static void act_vcpu(struct actor *a)
{
	const unsigned slot = below(a, SLOTS);

	if (one_in(a, 512)) {
		reset_and_watch(a, slot);
		return;
	}
	pthread_rwlock_rdlock(&slots[slot].lock);
	switch (below(a, 128)) {
	case 0:
		reset_slot(slot);
		start_slot(a, slot);
		break;
	case 1:
		set_reg(slot, R_QUEUE_SEL, below(a, slots[slot].queues));
		set_reg(slot, R_QUEUE_READY, below(a, 2));
		break;
	case 2:
	case 3:
		access_anything(a, slot);
		break;
	case 4:
	case 5:
		read_configuration(a, slot);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		take_interrupt(slot);
		break;
	default:
		if (one_in(a, 2))
			mend_slot(a, slot);
		else
			kick(slot, below(a, slots[slot].queues));
	}
	pthread_rwlock_unlock(&slots[slot].lock);
}

/* -- the host -------------------------------------------------------------- */

static char dir[32], vsock_path[48];
static int net_peer[2] = { -1, -1 };
static int listener[LISTENERS], client[CLIENTS];
static uint8_t host_bytes[128 << 10];

static struct sockaddr_un vsock_address(const char *suffix)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", vsock_path,
		 suffix);
	return address;
}

/* A stream's frames are whole, however little of one fits at once. */
static void send_stream(struct actor *a)
{
	static uint8_t frame[4 + 65536];
	static size_t len, done;
	ssize_t sent;

	if (done == len) {
		len = 14 + below(a, one_in(a, 16) ? 65000 : 1500);
		frame[0] = 0;
		frame[1] = (uint8_t)(len >> 16);
		frame[2] = (uint8_t)(len >> 8);
		frame[3] = (uint8_t)len;
		frame[4 + below(a, 14)] = (uint8_t)any(a);
		len += 4;
		done = 0;
	}
	sent = send(net_peer[0], frame + done, len - done,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent > 0)
		done += (size_t)sent;
	COUNT(frames_in, sent > 0 && done == len);
}

static void send_frame(struct actor *a)
{
	const size_t len = 26 + below(a, one_in(a, 16) ? 65000 : 1500);

	COUNT(frames_in, send(net_peer[1], host_bytes, len,
			      MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
}

static void receive_all(int fd)
{
	for (unsigned i = 0; i < 64; i++) {
		if (recv(fd, host_bytes, sizeof(host_bytes), MSG_DONTWAIT) <= 0)
			return;
		COUNT(frames_out, 1);
	}
}

static int connect_vsock(struct actor *a)
{
	const struct sockaddr_un address = vsock_address("");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	char line[40];

	if (fd < 0 || connect(fd, (const void *)&address, sizeof(address))) {
		close(fd);
		return -1;
	}
	snprintf(line, sizeof(line), "CONNECT %u\n%s", below(a, 64),
		 one_in(a, 2) ? "and data" : "");
	/* Some say less than a line. */
	send(fd, line, one_in(a, 16) ? 5 : strlen(line), MSG_NOSIGNAL);
	return fd;
}

static int accept_vsock(struct actor *a)
{
	const int fd = accept4(listener[below(a, LISTENERS)], NULL, NULL,
			       SOCK_CLOEXEC | SOCK_NONBLOCK);

	COUNT(accepted, fd >= 0);
	return fd;
}

static void serve_client(struct actor *a)
{
	int *fd = &client[below(a, CLIENTS)];

	if (*fd < 0) {
		*fd = one_in(a, 2) ? accept_vsock(a) : connect_vsock(a);
		return;
	}
	switch (below(a, 16)) {
	case 0:
		close(*fd);
		*fd = -1;
		break;
	case 1:
		shutdown(*fd, (int)below(a, 3));
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		(void)!send(*fd, host_bytes, below(a, 40000), MSG_NOSIGNAL);
		break;
	default:
		COUNT(streams_up,
		      recv(*fd, host_bytes, sizeof(host_bytes), 0) > 0);
	}
}

static void act_host(struct actor *a)
{
	switch (below(a, 6)) {
	case 0:
		send_stream(a);
		break;
	case 1:
		send_frame(a);
		break;
	case 2:
		receive_all(net_peer[below(a, 2)]);
		break;
	case 3:
		usleep(below(a, 200));
		break;
	default:
		serve_client(a);
	}
}

/* -- making ---------------------------------------------------------------- */

static int temporary_file(void)
{
	const char *where = getenv("TMPDIR");
	int fd = open(where ? where : "/var/tmp", O_TMPFILE | O_RDWR, 0600);

	if (fd < 0)
		fd = memfd_create("mote-test", 0);
	must(fd >= 0 && !ftruncate(fd, DISK_SIZE), "a temporary file");
	return fd;
}

static void make_sockets(void)
{
	snprintf(dir, sizeof(dir), "/tmp/mote-test-XXXXXX");
	must(mkdtemp(dir), "a directory");
	snprintf(vsock_path, sizeof(vsock_path), "%s/v", dir);
	for (unsigned i = 0; i < LISTENERS; i++) {
		char suffix[16];
		struct sockaddr_un address;

		snprintf(suffix, sizeof(suffix), "_%u", LISTEN_PORT + i);
		address = vsock_address(suffix);
		listener[i] = socket(
			AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		must(!bind(listener[i], (const void *)&address,
			   sizeof(address)) &&
			     !listen(listener[i], 16),
		     "a listener");
	}
	for (unsigned i = 0; i < CLIENTS; i++)
		client[i] = -1;
}

static void end_sockets(void)
{
	for (unsigned i = 0; i < CLIENTS; i++)
		if (client[i] >= 0)
			close(client[i]);
	for (unsigned i = 0; i < LISTENERS; i++) {
		char suffix[16];

		close(listener[i]);
		snprintf(suffix, sizeof(suffix), "_%u", LISTEN_PORT + i);
		unlink(vsock_address(suffix).sun_path);
	}
	must(!rmdir(dir), "an empty directory");
	close(net_peer[0]);
	close(net_peer[1]);
}

/*
 * Taps are not to be had everywhere: a pair of message sockets carries one
 * packet a call, too. The net was opened as a stream.
 */
static void make_tap(struct net *net)
{
	int ends[2];

	loop_remove(&host.loop, &net->source);
	must(!socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC,
			 0, ends),
	     "a socket pair");
	must(dup2(ends[0], net->backend.fd) >= 0, "dup2");
	close(ends[0]);
	close(net_peer[1]);
	net_peer[1] = ends[1];
	net->backend.ops = &net_tap_ops;
	net->backend.clear_header = false;
	net->backend.tap.header = NET_HEADER;
	net->backend.tap.mtu = 1500;
	must(!loop_add(&host.loop, &net->source, net->watched), "epoll");
}

/* The vsock's, as main.c has it, but for the jail. */
static void start_broker(void)
{
	const struct broker_options options = {
		.file = { vsock_file(devices.vsock) },
		.dials = vsock_dials(devices.vsock),
	};

	must(options.dials && !broker_start(&options, &broker_fd) &&
		     broker_fd >= 0,
	     "a broker");
	vsock_set_broker(devices.vsock, broker_fd);
}

static void make_devices(void)
{
	static struct device_options options = {
		.disks = {
			[DISK_WORKER] = { .engine = BLOCK_ENGINE_THREADS },
			[DISK_RING] = { .engine = BLOCK_ENGINE_AUTO },
			[DISK_EPHEMERAL] = { .ephemeral = true },
			[DISK_LIMITED] = { .engine = BLOCK_ENGINE_THREADS,
					   .bytes_per_s = 64 << 20,
					   .ops_per_s = 20000 },
		},
		.disk_count = DISKS,
		.net_count = 2,
		.vsock = { .file = { vsock_path, -1 }, .cid = VSOCK_CID },
	};
	const struct devices_setup setup = {
		.vm = &host.vm,
		.loop = &host.loop,
		.ram = &host.ram,
		.base = GPA(SLOT_AT),
	};

	for (unsigned i = 0; i < DISKS; i++)
		options.disks[i].file.fd = temporary_file();
	for (unsigned i = 0; i < 2; i++) {
		int ends[2];

		must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends),
		     "a socket pair");
		net_peer[i] = ends[1];
		options.nets[i].kind = NET_FD;
		options.nets[i].file.fd = ends[0];
	}
	must(!devices_open(&devices, &options, CPUS), "devices that open");
	start_broker();
	must(!devices_create(&devices, &setup), "devices");
	must(devices.count == SLOTS, "their number");
	make_tap(&devices.net[1]);
	for (unsigned i = 0; i < SLOTS; i++) {
		slots[i].queues = devices.slot[i].device->queue_count;
		must(slots[i].queues <= QUEUES_LIMIT, "few queues");
		pthread_rwlock_init(&slots[i].lock, NULL);
	}
}

/* -- fences: what lies beside RAM, unless that is guarded already ---------- */

static uint8_t *fence[2];
static unsigned fences;

/* Does a read or a write there end in an error, also in the kernel? */
static bool is_guarded(const uint8_t *at)
{
	int fd = eventfd(0, EFD_CLOEXEC);
	bool guarded;

	must(fd >= 0, "an eventfd");
	/* A counter takes 8 bytes of 0 as it takes any. */
	guarded = syscall(SYS_write, fd, at, 8) < 0 && errno == EFAULT;
	close(fd);
	return guarded;
}

static void make_fences(void)
{
	uint8_t *const at[] = { guest - FENCE, guest + RAM_SIZE };

	for (unsigned i = 0; i < 2; i++) {
		fence[i] =
			mmap(at[i], FENCE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			     -1, 0);
		if (fence[i] == MAP_FAILED) {
			fence[i] = NULL;
			must(is_guarded(i ? at[i] : guest - 8),
			     "RAM with nothing of ours beside it");
			continue;
		}
		fences++;
		memset(fence[i], FENCE_BYTE, FENCE);
		ASAN_POISON_MEMORY_REGION(fence[i], FENCE);
	}
}

static void end_fences(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!fence[i])
			continue;
		ASAN_UNPOISON_MEMORY_REGION(fence[i], FENCE);
		for (unsigned byte = 0; byte < FENCE; byte++)
			must(fence[i][byte] == FENCE_BYTE,
			     "memory beside RAM left alone");
		munmap(fence[i], FENCE);
	}
}

/* -- running --------------------------------------------------------------- */

static struct loop_timer tick;
static uint64_t began, seconds = 5;

/* Every device has done something, and resets met requests. */
static bool is_enough(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		if (COUNTED(slots[i].used) < USED_MIN)
			return false;
	return COUNTED(resets) >= RESETS_MIN &&
	       COUNTED(busy_resets) >= BUSY_MIN &&
	       COUNTED(streams_up) >= STREAMS_MIN &&
	       COUNTED(accepted) >= STREAMS_MIN &&
	       COUNTED(frames_in) >= USED_MIN &&
	       COUNTED(frames_out) >= USED_MIN;
}

static void *actor_thread(void *arg)
{
	struct actor *a = arg;

	while (!atomic_load_explicit(&stop, memory_order_relaxed))
		a->act(a);
	return NULL;
}

static struct actor actors[] = {
	{ .act = act_guest }, { .act = act_guest }, { .act = act_vcpu },
	{ .act = act_vcpu },  { .act = act_host },
};
static pthread_t ender;

static void stop_loop(void *arg)
{
	(void)arg;
	loop_stop(&host.loop);
}

/* In the loop's thread: what engines have, also for nobody any more. */
static void count_in_flight(void *arg)
{
	unsigned *count = arg;

	*count = 0;
	for (unsigned i = 0; i < DISKS; i++) {
		const struct block *block = devices.slot[i].self;

		for (unsigned n = 0; n < BLOCK_ENGINES; n++)
			if (block->disk.engines[n])
				*count += block->disk.engines[n]->in_flight;
	}
}

/*
 * The devices are at rest when the loop ends: nothing of them may stay. A FLUSH
 * may outlast a reset, as it does not touch guest memory.
 */
static void *end_all(void *arg)
{
	const uint64_t end = loop_now() + HANG_S * 1000000000ULL;
	unsigned count;

	for (unsigned i = 0; i < ARRAY_LEN(actors); i++)
		pthread_join(actors[i].thread, NULL);
	for (unsigned i = 0; i < SLOTS; i++) {
		reset_slot(i);
		await_reset(i);
	}
	do {
		usleep(1000);
		must(!loop_call(&host.loop, count_in_flight, &count), "a call");
		must(loop_now() < end, "engines that come to rest");
	} while (count);
	must(!loop_call(&host.loop, stop_loop, NULL), "the loop");
	return arg;
}

/* A busy machine is given more time for as much. */
static void tick_expired(void *arg)
{
	const uint64_t passed = (loop_now() - began) / 1000000000;

	(void)arg;
	alarm(HANG_S);
	if (passed < seconds || (!is_enough() && passed < 2 * seconds + 300)) {
		loop_timer_set(&tick, 50000000);
		return;
	}
	atomic_store(&stop, true);
	must(!pthread_create(&ender, NULL, end_all, NULL), "a thread");
}

static unsigned count_entries(const char *path, unsigned expected)
{
	const uint64_t end = loop_now() + HANG_S * 1000000000ULL;
	unsigned count;

	/* A thread that was joined is in /proc a moment longer. */
	do {
		DIR *directory = opendir(path);

		must(directory, path);
		for (count = 0; readdir(directory);)
			count++;
		closedir(directory);
	} while (expected && count != expected && loop_now() < end);
	return count;
}

static void *end_at_once(void *arg)
{
	return arg;
}

/* With the first thread, TSan starts one of its own, which stays. */
static void settle_threads(void)
{
	pthread_t thread;

	must(!pthread_create(&thread, NULL, end_at_once, NULL), "a thread");
	pthread_join(thread, NULL);
	usleep(1000);
}

static void run_all(void)
{
	must(!loop_timer_create(&host.loop, &tick, tick_expired, NULL), "tick");
	began = loop_now();
	loop_timer_set(&tick, 1);
	for (unsigned i = 0; i < ARRAY_LEN(actors); i++) {
		actors[i].random = (seed + i) * 0x9e3779b97f4a7c15 | 1;
		must(!pthread_create(&actors[i].thread, NULL, actor_thread,
				     &actors[i]),
		     "a thread");
	}
	must(!loop_run(&host.loop), "the loop");
	pthread_join(ender, NULL);
	loop_timer_destroy(&host.loop, &tick);
}

static void say_counts(void)
{
	static const char *const names[] = { "worker",	"ring",	  "ephemeral",
					     "limited", "stream", "frames",
					     "vsock" };

	printf("seed %llu: %lu starts, %lu resets (%lu with calls under way), "
	       "%lu frames in, %lu out, %lu in streams, %lu accepted; %u "
	       "fences, %s "
	       "io_uring; "
	       "used:",
	       (unsigned long long)seed, COUNTED(starts), COUNTED(resets),
	       COUNTED(busy_resets), COUNTED(frames_in), COUNTED(frames_out),
	       COUNTED(streams_up), COUNTED(accepted), fences,
	       devices_features(&devices) & FEATURE_URING ? "with" : "without");
	for (unsigned i = 0; i < SLOTS; i++)
		printf(" %s %lu", names[i], COUNTED(slots[i].used));
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned fds, tasks;
	const char *wrong;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : loop_now() | 1;
	if (argc > 1)
		seconds = strtoull(argv[1], NULL, 0);
	fprintf(stderr, "race_rings: seed %llu\n", (unsigned long long)seed);
	signal(SIGPIPE, SIG_IGN);
	alarm(HANG_S);
	settle_threads();
	fds = count_entries("/proc/self/fd", 0);
	tasks = count_entries("/proc/self/task", 0);
	host_create(RAM_SIZE);
	guest = ram_span(&host.ram, GPA(0), RAM_SIZE);
	make_fences();
	make_sockets();
	make_devices();
	run_all();
	say_counts();
	alarm(4 * HANG_S);
	must(is_enough(), "a run that does something");
	wrong = vsock_check(&devices.vsock->conns);
	must(!wrong, wrong);
	devices_destroy(&devices);
	end_fences();
	host_destroy();
	broker_end(broker_fd);
	must(wait(NULL) > 0 && access(vsock_path, F_OK) < 0,
	     "the socket gone, and then its broker");
	end_sockets();
	must(count_entries("/proc/self/fd", fds) == fds, "no descriptor left");
	must(count_entries("/proc/self/task", tasks) == tasks,
	     "no thread left");
	return 0;
}
