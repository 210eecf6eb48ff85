/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts a kernel into guest RAM, an ELF vmlinux or a bzImage, and says where it
 * starts and what it accepts. Entered in long mode at `entry`, as
 * Documentation/arch/x86/boot.rst, "64-bit Boot Protocol", has it.
 */
#ifndef BOOT_KERNEL_H
#define BOOT_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/ram.h"

/*
 * The setup header's place in boot_params and in a bzImage's first sector, and
 * the most of it that boot_params holds: edd_mbr_sig_buffer is next, at 0x290.
 */
#define KERNEL_SETUP_START 0x1f1
#define KERNEL_SETUP_MAX   (0x290 - KERNEL_SETUP_START)

struct kernel_image {
	gpa entry;	/* the first instruction */
	gpa start;	/* RAM that it takes, all below 3 GiB, ... */
	uint64_t size;	/* ... in bytes, with its bss and unpacking room */
	gpa initrd_max; /* the last byte that an initrd may take */
	uint32_t cmdline_max; /* bytes of command line, its NUL not counted */
	/* bzImage only: goes to boot_params as it is, at KERNEL_SETUP_START */
	uint8_t setup_header[KERNEL_SETUP_MAX];
	size_t setup_header_len; /* 0 for an ELF file */
};

/*
 * Load from `fd`, which stays the caller's; `name` is what the user gave, for
 * messages. Pages are mapped from the file where they can be, unless `copy`.
 * The RAM must be as ram_create left it: zero, which a kernel's bss relies on.
 * 0; -ENOEXEC for what is no kernel for this machine, -EINVAL for a broken
 * one, -ENOMEM where it needs more RAM, -ENODATA where the file is cut short,
 * else of the system call. Logged. RAM may hold a part of it after an error.
 */
int kernel_load(struct kernel_image *image, struct ram *ram, int fd,
		const char *name, bool copy);

#endif
