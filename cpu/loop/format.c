/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Formats that users take for a kernel, an initrd or a raw disk by mistake, so
 * that a message can say what the file is. What to do about it depends on what
 * it was named as, and is for those who ask.
 *
 * Trusts nothing in the file. Constant data and a search; any thread.
 */
#include "cpu/loop/format.h"

#include <string.h>

#include "mem/util.h"

#define MAGIC(offset, bytes) (offset), sizeof(bytes) - 1, (bytes)

/* In this order: the weakest signs come last. */
static const struct format formats[] = {
	{ FORMAT_PACKED, MAGIC(0, "\x1f\x8b"), "a gzip file", "gzip -dc" },
	{ FORMAT_PACKED,
	  MAGIC(0, "\xfd"
		   "7zXZ\0"),
	  "an xz file", "xz -dc" },
	{ FORMAT_PACKED, MAGIC(0, "BZh"), "a bzip2 file", "bzip2 -dc" },
	{ FORMAT_PACKED, MAGIC(0, "\x28\xb5\x2f\xfd"), "a zstd file",
	  "zstd -dc" },
	{ FORMAT_PACKED, MAGIC(0, "\x04\x22\x4d\x18"), "an lz4 file",
	  "lz4 -dc" },
	{ FORMAT_PACKED, MAGIC(0, "\x02\x21\x4c\x18"), "an lz4 file",
	  "lz4 -dc" },
	{ FORMAT_PACKED, MAGIC(0, "\x89LZO"), "an lzop file", "lzop -dc" },
	{ FORMAT_PACKED, MAGIC(0, "\x5d\0\0"), "an lzma file", "xz -dc" },
	{ FORMAT_OTHER_CPU, MAGIC(0x38, "ARM\x64"), "an ARM64 Image", NULL },
	{ FORMAT_OTHER_CPU, MAGIC(0x38, "RSC\x05"), "a RISC-V Image", NULL },
	{ FORMAT_OTHER_CPU, MAGIC(0x24, "\x18\x28\x6f\x01"), "an ARM zImage",
	  NULL },
	{ FORMAT_OTHER_CPU, MAGIC(0, "\x27\x05\x19\x56"), "a U-Boot uImage",
	  NULL },
	{ FORMAT_OTHER_CPU, MAGIC(0, "\xd0\x0d\xfe\xed"),
	  "a device tree or FIT image", NULL },
	{ FORMAT_OTHER_CPU, MAGIC(4, "zimg"), "an EFI zboot image", NULL },
	{ FORMAT_CPIO, MAGIC(0, "0707"), "a cpio archive", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0, "QFI\xfb"), "a qcow2 disk image", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0, "KDMV"), "a VMDK disk image", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0, "COWD"), "a VMDK disk image", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0, "# Disk DescriptorFile"),
	  "a VMDK descriptor", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0, "vhdxfile"), "a VHDX disk image", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0, "conectix"), "a VHD disk image", NULL },
	{ FORMAT_DISK_IMAGE, MAGIC(0x40, "\x7f\x10\xda\xbe"),
	  "a VDI disk image", NULL },
	{ FORMAT_DISK, MAGIC(0, "hsqs"), "a squashfs file system", NULL },
	{ FORMAT_DISK, MAGIC(0, "XFSB"), "an XFS file system", NULL },
	{ FORMAT_DISK, MAGIC(0x438, "\x53\xef"), "an ext4 file system", NULL },
	{ FORMAT_DISK, MAGIC(0x400, "\xe2\xe1\xf5\xe0"), "an EROFS file system",
	  NULL },
	{ FORMAT_PACKAGE, MAGIC(0, "!<arch>\n"),
	  "a Debian package or ar archive", NULL },
	{ FORMAT_PACKAGE, MAGIC(0, "\xed\xab\xee\xdb"), "an RPM package",
	  NULL },
	{ FORMAT_PACKAGE, MAGIC(0, "PK\x03\x04"), "a zip archive", NULL },
	{ FORMAT_TAR, MAGIC(257, "ustar"), "a tar archive", NULL },
	{ FORMAT_PROGRAM, MAGIC(0, "#!"), "a script", NULL },
	{ FORMAT_DISK, MAGIC(0x1fe, "\x55\xaa"), "a disk image", NULL },
	{ FORMAT_PROGRAM, MAGIC(0, "MZ"), "an EFI or DOS program", NULL },
};

const struct format *format_find(const void *head, size_t len)
{
	const char *bytes = head;

	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		const struct format *format = &formats[i];

		if (format->offset + format->len <= len &&
		    !memcmp(bytes + format->offset, format->bytes, format->len))
			return format;
	}
	return NULL;
}
