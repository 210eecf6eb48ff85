/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The jail: what mote gives up once everything is open and before it looks at
 * anything that an image or a guest controls. All of it but the filters of
 * system calls, which come last (seccomp/filter.h).
 */
#ifndef SECCOMP_JAIL_H
#define SECCOMP_JAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/file.h"
#include "cpu/loop/unixsock.h"

#define JAIL_SOCKETS 2
#define JAIL_OUTPUTS 4

struct jail_options {
	bool user_given;   /* to become that user is then a must */
	unsigned uid, gid; /* whom root becomes */
	/*
	 * Sockets whose directories stay reachable, for their removal and for
	 * vsock's listeners, and nothing beside or above these; NULL: none.
	 * The directories' descriptors are replaced by such that lead no
	 * further, where the host can do that. Without --user, root remains
	 * for files who owns the first of them, unless others write there.
	 */
	struct unixsock *sockets[JAIL_SOCKETS];
	/* What grows as it likes, where that is a file; -1: nothing. */
	int outputs[JAIL_OUTPUTS];
	uint64_t largest; /* no other file becomes larger than that: bytes */
	unsigned files;	  /* descriptors at most; 0: as many as most need */
};

/*
 * Before anything else is opened, since taps are looked for there. `netns`: a
 * network namespace. 0 or -errno, logged.
 */
int jail_join_netns(const struct option_file *netns);

/*
 * `cgroup`: its directory, or its file cgroup.procs. With `check` it is judged,
 * and not joined. 0 or -errno, logged.
 */
int jail_join_cgroup(const struct option_file *cgroup, bool check);

/* What is safe to leave allowed in there. */
enum jail_hold {
	JAIL_ALONE = 1 << 0,   /* to connect: to sockets in these directories */
	JAIL_REMOVAL = 1 << 1, /* to remove files: below these directories */
};

/*
 * Enters it, for good, with the only thread that there is. What the host cannot
 * do is said once, at --log info, and the rest done; a warning says that too
 * little is left. What any host can do and yet fails is an error: 0 or -errno,
 * logged. `holds`: enum jail_hold.
 */
int jail_enter(const struct jail_options *options, unsigned *holds);

#endif
