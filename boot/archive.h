/*
 * What rides behind the user's initrd where there is a command: mote's init
 * for the guest, and what it is to run.
 */
#ifndef BOOT_ARCHIVE_H
#define BOOT_ARCHIVE_H

#include <stdbool.h>

#include "boot/options/options.h"

/*
 * An archive with both, in memory, as a descriptor that is the caller's.
 * `no_serial`: init may not use the serial port. -errno, logged.
 */
int archive_create(const struct options *options, bool no_serial);

#endif
