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

#define JAIL_OUTPUTS 4

struct jail_options {
	bool user_given;   /* to become that user is then a must */
	unsigned uid, gid; /* whom root becomes */
	/* What grows as it likes, where that is a file; -1: nothing. */
	int outputs[JAIL_OUTPUTS];
	uint64_t largest; /* no other file becomes larger than that: bytes */
	bool own_cores;	  /* shared with no other process, hyperthreads too */
	bool own_network; /* a network namespace: see jail.c, and main.c */
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

/*
 * Enters it, for good, with the only thread that there is. What the host cannot
 * do is said once, at --log info, and the rest done; a warning says that too
 * little is left. What any host can do and yet fails is an error: 0 or -errno,
 * logged.
 */
int jail_enter(const struct jail_options *options);

/*
 * The same for the broker (cpu/loop/broker.h): no privilege, no capability, the
 * same user; but `files`, of root's, is its user for files. Its filter comes
 * next. 0 or -errno, logged.
 */
int jail_enter_broker(const struct jail_options *options, unsigned files);

/*
 * The same for a walker (boot/walker.h): it reads what its caller may read, in
 * the directory `tree_fd`, or that file. Its filter comes next. 0 or -errno,
 * logged.
 */
int jail_enter_walker(const struct jail_options *options, int tree_fd);

/*
 * Whom root's broker is for files: who owns the directory of `file`, and can so
 * reach the listeners there and remove the socket. Whom --user names is that
 * user in all. In a directory like /tmp others could have put a link to any
 * socket of the owner's: there a broker that `dials` is nobody special, which
 * is said.
 */
unsigned jail_socket_user(const struct jail_options *options,
			  const struct unixsock *file, bool dials);

/*
 * Whom root's committer (cpu/loop/committer.h) is for files: who owns that
 * directory, unless --user says otherwise.
 */
unsigned jail_directory_user(const struct jail_options *options, int dir_fd);

#endif
