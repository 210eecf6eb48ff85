/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relay: hostd's middle: frames between many clients and one agent.
 */
#ifndef HOST_RELAY_H
#define HOST_RELAY_H

#include "wire.h"

#include <poll.h>

#define RELAY_CLIENTS 64
#define RELAY_POLLFDS (2 + RELAY_CLIENTS)

struct client {
	int fd; /* -1: free */
	uint32_t session;
	struct buf in, out;
	int ending; /* close when `out` is empty */
};

struct relay {
	int port, listener; /* hostd opens and closes both */
	int ready;	    /* the agent has said so */
	int stop;	    /* a client has asked for it */
	uint32_t last_session;
	int64_t used, heard; /* when a client came or went, the agent spoke */
	struct buf in, out;  /* of the port */
	struct client clients[RELAY_CLIENTS];
};

void relay_init(struct relay *r);

/* Whether any client is connected. */
int relay_busy(const struct relay *r);

/* One turn of the loop: what to poll for, then what came of it.  Clients are
 * let in when the agent is ready.  -EPIPE: the machine has ended. */
void relay_poll(const struct relay *r, struct pollfd *p);
int relay_step(struct relay *r, const struct pollfd *p);

#endif
