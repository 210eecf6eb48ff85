/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kept_log.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "mem/log.h"
#include "tests/unit/unit.h"

#define GUEST_LINES_MAX 3 /* mem/log.c */

struct kept_log logged;

static void keep_line(const char *format, va_list args)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	pthread_mutex_lock(&lock);
	vsnprintf(logged.last, sizeof(logged.last), format, args);
	logged.count++;
	pthread_mutex_unlock(&lock);
}

#define KEEP_LOG(name)                                                         \
	void name(const char *format, ...)                                     \
	{                                                                      \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		keep_line(format, args);                                       \
		va_end(args);                                                  \
	}
KEEP_LOG(log_error)
KEEP_LOG(log_warn)

void log_info(const char *format, ...)
{
	(void)format;
}

void log_debug(const char *format, ...)
{
	(void)format;
}

bool log_write(const char *text, size_t len)
{
	return write(STDERR_FILENO, text, len) == (ssize_t)len;
}

const char *log_advice(int error)
{
	return error == EAGAIN ? "; raise the limit" : "";
}

int log_errno(const char *call)
{
	int error = errno;

	log_error("%s: %s", call, strerror(error));
	return -error;
}

void log_guest(struct log_limit *limit, const char *format, ...)
{
	va_list args;

	if (limit->count++ >= GUEST_LINES_MAX)
		return;
	va_start(args, format);
	keep_line(format, args);
	va_end(args);
}

void expect_log(const char *fragment)
{
	if (logged.count != 1 || !strstr(logged.last, fragment))
		fail_msg("%u lines, the last: \"%s\"; expected one with \"%s\"",
			 logged.count, logged.last, fragment);
	logged.count = 0;
}

void expect_no_log(void)
{
	if (logged.count)
		fail_msg("unexpected: %s", logged.last);
}
