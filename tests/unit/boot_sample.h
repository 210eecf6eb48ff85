/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small good kernel files, for tests to load and to spoil; also the fuzzer's
 * first inputs (tests/fuzz/seed_kernel.c).
 */
#ifndef TESTS_UNIT_BOOT_SAMPLE_H
#define TESTS_UNIT_BOOT_SAMPLE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "mem/util.h"

#define SAMPLE_MAX 0x8000

struct sample {
	uint8_t bytes[SAMPLE_MAX];
	size_t len;
};

struct sample_segment {
	uint32_t type;
	uint64_t offset, vaddr, paddr, filesz, memsz;
};

/* Where a field of program header `index` is in a sample. */
#define SAMPLE_PHDR(index, field)                                              \
	(sizeof(Elf64_Ehdr) + (index) * sizeof(Elf64_Phdr) +                   \
	 offsetof(Elf64_Phdr, field))

/* Headers first, then bytes that are never 0 up to the last segment's end. */
static inline void sample_elf(struct sample *to,
			      const struct sample_segment *segments,
			      unsigned count, uint64_t entry)
{
	Elf64_Ehdr head = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB,
			     EV_CURRENT },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_entry = entry,
		.e_phoff = sizeof(head),
		.e_ehsize = sizeof(head),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)count,
	};

	to->len = sizeof(head) + count * sizeof(Elf64_Phdr);
	for (unsigned i = 0; i < count; i++)
		if (segments[i].filesz &&
		    segments[i].offset + segments[i].filesz > to->len)
			to->len = segments[i].offset + segments[i].filesz;
	for (size_t i = 0; i < to->len; i++)
		to->bytes[i] = (uint8_t)((i * 7 + (i >> 12) * 13) % 255 + 1);
	memcpy(to->bytes, &head, sizeof(head));
	for (unsigned i = 0; i < count; i++) {
		const Elf64_Phdr phdr = {
			.p_type = segments[i].type,
			.p_offset = segments[i].offset,
			.p_vaddr = segments[i].vaddr,
			.p_paddr = segments[i].paddr,
			.p_filesz = segments[i].filesz,
			.p_memsz = segments[i].memsz,
			.p_align = 4096,
		};

		memcpy(to->bytes + SAMPLE_PHDR(i, p_type), &phdr, sizeof(phdr));
	}
}

/*
 * `sects` sectors of setup after the boot sector, then `paragraphs` * 16 bytes
 * of code. Protocol 2.15, relocatable, to be loaded at 16 MiB.
 */
static inline void sample_bzimage(struct sample *to, uint8_t sects,
				  uint32_t paragraphs, uint32_t init_size)
{
	uint8_t *head = to->bytes;
	size_t setup = (sects + 1u) * 512;

	to->len = setup + paragraphs * 16;
	for (size_t i = 0; i < to->len; i++)
		head[i] = (uint8_t)((i * 7 + (i >> 12) * 13) % 255 + 1);
	memset(head + 0x1f1, 0, 0x290 - 0x1f1);
	head[0x1f1] = sects;
	put_le32(head + 0x1f4, paragraphs);
	put_le16(head + 0x1fe, 0xaa55);
	head[0x200] = 0xeb; /* jmp over the header, which ends at 0x26c */
	head[0x201] = 0x6a;
	memcpy(head + 0x202, "HdrS", 4);
	put_le16(head + 0x206, 0x020f);
	head[0x211] = 1;		    /* LOADED_HIGH */
	put_le32(head + 0x214, 0x100000);   /* code32_start */
	put_le32(head + 0x22c, 0x7fffffff); /* initrd_addr_max */
	put_le32(head + 0x230, 0x200000);   /* kernel_alignment */
	head[0x234] = 1;		    /* relocatable_kernel */
	put_le16(head + 0x236, 0x7f);	    /* xloadflags */
	put_le32(head + 0x238, 2047);	    /* cmdline_size */
	put_le64(head + 0x258, 0x1000000);  /* pref_address */
	put_le32(head + 0x260, init_size);
}

#endif
