/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest is told of its networks: mote's init by orders, or a kernel by
 * its command line.
 */
#ifndef BOOT_NETWORDS_H
#define BOOT_NETWORDS_H

#include "boot/cmdline.h"
#include "boot/options/options.h"

#define NETWORDS_BYTES 512

/*
 * RUN_NET's text, as boot/init/net.c has it, for an interface with that MAC;
 * false where it is left alone.
 */
bool networds_order(char text[NETWORDS_BYTES], const struct net_options *net,
		    const uint8_t mac[NET_MAC_BYTES]);

/* ip=..., of the interface that it is to be of, if any; 0, or as cmdline_add.
 */
int networds_add(struct cmdline *line, const struct device_options *devices);

#endif
