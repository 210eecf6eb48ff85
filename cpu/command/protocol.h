/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mote and its init in the guest say to each other about one command:
 * frames over one stream, a vsock connection or else the serial port. Included
 * by both; knows nothing of either.
 *
 *	bytes 0-3	type, little-endian
 *	bytes 4-7	bytes of payload that follow, little-endian
 *
 * Three of the types are the command's own streams. Of each no more than
 * PROTOCOL_CREDIT bytes may be on their way: who sends waits for TAKEN, so who
 * receives has room for all of it, never stops reading, and what is urgent (a
 * signal) never waits behind data that nobody reads.
 */
#ifndef CPU_COMMAND_PROTOCOL_H
#define CPU_COMMAND_PROTOCOL_H

#define PROTOCOL_PORT	0x6d6f7465u /* "mote": the host's vsock port */
#define PROTOCOL_HEADER 8u
#define PROTOCOL_CREDIT 65536u
#define PROTOCOL_CHUNK	32768u /* payload of one frame at most */
#define PROTOCOL_TEXT	512u   /* of a NOTE */

/*
 * "exec": the guest's vsock port, where RUN_EXEC has its init listen for more
 * commands. For each there is a connection from the host, which first sends
 * what an answer to RUN has: there is no other difference.
 */
#define PROTOCOL_EXEC_PORT 0x65786563u

enum protocol_type {
	PROTOCOL_STDIN,	 /* to the guest */
	PROTOCOL_STDOUT, /* from the guest, */
	PROTOCOL_STDERR, /* bytes; none at all: that was the last of them */
	PROTOCOL_TAKEN,	 /* both ways: stream, count that may be sent more */
	PROTOCOL_CLOSED, /* both ways: stream: nobody reads it any more */
	PROTOCOL_WINCH,	 /* to the guest: rows, columns of the terminal */
	PROTOCOL_SIGNAL, /* to the guest: number, for the command's group */
	PROTOCOL_READY,	 /* from the guest: the command is about to start */
	PROTOCOL_NOTE,	 /* from the guest: text for mote's user */
	PROTOCOL_EXIT,	 /* from the guest: status, flags; the last frame */
	PROTOCOL_TIME,	 /* from the guest: what is the time? no payload; to
			  * it: ns since 1970, low and high; unasked: ask */
	PROTOCOL_RUN,	 /* from a guest that was restored: what am I to run?
			  * no payload; to it: the strings of a RUN_FILE, in
			  * pieces; no bytes at all: that was the last of them */
	PROTOCOL_PUT,	 /* to the guest: */
	PROTOCOL_GET,	 /* from the guest: see below */
	PROTOCOL_TYPES
};

#define PROTOCOL_OOM 1u /* flag of EXIT: killed, as the guest had no memory */

/*
 * STDIN to STDERR, PUT and GET carry bytes, NOTE text, all others 32-bit words
 * or nothing.
 */
#define PROTOCOL_STREAMS 3u

/*
 * Files. Each --put, and each --get, is a tar stream: its bytes, and at last a
 * frame without any. They come in the order of their orders (RUN_PUT, RUN_GET).
 *
 * PUT begins without credit. Before the command starts, so before READY, the
 * guest gives it: TAKEN with the whole of it first.
 *
 * GET begins with all credit, once the command has ended, which the guest says
 * by TAKEN of nothing; and is the last before EXIT. Mote ends each: CLOSED with
 * its number, from 0, once all is written, or earlier where that is not
 * possible. Then the guest sends no more of that one but its last frame, and
 * the next has all credit again.
 */

/*
 * Before its first frame on the serial port the guest says this, so that mote
 * can tell frames from the kernel's messages. The first byte is not repeated.
 * So does mote before its answer to RUN: what a guest finds in front of it was
 * for the one that it was restored from.
 */
#define PROTOCOL_MAGIC "\001mote, one command\002"

/*
 * /.mote/run in the guest: strings that end in NUL, what each is told by its
 * first character.
 */
#define RUN_DIR		  ".mote"
#define RUN_INIT	  ".mote/init"
#define RUN_FILE	  ".mote/run"
#define RUN_ARGUMENT	  'a' /* of the command, in order */
#define RUN_ENV		  'e' /* NAME=VALUE */
#define RUN_WORKDIR	  'w'
#define RUN_USER	  'u' /* USER[:GROUP], whom it runs as; without: root */
#define RUN_TTY		  't' /* ROWS COLUMNS: it gets a terminal */
#define RUN_NO_SERIAL	  's' /* the serial port is somebody else's */
#define RUN_PROGRAM	  'p' /* the command says by itself when it is ready */
#define RUN_PUT		  'P' /* HOW DIRECTORY; none: that of the command */
#define RUN_GET		  'G' /* HOW PATH */
#define RUN_OWNER_ANY	  "0" /* HOW: owners and groups are of no interest; */
#define RUN_OWNER_KEEP	  "k" /* they are kept */
#define RUN_TRANSFERS_MAX 16u /* of each kind */
#define RUN_EXEC	  'x' /* more commands may come: PROTOCOL_EXEC_PORT */
#define RUN_MAX		  (2u << 20) /* bytes of them, of one such command */
#define RUN_NET		  'n' /* an interface's network: boot/init/net.c */

/*
 * How a command says so: it writes a byte to the first of these FIFOs, reads
 * the other, and knows their names by its environment. There it finds nothing;
 * or, in a guest that was restored from a snapshot of that moment, arguments
 * that each end in NUL.
 */
#define RUN_READY_FIFO "/dev/mote-ready"
#define RUN_ARGS_FIFO  "/dev/mote-args"
#define RUN_READY_NAME "MOTE_READY"
#define RUN_ARGS_NAME  "MOTE_ARGS"

/* What a guest is called; and what one that was restored is told beside: who it
 * is now. */
#define RUN_HOSTNAME 'H'
#define RUN_RANDOM   'R' /* 64 hexadecimal digits, for its kernel's random */
#define RUN_MAC	     'M' /* "WAS IS", of an interface, in small digits */

#endif
