/*
 * ELF64 kernels.
 *
 * All program headers are copied out and judged before a byte of RAM changes;
 * then each PT_LOAD goes to its physical address. The part of a segment beyond
 * its bytes in the file (bss) is left alone: RAM starts zero, segments do not
 * overlap, and ram_load maps whole pages of file bytes only, so the rest of a
 * segment's last page is zero as well. Section headers, notes (PVH's too) and
 * alignments are not looked at.
 *
 * The entry: Linux gives e_entry as a physical address though its p_vaddr are
 * virtual, other kernels give a virtual one. So e_entry is taken as physical
 * where a segment's file bytes hold that physical address; else as virtual,
 * where they hold that one; else the file is refused.
 *
 * Trusts nothing in the file. Owns nothing. Main thread, before the vCPUs run.
 */
#include "boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>

#include "mem/util.h"

#define SEGMENTS_MAX 64
#define PHDR_SIZE    sizeof(Elf64_Phdr)

/* With no header to say otherwise: what x86 Linux takes. */
#define CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE with its NUL is 2048 */

/* The fields of one PT_LOAD; `index` is its place among the headers. */
struct segment {
	uint64_t offset, vaddr, paddr, filesz, memsz;
	unsigned index;
};

struct segments {
	struct segment segment[SEGMENTS_MAX];
	unsigned count;
};

#define EHDR16(head, field) get_le16((head) + offsetof(Elf64_Ehdr, field))
#define EHDR64(head, field) get_le64((head) + offsetof(Elf64_Ehdr, field))
#define PHDR32(phdr, field) get_le32((phdr) + offsetof(Elf64_Phdr, field))
#define PHDR64(phdr, field) get_le64((phdr) + offsetof(Elf64_Phdr, field))

static const struct number_name {
	uint16_t number;
	const char *name;
} machines[] = {
	{ EM_386, "32-bit x86" },   { EM_ARM, "32-bit ARM" },
	{ EM_AARCH64, "ARM64" },    { EM_RISCV, "RISC-V" },
	{ EM_PPC, "PowerPC" },	    { EM_PPC64, "PowerPC 64" },
	{ EM_S390, "s390" },	    { EM_MIPS, "MIPS" },
	{ EM_SPARCV9, "SPARC 64" }, { 258, "LoongArch" },
};

static const struct number_name types[] = {
	{ ET_NONE, "file of no type" },
	{ ET_REL, "object file or module" },
	{ ET_DYN, "position-independent program or library" },
	{ ET_CORE, "core dump" },
};

static const char *name_of(const struct number_name *table, size_t count,
			   uint16_t number, const char *unknown)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].number == number)
			return table[i].name;
	return unknown;
}

/* Is this file for this machine at all? */
static int check_ident(const struct source *source, const uint8_t *head)
{
	uint16_t machine = EHDR16(head, e_machine);
	uint16_t type = EHDR16(head, e_type);

	if (source->size < sizeof(Elf64_Ehdr))
		return source_error(source, -ENODATA,
				    "ends within its ELF header; get the "
				    "whole file");
	if (head[EI_CLASS] != ELFCLASS64)
		return source_error(source, -ENOEXEC,
				    "is a 32-bit ELF file; give a 64-bit "
				    "x86-64 kernel");
	if (head[EI_DATA] != ELFDATA2LSB)
		return source_error(source, -ENOEXEC,
				    "is a big-endian ELF file; give an x86-64 "
				    "kernel");
	if (machine != EM_X86_64)
		return source_error(source, -ENOEXEC,
				    "is for %s (ELF machine %u); give an "
				    "x86-64 kernel",
				    name_of(machines, ARRAY_LEN(machines),
					    machine, "another processor"),
				    machine);
	if (type != ET_EXEC)
		return source_error(source, -ENOEXEC,
				    "is an ELF %s (type %u), not a kernel; "
				    "give the vmlinux that the kernel's build "
				    "leaves, or a bzImage",
				    name_of(types, ARRAY_LEN(types), type,
					    "file of unknown type"),
				    type);
	return 0;
}

/* Where the program headers are; they are known to be in the file then. */
static int check_table(const struct source *source, const uint8_t *head)
{
	uint16_t size = EHDR16(head, e_phentsize);
	uint16_t count = EHDR16(head, e_phnum);
	uint64_t start = EHDR64(head, e_phoff), end;

	if (!count)
		return source_error(source, -EINVAL,
				    "has no program headers, so nothing to "
				    "load; link it as an executable");
	if (size != PHDR_SIZE)
		return source_error(source, -EINVAL,
				    "has program headers of %u bytes instead "
				    "of %zu; the file is damaged",
				    size, PHDR_SIZE);
	if (count > SEGMENTS_MAX)
		return source_error(source, -EINVAL,
				    "has %u program headers; %u are the most "
				    "that a kernel may have",
				    count, SEGMENTS_MAX);
	if (add_wraps(start, count * PHDR_SIZE, &end) || end > source->size)
		return source_error(source, -ENODATA,
				    "is cut short or damaged: its program "
				    "headers at 0x%llx are past its end; get "
				    "the whole file",
				    (unsigned long long)start);
	return 0;
}

