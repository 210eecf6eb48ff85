/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Little-endian fields in byte buffers, arithmetic that says when it wraps,
 * waking by an eventfd. Values from files and guests are always read this way:
 * no struct is laid over bytes that somebody else wrote, so alignment never
 * matters.
 */
#ifndef MEM_UTIL_H
#define MEM_UTIL_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
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

/*
 * A counter that one thread at a time writes, and any may read at any moment:
 * so no locked instruction is needed.
 */
static inline uint64_t counted_up(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline void count_up(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_store_explicit(counter, counted_up(counter) + more,
			      memory_order_relaxed);
}

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

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
