/* SPDX-License-Identifier: Apache-2.0 */
/* uses: seccomp/shorten.c */
/*
 * Random programs, short and long ones, with jumps as far as they go: what is
 * left of each decides the same for data that its constants are made of, and
 * nothing is in it that decides nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mem/util.h"
#include "seccomp/shorten.h"

#define WORDS	 4 /* of data that programs load */
#define VALUES	 6 /* that they compare with, so that some compares hold */
#define PROGRAMS 20000
#define TRIES	 60

static uint64_t random_state = 1;

static unsigned draw(unsigned below)
{
	random_state =
		random_state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)((random_state >> 33) % below);
}

static struct sock_filter draw_jump(unsigned left)
{
	static const uint16_t ops[] = { BPF_JEQ, BPF_JEQ, BPF_JGE, BPF_JGT };
	const unsigned reach = left < 256 ? left : 256;

	if (!draw(12))
		return (struct sock_filter)BPF_STMT(BPF_JMP | BPF_JA,
						    draw(left));
	return (struct sock_filter)BPF_JUMP(
		BPF_JMP | ops[draw(ARRAY_LEN(ops))] | BPF_K, draw(VALUES),
		(uint8_t)draw(draw(2) ? reach : 1),
		(uint8_t)draw(draw(2) ? reach : 1));
}

static void draw_program(struct sock_filter *code, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const unsigned left = count - 1 - i, kind = draw(10);

		if (!left || !kind)
			code[i] = (struct sock_filter)BPF_STMT(
				BPF_RET | BPF_K, draw(draw(8) ? 2 : 5));
		else if (kind <= 2)
			code[i] = (struct sock_filter)BPF_STMT(
				BPF_LD | BPF_W | BPF_ABS, draw(WORDS));
		else if (kind == 3)
			code[i] = (struct sock_filter)BPF_STMT(
				BPF_ALU | BPF_AND | BPF_K, draw(4));
		else
			code[i] = draw_jump(left);
	}
}

static uint32_t run_program(const struct sock_filter *code, unsigned count,
			    const uint32_t *data)
{
	uint32_t a = 0;

	for (unsigned pc = 0; pc < count; pc++) {
		const struct sock_filter *i = &code[pc];

		if (i->code == (BPF_RET | BPF_K))
			return i->k;
		if (i->code == (BPF_LD | BPF_W | BPF_ABS))
			a = data[i->k];
		else if (i->code == (BPF_ALU | BPF_AND | BPF_K))
			a &= i->k;
		else if (i->code == (BPF_JMP | BPF_JA))
			pc += i->k;
		else if (BPF_OP(i->code) == BPF_JEQ)
			pc += a == i->k ? i->jt : i->jf;
		else if (BPF_OP(i->code) == BPF_JGE)
			pc += a >= i->k ? i->jt : i->jf;
		else
			pc += a > i->k ? i->jt : i->jf;
	}
	fail_msg("a program of %u instructions that does not end", count);
	return 0;
}

static void test_same_decisions(void **state)
{
	struct sock_filter code[SHORTEN_ROOM], shorter[SHORTEN_ROOM];
	uint32_t data[WORDS];

	(void)state;
	for (unsigned p = 0; p < PROGRAMS; p++) {
		const unsigned count = 1 + draw(p % 8 ? 40 : SHORTEN_ROOM);
		unsigned left;

		draw_program(code, count);
		memcpy(shorter, code, sizeof(code));
		left = shorten_program(shorter, count);
		assert_in_range(left, 1, count);
		for (unsigned t = 0; t < TRIES; t++) {
			for (unsigned w = 0; w < WORDS; w++)
				data[w] = draw(VALUES + 1);
			if (run_program(code, count, data) !=
			    run_program(shorter, left, data))
				fail_msg("program %u decides otherwise", p);
		}
	}
}

#define FAR 350 /* instructions; three quarters of them are needed */

/* A chain of refused values, each farther from the end than a jump reaches. */
static void test_far(void **state)
{
	struct sock_filter code[SHORTEN_ROOM];
	unsigned count = 0, left;
	uint32_t data[WORDS] = { 0 };

	(void)state;
	code[count++] =
		(struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
	while (count < FAR) {
		code[count] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, count, 0, 1);
		code[count + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
							       count & 2);
		count += 2;
	}
	code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 5);
	left = shorten_program(code, count);
	/* A third kind of return stays where it is: every other comparison's.
	 */
	assert_in_range(left, FAR / 4 * 3, FAR / 4 * 3 + 8);
	for (data[0] = 0; data[0] < FAR + 10; data[0]++)
		assert_int_equal(run_program(code, left, data),
				 data[0] & 1 && data[0] < FAR ? data[0] & 2
							      : 5);
}

static void test_nothing_useless(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1), /* refused */
		BPF_STMT(BPF_RET | BPF_K, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 2, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 1), /* a half that is any */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	(void)state;
	/* load, is it 2, allow, refuse */
	assert_int_equal(shorten_program(code, ARRAY_LEN(code)), 4);
	assert_int_equal(code[1].k, 2);
}

/* libseccomp asks of each number whether it is x32's, to refuse it then. */
static void test_refused_anyhow(void **state)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 9, 0, 1),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 99, 0, 3),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 5, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 1),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};

	(void)state;
	assert_int_equal(shorten_program(code, ARRAY_LEN(code)), 5);
	assert_int_equal(code[1].k, 5);
}

/* Of a jump both of whose ways are far, they are brought near. */
static void test_near(void **state)
{
	struct sock_filter code[64];
	unsigned count = 0, left;
	uint32_t data[WORDS] = { 0 };

	(void)state;
	while (count < 3) /* two of which are good for nothing */
		code[count++] = (struct sock_filter)BPF_STMT(
			BPF_LD | BPF_W | BPF_ABS, 0);
	code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K,
						     40, 1, 0);
	code[count++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						     7, 32, 33);
	for (unsigned i = 0; i < 32; i++)
		code[count++] = (struct sock_filter)BPF_JUMP(
			BPF_JMP | BPF_JEQ | BPF_K, 50 + i, (uint8_t)(31 - i),
			i == 31);
	code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 1);
	code[count++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
	left = shorten_program(code, count);
	assert_int_equal(left, count);
	assert_int_equal(code[2].k, 7);
	assert_int_equal(code[2].jt, 1);
	assert_int_equal(code[2].jf, 0);
	for (data[0] = 0; data[0] < 100; data[0]++)
		assert_int_equal(run_program(code, left, data),
				 data[0] == 7 ||
					 (data[0] >= 50 && data[0] < 82));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_decisions),
		cmocka_unit_test(test_far),
		cmocka_unit_test(test_nothing_useless),
		cmocka_unit_test(test_refused_anyhow),
		cmocka_unit_test(test_near),
	};

	return cmocka_run_group_tests_name("shorten", tests, NULL, NULL);
}
