/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory between guard pages. The addresses of all of it are reserved first, as
 * pages that nobody may touch; what is used is mapped over their middle.
 *
 * Owns nothing. Main thread.
 */
#include "mem/pool.h"

#include <errno.h>
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
