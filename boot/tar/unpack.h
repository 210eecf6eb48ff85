/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that unpack offer each other: unpack.c -> make -> place, and
 * unpack.c -> entry -> records; all of them -> in. */
#ifndef BOOT_TAR_UNPACK_H
#define BOOT_TAR_UNPACK_H

#include "boot/tar/work.h"

/* What pax records say; `has`: which of them are there. */
enum {
	HAS_PATH = 1 << 0,
	HAS_LINK = 1 << 1,
	HAS_SIZE = 1 << 2,
	HAS_UID = 1 << 3,
	HAS_GID = 1 << 4,
	HAS_MTIME = 1 << 5,
	HAS_SPARSE = 1 << 6, /* sparse_major and sparse_minor */
	HAS_SPARSE_NAME = 1 << 7,
	HAS_REAL_SIZE = 1 << 8,
	HAS_OLD_SPARSE = 1 << 9, /* GNU tar's formats 0.0 and 0.1 */
};

struct pax {
	unsigned has;
	char *path, *link, *sparse_name;
	int64_t size, real_size, uid, gid, mtime;
	int64_t sparse_major, sparse_minor;
	uint32_t ns;
};

/* What was told, where once is enough. */
enum {
	ONCE_ABSOLUTE = 1 << 0,
	ONCE_XATTR = 1 << 1,
};

struct unpacker {
	struct tar_report report;
	struct tar_work *work;
	tar_read *read;
	void *arg;

	/* in.c */
	size_t at, filled; /* of work->stream */
	int64_t left;	   /* of the entry's data */
	long error;	   /* reading has failed, or the stream has ended: 1 */
	long cut;	   /* what in_data has failed with */

	/* entry.c */
	struct pax global, pax; /* of all that follows; of the next entry */
	size_t pax_len;		/* of work->pax, with that entry's records */
	bool started;		/* a header has come */
	const char *bad;	/* why that entry cannot be unpacked */

	/* place.c */
	int dir_fd;
	bool is_root;	/* dir_fd is the process's / */
	int parent;	/* where the last entry went; -1: nowhere yet */
	size_t dir_len; /* of work->dir, its name */

	unsigned once;
};

/* -- in.c: the stream ----------------------------------------------------- */

/* The next block; NULL: see `error`. Good until the next in_*. */
const char *in_block(struct unpacker *u);

/* Some of the entry's data: how many bytes, `max` at most, 0 at the data's end;
 * or -errno, told if the stream was too short. */
long in_data(struct unpacker *u, int64_t max, const char **data);

/* So many bytes of it: 0; -errno, as above; -EBADMSG where less is left. */
long in_copy(struct unpacker *u, char *to, size_t len);

/* Passes by what is left of it, and so much behind it: 0 or -errno. */
long in_end(struct unpacker *u, size_t padding);

/* All that the stream still has; 0 or -errno. */
long in_drain(struct unpacker *u);

/* -- records.c: pax headers ----------------------------------------------- */

struct pax_record {
	char *key, *value; /* with a NUL each */
	size_t len;	   /* of the value */
};

/* The record at *at, which goes on to the next one: 1; 0: none; -EBADMSG. */
int records_next(char **at, char *end, struct pax_record *record);

/* What the records of work->pax say, added to `pax`: 0, or -EBADMSG. */
long records_read(struct unpacker *u, struct pax *pax);

/* -- entry.c: headers ----------------------------------------------------- */

/*
 * The next entry: 1; 0: the end of the archive; -errno, told. Its data, and
 * u->left says how much that is, come next; its strings are good until then.
 * Where u->bad is set, nothing but its name means anything.
 */
long entry_next(struct unpacker *u, struct tar_entry *entry);

/* -- place.c: where names are --------------------------------------------- */

/*
 * Makes a name one that can be looked for: "a/b/c", "" for the directory
 * itself. False: it leads out of there. *absolute: it began with a slash.
 */
bool place_clean(char *name, bool *absolute);

/*
 * The directory that a name, which is clean, is in: a descriptor that stays
 * u's, or -errno. What lacks on the way is made. *base: what it is called
 * there.
 */
long place_parent(struct unpacker *u, const char *name, const char **base);

/* The directory itself, opened for reading and the caller's; or -errno. */
long place_open_dir(struct unpacker *u, const char *name);

/* Forgets where the last entry went: that may be gone. */
void place_forget(struct unpacker *u);

/* -- make.c: an entry becomes a file -------------------------------------- */

/* 0, or -errno; the name is clean. */
long make_entry(struct unpacker *u, const struct tar_entry *entry);

/* Directories get the modes and times that they are to have. */
void make_finish(struct unpacker *u);

#endif
