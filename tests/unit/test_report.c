/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/report.c cpu/loop/loop.c mem/available.c */
/* uses: tests/unit/kept_log.c */
/* Events: each a line of JSON, read here by a parser that takes nothing else;
 * and never a wait, whoever reads them. */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/report.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

#define LINE 8192

/* -- a strict parser of one object, and of flat ones in it
 * ---------------------
 */

/* RFC 8259, section 7, without escapes: mote has no use for any. */
static const char *skip_string(const char *at)
{
	if (*at++ != '"')
		return NULL;
	while (*at && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
		at++;
	return *at == '"' ? at + 1 : NULL;
}

/* Section 6: no leading zero, no sign, integers only. */
static const char *skip_number(const char *at)
{
	if (!isdigit((unsigned char)*at) || (*at == '0' && isdigit(at[1])))
		return NULL;
	while (isdigit((unsigned char)*at))
		at++;
	return at;
}

/* `deep`: the members may be objects, too. */
static const char *skip_object(const char *at, bool deep)
{
	if (*at++ != '{')
		return NULL;
	for (;;) {
		at = skip_string(at);
		if (!at || *at++ != ':')
			return NULL;
		if (deep && *at == '{')
			at = skip_object(at, false);
		else
			at = *at == '"' ? skip_string(at) : skip_number(at);
		if (!at || (*at != ',' && *at != '}'))
			return NULL;
		if (*at++ == '}')
			return at;
	}
}

static bool is_object(const char *at)
{
	at = skip_object(at, true);
	return at && !strcmp(at, "\n");
}

static void test_report_is_judged_by_a_parser(void **state)
{
	(void)state;
	assert_true(is_object("{\"a\":1,\"b\":\"c\"}\n"));
	assert_false(is_object("{\"a\":1}"));
	assert_false(is_object("{\"a\":1,}\n"));
	assert_false(is_object("{\"a\":01}\n"));
	assert_false(is_object("{\"a\":-1}\n"));
	assert_false(is_object("{\"a\":\"x\ny\"}\n"));
	assert_false(is_object("{a:1}\n"));
	assert_true(is_object("{\"a\":{\"b\":1,\"c\":2},\"d\":3}\n"));
	assert_false(is_object("{\"a\":{\"b\":{\"c\":2}}}\n"));
	assert_false(is_object("{\"a\":{}}\n"));
	assert_false(is_object("{\"a\":{\"b\":1}\n"));
	assert_false(is_object("{\"a\":1}\n{\"a\":1}\n"));
}

/* -- events -------------------------------------------------------------------
 */

static int read_end;
static char line[LINE];

static void start(struct report *report)
{
	int ends[2];

	alarm(20); /* a write that waits fails */
	report_init(report);
	assert_int_equal(report->events_fd, -1);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
	read_end = ends[0];
	report_open(report, ends[1], "a-name");
}

static void stop(struct report *report)
{
	close(read_end);
	close(report->events_fd);
	alarm(0);
}

/* The next line that was written. */
static const char *next(void)
{
	size_t n = 0;

	do
		assert_int_equal(read(read_end, line + n, 1), 1);
	while (line[n++] != '\n' && n < sizeof(line) - 1);
	line[n] = '\0';
	assert_true(n <= PIPE_BUF);
	if (!is_object(line))
		fail_msg("not a line of JSON: %s", line);
	assert_non_null(strstr(line, "\"event\":\""));
	return line;
}

static unsigned long long number(const char *text, const char *key)
{
	char quoted[64];
	const char *at;

	snprintf(quoted, sizeof(quoted), "\"%s\":", key);
	at = strstr(text, quoted);
	assert_non_null(at);
	return strtoull(at + strlen(quoted), NULL, 10);
}

static void test_report_writes_events(void **state)
{
	static const struct {
		enum end_reason reason;
		unsigned status;
		const char *name;
	} endings[] = {
		{ END_POWEROFF, 0, "poweroff" }, { END_REBOOT, 0, "reboot" },
		{ END_PANIC, 123, "panic" },	 { END_CRASH, 123, "crash" },
		{ END_EXITED, 255, "exited" },	 { END_SIGNAL, 143, "signal" },
		{ END_TIMEOUT, 124, "timeout" }, { END_ERROR, 125, "error" },
		{ END_OOM, 137, "oom" },
	};
	struct report report;
	char wanted[128];

	(void)state;
	start(&report);
	report_started(&report);
	assert_int_equal(number(next(), "pid"), getpid());
	assert_non_null(strstr(line, "\"event\":\"start\""));
	assert_true(number(line, "t_us") < 20000000);
	report_ready(&report, report.exec_ns + 1234567);
	assert_memory_equal(next(), "{\"event\":\"ready\",\"t_us\":1234,", 29);
	assert_int_equal(number(line, "pid"), getpid());
	assert_non_null(strstr(line, "Z\",\"pid\":"));
	assert_non_null(strstr(line, ",\"name\":\"a-name\"}"));
	report.name = NULL;
	report_ready(&report, report.exec_ns);
	assert_null(strstr(next(), "name"));
	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		const struct ending ending = { endings[i].reason,
					       endings[i].status };

		report_exit(&report, &ending);
		snprintf(wanted, sizeof(wanted),
			 "{\"event\":\"exit\",\"reason\":\"%s\","
			 "\"status\":%u,\"t_us\":",
			 endings[i].name, endings[i].status);
		assert_memory_equal(next(), wanted, strlen(wanted));
	}
	stop(&report);
	expect_no_log();
}

