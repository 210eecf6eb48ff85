/* SPDX-License-Identifier: Apache-2.0 */
/* uses: seccomp/filter.c seccomp/shorten.c seccomp/policy.c mem/log.c */
/*
 * The filter programs: for every call, with arguments that a row names and with
 * such that differ from them in one bit, for every single feature, none and
 * all of them, a program answers as the policy says. The programs are run by
 * an interpreter of the classic BPF that seccomp has
 * (Documentation/networking/filter.rst, userspace-api/seccomp_filter.rst).
 */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/io_uring.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/console/tty.h"
#include "cpu/loop/broker.h"
#include "cpu/loop/committer.h"
#include "cpu/loop/helper.h"
#include "cpu/loop/thread.h"
#include "mem/util.h"
#include "seccomp/policy.h"

#define CALLS	 600
#define FEATURES 32
#define NATIVE	 AUDIT_ARCH_X86_64

#define BROKER_FD    17 /* of mote's, as filters are told */
#define COMMITTER_FD 18

/* In place of cpu/console/tty.c: a call that traps is none of these tests'. */
void tty_restore(void)
{
}

static char gate[1]; /* an address that nothing else has */

static struct sock_filter code[FILTER_PROGRAM_ROOM];
static unsigned count, steps;

static void make(enum filter_thread thread, unsigned features, bool log)
{
	const struct filter_options options = { features, log, BROKER_FD,
						COMMITTER_FD };

	count = filter_program(thread, &options, gate, code);
	assert_in_range(count, 1, FILTER_PROGRAM_ROOM);
}

static uint32_t run(const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (unsigned pc = 0; pc < count; pc++) {
		const struct sock_filter *i = &code[pc];

		steps++;
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k + sizeof(a) <= sizeof(*data));
			memcpy(&a, (const char *)data + i->k, sizeof(a));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction %u is 0x%x", pc, i->code);
		}
	}
	fail_msg("a program that does not end");
	return 0;
}

static uint64_t value_of(const struct policy_arg *arg)
{
	if (arg->value == POLICY_BROKER)
		return BROKER_FD;
	if (arg->value == POLICY_COMMITTER)
		return COMMITTER_FD;
	return arg->value == POLICY_SELF ? (uint32_t)getpid() : arg->value;
}

static bool matches(const struct policy_rule *rule,
		    const struct seccomp_data *data)
{
	for (unsigned i = 0; i < POLICY_ARGS; i++) {
		const struct policy_arg *arg = &rule->arg[i];

		if (arg->used &&
		    (data->args[arg->index] & arg->mask) != value_of(arg))
			return false;
	}
	return rule->call == data->nr;
}

/* What the table says. */
static uint32_t wanted(unsigned thread, unsigned features,
		       const struct seccomp_data *data)
{
	for (size_t i = 0; i < policy_count; i++) {
		const struct policy_rule *rule = &policy_rules[i];

		if (rule->threads >> thread & 1 &&
		    (!rule->features || rule->features & features) &&
		    matches(rule, data))
			return SECCOMP_RET_ALLOW;
	}
	return SECCOMP_RET_TRAP;
}

static void check(unsigned thread, unsigned features,
		  const struct seccomp_data *data)
{
	const uint32_t got = run(data);

	if (got != wanted(thread, features, data))
		fail_msg("thread %u, features 0x%x, call %d (0x%llx, 0x%llx, "
			 "0x%llx, 0x%llx): 0x%x",
			 thread, features, data->nr,
			 (unsigned long long)data->args[0],
			 (unsigned long long)data->args[1],
			 (unsigned long long)data->args[2],
			 (unsigned long long)data->args[3], got);
}

/* As the row has it, and with each bit of each argument changed. */
static void check_row(unsigned thread, unsigned features,
		      const struct policy_rule *rule)
{
	struct seccomp_data data = { .nr = rule->call, .arch = NATIVE };

	for (unsigned i = 0; i < POLICY_ARGS; i++)
		if (rule->arg[i].used)
			data.args[rule->arg[i].index] = value_of(&rule->arg[i]);
	check(thread, features, &data);
	for (unsigned i = 0; i < ARRAY_LEN(data.args); i++)
		for (unsigned bit = 0; bit < 64; bit++) {
			data.args[i] ^= 1ULL << bit;
			check(thread, features, &data);
			data.args[i] ^= 1ULL << bit;
		}
}

