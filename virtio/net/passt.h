/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt(1) as the other end of a network: it makes of the guest's frames
 * sockets of its own, as any program has them, so that takes no rights. mote
 * starts it, and speaks to it as to any other stream (stream.c).
 *
 * The guest's network is the same everywhere, whatever the host's is, so that
 * a guest that was saved finds it again: PASST_GUEST4 and PASST_GUEST6 are what
 * DHCP, NDP and DHCPv6 give it, and PASST_HOST4 and PASST_HOST6 its gateway,
 * and also the host's own loopback addresses. No address of the host's is
 * hidden from it by that, as passt's own choice, the host's address and
 * gateway, would be.
 */
#ifndef VIRTIO_NET_PASST_H
#define VIRTIO_NET_PASST_H

#include <stdbool.h>
#include <stdint.h>

#define PASST_GUEST4 "10.0.2.15"
#define PASST_HOST4  "10.0.2.2"
#define PASST_GUEST6 "fd6d:6f74:65::15"
#define PASST_HOST6  "fe80::2" /* to another passt sends no answers by UDP */
#define PASST_MTU    65520u /* the most that it takes, and it is quick by it */

#define PASST_PUBLISH_MAX   64
#define PASST_ADDRESS_BYTES 46
#define PASST_ARGUMENTS_MAX (24 + 2 * PASST_PUBLISH_MAX)
#define PASST_SPEC_BYTES    64

/* A port of the host that leads to the guest. */
struct passt_publish {
	const char *text;		   /* as the user wrote it */
	char address[PASST_ADDRESS_BYTES]; /* empty: all of the host's */
	uint16_t port, guest_port;
	bool udp;
};

/* What passt is started with: `argument` points into `spec`. */
struct passt_arguments {
	unsigned count;
	const char *argument[PASST_ARGUMENTS_MAX + 3]; /* up to a NULL */
	char spec[PASST_PUBLISH_MAX][PASST_SPEC_BYTES];
};

/*
 * The arguments for these ports, of which there are at most PASST_PUBLISH_MAX.
 * `args` must not be copied.
 */
void passt_set_arguments(struct passt_arguments *args,
			 const struct passt_publish *publish, unsigned count);

/*
 * Starts passt, with the only thread that there is and before mote is locked
 * in: mote's end of the stream, the caller's; or -errno, logged for `name`.
 * *channel, the caller's, is for passt_wait.
 */
int passt_start(const char *name, const struct passt_publish *publish,
		unsigned count, int *channel);

/*
 * Until it has its ports, and so before the guest runs; closes the channel. 0,
 * or -EIO, logged. What follows of its end is the stream's.
 */
int passt_wait(const char *name, int channel);

#endif
