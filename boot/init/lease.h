/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A DHCP client without its sockets and its clock: messages, states and times
 * (RFC 2131), pure, so that it is tested on any machine. Addresses are numbers
 * in the host's order, times are milliseconds of any clock that never goes
 * back. Messages that come may be anybody's.
 *
 *	SELECTING  -offer->  REQUESTING  -ack->  BOUND  -T1->  RENEWING
 *	    ^                    |nak              ^              | T2
 *	    +--------------------+                 +---ack---- REBINDING
 *	    +------------------- nak, or the lease is over ------+
 *
 * Who uses it sends what lease_write writes when lease_expire or lease_read
 * says LEASE_SEND, and calls lease_expire again at next_ms.
 */
#ifndef BOOT_INIT_LEASE_H
#define BOOT_INIT_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEASE_MESSAGE 1472u /* bytes at most: what an Ethernet frame holds */
#define LEASE_PACKET  (LEASE_MESSAGE + 28u) /* with IP's and UDP's headers */
#define LEASE_SERVERS 3u		    /* as many as a C library asks */
#define LEASE_ROUTES  16u
#define LEASE_SEARCH  256u
#define LEASE_FOREVER UINT32_MAX /* seconds */

#define LEASE_CLIENT_PORT 68
#define LEASE_SERVER_PORT 67

/* What a server has given. */
struct lease {
	uint32_t address, server;
	uint8_t prefix;
	uint16_t mtu; /* 0: it does not say */
	uint32_t seconds, t1, t2;
	uint32_t dns[LEASE_SERVERS];
	unsigned dns_count;
	struct lease_route {
		uint32_t to, via; /* via 0: the interface's own network */
		uint32_t prefix;
	} routes[LEASE_ROUTES];
	unsigned route_count;
	char search[LEASE_SEARCH]; /* domains, with blanks; letters that may
				    * stand in a host's name only */
};

enum lease_state {
	LEASE_SELECTING,
	LEASE_REQUESTING,
	LEASE_BOUND,
	LEASE_RENEWING,
	LEASE_REBINDING
};

enum lease_act {
	LEASE_WAIT,
	LEASE_SEND,
	LEASE_GOT, /* a lease, new or renewed: it is to be made use of */
	LEASE_LOST /* it is over: it is not to be used any more */
};

struct lease_client {
	enum lease_state state;
	bool asked; /* with this number: before that there is no answer */
	uint8_t mac[6];
	const char *host; /* this machine's name, for the server; or "" */
	uint32_t xid, random;
	uint64_t begun_ms, next_ms; /* the latter: when it is to be called */
	uint64_t sent_ms, got_ms;   /* the latter: what `lease` counts from */
	unsigned tries;		    /* since it has last had a lease */
	unsigned requests;	    /* for the offer that it has taken */
	struct lease lease;
};

/* Members mac and host are set; `random`: a number that others do not have. */
void lease_begin(struct lease_client *c, uint32_t random, uint64_t now_ms);

/* It is next_ms, or may be. After LEASE_LOST it is to be called once more. */
enum lease_act lease_expire(struct lease_client *c, uint64_t now_ms);

/* A message has come: what a UDP packet holds. */
enum lease_act lease_read(struct lease_client *c, const uint8_t *message,
			  size_t len, uint64_t now_ms);

/* The message that is to be sent now: its length. */
size_t lease_write(struct lease_client *c, uint8_t message[LEASE_MESSAGE],
		   uint64_t now_ms);

/*
 * A packet to all of the network, from nobody yet: the headers in front of
 * `len` bytes that are at packet + LEASE_HEADERS; its length. And a packet that
 * has come: the message in it, and how long that is; NULL where there is none
 * for a DHCP client. UDP's checksum is not looked at: from the host's own
 * server it is not there yet (virtio 1.2, 5.1.6.2), and who fakes a packet can
 * compute it.
 */
#define LEASE_HEADERS 28u
size_t lease_wrap(uint8_t *packet, size_t len);
const uint8_t *lease_unwrap(const uint8_t *packet, size_t len,
			    size_t *message_len);

#endif
