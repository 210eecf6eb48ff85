/*
 * Filter programs as they are loaded.
 *
 * gen_filter compiled one for each kind of thread while mote was built. Two
 * things are known only now: which features this run uses, and the number of
 * this process. An action that depends on features is replaced by ALLOW or
 * TRAP, a compare with the process's number gets that number; the rest is
 * copied as it is.
 *
 * Trusts what was compiled. Main thread, and threads that load their filter.
 */
#include "seccomp/program.h"

#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/util.h"
#include "seccomp/filter_table.h" /* made by gen_filter */

/* What log mode puts before a program. */
#define PROLOGUE 7

_Static_assert(PROGRAM_MAX + PROLOGUE <= PROGRAM_ROOM, "the longest fits");
_Static_assert(NAMES_LONGEST < PROGRAM_NAME_ROOM, "the longest name fits");

static struct sock_filter resolve(struct sock_filter code,
				  enum filter_thread thread, unsigned features)
{
	if (code.code == (BPF_JMP | BPF_JEQ | BPF_K) && code.k == PROGRAM_SELF)
		code.k = (uint32_t)getpid();
	if (code.code == (BPF_RET | BPF_K) &&
	    (code.k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_TRACE)
		code.k = program_allows(thread, code.k & SECCOMP_RET_DATA,
					features)
				 ? SECCOMP_RET_ALLOW
				 : SECCOMP_RET_TRAP;
	return code;
}

static void make_prologue(struct sock_filter *to, const void *gate)
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

unsigned program_make(enum filter_thread thread,
		      const struct filter_options *options, const void *gate,
		      struct sock_filter *to)
{
	const unsigned before = options->log ? PROLOGUE : 0;
	const unsigned count = programs[thread].count;

	if (options->log)
		make_prologue(to, gate);
	for (unsigned i = 0; i < count; i++)
		to[before + i] = resolve(programs[thread].code[i], thread,
					 options->features);
	return before + count;
}

unsigned program_rules(enum filter_thread thread, unsigned features)
{
	unsigned held = 0;

	for (unsigned i = 0; i < RULES; i++)
		held += rules[i].threads >> thread & 1 &&
			(!rules[i].features || rules[i].features & features);
	return held;
}

/* -- names ---------------------------------------------------------------- */

/* The code of five bits at `bit`; see gen_filter.c. */
static unsigned code_at(size_t bit)
{
	const unsigned char *at = call_names + bit / 8;

	return (at[0] | (unsigned)at[1] << 8) >> bit % 8 & 31;
}

void program_call_name(long number, char to[PROGRAM_NAME_ROOM])
{
	long index = number < NAMES_SHARED ? number
					   : number - NAMES_SHARED + NAMES_OWN;
	size_t bit = 0, len = 0;

	to[0] = '?';
	to[1] = 0;
	if (number < 0 || number >= NAMES_END ||
	    (number >= NAMES_OWN && number < NAMES_SHARED))
		return;
	for (; index; bit += 5)
		index -= !code_at(bit);
	for (unsigned code; (code = code_at(bit)); bit += 5) {
		if (code == 28)
			to[len++] = (char)('0' + code_at(bit += 5));
		else
			to[len++] = code == 27 ? '_' : (char)('a' + code - 1);
		to[len] = 0;
	}
}
