/* Loads an ELF64 x86-64 vmlinux: the part of kernel_load for such files. */
#ifndef BOOT_ELF_H
#define BOOT_ELF_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/kernel.h"
#include "boot/source.h"

/*
 * `head` is the file's first 4096 bytes, filled up with zero. Fills `image`;
 * errors as kernel_load's.
 */
int elf_load(struct kernel_image *image, struct ram *ram,
	     const struct source *source, const uint8_t *head, bool copy);

#endif
