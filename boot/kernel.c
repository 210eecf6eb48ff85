/*
 * Kernel files: which format one has.
 *
 * The first page is read once and judged by its magic bytes. What is neither
 * an ELF file nor a bzImage is looked up in a table of what users give by
 * mistake, so that the message can say what the file is and what to do.
 * Trusts nothing in the file. Owns no descriptor. Main thread, before the
 * vCPUs run.
 */
#include "boot/kernel.h"

#include <errno.h>
#include <string.h>

#include "boot/bzimage.h"
#include "boot/elf.h"
#include "boot/source.h"
#include "cpu/entry.h"
#include "mem/util.h"

#define HEAD_SIZE 4096
/* A piped vmlinux with its debug information may be larger than the guest. */
#define STREAM_MAX (1ULL << 30)

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
	{ MAGIC(0, "\177ELF"), elf_load },
	{ MAGIC(0x202, "HdrS"), bzimage_load },
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

static int refuse(const struct source *source, const uint8_t *head)
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
static int check_entry(const struct source *source, gpa entry)
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
		error = refuse(&source, head);
	if (!error)
		error = check_entry(&source, image->entry);
out:
	source_close(&source);
	return error;
}
