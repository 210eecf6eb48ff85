/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools: memory that a guest's bytes are copied to, between guard pages, so
 * that an access just outside is a fault, and never another's data; and objects
 * of one size in it, as many as there may ever be. Memory is touched only as
 * deep as it is used, since the object that came back last is the next one to
 * go, and what a burst has touched goes back to the host by pool_trim.
 */
#ifndef MEM_POOL_H
#define MEM_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POOL_GUARD 4096ULL /* bytes that nobody may touch, on either side */

/*
 * Memory for a pool: mapped once at start-up, for as many as there may ever be,
 * and touched a page at a time, as deep as it is used. Never in huge pages,
 * which many hosts give unasked: the first request of a disk would take 2 MiB.
 * Zeroed; NULL and errno where there is no room. The caller unmaps it.
 */
void *pool_map(size_t bytes);
void pool_unmap(void *at, size_t bytes);

/*
 * `bytes` of memory at a multiple of `align` (a power of two, POOL_GUARD at
 * least), within `room` bytes of addresses: `align` and two guards more.
 * `flags` are added to those of mmap(2). Zeroed; NULL and errno where there is
 * no room. The caller unmaps *reserved, all of `room`.
 */
void *pool_map_aligned(uint64_t bytes, uint64_t room, uint64_t align, int flags,
		       void **reserved);

/* -- objects -------------------------------------------------------------- */

/* The first `used` objects, taken or not, may be read one after the other. */
struct pool {
	uint8_t *at;
	size_t size;	/* of an object, bytes: a multiple of 8 */
	unsigned count; /* of objects */
	unsigned used;	/* from the start: these were taken once */
	unsigned taken; /* and so many are now */
	void *free; /* one of those that came back; it begins with the next */
};

/* An empty one: 0 or -errno, not logged. */
int pool_create(struct pool *pool, size_t size, unsigned count);
void pool_destroy(struct pool *pool); /* also one of zeros */

/* Is there one more? */
static inline bool pool_has(const struct pool *pool)
{
	return pool->taken < pool->count;
}

static inline void *pool_object(const struct pool *pool, unsigned index)
{
	return pool->at + index * pool->size;
}

/*
 * Takes one: zeroed, or as it came back but for its first 8 bytes. NULL where
 * there is none.
 */
void *pool_alloc(struct pool *pool);
void pool_free(struct pool *pool, void *object);

#define POOL_KEPT 16384u /* bytes: not worth a system call */

/* Has it touched more than it keeps? */
static inline bool pool_is_deep(const struct pool *pool)
{
	return pool->used * pool->size > POOL_KEPT;
}

/*
 * Gives back to the host what the pool does not keep; all objects are as new.
 * False, and nothing done, where one is taken.
 */
bool pool_trim(struct pool *pool);

#endif