/* So many disks count, with numbers as long as can be. */
static unsigned disks;

static void count(void *arg, struct report_line *to)
{
	uint64_t value[COUNTERS_MAX];

	assert_ptr_equal(arg, &disks);
	for (unsigned i = 0; i < COUNTERS_MAX; i++)
		value[i] = disks > 2 ? UINT64_MAX - 1 : i;
	for (unsigned i = 0; i < disks; i++)
		report_add(to, COUNTED_DISK, i, value);
	value[VSOCK_COUNT_OPEN] = COUNTER_UNKNOWN;
	report_add(to, COUNTED_VSOCK, 0, value);
}

static void expect_in_line(const char *text)
{
	if (!strstr(line, text))
		fail_msg("there is no %s in %s", text, line);
}

static void test_report_writes_counters(void **state)
{
	const struct ending ending = { END_PANIC, 123 };
	struct report report;

	(void)state;
	start(&report);
	report_counters(&report);
	assert_memory_equal(next(), "{\"event\":\"counters\",\"t_us\":", 27);
	expect_in_line("\"name\":\"a-name\",\"process\":{\"user_us\":");
	disks = 2;
	report_count_by(&report, count, &disks);
	report_counters(&report);
	next();
	expect_in_line("\"name\":\"a-name\",\"disk0\":{\"reads\":0,"
		       "\"read_bytes\":1,\"writes\":2,\"written_bytes\":3,"
		       "\"flushes\":4,\"discards\":5,\"discarded_bytes\":6,"
		       "\"errors\":7,\"throttled\":8},\"disk1\":{\"reads\":0,");
	expect_in_line(",\"vsock\":{\"streams\":1,\"refused\":2,\"rx_bytes\":3,"
		       "\"tx_bytes\":4},\"process\":{");
	report_exit(&report, &ending);
	assert_memory_equal(next(),
			    "{\"event\":\"exit\",\"reason\":\"panic\","
			    "\"status\":123,\"t_us\":",
			    50);
	expect_in_line("\"errors\":7,\"throttled\":8},\"vsock\"");
	expect_in_line("\"process\":{");
	report_crash(&report, &ending);
	next();
	expect_in_line("\"disk1\":{");
	assert_null(strstr(line, "process"));
	stop(&report);
	expect_no_log();
}

/* Each is in one line, in order, and the last line is the event's own. */
static void test_report_splits_what_is_too_long(void **state)
{
	const struct ending ending = { END_POWEROFF, 0 };
	char name[32], long_name[65] = "";
	struct report report;
	unsigned at, lines;

	(void)state;
	memset(long_name, 'n', sizeof(long_name) - 1);
	start(&report);
	report.name = long_name;
	report_count_by(&report, count, &disks);
	for (disks = 3; disks <= 40; disks++) {
		report_exit(&report, &ending);
		for (at = lines = 0; at < disks || !lines; lines++) {
			next();
			expect_in_line(long_name);
			for (; at < disks; at++) {
				snprintf(name, sizeof(name), "\"disk%u\":{",
					 at);
				if (!strstr(line, name))
					break;
			}
			if (at < disks)
				expect_in_line("{\"event\":\"counters\"");
		}
		if (!strstr(line, "\"event\":\"exit\""))
			next(), lines++;
		expect_in_line("{\"event\":\"exit\",\"reason\":\"poweroff\"");
		expect_in_line("\"process\":{");
		assert_int_equal(read(read_end, line, 1), -1);
		assert_true(disks < 10 ? lines == 1 : lines <= 1 + disks / 9);
	}
	stop(&report);
}

