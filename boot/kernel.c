/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files: an ELF vmlinux or a bzImage goes into RAM.
 *
 * The first page is read once and judged by its magic bytes. What is neither
 * an ELF file nor a bzImage is looked up among what users give by mistake
 * (cpu/loop/format.c), so that the message can say what it is and what to do.
 * Trusts nothing in the file. Owns no descriptor. Main thread, before the
 * vCPUs run.
 */
#include "boot/kernel.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "boot/source.h"
#include "cpu/entry.h"
#include "cpu/loop/format.h"
#include "mem/util.h"

#define HEAD_SIZE FORMAT_HEAD
/* A piped vmlinux with its debug information may be larger than the guest. */
#define STREAM_MAX (1ULL << 30)

/* -- ELF -------------------------------------------------------------------
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
 */

#define SEGMENTS_MAX 64

/* With no header to say otherwise: what x86 Linux takes. */
#define CMDLINE_MAX 2047 /* COMMAND_LINE_SIZE with its NUL is 2048 */

/* Copies; of the program headers, PT_NULL are those that load nothing. */
struct elf_headers {
	Elf64_Ehdr file;
	Elf64_Phdr segment[SEGMENTS_MAX];
};

static const struct number_name {
	uint16_t number;
	const char *name;
} elf_machines[] = {
	{ EM_386, "32-bit x86" },   { EM_ARM, "32-bit ARM" },
	{ EM_AARCH64, "ARM64" },    { EM_RISCV, "RISC-V" },
	{ EM_PPC, "PowerPC" },	    { EM_PPC64, "PowerPC 64" },
	{ EM_S390, "s390" },	    { EM_MIPS, "MIPS" },
	{ EM_SPARCV9, "SPARC 64" }, { 258, "LoongArch" },
};

static const struct number_name elf_types[] = {
	{ ET_NONE, "file of no type" },
	{ ET_REL, "object file or module" },
	{ ET_DYN, "position-independent program or library" },
	{ ET_CORE, "core dump" },
};

static const char *elf_number_name(const struct number_name *table,
				   size_t count, uint16_t number,
				   const char *unknown)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].number == number)
			return table[i].name;
	return unknown;
}

/* Is this file for this machine at all? */
static int check_elf_ident(const struct source *source, const Elf64_Ehdr *file)
{
	if (source->size < sizeof(*file))
		return source_error(source, -ENODATA,
				    "ends within its ELF header; get the "
				    "whole file");
	if (file->e_ident[EI_CLASS] != ELFCLASS64)
		return source_error(source, -ENOEXEC,
				    "is a 32-bit ELF file; give a 64-bit "
				    "x86-64 kernel");
	if (file->e_ident[EI_DATA] != ELFDATA2LSB)
		return source_error(source, -ENOEXEC,
				    "is a big-endian ELF file; give an x86-64 "
				    "kernel");
	if (file->e_machine != EM_X86_64)
		return source_error(
			source, -ENOEXEC,
			"is for %s (ELF machine %u); give an x86-64 kernel",
			elf_number_name(elf_machines, ARRAY_LEN(elf_machines),
					file->e_machine, "another processor"),
			file->e_machine);
	if (file->e_type != ET_EXEC)
		return source_error(
			source, -ENOEXEC,
			"is an ELF %s (type %u), not a kernel; give the "
			"vmlinux that the kernel's build leaves, or a bzImage",
			elf_number_name(elf_types, ARRAY_LEN(elf_types),
					file->e_type, "file of unknown type"),
			file->e_type);
	return 0;
}

/* Where the program headers are; they are known to be in the file then. */
static int check_phdr_table(const struct source *source, const Elf64_Ehdr *file)
{
	uint64_t end;

	if (!file->e_phnum)
		return source_error(source, -EINVAL,
				    "has no program headers, so nothing to "
				    "load; link it as an executable");
	if (file->e_phentsize != sizeof(Elf64_Phdr))
		return source_error(source, -EINVAL,
				    "has program headers of %u bytes instead "
				    "of %zu; the file is damaged",
				    file->e_phentsize, sizeof(Elf64_Phdr));
	if (file->e_phnum > SEGMENTS_MAX)
		return source_error(source, -EINVAL,
				    "has %u program headers; %u are the most "
				    "that a kernel may have",
				    file->e_phnum, SEGMENTS_MAX);
	if (add_wraps(file->e_phoff, file->e_phnum * sizeof(Elf64_Phdr),
		      &end) ||
	    end > source->size)
		return source_error(source, -ENODATA,
				    "is cut short or damaged: its program "
				    "headers at 0x%llx are past its end; get "
				    "the whole file",
				    (unsigned long long)file->e_phoff);
	return 0;
}

