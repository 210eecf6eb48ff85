/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mote tells about a run.
 *
 * An event is one JSON object in one write(), at most PIPE_BUF bytes, so that
 * lines of several motes on one pipe do not mix. Which event a line is, is
 * known when all counters have been added to it, as it may have to go before
 * that, to make room: so they are put behind a room for what stands in front of
 * them.
 *
 * No allocation and no lock: the handlers of fatal signals write an event, too.
 * Owns the descriptors of what says how much memory was used. Main thread, but
 * for report_crash.
 */
#include "cpu/loop/report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/thread.h"
#include "mem/log.h"
#include "mem/util.h"

static const char *const reason_names[] = {
	[END_NONE] = "none",	     [END_POWEROFF] = "poweroff",
	[END_REBOOT] = "reboot",     [END_PANIC] = "panic",
	[END_CRASH] = "crash",	     [END_EXITED] = "exited",
	[END_SNAPSHOT] = "snapshot", [END_SIGNAL] = "signal",
	[END_TIMEOUT] = "timeout",   [END_ERROR] = "error",
	[END_OOM] = "oom",
};

void report_init(struct report *report)
{
	struct timespec cpu;
	uint64_t now = loop_now(), used;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	used = (uint64_t)cpu.tv_sec * 1000000000 + (uint64_t)cpu.tv_nsec;
	*report = (struct report){
		.exec_ns = now > used ? now - used : now,
		.events_fd = -1,
		.peaks = AVAILABLE_PEAKS_NONE,
	};
	report_stage(report, "exec", now);
}

void report_stage(struct report *report, const char *name, uint64_t ns)
{
	if (report->stages == REPORT_STAGES_MAX)
		return;
	report->stage[report->stages].name = name;
	report->stage[report->stages++].ns = ns;
}

void report_timing(const struct report *report)
{
	uint64_t before = report->exec_ns;

	for (unsigned i = 0; i < report->stages; i++) {
		uint64_t ns = report->stage[i].ns;
		char line[80];
		int len =
			snprintf(line, sizeof(line),
				 "mote: timing: %-8s %9.3f ms  %+.3f\n",
				 report->stage[i].name,
				 (double)(int64_t)(ns - report->exec_ns) / 1e6,
				 (double)(int64_t)(ns - before) / 1e6);

		if (len > 0 && !log_write(line, (size_t)len))
			return;
		before = ns;
	}
}

void report_open(struct report *report, int events_fd, const char *name)
{
	report->events_fd = events_fd;
	report->name = name;
	report->pid = events_fd >= 0 ? (long)getpid() : 0;
}

void report_count_by(struct report *report,
		     void (*count)(void *arg, struct report_line *line),
		     void *arg)
{
	report->count = count;
	report->count_arg = arg;
}

void report_open_peaks(struct report *report)
{
	if (report->events_fd >= 0)
		available_open_peaks(&report->peaks);
}

unsigned report_features(const struct report *report)
{
	return report->events_fd >= 0 ? FEATURE_EVENTS : 0;
}

/* -- a line ---------------------------------------------------------------- */

#define HEAD_ROOM 320 /* a name has 64 bytes, all else 150 */
#define TAIL	  "}\n"

/* What is in it lies from HEAD_ROOM on, and so does what does not fit. */
struct report_line {
	const struct report *report;
	int used;
	char text[PIPE_BUF + 1];
};

#define BODY_ROOM (PIPE_BUF - HEAD_ROOM - (int)sizeof(TAIL) + 1)

static void start_line(struct report_line *line, const struct report *report)
{
	line->report = report;
	line->used = 0;
}

static __attribute__((format(printf, 2, 3))) void
add_to_event(struct report_line *line, const char *format, ...)
{
	va_list args;

	if (line->used > BODY_ROOM)
		return;
	va_start(args, format);
	line->used +=
		vsnprintf(line->text + HEAD_ROOM + line->used,
			  (size_t)(BODY_ROOM + 1 - line->used), format, args);
	va_end(args);
}

