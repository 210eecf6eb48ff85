/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is on a disk: which file system, and by which name it is known.
 *
 * It is seen from the disk. To try one file system after the other would have
 * each that it is not complain on the console; and what udev would know of
 * names is not there yet. Names as of blkid: those of file systems, and of
 * partitions of a GPT (UEFI 2.10, 5.3) or an MBR, numbered as the kernel
 * numbers them.
 */
#include "boot/init/init.h"

#define WAIT_MS 2000 /* for the disk's driver */
#define STEP_MS 5

#define GPT_ENTRIES   1024u
#define MBR_SIGNATURE 440
#define LABEL_MAX     256u

/* Where a superblock has its magic, its UUID and its label; 0: it has none. */
static const struct disk_fs {
	const char *type;
	uint32_t at;
	const char *magic;
	uint32_t uuid, label, label_len;
} disk_fs[] = {
	{ "ext4", 0x438, "\x53\xef", 0x468, 0x478, 16 },
	{ "erofs", 0x400, "\xe2\xe1\xf5\xe0", 0x430, 0x440, 16 },
	{ "squashfs", 0, "hsqs", 0, 0, 0 },
	{ "xfs", 0, "XFSB", 0x20, 0x6c, 12 },
	{ "btrfs", 0x10040, "_BHRfS_M", 0x10020, 0x1012b, LABEL_MAX },
	{ "f2fs", 0x400, "\x10\x20\xf5\xf2", 0x46c, 0, 0 },
	{ "iso9660", 0x8001, "CD001", 0, 0, 0 },
	{ NULL, 0, NULL, 0, 0, 0 },
};

static bool disk_read(int fd, void *to, size_t len, uint64_t at)
{
	return SYS(pread64, fd, to, len, at) == (long)len;
}

/* The last one, without a type, where none is known. */
static const struct disk_fs *disk_find_fs(int fd)
{
	const struct disk_fs *fs = disk_fs;
	char bytes[8];

	for (; fs->type; fs++)
		if (disk_read(fd, bytes, text_len(fs->magic), fs->at) &&
		    !memcmp(bytes, fs->magic, text_len(fs->magic)))
			break;
	return fs;
}

const char *disk_type(const char *device)
{
	int fd = sys_open(device, O_RDONLY);
	const char *type;

	if (fd < 0)
		stream_fail("cannot open the root disk", device, fd);
	type = disk_find_fs(fd)->type;
	SYS(close, fd);
	return type;
}

/* -- names ---------------------------------------------------------------- */

static unsigned hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return (unsigned)(digit - '0');
	digit |= 'a' - 'A';
	return digit >= 'a' && digit <= 'f' ? (unsigned)(digit - 'a' + 10) : 16;
}

/* Moves past so many bytes in hexadecimal; false where it is others. */
static bool hex_matches(const char **text, const uint8_t *bytes, size_t count,
			bool last_first)
{
	for (size_t i = 0; i < count; i++) {
		const uint8_t byte = bytes[last_first ? count - 1 - i : i];

		if (hex_digit((*text)[0]) != byte >> 4 ||
		    hex_digit((*text)[1]) != (byte & 15))
			return false;
		*text += 2;
	}
	return true;
}

/* `guid`: its first three fields are little-endian (UEFI 2.10, appendix A). */
static bool uuid_matches(const char *text, const uint8_t uuid[16], bool guid)
{
	static const uint8_t fields[] = { 4, 2, 2, 2, 6 };

	for (unsigned i = 0; i < sizeof(fields); i++) {
		if ((i && *text++ != '-') ||
		    !hex_matches(&text, uuid, fields[i], guid && i < 3))
			return false;
		uuid += fields[i];
	}
	return !*text;
}

/*
 * Each of these: is it the disk, or on it, that has this name? 0 for the disk,
 * the number of a partition, or -1.
 */
