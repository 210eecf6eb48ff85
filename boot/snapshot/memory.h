/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory into a snapshot's file, sparse: which pages the host has, of
 * these which are not zero.
 */
#ifndef BOOT_SNAPSHOT_MEMORY_H
#define BOOT_SNAPSHOT_MEMORY_H

#include <stdint.h>

#include "mem/ram.h"
#include "mem/state.h"

/* So much is looked at in one call. */
#define SNAPSHOT_MEMORY_STEP (16ULL << 20)

/*
 * /proc/self/pagemap, to be opened before the sandbox closes in: a descriptor,
 * the caller's; -1 where there is no /proc: then all pages are read.
 */
int snapshot_memory_open(void);

/*
 * Writes the next part of `ram`, from *at on, to `fd`, where a byte of RAM lies
 * `off` further on. 0, and *at is moved on, up to ram->size; or -errno, not
 * logged. The guest must stand still. What is not written must be a hole.
 */
int snapshot_memory_write(const struct ram *ram, int pagemap_fd, int fd,
			  uint64_t off, uint64_t *at);

/*
 * Which pages this process has for itself, since they were written: runs of
 * them (boot/snapshot/learn.h). Without /proc there is none.
 */
void snapshot_memory_written(const struct ram *ram, int pagemap_fd,
			     struct state *s);

#endif
