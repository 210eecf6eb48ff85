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
#include <stdint.h>
#include <string.h>
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

/* Room for one descriptor beside a message. */
union helper_rights {
	struct cmsghdr header;
	char bytes[CMSG_SPACE(sizeof(int))];
};

bool helper_send(int channel, const void *message, size_t len, int fd)
{
	union helper_rights rights = { .bytes = { 0 } };
	struct iovec iov = { (void *)(uintptr_t)message, len };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (fd >= 0) {
		header.msg_control = &rights;
		header.msg_controllen = sizeof(rights);
		rights.header = (struct cmsghdr){
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(fd)),
		};
		memcpy(CMSG_DATA(&rights.header), &fd, sizeof(fd));
	}
	return sendmsg(channel, &header, MSG_NOSIGNAL) == (ssize_t)len;
}

ssize_t helper_receive(int channel, void *message, size_t len, int *fd)
{
	union helper_rights rights = { .bytes = { 0 } };
	struct iovec iov = { message, len };
	struct msghdr header = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &rights,
		.msg_controllen = sizeof(rights),
	};
	const ssize_t got =
		recvmsg(channel, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *beside = got < 0 ? NULL : CMSG_FIRSTHDR(&header);

	*fd = -1;
	if (beside && beside->cmsg_type == SCM_RIGHTS)
		memcpy(fd, CMSG_DATA(beside), sizeof(*fd));
	if (*fd >= 0 && got != (ssize_t)len) {
		close(*fd);
		*fd = -1;
	}
	return got;
}
