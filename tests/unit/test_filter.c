/* SPDX-License-Identifier: Apache-2.0 */
/* uses: seccomp/filter.c seccomp/policy.c mem/log.c */
/*
 * The filter programs: for every call, with arguments that a row names and with
 * such that differ from them in one bit, for every single feature, none and
 * all of them, a program answers as the policy says. The programs are run by
 * an interpreter of the classic BPF that seccomp has
 * (Documentation/networking/filter.rst, userspace-api/seccomp_filter.rst).
 */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "cpu/console/tty.h"
#include "cpu/loop/thread.h"
#include "mem/util.h"
#include "seccomp/policy.h"

#define CALLS	 600
#define FEATURES 32
#define NATIVE	 AUDIT_ARCH_X86_64

/* In place of cpu/console/tty.c: a call that traps is none of these tests'. */
void tty_restore(void)
{
}

static char gate[1]; /* an address that nothing else has */

static struct sock_filter code[FILTER_PROGRAM_ROOM];
static unsigned count;

static void make(enum filter_thread thread, unsigned features, bool log)
{
	const struct filter_options options = { features, log };

	count = filter_program(thread, &options, gate, code);
	assert_in_range(count, 1, FILTER_PROGRAM_ROOM);
}

static uint32_t run(const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (unsigned pc = 0; pc < count; pc++) {
		const struct sock_filter *i = &code[pc];

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

static uint32_t value_of(const struct policy_arg *arg)
{
	return arg->value == POLICY_SELF ? (uint32_t)getpid() : arg->value;
}

static bool matches(const struct policy_rule *rule,
		    const struct seccomp_data *data)
{
	for (unsigned i = 0; i < POLICY_ARGS; i++) {
		const struct policy_arg *arg = &rule->arg[i];

		if (arg->used && ((uint32_t)data->args[arg->index] &
				  arg->mask) != value_of(arg))
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
		data.nr = SYS_write;
		assert_int_equal(run(&data), SECCOMP_RET_ALLOW);
		make(t, 0, false);
		data.nr = SYS_execve;
		data.instruction_pointer = (uintptr_t)gate;
		assert_int_equal(run(&data), SECCOMP_RET_TRAP);
	}
}

static bool may(long call, uint64_t first, uint64_t second)
{
	const struct seccomp_data data = {
		.nr = (int)call,
		.arch = NATIVE,
		.args = { first, second },
	};

	return run(&data) == SECCOMP_RET_ALLOW;
}

/*
 * Not by the policy, which might be wrong: a guest that reaches nobody through
 * the vsock gives mote no way to connect to anything, and one that does, no way
 * but unix streams.
 */
static void test_connections(void **state)
{
	const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;

	(void)state;
	for (unsigned f = 0; f < FEATURES; f++) {
		const bool dials = 1u << f == FEATURE_VSOCK_DIAL;

		make(FILTER_LOOP, 1u << f, false);
		assert_int_equal(may(SYS_connect, 3, 0), dials);
		assert_int_equal(may(SYS_socket, AF_UNIX, type), dials);
		make(FILTER_LOOP, UINT32_MAX & ~(1u << f), false);
		assert_int_equal(may(SYS_connect, 3, 0), !dials);
		assert_int_equal(may(SYS_socket, AF_UNIX, type), !dials);
	}
	make(FILTER_LOOP, UINT32_MAX, false);
	for (uint64_t family = 0; family < 64; family++)
		assert_int_equal(may(SYS_socket, family, type),
				 family == AF_UNIX);
	assert_false(may(SYS_socket, AF_UNIX, SOCK_DGRAM));
	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		if (t == FILTER_LOOP)
			continue;
		make((enum filter_thread)t, UINT32_MAX, false);
		assert_false(may(SYS_connect, 3, 0));
		assert_false(may(SYS_socket, AF_UNIX, type));
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
		cmocka_unit_test(test_vcpu_has_few),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}
