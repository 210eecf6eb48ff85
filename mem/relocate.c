/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where mote begins: it is a static program that may lie anywhere (static-pie),
 * and adds its own address to all pointers in its data before anything else
 * runs. The linker packs their places (ELF gABI, SHT_RELR: an address, then
 * bitmaps of the 63 words behind it): a fortieth of what a table of them takes,
 * in the file, and in pages that each start would read. musl 1.2.3 does not
 * know that form; so this comes before its own start. A newer one does, and
 * would add the address once more: so the table has no length when that begins.
 *
 * Then the pages with these pointers, tables of functions among them, become
 * read-only (PT_GNU_RELRO), which nobody else would do: musl leaves that to the
 * dynamic linker, and there is none.
 *
 * There is no thread pointer yet, hence no stack protector and no errno.
 */
#include <elf.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "mem/ram.h"

#ifndef DT_RELR
#define DT_RELRSZ 35
#define DT_RELR	  36
#endif

#define BITMAP_WORDS 63

void relocate_itself(uintptr_t base, Elf64_Dyn *dynamic);

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

/* The system call itself; one that fails leaves things as they were. */
static void make_readonly(uintptr_t from, uintptr_t to)
{
	long result;
	register long protection __asm__("rdx") = PROT_READ;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(SYS_mprotect), "D"(from), "S"(to - from),
			   "r"(protection)
			 : "rcx", "r11", "memory");
}

__attribute__((no_stack_protector)) static void
protect_relocated(uintptr_t base)
{
	const Elf64_Ehdr *header = (const void *)base;
	const Elf64_Phdr *part = (const void *)(base + header->e_phoff);

	for (unsigned i = 0; i < header->e_phnum; i++)
		if (part[i].p_type == PT_GNU_RELRO)
			make_readonly(
				(base + part[i].p_vaddr) & ~(RAM_PAGE - 1),
				(base + part[i].p_vaddr + part[i].p_memsz) &
					~(RAM_PAGE - 1));
}

/* Called by the lines above, and by nobody else. */
__attribute__((no_stack_protector, used)) void
relocate_itself(uintptr_t base, Elf64_Dyn *dynamic)
{
	const uint64_t *entry = (const void *)base;
	uint64_t *where = (void *)base;
	uint64_t left = 0;

	for (; dynamic->d_tag != DT_NULL; dynamic++) {
		if (dynamic->d_tag == DT_RELR)
			entry = (const void *)(base + dynamic->d_un.d_ptr);
		if (dynamic->d_tag != DT_RELRSZ)
			continue;
		left = dynamic->d_un.d_val / sizeof(*entry);
		dynamic->d_un.d_val = 0;
	}
	for (; entry && left; left--, entry++) {
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
	protect_relocated(base);
}
