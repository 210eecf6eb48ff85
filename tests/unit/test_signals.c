/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/loop/signals.c cpu/loop/loop.c tests/unit/kept_log.c */
/* Signals before and after they are held; each case in a process of its own,
 * because how signals are treated is a matter of the whole process. */
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "cpu/loop/signals.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/unit.h"

static struct signals signals;
static struct loop loop;
static int received[64];
static unsigned receipts;

static int on_early(int number)
{
	return number + 100;
}

static void on_received(void *arg, int number)
{
	assert_ptr_equal(arg, &signals);
	received[receipts++ % ARRAY_LEN(received)] = number;
}

/* The status of a child that runs `body`; 1000 + N: signal N killed it. */
static int in_child(void (*body)(int number), int number)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid) {
		alarm(20);
		body(number);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status)
				   : WEXITSTATUS(status);
}

static void create(void)
{
	if (signals_create(&signals, on_early, on_received, &signals))
		_exit(99);
}

static void hold_and_take(void)
{
	if (signals_hold(&signals))
		_exit(98);
	signals_take(&signals);
}

/* -- before signals_hold ------------------------------------------------------
 */

static void early(int number)
{
	create();
	raise(number);
}

static void test_signals_that_come_early(void **state)
{
	static const int ends[] = { SIGTERM, SIGINT,  SIGHUP, SIGQUIT,
				    SIGALRM, SIGXCPU, SIGPROF };
	static const int harmless[] = { SIGUSR1, SIGUSR2, SIGPIPE,
					SIGXFSZ, SIGCONT, SIGCHLD };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(ends); i++)
		assert_int_equal(in_child(early, ends[i]), ends[i] + 100);
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		assert_int_equal(in_child(early, harmless[i]), 0);
}

/* A call that never comes back, with all signals held: an alarm ends it. */
static void last_resort(int number)
{
	int pipe_fds[2];
	char byte;

	if (pipe(pipe_fds))
		_exit(97);
	create();
	hold_and_take();
	signals_last_resort(number * 1000000ULL);
	(void)!read(pipe_fds[0], &byte, 1);
	_exit(52);
}

/* It was put off, then taken back; others are still held. */
static void no_last_resort(int number)
{
	create();
	hold_and_take();
	signals_last_resort(number * 1000000ULL);
	signals_last_resort(10000000000ULL);
	usleep(50000);
	signals_alarm(0);
	raise(SIGINT);
	_exit(52);
}

static void test_signals_last_resort(void **state)
{
	(void)state;
	assert_int_equal(in_child(last_resort, 20), SIGALRM + 100);
	assert_int_equal(in_child(no_last_resort, 40), 52);
}

/* A long wait before the guest runs: the limit holds, and whoever ends mote. */
static void released(int number)
{
	int pipe_fds[2];
	char byte;

	if (pipe(pipe_fds))
		_exit(97);
	create();
	hold_and_take();
	raise(SIGUSR1); /* waits */
	signals_release(&signals, number == SIGALRM ? 20000000 : 0);
	if (number != SIGALRM)
		raise(number);
	(void)!read(pipe_fds[0], &byte, 1);
	_exit(52);
}

/* It is over: they are held again, by the same descriptor. */
static void held_again(int number)
{
	int fd;

	create();
	hold_and_take();
	fd = signals.source.fd;
	signals_release(&signals, 50000000);
	if (signals_hold(&signals) || signals.source.fd != fd)
		_exit(96);
	raise(number);
	usleep(100000);
	signals_take(&signals);
	_exit(receipts == 1 && received[0] == number ? 0 : 95);
}

static void test_signals_released(void **state)
{
	(void)state;
	assert_int_equal(in_child(released, SIGALRM), SIGALRM + 100);
	assert_int_equal(in_child(released, SIGTERM), SIGTERM + 100);
	assert_int_equal(in_child(held_again, SIGTERM), 0);
}

/* Blocked by whoever started mote: signals that it must hear. */
static void early_blocked(int number)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	early(number);
}

static void early_ignored(int number)
{
	signal(number, SIG_IGN);
	create();
	raise(number);
	hold_and_take();
	raise(number);
	_exit(signals_take(&signals) ? 50 : 51);
}

