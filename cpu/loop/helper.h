/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers: processes beside mote's, for what needs more than mote may have once
 * it is locked in. Each is forked before that, has one socket to mote, and ends
 * when mote does, whose end of the socket is closed then, however mote ended.
 */
#ifndef CPU_LOOP_HELPER_H
#define CPU_LOOP_HELPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A helper's descriptors: what it talks to mote through, and its own, from. */
#define HELPER_CHANNEL 0
#define HELPER_FIRST   3

struct helper {
	const char *name;  /* as top shows it: 15 bytes at most */
	bool keeps_stderr; /* for a filter that only names calls; see run */
	/*
	 * In the helper; does not return. helper_take first, then its rights,
	 * then its filter.
	 */
	void (*run)(const void *arg, int channel);
	const void *arg;
};

/*
 * Starts it, while there is one thread. *fd, the caller's: mote's end, of a
 * SOCK_SEQPACKET pair. The process's number, or -errno, logged.
 */
int helper_start(const struct helper *helper, int *fd);

/*
 * In the helper: keeps these descriptors (-1: none), at HELPER_FIRST and up,
 * the channel, and standard error where it is to; closes all others. False:
 * not possible.
 */
bool helper_take(int channel, const int *fds, size_t count, bool keeps_stderr);

/*
 * One message with a descriptor beside it (-1: none). Sending: whether all of
 * it went; nobody is signalled. Receiving does not wait: how long the message
 * is, as recvmsg(2) has it, and *fd, the caller's, close-on-exec, or -1, as it
 * is where the message is not as long as that.
 */
bool helper_send(int channel, const void *message, size_t len, int fd);
ssize_t helper_receive(int channel, void *message, size_t len, int *fd);

#endif
