/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles the policy (policy.c) to BPF with libseccomp, while mote is built:
 * at run time that would take longer than a guest takes to start.
 *
 *	gen_filter		the header that filter.c includes
 *	gen_filter rows		the same, for a mote whose rows can be taken out
 *				one by one (tests/strip/strip.h)
 *	gen_filter list		the policy as text: thread, what strip.h calls
 *				the row, call, reason; a line for each feature
 *
 * A call that only some runs need is compiled with an action of its own,
 * SECCOMP_RET_TRACE, whose data says which set of features it is for. When mote
 * loads a program it knows its features: it makes each such action ALLOW or
 * TRAP, and changes nothing else. So one program for a thread serves all
 * combinations, and what libseccomp compiled is what runs.
 *
 * Any mistake in the table ends the build. Runs on the build machine.
 */
/* uses: seccomp/policy.c seccomp/dispatch.c seccomp/shorten.c */
#include <errno.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/util.h"
#include "seccomp/dispatch.h"
#include "seccomp/policy.h"

#define INSTRUCTIONS_MAX DISPATCH_ROOM
#define PRIORITY_MAX	 255
#define SETS_MAX	 256

static const char *const thread_words[FILTER_THREADS] = {
	[FILTER_LOOP] = "loop",	    [FILTER_VCPU] = "vcpu",
	[FILTER_WORKER] = "worker", [FILTER_LOAD] = "load",
	[FILTER_BROKER] = "broker", [FILTER_COMMITTER] = "committer",
	[FILTER_WALKER] = "walker",
};

static bool rows; /* every row has an action of its own */