static void check_all(unsigned thread, unsigned features)
{
	make(thread, features, false);
	for (int call = -1; call < CALLS; call++) {
		struct seccomp_data data = { .nr = call, .arch = NATIVE };

		check(thread, features, &data);
		memset(data.args, 0xff, sizeof(data.args));
		check(thread, features, &data);
	}
	for (size_t i = 0; i < policy_count; i++)
		check_row(thread, features, &policy_rules[i]);
}

static void test_policy(void **state)
{
	(void)state;
	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		check_all(t, 0);
		check_all(t, UINT32_MAX);
		for (unsigned f = 0; f < FEATURES; f++) {
			check_all(t, 1u << f);
			check_all(t, UINT32_MAX & ~(1u << f));
		}
	}
}

/* Other architectures have other numbers: i386's write is our stat. */
static void test_foreign(void **state)
{
	(void)state;
	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		make(t, UINT32_MAX, false);
		for (int call = 0; call < CALLS; call++) {
			struct seccomp_data data = { .nr = call,
						     .arch = AUDIT_ARCH_I386 };

			assert_int_equal(run(&data), SECCOMP_RET_TRAP);
			data.arch = NATIVE;
			data.nr |= 0x40000000; /* x32 */
			assert_int_equal(run(&data), SECCOMP_RET_TRAP);
		}
	}
}

static void test_log(void **state)
{
	struct seccomp_data data = { .nr = SYS_execve, .arch = NATIVE };

	(void)state;
	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		make(t, 0, true);
		data.nr = SYS_execve;
		data.instruction_pointer = (uintptr_t)gate;
		assert_int_equal(run(&data), SECCOMP_RET_ALLOW);
		data.instruction_pointer ^= 1ULL << 40;
		assert_int_equal(run(&data), SECCOMP_RET_TRAP);
		data.instruction_pointer ^= 1ULL << 40 | 1;
		assert_int_equal(run(&data), SECCOMP_RET_TRAP);
		data.nr = SYS_rt_sigreturn;
		assert_int_equal(run(&data), SECCOMP_RET_ALLOW);
		data.nr = SYS_exit_group;
		assert_int_equal(run(&data), SECCOMP_RET_ALLOW);
		make(t, 0, false);
		data.nr = SYS_execve;
		data.instruction_pointer = (uintptr_t)gate;
		assert_int_equal(run(&data), SECCOMP_RET_TRAP);
	}
}

static bool may_at(long call, uint64_t first, uint64_t second, uint64_t third)
{
	const struct seccomp_data data = {
		.nr = (int)call,
		.arch = NATIVE,
		.args = { first, second, third,
			  call == SYS_openat ? COMMITTER_MODE : 0 },
	};

	return run(&data) == SECCOMP_RET_ALLOW;
}

/*
 * Not by the policy, which might be wrong: mote has no way to connect to
 * anything, nor to remove a file, whatever it was told to do.
 */
static void test_connections(void **state)
{
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

	(void)state;
	for (unsigned t = 0; t < FILTER_BROKER; t++) {
		make((enum filter_thread)t, UINT32_MAX, false);
		assert_false(may_at(SYS_connect, 3, 0, 0));
		assert_false(may_at(SYS_connect, 3, BROKER_ADDRESS,
				    sizeof(struct sockaddr_un)));
		for (uint64_t family = 0; family < 64; family++)
			assert_false(may_at(SYS_socket, family, type, 0));
		assert_false(
			may_at(SYS_unlinkat, BROKER_DIR, BROKER_NAME(0), 0));
		assert_false(may_at(SYS_unlinkat, COMMITTER_DIR,
				    COMMITTER_TEMPORARY, 0));
		assert_false(may_at(SYS_renameat, COMMITTER_DIR,
				    COMMITTER_TEMPORARY, COMMITTER_DIR));
		assert_false(may_at(SYS_openat, COMMITTER_DIR,
				    COMMITTER_TEMPORARY, COMMITTER_FLAGS));
	}
}

