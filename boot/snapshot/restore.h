/* SPDX-License-Identifier: Apache-2.0 */
/* Restoring a snapshot: its start; snapshot.h has what follows. */
#ifndef BOOT_SNAPSHOT_RESTORE_H
#define BOOT_SNAPSHOT_RESTORE_H

#include "boot/snapshot/snapshot.h"

/*
 * Opens what --restore names, if anything; judges its header, and takes the
 * words of the devices that the command line does not name. 0 or -errno,
 * logged.
 */
int snapshot_open_restore(struct snapshot *s);

/* Whether nobody but its owner, who is us or root, may have written it. */
bool snapshot_words_are_trusted(const struct snapshot *s);

#endif
