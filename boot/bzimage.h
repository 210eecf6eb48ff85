/* Loads a 64-bit bzImage: the part of kernel_load for such files. */
#ifndef BOOT_BZIMAGE_H
#define BOOT_BZIMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "boot/kernel.h"
#include "boot/source.h"

/*
 * `head` is the file's first 4096 bytes, filled up with zero. Fills `image`;
 * errors as kernel_load's.
 */
int bzimage_load(struct kernel_image *image, struct ram *ram,
		 const struct source *source, const uint8_t *head, bool copy);

#endif
