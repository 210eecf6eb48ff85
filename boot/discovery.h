/*
 * How a kernel will find its virtio-mmio devices: by the ACPI tables, or by
 * words on its command line.
 */
#ifndef BOOT_DISCOVERY_H
#define BOOT_DISCOVERY_H

#include <stdbool.h>

#include "boot/cmdline.h"
#include "boot/kernel.h"
#include "mem/ram.h"

/*
 * Are the words of any use to the kernel that was loaded from `fd` into `ram`,
 * started with this line? True where that cannot be told: they do no harm
 * besides a warning for each.
 */
bool discovery_wants_words(const struct kernel_image *kernel,
			   const struct ram *ram, int fd,
			   const struct cmdline *line);

/*
 * Adds them for `slots` slots, at the alias of each (boot/layout.h). 0, or
 * -E2BIG and logged.
 */
int discovery_add_words(struct cmdline *line, unsigned slots);

#endif
