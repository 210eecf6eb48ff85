/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian fields in byte buffers, arithmetic that says when it wraps,
 * memory for pools, waking by an eventfd. Values from files and guests are
 * always read this way: no struct is laid over bytes that somebody else wrote,
 * so alignment never matters.
 */
#ifndef MEM_UTIL_H
#define MEM_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES_GET(name, type)                                                  \
	static inline type name(const void *from)                              \
	{                                                                      \
		type value;                                                    \
                                                                               \
		memcpy(&value, from, sizeof(value));                           \
		return value;                                                  \
	}
#define BYTES_PUT(name, type)                                                  \
	static inline void name(void *to, type value)                          \
	{                                                                      \
		memcpy(to, &value, sizeof(value));                             \
	}

/* x86 only: the host's order is the guest's. */
BYTES_GET(get_le16, uint16_t)
BYTES_GET(get_le32, uint32_t)
BYTES_GET(get_le64, uint64_t)
BYTES_PUT(put_le16, uint16_t)
BYTES_PUT(put_le32, uint32_t)
BYTES_PUT(put_le64, uint64_t)

/* a + b into *sum; true where it does not fit. */
static inline bool add_wraps(uint64_t a, uint64_t b, uint64_t *sum)
{
	return __builtin_add_overflow(a, b, sum);
}

/* `value` up to the next multiple of `unit`, a power of two; no wrap check. */
static inline uint64_t round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Memory that a guest's bytes are copied to: `bytes` of it, aligned to `align`
 * (a power of two, GUARD_BYTES at least), within `room` bytes of addresses that
 * nobody may touch: `align` and two guards more. So an access just outside is a
 * fault, and never another's data. `flags` are added to those of mmap(2).
 * Zeroed; NULL and errno where there is no room. The caller unmaps *reserved,
 * all of `room`.
 */
#define GUARD_BYTES 4096ULL
static inline void *guarded_map(uint64_t bytes, uint64_t room, uint64_t align,
				int flags, void **reserved)
{
	const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
	uint8_t *around = mmap(NULL, room, PROT_NONE, kind, -1, 0), *at;
	int error;

	if (around == MAP_FAILED)
		return NULL;
	at = (uint8_t *)round_up((uintptr_t)around + GUARD_BYTES, align);
	*reserved = around;
	if (mmap(at, bytes, PROT_READ | PROT_WRITE, kind | MAP_FIXED | flags,
		 -1, 0) != MAP_FAILED)
		return at;
	error = errno;
	munmap(around, room);
	errno = error;
	return NULL;
}

static inline size_t pool_room(size_t bytes)
{
	return round_up(bytes, GUARD_BYTES) + 2 * GUARD_BYTES;
}

/*
 * Memory for a pool: mapped once at start-up, for as many as there may ever be,
 * and touched a page at a time, as deep as it is used. Never in huge pages,
 * which many hosts give unasked: the first request of a disk would take 2 MiB.
 * Zeroed, with guard pages around it; NULL and errno where there is no room.
 * The caller unmaps it.
 */
static inline void *pool_map(size_t bytes)
{
	void *around, *at = guarded_map(bytes, pool_room(bytes), GUARD_BYTES,
					MAP_NORESERVE, &around);

	/* A kernel without huge pages does not know the advice. */
	if (at)
		(void)madvise(at, bytes, MADV_NOHUGEPAGE);
	return at;
}

static inline void pool_unmap(void *at, size_t bytes)
{
	if (at)
		munmap((uint8_t *)at - GUARD_BYTES, pool_room(bytes));
}

/*
 * An eventfd's counter is one up: its reader wakes, or KVM kicks a queue or
 * raises an interrupt. EAGAIN is a counter that is full: that was done already.
 */
static inline void eventfd_raise(int fd)
{
	const uint64_t one = 1;

	while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

#endif
