/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A loop with a serial port and a console in it, a guest that is driven from a
 * tick of the loop, and stderr in a file.
 */
#ifndef TESTS_UNIT_CONSOLE_HELP_H
#define TESTS_UNIT_CONSOLE_HELP_H

#include "tests/unit/serial_help.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/console/console.h"

extern struct loop loop;
extern struct console console;
extern int saved_stderr, log_fd;

int console_setup(void **state);
int console_teardown(void **state);

/* Opens the console and starts it. */
void start_console(enum console_kind kind, const char *path, int fd);

/* What the guest has received, and a sum over all of it, in order. */
extern char guest_got[65536];
extern size_t guest_got_len;
extern uint64_t guest_sum;
uint64_t sum_byte(uint64_t sum, uint8_t byte);

/* Polled, as the kernel's console. */
void guest_prints(const char *text);

/* By interrupt only. */
void guest_reads(void);
bool guest_has(const char *text);

/*
 * Turns the loop: whether `done` came true; asked at each tick, for about `ms`
 * at most.
 */
bool run_for(unsigned ms, bool (*done)(void));
#define run_until(done) assert_true(run_for(20000, done))

/* For run_until. */
bool nothing_waits(void);
bool got_hello(void);
bool has_client(void);
bool has_none(void);

/* What came on stderr so far. */
const char *logged(void);
unsigned logged_lines(void);

/* Reads exactly `len` bytes, or `want`, or fails. */
void read_all(int fd, char *to, size_t len);
void expect_text(int fd, const char *want);

bool is_nonblock(int fd);

#endif
