/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn: the process of a session, and the cgroup that it lives in.  Part of
 * the agent; see agent.c.
 */
#ifndef HOST_SPAWN_H
#define HOST_SPAWN_H

#include "session.h"

/* The exit status of a command that could not be started, but for 126, 127. */
#define SPAWN_FAILED 125

/*
 * Starts the command whose strings are in s->blob: sets s->pid and our ends,
 * s->in, s->out and s->err, non-blocking.  0, or -errno with what was opened
 * left in s.
 */
int spawn_start(struct session *s, const struct wire_run *run);

/* The session's cgroup: makes it; writes text to one of its files. */
void spawn_group_make(const struct session *s);
int spawn_group_write(const struct session *s, const char *file,
		      const char *text);

/* The size of a terminal. */
void spawn_size(int fd, unsigned rows, unsigned columns);

#endif
