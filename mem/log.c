/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages to stderr.
 *
 * A line is formatted into a buffer on the stack and written with one write(),
 * so that lines of several threads and of several motes on one terminal do not
 * mix. No allocation, no stdio stream, no lock: it works in any thread, after
 * lock-in, in a handler of signals, and when memory is short. What could drive
 * the user's terminal, or turn the text of a line around, is shown as '?':
 * controls, also as UTF-8, bidirectional marks, and what is not UTF-8; names
 * come from an image or a guest.
 */
#include "mem/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES	1024
#define GUEST_LINES_MAX 3
#define WAIT_MS		1000

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

/* Unicode's controls, and what turns the direction of text around. */
static const struct {
	uint32_t first, last;
} hidden[] = {
	{ 0x00, 0x1f },	    { 0x7f, 0x9f },	      { 0x61c, 0x61c },
	{ 0x200e, 0x200f }, { 0x2028, 0x202e },	      { 0x2066, 0x2069 },
	{ 0xd800, 0xdfff }, { 0x110000, UINT32_MAX },
};

/*
 * How many bytes the character at `at` has that may be shown as it is; 0 where
 * there is none: it drives a terminal, or is not UTF-8, in which form an 8-bit
 * terminal would take it for a control.
 */
static size_t shown_bytes(const uint8_t *at, size_t len)
{
	/* By the number of bytes: what the first one has above its bits, and
	 * the least character that takes so many (RFC 3629, 3). */
	static const struct {
		uint8_t mask, lead;
		uint32_t least;
	} forms[] = { { 0x80, 0x00, 0 },
		      { 0xe0, 0xc0, 0x80 },
		      { 0xf0, 0xe0, 0x800 },
		      { 0xf8, 0xf0, 0x10000 } };
	uint32_t c;
	size_t n = 0;

	while (n < 4 && (*at & forms[n].mask) != forms[n].lead)
		n++;
	if (n == 4 || n >= len)
		return 0;
	c = *at & (uint8_t)~forms[n].mask;
	for (size_t i = 1; i <= n; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3f);
	}
	for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
		if (c >= hidden[i].first && c <= hidden[i].last)
			return 0;
	return c < forms[n].least ? 0 : n + 1;
}

static void hide_controls(char *line, size_t len)
{
	for (size_t at = 0, n; at < len; at += n ? n : 1) {
		n = shown_bytes((const uint8_t *)line + at, len - at);
		if (!n)
			line[at] = '?';
	}
}

/*
 * A reader that has stopped reading, so that its pipe is full, is waited for,
 * but not for ever: no signal and no time limit would end mote any more. It is
 * waited for once, and then not before it has read something.
 */
bool log_write(const char *text, size_t len)
{
	static _Atomic bool stuck;
	struct pollfd room = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t n;

	do
		n = poll(&room, 1, atomic_load(&stuck) ? 0 : WAIT_MS);
	while (n < 0 && errno == EINTR);
	atomic_store(&stuck, n == 0);
	while (n && (n = write(STDERR_FILENO, text, len)) < 0 && errno == EINTR)
		;
	return n > 0;
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
	hide_controls(line, len);
	if (log_raw)
		line[len++] = '\r';
	line[len++] = '\n';
	log_write(line, len);
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
