/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that stands in a guest's memory when it starts: kernel, initrd,
 * command line, tables.
 */
#ifndef BOOT_MACHINE_H
#define BOOT_MACHINE_H

#include <stdbool.h>

#include "boot/options/files.h"
#include "boot/options/options.h"
#include "mem/ram.h"

struct machine {
	gpa entry, boot_params;
	bool tells_panic;  /* see cmdline_tells_panic */
	bool names_virtio; /* the command line does, at their aliases */
};

/*
 * Fills `ram`, which must be as ram_create left it, for a guest with so many
 * virtio-mmio `slots`, of which the disks have the first ones. Where there is a
 * command, an initrd has mote's own init. The files stay the caller's, and must
 * stay as they are while the guest runs. 0 or -errno, logged.
 */
int machine_load(struct machine *machine, struct ram *ram,
		 const struct options *options, const struct files *files,
		 unsigned slots);

#endif
