/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command's start: its program is found and runs, with pipes or a terminal,
 * in a session and process group of its own. What keeps it from starting is
 * told to mote's user, never to its own stderr; a pipe that a good execve
 * closes tells the parent which it was.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

#include "boot/init/init.h"
#include "cpu/command/protocol.h"

#define STATUS_FAILED	 125
#define STATUS_NO_RIGHT	 126
#define STATUS_NOT_FOUND 127

/* Where the file itself is there, what is not there is its interpreter. */
static long child_execute_file(const struct run *run, const char *path)
{
	long error = SYS(execve, path, run->argv, run->env);

	if (error == -ENOENT && SYS(access, path, 0) == 0)
		error = -ELIBACC;
	return error;
}

/* execvp, but that a file without #! is no script; the error that counts. */
static long child_execute(const struct run *run)
{
	const char *name = run->argv[0], *dir = NULL;
	long result, error = -ENOENT;

	for (const char *at = name; *at; at++)
		if (*at == '/')
			return child_execute_file(run, name);
	for (char **env = run->env; *env && !dir; env++)
		dir = text_after(*env, "PATH=");
	for (; *name && dir && *dir; dir += *dir == ':') {
		struct text path = { .len = 0 };
		const char *from = dir;

		while (*dir && *dir != ':')
			dir++;
		text_add_part(&path, from, (size_t)(dir - from));
		text_add(text_add(&path, path.len ? "/" : ""), name);
		result = child_execute_file(run, path.bytes);
		if (result != -ENOENT && result != -ENOTDIR)
			error = result;
	}
	return error;
}

/*
 * As systemd and containers have it: the kernel's own bound of 4096 is too low
 * for databases, and who is not root could not go beyond it.
 */
static void child_allow_files(void)
{
	static const struct rlimit files = { 1024, 524288 };

	SYS(prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
}

/* Does not return where all is well; else its status, and the user knows. */
static uint8_t child_become(const struct run *run, const int fd[3])
{
	const uint64_t none = 0;
	long error;

	SYS(setsid, 0);
	for (int i = 0; i < 3; i++)
		SYS(dup2, fd[i], i);
	if (run->tty)
		SYS(ioctl, 0, TIOCSCTTY, 0);
	SYS(rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
	child_allow_files();
	error = user_become(run->user);
	if (error) {
		stream_note("cannot become the user that --as names", run->as,
			    error);
		return STATUS_FAILED;
	}
	error = SYS(chdir, run->workdir);
	if (error) {
		stream_note("cannot change to --workdir", run->workdir, error);
		return STATUS_FAILED;
	}
	error = child_execute(run);
	if (error == -ENOENT || error == -ENOTDIR) {
		stream_note("not found in the guest", run->argv[0], 0);
		return STATUS_NOT_FOUND;
	}
	stream_note("cannot be run", run->argv[0], error);
	return STATUS_NO_RIGHT;
}

/* The terminal: its master twice, for the relay; its slave for the child. */
static long child_open_tty(struct child *child, const char *text, int slave[3])
{
	int master = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY);
	struct winsize size = { 24, 80, 0, 0 };
	int unlock = 0;
	long fd;

	if (master < 0)
		return master;
	SYS(ioctl, master, TIOCSPTLCK, &unlock);
	fd = SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return fd;
	if (*text) {
		size.ws_row = (unsigned short)text_number(&text);
		text += *text == ' ';
		size.ws_col = (unsigned short)text_number(&text);
	}
	SYS(ioctl, master, TIOCSWINSZ, &size);
	slave[0] = slave[1] = slave[2] = (int)fd;
	child->in = master;
	child->out[PROTOCOL_STDOUT] =
		(int)SYS(fcntl, master, F_DUPFD_CLOEXEC, 3);
	child->out[PROTOCOL_STDERR] = -1;
	return 0;
}

static long child_open_pipes(struct child *child, int fd[3])
{
	int pipe[2] = { -1, -1 };
	long result;

	for (int i = 0; i < 3; i++) {
		result = SYS(pipe2, pipe, O_CLOEXEC);
		if (result < 0)
			return result;
		fd[i] = pipe[i != PROTOCOL_STDIN];
		if (i == PROTOCOL_STDIN)
			child->in = pipe[1];
		else
			child->out[i] = pipe[0];
	}
	return 0;
}

unsigned child_start(struct child *child, struct run *run)
{
	int fd[3] = { -1, -1, -1 }, report[2] = { -1, -1 };
	uint8_t failed = 0;
	long result;

	if (!user_find(run, "/etc/"))
		return STATUS_FAILED;
	result = run->tty ? child_open_tty(child, run->tty, fd)
			  : child_open_pipes(child, fd);
	if (result >= 0)
		result = SYS(pipe2, report, O_CLOEXEC);
	if (result >= 0)
		child->pid = (int)(result = SYS(fork, 0));
	if (result < 0)
		stream_fail(run->tty ? "there is no terminal for the command"
				     : "cannot start the command",
			    run->argv[0], result);
	if (!child->pid) {
		failed = child_become(run, fd);
		SYS(write, report[1], &failed, 1);
		sys_exit();
	}
	for (int i = 0; i < (run->tty ? 1 : 3); i++)
		SYS(close, fd[i]);
	SYS(close, report[1]);
	/* Only the relay's own ends: a pipe's other end is the command's. */
	SYS(fcntl, child->in, F_SETFL, O_WRONLY | O_NONBLOCK);
	while (SYS(read, report[0], &failed, 1) == -EINTR)
		;
	SYS(close, report[0]);
	return failed;
}
