/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command as on a host whose clock the vDSO cannot read: with no vDSO at
 * all, so that clock_gettime is a system call.
 *
 *	novdso COMMAND...
 *
 * Takes the vDSO out of what the kernel tells the new program (its auxiliary
 * vector). Hands on its status, 128+N where a signal killed it.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORD sizeof(long)

static long word(pid_t pid, unsigned long at)
{
	return ptrace(PTRACE_PEEKDATA, pid, at, NULL);
}

static void hide_vdso(pid_t pid)
{
	struct user_regs_struct regs;
	unsigned long at;

	ptrace(PTRACE_GETREGS, pid, NULL, &regs);
	/* argc, argv, a null, the environment, a null, then pairs */
	at = regs.rsp + WORD * (unsigned long)(word(pid, regs.rsp) + 2);
	while (word(pid, at))
		at += WORD;
	for (at += WORD; word(pid, at) != AT_NULL; at += 2 * WORD)
		if (word(pid, at) == AT_SYSINFO_EHDR)
			ptrace(PTRACE_POKEDATA, pid, at, AT_IGNORE);
}

int main(int argc, char **argv)
{
	int status;
	pid_t pid = fork();

	if (argc < 2 || pid < 0)
		return 2;
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execvp(argv[1], argv + 1);
		fprintf(stderr, "novdso: %s: %s\n", argv[1], strerror(errno));
		_exit(127);
	}
	if (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
		hide_vdso(pid);
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
		waitpid(pid, &status, 0);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
