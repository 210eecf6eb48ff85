/*
 * What the console's tests share: a loop with a serial port and a console in
 * it, a guest that is driven from a tick of the loop, and stderr in a file.
 */
#ifndef TESTS_CONSOLE_HELP_H
#define TESTS_CONSOLE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cpu/console/console.h"

enum { RX, IER, IIR, LCR, MCR, LSR, TX = RX };

static struct loop loop;
static struct uart serial;
static struct console console;
static int irq_fd, saved_stderr, log_fd;

static inline uint8_t in(unsigned offset)
{
	uint8_t value;

	uart_bus_ops.read(&serial, offset, &value, 1);
	return value;
}

static inline void out(unsigned offset, uint8_t value)
{
	uart_bus_ops.write(&serial, offset, &value, 1);
}

/* -- the guest ------------------------------------------------------------ */

static char guest_got[65536];
static size_t guest_got_len;
static uint64_t guest_sum; /* over all that it got, in order */

static inline uint64_t sum_byte(uint64_t sum, uint8_t byte)
{
	return (sum ^ byte) * UINT64_C(0x100000001b3);
}

/* Polled, as the kernel's console. */
static inline void guest_prints(const char *text)
{
	for (; *text; text++)
		out(TX, (uint8_t)*text);
}

static inline void guest_reads(void)
{
	uint64_t count;

	if (read(irq_fd, &count, sizeof(count)) < 0)
		return; /* by interrupt only */
	while (in(LSR)&1) {
		const uint8_t byte = in(RX);

		guest_sum = sum_byte(guest_sum, byte);
		if (guest_got_len < sizeof(guest_got))
			guest_got[guest_got_len] = (char)byte;
		guest_got_len++;
	}
}

static inline bool guest_has(const char *text)
{
	return guest_got_len == strlen(text) &&
	       !memcmp(guest_got, text, guest_got_len);
}

/* -- the loop ------------------------------------------------------------- */

#define TICK_NS	     50000u
#define TICKS_PER_MS 20u

static struct loop_timer tick;
static bool (*tick_done)(void);
static unsigned ticks_left;
static bool was_done;

static inline void ticked(void *arg)
{
	(void)arg;
	was_done = tick_done && tick_done();
	if (was_done || !--ticks_left)
		loop_stop(&loop);
	else
		loop_timer_set(&tick, TICK_NS);
}

/* Whether `done` came true; asked at each tick, for about `ms` at most. */
static inline bool run_for(unsigned ms, bool (*done)(void))
{
	tick_done = done;
	ticks_left = ms * TICKS_PER_MS;
	loop_timer_set(&tick, TICK_NS);
	assert_int_equal(loop_run(&loop), 0);
	return was_done;
}

#define run_until(done) assert_true(run_for(20000, done))

/* -- set-up --------------------------------------------------------------- */

static inline int setup(void **state)
{
	char name[] = "/tmp/mote-test-XXXXXX";

	(void)state;
	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	guest_got_len = 0;
	guest_sum = 0;
	memset(&console, 0, sizeof(console));
	log_fd = mkostemp(name, O_CLOEXEC);
	unlink(name);
	saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	dup2(log_fd, STDERR_FILENO);
	irq_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop_create(&loop) || uart_create(&serial, irq_fd) ||
	    loop_timer_create(&loop, &tick, ticked, NULL))
		return -1;
	/* The guest has opened its tty. */
	out(MCR, 0x0b);
	out(IER, 0x01);
	out(IIR, 0x01);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	console_stop(&console);
	console_close(&console);
	uart_destroy(&serial);
	loop_timer_destroy(&loop, &tick);
	loop_destroy(&loop);
	close(irq_fd);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	close(log_fd);
	return 0;
}

static inline void start(enum console_kind kind, const char *path, int fd)
{
	const struct console_options options = { .kind = kind,
						 .file.path = path,
						 .file.fd = fd };

	assert_int_equal(console_open(&console, &options), 0);
	assert_int_equal(console_start(&console, &loop, &serial), 0);
}

/* What came on stderr so far. */
static inline const char *logged(void)
{
	static char text[4096];
	ssize_t len = pread(log_fd, text, sizeof(text) - 1, 0);

	text[len < 0 ? 0 : len] = 0;
	return text;
}

static inline unsigned logged_lines(void)
{
	unsigned lines = 0;

	for (const char *c = logged(); *c; c++)
		lines += *c == '\n';
	return lines;
}

/* Reads exactly `len` bytes, or fails. */
static inline void read_all(int fd, char *to, size_t len)
{
	for (ssize_t got; len; to += got, len -= (size_t)got) {
		got = read(fd, to, len);
		assert_true(got > 0);
	}
}

static inline bool is_nonblock(int fd)
{
	return fcntl(fd, F_GETFL) & O_NONBLOCK;
}

#endif
