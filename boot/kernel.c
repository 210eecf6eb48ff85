/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel files: an ELF vmlinux or a bzImage goes into RAM.
 *
 * The first page is read once and judged by its magic bytes. What is neither
 * an ELF file nor a bzImage is looked up in a table of what users give by
 * mistake, so that the message can say what the file is and what to do.
 * Trusts nothing in the file. Owns no descriptor. Main thread, before the
 * vCPUs run.
 */
#include "boot/kernel.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "boot/source.h"
#include "cpu/entry.h"
#include "mem/util.h"

#define HEAD_SIZE 4096
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
static int check_elf_ident(const struct source *source, const uint8_t *head)
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
		return source_error(
			source, -ENOEXEC,
			"is for %s (ELF machine %u); give an "
			"x86-64 kernel",
			elf_number_name(elf_machines, ARRAY_LEN(elf_machines),
					machine, "another processor"),
			machine);
	if (type != ET_EXEC)
		return source_error(source, -ENOEXEC,
				    "is an ELF %s (type %u), not a kernel; "
				    "give the vmlinux that the kernel's build "
				    "leaves, or a bzImage",
				    elf_number_name(elf_types,
						    ARRAY_LEN(elf_types), type,
						    "file of unknown type"),
				    type);
	return 0;
}

/* Where the program headers are; they are known to be in the file then. */
static int check_phdr_table(const struct source *source, const uint8_t *head)
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

static const struct segment *
find_overlapping_segment(const struct segments *all, const struct segment *one)
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
static int check_elf_segment(const struct source *source, const struct ram *ram,
			     const struct segments *all,
			     const struct segment *one)
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
	other = find_overlapping_segment(all, one);
	if (other)
		return source_error(source, -EINVAL,
				    "segments %u and %u overlap in physical "
				    "memory at 0x%llx; link them apart",
				    other->index, one->index,
				    (unsigned long long)one->paddr);
	return 0;
}

