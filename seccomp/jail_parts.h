/*
 * The larger parts of the jail; for seccomp/jail.c alone, which says in which
 * order. Each says at --log info what it has done or why it could not.
 */
#ifndef SECCOMP_JAIL_PARTS_H
#define SECCOMP_JAIL_PARTS_H

#include <stdbool.h>

#include "seccomp/jail.h"

/*
 * Namespaces of mote's own: which, by their CLONE_NEW* flags, CLONE_NEWUSER
 * aside; or -EPERM, unlogged, where they take a right that this process lacks,
 * and that everybody has inside of a user namespace (`user`).
 */
int jail_namespaces(bool user);

/*
 * In a mount namespace of mote's own: an empty root directory that nobody can
 * write to, and the sockets' directories cut loose from all around them. True
 * if all of that was done.
 */
bool jail_root(const struct jail_options *options);

/*
 * Landlock with no rights, except to remove the sockets' files in these
 * directories. The version of it that holds; 0: none.
 */
#define LANDLOCK_ABSTRACT 6 /* from then on: abstract sockets, too */
int jail_landlock(const struct jail_options *options);

#endif
