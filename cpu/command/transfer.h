/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes into the guest before its command starts (--put) and comes out of
 * it after that has ended (--get): tar streams, each way one after the other.
 */
#ifndef CPU_COMMAND_TRANSFER_H
#define CPU_COMMAND_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/command/orders.h"
#include "cpu/command/output.h"
#include "cpu/command/protocol.h"
#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"

enum transfer_owner { TRANSFER_OWNER_ANY, TRANSFER_OWNER_KEEP };

struct transfer_options {
	struct option_file file; /* "-" for standard output; none: by `guest` */
	const char *guest; /* a path there; NULL: the command's directory */
	unsigned owner;	   /* enum transfer_owner */
};

/* "-": mote's own standard output. */
static inline bool transfer_is_stdout(const struct transfer_options *o)
{
	return o->file.path && o->file.path[0] == '-' && !o->file.path[1];
}

struct transfer {
	const struct transfer_options *options;
	struct stream stream; /* with a walker: what it sends; else the file */
	int tree_fd;	      /* --put: a directory, or one file; -1: fd=N */
	bool made;	      /* --get: by who only checks, and removes it */
};

/* All zero: there are none. */
struct transfers {
	unsigned put_count, get_count;
	unsigned put_at, get_at; /* the first that is not over */
	uint32_t put_credit;
	bool getting;	/* the command has ended, and they come */
	bool get_ended; /* all of it has */
	bool failed;	/* one could not be written, which was said */
	struct loop *loop;

	bool progress; /* is shown, where it takes long */
	bool shown;
	struct loop_timer timer;
	uint64_t bytes, begin_ns; /* of the one that goes on; 0: none does */

	struct transfer put[RUN_TRANSFERS_MAX], get[RUN_TRANSFERS_MAX];
	struct output out; /* of the --get that goes on */
};

/*
 * Opens all of them, before the sandbox closes in: what the --put name, for
 * their walkers (boot/walker.h), and the files of the --get, which are empty
 * then. With `check` they are judged, and left as they are. 0 or -errno,
 * logged; transfers_close also then.
 */
int transfers_open(struct transfers *transfers,
		   const struct transfer_options *puts, unsigned put_count,
		   const struct transfer_options *gets, unsigned get_count,
		   bool check);

/* From now on mote's end of a walker's socket is where that --put comes from.
 */
int transfers_set_walker(struct transfers *transfers, unsigned put, int fd);

/* Behind all other orders of the guest. */
void transfers_add_orders(const struct transfers *transfers,
			  struct orders *orders);

/* One of the --get is written to a file, as long as it may be. */
bool transfers_write_files(const struct transfers *transfers);

/* One of the --get is written to mote's standard output. */
bool transfers_use_stdout(const struct transfers *transfers);

/* What they need of the host (cpu/loop/thread.h). */
unsigned transfers_features(const struct transfers *transfers);

/* `changed` is called where one of the two below may have something to do. */
int transfers_start(struct transfers *transfers, struct loop *loop,
		    void (*changed)(void *arg, uint32_t events), void *arg);

/*
 * What a PUT frame is to say next: bytes, up to PROTOCOL_CHUNK, 0 for the end
 * of one; -EAGAIN for nothing now; another -errno, logged, where there is no
 * going on. One byte in front of `payload` is used as well.
 */
long transfers_next_put(struct transfers *transfers, uint8_t *payload);

/* It is watched, or not: there is nothing that could be sent now. */
void transfers_watch_put(struct transfers *transfers, bool watch);

static inline bool transfers_are_put(const struct transfers *t)
{
	return t->put_at == t->put_count;
}

/* TAKEN of PUT or of GET, and GET, have come: 0, or -EPROTO, not logged. */
int transfers_begin_get(struct transfers *transfers, uint32_t count);
int transfers_credit_came(struct transfers *transfers, uint32_t count);
int transfers_get_came(struct transfers *transfers, const uint8_t *data,
		       size_t len);

/* Writes what is there of a --get: -EAGAIN where it waits for the reader, and
 * that cannot be watched; else 0. */
int transfers_flush(struct transfers *transfers);

/*
 * What the guest is to be told of a --get: PROTOCOL_TAKEN or CLOSED, and what
 * beside; 0: nothing.
 */
unsigned transfers_next_word(struct transfers *transfers, uint32_t *word);

/* After the end of a guest whose command was started: says which of the --get
 * are not whole. False where one is not. */
bool transfers_finish(struct transfers *transfers);

/* Leaves the loop; then closes all. */
void transfers_stop(struct transfers *transfers);
void transfers_close(struct transfers *transfers);

/* -- a walker's messages --------------------------------------------------- */

/*
 * Their first byte says what follows: bytes of the stream; text for mote's
 * user; or nothing: that was all.
 */
#define TRANSFER_BYTES 'b'
#define TRANSFER_WARN  'w'
#define TRANSFER_ERROR 'e' /* it ends with that */
#define TRANSFER_END   '.'

#endif
