/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loads the filters, and says which call it was when one of them ends mote.
 *
 * gen_filter has compiled one program for each kind of thread while mote was
 * built. Two things are known only when it is loaded: which features this run
 * uses, and the number of this process. An action that depends on features is
 * replaced by ALLOW or TRAP, a compare with the process's number gets that
 * number; then what makes no difference any more is left out (shorten.c).
 *
 * A filter answers SECCOMP_RET_TRAP: the call is not made, and SIGSYS comes
 * with its number. The handler puts the terminal back, writes one line, and
 * makes a call that no filter allows; now that the signal has its default
 * action again, and because it is blocked in its own handler, the kernel ends
 * the whole process by it. Whoever has taken mote over cannot set another
 * handler: that would be a call which is not allowed.
 *
 * With --sandbox log the handler names the call, once for each kind of thread,
 * and makes it after all, from the one instruction where the filters let
 * everything pass. What this cannot do: calls in whose midst SIGSYS is blocked
 * (by pthread_exit, say) end mote all the same; and a new thread would start
 * in the handler, so clone fails with ENOSYS.
 *
 * The handler runs in whichever thread made the call and trusts nothing but its
 * registers. Owns SIGSYS.
 */
#include "seccomp/filter.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu/console/tty.h"
#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/filter_table.h" /* made by gen_filter */
#include "seccomp/shorten.h"

#define NAMED_MAX 1024u /* numbers of calls that are remembered */
#define PROLOGUE  7	/* instructions that log mode puts before a program */

_Static_assert(PROGRAM_MAX + PROLOGUE <= FILTER_PROGRAM_ROOM, "it fits");
_Static_assert(PROGRAM_MAX <= SHORTEN_ROOM, "it fits");

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code: asm-generic/siginfo.h */
#endif

static struct sigaction action_before; /* for SIGSYS that somebody sends */
static bool log_only;
static void (*on_kill)(void);

static _Thread_local enum filter_thread own_thread;
static _Thread_local unsigned own_number;

/*
 * filter_gate(number, arguments): any system call, from an instruction that
 * programs for log mode know by what follows it. -errno where it fails.
 */
long filter_gate(long number, const long *args);
extern const char filter_gate_passed[];
__asm__(".pushsection .text.filter_gate,\"ax\",@progbits\n"
	".global filter_gate, filter_gate_passed\n"
	".hidden filter_gate, filter_gate_passed\n"
	"filter_gate:\n"
	"	mov %rdi, %rax\n"
	"	mov (%rsi), %rdi\n"
	"	mov 16(%rsi), %rdx\n"
	"	mov 24(%rsi), %r10\n"
	"	mov 32(%rsi), %r8\n"
	"	mov 40(%rsi), %r9\n"
	"	mov 8(%rsi), %rsi\n"
	"	syscall\n"
	"filter_gate_passed:\n"
	"	ret\n"
	".popsection\n");

static const char *const thread_names[] = {
	[FILTER_LOOP] = "main",	    [FILTER_VCPU] = "vCPU",
	[FILTER_WORKER] = "disk",   [FILTER_LOAD] = "loading",
	[FILTER_BROKER] = "broker", [FILTER_COMMITTER] = "committer",
	[FILTER_WALKER] = "walker",
};

/* -- reports -------------------------------------------------------------- */

struct call {
	long number;
	long args[6];
};

/*
 * Names for what a library may make without having been asked, and for what
 * one tries who has taken a thread over. Of others the number must do.
 */
#define CALL(name)                                                             \
	{                                                                      \
		SYS_##name, #name                                              \
	}
/* clang-format off */
static const struct {
	uint16_t number;
	char name[18];
} call_names[] = {
	CALL(read), CALL(write), CALL(open), CALL(close), CALL(poll),
	CALL(mmap), CALL(mprotect), CALL(rt_sigaction), CALL(rt_sigprocmask),
	CALL(rt_sigreturn), CALL(ioctl), CALL(pread64), CALL(pwrite64),
	CALL(readv), CALL(writev), CALL(mremap), CALL(madvise), CALL(shmat),
	CALL(getpid), CALL(socket), CALL(connect), CALL(sendto),
	CALL(recvfrom), CALL(sendmsg), CALL(recvmsg), CALL(bind),
	CALL(socketpair), CALL(setsockopt), CALL(clone), CALL(fork),
	CALL(vfork), CALL(execve), CALL(kill), CALL(fcntl), CALL(unlink),
	CALL(chmod), CALL(ptrace), CALL(setuid), CALL(prctl), CALL(mount),
	CALL(tkill), CALL(futex), CALL(epoll_ctl), CALL(tgkill), CALL(openat),
	CALL(newfstatat), CALL(unlinkat), CALL(unshare), CALL(accept4),
	CALL(setns), CALL(process_vm_readv), CALL(seccomp), CALL(getrandom),
	CALL(memfd_create), CALL(bpf), CALL(execveat), CALL(userfaultfd),
	CALL(pkey_mprotect), CALL(rseq), CALL(pidfd_send_signal),
	CALL(io_uring_setup), CALL(io_uring_enter), CALL(io_uring_register),
	CALL(clone3), CALL(openat2), CALL(sendmmsg), CALL(recvmmsg),
};
/* clang-format on */

const char *filter_call_name(long number)
{
	for (size_t i = 0; i < ARRAY_LEN(call_names); i++)
		if (call_names[i].number == number)
			return call_names[i].name;
	return "?";
}

