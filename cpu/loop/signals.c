/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals.
 *
 * While the guest runs the ordinary ones are blocked in every thread and read
 * from a signalfd, so that no code of mote's runs in a handler. Before, the
 * main thread may wait for long in a system call (the kernel may be a pipe
 * that nobody writes to, the memory to be filled huge), and there is no guest
 * to be asked to shut down: there a handler reports the end and ends. What
 * asks for something that needs the loop is blocked from the start and waits.
 * At the end, when the loop has ended, SIGALRM is let through to that handler
 * again: should the host's kernel not come back from one of the last calls, an
 * alarm still ends mote.
 *
 * A fault cannot be read from a signalfd: its handler restores the terminal,
 * says one line and ends the process.
 *
 * SIGHUP stays ignored where mote was started so (nohup). It has to be left
 * out by name, since the kernel queues a blocked signal even if it is ignored.
 * SIGINT is not left out: shells ignore it in the background jobs of scripts,
 * where whoever sends it means it all the same.
 *
 * Main thread, and handlers.
 */
#include "cpu/loop/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

enum until_held { ENDS, WAITS, DEFAULT };

/*
 * All whose default is to end or to stop a process, and that can be caught; and
 * what tells of another size of the terminal.
 */
static const struct handled {
	int number;
	enum until_held until_held;
} handled[] = {
	{ SIGTERM, ENDS },     { SIGINT, ENDS },     { SIGHUP, ENDS },
	{ SIGQUIT, ENDS },     { SIGALRM, ENDS },    { SIGVTALRM, ENDS },
	{ SIGPROF, ENDS },     { SIGXCPU, ENDS },    { SIGIO, ENDS },
	{ SIGPWR, ENDS },      { SIGSTKFLT, ENDS },  { SIGUSR1, WAITS },
	{ SIGUSR2, WAITS },    { SIGTSTP, DEFAULT }, { SIGCONT, DEFAULT },
	{ SIGWINCH, DEFAULT },
};

static const int ignored[] = { SIGPIPE, SIGXFSZ };

static const int faults[] = {
	SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP,
};

static int (*on_early)(int number);
static void (*on_crash)(int number);
static int crash_status;

static void handle_early_signal(int number)
{
	_exit(on_early(number));
}

static int set_handler(int number, void (*handler)(int number))
{
	const struct sigaction action = { .sa_handler = handler };

	return sigaction(number, &action, NULL) ? log_errno("sigaction") : 0;
}

static bool is_ignored(int number)
{
	struct sigaction action;

	return !sigaction(number, NULL, &action) &&
	       action.sa_handler == SIG_IGN;
}

/* Those that are handled: all, or only those that wait from the start. */
static sigset_t fill_signal_set(const struct signals *signals, bool all)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(handled); i++)
		if ((all || handled[i].until_held == WAITS) &&
		    !(handled[i].number == SIGHUP && signals->hup_ignored))
			sigaddset(&set, handled[i].number);
	return set;
}

static void signals_ready(void *arg, uint32_t events)
{
	(void)events;
	signals_take(arg);
}

int signals_create(struct signals *signals, int (*early)(int number),
		   void (*received)(void *arg, int number), void *arg)
{
	sigset_t set;
	int error = 0;

	*signals = (struct signals){
		.source = { .fd = -1, .ready = signals_ready, .arg = signals },
		.received = received,
		.arg = arg,
		.hup_ignored = is_ignored(SIGHUP),
	};
	on_early = early;
	for (size_t i = 0; i < ARRAY_LEN(ignored) && !error; i++)
		error = set_handler(ignored[i], SIG_IGN);
	for (size_t i = 0; i < ARRAY_LEN(handled) && !error; i++)
		if (handled[i].until_held == ENDS &&
		    !(handled[i].number == SIGHUP && signals->hup_ignored))
			error = set_handler(handled[i].number,
					    handle_early_signal);
	if (error)
		return error;
	/* Not added to what is blocked: mote's parent may have blocked any. */
	set = fill_signal_set(signals, false);
	return sigprocmask(SIG_SETMASK, &set, NULL) ? log_errno("sigprocmask")
						    : 0;
}

void signals_alarm(uint64_t ns)
{
	const uint64_t us = ns / 1000 + (ns % 1000 != 0);
	const struct itimerval when = {
		.it_value = { (time_t)(us / 1000000),
			      (suseconds_t)(us % 1000000) },
	};

	setitimer(ITIMER_REAL, &when, NULL);
}

int signals_hold(struct signals *signals)
{
	const sigset_t set = fill_signal_set(signals, true);

	/* In this order: an alarm that came later would be taken for a kill. */
	signals_alarm(0);
	if (sigprocmask(SIG_SETMASK, &set, NULL))
		return log_errno("sigprocmask");
	if (signals->source.fd >= 0)
		return 0;
	signals->source.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals->source.fd < 0 ? log_errno("signalfd") : 0;
}

void signals_release(struct signals *signals, uint64_t ns)
{
	const sigset_t set = fill_signal_set(signals, false);

	signals_alarm(ns);
	sigprocmask(SIG_SETMASK, &set, NULL);
}

void signals_last_resort(uint64_t ns)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	signals_alarm(ns);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int signals_start(struct signals *signals, struct loop *loop)
{
	int error = loop_add(loop, &signals->source, EPOLLIN);

	if (error) {
		errno = -error;
		log_errno("epoll of the signalfd");
	}
	return error;
}

unsigned signals_take(struct signals *signals)
{
	struct signalfd_siginfo info;
	unsigned taken = 0;

	while (read(signals->source.fd, &info, sizeof(info)) == sizeof(info)) {
		signals->received(signals->arg, (int)info.ssi_signo);
		taken++;
	}
	return taken;
}

void signals_destroy(struct signals *signals)
{
	if (signals->source.fd >= 0)
		close(signals->source.fd);
	signals->source.fd = -1;
}

static void handle_fault(int number)
{
	on_crash(number);
	_exit(crash_status);
}

void signals_on_crash(void (*crashed)(int number), int status)
{
	const struct sigaction action = {
		.sa_handler = handle_fault,
		.sa_flags = (int)SA_RESETHAND,
	};

	on_crash = crashed;
	crash_status = status;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		sigaction(faults[i], &action, NULL);
}