static bool segments_overlap(const Elf64_Phdr *a, const Elf64_Phdr *b)
{
	return a->p_paddr < b->p_paddr + b->p_memsz &&
	       b->p_paddr < a->p_paddr + a->p_memsz;
}

/* Segment `index` is to be loaded; those before it passed. */
static int check_elf_segment(const struct source *source, const struct ram *ram,
			     const struct elf_headers *elf, unsigned index)
{
	const Elf64_Phdr *segment = &elf->segment[index];
	char part[32];
	uint64_t end;
	int error;

	if (segment->p_filesz > segment->p_memsz)
		return source_error(source, -EINVAL,
				    "segment %u has more bytes in the file "
				    "than in memory; the file is damaged",
				    index);
	/* With no bytes in the file, p_offset says nothing. */
	if (segment->p_filesz &&
	    (add_wraps(segment->p_offset, segment->p_filesz, &end) ||
	     end > source->size))
		return source_error(source, -ENODATA,
				    "is cut short or damaged: segment %u is at "
				    "0x%llx with %llu bytes, the file has "
				    "%llu; get the whole file",
				    index,
				    (unsigned long long)segment->p_offset,
				    (unsigned long long)segment->p_filesz,
				    (unsigned long long)source->size);
	snprintf(part, sizeof(part), "segment %u", index);
	error = source_check_range(source, ram, GPA(segment->p_paddr),
				   segment->p_memsz, part);
	for (unsigned i = 0; !error && i < index; i++)
		if (elf->segment[i].p_type == PT_LOAD &&
		    segments_overlap(&elf->segment[i], segment))
			error = source_error(
				source, -EINVAL,
				"segments %u and %u overlap in physical memory "
				"at 0x%llx; link them apart",
				i, index, (unsigned long long)segment->p_paddr);
	return error;
}

static int read_elf_segments(struct elf_headers *elf,
			     const struct source *source, const struct ram *ram)
{
	int error = source_read(source, elf->segment, elf->file.e_phoff,
				elf->file.e_phnum * sizeof(Elf64_Phdr));
	bool loads = false;

	for (unsigned i = 0; !error && i < elf->file.e_phnum; i++) {
		Elf64_Phdr *segment = &elf->segment[i];

		if (segment->p_type == PT_INTERP)
			return source_error(source, -ENOEXEC,
					    "is a program for an operating "
					    "system, not a kernel; give the "
					    "vmlinux or bzImage to run it on");
		if (segment->p_type != PT_LOAD ||
		    (!segment->p_memsz && !segment->p_filesz)) {
			segment->p_type = PT_NULL;
			continue;
		}
		error = check_elf_segment(source, ram, elf, i);
		loads = true;
	}
	if (!error && !loads)
		return source_error(source, -EINVAL,
				    "has no PT_LOAD segment, so nothing to "
				    "load; was it stripped to debug "
				    "information?");
	return error;
}

/* Physical addresses of all segments first, then virtual ones. */
static int find_elf_entry(gpa *entry, const struct source *source,
			  const struct elf_headers *elf)
{
	const unsigned count = elf->file.e_phnum;
	const uint64_t address = elf->file.e_entry;

	for (unsigned i = 0; i < 2 * count; i++) {
		const Elf64_Phdr *segment = &elf->segment[i % count];
		uint64_t start =
			i < count ? segment->p_paddr : segment->p_vaddr;

		if (segment->p_type != PT_LOAD ||
		    address - start >= segment->p_filesz)
			continue;
		*entry = GPA(segment->p_paddr + (address - start));
		return 0;
	}
	return source_error(source, -EINVAL,
			    "has its entry at 0x%llx, outside of what it "
			    "loads; link it with an entry symbol",
			    (unsigned long long)address);
}

static int load_elf(struct kernel_image *image, struct ram *ram,
		    const struct source *source, const uint8_t *head, bool copy)
{
	uint64_t start = UINT64_MAX, end = 0;
	struct elf_headers elf;
	int error;

	memcpy(&elf.file, head, sizeof(elf.file));
	error = check_elf_ident(source, &elf.file);
	if (!error)
		error = check_phdr_table(source, &elf.file);
	if (!error)
		error = read_elf_segments(&elf, source, ram);
	if (!error)
		error = find_elf_entry(&image->entry, source, &elf);
	for (unsigned i = 0; !error && i < elf.file.e_phnum; i++) {
		const Elf64_Phdr *segment = &elf.segment[i];

		if (segment->p_type != PT_LOAD)
			continue;
		if (segment->p_paddr < start)
			start = segment->p_paddr;
		if (segment->p_paddr + segment->p_memsz > end)
			end = segment->p_paddr + segment->p_memsz;
		error = source_load(source, ram, GPA(segment->p_paddr),
				    segment->p_offset, segment->p_filesz, copy);
	}
	if (error)
		return error;
	image->start = GPA(start);
	image->size = end - start;
	image->initrd_max = GPA(RAM_GAP_START - 1);
	image->cmdline_max = CMDLINE_MAX;
	return 0;
}

