/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host objects behind the serial port: what --serial names, opened before
 * the sandbox closes in.
 */
#ifndef CPU_CONSOLE_OPEN_H
#define CPU_CONSOLE_OPEN_H

#include <stdbool.h>

#include "cpu/console/stream.h"
#include "cpu/loop/file.h"
#include "cpu/loop/unixsock.h"

enum console_kind {
	CONSOLE_STDIO,
	CONSOLE_OFF,  /* output is dropped, no input */
	CONSOLE_PTY,  /* a new pseudo-terminal, its name goes to stderr */
	CONSOLE_FILE, /* file.path; output only */
	CONSOLE_UNIX, /* a socket at file.path; one client at a time */
	CONSOLE_FD,   /* file.fd, whatever it can do; stays the caller's */
};

struct console_options {
	enum console_kind kind;
	struct option_file file; /* its path must last as long as the console */
	bool append;		 /* of CONSOLE_FILE: it is not emptied first */
	uint64_t max; /* of CONSOLE_FILE: its bytes at most; 0: any number */
	bool check;   /* it will not be started: leave all as it was */
	bool sealed;  /* nothing can be opened once it is started */
};

struct console_host {
	enum console_kind kind; /* CONSOLE_UNIX too where fd=N listens */
	struct stream in, out;
	int wait_fd; /* listening socket, or inotify of the pty */
	int pty_fd;  /* the master */
	int tty_fd;  /* stdin where it is a tty; else -1 */
	bool sealed;
	struct unixsock socket;
};

/* 0 or -errno, logged; console_host_close in any case. */
int console_host_open(struct console_host *host,
		      const struct console_options *options);

/* Bits of enum feature that it needs. */
unsigned console_host_features(const struct console_host *host);

/* Leaves the socket's file where the sandbox forbids to remove it. */
void console_host_close(struct console_host *host);

#endif
