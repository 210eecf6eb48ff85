/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a run uses of the host, as far as the system calls that serve it differ:
 * bits of a mask. Those who own a thing say so (console_features,
 * devices_features); the system call filter allows what they need and no more.
 */
#ifndef CPU_LOOP_FEATURES_H
#define CPU_LOOP_FEATURES_H

enum feature {
	FEATURE_EVENTS = 1 << 0,       /* --events */
	FEATURE_OUTPUT = 1 << 1,       /* a serial output that may be full */
	FEATURE_TTY = 1 << 2,	       /* a terminal in raw mode */
	FEATURE_POLLED = 1 << 3,       /* a serial end shared with others */
	FEATURE_SOCKET = 1 << 4,       /* a serial end that is a socket */
	FEATURE_PTY = 1 << 5,	       /* --serial pty */
	FEATURE_UNIX = 1 << 6,	       /* --serial unix= */
	FEATURE_DISK = 1 << 7,	       /* a disk of any kind, */
	FEATURE_DISK_WRITE = 1 << 8,   /* one whose image is written, */
	FEATURE_EPHEMERAL = 1 << 9,    /* one with an overlay, */
	FEATURE_DISK_DEVICE = 1 << 10, /* a block device that is written */
	FEATURE_URING = 1 << 11,       /* some disk uses io_uring */
	FEATURE_TAP = 1 << 12,	       /* --net tap=, or an fd that is one */
	FEATURE_STREAM = 1 << 13,      /* --net unix=, or an fd that is one */
	FEATURE_VSOCK = 1 << 14,       /* --vsock */
	FEATURE_COMMAND = 1 << 15,     /* a vsock stream that mote ends */
	FEATURE_VSOCK_DIAL = 1 << 16,  /* --vsock whose guest reaches others */
	FEATURE_SOCKET_FILE = 1 << 17, /* a socket's file is to be removed */
};

#endif
