/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that takes its name only when it is whole: it is written under another
 * one, beside the first, and renamed over it. mote writes it, but has no
 * directory; the committer, a process beside it, has that, renames when it is
 * told to, and removes what was not finished, however mote ended.
 */
#ifndef CPU_LOOP_COMMITTER_H
#define CPU_LOOP_COMMITTER_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/file.h"
#include "cpu/loop/helper.h"
#include "cpu/loop/thread.h"

/* Which file is replaced: one that has these bytes there; len 0: any. */
struct committer_mark {
	uint32_t at, len;
	uint8_t bytes[16];
};

struct committer {
	const char *option; /* for messages: "--snapshot " */
	struct option_file file;
	int fd;	     /* what is to be written next; -1: none, or not yet */
	int dir_fd;  /* until committer_start */
	int channel; /* to the committer; -1: fd=N has none */
	char temporary[256];
	struct committer_mark mark; /* after committer_open, before _start */
};

/* Nothing is open yet. */
#define COMMITTER_NONE                                                         \
	((struct committer){ .fd = -1, .dir_fd = -1, .channel = -1 })

/*
 * Opens where a file is to be written: the path's directory; or fd=N, which
 * must be a regular file, open for reading and writing. 0 or -errno, logged;
 * committer_close also then.
 */
int committer_open(struct committer *c, const char *option,
		   const struct option_file *file);

/*
 * Where there is a path: makes the file (mode 0600), and starts the process,
 * before the sandbox closes in and while there is one thread. `hook`: its jail
 * and its filter, in the process, which needs no memory of mote's any more. 0
 * or -errno, logged.
 */
int committer_start(struct committer *c, bool keeps_stderr,
		    const struct thread_hook *hook);

/*
 * What is in c->fd is whole: it gets its name. `last`: nothing follows. 0, and
 * the answer comes by c->channel, which is readable then (without one it is
 * there by now); or -errno, not logged.
 */
int committer_commit(struct committer *c, bool last);

/*
 * Where c->fd is -1, since there was no room for the next file, or no
 * descriptor: asks for it once more. As committer_commit; there is a channel.
 */
int committer_ask(struct committer *c);

/*
 * The answer: 0, and c->fd is another, empty file, unless it was the last, or
 * the next one cannot be had; or -errno, not logged. -ESTALE: what has the name
 * by now does not have the mark.
 */
int committer_answer(struct committer *c);

/* Empties what was begun, for the next time: 0 or -errno, not logged. */
int committer_empty(struct committer *c);

/* Removes what was begun, and has no name yet. */
void committer_close(struct committer *c);

/* -- for the committer's filter, and tests --------------------------------- */

#define COMMITTER_CHANNEL HELPER_CHANNEL
#define COMMITTER_DIR	  HELPER_FIRST
#define COMMITTER_FILE	  (HELPER_FIRST + 1)

/* A page that cannot be written to, at an address that the filter knows. */
#define COMMITTER_AT	    0x20000000UL
#define COMMITTER_TEMPORARY COMMITTER_AT
#define COMMITTER_NAME	    (COMMITTER_AT + 512UL)
#define COMMITTER_MARK	    (COMMITTER_AT + 1024UL)
#define COMMITTER_FLAGS	    (O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC)
#define COMMITTER_LOOK	    (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
#define COMMITTER_MODE	    0600u    /* a guest's memory is its owner's */
#define COMMITTER_LARGEFILE 0100000u /* which musl adds */

#endif
