/*
 * The "zero page": what the kernel is told at its start (Linux,
 * Documentation/arch/x86/boot.rst and zero-page.rst).
 */
#ifndef BOOT_PARAMS_H
#define BOOT_PARAMS_H

#include "boot/cmdline.h"
#include "boot/initrd.h"
#include "boot/kernel.h"
#include "mem/ram.h"

/*
 * Writes boot_params at LAYOUT_BOOT_PARAMS, the command line at
 * LAYOUT_CMDLINE and a random seed at LAYOUT_SETUP_DATA. 0 or -errno, logged.
 */
int params_write(const struct ram *ram, const struct kernel_image *kernel,
		 const struct initrd *initrd, const struct cmdline *cmdline);

#endif