__attribute__((format(printf, 1, 2), noreturn)) static void
fail_build(const char *format, ...)
{
	va_list args;

	fputs("gen_filter: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static char *call_name(int call)
{
	return seccomp_syscall_resolve_num_arch(SCMP_ARCH_X86_64, call);
}

/* -- the table ------------------------------------------------------------ */

static bool rule_holds(const struct policy_rule *rule, unsigned thread)
{
	return rule->threads >> thread & 1;
}

/* The first filter has the rows of those above it, whose they are. */
static bool is_load_only(const struct policy_rule *rule)
{
	return rule->threads == 1u << FILTER_LOAD;
}

static bool has_args(const struct policy_rule *rule)
{
	return rule->arg[0].used;
}

static bool same_args(const struct policy_rule *a, const struct policy_rule *b)
{
	for (unsigned i = 0; i < POLICY_ARGS; i++)
		if (a->arg[i].used != b->arg[i].used ||
		    a->arg[i].index != b->arg[i].index ||
		    a->arg[i].mask != b->arg[i].mask ||
		    a->arg[i].value != b->arg[i].value)
			return false;
	return true;
}

static bool same_call(const struct policy_rule *a, const struct policy_rule *b,
		      unsigned thread)
{
	return rule_holds(a, thread) && rule_holds(b, thread) &&
	       a->call == b->call;
}

/* Rows of one call must not say twice, or otherwise, what another says. */
static void check_pair(const struct policy_rule *a, const struct policy_rule *b,
		       unsigned thread)
{
	if (!same_call(a, b, thread))
		return;
	if (has_args(a) != has_args(b))
		fail_build("%s, %s: allowed with any arguments, and with some",
			   thread_words[thread], call_name(a->call));
	/* What is needed while loading may be a feature's later. */
	if (thread == FILTER_LOAD && is_load_only(a) != is_load_only(b))
		return;
	if (same_args(a, b) &&
	    (!a->features || !b->features || a->features & b->features))
		fail_build("%s, %s: two rows say the same",
			   thread_words[thread], call_name(a->call));
}

static void check_policy(void)
{
	for (size_t i = 0; i < policy_count; i++) {
		const struct policy_rule *rule = &policy_rules[i];

		if (!rule->why || !*rule->why)
			fail_build("row %zu has no reason", i);
		for (size_t j = 0; j < i; j++)
			for (unsigned t = 0; t < FILTER_THREADS; t++)
				check_pair(&policy_rules[j], rule, t);
	}
}

/* The first row of the same call and arguments: the one that is compiled. */
static size_t first_same_row(size_t row, unsigned thread)
{
	const struct policy_rule *rule = &policy_rules[row];

	for (size_t i = 0; i < row; i++)
		if (same_call(&policy_rules[i], rule, thread) &&
		    same_args(&policy_rules[i], rule))
			return i;
	return row;
}

/* Of all rows with its call and arguments: any of them will do. 0: always. */
static unsigned features_of_row(size_t row, unsigned thread)
{
	unsigned features = 0;

	for (size_t i = 0; i < policy_count; i++) {
		if (!rule_holds(&policy_rules[i], thread) ||
		    first_same_row(i, thread) != first_same_row(row, thread))
			continue;
		if (!policy_rules[i].features)
			return 0;
		features |= policy_rules[i].features;
	}
	return features;
}

/* -- compiling ------------------------------------------------------------ */

static void must_succeed(int result, const char *what)
{
	if (result < 0)
		fail_build("%s: %s", what, strerror(-result));
}

/* What an action's data means: an index of sets of features. */
static unsigned sets[SETS_MAX], set_count;

static unsigned index_of_set(unsigned features)
{
	for (unsigned i = 0; i < set_count; i++)
		if (sets[i] == features)
			return i;
	if (set_count == SETS_MAX)
		fail_build("more than %d sets of features", SETS_MAX);
	sets[set_count] = features;
	return set_count++;
}

static uint32_t action_of_row(size_t row, unsigned thread)
{
	const unsigned features = features_of_row(row, thread);

	if (rows)
		return SCMP_ACT_TRACE(row);
	return features ? SCMP_ACT_TRACE(index_of_set(features))
			: SCMP_ACT_ALLOW;
}

static void add_rule(scmp_filter_ctx filter, size_t row, unsigned thread)
{
	const struct policy_rule *rule = &policy_rules[row];
	struct scmp_arg_cmp compare[POLICY_ARGS];
	unsigned count = 0;

	for (unsigned i = 0; i < POLICY_ARGS; i++)
		if (rule->arg[i].used)
			compare[count++] = (struct scmp_arg_cmp){
				.arg = rule->arg[i].index,
				.op = SCMP_CMP_MASKED_EQ,
				.datum_a = rule->arg[i].mask,
				.datum_b = rule->arg[i].value,
			};
	must_succeed(seccomp_rule_add_exact_array(filter,
						  action_of_row(row, thread),
						  rule->call, count, compare),
		     rule->why);
	must_succeed(seccomp_syscall_priority(filter, rule->call,
					      (uint8_t)(PRIORITY_MAX - row)),
		     "priority");
}

static size_t export_program(scmp_filter_ctx filter, struct sock_filter *code)
{
	FILE *file = tmpfile();
	size_t count;

	if (!file)
		fail_build("tmpfile: %s", strerror(errno));
	must_succeed(seccomp_export_bpf(filter, fileno(file)),
		     "seccomp_export_bpf");
	rewind(file);
	count = fread(code, sizeof(*code), INSTRUCTIONS_MAX, file);
	if (!count || count == INSTRUCTIONS_MAX)
		fail_build("a program of %zu instructions", count);
	fclose(file);
	return count;
}

static size_t compile_program(unsigned thread, struct sock_filter *code)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	size_t count;

	if (!filter)
		fail_build("seccomp_init");
	/* Calls of another architecture or ABI end mote like any other. */
	must_succeed(seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH,
				      SCMP_ACT_TRAP),
		     "SCMP_FLTATR_ACT_BADARCH");
	for (size_t i = 0; i < policy_count; i++)
		if (rule_holds(&policy_rules[i], thread) &&
		    first_same_row(i, thread) == i)
			add_rule(filter, i, thread);
	count = export_program(filter, code);
	seccomp_release(filter);
	/* The kernel tries all numbers on the first filter that is loaded, and
	 * on the others those that it allows: there a tree is quicker. */
	if (thread >= FILTER_LOAD) {
		count = dispatch_rebuild(code, (unsigned)count);
		if (!count)
			fail_build("%s: no tree can be made of it",
				   thread_words[thread]);
	}
	return count;
}

/* -- output --------------------------------------------------------------- */

/* A value of run time is compared with where the table says so; nowhere else.
 */
