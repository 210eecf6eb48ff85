/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages for whoever started mote: one line each on stderr, written with one
 * system call, prefixed "mote: ". The place that fails logs once; its callers
 * pass the -errno on. Usable from any thread.
 */
#ifndef MEM_LOG_H
#define MEM_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* Lines above this level are dropped; LOG_WARN until set. */
void log_set_level(enum log_level level);
enum log_level log_get_level(void);

/* While stderr is a terminal in raw mode lines need a carriage return. */
void log_set_raw(bool raw);

/* `format` takes no newline and no prefix. errno is left as it was. */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * `text` as it is, at every level, with one system call. False where it could
 * not be written, or nobody has read stderr for a second: then it is lost, as
 * is a line of the functions above.
 */
bool log_write(const char *text, size_t len);

/* What mends it where a limit was met, with "; " in front; or "". */
const char *log_advice(int error);

/*
 * Logs "`call`: " and what errno says, with log_advice, as an error; returns
 * -errno.
 */
int log_errno(const char *call);

/*
 * A warning that a guest can cause: the first few of a kind are written, the
 * rest are counted. One static struct log_limit for each place.
 */
struct log_limit {
	_Atomic unsigned count;
};
void log_guest(struct log_limit *limit, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#endif
