/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run ended, and what is told about it: --events (JSON lines) and
 * --timing (one line a stage on stderr). Times count from exec.
 */
#ifndef CPU_LOOP_REPORT_H
#define CPU_LOOP_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#define STATUS_CRASH   123 /* the guest died */
#define STATUS_TIMEOUT 124 /* --timeout passed */
#define STATUS_ERROR   125 /* mote itself failed */
#define STATUS_SIGNAL  128 /* + the number of the signal */

enum end_reason {
	END_NONE, /* not ended yet */
	END_POWEROFF,
	END_REBOOT,
	END_PANIC,
	END_CRASH,
	END_EXITED,
	END_OOM,      /* the command, as the guest had no memory */
	END_SNAPSHOT, /* one was taken, and that was all */
	END_SIGNAL,
	END_TIMEOUT,
	END_ERROR,
};

struct ending {
	enum end_reason reason;
	unsigned status; /* mote's exit status */
};

#define REPORT_STAGES_MAX 16

struct report {
	uint64_t exec_ns; /* when this process was started */
	int events_fd;	  /* -1: no --events; owned by the caller */
	long pid;	  /* of this process, where there are events */
	const char *name; /* of the guest, a word; NULL: none */
	unsigned stages;
	struct {
		const char *name;
		uint64_t ns;
	} stage[REPORT_STAGES_MAX];
};

/*
 * First of all in main(): takes the time of exec to be now less the processor
 * time used so far, which is the kernel's exec and the start of libc.
 */
void report_init(struct report *report);

/*
 * Events go to `events_fd` (-1: nowhere), which stays the caller's; `name` is a
 * word without quotes, or NULL, and outlives the report.
 */
void report_open(struct report *report, int events_fd, const char *name);

/* The stage `name` (a literal) ends at `ns`. */
void report_stage(struct report *report, const char *name, uint64_t ns);

/* Writes the stages to stderr. */
void report_timing(const struct report *report);

/*
 * One line each to --events, with what happened, microseconds since exec, the
 * time (RFC 3339, UTC), the process and the name; nothing where there is none.
 * What a reader does not take at once is lost, and said once: an event never
 * delays the guest. Safe in a signal handler.
 */
void report_started(const struct report *report);
void report_ready(const struct report *report, uint64_t ns);
void report_exit(const struct report *report, const struct ending *ending);

struct report_counter {
	const char *name; /* a JSON key */
	uint64_t value;
};
void report_counters(const struct report *report,
		     const struct report_counter *counters, unsigned count);

#endif
