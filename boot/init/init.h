/*
 * What the files of the guest's init share. It is a program of its own, linked
 * with nothing else: boot/init.S puts it into mote, boot/command.c hands it to
 * the guest.
 *
 *	main.c		the order of things, from the first mount to power off
 *	text.c		strings, files, words of the kernel's command line
 *	modules.c	drivers, where the initrd has them as modules
 *	root.c		the root disk, and going over to it
 *	net.c		lo and ip=
 *	wire.c		the stream to mote
 *	child.c		starts the command
 *	relay.c		carries bytes, signals and the status
 *
 * It trusts mote, the kernel and whoever made the disk and the initrd: all of
 * these may do with the guest as they like.
 */
#ifndef BOOT_INIT_INIT_H
#define BOOT_INIT_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* -- text.c --------------------------------------------------------------- */

void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
int memcmp(const void *a, const void *b, size_t len);

size_t text_len(const char *text);
bool text_same(const char *a, const char *b);

/* What follows `start` in `text`; NULL where it does not begin with it. */
const char *text_after(const char *text, const char *start);

/* Reads a decimal number, moves past it; a number too large wraps. */
unsigned text_number(const char **text);

/* A string that is put together; what does not fit is left off. */
struct text {
	char bytes[512];
	size_t len;
};
struct text *text_add(struct text *text, const char *more);
struct text *text_add_number(struct text *text, unsigned number);

/* The bytes of a file, NUL at its end; -errno. Short for what fits in. */
long text_read(const char *path, char *to, size_t room);
void text_write(const char *path, const char *text);

/*
 * Of the kernel's command line: the value of the last KEY=value, "" for a word
 * without; NULL where there is none.
 */
const char *text_word(const char *key);

/* Names in a directory, one after the other, but for . and .. */
struct names {
	int fd;
	long at, end;
	char bytes[1024];
};
bool names_open(struct names *names, const char *path);
const char *names_next(struct names *names); /* NULL: closed, too */

/* -- main.c --------------------------------------------------------------- */

/* Strings of RUN_FILE; argv and env end in NULL. */
struct run {
	char **argv, **env;
	const char *workdir;
	const char *tty; /* rows and columns; NULL: none */
	bool no_serial;
};

/* Says why, with the name of what is wrong, and ends with status 125. */
void init_fail(const char *why, const char *what, long error)
	__attribute__((noreturn));

/* Tells mote's user. `error`: a -errno, or 0. */
void init_note(const char *why, const char *what, long error);

/* Writes a byte to an I/O port; best effort. */
void init_port(unsigned port, unsigned value);

/* -- modules.c ------------------------------------------------------------ */

/* Drivers of what mote has. Nothing where there are no modules. */
void modules_load_drivers(void);
void modules_load(const char *name);

/* -- root.c --------------------------------------------------------------- */

void root_mount_kernel(void);
void root_enter(void); /* the disk that root= names, if it does */

/*
 * Everything is on the disks afterwards. `apart`: a process for each file
 * system, and one for all else, so that none waits for another's disk.
 */
void root_leave(bool apart);

/* Operations that the disks have done so far. */
unsigned long root_done(void);

/* -- net.c ---------------------------------------------------------------- */

void net_start(void);

/* -- wire.c --------------------------------------------------------------- */

/* By vsock, or else by the serial port; false where there is neither. */
bool wire_open(bool no_serial);
int wire_fd(void); /* 0: not open */

/* 0, or -errno: mote is gone. */
long wire_send(unsigned type, const void *payload, size_t len);
long wire_send_words(unsigned type, uint32_t a, uint32_t b);

/*
 * A frame with its payload still to be filled in, to which at most
 * PROTOCOL_CHUNK bytes go; wire_send_piece sends it.
 */
uint8_t *wire_piece(void);
long wire_send_piece(unsigned type, size_t len);

struct frame {
	uint32_t type, len;
	const uint8_t *payload;
	uint32_t word[2]; /* what a payload that is words says */
};

/* Reads what is there: 0, or -errno where the stream is over. */
long wire_read(void);
/* The next one that is complete. */
bool wire_next(struct frame *frame);

/* All that was sent has left. */
void wire_drain(void);

/* -- child.c, relay.c ----------------------------------------------------- */

struct child {
	int pid;
	int in, out[3]; /* by PROTOCOL_STDOUT and _STDERR; -1: closed */
};

/* Its status, where it cannot be started: 125 to 127; else -1. */
int child_start(struct child *child, const struct run *run);

/* Runs the command to its end, and all that it wrote is sent: its status. */
unsigned relay_run(const struct run *run);

/*
 * root_leave; where the command left what does not end, not for ever, if there
 * are processes to be had.
 */
void relay_leave(void);

#endif
