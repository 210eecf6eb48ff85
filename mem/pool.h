/*
 * Memory for pools: mapped once at start-up, for as many as there may ever be,
 * and touched a page at a time, as deep as it is used. Never in huge pages,
 * which many hosts give unasked: the first request of a disk would take 2 MiB.
 */
#ifndef MEM_POOL_H
#define MEM_POOL_H

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/* Zeroed; NULL and errno where there is no room. The caller unmaps it. */
static inline void *pool_map(size_t bytes)
{
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		return NULL;
	/* A kernel without huge pages does not know the advice. */
	(void)madvise(at, bytes, MADV_NOHUGEPAGE);
	return at;
}

static inline void pool_unmap(void *at, size_t bytes)
{
	if (at)
		munmap(at, bytes);
}

#endif