static int read_elf_segments(struct segments *all, const struct source *source,
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
		error = check_elf_segment(source, ram, all, &one);
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

static int find_elf_entry(gpa *entry, const struct source *source,
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

static int load_elf(struct kernel_image *image, struct ram *ram,
		    const struct source *source, const uint8_t *head, bool copy)
{
	struct segments all = { .count = 0 };
	uint64_t start = UINT64_MAX, end = 0;
	int error = check_elf_ident(source, head);

	if (!error)
		error = check_phdr_table(source, head);
	if (!error)
		error = read_elf_segments(&all, source, ram, head);
	if (!error)
		error = find_elf_entry(&image->entry, source, &all,
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

/* Offsets in the file; names as in boot.rst, "The Real-Mode Kernel Header". */
#define SETUP_SECTS	   0x1f1
#define SYSSIZE		   0x1f4
#define BOOT_FLAG	   0x1fe
#define JUMP_LENGTH	   0x201 /* of `jump`: the header ends after it */
#define HEADER		   0x202
#define VERSION		   0x206
#define LOADFLAGS	   0x211
#define CODE32_START	   0x214
#define INITRD_ADDR_MAX	   0x22c
#define KERNEL_ALIGNMENT   0x230
#define RELOCATABLE_KERNEL 0x234
#define XLOADFLAGS	   0x236
#define CMDLINE_SIZE	   0x238
#define PREF_ADDRESS	   0x258
#define INIT_SIZE	   0x260
#define HEADER_END_MIN	   (INIT_SIZE + 4)

#define BOOT_FLAG_MAGIC	    0xaa55
#define VERSION_MIN	    0x020c
#define LOADED_HIGH	    (1u << 0) /* of loadflags */
#define XLF_KERNEL_64	    (1u << 0) /* of xloadflags */
#define SECTOR		    512u
#define SETUP_SECTS_DEFAULT 4 /* for 0, "for backwards compatibility" */
#define ENTRY_64	    0x200u

/* Is it a kernel that has a 64-bit entry, and is its header whole? */
static int check_setup_header(const struct source *source, const uint8_t *head)
{
	unsigned version = get_le16(head + VERSION);
	unsigned end = HEADER + head[JUMP_LENGTH];

	if (get_le16(head + BOOT_FLAG) != BOOT_FLAG_MAGIC)
		return source_error(source, -EINVAL,
				    "has no boot flag 0xaa55 before its "
				    "bzImage header; the file is damaged");
	if (!(head[LOADFLAGS] & LOADED_HIGH))
		return source_error(source, -ENOEXEC,
				    "is a zImage, made to load below 1 MiB; "
				    "build a bzImage");
	if (version < VERSION_MIN)
		return source_error(source, -ENOEXEC,
				    "has boot protocol %u.%02u; a 64-bit start "
				    "needs 2.12 or later: take Linux 3.8 or "
				    "later, or the vmlinux inside it",
				    version >> 8, version & 0xff);
	if (!(get_le16(head + XLOADFLAGS) & XLF_KERNEL_64))
		return source_error(source, -ENOEXEC,
				    "is a 32-bit kernel (no XLF_KERNEL_64); "
				    "give an x86-64 kernel");
	if (end < HEADER_END_MIN || end > KERNEL_SETUP_START + KERNEL_SETUP_MAX)
		return source_error(source, -EINVAL,
				    "has a setup header that ends at 0x%x, not "
				    "in 0x%x to 0x%x; the file is damaged",
				    end, HEADER_END_MIN,
				    KERNEL_SETUP_START + KERNEL_SETUP_MAX);
	return 0;
}

/*
 * Where the kernel goes: pref_address, or code32_start where there is none; a
 * relocatable one aligned upwards, as it would align itself.
 */
static int find_bzimage_start(gpa *start, const struct source *source,
			      const uint8_t *head)
{
	uint64_t at = get_le64(head + PREF_ADDRESS);
	uint64_t unit = get_le32(head + KERNEL_ALIGNMENT);

	if (!at)
		at = get_le32(head + CODE32_START);
	if (head[RELOCATABLE_KERNEL]) {
		if (!unit || unit & (unit - 1))
			return source_error(source, -EINVAL,
					    "asks for an alignment of 0x%llx, "
					    "not a power of two; the file is "
					    "damaged",
					    (unsigned long long)unit);
		/* Where this would wrap, `at` is refused as too high anyway. */
		if (at < RAM_GAP_START)
			at = round_up(at, unit);
	}
	*start = GPA(at);
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
	unsigned sects =
		head[SETUP_SECTS] ? head[SETUP_SECTS] : SETUP_SECTS_DEFAULT;
	uint64_t offset = (sects + 1) * SECTOR;
	uint64_t len = get_le32(head + SYSSIZE) * 16ULL;
	uint64_t size = get_le32(head + INIT_SIZE);
	gpa start = GPA(0);
	int error = check_setup_header(source, head);

	if (size < len) /* it cannot need less than what is loaded */
		size = len;
	if (!error)
		error = check_bzimage_payload(source, offset, len);
	if (!error)
		error = find_bzimage_start(&start, source, head);
	if (!error)
		error = source_place(source, ram, start, size,
				     "what it unpacks to");
	if (!error)
		error = source_load(source, ram, start, offset, len, copy);
	if (error)
		return error;
	image->entry = gpa_add(start, ENTRY_64);
	image->start = start;
	image->size = size;
	image->initrd_max = GPA(get_le32(head + INITRD_ADDR_MAX));
	image->cmdline_max = get_le32(head + CMDLINE_SIZE);
	image->bzimage = true;
	image->setup_header_len =
		HEADER + head[JUMP_LENGTH] - KERNEL_SETUP_START;
	memcpy(image->setup_header, head + KERNEL_SETUP_START,
	       image->setup_header_len);
	return 0;
}

/* -- which format a file has -------------------------------------------------
 */

struct magic {
	size_t offset, len;
	const char *bytes;
};
#define MAGIC(offset, bytes)                                                   \
	{                                                                      \
		(offset), sizeof(bytes) - 1, (bytes)                           \
	}

static const struct format {
	struct magic magic;
	int (*load)(struct kernel_image *image, struct ram *ram,
		    const struct source *source, const uint8_t *head,
		    bool copy);
} formats[] = {
	{ MAGIC(0, "\177ELF"), load_elf },
	{ MAGIC(0x202, "HdrS"), load_bzimage },
};

#define UNPACK	   "decompress it first"
#define X86_NEEDED "give an x86-64 vmlinux or bzImage"
#define FOR_DISK   "give it with --disk, and a kernel with --kernel"
#define FOR_INITRD "give it with --initrd, and a kernel with --kernel"
#define QCOW_RAW   "make it raw (qemu-img convert -O raw) and give it with --disk"
#define EXTRACT	   "take the kernel out of it"

/* In this order: the weakest signs come last. */
static const struct stranger {
	struct magic magic;
	const char *is, *mend;
} strangers[] = {
	{ MAGIC(0, "\x1f\x8b"), "a gzip file", UNPACK " (gzip -dc)" },
	{ MAGIC(0, "\xfd"
		   "7zXZ\0"),
	  "an xz file", UNPACK " (xz -dc)" },
	{ MAGIC(0, "BZh"), "a bzip2 file", UNPACK " (bzip2 -dc)" },
	{ MAGIC(0, "\x28\xb5\x2f\xfd"), "a zstd file", UNPACK " (zstd -dc)" },
	{ MAGIC(0, "\x04\x22\x4d\x18"), "an lz4 file", UNPACK " (lz4 -dc)" },
	{ MAGIC(0, "\x02\x21\x4c\x18"), "an lz4 file", UNPACK " (lz4 -dc)" },
	{ MAGIC(0, "\x89LZO"), "an lzop file", UNPACK " (lzop -dc)" },
	{ MAGIC(0, "\x5d\0\0"), "an lzma file", UNPACK " (xz -dc)" },
	{ MAGIC(0x38, "ARM\x64"), "an ARM64 Image", X86_NEEDED },
	{ MAGIC(0x38, "RSC\x05"), "a RISC-V Image", X86_NEEDED },
	{ MAGIC(0x24, "\x18\x28\x6f\x01"), "an ARM zImage", X86_NEEDED },
	{ MAGIC(0, "\x27\x05\x19\x56"), "a U-Boot uImage", X86_NEEDED },
	{ MAGIC(0, "\xd0\x0d\xfe\xed"), "a device tree or FIT image",
	  X86_NEEDED },
	{ MAGIC(4, "zimg"), "an EFI zboot image", X86_NEEDED },
	{ MAGIC(0, "0707"), "a cpio archive", FOR_INITRD },
	{ MAGIC(0, "QFI\xfb"), "a qcow2 disk image", QCOW_RAW },
	{ MAGIC(0, "KDMV"), "a VMDK disk image", QCOW_RAW },
	{ MAGIC(0, "hsqs"), "a squashfs file system", FOR_DISK },
	{ MAGIC(0, "XFSB"), "an XFS file system", FOR_DISK },
	{ MAGIC(0x438, "\x53\xef"), "an ext4 file system", FOR_DISK },
	{ MAGIC(0x400, "\xe2\xe1\xf5\xe0"), "an EROFS file system", FOR_DISK },
	{ MAGIC(0, "!<arch>\n"), "a Debian package or ar archive", EXTRACT },
	{ MAGIC(0, "\xed\xab\xee\xdb"), "an RPM package", EXTRACT },
	{ MAGIC(0, "PK\x03\x04"), "a zip archive", EXTRACT },
	{ MAGIC(257, "ustar"), "a tar archive", EXTRACT },
	{ MAGIC(0, "#!"), "a script", X86_NEEDED },
	{ MAGIC(0x1fe, "\x55\xaa"), "a disk image", FOR_DISK },
	{ MAGIC(0, "MZ"), "an EFI or DOS program", X86_NEEDED },
};

static bool has_magic(const uint8_t *head, const struct magic *magic)
{
	return !memcmp(head + magic->offset, magic->bytes, magic->len);
}

static int refuse_format(const struct source *source, const uint8_t *head)
{
	for (size_t i = 0; i < ARRAY_LEN(strangers); i++)
		if (has_magic(head, &strangers[i].magic))
			return source_error(source, -ENOEXEC, "is %s; %s",
					    strangers[i].is, strangers[i].mend);
	return source_error(
		source, -ENOEXEC,
		"is neither an ELF vmlinux nor a bzImage; " X86_NEEDED);
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
	const struct format *format = formats;
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
	while (format < formats + ARRAY_LEN(formats) &&
	       !has_magic(head, &format->magic))
		format++;
	if (format < formats + ARRAY_LEN(formats))
		error = format->load(image, ram, &source, head, copy);
	else
		error = refuse_format(&source, head);
	if (!error)
		error = check_kernel_entry(&source, image->entry);
out:
	source_close(&source);
	return error;
}
