/* SPDX-License-Identifier: Apache-2.0 */
/* What a run of a snapshot's clone has shown is kept for the next ones. */
#ifndef BOOT_SNAPSHOT_UPDATE_H
#define BOOT_SNAPSHOT_UPDATE_H

#include "boot/snapshot/snapshot.h"

/*
 * When no vCPU runs any more: the same snapshot, with the pages that this run
 * has written, in place of the one that was restored. What fails is logged.
 */
void snapshot_update(struct snapshot *s);

#endif
