/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the quickest way from a call's number to what a program says of it.
 *
 * When a filter is loaded the kernel tries each number there is on it, to keep
 * those in a bitmap that are allowed whatever the arguments are
 * (kernel/seccomp.c, seccomp_cache_prepare_bitmap). Nearly all of them are not
 * allowed at all. libseccomp's tree has as many calls of the policy to the left
 * as to the right; here it is as many numbers. A step costs 22 instructions of
 * the host's processor for each number that takes it, and 1,350 once, to be
 * checked, translated and compiled. What both add up to is what is least here.
 *
 * Numbers next to each other which the program treats alike are a range. For
 * each row of ranges, from the short to the long ones, the least of
 *
 *	nothing		it is one range, or all are treated alike
 *	a chain		each single number is compared with, the rest is refused
 *	a split		numbers beyond one of its borders go another way
 *
 * is known from those of its parts. What is only there for a feature costs next
 * to nothing: a run without has it taken out when the filter is loaded.
 *
 * The comparisons are put before the program, and jump to what it has for each
 * call, which stays what libseccomp made of it. shorten.c then takes out what
 * nothing leads to any more. Old and new are tried on all numbers, with all
 * constants as arguments; any difference ends the build.
 */
#include "seccomp/dispatch.h"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mem/util.h"
#include "seccomp/shorten.h"

#define NUMBERS	   1024 /* that are looked at one by one; calls have fewer */
#define TRIED	   460	/* by the kernel: about as many as it has calls */
#define RANGES_MAX 256
#define STEP	   22.0
#define COMPARISON 1350.0
#define FEATURE	   0.001 /* what its part costs a run without it */

static const uint32_t at_number = offsetof(struct seccomp_data, nr);
static const uint32_t at_arch = offsetof(struct seccomp_data, arch);

/* -- running a program ----------------------------------------------------- */

static unsigned follow_jump(const struct sock_filter *jump, unsigned at,
			    uint32_t value)
{
	bool holds = false;

	switch (BPF_OP(jump->code)) {
	case BPF_JA:
		return at + 1 + jump->k;
	case BPF_JEQ:
		holds = value == jump->k;
		break;
	case BPF_JGE:
		holds = value >= jump->k;
		break;
	case BPF_JGT:
		holds = value > jump->k;
		break;
	}
	return at + 1 + (holds ? jump->jt : jump->jf);
}

/* The first instruction that looks at more than the number. */
static unsigned find_entry(const struct sock_filter *code, unsigned at,
			   uint32_t number)
{
	for (;;) {
		if (BPF_CLASS(code[at].code) == BPF_JMP)
			at = follow_jump(&code[at], at, number);
		else if (BPF_CLASS(code[at].code) == BPF_LD &&
			 code[at].k == at_number)
			at++;
		else
			return at;
	}
}

static uint32_t run_program(const struct sock_filter *code,
			    const struct seccomp_data *data)
{
	uint32_t value = 0;

	for (unsigned at = 0;;) {
		const struct sock_filter *step = &code[at];

		switch (BPF_CLASS(step->code)) {
		case BPF_RET:
			return step->k;
		case BPF_JMP:
			at = follow_jump(step, at, value);
			continue;
		case BPF_LD:
			memcpy(&value, (const char *)data + step->k,
			       sizeof(value));
			break;
		default: /* the only other that libseccomp makes */
			value &= step->k;
		}
		at++;
	}
}

/* -- ranges ---------------------------------------------------------------- */

struct range {
	uint32_t first;
	unsigned entry; /* in the old program */
	bool refused;	/* in all runs, */
	bool unused;	/* or in one without features */
	unsigned tried; /* numbers, by the kernel */
};

static struct range ranges[RANGES_MAX];
static unsigned range_count;

static uint32_t last_of(unsigned i)
{
	return ranges[i + 1].first - 1;
}

/* Whether a run without features can get from `at` to an ALLOW. */
static bool may_allow(const struct sock_filter *code, unsigned at)
{
	while (BPF_CLASS(code[at].code) != BPF_RET) {
		if (BPF_CLASS(code[at].code) != BPF_JMP) {
			at++;
		} else if (BPF_OP(code[at].code) == BPF_JA) {
			at += 1 + code[at].k;
		} else {
			if (may_allow(code, at + 1 + code[at].jt))
				return true;
			at += 1 + code[at].jf;
		}
	}
	return code[at].k == SECCOMP_RET_ALLOW;
}

