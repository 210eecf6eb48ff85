/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has a thread of a running program make one system call, as if somebody had
 * taken the program over:
 *
 *	inject TID NUMBER [ARGUMENT...]
 *
 * The thread is stopped in the call that it is in; its registers are set to
 * another one, at the same instruction. Prints `returned N` where the call was
 * made; `trapped` where a filter answered with SIGSYS, which the thread is
 * given, and the thread ended of it; or `trapped, returned N` where its handler
 * came back with that. It then goes on with what it was at.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SYSCALL_INSTRUCTION 0x050f
#define SYSCALL_STOP	    (SIGTRAP | 0x80)
#define TRIES		    200

static pid_t tid;

static void fail(const char *what)
{
	fprintf(stderr, "inject: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* The signal that it stopped for; 0 where it is gone. */
static int await_stop(void)
{
	int status;

	if (waitpid(tid, &status, __WALL) < 0)
		fail("waitpid");
	if (WIFSTOPPED(status))
		return WSTOPSIG(status);
	return 0;
}

static void get_regs(struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_GETREGS, tid, NULL, regs))
		fail("PTRACE_GETREGS");
}

static void set_regs(const struct user_regs_struct *regs)
{
	if (ptrace(PTRACE_SETREGS, tid, NULL, regs))
		fail("PTRACE_SETREGS");
}

/* Stops it in a system call: one that has just been interrupted. */
static void stop_in_call(struct user_regs_struct *regs)
{
	const struct timespec pause = { 0, 5000000 };

	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD))
		fail("PTRACE_SEIZE");
	for (int i = 0; i < TRIES; i++) {
		if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL))
			fail("PTRACE_INTERRUPT");
		if (!await_stop()) {
			puts("gone");
			exit(1);
		}
		get_regs(regs);
		if ((long)regs->orig_rax >= 0 &&
		    (ptrace(PTRACE_PEEKTEXT, tid, regs->rip - 2, NULL) &
		     0xffff) == SYSCALL_INSTRUCTION)
			return;
		ptrace(PTRACE_CONT, tid, NULL, NULL);
		nanosleep(&pause, NULL);
	}
	fprintf(stderr, "inject: it is in no system call\n");
	exit(2);
}

/* A filter skips the call; what it answered with comes after that. */
static int is_trapped(void)
{
	struct __ptrace_peeksiginfo_args which = { .nr = 1 };
	siginfo_t info;

	return ptrace(PTRACE_PEEKSIGINFO, tid, &which, &info) == 1 &&
	       info.si_signo == SIGSYS;
}

/* After the call: what was interrupted is made again, or fails with EINTR. */
static void resume(struct user_regs_struct regs)
{
	const long result = (long)regs.rax;

	if (result <= -512 && result >= -516) {
		regs.rax = regs.orig_rax;
		regs.rip -= 2;
	}
	regs.orig_rax = (unsigned long long)-1;
	set_regs(&regs);
	ptrace(PTRACE_DETACH, tid, NULL, NULL);
}

/*
 * On through the handler, until rt_sigreturn has brought the thread back to
 * where it was: then it is in no call. (The same instruction serves others.)
 */
static void follow_handler(const struct user_regs_struct *before)
{
	struct user_regs_struct regs;
	int stop = SYSCALL_STOP;

	do {
		ptrace(PTRACE_SYSCALL, tid, NULL,
		       (long)(stop == SYSCALL_STOP ? 0 : stop));
		stop = await_stop();
		if (!stop) {
			puts("trapped");
			return;
		}
		get_regs(&regs);
	} while (stop != SYSCALL_STOP || regs.rip != before->rip ||
		 (long)regs.orig_rax >= 0);
	printf("trapped, returned %lld\n", (long long)regs.rax);
	resume(*before);
}

int main(int argc, char **argv)
{
	unsigned long long value[7] = { 0 };
	struct user_regs_struct before, regs;
	int stop = 0;

	if (argc < 3 || argc > 9) {
		fprintf(stderr, "usage: inject TID NUMBER [ARGUMENT...]\n");
		return 2;
	}
	tid = (pid_t)atol(argv[1]);
	for (int i = 2; i < argc; i++)
		value[i - 2] = argv[i][0] == '-'
				       ? (unsigned long long)atoll(argv[i])
				       : strtoull(argv[i], NULL, 0);
	stop_in_call(&before);
	regs = before;
	regs.rip -= 2;
	regs.orig_rax = (unsigned long long)-1;
	regs.rax = value[0];
	regs.rdi = value[1];
	regs.rsi = value[2];
	regs.rdx = value[3];
	regs.r10 = value[4];
	regs.r8 = value[5];
	regs.r9 = value[6];
	set_regs(&regs);
	/* Into the call, and out of it. */
	for (int i = 0; i < 2 && (!i || stop == SYSCALL_STOP); i++) {
		if (ptrace(PTRACE_SYSCALL, tid, NULL, NULL))
			fail("PTRACE_SYSCALL");
		stop = await_stop();
	}
	if (stop == SYSCALL_STOP && is_trapped()) {
		follow_handler(&before);
	} else if (stop == SYSCALL_STOP) {
		get_regs(&regs);
		printf("returned %lld\n", (long long)regs.rax);
		resume(before);
	} else {
		puts(stop ? strsignal(stop) : "gone");
		ptrace(PTRACE_DETACH, tid, NULL, (long)stop);
	}
	return 0;
}
