/*
 * mote's signals: taken in through a signalfd in the loop, and a handler for
 * those that mean that mote itself is broken.
 */
#ifndef CPU_SIGNALS_H
#define CPU_SIGNALS_H

#include "cpu/loop.h"

struct signals {
	struct loop_source source; /* fd: readable while one is waiting */
	void (*received)(void *arg, int number);
	void *arg;
};

/*
 * First of all: SIGPIPE is ignored, and so stays what the parent had ignored.
 * The other signals keep their defaults until signals_start. 0 or -errno,
 * logged.
 */
int signals_create(struct signals *signals,
		   void (*received)(void *arg, int number), void *arg);

/*
 * From now on `received` is called in the loop; the signals are blocked in this
 * thread and in those that it starts from here on. 0 or -errno, logged.
 */
int signals_start(struct signals *signals, struct loop *loop);
void signals_destroy(struct signals *signals);

/*
 * Calls `crashed` (which must be async-signal-safe) on SIGSEGV, SIGBUS and the
 * like, in the thread that has the fault; then the process ends with `status`.
 */
void signals_on_crash(void (*crashed)(int number), int status);

#endif
