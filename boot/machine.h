/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything that stands in a guest's memory when it starts: kernel, initrd,
 * command line, tables.
 */
#ifndef BOOT_MACHINE_H
#define BOOT_MACHINE_H

#include <stdbool.h>

#include "boot/cmdline.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "mem/gpa.h"
#include "mem/ram.h"
#include "virtio/devices.h"

struct machine_options {
	int kernel_fd;
	const char *kernel_name; /* as the user wrote it, for messages */
	bool kernel_copy;
	const struct initrd_source *initrds;
	unsigned initrd_count;
	const char *cmdline; /* replaces the default one; NULL: the default */
	const char *const *append;
	unsigned append_count;
	unsigned cpus;
	bool serial;	 /* the console is the serial port */
	bool command;	 /* an initrd has mote's own init: RUN_INIT */
	unsigned virtio; /* slots in use; the disks have the first ones */
	const struct block_options *disks;
	unsigned disk_count;
};

struct machine {
	gpa entry, boot_params;
	bool tells_panic;  /* see cmdline_tells_panic */
	bool names_virtio; /* the command line does, at their aliases */
};

/*
 * Fills `ram`, which must be as ram_create left it. The files stay the
 * caller's, and must stay as they are while the guest runs. 0 or -errno,
 * logged.
 */
int machine_load(struct machine *machine, struct ram *ram,
		 const struct machine_options *options);

#endif