/* Entries that return the same are the same. */
static bool same_entry(const struct sock_filter *code, unsigned a, unsigned b)
{
	return a == b ||
	       (code[a].code == (BPF_RET | BPF_K) &&
		code[b].code == code[a].code && code[b].k == code[a].k);
}

static bool find_ranges(const struct sock_filter *code, unsigned start)
{
	range_count = 0;
	for (uint32_t number = 0; number <= NUMBERS; number++) {
		const unsigned entry = find_entry(code, start, number);
		struct range *now = &ranges[range_count];

		if (!range_count || !same_entry(code, now[-1].entry, entry)) {
			if (range_count + 1 == RANGES_MAX)
				return false;
			*now = (struct range){
				.first = number,
				.entry = entry,
				.refused =
					code[entry].code == (BPF_RET | BPF_K) &&
					code[entry].k == SECCOMP_RET_TRAP,
				.unused = !may_allow(code, entry),
			};
			range_count++;
		}
		ranges[range_count - 1].tried += number < TRIED;
	}
	return true;
}

/* -- the least work -------------------------------------------------------- */

struct plan {
	double cost;
	unsigned split; /* the last range to the left; CHAIN */
};

#define CHAIN RANGES_MAX

static struct plan plans[RANGES_MAX][RANGES_MAX];

static unsigned count_tried(unsigned from, unsigned to)
{
	unsigned tried = 0;

	for (unsigned i = from; i <= to; i++)
		tried += ranges[i].tried;
	return tried;
}

/* `some` of them are compared with, one by one; the others come to the end. */
static double cost_of_chain(unsigned some, unsigned tried)
{
	const double steps = some * (some + 1) / 2.0;

	return COMPARISON * some +
	       STEP * (steps +
		       (double)some * (tried > some ? tried - some : 0));
}

/* Negative where it cannot be one. */
static double judge_chain(unsigned from, unsigned to)
{
	const unsigned tried = count_tried(from, to);
	unsigned all = 0, used = 0;

	for (unsigned i = from; i <= to; i++) {
		if (ranges[i].refused)
			continue;
		if (i + 1 == range_count || last_of(i) != ranges[i].first)
			return -1;
		all++;
		used += !ranges[i].unused;
	}
	return cost_of_chain(used, tried) + FEATURE * cost_of_chain(all, tried);
}

static bool all_unused(unsigned from, unsigned to)
{
	for (unsigned i = from; i <= to; i++)
		if (!ranges[i].unused)
			return false;
	return true;
}

static struct plan make_plan(unsigned from, unsigned to)
{
	const double once = COMPARISON + STEP * count_tried(from, to);
	const double here = once * (all_unused(from, to) ? FEATURE : 1);
	struct plan plan = { .cost = judge_chain(from, to), .split = CHAIN };

	if (from == to)
		return (struct plan){ 0, from };
	for (unsigned i = from; i < to; i++) {
		const double cost =
			here + plans[from][i].cost + plans[i + 1][to].cost;

		if (plan.cost < 0 || cost < plan.cost)
			plan = (struct plan){ cost, i };
	}
	return plan;
}

static void make_plans(void)
{
	for (unsigned len = 0; len < range_count; len++)
		for (unsigned from = 0; from + len < range_count; from++)
			plans[from][from + len] = make_plan(from, from + len);
}

/* -- the new program ------------------------------------------------------- */

/* What is in front of the old one, which is put behind it when it is whole. */
struct front {
	struct sock_filter code[DISPATCH_ROOM];
	unsigned count;
	unsigned entry[DISPATCH_ROOM]; /* of an unconditional jump, */
	bool enters[DISPATCH_ROOM];    /* which goes there */
};

static void put_step(struct front *f, uint16_t code, uint32_t k)
{
	f->code[f->count++] = (struct sock_filter)BPF_STMT(code, k);
}

static void put_leaf(struct front *f, unsigned entry)
{
	f->enters[f->count] = true;
	f->entry[f->count] = entry;
	put_step(f, BPF_JMP | BPF_JA, 0);
}

/* Over the next one, where it does not hold. */
static void put_comparison(struct front *f, uint16_t op, uint32_t k)
{
	f->code[f->count++] =
		(struct sock_filter)BPF_JUMP(BPF_JMP | op | BPF_K, k, 0, 1);
}

