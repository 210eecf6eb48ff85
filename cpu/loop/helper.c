/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers. Whoever waits for mote waits for all that hold its pipes, so a
 * helper closes these; and whoever interrupts mote from a terminal, or ends a
 * service, does not mean its helpers, which are to be the last: they have a
 * session of their own, and of signals SIGKILL remains. The handlers are
 * mote's: a helper never runs them, from its first moment on. But a filter that
 * only names calls does it by SIGSYS.
 */
#include "cpu/loop/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cpu/loop/file.h"
#include "mem/log.h"

#define HELPER_FDS_MAX 8

bool helper_take(int channel, const int *fds, size_t count, bool keeps_stderr)
{
	const int first = HELPER_FIRST + (int)count;
	int from[HELPER_FDS_MAX];

	if (count > HELPER_FDS_MAX)
		return false;
	/* First out of the way of one another. */
	channel = fcntl(channel, F_DUPFD_CLOEXEC, first);
	for (size_t i = 0; i < count; i++)
		from[i] =
			fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, first);
	if (dup2(channel, HELPER_CHANNEL) < 0)
		return false;
	for (size_t i = 0; i < count; i++)
		if (from[i] < 0 || dup2(from[i], HELPER_FIRST + (int)i) < 0)
			close(HELPER_FIRST + (int)i);
	close(STDOUT_FILENO);
	if (!keeps_stderr)
		close(STDERR_FILENO);
	file_close_between((unsigned)first, ~0U);
	return true;
}

int helper_start(const struct helper *helper, int *fd)
{
	sigset_t mask, before;
	pid_t child;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return log_errno("socketpair");
	sigfillset(&mask);
	if (helper->keeps_stderr)
		sigdelset(&mask, SIGSYS);
	sigprocmask(SIG_SETMASK, &mask, &before);
	child = fork();
	if (!child) {
		setsid();
		prctl(PR_SET_NAME, helper->name);
		helper->run(helper->arg, pair[1]);
		_exit(1);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(pair[1]);
	if (child < 0) {
		close(pair[0]);
		return log_errno("fork, for a process beside mote");
	}
	*fd = pair[0];
	return (int)child;
}
