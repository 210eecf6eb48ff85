/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/guest.c cpu/command/command.c cpu/command/frames.c */
/* uses: cpu/command/saved.c */
/* uses: cpu/command/output.c cpu/command/transfer.c */
/* uses: cpu/command/orders.c mem/state.c */
/* uses: cpu/console/console.c cpu/console/open.c cpu/console/stream.c */
/* uses: cpu/console/tty.c cpu/console/uart.c mem/state.c */
/* uses: cpu/loop/loop.c cpu/loop/notify.c cpu/loop/report.c */
/* uses: cpu/loop/unixsock.c */
/* uses: cpu/bus.c mem/log.c cpu/loop/file.c mem/available.c */
/*
 * How a run with a command ends: real console, command and loop, and a vCPU
 * that is this test. It runs within vcpus_start and has ended when that
 * returns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu/guest.h"

#define TIMEOUT_NS 20000000000ULL

static struct guest guest;
static struct ending ended;
static void (*vcpu_runs)(void);
static int pipes[2], saved[3];

/* -- in place of the machine ----------------------------------------------- */

void platform_end(struct platform *platform, enum end_reason reason,
		  unsigned status)
{
	const uint64_t one = 1;

	if (ended.reason == END_NONE)
		ended = (struct ending){ reason, status };
	assert_int_equal(write(platform->wake_fd, &one, sizeof(one)), 8);
}

struct ending platform_ending(const struct platform *platform)
{
	(void)platform;
	return ended;
}

void platform_ready(struct platform *platform)
{
	(void)platform;
}

void platform_start(struct platform *platform)
{
	(void)platform;
}

int platform_create_alone(struct platform *platform)
{
	(void)platform;
	return 0;
}

void platform_press_button(struct platform *platform)
{
	(void)platform;
	fail();
}

int vcpus_start(struct vcpus *vcpus)
{
	(void)vcpus;
	vcpu_runs();
	return 0;
}

void vcpus_stop(struct vcpus *vcpus)
{
	(void)vcpus;
}

void vcpus_counters(const struct vcpus *vcpus, uint64_t value[EXITS_COUNTERS])
{
	(void)vcpus;
	memset(value, 0, EXITS_COUNTERS * sizeof(*value));
}

int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi)
{
	(void)vm, (void)event_fd, (void)gsi;
	return 0;
}

int signals_start(struct signals *signals, struct loop *loop)
{
	(void)signals, (void)loop;
	return 0;
}

static int signal_waits;

unsigned signals_take(struct signals *signals)
{
	const int number = signal_waits;

	(void)signals;
	signal_waits = 0;
	if (number)
		guest_signal(&guest, number);
	return number != 0;
}

static uint64_t alarms[4];
static unsigned alarm_count;

void signals_last_resort(uint64_t ns)
{
	alarms[alarm_count++ % 4] = ns;
}

int thread_enter_main(const struct thread_hook *hook)
{
	(void)hook;
	return 0;
}

void thread_stop_process(void)
{
	fail();
}

/* -- mote ------------------------------------------------------------------ */

