/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts the initrd into guest RAM: one or more cpio archives, compressed or
 * not, which the kernel unpacks one after another.
 */
#ifndef BOOT_INITRD_H
#define BOOT_INITRD_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/ram.h"

#define INITRD_SOURCES_MAX 64

struct initrd_source {
	int fd;		  /* the caller's */
	const char *name; /* what the user gave, for messages */
};

struct initrd {
	gpa start;     /* page-aligned */
	uint64_t size; /* bytes up to the end of the last archive; 0: none */
};

/*
 * Load `count` archives, in order, as high as they go in low RAM: not below
 * `floor` (the end of the kernel), no byte above `limit` (the kernel's
 * initrd_max). Pages are mapped from the files where they can be. 0; -ENOMEM
 * where they do not fit, else as source_open. Logged.
 */
int initrd_load(struct initrd *out, struct ram *ram,
		const struct initrd_source *list, unsigned count, gpa floor,
		gpa limit);

struct options;
struct orders;

/*
 * Adds what mote's init is to run, to be freed by the caller: 0 or -errno,
 * logged. `no_serial`: it may not use the serial port; `program`: the command
 * says by itself when it is ready, for a snapshot.
 */
int archive_orders(struct orders *orders, const struct options *options,
		   bool no_serial, bool program);

/*
 * The archive that goes behind the user's where there is a command: mote's init
 * for the guest, and its orders. In memory, as a descriptor that is the
 * caller's; or -errno, logged.
 */
int archive_create(const struct options *options, const struct orders *orders);

#endif