/*
 * The broker can for a guest that reaches others, by one address; and removes
 * two names, and nothing for one that has no socket.
 */
static void test_broker(void **state)
{
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
	const uint64_t len = sizeof(struct sockaddr_un);

	(void)state;
	for (unsigned f = 0; f < FEATURES; f++) {
		const bool dials = 1u << f == FEATURE_VSOCK_DIAL;
		const bool file = 1u << f == FEATURE_SOCKET_FILE;

		make(FILTER_BROKER, 1u << f, false);
		assert_int_equal(may_at(SYS_connect, 3, BROKER_ADDRESS, len),
				 dials);
		assert_int_equal(may_at(SYS_socket, AF_UNIX, type, 0), dials);
		assert_int_equal(
			may_at(SYS_unlinkat, BROKER_DIR, BROKER_NAME(0), 0),
			file);
	}
	make(FILTER_BROKER, UINT32_MAX, false);
	for (uint64_t family = 0; family < 64; family++)
		assert_int_equal(may_at(SYS_socket, family, type, 0),
				 family == AF_UNIX);
	assert_false(may_at(SYS_socket, AF_UNIX, SOCK_DGRAM, 0));
	for (unsigned bit = 0; bit < 64; bit++) {
		assert_false(may_at(SYS_connect, 3,
				    BROKER_ADDRESS ^ 1ULL << bit, len));
		assert_false(may_at(SYS_unlinkat, BROKER_DIR,
				    BROKER_NAME(0) ^ 1ULL << bit, 0) &&
			     bit != 7); /* BROKER_NAME(1) */
	}
	assert_false(may_at(SYS_connect, 3, BROKER_ADDRESS, len - 1));
	assert_false(may_at(SYS_unlinkat, BROKER_DIR, BROKER_NAME(1), 0));
	assert_false(may_at(SYS_unlinkat, BROKER_DIR + 1, BROKER_NAME(0), 0));
	assert_true(may_at(SYS_unlinkat, BROKER_DIR + 1, BROKER_NAME(1), 0));
}

/* A walker opens for reading, and writes to mote only. */
static void test_walker(void **state)
{
	const uint64_t flags = O_RDONLY | O_NOFOLLOW | O_CLOEXEC;
	static const int others[] = { SYS_write,
				      SYS_sendmsg,
				      SYS_mkdirat,
				      SYS_unlinkat,
				      SYS_connect,
				      SYS_socket,
				      SYS_open_by_handle_at,
				      SYS_chroot,
				      SYS_ptrace,
				      SYS_execve,
				      SYS_open };

	(void)state;
	make(FILTER_WALKER, UINT32_MAX, false);
	assert_true(may_at(SYS_openat, 7, 1, flags));
	assert_false(may_at(SYS_openat, 7, 1, flags | O_WRONLY));
	assert_false(may_at(SYS_openat, 7, 1, flags | O_RDWR));
	assert_false(may_at(SYS_openat, 7, 1, flags | O_CREAT));
	assert_false(may_at(SYS_openat, 7, 1, flags | O_TRUNC));
	assert_false(may_at(SYS_openat, 7, 1, flags | O_TMPFILE));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(may_at(others[i], HELPER_CHANNEL, 0, 0));
	/* One that has a file only opens no other. */
	make(FILTER_WALKER, UINT32_MAX & ~FEATURE_TREE, false);
	assert_true(may_at(SYS_read, 3, 0, 0));
	assert_false(may_at(SYS_openat, 7, 1, flags));
}

/* The committer knows two names, whatever else a run uses, and opens new files
 * only. */
