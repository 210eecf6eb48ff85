/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/console/console.c cpu/console/open.c cpu/console/stream.c */
/* uses: cpu/console/tty.c cpu/console/uart.c mem/state.c */
/* uses: cpu/loop/unixsock.c cpu/loop/loop.c mem/log.c */
/* uses: tests/unit/console_help.c tests/unit/serial_help.c cpu/loop/file.c */
/*
 * mote on a terminal: raw mode and its way back on every way out, Ctrl-A, and
 * job control. A child is mote, its terminal a pseudo-terminal whose master the
 * test holds: it types, reads, and looks at the settings.
 */
#include "tests/unit/console_help.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <termios.h>

#include "cpu/console/tty.h"

static int master, report[2];	    /* report: what the guest got */
static int stalled[2] = { -1, -1 }; /* its stdout, where not the terminal */
static struct termios before;
static volatile size_t *guest_seen; /* how much, shared by all processes */

static int setup_tty(void **state)
{
	(void)state;
	alarm(60);
	signal(SIGPIPE, SIG_IGN);
	master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (master < 0 || grantpt(master) || unlockpt(master) ||
	    pipe2(report, O_CLOEXEC) || tcgetattr(master, &before))
		return -1;
	guest_seen = mmap(NULL, sizeof(*guest_seen), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return guest_seen == MAP_FAILED || !(before.c_lflag & ICANON);
}

static int teardown_tty(void **state)
{
	(void)state;
	munmap((void *)guest_seen, sizeof(*guest_seen));
	close(master);
	close(report[0]);
	close(report[1]);
	return 0;
}

/* -- the child ------------------------------------------------------------ */

static volatile sig_atomic_t got_tstp, got_cont, got_term;

static void on_signal(int number)
{
	if (number == SIGTSTP)
		got_tstp = 1;
	else if (number == SIGCONT)
		got_cont = 1;
	else
		got_term = 1;
}

static void on_crash(int number)
{
	(void)number;
	tty_restore(); /* NOLINT(bugprone-signal-handler): made for this */
	_exit(3);
}

static void on_quit(void *arg)
{
	(void)arg;
	got_term = 1;
}

/* As main does it from its signalfd. */
static bool child_tick(void)
{
	guest_reads();
	*guest_seen = guest_got_len;
	if (got_tstp) {
		got_tstp = 0;
		console_suspend(&console);
		raise(SIGSTOP);
	}
	if (got_cont) {
		got_cont = 0;
		console_resume(&console);
	}
	if (guest_got_len == 5 && !memcmp(guest_got, "crash", 5))
		raise(SIGSEGV);
	return got_term;
}

static _Noreturn void child_runs(void)
{
	const struct console_options options = { .kind = CONSOLE_STDIO };
	int log_copy;

	close(master);
	console_setup(NULL);
	log_copy = saved_stderr; /* messages belong on the terminal here */
	dup2(log_copy, STDERR_FILENO);
	signal(SIGTSTP, on_signal);
	signal(SIGCONT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGSEGV, on_crash);
	if (console_open(&console, &options))
		_exit(1);
	if (console_start(&console, &loop, &serial,
			  (struct tty_escape){ .on_quit = on_quit }))
		_exit(1);
	if (!run_for(30000, child_tick))
		_exit(2);
	for (int i = 0; stalled[1] >= 0 && i < 200000; i++)
		out(TX, 'x');
	console_drain(&console, UINT64_MAX, -1);
	console_stop(&console);
	console_close(&console);
	if (write(report[1], guest_got, guest_got_len) < 0)
		_exit(4);
	_exit(0);
}

static void take_terminal(void)
{
	char *name = ptsname(master);
	int slave;

	setsid();
	slave = open(name, O_RDWR); /* becomes the controlling terminal */
	for (int fd = 0; fd < 3; fd++)
		dup2(slave, fd);
	if (slave > 2)
		close(slave);
	if (stalled[1] >= 0) {
		dup2(stalled[1], STDOUT_FILENO);
		close(stalled[0]);
	}
}

static pid_t start_child(void)
{
	pid_t child = fork();

	if (!child) {
		take_terminal();
		child_runs();
	}
	return child;
}

/* -- the user ------------------------------------------------------------- */

static bool is_raw(void)
{
	struct termios now;

	tcgetattr(master, &now);
	return !(now.c_lflag & (ICANON | ECHO | ISIG)) &&
	       !(now.c_oflag & OPOST) && !(now.c_iflag & ICRNL);
}

static bool is_as_before(void)
{
	struct termios now;

	tcgetattr(master, &now);
	return now.c_lflag == before.c_lflag && now.c_iflag == before.c_iflag &&
	       now.c_oflag == before.c_oflag && now.c_cflag == before.c_cflag &&
	       !memcmp(now.c_cc, before.c_cc, sizeof(now.c_cc));
}

static void await(bool (*condition)(void))
{
	for (int i = 0; i < 10000 && !condition(); i++)
		usleep(1000);
	assert_true(condition());
}

static void type(const char *text)
{
	assert_int_equal(write(master, text, strlen(text)), strlen(text));
}

static void await_end(pid_t child, int want)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), want);
}

