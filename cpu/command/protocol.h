/*
 * What mote and its init in the guest say to each other about one command:
 * frames over one stream, a vsock connection or else the serial port. Included
 * by both; knows nothing of either.
 *
 *	bytes 0-3	type, little-endian
 *	bytes 4-7	bytes of payload that follow, little-endian
 *
 * Three of the types are the command's own streams. Of each no more than
 * WIRE_WINDOW bytes may be on their way: who sends waits for TAKEN, so who
 * receives has room for all of it, never stops reading, and what is urgent (a
 * signal) never waits behind data that nobody reads.
 */
#ifndef CPU_COMMAND_PROTOCOL_H
#define CPU_COMMAND_PROTOCOL_H

#define WIRE_PORT   0x6d6f7465u /* "mote": the host's vsock port */
#define WIRE_HEADER 8u
#define WIRE_WINDOW 65536u
#define WIRE_PIECE  32768u /* payload of one frame at most */
#define WIRE_TEXT   512u   /* of a NOTE */

enum wire_type {
	WIRE_STDIN,  /* to the guest */
	WIRE_STDOUT, /* from the guest, */
	WIRE_STDERR, /* bytes; none at all: that was the last of them */
	WIRE_TAKEN,  /* both ways: stream, count: so many more may be sent */
	WIRE_CLOSED, /* both ways: stream: nobody reads it any more */
	WIRE_WINCH,  /* to the guest: rows, columns of the terminal */
	WIRE_SIGNAL, /* to the guest: number, for the command's group */
	WIRE_READY,  /* from the guest: the command is about to start */
	WIRE_NOTE,   /* from the guest: text for mote's user */
	WIRE_EXIT,   /* from the guest: status; the last frame */
	WIRE_TYPES
};
#define WIRE_STREAMS 3u /* their payload is bytes, the others' 32-bit words */
#define WIRE_WORDS   2u /* at most */

/*
 * Before its first frame on the serial port the guest says this, so that mote
 * can tell frames from the kernel's messages. The first byte is not repeated.
 */
#define WIRE_MARK "\001mote, one command\002"

/*
 * /.mote/run in the guest: strings that end in NUL, what each is told by its
 * first character.
 */
#define RUN_DIR	      ".mote"
#define RUN_INIT      ".mote/init"
#define RUN_FILE      ".mote/run"
#define RUN_ARGUMENT  'a' /* of the command, in order */
#define RUN_ENV	      'e' /* NAME=VALUE */
#define RUN_WORKDIR   'w'
#define RUN_TTY	      't' /* ROWS COLUMNS: it gets a terminal */
#define RUN_NO_SERIAL 's' /* the serial port is somebody else's */

#endif
