/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening unix socket at a path that the user named: the serial port's and
 * the vsock device's. Opened before the sandbox closes in. Main thread.
 */
#ifndef CPU_LOOP_UNIXSOCK_H
#define CPU_LOOP_UNIXSOCK_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

/* The longest path that fits into an address, with its zero. */
#define UNIXSOCK_PATH_MAX sizeof(((struct sockaddr_un *)0)->sun_path)

/* The file of a socket; what is needed to remove it and no other. */
struct unixsock {
	const char *option; /* for messages: "--serial unix=" */
	const char *path;
	int dir_fd; /* -1: there is nothing to remove */
	int own_fd; /* has the file, where it is ours */
	dev_t dev;
	ino_t ino; /* 0: somebody else's file */
};

/* A socket that is not there yet. */
#define UNIXSOCK_NONE ((struct unixsock){ .dir_fd = -1 })

/*
 * Listens at `path`, which must last as long as `file`. A socket there that
 * nobody serves is replaced; anything else is an error. The descriptor, which
 * is the caller's and does not block, or -errno, logged. In either case
 * unixsock_remove comes last.
 */
int unixsock_listen(struct unixsock *file, const char *option, const char *path,
		    int backlog);

/*
 * For a listening unix stream socket that the caller of mote opened: checks
 * that it is one, and makes it close-on-exec and non-blocking. 0 or -errno,
 * logged.
 */
int unixsock_take(const char *option, int fd);

/*
 * What is after the last slash of a path, and the directory before it: "." at
 * least. `path` is shorter than UNIXSOCK_PATH_MAX.
 */
const char *unixsock_name(const char *path);
void unixsock_directory(const char *path, char dir[UNIXSOCK_PATH_MAX + 1]);

/*
 * Removes the file, unless another program has put its own there in the
 * meantime, or there is no right to: the next one replaces what is left.
 */
void unixsock_remove(struct unixsock *file);
/* The same, and the directory stays open: for the broker. */
void unixsock_unlink(const struct unixsock *file);

/* There is a file to be removed. */
bool unixsock_is_ours(const struct unixsock *file);

/* Closes the descriptors; the file stays, and the broker will remove it. */
void unixsock_forget(struct unixsock *file);

#endif