static void test_committer(void **state)
{
	struct seccomp_data rename = {
		.nr = SYS_renameat,
		.arch = NATIVE,
		.args = { COMMITTER_DIR, COMMITTER_TEMPORARY, COMMITTER_DIR,
			  COMMITTER_NAME },
	};
	struct seccomp_data open = {
		.nr = SYS_openat,
		.arch = NATIVE,
		.args = { COMMITTER_DIR, COMMITTER_TEMPORARY, COMMITTER_FLAGS },
	};

	(void)state;
	make(FILTER_COMMITTER, UINT32_MAX, false);
	assert_int_equal(run(&rename), SECCOMP_RET_ALLOW);
	for (unsigned bit = 0; bit < 64; bit++) {
		rename.args[1] ^= 1ULL << bit;
		assert_int_equal(run(&rename), SECCOMP_RET_TRAP);
		rename.args[1] ^= 1ULL << bit;
		rename.args[3] ^= 1ULL << bit;
		assert_int_equal(run(&rename), SECCOMP_RET_TRAP);
		rename.args[3] ^= 1ULL << bit;
		assert_false(may_at(SYS_unlinkat, COMMITTER_DIR,
				    COMMITTER_TEMPORARY ^ 1ULL << bit, 0));
		assert_false(may_at(SYS_openat, COMMITTER_DIR,
				    COMMITTER_TEMPORARY ^ 1ULL << bit,
				    COMMITTER_FLAGS));
	}
	/* In its directory, not where it stands. */
	for (unsigned i = 0; i <= 2; i += 2) {
		rename.args[i] = (uint32_t)AT_FDCWD;
		assert_int_equal(run(&rename), SECCOMP_RET_TRAP);
		rename.args[i] = COMMITTER_DIR;
	}
	assert_false(may_at(SYS_unlinkat, (uint32_t)AT_FDCWD,
			    COMMITTER_TEMPORARY, 0));
	assert_false(may_at(SYS_openat, (uint32_t)AT_FDCWD, COMMITTER_TEMPORARY,
			    COMMITTER_FLAGS));
	/* And for its owner alone. */
	for (open.args[3] = 0; open.args[3] <= 07777; open.args[3]++)
		assert_int_equal(run(&open), open.args[3] == 0600
						     ? SECCOMP_RET_ALLOW
						     : SECCOMP_RET_TRAP);
	assert_true(
		may_at(SYS_unlinkat, COMMITTER_DIR, COMMITTER_TEMPORARY, 0));
	assert_false(may_at(SYS_unlinkat, COMMITTER_DIR, COMMITTER_TEMPORARY,
			    AT_REMOVEDIR));
	for (unsigned bit = 0; bit < 32; bit++)
		assert_int_equal(may_at(SYS_openat, COMMITTER_DIR,
					COMMITTER_TEMPORARY,
					COMMITTER_FLAGS ^ 1u << bit),
				 1u << bit == COMMITTER_LARGEFILE);
	assert_false(may_at(SYS_read, COMMITTER_FILE, 0, 0));
	assert_false(may_at(SYS_sendmsg, COMMITTER_FILE, 0, 0));
	assert_false(may_at(SYS_write, COMMITTER_FILE, 0, 0));
}

/* Who learns has it read the file that it replaces; others have not. */
static void test_committer_looks(void **state)
{
	(void)state;
	for (unsigned f = 0; f < FEATURES; f++) {
		const bool learns = 1u << f == FEATURE_LEARN;

		make(FILTER_COMMITTER, 1u << f, false);
		assert_int_equal(may_at(SYS_openat, COMMITTER_DIR,
					COMMITTER_NAME, COMMITTER_LOOK),
				 learns);
		assert_int_equal(may_at(SYS_pread64, 4, 0, 0), learns);
		assert_false(may_at(SYS_openat, COMMITTER_DIR,
				    COMMITTER_TEMPORARY, COMMITTER_LOOK));
		assert_false(may_at(SYS_openat, COMMITTER_DIR, COMMITTER_NAME,
				    COMMITTER_LOOK | O_WRONLY));
		assert_false(may_at(SYS_openat, COMMITTER_DIR, COMMITTER_NAME,
				    COMMITTER_FLAGS));
	}
}

