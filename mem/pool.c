/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools; the header says how they are used. Of a mapping between guard pages
 * the addresses of all of it are reserved first, as pages that nobody may
 * touch; what is used is mapped over their middle. Free objects are linked
 * through their first bytes. Owns the mapping of a pool. The caller's thread.
 */
#include "mem/pool.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "mem/util.h"

void *pool_map_aligned(uint64_t bytes, uint64_t room, uint64_t align, int flags,
		       void **reserved)
{
	const int kind = MAP_PRIVATE | MAP_ANONYMOUS;
	uint8_t *around = mmap(NULL, room, PROT_NONE, kind, -1, 0), *at;
	int error;

	if (around == MAP_FAILED)
		return NULL;
	at = (uint8_t *)round_up((uintptr_t)around + POOL_GUARD, align);
	*reserved = around;
	if (mmap(at, bytes, PROT_READ | PROT_WRITE, kind | MAP_FIXED | flags,
		 -1, 0) != MAP_FAILED)
		return at;
	error = errno;
	munmap(around, room);
	errno = error;
	return NULL;
}

static size_t pool_room(size_t bytes)
{
	return round_up(bytes, POOL_GUARD) + 2 * POOL_GUARD;
}

void *pool_map(size_t bytes)
{
	void *around,
		*at = pool_map_aligned(bytes, pool_room(bytes), POOL_GUARD,
				       MAP_NORESERVE, &around);

	/* A kernel without huge pages does not know the advice. */
	if (at)
		(void)madvise(at, bytes, MADV_NOHUGEPAGE);
	return at;
}

void pool_unmap(void *at, size_t bytes)
{
	if (at)
		munmap((uint8_t *)at - POOL_GUARD, pool_room(bytes));
}

int pool_create(struct pool *pool, size_t size, unsigned count)
{
	*pool = (struct pool){ .size = size, .count = count };
	pool->at = pool_map(size * count);
	return pool->at ? 0 : -errno;
}

void pool_destroy(struct pool *pool)
{
	pool_unmap(pool->at, pool->size * pool->count);
	pool->at = NULL;
}

void *pool_alloc(struct pool *pool)
{
	void *object = pool->free;

	if (object)
		memcpy(&pool->free, object, sizeof(pool->free));
	else if (pool->used < pool->count)
		object = pool_object(pool, pool->used++);
	else
		return NULL;
	pool->taken++;
	return object;
}

void pool_free(struct pool *pool, void *object)
{
	memcpy(object, &pool->free, sizeof(pool->free));
	pool->free = object;
	pool->taken--;
}

bool pool_trim(struct pool *pool)
{
	const size_t touched = round_up(pool->used * pool->size, POOL_GUARD);

	if (pool->taken)
		return false;
	if (touched > POOL_KEPT)
		(void)madvise(pool->at + POOL_KEPT, touched - POOL_KEPT,
			      MADV_DONTNEED);
	pool->used = 0;
	pool->free = NULL;
	return true;
}