static void check_late_value(uint32_t value, const struct sock_filter *code,
			     size_t count, unsigned thread)
{
	unsigned wanted = 0, found = 0;

	for (size_t i = 0; i < policy_count; i++)
		for (unsigned a = 0; a < POLICY_ARGS; a++)
			wanted |= rule_holds(&policy_rules[i], thread) &&
				  policy_rules[i].arg[a].used &&
				  policy_rules[i].arg[a].value == value;
	for (size_t i = 0; i < count; i++)
		if (code[i].k == value)
			found += code[i].code == (BPF_JMP | BPF_JEQ | BPF_K)
					 ? 1
					 : UINT16_MAX;
	if (wanted != (found > 0) || found >= UINT16_MAX)
		fail_build("%s: the value 0x%x of run time is not unique",
			   thread_words[thread], value);
}

static void print_programs(void)
{
	static struct sock_filter code[INSTRUCTIONS_MAX];
	size_t count[FILTER_THREADS], most = 0;

	for (unsigned t = 0; t < FILTER_THREADS; t++) {
		count[t] = compile_program(t, code);
		check_late_value(POLICY_SELF, code, count[t], t);
		check_late_value(POLICY_BROKER, code, count[t], t);
		check_late_value(POLICY_COMMITTER, code, count[t], t);
		printf("static const struct sock_filter program_%s[] = {\n",
		       thread_words[t]);
		for (size_t i = 0; i < count[t]; i++)
			printf("\t{ 0x%02x, %u, %u, 0x%08x },\n", code[i].code,
			       code[i].jt, code[i].jf, code[i].k);
		printf("};\n");
		most = count[t] > most ? count[t] : most;
	}
	printf("#define PROGRAM_MAX %zu\n"
	       "static const struct {\n\tconst struct sock_filter *code;\n"
	       "\tunsigned count;\n} programs[] = {\n",
	       most);
	for (unsigned t = 0; t < FILTER_THREADS; t++)
		printf("\t{ program_%s, %zu },\n", thread_words[t], count[t]);
	printf("};\n#define RULES %zu\n"
	       "static const struct {\n\tunsigned char threads;\n"
	       "\tunsigned features;\n} rules[RULES] = {\n",
	       policy_count);
	for (size_t i = 0; i < policy_count; i++)
		printf("\t{ %u, %u },\n", policy_rules[i].threads,
		       policy_rules[i].features);
	printf("};\n#define PROGRAM_SELF 0x%x\n#define PROGRAM_BROKER 0x%x\n"
	       "#define PROGRAM_COMMITTER 0x%x\n",
	       POLICY_SELF, POLICY_BROKER, POLICY_COMMITTER);
}

static void print_features_of(size_t row)
{
	printf("\t{");
	for (unsigned t = 0; t < FILTER_THREADS; t++)
		printf(" %u,", features_of_row(row, t));
	printf(" },\n");
}

/* What an action's data means. */
static void print_allows(void)
{
	if (rows) {
		printf("static const unsigned row_features[][%d] = {\n",
		       (int)FILTER_THREADS);
		for (size_t i = 0; i < policy_count; i++)
			print_features_of(i);
		printf("};\n#include \"tests/strip/strip.h\"\n");
		return;
	}
	printf("static const unsigned sets[] = {");
	for (unsigned i = 0; i < set_count; i++)
		printf(" %u,", sets[i]);
	printf(" };\nstatic inline int program_allows(unsigned thread, "
	       "unsigned set,\n\tunsigned features)\n"
	       "{\n\t(void)thread;\n"
	       "\treturn (sets[set] & features) != 0;\n}\n");
}

static void print_list(void)
{
	for (size_t i = 0; i < policy_count; i++)
		for (unsigned t = 0; t < FILTER_THREADS; t++)
			for (unsigned f = 0; f < 32; f++) {
				const struct policy_rule *rule =
					&policy_rules[i];
				const unsigned features =
					rule->features ? rule->features : 1;

				if (!rule_holds(rule, t) ||
				    !(features >> f & 1) ||
				    (t == FILTER_LOAD && !is_load_only(rule)))
					continue;
				printf("%s %u:%zu:%u %s %s\n", thread_words[t],
				       t, first_same_row(i, t),
				       rule->features ? 1u << f : 0,
				       call_name(rule->call), rule->why);
			}
}

int main(int argc, char **argv)
{
	check_policy();
	if (argc > 1 && !strcmp(argv[1], "list")) {
		print_list();
		return 0;
	}
	rows = argc > 1 && !strcmp(argv[1], "rows");
	printf("/* Made by gen_filter from seccomp/policy.c. */\n");
	print_programs();
	print_allows();
	return fflush(stdout) ? 1 : 0;
}
