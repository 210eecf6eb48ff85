/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spawn: the process of a session, and the cgroup that it lives in.
 *
 * The command gets pipes, or a terminal of its own, and sits in the cgroup
 * /sys/fs/cgroup/on/SLOT, which is kept for the slot's next session.  The
 * child's side after fork() uses nothing but its own copy of the session.
 * Descriptors are close-on-exec, so no command holds another's pipes.
 */
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

static void group_path(const struct session *s, const char *file, char *path,
		       size_t size)
{
	snprintf(path, size, "/sys/fs/cgroup/on/%d%s", (int)(s - sessions),
		 file);
}

int spawn_group_write(const struct session *s, const char *file,
		      const char *text)
{
	char path[64];
	int fd, r = 0;

	group_path(s, file, path, sizeof(path));
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	close(fd);
	return r;
}

void spawn_group_make(const struct session *s)
{
	char path[64];

	group_path(s, "", path, sizeof(path));
	mkdir("/sys/fs/cgroup/on", 0755);
	mkdir(path, 0755);
}

void spawn_size(int fd, unsigned rows, unsigned columns)
{
	struct winsize w = { .ws_row = rows, .ws_col = columns };

	ioctl(fd, TIOCSWINSZ, &w);
}

/* Splits the strings: 0, or -EINVAL when they are not what `run` says. */
static int split(struct session *s, const struct wire_run *run, char **dir,
		 char **argv)
{
	char *p = s->blob.p + s->blob.at, *end = s->blob.p + s->blob.end;
	size_t n = (size_t)run->argc + run->envc;
	char *q;

	if (p == end || end[-1] != '\0' || !run->argc)
		return -EINVAL;
	*dir = p;
	p += strlen(p) + 1;
	for (size_t i = 0; i < n; i++) {
		if (p >= end)
			return -EINVAL;
		q = p + strlen(p) + 1;
		if (i < run->argc)
			argv[i] = p;
		else
			putenv(p);
		p = q;
	}
	argv[run->argc] = NULL;
	return p == end ? 0 : -EINVAL;
}

static void run_child(struct session *s, const struct wire_run *run, int in,
		      int out, int err)
{
	char **argv = calloc((size_t)run->argc + 1, sizeof(*argv));
	sigset_t none;
	char *dir;

	setsid();
	spawn_group_write(s, "/cgroup.procs", "0");
	if (run->tty)
		ioctl(in, TIOCSCTTY, 0);
	dup2(in, 0);
	dup2(out, 1);
	dup2(err, 2);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	clearenv();
	if (!argv || split(s, run, &dir, argv))
		_exit(SPAWN_FAILED);
	if (chdir(dir)) {
		dprintf(2, "on: %s: %s\n", dir, strerror(errno));
		_exit(SPAWN_FAILED);
	}
	execvp(argv[0], argv);
	dprintf(2, "on: %s: %s\n", argv[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static int open_tty(struct session *s, const struct wire_run *run, int *theirs)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (grantpt(fd) || unlockpt(fd))
		goto fail;
	theirs[0] = open(ptsname(fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (theirs[0] < 0)
		goto fail;
	theirs[1] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 3);
	theirs[2] = fcntl(theirs[0], F_DUPFD_CLOEXEC, 3);
	spawn_size(fd, run->rows, run->columns);
	s->out = fd;
	return 0;
fail:
	close(fd);
	return -EIO;
}

static int open_pipes(struct session *s, int *theirs)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC))
		return -errno;
	theirs[0] = p[0];
	s->in = p[1];
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	s->out = p[0];
	theirs[1] = p[1];
	if (pipe2(p, O_CLOEXEC))
		return -errno;
	s->err = p[0];
	theirs[2] = p[1];
	return 0;
}

static void set_nonblock(int fd)
{
	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

int spawn_start(struct session *s, const struct wire_run *run)
{
	int theirs[3] = { -1, -1, -1 };
	int r;

	if (!s->blob.p)
		buf_add(&s->blob, "", 1);
	r = run->tty ? open_tty(s, run, theirs) : open_pipes(s, theirs);
	if (!r) {
		s->pid = fork();
		if (s->pid == 0)
			run_child(s, run, theirs[0], theirs[1], theirs[2]);
		if (s->pid < 0) {
			r = -errno;
			s->pid = 0;
		}
	}
	for (int i = 0; i < 3; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	set_nonblock(s->in);
	set_nonblock(s->out);
	set_nonblock(s->err);
	return r;
}
