/*
 * Loads the filters, and says which call it was when one of them ends mote.
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
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu/console/tty.h"
#include "mem/log.h"
#include "mem/util.h"
#include "seccomp/program.h"

#define NAMED_MAX 1024u /* numbers of calls that are remembered */

#ifndef SYS_SECCOMP
#define SYS_SECCOMP 1 /* si_code: asm-generic/siginfo.h */
#endif

static struct sigaction before; /* for SIGSYS that somebody sends */
static bool logging;
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
	[FILTER_LOOP] = "main",
	[FILTER_VCPU] = "vCPU",
	[FILTER_WORKER] = "disk",
};

/* -- reports -------------------------------------------------------------- */

struct call {
	long number;
	long args[6];
};

static void describe(const struct call *call, char *text, size_t room)
{
	char name[PROGRAM_NAME_ROOM], number[12] = "";

	program_call_name(call->number, name);
	if (own_thread != FILTER_LOOP)
		snprintf(number, sizeof(number), " %u", own_number);
	snprintf(text, room,
		 "thread %s%s, call %ld (%s), arguments 0x%lx 0x%lx 0x%lx",
		 thread_names[own_thread], number, call->number, name,
		 call->args[0], call->args[1], call->args[2]);
}

/* Once for each kind of thread: a loop would fill the screen. */
static bool is_new(const struct call *call)
{
	static _Atomic uint64_t named[FILTER_THREADS][NAMED_MAX / 64];
	const unsigned n = (unsigned)call->number % NAMED_MAX;
	const uint64_t bit = 1ULL << n % 64;

	return !(atomic_fetch_or(&named[own_thread][n / 64], bit) & bit);
}

static long let_pass(const struct call *call)
{
	if (call->number == SYS_clone || call->number == SYS_clone3 ||
	    call->number == SYS_vfork)
		return -ENOSYS;
	return filter_gate(call->number, call->args);
}

static void on_trap(int number, siginfo_t *info, void *context)
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
		before.sa_handler(number);
		return;
	}
	describe(&call, text, sizeof(text));
	if (logging) {
		if (is_new(&call))
			log_warn("the filter would end mote: %s", text);
		regs[REG_RAX] = let_pass(&call);
		errno = saved;
		return;
	}
	tty_restore();
	log_error("killed by its own filter: %s; please report it", text);
	on_kill();
	syscall(SYS_execve, NULL, NULL, NULL);
	_exit(128 + SIGSYS); /* not reached: there is no filter without it */
}

/* -- loading -------------------------------------------------------------- */

int filter_prepare(bool log, void (*killed)(void))
{
	/*
	 * A second call that traps, from the handler or from another thread,
	 * finds the default action; or, in log mode, the handler again.
	 */
	const struct sigaction action = {
		.sa_sigaction = on_trap,
		.sa_flags = SA_SIGINFO | (int)(log ? SA_NODEFER : SA_RESETHAND),
	};

	logging = log;
	on_kill = killed;
	return sigaction(SIGSYS, &action, &before) ? log_errno("sigaction") : 0;
}

#ifdef __GLIBC__
/* build/debug/mote: the policy is about musl's calls, not about ASan's. */
static const bool is_foreign = true;
#else
static const bool is_foreign = false;
#endif

static int load(const struct sock_fprog *program)
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
	struct sock_filter code[PROGRAM_ROOM];
	const struct sock_fprog program = {
		.len = (unsigned short)program_make(thread, options,
						    filter_gate_passed, code),
		.filter = code,
	};
	int error = 0;

	own_thread = thread;
	own_number = number;
	if (!is_foreign)
		error = load(&program);
	if (!error && !number)
		log_info("sandbox: %s thread: %s%u rules for system calls",
			 thread_names[thread],
			 is_foreign ? "this build cannot hold its " : "",
			 program_rules(thread, options->features));
	return error;
}
