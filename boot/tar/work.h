/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of a caller of tar_pack or tar_unpack, and what bounds it sets.
 * Only what is used becomes memory: the large parts stand last.
 */
#ifndef BOOT_TAR_WORK_H
#define BOOT_TAR_WORK_H

#include "boot/tar/format.h"

#define TAR_STREAM_BYTES (256 << 10)
#define TAR_NAME_BYTES	 (64 << 10) /* of a path, with its NUL */
#define TAR_PAX_BYTES	 (1 << 20)  /* of one pax header */
#define TAR_SEGMENTS_MAX 65536u	    /* of a sparse file */
#define TAR_LEVELS_MAX	 256u	    /* directories in directories */
#define TAR_KEPT_MAX	 65536u	    /* hard links, or directories */
#define TAR_KEPT_NAMES	 (6u << 20) /* bytes of their names */

/* A directory that is being walked. */
struct tar_level {
	uint64_t entries[256]; /* struct linux_dirent64, one after the other */
	uint64_t dev;
	long at, end;	 /* bytes of them that are done, that are there */
	size_t name_len; /* of the directory's own path */
	int fd;
};

/* A file with several names, the first of which was packed. */
struct tar_kept_link {
	uint64_t dev, ino;
	uint32_t name; /* its place, plus 1; 0: an empty slot */
};

/* A directory that gets its mode and its time when all in it is there. */
struct tar_kept_dir {
	int64_t mtime;
	uint32_t ns, mode, name;
};

struct tar_work {
	char stream[TAR_STREAM_BYTES];
	char name[TAR_NAME_BYTES], link[TAR_NAME_BYTES], dir[TAR_NAME_BYTES];
	struct tar_level level[TAR_LEVELS_MAX];
	char pax[TAR_PAX_BYTES + 1];
	struct tar_segment segment[TAR_SEGMENTS_MAX];
	bool has_kept; /* `kept` is not zeros any more */
	unsigned kept_count;
	size_t kept_used;
	union {
		struct tar_kept_link link[TAR_KEPT_MAX];
		struct tar_kept_dir dir[TAR_KEPT_MAX];
	} kept;
	char kept_names[TAR_KEPT_NAMES];
};
_Static_assert(sizeof(struct tar_work) <= TAR_WORK_BYTES, "see tar.h");

#endif