/* -- bzImage, by Documentation/arch/x86/boot.rst ----------------------------
 *
 * The file is a boot sector with the setup header at 0x1f1, real-mode code
 * (setup_sects sectors, not used here), then syssize * 16 bytes of 64-bit code
 * that unpacks the kernel. Those go to pref_address, because the code moves
 * itself up there in any case: loaded elsewhere it would need more RAM, not
 * less. It is entered at its byte 0x200 and from then on may use init_size
 * bytes from where it is ("Details of Harder Fields", init_size).
 *
 * Protocol 2.12 (Linux 3.8, 2013) is the first with xloadflags, so also the
 * first that can promise a 64-bit entry.
 */

#define SETUP_VERSION_MIN   0x020c
#define SETUP_BOOT_FLAG	    0xaa55
#define SECTOR		    512u
#define SETUP_SECTS_DEFAULT 4 /* for 0, "for backwards compatibility" */
#define ENTRY_64	    0x200u

/* "HdrS", in the file */
#define SETUP_MAGIC_AT                                                         \
	(KERNEL_SETUP_START + offsetof(struct setup_header, header))

/* The header ends where the jump over it, an opcode and a distance, leads. */
#define SETUP_END_MIN                                                          \
	(KERNEL_SETUP_START + offsetof(struct setup_header, handover_offset))
static unsigned setup_header_end(const struct setup_header *setup)
{
	return SETUP_MAGIC_AT + (setup->jump >> 8);
}

/* Is it a kernel that has a 64-bit entry, and is its header whole? */
static int check_setup_header(const struct source *source,
			      const struct setup_header *setup)
{
	unsigned end = setup_header_end(setup);

	if (setup->boot_flag != SETUP_BOOT_FLAG)
		return source_error(source, -EINVAL,
				    "has no boot flag 0xaa55 before its "
				    "bzImage header; the file is damaged");
	if (!(setup->loadflags & LOADED_HIGH))
		return source_error(source, -ENOEXEC,
				    "is a zImage, made to load below 1 MiB; "
				    "build a bzImage");
	if (setup->version < SETUP_VERSION_MIN)
		return source_error(source, -ENOEXEC,
				    "has boot protocol %u.%02u; a 64-bit start "
				    "needs 2.12 or later: take Linux 3.8 or "
				    "later, or the vmlinux inside it",
				    setup->version >> 8, setup->version & 0xff);
	if (!(setup->xloadflags & XLF_KERNEL_64))
		return source_error(source, -ENOEXEC,
				    "is a 32-bit kernel (no XLF_KERNEL_64); "
				    "give an x86-64 kernel");
	if (end < SETUP_END_MIN || end > KERNEL_SETUP_START + KERNEL_SETUP_MAX)
		return source_error(source, -EINVAL,
				    "has a setup header that ends at 0x%x, not "
				    "in 0x%zx to 0x%x; the file is damaged",
				    end, SETUP_END_MIN,
				    KERNEL_SETUP_START + KERNEL_SETUP_MAX);
	return 0;
}

/*
 * Where the kernel goes: pref_address, or code32_start where there is none; a
 * relocatable one aligned upwards, as it would align itself.
 */
static int find_bzimage_start(gpa *start, const struct source *source,
			      const struct setup_header *setup)
{
	uint64_t unit = setup->kernel_alignment;

	*start = GPA(setup->pref_address ? setup->pref_address
					 : setup->code32_start);
	if (!setup->relocatable_kernel)
		return 0;
	if (!unit || unit & (unit - 1))
		return source_error(source, -EINVAL,
				    "asks for an alignment of 0x%llx, not a "
				    "power of two; the file is damaged",
				    (unsigned long long)unit);
	/* Where this would wrap, it is refused as too high anyway. */
	if (start->v < RAM_GAP_START)
		*start = GPA(round_up(start->v, unit));
	return 0;
}

