/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The broker: a process beside mote's, for what takes the directories of unix
 * sockets, so that mote itself has none. It connects to PATH_<port> when mote
 * asks for it, and removes the sockets' files when mote has ended, however
 * that happened. broker.c says how it is kept from anything else.
 */
#ifndef CPU_LOOP_BROKER_H
#define CPU_LOOP_BROKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/un.h>

#include "cpu/loop/helper.h"
#include "cpu/loop/thread.h"
#include "cpu/loop/unixsock.h"

/* -- for mote -------------------------------------------------------------- */

#define BROKER_FILES 2

struct broker_options {
	/* Whose directories it has; NULL, or without one: nothing to do. */
	struct unixsock *file[BROKER_FILES];
	bool dials;	   /* connects to PATH_<port> of the first */
	bool keeps_stderr; /* or nobody hears of it */
	/* Its jail and its filter, entered in the broker, which needs no memory
	 * of mote's any more. */
	struct thread_hook hook;
};

/*
 * Starts it where there is anything to do, before the sandbox closes in and
 * while there is one thread. *fd, the caller's: what the functions below talk
 * through, or -1 where none was started. 0 or -errno, logged. From then on the
 * files are the broker's: unixsock_remove does nothing to them any more.
 */
int broker_start(const struct broker_options *options, int *fd);

/*
 * Asks for a connection to PATH_<port>. `tag` comes back with the answer; these
 * come in order. At most BROKER_PENDING_MAX may be without an answer: more
 * would wait for a broker that waits for its reader. 0 or -errno, not logged.
 */
#define BROKER_PENDING_MAX 16u
int broker_request(int fd, uint32_t port, uint32_t tag);

/*
 * The next answer: 1; 0 where none has come; -errno where none will ever come
 * any more. `result`: a descriptor, the caller's, which does not block, or
 * -errno: what connect(2) said, and -EMFILE where mote may have no more.
 */
struct broker_answer {
	uint32_t port, tag;
	int32_t result;
};
int broker_receive(int fd, struct broker_answer *answer);

/*
 * Last: has the files removed and waits until they are, for a tenth of a second
 * at most. Closes the descriptor; -1 is harmless.
 */
void broker_end(int fd);

/* -- for the broker's filter, and tests ------------------------------------ */

/* Its descriptors: what it talks to mote through, and the directories. */
#define BROKER_CHANNEL HELPER_CHANNEL
#define BROKER_DIR     HELPER_FIRST /* and up, one for each file */

/*
 * Two pages at an address that the filter knows: the files' names and the
 * beginning of PATH_<port>'s address on the first, which cannot be written to;
 * on the second, the port. So nothing but the port can change.
 */
#define BROKER_PAGE    4096UL
#define BROKER_AT      0x20000000UL
#define BROKER_NAME(i) (BROKER_AT + (i)*128UL)
#define BROKER_PORT    (BROKER_AT + BROKER_PAGE)
#define BROKER_DIGITS  10UL /* of a port */
#define BROKER_ADDRESS                                                         \
	(BROKER_PORT - (sizeof(struct sockaddr_un) - BROKER_DIGITS))

/* Maps these pages: 0 or -errno. `file` NULL or without a directory: none. */
int broker_map(struct unixsock *const file[BROKER_FILES]);

/* Answers one request, in the first file's directory; false: the last. */
bool broker_serve(int channel);

#endif