static int has_uuid(int fd, const char *name)
{
	const struct disk_fs *fs = disk_find_fs(fd);
	uint8_t uuid[16] = { 0 };

	return fs->uuid && disk_read(fd, uuid, sizeof(uuid), fs->uuid) &&
			       uuid_matches(name, uuid, false)
		       ? 0
		       : -1;
}

static int has_label(int fd, const char *name)
{
	const struct disk_fs *fs = disk_find_fs(fd);
	char label[LABEL_MAX + 1] = "";

	return fs->label && disk_read(fd, label, fs->label_len, fs->label) &&
			       text_same(label, name)
		       ? 0
		       : -1;
}

static int has_guid(int fd, const char *name, const uint8_t header[92],
		    uint64_t block)
{
	uint64_t entries;
	uint32_t count, size;
	uint8_t entry[32] = { 0 };

	memcpy(&entries, header + 72, sizeof(entries));
	memcpy(&count, header + 80, sizeof(count));
	memcpy(&size, header + 84, sizeof(size));
	for (uint32_t i = 0; i < count && i < GPT_ENTRIES; i++)
		if (disk_read(fd, entry, sizeof(entry),
			      entries * block + (uint64_t)i * size) &&
		    uuid_matches(name, entry + 16, true))
			return (int)i + 1;
	return -1;
}

/* "UUID" of a GPT, in blocks of either size; "SIGNATURE-NUMBER" of an MBR. */
static int has_partuuid(int fd, const char *name)
{
	uint8_t sector[512] = { 0 };
	unsigned number;

	for (uint64_t block = 512; block <= 4096; block *= 8)
		if (disk_read(fd, sector, 92, block) &&
		    !memcmp(sector, "EFI PART", 8))
			return has_guid(fd, name, sector, block);
	if (!disk_read(fd, sector, sizeof(sector), 0) || sector[510] != 0x55 ||
	    sector[511] != 0xaa ||
	    !hex_matches(&name, sector + MBR_SIGNATURE, 4, true) ||
	    *name++ != '-' || hex_digit(name[0]) > 15 ||
	    hex_digit(name[1]) > 15 || name[2])
		return -1;
	number = hex_digit(name[0]) * 16 + hex_digit(name[1]);
	return number ? (int)number : -1;
}

static const struct disk_name {
	const char *key;
	int (*look)(int fd, const char *name);
} disk_names[] = {
	{ "UUID=", has_uuid },
	{ "LABEL=", has_label },
	{ "PARTUUID=", has_partuuid },
	{ NULL, NULL },
};

/* Looks at all disks and partitions; false where none has that name. */
static bool disk_search(const struct disk_name *kind, const char *name,
			struct text *path)
{
	struct names disks;
	const char *disk;
	bool found = false;

	if (!names_open(&disks, "/sys/class/block"))
		return false;
	while ((disk = names_next(&disks))) {
		struct text device = { .len = 0 };
		int fd, number;

		if (found || !text_after(disk, "vd"))
			continue;
		text_add(text_add(&device, "/dev/"), disk);
		fd = sys_open(device.bytes, O_RDONLY);
		number = fd < 0 ? -1 : kind->look(fd, name);
		SYS(close, fd);
		if (number > 0)
			text_add_number(&device, (unsigned)number);
		found = number >= 0;
		*path = device;
	}
	return found;
}

const char *disk_resolve(const char *root)
{
	static struct text path;
	const struct disk_name *kind = disk_names;

	if (text_after(root, "/dev/"))
		return root;
	while (kind->key && !text_after(root, kind->key))
		kind++;
	if (!kind->key)
		stream_fail("root= is to be /dev/NAME, UUID=, LABEL= or "
			    "PARTUUID=, not",
			    root, 0);
	for (int ms = 0; ms < WAIT_MS; ms += STEP_MS) {
		if (disk_search(kind, text_after(root, kind->key), &path))
			return path.bytes;
		sys_sleep_ms(STEP_MS);
	}
	stream_fail("no disk has the name that root= gives", root, 0);
}
