/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mote tells about a run.
 *
 * An event is one JSON object in one write(), at most PIPE_BUF bytes, so that
 * lines of several motes on one pipe do not mix. No allocation and no lock:
 * report_exit also serves the handler of fatal signals. Owns nothing. Main
 * thread.
 */
#include "cpu/loop/report.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/loop/loop.h"
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

/* A line that is being made: what does not fit is cut off, and seen by `used`.
 */
struct event_line {
	int used;
	char text[PIPE_BUF + 1];
};

static __attribute__((format(printf, 2, 3))) void
add_to_event(struct event_line *line, const char *format, ...)
{
	const int room = (int)sizeof(line->text) - line->used;
	va_list args;

	if (room <= 0)
		return;
	va_start(args, format);
	line->used +=
		vsnprintf(line->text + line->used, (size_t)room, format, args);
	va_end(args);
}

static void write_event(const struct report *report,
			const struct event_line *line)
{
	static struct log_limit limit;
	struct pollfd room = { .fd = report->events_fd, .events = POLLOUT };
	ssize_t n;

	if (line->used > PIPE_BUF)
		return;
	do
		n = poll(&room, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		do
			n = write(report->events_fd, line->text,
				  (size_t)line->used);
		while (n < 0 && errno == EINTR);
	if (n == line->used)
		return;
	log_guest(&limit, "an event was lost: --events %s%s",
		  n < 0 ? "cannot be written: " : "is full: nobody reads it",
		  n < 0 ? strerror(errno) : "");
}

/* Adds what all events have. `ns`: when it happened. */
static void send_event(const struct report *report, struct event_line *line,
		       uint64_t ns)
{
	struct timespec now;
	struct tm tm;

	if (report->events_fd < 0)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	add_to_event(line, ",\"t_us\":%llu",
		     (unsigned long long)(ns - report->exec_ns) / 1000);
	add_to_event(line, ",\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ\"",
		     tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		     tm.tm_min, tm.tm_sec, now.tv_nsec / 1000);
	add_to_event(line, ",\"pid\":%ld", report->pid);
	if (report->name)
		add_to_event(line, ",\"name\":\"%s\"", report->name);
	add_to_event(line, "}\n");
	write_event(report, line);
}

void report_started(const struct report *report)
{
	struct event_line line = { 0 };

	add_to_event(&line, "{\"event\":\"start\"");
	send_event(report, &line, loop_now());
}

void report_ready(const struct report *report, uint64_t ns)
{
	struct event_line line = { 0 };

	add_to_event(&line, "{\"event\":\"ready\"");
	send_event(report, &line, ns);
}

void report_exit(const struct report *report, const struct ending *ending)
{
	struct event_line line = { 0 };

	add_to_event(&line,
		     "{\"event\":\"exit\",\"reason\":\"%s\",\"status\":%u",
		     reason_names[ending->reason], ending->status);
	send_event(report, &line, loop_now());
}

void report_counters(const struct report *report,
		     const struct report_counter *counters, unsigned count)
{
	struct event_line line = { 0 };

	add_to_event(&line, "{\"event\":\"counters\"");
	for (unsigned i = 0; i < count; i++)
		add_to_event(&line, ",\"%s\":%llu", counters[i].name,
			     (unsigned long long)counters[i].value);
	send_event(report, &line, loop_now());
}
