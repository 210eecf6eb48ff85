/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent: process 1 of the test host's machine; runs what hostd sends it.
 *
 * Opens the virtio-serial port, says READY and then serves frames (wire.h):
 * each session is one command, see session.c.  As process 1 it also reaps
 * whatever loses its parent.  It trusts hostd and client: they are built with
 * it and run as the same user.  One thread, one poll loop.  The port is written
 * to with blocking writes, which is safe because hostd always reads it.
 *
 * usage: agent /dev/vportNpM
 */
#include "hold.h"
#include "session.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define TICK_MS	   200
#define GUEST_CPUS 2 /* tests/host/start: one more, or one in all */

struct session sessions[SESSION_MAX];

static struct session *find(uint32_t id)
{
	for (int i = 0; i < SESSION_MAX; i++)
		if (sessions[i].id == id)
			return &sessions[i];
	return NULL;
}

static void no_room(uint32_t id, struct buf *out)
{
	static const char text[] = "on: too many commands at once\n";
	uint32_t status = 125;

	wire_add(out, id, WIRE_STDERR, text, sizeof(text) - 1);
	wire_add(out, id, WIRE_EXIT, &status, sizeof(status));
}

static void dispatch(const struct wire_head *h, const char *data,
		     struct buf *out)
{
	struct session *s;

	if (h->session == 0) {
		if (h->type == WIRE_PING)
			wire_add(out, 0, WIRE_PING, NULL, 0);
		return;
	}
	s = find(h->session);
	/* a session begins with its first string; late frames are dropped */
	if (!s && h->type == WIRE_ARG) {
		s = find(0);
		if (s)
			session_open(s, h->session);
		else
			no_room(h->session, out);
	}
	if (s)
		session_frame(s, h, data, out);
}

static void read_port(int port, struct buf *in, struct buf *out)
{
	struct wire_head h;
	const char *data;
	long n = buf_read(in, port, 65536);
	int r;

	if (n == 0) /* hostd is not connected */
		usleep(TICK_MS * 1000);
	while ((r = wire_next(in, &h, &data)) == 1) {
		dispatch(&h, data, out);
		wire_drop(in, &h);
	}
	if (r < 0) {
		fputs("agent: the stream is broken\n", stderr);
		exit(1); /* process 1 ends, the kernel panics, hostd sees it */
	}
}

static void reap(int sigfd)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;

	while (read(sigfd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < SESSION_MAX; i++)
			if (sessions[i].id && sessions[i].pid == pid)
				session_reaped(&sessions[i], status);
}

static void write_port(int port, struct buf *out)
{
	long n;

	while (buf_len(out)) {
		n = buf_write(out, port);
		if (n < 0 && n != -EINTR && n != -EAGAIN)
			return;
	}
}

/*
 * The machine starts with one CPU, because of what hold.c says, and no guest
 * runs on that one: QEMU, to version 10 at least, keeps the state of its SVM in
 * a word (hflags2) in which every FXRSTOR of any CPU clears a bit of the first
 * CPU's, without a lock (cpu_set_fpus, cpu_clear_ignne). If that CPU enters or
 * leaves a guest at that moment, its change is undone: guests and the machine
 * itself then crash or hang, once in some 20 boots.
 */
static void start_cpus(void)
{
	cpu_set_t guests;
	char path[64];

	if (sysconf(_SC_NPROCESSORS_CONF) == 1)
		return;
	CPU_ZERO(&guests);
	for (int i = 1; i <= GUEST_CPUS; i++) {
		int fd;

		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu%d/online", i);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "1", 1) != 1)
			perror(path);
		close(fd);
		CPU_SET(i, &guests);
	}
	/* The commands inherit it. */
	if (sched_setaffinity(0, sizeof(guests), &guests))
		perror("agent: sched_setaffinity");
}

static int poll_all(struct pollfd *fds, int port, int sigfd)
{
	struct pollfd *p = fds + 2;

	fds[0] = (struct pollfd){ .fd = port, .events = POLLIN };
	fds[1] = (struct pollfd){ .fd = sigfd, .events = POLLIN };
	for (int i = 0; i < SESSION_MAX; i++, p += SESSION_POLLFDS) {
		for (int j = 0; j < SESSION_POLLFDS; j++)
			p[j] = (struct pollfd){ .fd = -1 };
		if (sessions[i].id)
			session_poll(&sessions[i], p);
	}
	return poll(fds, p - fds, TICK_MS);
}

static void serve(int port, int sigfd)
{
	static struct pollfd fds[2 + SESSION_MAX * SESSION_POLLFDS];
	struct buf in = { 0 }, out = { 0 };
	uint32_t polled[SESSION_MAX];

	wire_add(&out, 0, WIRE_READY, NULL, 0);
	for (;;) {
		write_port(port, &out);
		for (int i = 0; i < SESSION_MAX; i++)
			polled[i] = sessions[i].id;
		if (poll_all(fds, port, sigfd) < 0)
			continue;
		if (fds[1].revents)
			reap(sigfd);
		for (int i = 0; i < SESSION_MAX; i++)
			if (polled[i])
				session_step(&sessions[i],
					     fds + 2 + i * SESSION_POLLFDS,
					     now_ms(), &out);
		if (fds[0].revents)
			read_port(port, &in, &out);
	}
}

int main(int argc, char **argv)
{
	sigset_t mask;
	int port, sigfd;

	if (argc != 2) {
		fputs("usage: agent PORT\n", stderr);
		return 2;
	}
	port = open(argv[1], O_RDWR | O_CLOEXEC);
	if (port < 0) {
		perror(argv[1]);
		return 1;
	}
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sigfd < 0) {
		perror("signalfd");
		return 1;
	}
	hold_kvm();
	start_cpus();
	serve(port, sigfd);
}
