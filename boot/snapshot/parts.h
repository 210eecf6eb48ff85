/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a machine that a snapshot has, one record of the file each.
 */
#ifndef BOOT_SNAPSHOT_PARTS_H
#define BOOT_SNAPSHOT_PARTS_H

#include "boot/snapshot/snapshot.h"

/* Zeroed memory of its own; `flags`: MAP_POPULATE where all of it will be used,
 * or 0. NULL: there is no more. */
void *snapshot_map(size_t len, int flags);

/* The disks, in order; an index below 0: there is none. */
struct block *snapshot_disk(const struct snapshot *s, unsigned index);
int snapshot_disk_index(const struct snapshot *s, unsigned n);

/*
 * Out of s->records: those that say what the machine is; or, once it is there,
 * the `rest`. Then: that nothing is left but what may be skipped. 0 or -EINVAL,
 * logged.
 */
int snapshot_parts_load(struct snapshot *s, bool rest);
int snapshot_parts_check_end(struct snapshot *s);

/*
 * Into s->state, while all stands still, and the header's flags and length of
 * it. NULL; or why not, and of what that is said.
 */
const char *snapshot_parts_save(struct snapshot *s, char what[80]);

/*
 * Into s->state, when no vCPU runs any more: what s->records has, and which
 * pages were written since. False: there is no room.
 */
bool snapshot_parts_save_learned(struct snapshot *s);

#endif
