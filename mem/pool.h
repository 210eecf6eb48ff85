/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that a guest's bytes are copied to, between guard pages: an access
 * just outside is a fault, and never another's data.
 */
#ifndef MEM_POOL_H
#define MEM_POOL_H

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

#endif
