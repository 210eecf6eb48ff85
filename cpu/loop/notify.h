/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service manager is told of the guest, where it has asked:
 * sd_notify(3), which systemd and podman speak. Without NOTIFY_SOCKET nothing
 * here makes a system call.
 */
#ifndef CPU_LOOP_NOTIFY_H
#define CPU_LOOP_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/report.h"

enum notify_state {
	NOTIFY_BOOTING,
	NOTIFY_RUNNING,	 /* the guest is ready */
	NOTIFY_STOPPING, /* it was asked to end, or has ended */
};

struct notify {
	int fd; /* the manager's socket, connected; -1: nobody has asked */
	enum notify_state state;
	bool unsent;	      /* of `state` the manager does not know yet */
	uint64_t watchdog_ns; /* at most between two WATCHDOG=1; 0: none */
	uint64_t due_ns;      /* when the next one is to be */
	struct loop_timer timer;
};

/* Zero is a descriptor. */
void notify_init(struct notify *notify);

/*
 * Connects; NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are empty afterwards,
 * so that no other process has them. Before mote is locked in,
 * and before it joins a network namespace, which abstract names belong to.
 * Where that fails a line says so, and the run goes on.
 */
void notify_open(struct notify *notify);

/* The loop tells the watchdog that it runs: 0 or -errno, logged. */
int notify_start(struct notify *notify, struct loop *loop);

/* The guest is in that state now; one that it has left never comes again. */
void notify_state(struct notify *notify, enum notify_state state);

/* For who keeps the loop's thread: WATCHDOG=1, if it is time for one. */
void notify_alive(struct notify *notify);

/* How it ended; the last of all. Safe in a signal handler. */
void notify_ended(const struct notify *notify, const struct ending *ending);

/* The loop has ended; the socket stays for notify_ended. */
void notify_stop(struct notify *notify, struct loop *loop);

#endif
