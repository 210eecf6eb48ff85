/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More commands beside the first one: `mote --exec`.
 *
 * Where mote was told --vsock, process 1 listens at PROTOCOL_EXEC_PORT. Whoever
 * can connect to that socket on the host gets there, and each connection a
 * process of its own, a session: it goes on as process 1 did from its orders on
 * (main.c), with a stream of its own, and ends with its command.
 *
 *	mote --exec PATH --> PATH, the vsock device --> session_accept: fork
 *	  RUN frames	 --> orders_hear
 *	  all else	<--> relay.c, a second time --> the command
 *
 * Whom it trusts: the host, which may do with this guest as it likes. A process
 * of the guest must not become root by it: one that connects by the kernel's
 * vsock loopback has the CID 1 or the guest's own, not the host's, which the
 * kernel lets nobody bind here. In a clone of this guest the port is still
 * there; what was connected to it is not.
 */
#include <errno.h>
#include <sys/socket.h>

#include <linux/vm_sockets.h>

#include "boot/init/init.h"

#define SESSIONS_MAX 256 /* at once */
#define BACKLOG	     128

static struct {
	int fd; /* 0: it does not listen */
	int pid[SESSIONS_MAX];
} session;

void session_listen(bool wanted)
{
	const struct sockaddr_vm any = {
		.svm_family = AF_VSOCK,
		.svm_port = PROTOCOL_EXEC_PORT,
		.svm_cid = VMADDR_CID_ANY,
	};
	const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	int fd;

	if (!wanted || session.fd)
		return;
	fd = (int)SYS(socket, AF_VSOCK, type, 0);
	if (fd < 0) /* without a driver mote finds nobody, and says so */
		return;
	if (SYS(bind, fd, &any, sizeof(any)) || SYS(listen, fd, BACKLOG))
		SYS(close, fd);
	else
		session.fd = fd;
}

int session_fd(void)
{
	return session.fd ? session.fd : -1;
}

static int *session_find(int pid)
{
	for (int *at = session.pid; at < session.pid + SESSIONS_MAX; at++)
		if (*at == pid)
			return at;
	return NULL;
}

static long session_fork(int fd)
{
	int *place = session_find(0);
	long pid = -EAGAIN;

	if (place)
		pid = SYS(fork, 0);
	if (pid > 0)
		*place = (int)pid;
	if (pid < 0)
		stream_refuse(fd, place ? "the guest has no room for another "
					  "process"
					: "256 commands of --exec are at work "
					  "in the guest: try again when one "
					  "has ended");
	return pid;
}

bool session_accept(void)
{
	struct sockaddr_vm peer = { .svm_cid = 0 };
	int len = sizeof(peer);
	const int fd = (int)SYS(accept4, session.fd, &peer, &len, SOCK_CLOEXEC);
	bool begins = false;

	if (fd < 0)
		return false;
	if (peer.svm_family == AF_VSOCK && peer.svm_cid == VMADDR_CID_HOST)
		begins = !session_fork(fd);
	if (begins) {
		session.fd = 0;
		stream_adopt(fd);
	} else {
		SYS(close, fd);
	}
	return begins;
}

void session_ended(int pid)
{
	int *place = session_find(pid);

	if (place)
		*place = 0;
}
