/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a stream that is unpacked, up to an entry that means a file:
 * ustar's, its ancestor's (v7) and GNU tar's, with pax headers ('x', 'g') and
 * long names of GNU's ('L', 'K') before it.
 *
 * Nothing in a stream is trusted: a header counts if its checksum is right,
 * and a number only if it can be one. Where an entry's size is wrong, all that
 * follows would be, and so the stream ends there.
 */
#include <errno.h>
#include <string.h>

#include "boot/tar/unpack.h"

#define MODE_PAX_GLOBAL (HAS_UID | HAS_GID | HAS_MTIME)

/* -- numbers -------------------------------------------------------------- */

/* Octal digits between blanks; or, with the first bit set, as GNU tar writes
 * large ones: big endian, two's complement. False: neither, or too large. */
static bool entry_number(const char *field, size_t size, int64_t *number)
{
	const uint8_t *byte = (const uint8_t *)field;
	uint64_t value = 0;
	size_t i = 0;

	if (*byte & 0x80) {
		int64_t sign = *byte & 0x40 ? -1 : 0;

		value = (uint64_t)sign << 6 | (*byte & 0x3f);
		for (i = 1; i < size; i++) {
			if ((int64_t)value >> 55 != sign)
				return false;
			value = value << 8 | byte[i];
		}
		*number = (int64_t)value;
		return true;
	}
	while (i < size && field[i] == ' ')
		i++;
	for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
		value = value << 3 | (uint64_t)(field[i] - '0');
	*number = (int64_t)value;
	return i == size || !field[i] || field[i] == ' ';
}

/* One that may be wrong: 0 then. */
static int64_t entry_any(const char *field, size_t size)
{
	int64_t number;

	return entry_number(field, size, &number) ? number : 0;
}
#define ENTRY_NUMBER(field) entry_any(field, sizeof(field))

/* -- headers -------------------------------------------------------------- */

static bool is_zero(const char *block)
{
	for (size_t i = 0; i < TAR_BLOCK; i++)
		if (block[i])
			return false;
	return true;
}

static bool entry_is_header(const struct tar_header *header)
{
	int64_t sum;

	return entry_number(header->checksum, sizeof(header->checksum), &sum) &&
	       sum == tar_checksum(header);
}

/* What the first bytes of a stream are, where they are no header. */
static const char *entry_no_tar(const char *bytes)
{
	static const struct {
		const char *magic;
		size_t len;
		const char *what;
	} kinds[] = {
#define COMPRESSED(by)                                                         \
	"this is compressed by " by ", and no tar stream yet: decompress it "  \
	"first"
		{ "\x1f\x8b", 2, COMPRESSED("gzip") },
		{ "\xfd"
		  "7zXZ",
		  5, COMPRESSED("xz") },
		{ "\x28\xb5\x2f\xfd", 4, COMPRESSED("zstd") },
		{ "BZh", 3, COMPRESSED("bzip2") },
		{ "\x04\x22\x4d\x18", 4, COMPRESSED("lz4") },
		{ "LZIP", 4, COMPRESSED("lzip") },
#undef COMPRESSED
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!memcmp(bytes, kinds[i].magic, kinds[i].len))
			return kinds[i].what;
	return "this does not look like a tar stream";
}

/* No block has come: what is wrong, if reading itself has not failed. */
static long entry_cut(struct unpacker *u)
{
	char *bytes = u->work->stream;
	const char *why = "the tar stream ends too early";

	if (u->error < 0)
		return u->error;
	if (!u->started) {
		memset(bytes + u->filled, 0, TAR_BLOCK - u->filled);
		why = u->filled ? entry_no_tar(bytes)
				: "the tar stream is empty";
	}
	return tar_fail(&u->report, why, NULL, -EBADMSG);
}

static long entry_damaged(struct unpacker *u)
{
	return tar_fail(&u->report, "the tar stream is damaged", NULL,
			-EBADMSG);
}

/* -- what comes before an entry ------------------------------------------- */

/* The contents of a header, with a NUL behind them: how long; or -errno. */
static long entry_load(struct unpacker *u, int64_t size, char *to, size_t room)
{
	long error = 0;

	u->left = size;
	*to = 0;
	if (size < (int64_t)room) {
		error = in_copy(u, to, (size_t)size);
		to[error ? 0 : size] = 0;
	} else {
		u->bad = "its header is too long";
		size = 0;
	}
	return error ? error : (long)size;
}

static long entry_load_name(struct unpacker *u, int64_t size, char *to,
			    char **field, unsigned has)
{
	const long len = entry_load(u, size, to, TAR_NAME_BYTES);

	*field = to;
	u->pax.has |= has;
	return len < 0 ? len : 0;
}

static long entry_load_pax(struct unpacker *u, int64_t size)
{
	const long len =
		entry_load(u, size, u->work->pax, sizeof(u->work->pax));

	u->pax_len = len < 0 ? 0 : (size_t)len;
	if (len < 0)
		return len;
	return records_read(u, &u->pax) ? entry_damaged(u) : 0;
}

/* All entries get its times and owners; what else it says is of no use. */
static long entry_load_global(struct unpacker *u, int64_t size)
{
	long error;

	u->pax = u->global;
	error = entry_load_pax(u, size);
	u->pax.has &= MODE_PAX_GLOBAL;
	u->global = u->pax;
	u->pax_len = 0;
	u->bad = NULL;
	return error;
}

