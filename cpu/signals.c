/*
 * Signals.
 *
 * Ordinary ones are blocked in every thread and read from a signalfd, so that
 * no code of mote's ever runs in a handler. Until the loop runs they do what
 * they do by default, so that a start that waits (for a pipe to be written to,
 * say) can be stopped. Those of a fault cannot be blocked: their handler
 * restores the terminal, says one line and ends the process. A signal that
 * mote's parent set to be ignored (nohup, a shell's background job) stays
 * ignored; it must then not be blocked, because Linux queues what is blocked
 * even if it is ignored. Main thread.
 */
#include "cpu/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mem/bytes.h"
#include "mem/log.h"

/*
 * `ours`: taken even if it was ignored, because nobody else means it. `early`:
 * blocked from the first, because its default would end mote by mistake.
 */
static const struct handled {
	int number;
	bool ours, early;
} handled[] = {
	{ .number = SIGTERM, .ours = true },
	{ .number = SIGINT },
	{ .number = SIGHUP },
	{ .number = SIGQUIT },
	{ .number = SIGUSR2, .ours = true, .early = true },
	{ .number = SIGTSTP },
	{ .number = SIGCONT, .ours = true },
};

static const int faults[] = {
	SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS
};

static void (*on_crash)(int number);
static int crash_status;

static void ready(void *arg, uint32_t events)
{
	struct signals *signals = arg;
	struct signalfd_siginfo info;

	(void)events;
	while (read(signals->source.fd, &info, sizeof(info)) == sizeof(info))
		signals->received(signals->arg, (int)info.ssi_signo);
}

/* The signals to take, of those that are to be blocked `early` or of all. */
static sigset_t handled_set(bool early)
{
	struct sigaction was;
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(handled); i++) {
		const struct handled *row = &handled[i];

		if (early && !row->early)
			continue;
		if (!row->ours && !sigaction(row->number, NULL, &was) &&
		    was.sa_handler == SIG_IGN)
			continue;
		sigaddset(&set, row->number);
	}
	return set;
}

int signals_create(struct signals *signals,
		   void (*received)(void *arg, int number), void *arg)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t early = handled_set(true), all = handled_set(false);

	*signals = (struct signals){
		.source = { .fd = -1, .ready = ready, .arg = signals },
		.received = received,
		.arg = arg,
	};
	if (sigprocmask(SIG_SETMASK, &early, NULL) ||
	    sigaction(SIGPIPE, &ignore, NULL))
		return log_errno("sigprocmask");
	signals->source.fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals->source.fd < 0 ? log_errno("signalfd") : 0;
}

int signals_start(struct signals *signals, struct loop *loop)
{
	sigset_t all = handled_set(false);
	int error;

	if (sigprocmask(SIG_SETMASK, &all, NULL))
		return log_errno("sigprocmask");
	error = loop_add(loop, &signals->source, EPOLLIN);
	if (error) {
		errno = -error;
		log_errno("epoll of the signalfd");
	}
	return error;
}

void signals_destroy(struct signals *signals)
{
	if (signals->source.fd >= 0)
		close(signals->source.fd);
	signals->source.fd = -1;
}

static void fault(int number)
{
	on_crash(number);
	_exit(crash_status);
}

void signals_on_crash(void (*crashed)(int number), int status)
{
	const struct sigaction action = {
		.sa_handler = fault,
		.sa_flags = (int)SA_RESETHAND,
	};

	on_crash = crashed;
	crash_status = status;
	for (size_t i = 0; i < ARRAY_LEN(faults); i++)
		sigaction(faults[i], &action, NULL);
}
