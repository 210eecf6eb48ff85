/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to stderr.
 *
 * A line is formatted into a buffer on the stack and written with one write(),
 * so that lines of several threads and of several motes on one terminal do not
 * mix. No allocation, no stdio stream, no lock: it works in any thread, after
 * lock-in, and when memory is short. Control bytes are shown as '?': names that
 * come from an image or a guest must not drive the user's terminal.
 */
#include "mem/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES	1024
#define GUEST_LINES_MAX 3

static _Atomic int log_level = LOG_WARN;
static _Atomic bool log_raw;

void log_set_raw(bool raw)
{
	log_raw = raw;
}

void log_set_level(enum log_level level)
{
	atomic_store(&log_level, (int)level);
}

enum log_level log_get_level(void)
{
	return (enum log_level)atomic_load(&log_level);
}

static void write_line(enum log_level level, const char *format, va_list args,
		       const char *suffix)
{
	static const char prefix[] = "mote: ";
	const size_t start = sizeof(prefix) - 1;
	char line[LINE_MAX_BYTES];
	int saved = errno, n;
	size_t len;

	if ((int)level > atomic_load(&log_level))
		return;
	snprintf(line, sizeof(line), "%s", prefix);
	n = vsnprintf(line + start, sizeof(line) - start, format, args);
	len = n < 0 ? start : start + (size_t)n;
	if (len < sizeof(line)) {
		n = snprintf(line + len, sizeof(line) - len, "%s", suffix);
		len += n < 0 ? 0 : (size_t)n;
	}
	if (len > sizeof(line) - 3)
		len = sizeof(line) - 3;
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
			line[i] = '?';
	if (log_raw)
		line[len++] = '\r';
	line[len++] = '\n';
	while (write(STDERR_FILENO, line, len) < 0 && errno == EINTR)
		;
	errno = saved;
}

#define LOG_AT(name, level)                                                    \
	void name(const char *format, ...)                                     \
	{                                                                      \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		write_line(level, format, args, "");                           \
		va_end(args);                                                  \
	}

LOG_AT(log_error, LOG_ERROR)
LOG_AT(log_warn, LOG_WARN)
LOG_AT(log_info, LOG_INFO)
LOG_AT(log_debug, LOG_DEBUG)

const char *log_advice(int error)
{
	switch (error) {
	case EMFILE:
		return "; raise the limit on open files (ulimit -n)";
	case ENFILE:
		return "; the host has no more of them (sysctl fs.file-max)";
	case EAGAIN:
		return "; raise the limit on processes (ulimit -u, or pids.max "
		       "of the cgroup)";
	default:
		return "";
	}
}

int log_errno(const char *call)
{
	int error = errno;

	log_error("%s: %s%s", call, strerror(error), log_advice(error));
	return -error;
}

void log_guest(struct log_limit *limit, const char *format, ...)
{
	unsigned count = atomic_fetch_add(&limit->count, 1);
	va_list args;

	if (count >= GUEST_LINES_MAX)
		return;
	va_start(args, format);
	write_line(LOG_WARN, format, args,
		   count == GUEST_LINES_MAX - 1
			   ? " (no more of these are reported)"
			   : "");
	va_end(args);
}
