/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes out of a filter program what decides nothing.
 *
 * One program for a thread serves all sets of features (filter.c), so most of
 * it looks for calls that a run does not use, to refuse them as it refuses
 * whatever it does not know. And libseccomp compares the upper half of an
 * argument with a mask of zeroes. The kernel checks, translates, compiles (in
 * ten passes) and tries each of these instructions before a guest may start.
 *
 * In classic BPF jumps go forward only. So from the last instruction to the
 * first it is known where each leads (`to`), once nothing of what it does
 * matters:
 *
 *	a jump		to where both of its ways lead; or to where the other
 *			one leads, if what it tells apart ends the same there
 *	a load, an AND	to what follows, if that does not look at the result
 *
 * The instructions that can still be reached make up the new program, which is
 * built from its last one to its first. Where a target is too far for the eight
 * bits of a conditional jump, a copy of the return, or an unconditional jump to
 * the target, is put within reach. A return that both ways of a jump would have
 * to jump far to is copied, too: the kernel compiles in passes until no jump
 * gets shorter any more, and is through with near ones at once.
 *
 * Trusts its caller. Owns nothing. Any thread.
 */
#include "seccomp/shorten.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define REACH	255 /* of a conditional jump */
#define RETURNS 2   /* kinds: filters allow, or trap */

struct shortening {
	const struct sock_filter *code;
	unsigned count;
	uint16_t to[SHORTEN_ROOM]; /* what takes an instruction's place */
	unsigned returns[RETURNS], return_count; /* the last of each kind */
	bool needed[SHORTEN_ROOM];		 /* there is a way to it */
	struct sock_filter made[SHORTEN_ROOM];
	unsigned first; /* of what is made so far, which goes to the end */
	uint16_t at[SHORTEN_ROOM]; /* where in it an instruction is */
};

static unsigned class_of(const struct shortening *s, unsigned i)
{
	return BPF_CLASS(s->code[i].code);
}

static bool is_conditional(const struct shortening *s, unsigned i)
{
	return class_of(s, i) == BPF_JMP && BPF_OP(s->code[i].code) != BPF_JA;
}

/* Neither looks at what was loaded before. */
static bool ignores_value(const struct shortening *s, unsigned i)
{
	return class_of(s, i) == BPF_RET || class_of(s, i) == BPF_LD;
}

static unsigned way_if(const struct shortening *s, unsigned i, bool holds)
{
	return s->to[i + 1 + (holds ? s->code[i].jt : s->code[i].jf)];
}

static bool is_comparison(const struct shortening *s, unsigned i)
{
	const unsigned code = s->code[i].code;

	return code == (BPF_JMP | BPF_JEQ | BPF_K) ||
	       code == (BPF_JMP | BPF_JGE | BPF_K) ||
	       code == (BPF_JMP | BPF_JGT | BPF_K);
}

static bool compare_holds(const struct sock_filter *jump, uint32_t value)
{
	if (BPF_OP(jump->code) == BPF_JEQ)
		return value == jump->k;
	return BPF_OP(jump->code) == BPF_JGE ? value >= jump->k
					     : value > jump->k;
}

/* From `i` on, with `value` loaded: the first one that is no comparison. */
static unsigned end_of_jumps(const struct shortening *s, unsigned i,
			     uint32_t value)
{
	while (is_comparison(s, i))
		i = way_if(s, i, compare_holds(&s->code[i], value));
	return i;
}

/* The same with all values from `least` on; it may be a comparison that tells
 * these apart. */
static unsigned end_from(const struct shortening *s, unsigned i, uint32_t least)
{
	while (is_comparison(s, i)) {
		const struct sock_filter *jump = &s->code[i];
		const bool larger = BPF_OP(jump->code) != BPF_JEQ;

		if (jump->k > least ||
		    (jump->k == least && BPF_OP(jump->code) != BPF_JGE))
			break;
		i = way_if(s, i, larger);
	}
	return i;
}

static unsigned replace_return(struct shortening *s, unsigned i)
{
	for (unsigned r = 0; r < s->return_count; r++)
		if (s->code[s->returns[r]].k == s->code[i].k)
			return s->returns[r];
	if (s->return_count < RETURNS)
		s->returns[s->return_count++] = i;
	return i;
}