static void test_signals_dispositions_inherited(void **state)
{
	(void)state;
	assert_int_equal(in_child(early_blocked, SIGTERM), SIGTERM + 100);
	assert_int_equal(in_child(early_ignored, SIGHUP), 51);
	/* A shell's background job is told to end all the same. */
	assert_int_equal(in_child(early_ignored, SIGINT), SIGINT + 100);
}

/* What asks for something is kept for the loop. */
static void kept(int number)
{
	create();
	raise(number);
	hold_and_take();
	_exit(receipts == 1 ? received[0] : 77);
}

static void alarm_comes(int number)
{
	create();
	signals_alarm((uint64_t)number);
	for (;;)
		pause();
}

static void alarm_is_late(int number)
{
	const struct timespec time = { .tv_nsec = 50000000 };

	create();
	signals_alarm((uint64_t)number * 1000000);
	hold_and_take();
	nanosleep(&time, NULL);
	_exit((int)signals_take(&signals));
}

static void test_signals_alarm_ends_the_process(void **state)
{
	(void)state;
	assert_int_equal(in_child(kept, SIGUSR1), SIGUSR1);
	assert_int_equal(in_child(kept, SIGUSR2), SIGUSR2);
	assert_int_equal(in_child(alarm_comes, 1), SIGALRM + 100); /* 1 ns */
	assert_int_equal(in_child(alarm_comes, 2000000), SIGALRM + 100);
	assert_int_equal(in_child(alarm_is_late, 10), 0);
}

/* -- in the loop --------------------------------------------------------------
 */

static void stop_loop(void *arg, int number)
{
	on_received(arg, number);
	if (number == SIGTERM)
		loop_stop(&loop);
}

static void in_loop(int number)
{
	if (signals_create(&signals, on_early, stop_loop, &signals) ||
	    signals_hold(&signals))
		_exit(90);
	raise(number); /* between the two: not lost */
	if (loop_create(&loop) || signals_start(&signals, &loop))
		_exit(91);
	raise(SIGTERM);
	if (loop_run(&loop) || receipts != 2 ||
	    received[0] + received[1] != number + SIGTERM)
		_exit(92);
	signals_destroy(&signals);
	signals_destroy(&signals);
	loop_destroy(&loop);
	_exit(signals.source.fd == -1 ? 0 : 93);
}

static void test_signals_taken_in_the_loop(void **state)
{
	static const int numbers[] = { SIGINT,	SIGHUP,	 SIGQUIT,   SIGUSR1,
				       SIGUSR2, SIGTSTP, SIGCONT,   SIGALRM,
				       SIGXCPU, SIGIO,	 SIGVTALRM, SIGPWR };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(in_child(in_loop, numbers[i]), 0);
}

/* -- faults -------------------------------------------------------------------
 */

static void on_crash(int number)
{
	received[0] = number;
	if (number != received[1])
		_exit(60);
}

static void crash(int number)
{
	create();
	hold_and_take();
	received[1] = number;
	signals_on_crash(on_crash, 125);
	raise(number);
}

static volatile uint8_t *no_access;

static void crash_twice(int number)
{
	(void)number;
	*no_access = 1;
}

static void crash_in_handler(int number)
{
	create();
	signals_on_crash(crash_twice, 125);
	raise(number);
}

static void test_signals_of_a_crash(void **state)
{
	static const int numbers[] = { SIGSEGV, SIGBUS,	 SIGILL, SIGFPE,
				       SIGABRT, SIGTRAP, SIGSYS };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
		assert_int_equal(in_child(crash, numbers[i]), 125);
	/* A handler that fails, too, does not go round and round. */
	no_access =
		mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(in_child(crash_in_handler, SIGSEGV), 1000 + SIGSEGV);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals_that_come_early),
		cmocka_unit_test(test_signals_alarm_ends_the_process),
		cmocka_unit_test(test_signals_last_resort),
		cmocka_unit_test(test_signals_released),
		cmocka_unit_test(test_signals_dispositions_inherited),
		cmocka_unit_test(test_signals_taken_in_the_loop),
		cmocka_unit_test(test_signals_of_a_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