static const struct segment *find_overlap(const struct segments *all,
					  const struct segment *one)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct segment *other = &all->segment[i];

		if (one->paddr < other->paddr + other->memsz &&
		    other->paddr < one->paddr + one->memsz)
			return other;
	}
	return NULL;
}

/* `all` holds the segments before this one, which passed. */
static int check_segment(const struct source *source, const struct ram *ram,
			 const struct segments *all, const struct segment *one)
{
	const struct segment *other;
	char part[32];
	uint64_t end;
	int error;

	if (one->filesz > one->memsz)
		return source_error(source, -EINVAL,
				    "segment %u has more bytes in the file "
				    "than in memory; the file is damaged",
				    one->index);
	/* With no bytes in the file, p_offset says nothing. */
	if (one->filesz &&
	    (add_wraps(one->offset, one->filesz, &end) || end > source->size))
		return source_error(source, -ENODATA,
				    "is cut short or damaged: segment %u is at "
				    "0x%llx with %llu bytes, the file has "
				    "%llu; get the whole file",
				    one->index, (unsigned long long)one->offset,
				    (unsigned long long)one->filesz,
				    (unsigned long long)source->size);
	snprintf(part, sizeof(part), "segment %u", one->index);
	error = source_place(source, ram, GPA(one->paddr), one->memsz, part);
	if (error)
		return error;
	other = find_overlap(all, one);
	if (other)
		return source_error(source, -EINVAL,
				    "segments %u and %u overlap in physical "
				    "memory at 0x%llx; link them apart",
				    other->index, one->index,
				    (unsigned long long)one->paddr);
	return 0;
}

static int read_segments(struct segments *all, const struct source *source,
			 const struct ram *ram, const uint8_t *head)
{
	unsigned count = EHDR16(head, e_phnum);
	uint8_t table[SEGMENTS_MAX * PHDR_SIZE];
	int error = source_read(source, table, EHDR64(head, e_phoff),
				count * PHDR_SIZE);

	for (unsigned i = 0; !error && i < count; i++) {
		const uint8_t *phdr = table + i * PHDR_SIZE;
		const struct segment one = {
			.offset = PHDR64(phdr, p_offset),
			.vaddr = PHDR64(phdr, p_vaddr),
			.paddr = PHDR64(phdr, p_paddr),
			.filesz = PHDR64(phdr, p_filesz),
			.memsz = PHDR64(phdr, p_memsz),
			.index = i,
		};

		if (PHDR32(phdr, p_type) == PT_INTERP)
			return source_error(source, -ENOEXEC,
					    "is a program for an operating "
					    "system, not a kernel; give the "
					    "vmlinux or bzImage to run it on");
		if (PHDR32(phdr, p_type) != PT_LOAD ||
		    (!one.memsz && !one.filesz))
			continue;
		error = check_segment(source, ram, all, &one);
		if (!error)
			all->segment[all->count++] = one;
	}
	if (!error && !all->count)
		return source_error(source, -EINVAL,
				    "has no PT_LOAD segment, so nothing to "
				    "load; was it stripped to debug "
				    "information?");
	return error;
}

static int find_entry(gpa *entry, const struct source *source,
		      const struct segments *all, uint64_t address)
{
	for (unsigned i = 0; i < all->count; i++) {
		const struct segment *one = &all->segment[i];

		if (address - one->paddr < one->filesz) {
			*entry = GPA(address);
			return 0;
		}
	}
	for (unsigned i = 0; i < all->count; i++) {
		const struct segment *one = &all->segment[i];

		if (address - one->vaddr < one->filesz) {
			*entry = GPA(one->paddr + (address - one->vaddr));
			return 0;
		}
	}
	return source_error(source, -EINVAL,
			    "has its entry at 0x%llx, outside of what it "
			    "loads; link it with an entry symbol",
			    (unsigned long long)address);
}

int elf_load(struct kernel_image *image, struct ram *ram,
	     const struct source *source, const uint8_t *head, bool copy)
{
	struct segments all = { .count = 0 };
	uint64_t start = UINT64_MAX, end = 0;
	int error = check_ident(source, head);

	if (!error)
		error = check_table(source, head);
	if (!error)
		error = read_segments(&all, source, ram, head);
	if (!error)
		error = find_entry(&image->entry, source, &all,
				   EHDR64(head, e_entry));
	for (unsigned i = 0; !error && i < all.count; i++) {
		const struct segment *one = &all.segment[i];

		if (one->paddr < start)
			start = one->paddr;
		if (one->paddr + one->memsz > end)
			end = one->paddr + one->memsz;
		error = source_load(source, ram, GPA(one->paddr), one->offset,
				    one->filesz, copy);
	}
	if (error)
		return error;
	image->start = GPA(start);
	image->size = end - start;
	image->initrd_max = GPA(RAM_GAP_START - 1);
	image->cmdline_max = CMDLINE_MAX;
	return 0;
}