static unsigned replace_jump(const struct shortening *s, unsigned i)
{
	const unsigned yes = way_if(s, i, true), no = way_if(s, i, false);
	const uint32_t k = s->code[i].k;

	if (yes == no)
		return no;
	/* Only returns: to try all would take longer than it spares. */
	switch (BPF_OP(s->code[i].code)) {
	case BPF_JEQ:
		if (yes == s->returns[0] && end_of_jumps(s, no, k) == yes)
			return no;
		if (class_of(s, no) == BPF_RET && end_of_jumps(s, yes, k) == no)
			return no;
		break;
	case BPF_JGE:
		if (class_of(s, yes) == BPF_RET && end_from(s, no, k) == yes)
			return no;
		break;
	}
	return i;
}

static unsigned replace_step(const struct shortening *s, unsigned i)
{
	const unsigned next = s->to[i + 1];
	unsigned end;

	if (ignores_value(s, next))
		return next;
	if (s->code[i].code != (BPF_ALU | BPF_AND | BPF_K) || s->code[i].k)
		return i;
	end = end_of_jumps(s, next, 0);
	return ignores_value(s, end) ? end : i;
}

static unsigned replacement(struct shortening *s, unsigned i)
{
	if (s->code[i].code == (BPF_RET | BPF_K))
		return replace_return(s, i);
	if (class_of(s, i) == BPF_RET)
		return i;
	if (is_conditional(s, i))
		return replace_jump(s, i);
	if (class_of(s, i) == BPF_JMP)
		return s->to[i + 1 + s->code[i].k];
	return replace_step(s, i);
}

static void find_needed(struct shortening *s)
{
	s->needed[s->to[0]] = true;
	for (unsigned i = 0; i < s->count; i++) {
		if (!s->needed[i] || class_of(s, i) == BPF_RET)
			continue;
		if (is_conditional(s, i))
			s->needed[way_if(s, i, true)] =
				s->needed[way_if(s, i, false)] = true;
		else
			s->needed[s->to[i + 1]] = true;
	}
}

/* -- the new program, from its end ----------------------------------------- */

static void put_before(struct shortening *s, struct sock_filter instruction)
{
	s->made[--s->first] = instruction;
}

static void bring_near(struct shortening *s, unsigned target)
{
	struct sock_filter step = s->code[target];

	if (class_of(s, target) != BPF_RET)
		step = (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA,
						    s->at[target] - s->first);
	put_before(s, step);
	s->at[target] = (uint16_t)s->first;
}

static bool is_far_return(const struct shortening *s, unsigned i)
{
	return class_of(s, i) == BPF_RET && s->at[i] - s->first > SHORTEN_NEAR;
}

static void put_jump(struct shortening *s, unsigned i)
{
	const unsigned yes = way_if(s, i, true), no = way_if(s, i, false);
	struct sock_filter jump = s->code[i];

	/* Where one of both follows, nothing is put between. */
	if (s->at[yes] != s->first && s->at[no] != s->first) {
		if (is_far_return(s, yes))
			bring_near(s, yes);
		if (is_far_return(s, no))
			bring_near(s, no);
	}
	/* One of both may push the other away. */
	if (s->at[yes] - s->first > REACH - 1)
		bring_near(s, yes);
	if (s->at[no] - s->first > REACH)
		bring_near(s, no);
	jump.jt = (uint8_t)(s->at[yes] - s->first);
	jump.jf = (uint8_t)(s->at[no] - s->first);
	put_before(s, jump);
}

#define PUT_MAX 3 /* instructions: a jump, and a step to each target */

static void put_needed(struct shortening *s, unsigned i)
{
	if (is_conditional(s, i)) {
		put_jump(s, i);
	} else {
		if (class_of(s, i) != BPF_RET &&
		    s->at[s->to[i + 1]] != s->first)
			bring_near(s, s->to[i + 1]);
		put_before(s, s->code[i]);
	}
	s->at[i] = (uint16_t)s->first;
}

unsigned shorten_program(struct sock_filter *code, unsigned count)
{
	struct shortening s = {
		.code = code,
		.count = count,
		.returns = { count - 1 }, /* a program ends with one */
		.first = SHORTEN_ROOM,
	};
	unsigned made;

	for (unsigned i = count; i-- > 0;)
		s.to[i] = (uint16_t)replacement(&s, i);
	find_needed(&s);
	for (unsigned i = count; i-- > 0;) {
		if (s.first < PUT_MAX)
			return count;
		if (s.needed[i])
			put_needed(&s, i);
	}
	made = SHORTEN_ROOM - s.first;
	if (made > count)
		return count;
	memcpy(code, s.made + s.first, made * sizeof(*code));
	return made;
}
