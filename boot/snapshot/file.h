/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of a snapshot, little-endian:
 *
 *	0	header, 4096 bytes
 *	4096	state: records of the machine's parts
 *	...	areas, each from a page's border on: words, disks' layers
 *	...	guest memory, from a border of 2 MiB on
 *
 *	header	0  8 bytes "MOTESNAP"	  8 u32 version	   12 u32 flags
 *		16 16 bytes id		 32 u64 state_off  40 u64 state_len
 *		48 u64 mem_off		 56 u64 mem_len	   64 u32 state_crc
 *		68 u32 header_crc	 72 u64 file_len
 *		80 64 areas: u64 off, u64 len, u32 device, u32 kind
 *	record	u16 tag, u16 index, u32 len, then so many bytes, and zeros up to
 *		a multiple of 8
 *
 * Everything but the state is sparse: what is zero is a hole. The check sums
 * are CRC-32C (RFC 3720, appendix B.4); the header's is over all of it, with
 * the field as 0. Records come in a fixed order, each at most once for an
 * index. One whose tag has bit 15 set may be skipped by those who do not know
 * it.
 */
#ifndef BOOT_SNAPSHOT_FILE_H
#define BOOT_SNAPSHOT_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/state.h"

#define SNAPSHOT_VERSION	    1u
#define SNAPSHOT_HEADER		    4096u
#define SNAPSHOT_AREAS		    64u
#define SNAPSHOT_STATE_MAX	    (16u << 20)
#define SNAPSHOT_ALIGN		    (2ULL << 20) /* of guest memory */
#define SNAPSHOT_TAG_MAY_BE_SKIPPED 0x8000u
#define SNAPSHOT_ID_AT		    16u /* in the header */

/* The header's flags; 1 is a stream's, which is no file. */
#define SNAPSHOT_LEARNED     2u
#define SNAPSHOT_HAS_COMMAND 4u
#define SNAPSHOT_FLAGS	     (SNAPSHOT_LEARNED | SNAPSHOT_HAS_COMMAND)

enum snapshot_area_kind {
	SNAPSHOT_AREA_NONE,
	SNAPSHOT_AREA_WORDS,
	SNAPSHOT_AREA_BITMAP,
	SNAPSHOT_AREA_CLUSTERS,
	SNAPSHOT_AREA_KINDS
};

struct snapshot_area {
	uint64_t off, len; /* bytes; len 0: there is none */
	uint32_t device, kind;
};

struct snapshot_header {
	uint32_t version, flags;
	uint8_t id[16]; /* random */
	uint64_t state_off, state_len, mem_off, mem_len;
	uint32_t state_crc, header_crc;
	uint64_t file_len;
	struct snapshot_area area[SNAPSHOT_AREAS];
};

/* -- writing -------------------------------------------------------------- */

/*
 * All offsets, from lengths that are set: state_len, mem_len, areas in use
 * (kind and len). file_len is where memory ends.
 */
void snapshot_header_place(struct snapshot_header *header);

/*
 * The header, its beginning last: before that the file is none. `state` has
 * state_len bytes and is written here, too. `in_place`: the file has its name
 * already, and the host may stop at any moment. 0 or -errno, not logged.
 */
int snapshot_header_write(struct snapshot_header *header, const void *state,
			  int fd, bool in_place);

/* Writes all of it: 0 or -errno, not logged. */
int snapshot_write(int fd, const void *bytes, size_t len, uint64_t off);

/* -- reading -------------------------------------------------------------- */

/*
 * Reads and judges the header: areas lie in the file, page-aligned, none covers
 * another, and there is one of a kind and device. 0, or -EINVAL (-errno) and
 * one line, which begins with "snapshot NAME: ".
 */
int snapshot_header_read(struct snapshot_header *header, int fd,
			 const char *name);

/*
 * Reads the state into `bytes`, which has state_len of them: 0; or -EINVAL
 * (-errno), logged, where that cannot be, or where its check sum is wrong.
 */
int snapshot_state_read(const struct snapshot_header *header, int fd,
			const char *name, void *bytes);

/* The area of that kind and device; NULL where there is none. */
const struct snapshot_area *snapshot_area(const struct snapshot_header *header,
					  uint32_t kind, uint32_t device);

/* All of an area into `bytes`: 0 or -errno, not logged. */
int snapshot_area_read(const struct snapshot_area *area, int fd, void *bytes);

/* -- records -------------------------------------------------------------- */

struct snapshot_record {
	uint16_t tag, index;
	uint32_t len;
	size_t at; /* where its bytes begin */
};

/* Begins one; what is saved next is in it, up to snapshot_record_end. */
struct snapshot_record snapshot_record_begin(struct state *s, uint16_t tag,
					     uint16_t index);
void snapshot_record_end(struct state *s, struct snapshot_record *record);

/*
 * The next one, of which `s` is then at the end; false where there is none, or
 * something is wrong (s->wrong).
 */
bool snapshot_record_next(struct state *s, struct snapshot_record *record);

#endif
