/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a run ended, and what is told about it: --events (JSON lines) and
 * --timing (one line a stage on stderr). Times count from exec.
 */
#ifndef CPU_LOOP_REPORT_H
#define CPU_LOOP_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/counters.h"
#include "mem/available.h"

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

struct report_line;

struct report {
	uint64_t exec_ns; /* when this process was started */
	int events_fd;	  /* -1: no --events; owned by the caller */
	long pid;	  /* of this process, where there are events */
	const char *name; /* of the guest, a word; NULL: none */
	void (*count)(void *arg, struct report_line *line);
	void *count_arg;
	bool kept; /* what has counted may be gone: report_keep_counters */
	struct available_peaks peaks;
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
 * Has count(arg, line) called for each event that says what was counted: it
 * calls report_add for everything that there is, and touches nothing else,
 * since a handler of fatal signals may be who asks, in any thread.
 */
void report_count_by(struct report *report,
		     void (*count)(void *arg, struct report_line *line),
		     void *arg);

/* An object of counters, for the event that is being made. `number`: which. */
void report_add(struct report_line *line, enum counted what, unsigned number,
		const uint64_t value[]);

/*
 * Where there are events, opens what says how much memory was used: before the
 * sandbox closes in, and in the cgroup that mote stays in.
 */
void report_open_peaks(struct report *report);

/* Bits of enum feature. */
unsigned report_features(const struct report *report);

/*
 * One line each to --events, with what happened, microseconds since exec, the
 * time (RFC 3339, UTC), the process and the name; nothing where there is none.
 * What a reader does not take at once is lost, and said once: an event never
 * delays the guest.
 */
void report_started(const struct report *report);
void report_ready(const struct report *report, uint64_t ns);

/*
 * These two have counters besides. What does not fit into one line has lines
 * of its own before it, `counters` all of them.
 */
void report_counters(const struct report *report);
void report_exit(const struct report *report, const struct ending *ending);

/*
 * For a handler of fatal signals, in any thread: without what only the main
 * thread may ask the kernel for.
 */
void report_crash(const struct report *report, const struct ending *ending);

/*
 * Before what has counted is destroyed: report_exit says what was counted until
 * now. The process's own counters go on.
 */
void report_keep_counters(struct report *report);

#endif
