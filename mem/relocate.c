/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where mote begins: it is a static program that may lie anywhere (static-pie),
 * and adds its own address to all pointers in its data before anything else
 * runs. The linker packs their places (ELF gABI, SHT_RELR: an address, then
 * bitmaps of the 63 words behind it): a fortieth of what a table of them takes,
 * in the file, and in pages that each start would read. musl 1.2.3 does not
 * know that form; so this comes before its own start, which finds nothing left.
 *
 * There is no thread pointer yet, hence no stack protector.
 */
#include <elf.h>
#include <stdint.h>

#ifndef DT_RELR
#define DT_RELRSZ 35
#define DT_RELR	  36
#endif

#define BITMAP_WORDS 63

void relocate_itself(uintptr_t base, const Elf64_Dyn *dynamic);

__asm__(".pushsection .text.mote_start, \"ax\", @progbits\n"
	".globl mote_start\n"
	".hidden mote_start\n"
	".type mote_start, @function\n"
	"mote_start:\n"
	"	xor %ebp, %ebp\n"
	"	mov %rsp, %rbx\n"
	"	mov %rdx, %r12\n"
	"	and $-16, %rsp\n"
	"	lea __ehdr_start(%rip), %rdi\n"
	"	lea _DYNAMIC(%rip), %rsi\n"
	"	call relocate_itself\n"
	"	mov %rbx, %rsp\n"
	"	mov %r12, %rdx\n"
	"	jmp _start\n"
	".hidden __ehdr_start\n"
	".hidden _DYNAMIC\n"
	".popsection\n");

/* Called by the lines above, and by nobody else. */
__attribute__((no_stack_protector, used)) void
relocate_itself(uintptr_t base, const Elf64_Dyn *dynamic)
{
	const uint64_t *entry = 0;
	uint64_t *where = 0;
	uint64_t left = 0;

	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		if (dynamic->d_tag == DT_RELR)
			entry = (const void *)(base + dynamic->d_un.d_ptr);
		else if (dynamic->d_tag == DT_RELRSZ)
			left = dynamic->d_un.d_val / sizeof(*entry);
	}
	for (; left; left--, entry++) {
		uint64_t bits = *entry;

		if (!(bits & 1)) {
			where = (void *)(base + bits);
			*where++ += base;
			continue;
		}
		for (bits >>= 1; bits; bits &= bits - 1)
			where[__builtin_ctzll(bits)] += base;
		where += BITMAP_WORDS;
	}
}