/* mote's stdout is a pipe, its stdin and stderr lead nowhere. */
static void redirect(void)
{
	const int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
	for (int i = 0; i < 3; i++) {
		saved[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		dup2(i == STDOUT_FILENO ? pipes[1] : null, i);
	}
	close(null);
}

static int setup(void **state)
{
	static struct vm vm; /* its bus is all that counts */
	const struct command_options command = { .serial = true };
	struct console_options options = { .kind = CONSOLE_FD };

	(void)state;
	alarm(60);
	memset(&guest, 0, sizeof(guest));
	memset(&vm, 0, sizeof(vm));
	ended = (struct ending){ END_NONE, 0 };
	alarm_count = 0;
	redirect();
	guest_init(&guest);
	guest.timeout_ns = TIMEOUT_NS;
	guest.platform.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (command_open(&guest.command, &command))
		return -1;
	options.file.fd = guest.command.serial_fd;
	return console_open(&guest.console, &options) ||
	       guest_create_serial(&guest, &vm) || loop_create(&guest.loop);
}

static int teardown(void **state)
{
	(void)state;
	console_close(&guest.console);
	command_close(&guest.command);
	uart_destroy(&guest.serial);
	loop_timer_destroy(&guest.loop, &guest.timeout);
	loop_destroy(&guest.loop);
	close(guest.serial_irq_fd);
	close(guest.platform.wake_fd);
	for (int i = 0; i < 3; i++) {
		dup2(saved[i], i);
		close(saved[i]);
	}
	close(pipes[0]);
	close(pipes[1]);
	return 0;
}

/* -- the guest ------------------------------------------------------------- */

static size_t kernel_said;

/*
 * The guest panics. Its words fill all the way to the command, and the port's
 * ring: who waits for room there before the command has looked waits for ever.
 */
static void panics(void)
{
	static const char words[4096];
	const int way = guest.console.host.out.source.fd;
	const uint8_t byte = '.';
	ssize_t n;

	platform_end(&guest.platform, END_PANIC, STATUS_CRASH);
	kernel_said = 0;
	while ((n = send(way, words, sizeof(words), MSG_DONTWAIT)) > 0)
		kernel_said += (size_t)n;
	for (size_t i = 0; i < UART_OUTPUT_RING; i++, kernel_said++)
		uart_bus_ops.write(&guest.serial, 0, &byte, 1);
}

static void test_last_words(void **state)
{
	struct ending ending;

	(void)state;
	vcpu_runs = panics;
	assert_int_equal(guest_run(&guest, &ending), 0);
	assert_int_equal(ending.reason, END_PANIC);
	assert_int_equal(ending.status, STATUS_CRASH);
	assert_int_equal(uart_output_waiting(&guest.serial), 0);
	assert_int_equal(uart_counter(&guest.serial, SERIAL_DROPPED_BYTES), 0);
	assert_int_equal(guest.command.tail_len, kernel_said);
}

static void send_frame(unsigned type, const void *payload, size_t len)
{
	uint8_t frame[64];

	frames_header(frame, type, len);
	memcpy(frame + PROTOCOL_HEADER, payload, len);
	assert_int_equal(
		send(guest.command.vsock_fd, frame, PROTOCOL_HEADER + len, 0),
		PROTOCOL_HEADER + len);
}

/* The guest has powered off before mote has looked at what its init sent. */
static void exits(void)
{
	static const uint8_t status[8] = { 42 };

	platform_end(&guest.platform, END_POWEROFF, 0);
	send_frame(PROTOCOL_READY, "", 0);
	send_frame(PROTOCOL_STDOUT, "all of it", 9);
	send_frame(PROTOCOL_EXIT, status, sizeof(status));
}

static void test_status_on_its_way(void **state)
{
	struct ending ending;
	char text[16];

	(void)state;
	vcpu_runs = exits;
	assert_int_equal(guest_run(&guest, &ending), 0);
	assert_int_equal(ending.reason, END_EXITED);
	assert_int_equal(ending.status, 42);
	assert_int_equal(read(pipes[0], text, sizeof(text)), 9);
	assert_memory_equal(text, "all of it", 9);
}

/* Each thing that is left to do at the end is backed by an alarm. */
static void test_alarms(void **state)
{
	const uint64_t second = 1000000000;
	struct ending ending;

	(void)state;
	vcpu_runs = exits;
	assert_int_equal(guest_run(&guest, &ending), 0);
	assert_int_equal(alarm_count, 3);
	assert_int_equal(alarms[0], 2 * second);
	/* Readers have until --timeout. */
	assert_in_range(alarms[1], 3 * second, TIMEOUT_NS + 2 * second);
	assert_int_equal(alarms[2], 2 * second);
	assert_int_equal(guest.ending.status, 42);
}

static void times_out(void)
{
	platform_end(&guest.platform, END_TIMEOUT, STATUS_TIMEOUT);
	send_frame(PROTOCOL_READY, "", 0);
	/* More than the pipe takes, which nobody reads. */
	while (write(pipes[1], "....", 4) > 0)
		;
	send_frame(PROTOCOL_STDOUT, "unread", 6);
}

/* Who was told to stop waits for readers once, however many there are. */
static void test_stopped(void **state)
{
	uint64_t before = loop_now();
	struct ending ending;

	(void)state;
	vcpu_runs = times_out;
	assert_int_equal(guest_run(&guest, &ending), 0);
	assert_int_equal(ending.status, STATUS_TIMEOUT);
	assert_int_equal(alarm_count, 3);
	assert_in_range(alarms[1], 2000000000, 2200000000);
	assert_true(guest.drained_ns <= loop_now() &&
		    guest.drained_ns - before >= 200000000);
}

static void must_end(enum end_reason reason, unsigned status, bool stopped)
{
	assert_int_equal(guest_answer(&guest), reason != END_NONE);
	assert_int_equal(ended.reason, reason);
	assert_int_equal(ended.status, status);
	assert_int_equal(guest.stopped, stopped);
	ended.reason = END_NONE;
	ended.status = 0;
	guest.stopped = false;
}

/* Who keeps the loop from its timers is told when a time has passed. */
static void test_answers(void **state)
{
	(void)state;
	guest.command.on = false;
	must_end(END_NONE, 0, false);
	guest.timeout_ns = 1;
	must_end(END_TIMEOUT, STATUS_TIMEOUT, true);
	guest.timeout_ns = 0;
	must_end(END_NONE, 0, false);
	guest.grace_end_ns = loop_now() + TIMEOUT_NS;
	must_end(END_NONE, 0, false);
	guest.grace_end_ns = loop_now();
	must_end(END_SIGNAL, STATUS_SIGNAL + SIGTERM, true);
	guest.grace_end_ns = 0;
	signal_waits = SIGINT;
	must_end(END_SIGNAL, STATUS_SIGNAL + SIGINT, true);
	/* The guest has ended: of what comes then the first one counts. */
	ended = (struct ending){ END_POWEROFF, 0 };
	signal_waits = SIGINT;
	must_end(END_POWEROFF, 0, true);
	guest.command.on = true;
}

/* And the service manager hears meanwhile that mote does not hang. */
static void test_answers_the_watchdog(void **state)
{
	char text[32];
	int ends[2];

	(void)state;
	assert_int_equal(
		socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, ends), 0);
	assert_false(guest_answer(&guest));
	assert_int_equal(read(ends[0], text, sizeof(text)), -1);
	guest.notify.fd = ends[1];
	guest.notify.watchdog_ns = TIMEOUT_NS;
	assert_false(guest_answer(&guest));
	assert_int_equal(read(ends[0], text, sizeof(text)), 10);
	assert_memory_equal(text, "WATCHDOG=1", 10);
	assert_false(guest_answer(&guest));
	assert_int_equal(read(ends[0], text, sizeof(text)), -1);
	close(ends[0]);
	close(ends[1]);
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_last_words), TEST(test_status_on_its_way),
		TEST(test_alarms),     TEST(test_stopped),
		TEST(test_answers),    TEST(test_answers_the_watchdog),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
