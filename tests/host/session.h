/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session: one command in the test host, from its strings to its status.
 * Part of the agent; see agent.c.
 */
#ifndef HOST_SESSION_H
#define HOST_SESSION_H

#include "wire.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

#define SESSION_MAX	64
#define SESSION_POLLFDS 3

struct session {
	uint32_t id; /* 0: free */
	pid_t pid;   /* 0: none yet, or reaped */
	bool started, timed_out, killed, gone, tty;
	int status;	  /* what EXIT will say */
	int in, out, err; /* our ends; on a tty all is in `out` */
	struct buf blob, input;
	bool input_ended;
	uint32_t on_way[3]; /* bytes sent and not acknowledged, by stream */
	int64_t deadline;   /* of the command, ms; 0: none */
	int64_t give_up;    /* stop waiting for its output; 0: not ending */
};

extern struct session sessions[SESSION_MAX]; /* the agent's */

/* Starts a session in a free slot. */
void session_open(struct session *s, uint32_t id);

/* A frame of this session from the client. */
void session_frame(struct session *s, const struct wire_head *h,
		   const char *data, struct buf *reply);

/* Its main process has ended; what it left behind is killed. */
void session_reaped(struct session *s, int wait_status);

/* What to poll for: fills SESSION_POLLFDS entries. */
void session_poll(struct session *s, struct pollfd *fds);

/* Moves bytes and watches deadlines; frees the session when it is done. */
void session_step(struct session *s, const struct pollfd *fds, int64_t now,
		  struct buf *reply);

#endif
