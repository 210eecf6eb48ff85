/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What packing and unpacking share: the header of an entry (POSIX.1-2017, pax,
 * "ustar Interchange Format"), numbers as it and pax records have them, which
 * extended attributes count, and how the user is told of what goes wrong.
 */
#ifndef BOOT_TAR_FORMAT_H
#define BOOT_TAR_FORMAT_H

#include <stdint.h>
#include <sys/stat.h>

#include "boot/tar/tar.h"

#define TAR_BLOCK 512

struct tar_header {
	char name[100];
	char mode[8], uid[8], gid[8];
	char size[12], mtime[12];
	char checksum[8];
	char type;
	char link[100];
	char magic[8]; /* "ustar\0" "00", or GNU's "ustar  " */
	char uname[32], gname[32];
	char major[8], minor[8];
	char prefix[155];
	char rest[12];
};

enum tar_type {
	TAR_FILE = '0',
	TAR_LINK = '1', /* hard */
	TAR_SYMLINK = '2',
	TAR_CHAR = '3',
	TAR_BLOCK_DEVICE = '4',
	TAR_DIR = '5',
	TAR_FIFO = '6',
};

/* Of an entry, whichever way it goes. */
struct tar_entry {
	char *name;
	char *link;   /* what a link leads to; NULL: none */
	int64_t size; /* of the data in the stream */
	int64_t real_size;
	int64_t mtime; /* seconds, and: */
	uint32_t ns;
	uint32_t mode; /* 07777 */
	int64_t uid, gid;
	uint32_t major, minor;
	char type;
	bool sparse; /* the data begin with a map of them */
};

/* Of a sparse file: where data are. */
struct tar_segment {
	int64_t at, len;
};

/* The bytes before the NUL. */
size_t tar_length(const char *text);

/* Sum of the header's bytes, with blanks in place of the checksum. */
unsigned tar_checksum(const struct tar_header *header);

/* Bytes up to the next block's beginning. */
static inline size_t tar_padding(int64_t len)
{
	return (size_t)(-(uint64_t)len % TAR_BLOCK);
}

/*
 * A device's number as stat(2) and mknod(2) have it, 32 bits (Linux's
 * new_encode_dev): a libc has functions for it.
 */
static inline uint64_t tar_device(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
}
static inline uint32_t tar_major(uint64_t device)
{
	return device >> 8 & 0xfff;
}
static inline uint32_t tar_minor(uint64_t device)
{
	return (device & 0xff) | (device >> 12 & 0xfff00);
}

/* Those of a mode that an owner may have who is root now or stays who it is. */
uint32_t tar_mode(uint32_t mode, int64_t uid, int64_t gid, bool keep_owner);

#define TAR_XATTR_PREFIX "SCHILY.xattr." /* of its pax record's key */

/* Whether an extended attribute is packed and unpacked. */
bool tar_keeps_xattr(const char *name);

/* -- telling the user ----------------------------------------------------- */

struct tar_report {
	const struct tar_options *options;
	unsigned told;
	bool incomplete;
};

void tar_warn(struct tar_report *report, const char *why, const char *name,
	      long error);

/* The same, and something is missing because of it. */
void tar_lack(struct tar_report *report, const char *why, const char *name,
	      long error);

/* The same of what ends it all, however much was told before. Gives `error`. */
long tar_fail(struct tar_report *report, const char *why, const char *name,
	      long error);

#endif
