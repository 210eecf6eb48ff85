/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's end of `mote ... -- command`: mote's own stdin, stdout and stderr
 * are the command's, its signals are forwarded, and its status is mote's.
 */
#ifndef CPU_COMMAND_COMMAND_H
#define CPU_COMMAND_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/command/frames.h"
#include "cpu/command/orders.h"
#include "cpu/command/output.h"
#include "cpu/command/transfer.h"
#include "cpu/console/stream.h"
#include "cpu/console/tty.h"
#include "cpu/loop/loop.h"
#include "cpu/loop/report.h"
#include "cpu/platform.h"

#define COMMAND_TAIL 4096u

/* stdout or stderr. */
struct command_output {
	struct command *command;
	struct output output;
};

struct command {
	bool on; /* there is a command; else nothing below counts */
	bool tty;
	int vsock_fd, serial_fd; /* the other ends of the two links */
	struct loop *loop;	 /* NULL: not started, or stopped */
	struct platform *platform;
	struct report *report; /* NULL once it has the first output */

	/* The two links to the guest, both sockets; one of them has frames. */
	struct stream vsock, serial;
	struct stream *link; /* that one; NULL: not known yet */
	unsigned magic;	     /* bytes of PROTOCOL_MAGIC seen on the serial */
	struct frames frames;
	bool session;		/* in a guest that another mote runs, */
	bool deaf;		/* ... which takes no more */
	struct loop_timer lost; /* the link is: how does the guest end? */
	struct loop_timer retry;

	bool ready, exited, over; /* see the states in command.c */
	bool oom;	  /* killed by its kernel, to have memory again */
	bool lost_output; /* it could not be written: a full disk */
	unsigned status;
	unsigned stops;		      /* signals that ask for the end */
	char note[PROTOCOL_TEXT + 1]; /* init's last, not logged yet */

	struct stream in;
	struct tty_escape escape;
	bool in_tty, in_readable, in_over, in_background;
	uint32_t in_credit;
	struct command_output out[2]; /* stdout, stderr */
	struct transfers *transfers;  /* --put, --get; NULL: none */

	/* Frames for the guest: one that is being sent, and what is to be. */
	uint8_t send[PROTOCOL_HEADER + PROTOCOL_CHUNK];
	size_t send_at, send_end;
	uint64_t signals; /* 1 << number */
	bool winch;
	bool time; /* the host's is to be told */

	/* For snapshots: what init was told, or is to be told. */
	struct orders orders;
	uint32_t orders_len; /* of them, what any guest is told */
	char terminal[ORDERS_TTY_BYTES];
	bool program;	  /* it says by itself when one is to be taken */
	bool runs;	  /* its command does, since it said so elsewhere */
	size_t untold;	  /* bytes of orders that are for snapshots only */
	bool restored;	  /* init asks what it is to run, */
	bool environment; /* ... perhaps with one, in a directory, as a user */
	bool exec;	  /* and whether more commands may come */
	bool asked;	  /* it has, and was not told all yet, */
	size_t told;	  /* bytes of its orders so far, */
	bool greet;	  /* and not even the magic */

	/* The last that the kernel said on the serial port. */
	uint8_t tail[COMMAND_TAIL];
	uint64_t tail_len; /* in all */
};

struct command_options {
	bool tty;
	bool serial;  /* the serial port is free for it */
	bool program; /* it says by itself when a snapshot is to be taken */
	/* The guest is a snapshot's, where mote's init waits to be told. */
	bool restored;
	bool environment; /* --env, --env-file, --workdir or --as is given */
	bool exec;	  /* the host's programs may reach it: --vsock */
	/* Opened, the caller's, and then as long as the command; NULL: none. */
	struct transfers *transfers;
};

/*
 * Before the sandbox closes in. Then vsock_fd, for the vsock device, and
 * serial_fd (-1: not asked for), for the console, are where the guest's end
 * leads to. command_close closes what was not taken. 0 or -errno, logged.
 */
int command_open(struct command *command,
		 const struct command_options *options);

/*
 * The same for one more command in a guest that another mote runs: `fd`, a
 * connection to its init (cpu/command/exec.h), becomes the command's. What that
 * is to run is told by command_take_orders.
 */
void command_join(struct command *command,
		  const struct command_options *options, int fd);

/* vsock_fd, which is not this command's own any more. */
int command_take_vsock(struct command *command);

/*
 * What init was told, for a snapshot; or is to be told, in a guest that is
 * restored: without any, what was said in the one that was saved; or in one
 * that another mote runs. 0; or -E2BIG, logged: that is too much.
 */
int command_take_orders(struct command *command, struct orders *orders);

/*
 * What a snapshot keeps of a command whose guest has just said that it is
 * ready. Before command_start where it is loaded.
 */
void command_state(struct command *command, struct state *s);

/*
 * In a guest that was restored, after command_state and before command_start:
 * init is to be told who it is now. `hostname`: NULL where it stays as it was.
 */
void command_restored(struct command *command, const char *hostname);

/* Then: this interface has another address now. */
void command_tell_mac(struct command *command, const uint8_t was[6],
		      const uint8_t is[6]);

/* After that: what an interface is to use, as RUN_NET. */
void command_tell_net(struct command *command, const char *order);

/* What it needs of the host (cpu/loop/thread.h). After command_open. */
unsigned command_features(const struct command *command);

int command_start(struct command *command, struct loop *loop,
		  struct platform *platform, struct report *report);

/* True where the signal is the command's. */
bool command_signal(struct command *command, int number);

/* Hands the terminal back, and takes it again. */
void command_suspend(struct command *command);
void command_resume(struct command *command);

/*
 * After the guest has ended, and the loop: takes what waits on the links, so
 * that nobody has to wait for it; the console's last output goes there.
 */
void command_listen(struct command *command);

/*
 * Then passes on what there still is, for `timeout_ns` at most, or until
 * `stop_fd` is readable. True where all is out.
 */
bool command_drain(struct command *command, uint64_t timeout_ns, int stop_fd);

/*
 * After that: makes *ending that of a guest with a command, and where it did
 * not end with a status, says why. Leaves the loop.
 */
void command_finish(struct command *command, struct ending *ending);

void command_close(struct command *command);

#endif
