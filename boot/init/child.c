/*
 * Starts the command: pipes or a terminal, a session and process group of its
 * own, its directory, its environment, and a search along its PATH.
 *
 * What goes wrong in the child comes back through a pipe that a good execve
 * closes, so that mote's user is told and not the command's own stderr.
 */
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>

#include "boot/init/init.h"
#include "boot/init/sys.h"
#include "cpu/command/protocol.h"

#define STATUS_FAILED	 125
#define STATUS_NO_RIGHT	 126
#define STATUS_NOT_FOUND 127

struct failure {
	long error;
	uint32_t of_workdir;
};

static const char *find_env(const struct run *run, const char *name)
{
	const char *value;

	for (char **env = run->env; *env; env++)
		if ((value = text_after(*env, name)))
			return value;
	return "";
}

/* Where the file itself is there, what is not there is its interpreter. */
static long execute_file(const struct run *run, const char *path)
{
	long result = SYS_3(execve, path, run->argv, run->env);

	if (result == -ENOENT && SYS_2(access, path, 0) == 0)
		result = -ELIBACC;
	return result;
}

/* execvp, but that a file without #! is no script; the error that counts. */
static long execute(const struct run *run)
{
	const char *name = run->argv[0], *dir = find_env(run, "PATH=");
	long result, error = -ENOENT;

	for (const char *at = name; *at; at++)
		if (*at == '/')
			return execute_file(run, name);
	for (; *name && *dir; dir += *dir == ':') {
		struct text path = { .len = 0 };

		for (; *dir && *dir != ':'; dir++)
			text_add(&path, (const char[]){ *dir, 0 });
		text_add(text_add(&path, path.len ? "/" : ""), name);
		result = execute_file(run, path.bytes);
		if (result != -ENOENT && result != -ENOTDIR)
			error = result;
	}
	return error;
}

static void __attribute__((noreturn))
become(const struct run *run, const int fd[3], int report)
{
	struct failure failure = { 0, 1 };
	const uint64_t none = 0;

	SYS_0(setsid);
	for (int i = 0; i < 3; i++)
		SYS_2(dup2, fd[i], i);
	if (run->tty)
		sys_ioctl(0, TIOCSCTTY, 0);
	SYS_4(rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
	failure.error = SYS_1(chdir, run->workdir);
	if (!failure.error) {
		failure.of_workdir = 0;
		failure.error = execute(run);
	}
	sys_write(report, &failure, sizeof(failure));
	sys_exit();
}

static int tell(const struct run *run, const struct failure *failure)
{
	const char *name = run->argv[0];

	if (failure->of_workdir) {
		init_note("cannot change to --workdir", run->workdir,
			  failure->error);
		return STATUS_FAILED;
	}
	if (failure->error == -ENOENT || failure->error == -ENOTDIR) {
		init_note("not found in the guest", name, 0);
		return STATUS_NOT_FOUND;
	}
	init_note("cannot be run", name, failure->error);
	return STATUS_NO_RIGHT;
}

/* The terminal: its master twice, for the relay; its slave for the child. */
static long open_tty(struct child *child, const struct run *run, int slave[3])
{
	int master = sys_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct winsize size = { 24, 80, 0, 0 };
	const char *text = run->tty;
	int unlock = 0;
	long fd;

	if (master < 0)
		return master;
	sys_ioctl(master, TIOCSPTLCK, &unlock);
	fd = sys_ioctl(master, TIOCGPTPEER,
		       (void *)(O_RDWR | O_NOCTTY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	if (*text) {
		size.ws_row = (unsigned short)text_number(&text);
		text += *text == ' ';
		size.ws_col = (unsigned short)text_number(&text);
	}
	sys_ioctl(master, TIOCSWINSZ, &size);
	slave[0] = slave[1] = slave[2] = (int)fd;
	child->in = master;
	child->out[PROTOCOL_STDOUT] =
		(int)SYS_3(fcntl, master, F_DUPFD_CLOEXEC, 3);
	child->out[PROTOCOL_STDERR] = -1;
	return 0;
}

static long open_pipes(struct child *child, int fd[3])
{
	int pipe[2] = { -1, -1 };
	long result;

	for (int i = 0; i < 3; i++) {
		result = SYS_2(pipe2, pipe, O_CLOEXEC);
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

int child_start(struct child *child, const struct run *run)
{
	int fd[3] = { -1, -1, -1 }, report[2] = { -1, -1 };
	struct failure failure = { 0, 0 };
	long result =
		run->tty ? open_tty(child, run, fd) : open_pipes(child, fd);

	if (result >= 0)
		result = SYS_2(pipe2, report, O_CLOEXEC);
	if (result >= 0)
		child->pid = (int)(result = SYS_0(fork));
	if (result < 0)
		init_fail(run->tty ? "there is no terminal for the command"
				   : "cannot start the command",
			  run->argv[0], result);
	if (!child->pid)
		become(run, fd, report[1]);
	for (int i = 0; i < (run->tty ? 1 : 3); i++)
		sys_close(fd[i]);
	sys_close(report[1]);
	/* Only the relay's own ends: a pipe's other end is the command's. */
	SYS_3(fcntl, child->in, F_SETFL, O_WRONLY | O_NONBLOCK);
	do
		result = sys_read(report[0], &failure, sizeof(failure));
	while (result == -EINTR);
	sys_close(report[0]);
	return result == sizeof(failure) ? tell(run, &failure) : -1;
}
