/*
 * The keys and forms of the options that make virtio devices; for the table in
 * options.c. Offsets are from the element: struct block_options and so on.
 */
#ifndef BOOT_OPTIONS_DEVICES_H
#define BOOT_OPTIONS_DEVICES_H

#include "boot/options/parse.h"

extern const struct option_key options_disk_keys[];

extern const struct option_choice options_net_forms[];
extern const struct option_key options_net_keys[];

extern const struct option_key options_vsock_keys[];

extern const struct option_choice options_serial_forms[];

#endif