static void put_chain(struct front *f, unsigned from, unsigned to)
{
	unsigned refused = from;

	for (unsigned i = from; i <= to; i++)
		if (ranges[i].refused) {
			refused = i;
		} else {
			put_comparison(f, BPF_JEQ, ranges[i].first);
			put_leaf(f, ranges[i].entry);
		}
	put_leaf(f, ranges[refused].entry);
}

/* Depth: of the tree, some ten. */
static void put_plan(struct front *f, unsigned from, unsigned to)
{
	const struct plan *plan = &plans[from][to];
	unsigned right;

	if (from == to) {
		put_leaf(f, ranges[from].entry);
	} else if (plan->split == CHAIN) {
		put_chain(f, from, to);
	} else {
		put_comparison(f, BPF_JGT, last_of(plan->split));
		right = f->count;
		put_step(f, BPF_JMP | BPF_JA, 0);
		put_plan(f, from, plan->split);
		f->code[right].k = f->count - right - 1;
		put_plan(f, plan->split + 1, to);
	}
}

static unsigned find_start(const struct sock_filter *code)
{
	const struct seccomp_data data = { .arch = AUDIT_ARCH_X86_64 };
	unsigned at = 0;

	while (code[at].code != (BPF_LD | BPF_W | BPF_ABS) ||
	       code[at].k != at_number)
		at = BPF_CLASS(code[at].code) == BPF_JMP
			     ? follow_jump(&code[at], at, data.arch)
			     : at + 1;
	return at;
}

static bool decide_alike(const struct sock_filter *a,
			 const struct sock_filter *b,
			 const struct seccomp_data *data)
{
	struct seccomp_data other = *data;

	other.arch = AUDIT_ARCH_I386;
	return run_program(a, data) == run_program(b, data) &&
	       run_program(a, &other) == run_program(b, &other);
}

/* Each number, with each constant of the program in all arguments. */
static bool is_same_program(const struct sock_filter *a, unsigned count,
			    const struct sock_filter *b)
{
	static const uint32_t bases[] = { 0, 0x40000000, 0x80000000,
					  0xffffffff - NUMBERS };
	struct seccomp_data data = { .arch = AUDIT_ARCH_X86_64 };

	for (unsigned i = 0; i < count; i++)
		for (unsigned n = 0; n < ARRAY_LEN(bases) * NUMBERS; n++) {
			data.nr = (int)(bases[n / NUMBERS] + n % NUMBERS + 1);
			if (n < NUMBERS)
				data.nr--;
			for (unsigned arg = 0; arg < 6; arg++)
				data.args[arg] = a[i].k;
			if (!decide_alike(a, b, &data))
				return false;
			for (unsigned arg = 0; arg < 6; arg++)
				data.args[arg] |= (uint64_t)a[i].k << 32;
			if (!decide_alike(a, b, &data))
				return false;
		}
	return true;
}

unsigned dispatch_rebuild(struct sock_filter *code, unsigned count)
{
	static struct front f;
	static struct sock_filter old[DISPATCH_ROOM];
	const unsigned start = find_start(code);

	memcpy(old, code, count * sizeof(*code));
	if (!find_ranges(code, start))
		return 0;
	make_plans();
	f.count = 0;
	memset(f.enters, 0, sizeof(f.enters));
	put_step(&f, BPF_LD | BPF_W | BPF_ABS, at_arch);
	put_comparison(&f, BPF_JEQ, AUDIT_ARCH_X86_64);
	put_step(&f, BPF_JMP | BPF_JA, 1);
	put_step(&f, BPF_RET | BPF_K, SECCOMP_RET_TRAP);
	put_step(&f, BPF_LD | BPF_W | BPF_ABS, at_number);
	put_plan(&f, 0, range_count - 1);
	if (f.count + count > DISPATCH_ROOM)
		return 0;
	for (unsigned i = 0; i < f.count; i++)
		if (f.enters[i])
			f.code[i].k = f.count + f.entry[i] - i - 1;
	memcpy(code, f.code, f.count * sizeof(*code));
	memcpy(code + f.count, old, count * sizeof(*code));
	f.count = shorten_program(code, f.count + count);
	return is_same_program(old, count, code) ? f.count : 0;
}
