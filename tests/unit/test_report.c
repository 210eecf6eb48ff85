/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/report.c cpu/loop/loop.c tests/unit/kept_log.c */
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

/* -- a strict parser of one flat object ---------------------------------------
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

static bool is_object(const char *at)
{
	if (*at++ != '{')
		return false;
	for (;;) {
		at = skip_string(at);
		if (!at || *at++ != ':')
			return false;
		at = *at == '"' ? skip_string(at) : skip_number(at);
		if (!at || (*at != ',' && *at != '}'))
			return false;
		if (*at++ == '}')
			return !strcmp(at, "\n");
	}
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

/* The one line that was written since. */
static const char *next(void)
{
	ssize_t n = read(read_end, line, sizeof(line) - 1);

	assert_true(n > 0);
	line[n] = '\0';
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

static void test_report_writes_counters(void **state)
{
	const struct report_counter few[] = {
		{ "exits", 0 },
		{ "serial_out", UINT64_MAX },
	};
	static struct report_counter many[300];
	struct report report;

	(void)state;
	start(&report);
	report_counters(&report, few, ARRAY_LEN(few));
	assert_non_null(strstr(next(), "{\"event\":\"counters\",\"exits\":0,"
				       "\"serial_out\":18446744073709551615,"
				       "\"t_us\":"));
	/* More than one write holds: no line, rather than half of one. */
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct report_counter){ "name", UINT64_MAX };
	report_counters(&report, many, ARRAY_LEN(many));
	assert_int_equal(read(read_end, line, sizeof(line)), -1);
	for (unsigned n = 110; n < 150; n++) {
		report_counters(&report, many, n);
		if (read(read_end, line, 1) < 0)
			break;
		assert_int_equal(line[0], '{');
		line[1 + read(read_end, line + 1, sizeof(line) - 2)] = '\0';
		assert_true(is_object(line) && strlen(line) <= PIPE_BUF);
	}
	stop(&report);
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
	report_counters(&report, NULL, 0);
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
		cmocka_unit_test(test_report_that_nobody_reads),
		cmocka_unit_test(test_report_writes_timing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