/* What counted is gone, and is not asked again; the process is. */
static void test_report_keeps_counters(void **state)
{
	const struct ending ending = { END_POWEROFF, 0 };
	struct report report;

	(void)state;
	start(&report);
	disks = 1;
	report_count_by(&report, count, &disks);
	report_keep_counters(&report);
	disks = 0;
	report_exit(&report, &ending);
	next();
	expect_in_line(",\"disk0\":{\"reads\":0,");
	expect_in_line("\"process\":{");
	/* Where it takes more than a line, the first of them go at once. */
	disks = 20;
	report_keep_counters(&report);
	next();
	expect_in_line("{\"event\":\"counters\"");
	expect_in_line("\"disk0\":{");
	assert_null(strstr(line, "\"disk19\":{"));
	assert_int_equal(read(read_end, line, 1), -1);
	report_exit(&report, &ending);
	next();
	expect_in_line("{\"event\":\"exit\"");
	expect_in_line("\"disk19\":{");
	expect_in_line("\"process\":{");
	stop(&report);
}

static void test_report_tells_of_the_process(void **state)
{
	static char much[64 << 20];
	unsigned long long peak, user;
	struct report report;

	(void)state;
	start(&report);
	report_open_peaks(&report);
	report_counters(&report);
	peak = number(next(), "peak_rss_bytes");
	user = number(line, "user_us");
	assert_true(peak > 100 << 10);
	memset(much, 1, sizeof(much));
	for (unsigned i = 0; number(line, "user_us") == user; i++) {
		memset(much, (int)i, sizeof(much));
		report_counters(&report);
		next();
	}
	assert_true(number(line, "peak_rss_bytes") >= sizeof(much));
	/* Without /proc it is what getrusage says. */
	close(report.peaks.status_fd);
	report.peaks.status_fd = -1;
	report_counters(&report);
	assert_true(number(next(), "peak_rss_bytes") >= sizeof(much));
	stop(&report);

	/* Nothing is opened where there are no events. */
	report_init(&report);
	report_open_peaks(&report);
	assert_int_equal(report.peaks.status_fd, -1);
	assert_int_equal(report_features(&report), 0);
}

static void test_report_that_nobody_reads(void **state)
{
	const struct ending ending = { END_POWEROFF, 0 };
	struct report report;
	int flags;

	(void)state;
	start(&report);
	/* Blocking, as fd=N may be. */
	flags = fcntl(report.events_fd, F_GETFL);
	assert_false(flags & O_NONBLOCK);
	fcntl(report.events_fd, F_SETFL, flags | O_NONBLOCK);
	while (write(report.events_fd, line, sizeof(line)) > 0)
		;
	fcntl(report.events_fd, F_SETFL, flags);
	report_exit(&report, &ending);
	expect_log("nobody reads");
	stop(&report);

	start(&report);
	signal(SIGPIPE, SIG_IGN); /* as mote has it */
	close(read_end);
	report_exit(&report, &ending);
	expect_log("Broken pipe");
	read_end = -1;
	stop(&report);

	report.events_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	report_exit(&report, &ending);
	expect_log("No space left");
	close(report.events_fd);

	report.events_fd = -1; /* no --events: nothing is written, or said */
	report_exit(&report, &ending);
	report_started(&report);
	report_counters(&report);
	report_keep_counters(&report);
	assert_false(report.kept);
	expect_no_log();
}

/* -- stages -------------------------------------------------------------------
 */

static void test_report_writes_timing(void **state)
{
	struct report report;
	int ends[2], saved = dup(STDERR_FILENO);
	unsigned lines = 0;
	ssize_t n;

	(void)state;
	report_init(&report);
	assert_true(report.exec_ns <= report.stage[0].ns);
	assert_true(report.stage[0].ns <= loop_now());
	report.exec_ns = 1000000000;
	report.stage[0].ns = report.exec_ns + 250000;
	report_stage(&report, "late", report.exec_ns + 2000000);
	report_stage(&report, "early", report.exec_ns + 1500000);
	for (unsigned i = 0; i < 2 * REPORT_STAGES_MAX; i++)
		report_stage(&report, "more", report.exec_ns + 3000000);
	assert_int_equal(report.stages, REPORT_STAGES_MAX);

	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	report_timing(&report);
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(ends[0], line, sizeof(line) - 1);
	assert_true(n > 0);
	line[n] = '\0';
	close(ends[0]);
	for (const char *at = line; (at = strchr(at, '\n')); at++)
		lines++;
	assert_int_equal(lines, REPORT_STAGES_MAX);
	assert_non_null(strstr(line, "exec         0.250 ms  +0.250\n"));
	assert_non_null(strstr(line, "late         2.000 ms  +1.750\n"));
	assert_non_null(strstr(line, "early        1.500 ms  -0.500\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report_is_judged_by_a_parser),
		cmocka_unit_test(test_report_writes_events),
		cmocka_unit_test(test_report_writes_counters),
		cmocka_unit_test(test_report_splits_what_is_too_long),
		cmocka_unit_test(test_report_keeps_counters),
		cmocka_unit_test(test_report_tells_of_the_process),
		cmocka_unit_test(test_report_that_nobody_reads),
		cmocka_unit_test(test_report_writes_timing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
