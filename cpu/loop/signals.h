/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mote's signals. While mote sets up, those that end it do so from a handler,
 * whatever it is waiting for just then. From signals_hold on all are kept for
 * the loop, which reads them from a signalfd. A handler for those that mean
 * that mote itself is broken is there all along.
 */
#ifndef CPU_LOOP_SIGNALS_H
#define CPU_LOOP_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/loop.h"

struct signals {
	struct loop_source source; /* fd: readable while one is waiting */
	void (*received)(void *arg, int number);
	void *arg;
	bool hup_ignored; /* by whoever started mote */
};

/*
 * First of all, so that no signal is lost. Until signals_hold a signal that
 * ends mote calls `early` (which must be async-signal-safe) and then ends the
 * process with the status that it returns; one that asks for something waits.
 * SIGPIPE and SIGXFSZ are ignored: writes fail instead. 0 or -errno, logged.
 */
int signals_create(struct signals *signals, int (*early)(int number),
		   void (*received)(void *arg, int number), void *arg);

/* SIGALRM comes `ns` from now, unless signals_hold does; 0: not any more. */
void signals_alarm(uint64_t ns);

/*
 * Blocks all that are handled, in this thread and in those that it starts from
 * now on; so before it starts any. 0 or -errno, logged.
 */
int signals_hold(struct signals *signals);

/*
 * For a long wait before the guest runs: until signals_hold comes again they
 * are answered as before it, and SIGALRM comes `ns` from now.
 */
void signals_release(struct signals *signals, uint64_t ns);

/*
 * For the end, when nobody reads signals any more: from now on SIGALRM, as
 * above, calls `early` again, whatever this thread waits for just then.
 */
void signals_last_resort(uint64_t ns);

/* From now on `received` is called in the loop. 0 or -errno, logged. */
int signals_start(struct signals *signals, struct loop *loop);

/* Calls `received` for each signal that waits now; returns how many. */
unsigned signals_take(struct signals *signals);

void signals_destroy(struct signals *signals);

/*
 * Calls `crashed` (which must be async-signal-safe) on SIGSEGV, SIGBUS and the
 * like, in the thread that has the fault; then the process ends with `status`.
 */
void signals_on_crash(void (*crashed)(int number), int status);

#endif