static void describe_call(const struct call *call, char *text, size_t room)
{
	char number[12] = "";

	if (own_thread == FILTER_VCPU || own_thread == FILTER_WORKER)
		snprintf(number, sizeof(number), " %u", own_number);
	snprintf(text, room,
		 "thread %s%s, call %ld (%s), arguments 0x%lx 0x%lx 0x%lx",
		 thread_names[own_thread], number, call->number,
		 filter_call_name(call->number), call->args[0], call->args[1],
		 call->args[2]);
}

/* Once for each kind of thread: a loop would fill the screen. */
static bool is_first_of_its_kind(const struct call *call)
{
	static _Atomic uint64_t named[FILTER_THREADS][NAMED_MAX / 64];
	const unsigned n = (unsigned)call->number % NAMED_MAX;
	const uint64_t bit = 1ULL << n % 64;

	return !(atomic_fetch_or(&named[own_thread][n / 64], bit) & bit);
}

static long call_through_gate(const struct call *call)
{
	if (call->number == SYS_clone || call->number == SYS_clone3 ||
	    call->number == SYS_vfork)
		return -ENOSYS;
	return filter_gate(call->number, call->args);
}

static void handle_sigsys(int number, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	const struct call call = {
		.number = info->si_syscall,
		.args = { regs[REG_RDI], regs[REG_RSI], regs[REG_RDX],
			  regs[REG_R10], regs[REG_R8], regs[REG_R9] },
	};
	const int saved = errno;
	char text[160];

	if (info->si_code != SYS_SECCOMP) {
		action_before.sa_handler(number);
		return;
	}
	describe_call(&call, text, sizeof(text));
	if (log_only) {
		if (is_first_of_its_kind(&call))
			log_warn("the filter would end mote: %s", text);
		regs[REG_RAX] = call_through_gate(&call);
		errno = saved;
		return;
	}
	tty_restore();
	log_error("killed by its own filter: %s; please report it", text);
	on_kill();
	syscall(SYS_execve, NULL, NULL, NULL);
	_exit(128 + SIGSYS); /* not reached: there is no filter without it */
}

/* -- programs ------------------------------------------------------------- */

static struct sock_filter
resolve_instruction(struct sock_filter code, enum filter_thread thread,
		    const struct filter_options *options)
{
	if (code.code == (BPF_JMP | BPF_JEQ | BPF_K)) {
		if (code.k == PROGRAM_SELF)
			code.k = (uint32_t)getpid();
		else if (code.k == PROGRAM_BROKER)
			code.k = (uint32_t)options->broker_fd;
		else if (code.k == PROGRAM_COMMITTER)
			code.k = (uint32_t)options->committer_fd;
	}
	if (code.code == (BPF_RET | BPF_K) &&
	    (code.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE)
		code.k = program_allows(thread, code.k & SECCOMP_RET_DATA,
					options->features)
				 ? SECCOMP_RET_ALLOW
				 : SECCOMP_RET_TRAP;
	return code;
}

/* Calls from the gate, and the return from a signal handler, pass. */
static void make_log_prologue(struct sock_filter *to, const void *gate)
{
	const uint64_t at = (uintptr_t)gate;
	const uint32_t ip = offsetof(struct seccomp_data, instruction_pointer);
	const struct sock_filter code[PROLOGUE] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 4, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)at, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ip + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(at >> 32), 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	memcpy(to, code, sizeof(code));
}

unsigned filter_program(enum filter_thread thread,
			const struct filter_options *options, const void *gate,
			struct sock_filter *to)
{
	const unsigned before = options->log ? PROLOGUE : 0;
	const unsigned count = programs[thread].count;

	if (options->log)
		make_log_prologue(to, gate);
	for (unsigned i = 0; i < count; i++)
		to[before + i] = resolve_instruction(programs[thread].code[i],
						     thread, options);
	return before + shorten_program(to + before, count);
}

static unsigned count_rules(enum filter_thread thread, unsigned features)
{
	unsigned count = 0;

	for (unsigned i = 0; i < RULES; i++)
		count += rules[i].threads >> thread & 1 &&
			 (!rules[i].features || rules[i].features & features);
	return count;
}

/* -- loading -------------------------------------------------------------- */

int filter_prepare(bool log, void (*killed)(void))
{
	/*
	 * A second call that traps, from the handler or from another thread,
	 * finds the default action; or, in log mode, the handler again.
	 */
	const struct sigaction action = {
		.sa_sigaction = handle_sigsys,
		.sa_flags = SA_SIGINFO | (int)(log ? SA_NODEFER : SA_RESETHAND),
	};

	log_only = log;
	on_kill = killed;
	return sigaction(SIGSYS, &action, &action_before)
		       ? log_errno("sigaction")
		       : 0;
}

#ifdef __GLIBC__
/* build/debug/mote: the policy is about musl's calls, not about ASan's. */
static const bool is_glibc = true;
#else
static const bool is_glibc = false;
#endif

static int load_program(const struct sock_fprog *program)
{
	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, program))
		return 0;
	log_error("seccomp: %s: this host's kernel cannot filter system calls; "
		  "--sandbox off runs without",
		  strerror(errno));
	return -errno;
}

int filter_load(enum filter_thread thread, unsigned number,
		const struct filter_options *options)
{
	struct sock_filter code[FILTER_PROGRAM_ROOM];
	const struct sock_fprog program = {
		.len = (unsigned short)filter_program(thread, options,
						      filter_gate_passed, code),
		.filter = code,
	};
	int error = 0;

	own_thread = thread;
	own_number = number;
	if (!is_glibc)
		error = load_program(&program);
	/* Processes beside mote's have no way to say so. */
	if (!error && !number && thread < FILTER_BROKER)
		log_info("sandbox: %s thread: %s%u rules for system calls",
			 thread_names[thread],
			 is_glibc ? "this build cannot hold its " : "",
			 count_rules(thread, options->features));
	return error;
}