/* What would undo it all is not there from the first filter on. */
static void test_never(void **state)
{
	static const int never[] = {
		SYS_open,   SYS_openat, SYS_execve,	SYS_execveat,
		SYS_ptrace, SYS_fork,	SYS_vfork,	SYS_unshare,
		SYS_setns,  SYS_kill,	SYS_unlinkat,	SYS_bpf,
		SYS_socket, SYS_mount,	SYS_socketpair, SYS_userfaultfd,
	};

	(void)state;
	make(FILTER_LOAD, UINT32_MAX, false);
	for (unsigned i = 0; i < ARRAY_LEN(never); i++)
		assert_false(may_at(never[i], 0, 0, 0));
	assert_false(may_at(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC));
	assert_false(may_at(SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC));
	assert_false(may_at(SYS_clone, SIGCHLD, 0, 0));
	assert_false(may_at(SYS_clone, CLONE_VM | CLONE_NEWUSER, 0, 0));
	assert_false(may_at(SYS_ioctl, 3, TIOCSTI, 0));
	make(FILTER_LOAD, UINT32_MAX & ~FEATURE_URING, false);
	assert_false(may_at(SYS_io_uring_setup, 0, 0, 0));
}

/*
 * Not by the policy either: these are the arguments by which calls are told
 * apart, one bit of which makes another call of them. No other argument counts.
 */
static void test_arguments(void **state)
{
	static const struct {
		enum filter_thread thread;
		int call;
		unsigned named; /* bits of arguments that count */
		uint32_t args[6];
	} rows[] = {
		{ FILTER_VCPU, SYS_ioctl, 2, { 0, KVM_RUN } },
		{ FILTER_VCPU, SYS_ioctl, 2, { 0, KVM_KVMCLOCK_CTRL } },
		{ FILTER_VCPU, SYS_ioctl, 2, { 0, (uint32_t)KVM_GET_REGS } },
		{ FILTER_WORKER, SYS_ioctl, 2, { 0, BLKDISCARD } },
		{ FILTER_LOOP, SYS_ioctl, 2, { 0, TIOCGPGRP } },
		{ FILTER_LOOP, SYS_ioctl, 2, { 0, TCSETS } },
		{ FILTER_LOOP, SYS_ioctl, 2, { 0, TUNSETOFFLOAD } },
		{ FILTER_LOOP, SYS_tgkill, 5, { POLICY_SELF, 0, SIGSTOP } },
		{ FILTER_LOOP, SYS_sendto, 32, { 0 } },
		{ FILTER_LOOP, SYS_fcntl, 2, { 0, F_DUPFD_CLOEXEC } },
		{ FILTER_LOOP, SYS_fcntl, 6, { 0, F_SETFD, FD_CLOEXEC } },
		{ FILTER_LOOP, SYS_madvise, 4, { 0, 0, MADV_DONTNEED } },
		{ FILTER_LOOP, SYS_ftruncate, 2, { 0 } },
		{ FILTER_LOOP, SYS_recvmsg, 1, { BROKER_FD } },
		{ FILTER_LOOP, SYS_recvmsg, 1, { COMMITTER_FD } },
		{ FILTER_LOOP, SYS_ioctl, 2, { 0, (uint32_t)KVM_GET_SREGS } },
		{ FILTER_LOOP, SYS_ioctl, 2, { 0, (uint32_t)KVM_GET_MSRS } },
		{ FILTER_COMMITTER, SYS_read, 1, { COMMITTER_CHANNEL } },
		{ FILTER_COMMITTER, SYS_sendmsg, 1, { COMMITTER_CHANNEL } },
		{ FILTER_WALKER, SYS_writev, 1, { HELPER_CHANNEL } },
		{ FILTER_LOOP,
		  SYS_setsockopt,
		  6,
		  { 0, SOL_SOCKET, SO_SNDBUF } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct seccomp_data data = { .nr = rows[i].call,
					     .arch = NATIVE };

		make(rows[i].thread, UINT32_MAX, false);
		for (unsigned a = 0; a < 6; a++)
			data.args[a] = rows[i].named >> a & 1 ? rows[i].args[a]
							      : UINT64_MAX;
		if (rows[i].args[0] == POLICY_SELF)
			data.args[0] = (uint64_t)getpid();
		if (run(&data) != SECCOMP_RET_ALLOW)
			fail_msg("row %zu is not allowed", i);
		for (unsigned bit = 0; bit < 6 * 32; bit++) {
			if (!(rows[i].named >> bit / 32 & 1))
				continue;
			data.args[bit / 32] ^= 1ULL << bit % 32;
			if (run(&data) != SECCOMP_RET_TRAP)
				fail_msg("row %zu with bit %u of argument %u",
					 i, bit % 32, bit / 32);
			data.args[bit / 32] ^= 1ULL << bit % 32;
		}
	}
}

/* Of io_uring_enter's flags one may be set, whatever else is asked for. */
static void test_ring_flags(void **state)
{
	struct seccomp_data data = {
		.nr = SYS_io_uring_enter,
		.arch = NATIVE,
		.args = { 7, 8, 9, 0, UINT64_MAX, UINT64_MAX },
	};

	(void)state;
	make(FILTER_LOOP, FEATURE_URING, false);
	assert_int_equal(run(&data), SECCOMP_RET_ALLOW);
	for (unsigned bit = 0; bit < 32; bit++) {
		data.args[3] = 1u << bit;
		assert_int_equal(run(&data),
				 data.args[3] == IORING_ENTER_GETEVENTS
					 ? SECCOMP_RET_ALLOW
					 : SECCOMP_RET_TRAP);
	}
}

/* What a run does not use takes no instruction of its filters. */
static void test_short(void **state)
{
	unsigned all;

	(void)state;
	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		make((enum filter_thread)t, UINT32_MAX, false);
		all = count;
		make((enum filter_thread)t, 0, false);
		/* All that it does is always the same. */
		if (t == FILTER_COMMITTER) {
			/* And what is learned is little of it. */
			assert_in_range(count, all, 60);
			continue;
		}
		assert_in_range(count, 1, t == FILTER_VCPU ? all : all - 1);
		assert_in_range(count, 1, t == FILTER_LOAD ? 100 : 30);
	}
}