/* True: this is a header of that kind, and *error says how it went. */
static bool entry_is_before(struct unpacker *u, char type, int64_t size,
			    long *error)
{
	switch (type) {
	case 'x':
	case 'X': /* Solaris's, the same */
		*error = entry_load_pax(u, size);
		break;
	case 'g':
		*error = entry_load_global(u, size);
		break;
	case 'L':
		*error = entry_load_name(u, size, u->work->name, &u->pax.path,
					 HAS_PATH);
		break;
	case 'K':
		*error = entry_load_name(u, size, u->work->link, &u->pax.link,
					 HAS_LINK);
		break;
	case 'V': /* the name of a whole archive of GNU tar's */
		u->left = size;
		break;
	default:
		return false;
	}
	if (!*error)
		*error = in_end(u, tar_padding(size));
	return true;
}

/* -- an entry ------------------------------------------------------------- */

/* A field that has no NUL where it is full; what follows it. */
static char *entry_put(char *to, const char *field, size_t size)
{
	while (size-- && *field)
		*to++ = *field++;
	*to = 0;
	return to;
}

static void entry_names(struct unpacker *u, const struct tar_header *header,
			struct tar_entry *entry)
{
	char *to = u->work->name;

	entry->name = u->pax.path;
	if (!(u->pax.has & HAS_PATH)) {
		entry->name = to;
		if (!memcmp(header->magic, "ustar", 6) && *header->prefix) {
			to = entry_put(to, header->prefix,
				       sizeof(header->prefix));
			*to++ = '/';
		}
		entry_put(to, header->name, sizeof(header->name));
	}
	entry->link = u->pax.link;
	if (!(u->pax.has & HAS_LINK)) {
		entry->link = u->work->link;
		entry_put(u->work->link, header->link, sizeof(header->link));
	}
}

static void entry_sparse(struct unpacker *u, struct tar_entry *entry)
{
	const struct pax *pax = &u->pax;

	entry->real_size = entry->size;
	if (!(pax->has & (HAS_SPARSE | HAS_OLD_SPARSE)))
		return;
	entry->sparse = true;
	entry->real_size = pax->real_size;
	if (pax->has & HAS_SPARSE_NAME)
		entry->name = pax->sparse_name;
	if (pax->has & HAS_OLD_SPARSE || pax->sparse_major != 1 ||
	    pax->sparse_minor || !(pax->has & HAS_REAL_SIZE) ||
	    pax->real_size < 0)
		u->bad = "a sparse file of a kind that is not read: pack it "
			 "with tar --format=pax --sparse-version=1.0";
}

/* Its type becomes one of enum tar_type. False: where it ends is not known. */
static bool entry_type(struct unpacker *u, struct tar_entry *entry)
{
	const size_t len = tar_length(entry->name);
	const char *block;
	bool more = entry->type == 'S' && entry->sparse;

	entry->sparse = false;
	switch (entry->type) {
	case 0:
	case '7': /* contiguous, once upon a time */
	case TAR_FILE:
		entry->type =
			len && entry->name[len - 1] == '/' ? TAR_DIR : TAR_FILE;
		break;
	case 'D': /* with a list of names, of GNU tar's */
		entry->type = TAR_DIR;
		break;
	case 'S':
		for (; more; more = block[504])
			if (!(block = in_block(u)))
				return false;
		u->pax.has |= HAS_OLD_SPARSE;
		break;
	default:
		if (entry->type < TAR_LINK || entry->type > TAR_FIFO)
			u->bad = "what kind of file it is is not known here";
		else
			entry->size = 0; /* whatever is said */
		return true;
	}
	entry_sparse(u, entry);
	return true;
}

static void entry_fill(struct unpacker *u, const struct tar_header *header,
		       int64_t size, struct tar_entry *entry)
{
	const struct pax *pax = &u->pax;
	const unsigned has = pax->has;
	const int64_t mtime = ENTRY_NUMBER(header->mtime);

	*entry = (struct tar_entry){
		.mode = (uint32_t)ENTRY_NUMBER(header->mode) & 07777,
		.uid = has & HAS_UID ? pax->uid : ENTRY_NUMBER(header->uid),
		.gid = has & HAS_GID ? pax->gid : ENTRY_NUMBER(header->gid),
		.mtime = has & HAS_MTIME ? pax->mtime : mtime,
		.ns = has & HAS_MTIME ? pax->ns : 0,
		.major = (uint32_t)ENTRY_NUMBER(header->major),
		.minor = (uint32_t)ENTRY_NUMBER(header->minor),
		.size = has & HAS_SIZE ? pax->size : size,
		.type = header->type,
		/* old GNU: more headers follow, with a map */
		.sparse = ((const char *)header)[482],
	};
	entry_names(u, header, entry);
}

long entry_next(struct unpacker *u, struct tar_entry *entry)
{
	const struct tar_header *header;
	const char *block;
	int64_t size;
	long error = 0;
	char type;

	u->pax = u->global;
	u->pax_len = 0;
	u->bad = NULL;
	do {
		block = in_block(u);
		if (!block)
			return entry_cut(u);
		if (is_zero(block))
			return 0;
		header = (const struct tar_header *)block;
		if (!entry_is_header(header))
			return u->started ? entry_damaged(u)
					  : tar_fail(&u->report,
						     entry_no_tar(block), NULL,
						     -EBADMSG);
		u->started = true;
		type = header->type;
		if (!entry_number(header->size, sizeof(header->size), &size) ||
		    size < 0 || size > INT64_MAX - TAR_BLOCK)
			return entry_damaged(u);
	} while (entry_is_before(u, type, size, &error) && !error);
	if (error)
		return error;
	entry_fill(u, header, size, entry);
	if (entry->size < 0 || entry->size > INT64_MAX - TAR_BLOCK)
		return entry_damaged(u);
	if (!entry_type(u, entry))
		return entry_cut(u);
	u->left = entry->size;
	return 1;
}
