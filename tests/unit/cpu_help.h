/*
 * For the tests of cpu/ and of what uses it: boot_help.h, with the rest of the
 * log. Messages below a warning are dropped.
 */
#ifndef TESTS_UNIT_CPU_HELP_H
#define TESTS_UNIT_CPU_HELP_H

#include <errno.h>

#include "tests/unit/boot_help.h"

void log_info(const char *format, ...)
{
	(void)format;
}

void log_debug(const char *format, ...)
{
	(void)format;
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

	(void)limit;
	va_start(args, format);
	vsnprintf(logged.last, sizeof(logged.last), format, args);
	va_end(args);
	logged.count++;
}

#endif