/* The count of calls that some run of mote may make: the README has it. */
static void test_vcpu_has_few(void **state)
{
	unsigned calls = 0;

	(void)state;
	for (int call = 0; call < CALLS; call++) {
		bool any = false;

		for (size_t i = 0; i < policy_count; i++)
			any |= policy_rules[i].call == call &&
			       policy_rules[i].threads >> FILTER_VCPU & 1;
		calls += any;
	}
	assert_in_range(calls, 1, 9);
}

/* The kernel tries each number on the first filter that is loaded. */
static void test_few_steps(void **state)
{
	struct seccomp_data data = { .arch = NATIVE };

	(void)state;
	make(FILTER_LOAD, 0, false);
	steps = 0;
	for (data.nr = 0; data.nr < CALLS; data.nr++)
		run(&data);
	assert_in_range(steps / CALLS, 4, 8);
	/* Those of the x32 ABI are refused as what is unknown. */
	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		make((enum filter_thread)t, 0, false);
		for (unsigned i = 0; i < count; i++)
			assert_int_not_equal(code[i].k, 0x40000000);
	}
}

static void test_names(void **state)
{
	static const struct {
		long number;
		const char *name;
	} known[] = {
		{ SYS_read, "read" },
		{ SYS_execve, "execve" },
		{ SYS_pread64, "pread64" },
		{ SYS_rt_sigreturn, "rt_sigreturn" },
		{ 334, "rseq" },
		{ 424, "pidfd_send_signal" },
		{ 335, "?" },
		{ 423, "?" },
		{ -1, "?" },
		{ 4095, "?" },
		{ 1L << 40, "?" },
		{ 0x40000001, "?" },
		{ 437, "openat2" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		assert_string_equal(filter_call_name(known[i].number),
				    known[i].name);
	/* There is a last one, and none beyond. */
	assert_string_equal(filter_call_name(CALLS), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_log),
		cmocka_unit_test(test_connections),
		cmocka_unit_test(test_broker),
		cmocka_unit_test(test_committer),
		cmocka_unit_test(test_committer_looks),
		cmocka_unit_test(test_walker),
		cmocka_unit_test(test_never),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_ring_flags),
		cmocka_unit_test(test_short),
		cmocka_unit_test(test_few_steps),
		cmocka_unit_test(test_vcpu_has_few),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
