/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses that --net gives a guest: ip=, gw= and dns=.
 */
#ifndef BOOT_OPTIONS_ADDRESS_H
#define BOOT_OPTIONS_ADDRESS_H

#include "boot/options/options.h"

#define ADDRESS_DHCP "dhcp"
#define ADDRESS_OFF  "off"

struct option_address {
	uint8_t bytes[16];
	unsigned len; /* of these: 4, or 16 of IPv6 */
	unsigned prefix;
};

/* "10.0.2.15", and "/24" where there is to be one; false: it is not that. */
bool address_read(struct option_address *address, const char *text,
		  bool with_prefix);

/*
 * Of all interfaces: are they what they are to be, do they go together, and can
 * the guest be told? 0, or -EINVAL, logged.
 */
int options_check_addresses(struct options *options);

/* --publish, the same way (publish.c). */
int options_check_publish(struct options *options);

#endif
