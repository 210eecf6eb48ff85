/*
 * bzImage kernels, by Documentation/arch/x86/boot.rst.
 *
 * The file is a boot sector with the setup header at 0x1f1, real-mode code
 * (setup_sects sectors, not used here), then syssize * 16 bytes of 64-bit code
 * that unpacks the kernel. Those go to pref_address, because the code moves
 * itself up there in any case: loaded elsewhere it would need more RAM, not
 * less. It is entered at its byte 0x200 and from then on may use init_size
 * bytes from where it is ("Details of Harder Fields", init_size).
 *
 * Protocol 2.12 (Linux 3.8, 2013) is the first with xloadflags, so also the
 * first that can promise a 64-bit entry. Trusts nothing in the file: the header
 * is in `head`, already copied. Owns nothing. Main thread, before the vCPUs.
 */
#include "boot/bzimage.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "mem/util.h"

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
static int check_header(const struct source *source, const uint8_t *head)
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
static int find_start(gpa *start, const struct source *source,
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

static int check_payload(const struct source *source, uint64_t offset,
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

int bzimage_load(struct kernel_image *image, struct ram *ram,
		 const struct source *source, const uint8_t *head, bool copy)
{
	unsigned sects =
		head[SETUP_SECTS] ? head[SETUP_SECTS] : SETUP_SECTS_DEFAULT;
	uint64_t offset = (sects + 1) * SECTOR;
	uint64_t len = get_le32(head + SYSSIZE) * 16ULL;
	uint64_t size = get_le32(head + INIT_SIZE);
	gpa start = GPA(0);
	int error = check_header(source, head);

	if (size < len) /* it cannot need less than what is loaded */
		size = len;
	if (!error)
		error = check_payload(source, offset, len);
	if (!error)
		error = find_start(&start, source, head);
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
