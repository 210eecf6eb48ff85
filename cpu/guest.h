/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest while it runs: the event loop, what wakes it, and how it ends.
 */
#ifndef CPU_GUEST_H
#define CPU_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/command/command.h"
#include "cpu/console/console.h"
#include "cpu/console/uart.h"
#include "cpu/loop/loop.h"
#include "cpu/loop/notify.h"
#include "cpu/loop/report.h"
#include "cpu/loop/signals.h"
#include "cpu/platform.h"
#include "cpu/rtc.h"
#include "cpu/vcpu.h"

/*
 * Who takes a snapshot on SIGUSR1, and who waits for one that is not there yet,
 * for at most `ns`, once the guest has ended by itself; NULL: nobody.
 */
struct guest_snapshot {
	void (*take)(void *arg);
	void (*finish)(void *arg, uint64_t ns);
	void *arg;
};

/* Its parts are made by main, in the order of the stages; not all may be. */
struct guest {
	struct report report;
	struct notify notify;
	uint64_t timeout_ns; /* from exec; 0: none */
	uint64_t grace_ns;   /* from the first SIGTERM; 0: none */
	struct signals signals;
	struct loop loop;
	struct loop_timer timeout, grace;
	struct loop_timer press;	   /* of the power button, once more */
	struct loop_timer every;	   /* counters, as often as that: */
	uint64_t every_ns;		   /* 0: only when asked */
	struct loop_source platform_event; /* its wake_fd */
	struct platform platform;
	struct rtc rtc;
	int serial_irq_fd;
	struct guest_snapshot snapshot;
	struct thread_hook lock_in; /* of this thread, before the guest runs */
	bool ready_reported;
	unsigned terms;	       /* SIGTERMs received */
	uint64_t grace_end_ns; /* 0: there was none, or no --grace */
	bool stopped;	       /* by a signal, --timeout: output may be lost, */
	uint64_t drained_ns;   /* from this time on; 0: not set */
	struct ending ending;  /* once the loop has ended */
	/* In this order what each start touches lies on as few pages as can
	 * be: main.c says more. */
	struct uart serial;
	struct console console;
	struct vcpus vcpus;
	struct command command;
};

/* Zero is a descriptor: what is not open yet is -1. */
void guest_init(struct guest *guest);

/* For signals_create, whose `arg` is the guest. */
void guest_signal(void *arg, int number);

/* The serial port, on the bus and with its interrupt: 0 or -errno, logged. */
int guest_create_serial(struct guest *guest, struct vm *vm);

/*
 * What guest_run needs where the guest is another mote's, and only the command
 * is this one's: --exec. The console is to be off. 0 or -errno, logged.
 */
int guest_create_alone(struct guest *guest);

/* Nanoseconds until --timeout passes; 1 where it has, UINT64_MAX without. */
uint64_t guest_time_left(const struct guest *guest);

/*
 * For who keeps the loop's thread for longer than a moment: signals and time
 * limits are answered. True: the guest is to end, or has ended; `stopped` says
 * whether that is to be at once.
 */
bool guest_answer(struct guest *guest);

/* What the machine itself has counted, for report_count_by; if there is one. */
void guest_counters(const struct guest *guest, struct report_line *line);

/* The stage `name` ends now. */
void guest_stage(struct guest *guest, const char *name);

/*
 * Starts the vCPUs, runs the loop until the guest ends, stops them and writes
 * out what is left of its output. 0 and *ending, or -errno, logged.
 */
int guest_run(struct guest *guest, struct ending *ending);

#endif