static void write_event(const struct report *report, const char *text,
			size_t len)
{
	static struct log_limit limit;
	struct pollfd room = { .fd = report->events_fd, .events = POLLOUT };
	ssize_t n;

	do
		n = poll(&room, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		do
			n = write(report->events_fd, text, len);
		while (n < 0 && errno == EINTR);
	if (n == (ssize_t)len)
		return;
	log_guest(&limit, "an event was lost: --events %s%s",
		  n < 0 ? "cannot be written: " : "is full: nobody reads it",
		  n < 0 ? strerror(errno) : "");
}

/* What all events have, and `ending` besides: how many bytes, or would be. */
static int format_head(char head[HEAD_ROOM], const struct report *report,
		       const char *event, const struct ending *ending,
		       uint64_t ns)
{
	char end[64] = "", name[128] = "";
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	if (ending)
		snprintf(end, sizeof(end), ",\"reason\":\"%s\",\"status\":%u",
			 reason_names[ending->reason], ending->status);
	if (report->name)
		snprintf(name, sizeof(name), ",\"name\":\"%.64s\"",
			 report->name);
	return snprintf(
		head, HEAD_ROOM,
		"{\"event\":\"%s\"%s,\"t_us\":%llu"
		",\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ\""
		",\"pid\":%ld%s",
		event, end, (unsigned long long)(ns - report->exec_ns) / 1000,
		tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		tm.tm_min, tm.tm_sec, now.tv_nsec / 1000, report->pid, name);
}

/* `ns`: when it happened. The line is empty afterwards. */
static void send_event(struct report_line *line, const char *event,
		       const struct ending *ending, uint64_t ns)
{
	char head[HEAD_ROOM], *start;
	int len = format_head(head, line->report, event, ending, ns);

	if (len >= HEAD_ROOM)
		return;
	start = line->text + HEAD_ROOM - len;
	memcpy(start, head, (size_t)len);
	len += line->used;
	memcpy(start + len, TAIL, sizeof(TAIL));
	write_event(line->report, start, (size_t)len + sizeof(TAIL) - 1);
	line->used = 0;
}

/* -- counters -------------------------------------------------------------- */

/* Without pointers: those would have to be relocated at each start. */
#define NAME_ROOM 18
static const struct counted_kind {
	char name[8];
	bool numbered;
	char counter[COUNTERS_MAX][NAME_ROOM]; /* up to an empty one */
} counted_kinds[] = {
#define COUNTER_NAME(index, name, meaning) name,
#define COUNTED_ROW(index, name, numbered, of, meaning)                        \
	[index] = { name, numbered, { of(COUNTER_NAME) } },
	COUNTED_ALL(COUNTED_ROW)
};

/* Each takes up to twenty digits, its name, and `,"":`. */
_Static_assert(COUNTERS_MAX *(NAME_ROOM + 24) + 32 <= BODY_ROOM,
	       "an object fits into a line");

static void format_counters(struct report_line *line,
			    const struct counted_kind *kind, unsigned number,
			    const uint64_t value[])
{
	const char *before = "{";

	add_to_event(line, ",\"%s", kind->name);
	if (kind->numbered)
		add_to_event(line, "%u", number);
	add_to_event(line, "\":");
	for (unsigned i = 0; i < COUNTERS_MAX && *kind->counter[i]; i++) {
		if (value[i] == COUNTER_UNKNOWN)
			continue;
		add_to_event(line, "%s\"%s\":%llu", before, kind->counter[i],
			     (unsigned long long)value[i]);
		before = ",";
	}
	add_to_event(line, "}");
}

void report_add(struct report_line *line, enum counted what, unsigned number,
		const uint64_t value[])
{
	const struct counted_kind *kind = &counted_kinds[what];
	const int before = line->used;

	format_counters(line, kind, number, value);
	if (line->used <= BODY_ROOM)
		return;
	line->used = before;
	send_event(line, "counters", NULL, loop_now());
	format_counters(line, kind, number, value);
}

static void add_counted(struct report_line *line)
{
	const struct report *report = line->report;

	if (report->count)
		report->count(report->count_arg, line);
}

static uint64_t us_of(struct timeval time)
{
	return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_usec;
}

/*
 * ru_maxrss is also that of whoever has started mote, as what a process had
 * before exec(2) counts: it is only for where /proc is not to be had. What the
 * kernel says of the peak is not exact, and may be less the next time.
 */
static uint64_t peak_rss(const struct report *report,
			 const struct rusage *usage)
{
	static uint64_t peak;
	const uint64_t rss = available_peak_rss(&report->peaks);

	if (rss == UINT64_MAX)
		return (uint64_t)usage->ru_maxrss << 10;
	if (peak < rss)
		peak = rss;
	return peak;
}

static void add_process(struct report_line *line)
{
	const struct report *report = line->report;
	uint64_t value[PROCESS_COUNTERS];
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	value[PROCESS_USER_US] = us_of(usage.ru_utime);
	value[PROCESS_SYSTEM_US] = us_of(usage.ru_stime);
	value[PROCESS_PEAK_RSS] = peak_rss(report, &usage);
	value[PROCESS_CGROUP_PEAK] = available_peak_cgroup(&report->peaks);
	report_add(line, COUNTED_PROCESS, 0, value);
}

/* -- events ---------------------------------------------------------------- */

/* Of report_keep_counters; not touched where there are no events. */
static struct report_line kept_line;

static void send_plain_event(const struct report *report, const char *event,
			     uint64_t ns)
{
	struct report_line line;

	if (report->events_fd < 0)
		return;
	start_line(&line, report);
	send_event(&line, event, NULL, ns);
}

void report_started(const struct report *report)
{
	send_plain_event(report, "start", loop_now());
}

void report_ready(const struct report *report, uint64_t ns)
{
	send_plain_event(report, "ready", ns);
}

void report_counters(const struct report *report)
{
	struct report_line line;

	if (report->events_fd < 0)
		return;
	start_line(&line, report);
	add_counted(&line);
	add_process(&line);
	send_event(&line, "counters", NULL, loop_now());
}

void report_keep_counters(struct report *report)
{
	if (report->events_fd < 0)
		return;
	start_line(&kept_line, report);
	add_counted(&kept_line);
	report->kept = true;
}

static void send_exit(const struct report *report, const struct ending *ending,
		      bool process)
{
	struct report_line own, *line = &kept_line;

	if (report->events_fd < 0)
		return;
	if (!report->kept) {
		line = &own;
		start_line(line, report);
		add_counted(line);
	}
	if (process)
		add_process(line);
	send_event(line, "exit", ending, loop_now());
}

void report_exit(const struct report *report, const struct ending *ending)
{
	send_exit(report, ending, true);
}

void report_crash(const struct report *report, const struct ending *ending)
{
	send_exit(report, ending, false);
}
