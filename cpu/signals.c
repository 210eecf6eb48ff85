/*
 * Signals.
 *
 * Ordinary ones are blocked in every thread and read from a signalfd, so that
 * no code of mote's ever runs in a handler. Those of a fault cannot be: their
 * handler restores the terminal, says one line and ends the process. A signal
 * that mote's parent set to be ignored (nohup, a shell's background job) stays
 * ignored: the kernel then never queues it. Main thread.
 */
#include "cpu/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mem/bytes.h"
#include "mem/log.h"

static const int handled[] = {
	SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR2, SIGTSTP, SIGCONT,
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

int signals_create(struct signals *signals,
		   void (*received)(void *arg, int number), void *arg)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	*signals = (struct signals){
		.source = { .fd = -1, .ready = ready, .arg = signals },
		.received = received,
		.arg = arg,
	};
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(handled); i++)
		sigaddset(&set, handled[i]);
	if (sigprocmask(SIG_SETMASK, &set, NULL) ||
	    sigaction(SIGPIPE, &ignore, NULL))
		return log_errno("sigprocmask");
	signals->source.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return signals->source.fd < 0 ? log_errno("signalfd") : 0;
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