static void expect_guest_got(const char *want)
{
	char text[64];
	ssize_t len;

	close(report[1]);
	report[1] = -1;
	len = read(report[0], text, sizeof(text));
	assert_int_equal(len, strlen(want));
	assert_memory_equal(text, want, strlen(want));
}

/* What the terminal shows, until `want` is in it. */
static void expect_screen(const char *want)
{
	static char screen[8192];
	size_t len = 0;
	ssize_t got;

	do {
		got = read(master, screen + len, sizeof(screen) - 1 - len);
		assert_true(got > 0);
		len += (size_t)got;
		screen[len] = 0;
	} while (!strstr(screen, want));
}

static void test_keys(void **state)
{
	pid_t child = start_child();

	(void)state;
	await(is_raw);
	/* Ctrl-C, Ctrl-Z and Ctrl-D are the guest's. */
	type("ab\3\32\4\r\1a-\1\1-\1q");
	type("\1h");
	expect_screen("ends the guest");
	/* The escape and its letter may come apart. */
	type("\1");
	usleep(20000);
	type("x");
	await_end(child, 0);
	assert_true(is_as_before());
	expect_guest_got("ab\3\32\4\r\1-\1-");
}

static void test_crash(void **state)
{
	pid_t child = start_child();

	(void)state;
	await(is_raw);
	type("crash");
	await_end(child, 3);
	assert_true(is_as_before());
}

static void await_stop(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, WUNTRACED), child);
	assert_true(WIFSTOPPED(status));
}

static void test_suspend(void **state)
{
	pid_t child = start_child();

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		await(is_raw);
		kill(child, SIGTSTP);
		await_stop(child);
		assert_true(is_as_before());
		kill(child, SIGCONT);
	}
	await(is_raw);
	/* SIGSTOP comes unseen; the shell puts its own modes in place. */
	kill(child, SIGSTOP);
	await_stop(child);
	assert_true(is_raw());
	tcsetattr(master, TCSANOW, &before);
	kill(child, SIGCONT);
	await(is_raw);
	type("on");
	type("\1x");
	await_end(child, 0);
	assert_true(is_as_before());
	expect_guest_got("on");
}

static void test_sigterm(void **state)
{
	pid_t child = start_child();

	(void)state;
	await(is_raw);
	kill(child, SIGTERM);
	await_end(child, 0);
	assert_true(is_as_before());
}

/* `mote | less`, the guest has ended: Ctrl-C must end mote as well. */
static void test_drain(void **state)
{
	pid_t child;

	(void)state;
	assert_int_equal(pipe2(stalled, O_CLOEXEC), 0);
	assert_true(fcntl(stalled[1], F_SETPIPE_SZ, 4096) > 0);
	child = start_child();
	await(is_raw);
	kill(child, SIGTERM);
	await(is_as_before);
	assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
	close(stalled[0]);
	close(stalled[1]);
	stalled[0] = stalled[1] = -1;
	await_end(child, 0);
}

/* A shell: `mote &`, then `fg`, then `mote` in the background once more. */
static _Noreturn void shell_runs(void)
{
	pid_t mote;
	int status;

	take_terminal();
	signal(SIGTTOU, SIG_IGN);
	mote = fork();
	if (!mote) {
		signal(SIGTTOU, SIG_DFL);
		setpgid(0, 0);
		child_runs();
	}
	setpgid(mote, mote);
	usleep(200000);
	/* Typed for the shell; mote must neither take it nor be stopped. */
	if (is_raw() || waitpid(mote, &status, WUNTRACED | WNOHANG))
		_exit(11);
	if (read(0, &(char[16]){ 0 }, 16) != 6)
		_exit(12);
	tcsetpgrp(0, mote);
	kill(mote, SIGCONT);
	for (int i = 0; i < 5000 && !is_raw(); i++)
		usleep(1000);
	if (!is_raw() || waitpid(mote, &status, WUNTRACED | WNOHANG))
		_exit(13);
	for (int i = 0; i < 5000 && *guest_seen < 4; i++)
		usleep(1000); /* it reads what is typed next */
	tcsetpgrp(0, getpgrp());
	tcsetattr(0, TCSANOW, &before);
	kill(mote, SIGCONT);
	usleep(50000);
	if (waitpid(mote, &status, WUNTRACED | WNOHANG))
		_exit(14);
	kill(mote, SIGTERM);
	if (waitpid(mote, &status, WUNTRACED) != mote || !WIFEXITED(status))
		_exit(15);
	_exit(WEXITSTATUS(status));
}

static void test_background(void **state)
{
	pid_t shell = fork();

	(void)state;
	if (!shell)
		shell_runs();
	type("shell\n");
	await(is_raw);
	type("mote");
	await_end(shell, 0);
	assert_true(is_as_before());
	expect_guest_got("mote");
}

int main(void)
{
#define TEST(function)                                                         \
	cmocka_unit_test_setup_teardown(function, setup_tty, teardown_tty)
	const struct CMUnitTest tests[] = {
		TEST(test_keys),    TEST(test_crash), TEST(test_suspend),
		TEST(test_sigterm), TEST(test_drain), TEST(test_background),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
