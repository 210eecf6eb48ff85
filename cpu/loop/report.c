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
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cpu/loop/loop.h"
#include "mem/log.h"
#include "mem/util.h"

static const char *const reason_names[] = {
	[END_NONE] = "none",	 [END_POWEROFF] = "poweroff",
	[END_REBOOT] = "reboot", [END_PANIC] = "panic",
	[END_CRASH] = "crash",	 [END_EXITED] = "exited",
	[END_SIGNAL] = "signal", [END_TIMEOUT] = "timeout",
	[END_ERROR] = "error",
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

		if (len > 0 && write(STDERR_FILENO, line, (size_t)len) < 0)
			return;
		before = ns;
	}
}

static uint64_t since_exec_us(const struct report *report, uint64_t ns)
{
	return (ns - report->exec_ns) / 1000;
}

static void write_event(const struct report *report, const char *line, int len)
{
	static struct log_limit limit;
	struct pollfd room = { .fd = report->events_fd, .events = POLLOUT };
	ssize_t n;

	if (report->events_fd < 0 || len <= 0 || len > PIPE_BUF)
		return;
	do
		n = poll(&room, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		do
			n = write(report->events_fd, line, (size_t)len);
		while (n < 0 && errno == EINTR);
	if (n == len)
		return;
	log_guest(&limit, "an event was lost: --events %s%s",
		  n < 0 ? "cannot be written: " : "is full: nobody reads it",
		  n < 0 ? strerror(errno) : "");
}

void report_started(const struct report *report)
{
	char line[128];

	write_event(
		report, line,
		snprintf(
			line, sizeof(line),
			"{\"event\":\"start\",\"pid\":%ld,\"t_us\":%llu}\n",
			(long)getpid(),
			(unsigned long long)since_exec_us(report, loop_now())));
}

void report_ready(const struct report *report, uint64_t ns)
{
	char line[128];

	write_event(report, line,
		    snprintf(line, sizeof(line),
			     "{\"event\":\"ready\",\"t_us\":%llu}\n",
			     (unsigned long long)since_exec_us(report, ns)));
}

void report_exit(const struct report *report, const struct ending *ending)
{
	char line[128];

	write_event(report, line,
		    snprintf(line, sizeof(line),
			     "{\"event\":\"exit\",\"reason\":\"%s\","
			     "\"status\":%u,\"t_us\":%llu}\n",
			     reason_names[ending->reason], ending->status,
			     (unsigned long long)since_exec_us(report,
							       loop_now())));
}

void report_counters(const struct report *report,
		     const struct report_counter *counters, unsigned count)
{
	char line[PIPE_BUF];
	int len = snprintf(line, sizeof(line), "{\"event\":\"counters\"");

	for (unsigned i = 0; i < count && len < (int)sizeof(line); i++)
		len += snprintf(line + len, sizeof(line) - (size_t)len,
				",\"%s\":%llu", counters[i].name,
				(unsigned long long)counters[i].value);
	if (len < (int)sizeof(line))
		len += snprintf(
			line + len, sizeof(line) - (size_t)len,
			",\"t_us\":%llu}\n",
			(unsigned long long)since_exec_us(report, loop_now()));
	write_event(report, line, len);
}