static int check_bzimage_payload(const struct source *source, uint64_t offset,
				 uint64_t len)
{
	if (len <= ENTRY_64)
		return source_error(source, -EINVAL,
				    "has %llu bytes of code after its setup, "
				    "too few for a 64-bit entry; the file is "
				    "damaged",
				    (unsigned long long)len);
	if (offset + len > source->size)
		return source_error(source, -ENODATA,
				    "is cut short: its header asks for %llu "
				    "bytes, the file has %llu; get the whole "
				    "file",
				    (unsigned long long)(offset + len),
				    (unsigned long long)source->size);
	return 0;
}

static int load_bzimage(struct kernel_image *image, struct ram *ram,
			const struct source *source, const uint8_t *head,
			bool copy)
{
	struct setup_header setup;
	uint64_t offset, len, size;
	gpa start = GPA(0);
	int error;

	memcpy(&setup, head + KERNEL_SETUP_START, sizeof(setup));
	offset = setup.setup_sects ? setup.setup_sects : SETUP_SECTS_DEFAULT;
	offset = (offset + 1) * SECTOR;
	len = setup.syssize * 16ULL;
	/* It cannot need less than what is loaded. */
	size = setup.init_size < len ? len : setup.init_size;
	error = check_setup_header(source, &setup);
	if (!error)
		error = check_bzimage_payload(source, offset, len);
	if (!error)
		error = find_bzimage_start(&start, source, &setup);
	if (!error)
		error = source_check_range(source, ram, start, size,
					   "what it unpacks to");
	if (!error)
		error = source_load(source, ram, start, offset, len, copy);
	if (error)
		return error;
	image->entry = gpa_add(start, ENTRY_64);
	image->start = start;
	image->size = size;
	image->initrd_max = GPA(setup.initrd_addr_max);
	image->cmdline_max = setup.cmdline_size;
	image->setup_header_len = setup_header_end(&setup) - KERNEL_SETUP_START;
	memcpy(image->setup_header, head + KERNEL_SETUP_START,
	       image->setup_header_len);
	return 0;
}

/* -- which format a file has ---------------------------------------------- */

#define X86_NEEDED "give an x86-64 vmlinux or bzImage"

static int refuse_format(const struct source *source, const uint8_t *head)
{
	static const char *const mend[FORMAT_KINDS] = {
		[FORMAT_PACKED] = "decompress it first",
		[FORMAT_OTHER_CPU] = X86_NEEDED,
		[FORMAT_CPIO] = "give it with --initrd, and a kernel with "
				"--kernel",
		[FORMAT_DISK_IMAGE] = "make it raw (qemu-img convert -O raw) "
				      "and give it with --disk",
		[FORMAT_DISK] = "give it with --disk, and a kernel with "
				"--kernel",
		[FORMAT_PACKAGE] = "take the kernel out of it",
		[FORMAT_TAR] = "take the kernel out of it",
		[FORMAT_PROGRAM] = X86_NEEDED,
	};
	const struct format *format = format_find(head, HEAD_SIZE);

	if (!format)
		return source_error(source, -ENOEXEC,
				    "is neither an ELF vmlinux nor a bzImage; "
				    "%s",
				    X86_NEEDED);
	return source_error(source, -ENOEXEC, "is %s; %s%s%s%s", format->is,
			    mend[format->kind], format->tool ? " (" : "",
			    format->tool ? format->tool : "",
			    format->tool ? ")" : "");
}

/* Its first instruction must be where the first page tables reach. */
static int check_kernel_entry(const struct source *source, gpa entry)
{
	if (entry.v < ENTRY_MAPPED)
		return 0;
	return source_error(source, -EINVAL,
			    "starts at 0x%llx, and what is mapped at the start "
			    "ends at 1 GiB; link it at a lower physical "
			    "address",
			    (unsigned long long)entry.v);
}

int kernel_load(struct kernel_image *image, struct ram *ram, int fd,
		const char *name, bool copy)
{
	uint64_t most = ram->size < STREAM_MAX ? STREAM_MAX : ram->size;
	uint8_t head[HEAD_SIZE] = { 0 };
	struct source source;
	int error;

	*image = (struct kernel_image){ 0 };
	error = source_open(&source, "kernel", fd, name, most);
	if (error)
		return error;
	error = source_read(&source, head, 0,
			    source.size < HEAD_SIZE ? (size_t)source.size
						    : HEAD_SIZE);
	if (error)
		goto out;
	if (!memcmp(head, ELFMAG, SELFMAG))
		error = load_elf(image, ram, &source, head, copy);
	else if (!memcmp(head + SETUP_MAGIC_AT, "HdrS", 4))
		error = load_bzimage(image, ram, &source, head, copy);
	else
		error = refuse_format(&source, head);
	if (!error)
		error = check_kernel_entry(&source, image->entry);
out:
	source_close(&source);
	return error;
}
