/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM: one private mapping of the host, shown to the guest as one
 * region from 0 and, where it is larger than 3 GiB, a second one from 4 GiB.
 * On both sides of it lie addresses that nobody may touch.
 *
 *	guest   0 .......... 3 GiB    (devices)    4 GiB ..........
 *	host    host ........ host + 3 GiB, contiguous .............
 *
 * Every function takes a length and checks the whole range; what is not RAM
 * is -EFAULT (or NULL). Not locked: the guest may write at any time, so data
 * that is judged must be copied out first (ram_read).
 */
#ifndef MEM_RAM_H
#define MEM_RAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A guest physical address. A type of its own, so that it can be mixed up with
 * neither a length nor a pointer; only ram_* (and virtio/queue.c, through
 * ram_span) turn one into a pointer.
 */
typedef struct {
	uint64_t v;
} gpa;

#define GPA(address) ((gpa){ (address) })

/* `at` moved on by `bytes`; the caller knows that it does not wrap. */
static inline gpa gpa_add(gpa at, uint64_t bytes)
{
	return GPA(at.v + bytes);
}

#define RAM_GAP_START  0xC0000000ULL  /* end of low RAM at most: 3 GiB */
#define RAM_HIGH_START 0x100000000ULL /* start of high RAM: 4 GiB */
#define RAM_PAGE       4096ULL
#define RAM_MIN_SIZE   (32ULL << 20)
#define RAM_MAX_SIZE   (4ULL << 40)

enum ram_pages { RAM_PAGES_OFF, RAM_PAGES_THP, RAM_PAGES_2M, RAM_PAGES_1G };

/* Of the host, behind the guest's. */
struct ram_page_type {
	unsigned shift; /* a page is 1 << shift bytes */
	const char *name;
};

static inline const struct ram_page_type *ram_page_type(enum ram_pages pages)
{
	static const struct ram_page_type types[] = {
		[RAM_PAGES_OFF] = { 12, "4K" },
		[RAM_PAGES_THP] = { 12, "4K" },
		[RAM_PAGES_2M] = { 21, "2M" },
		[RAM_PAGES_1G] = { 30, "1G" },
	};

	return &types[pages];
}

struct available; /* mem/available.h */

struct ram_options {
	uint64_t size;	      /* bytes, a multiple of 4096 */
	enum ram_pages pages; /* the host pages behind it */
	bool prefault;	      /* allocate all of it now */
	bool mergeable;	      /* offer it to KSM */
	/* Set by main.c: */
	bool check; /* only judge: none of it is allocated */
	/* What the host has left: available_bytes; NULL: nobody asked. */
	uint64_t (*left)(const struct available *available, const char **whose);
	const struct available *available;
};

struct ram_region {
	gpa start;
	uint64_t size; /* bytes; 0 where there is no such region */
	uint8_t *host;
};

/* What a file backs until it is written to: bytes from the first of all RAM. */
struct ram_mapping {
	uint64_t start, end;
};
#define RAM_MAPPINGS_MAX 32

/* What is said where such a file has become shorter, or its disk has failed. */
#define RAM_FILE_LOST                                                          \
	"a file behind guest memory cannot be read any more: did an image "    \
	"shrink while in use?"

struct ram {
	struct ram_region region[2]; /* low, high */
	uint64_t size;		     /* bytes of both */
	uint64_t page;		     /* host page size behind it, bytes */
	void *reserved;		     /* `room` bytes: it, and guard pages */
	uint64_t room;
	/* In any order; where there was no room for one, the last has grown. */
	struct ram_mapping mapping[RAM_MAPPINGS_MAX];
	unsigned mapping_count;
};

/*
 * Logs and returns -errno on failure, with nothing to destroy then. `prefault`
 * fills it in pieces, between which signals are answered, and fails before the
 * host has no memory left. With `check` it has small pages, untouched, whatever
 * the options say.
 */
int ram_create(struct ram *ram, const struct ram_options *options);
void ram_destroy(struct ram *ram);

/*
 * The host address of [at, at + len), valid until ram_destroy; NULL unless
 * every byte of it is RAM of one region. `len` 0 is NULL.
 */
void *ram_span(const struct ram *ram, gpa at, uint64_t len);

/* Copy out of and into RAM: 0, or -EFAULT and nothing copied. */
int ram_read(const struct ram *ram, void *to, gpa from, uint64_t len);
int ram_write(const struct ram *ram, gpa to, const void *from, uint64_t len);

/* Zero a range: 0 or -EFAULT. */
int ram_clear(const struct ram *ram, gpa at, uint64_t len);

/*
 * Put `len` bytes of `fd` from byte `offset` at `at`. Where address and offset
 * agree modulo the page size (and `copy` is false and RAM has small pages) the
 * whole pages are mapped copy-on-write from the file, so that guests share one
 * copy; the rest, and everything otherwise, is read. 0, -EFAULT where the
 * range is not RAM, -ENODATA where the file is too short, or the -errno of
 * the system call; not logged: the caller knows the name and what it was for.
 */
int ram_load(struct ram *ram, gpa at, int fd, uint64_t offset, uint64_t len,
	     bool copy);

/*
 * All of RAM from a file, which has all of it from `offset`, a multiple of the
 * page size, on: as ram_load does. Then what `options` say of prefault and
 * mergeable holds for it. 0 or -errno, not logged.
 */
int ram_load_all(struct ram *ram, int fd, uint64_t offset, bool copy,
		 const struct ram_options *options);

#endif
