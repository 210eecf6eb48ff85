/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of an entry that is packed: the ustar header, and before it,
 * where that cannot say something, a pax header with a record for each such
 * thing: "LENGTH KEY=VALUE\n", whose length counts all of it, itself too.
 */
#include <string.h>

#include "boot/tar/pack.h"
#include "boot/tar/sys.h"

#define PAX_NAME    "PaxHeaders/0"	/* who knows no pax gets such a file */
#define SPARSE_NAME "GNUSparseFile.0/0" /* who knows no sparse files */

#define OCTAL_ID_MAX   07777777	    /* seven digits */
#define OCTAL_SIZE_MAX 077777777777 /* eleven */
#define NUMBER_BYTES   21	    /* of 64 bits */

char *head_put_number(char *to, uint64_t number)
{
	char digits[NUMBER_BYTES], *at = digits + sizeof(digits);
	size_t len;

	do
		*--at = (char)('0' + number % 10);
	while (number /= 10);
	len = (size_t)(digits + sizeof(digits) - at);
	memcpy(to, at, len);
	return to + len;
}

/* -- pax records ---------------------------------------------------------- */

/*
 * A record up to its value, which is to have `len` bytes: where that and the
 * record's end go. NULL: there is no room.
 */
static char *pax_begin(struct packer *p, const char *key, size_t len)
{
	const size_t key_len = tar_length(key), rest = key_len + len + 3;
	char *to = p->work->pax + p->pax_len, number[NUMBER_BYTES];
	size_t digits = 1;

	while ((size_t)(head_put_number(number, rest + digits) - number) !=
	       digits)
		digits++;
	if (rest + digits > TAR_PAX_BYTES - p->pax_len)
		return NULL;
	to = head_put_number(to, rest + digits);
	*to++ = ' ';
	memcpy(to, key, key_len);
	to[key_len] = '=';
	return to + key_len + 1;
}

static void pax_end(struct packer *p, char *end)
{
	*end++ = '\n';
	p->pax_len = (size_t)(end - p->work->pax);
}

static void pax_add(struct packer *p, const char *key, const char *value,
		    size_t len)
{
	char *to = pax_begin(p, key, len);

	if (!to)
		return; /* never: extended attributes leave room for all */
	memcpy(to, value, len);
	pax_end(p, to + len);
}

static void pax_add_number(struct packer *p, const char *key, uint64_t number)
{
	char digits[NUMBER_BYTES];
	size_t len = (size_t)(head_put_number(digits, number) - digits);

	pax_add(p, key, digits, len);
}

/* Decimal seconds, with nine digits behind the point. */
static void pax_add_time(struct packer *p, int64_t seconds, uint32_t ns)
{
	char text[2 * NUMBER_BYTES + 2], *at = text;
	uint64_t whole = (uint64_t)seconds;

	if (seconds < 0) {
		*at++ = '-';
		whole = -whole;
		if (ns) {
			whole--;
			ns = 1000000000 - ns;
		}
	}
	at = head_put_number(at, whole);
	if (ns) {
		/* The 1 in front, which keeps the zeros, becomes the point. */
		char *end = head_put_number(at, 1000000000ull + ns);

		*at = '.';
		at = end;
	}
	pax_add(p, "mtime", text, (size_t)(at - text));
}

void head_add_xattr(struct packer *p, int fd, const char *name)
{
	static const char prefix[] = TAR_XATTR_PREFIX;
	const size_t name_len = tar_length(name);
	char key[sizeof(prefix) + 255], *to;
	long len = SYS(fgetxattr, fd, name, NULL, 0);

	if (len < 0 || name_len > 255)
		return; /* it has gone meanwhile, or is not ours to read */
	for (const char *at = name; *at; at++)
		if (*at == '=') {
			tar_lack(&p->report,
				 "no tar can hold an attribute's name with =",
				 p->work->name, 0);
			return;
		}
	memcpy(key, prefix, sizeof(prefix) - 1);
	memcpy(key + sizeof(prefix) - 1, name, name_len + 1);
	to = pax_begin(p, key, (size_t)len);
	/* What else an entry may need: its path, a link's, some numbers. */
	if (!to ||
	    (to - p->work->pax) + len > TAR_PAX_BYTES - 3 * TAR_NAME_BYTES) {
		tar_lack(&p->report, "its extended attributes are too long",
			 p->work->name, 0);
		return;
	}
	if (SYS(fgetxattr, fd, name, to, len) == len)
		pax_end(p, to + len);
}

/* -- names ---------------------------------------------------------------- */

static bool is_ascii(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] & 0x80)
			return false;
	return true;
}

/* RFC 3629, 4: no longer forms than needed, no surrogates. */
static bool is_utf8(const char *text, size_t len)
{
	const uint8_t *at = (const uint8_t *)text, *end = at + len;

	while (at < end) {
		unsigned first = *at++, more, value, least;

		if (first < 0x80)
			continue;
		more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
		if (first < 0xc2 || first > 0xf4 || end - at < (long)more)
			return false;
		value = first & (0x3fu >> more);
		least = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
		for (; more; more--, at++) {
			if ((*at & 0xc0) != 0x80)
				return false;
			value = value << 6 | (*at & 0x3f);
		}
		if (value < least || value > 0x10ffff ||
		    (value >= 0xd800 && value < 0xe000))
			return false;
	}
	return true;
}

/* A name that fits in, or in two parts; false: the beginning of one that does
 * not. */
static bool head_set_name(struct tar_header *header, const char *name,
			  size_t len)
{
	const size_t room = sizeof(header->name);
	size_t cut;

	if (len <= room) {
		memcpy(header->name, name, len);
		return true;
	}
	for (cut = len - room - 1; cut <= sizeof(header->prefix); cut++)
		if (cut && cut + 1 < len && name[cut] == '/') {
			memcpy(header->prefix, name, cut);
			memcpy(header->name, name + cut + 1, len - cut - 1);
			return true;
		}
	memcpy(header->name, name, room);
	return false;
}

/* What no ustar header says of the names. */
static void head_add_names(struct packer *p, const struct tar_entry *entry,
			   struct tar_header *header)
{
	const size_t len = p->name_len;
	const char *to = entry->link ? entry->link : "";
	const size_t link = tar_length(to);
	const char *key = entry->sparse ? "GNU.sparse.name" : "path";
	const char *name = entry->sparse ? SPARSE_NAME : entry->name;

	if (!is_utf8(entry->name, len) || !is_utf8(to, link))
		pax_add(p, "hdrcharset", "BINARY", 6);
	if (!head_set_name(header, name, tar_length(name)) || entry->sparse ||
	    !is_ascii(name, len))
		pax_add(p, key, entry->name, len);
	if (link > sizeof(header->link) || !is_ascii(to, link))
		pax_add(p, "linkpath", to, link);
	memcpy(header->link, to,
	       link < sizeof(header->link) ? link : sizeof(header->link));
}

/* -- headers -------------------------------------------------------------- */

/* All of the field but for its last byte, a NUL. */
static void head_octal(char *field, size_t size, uint64_t number)
{
	for (size_t i = size - 1; i--; number >>= 3)
		field[i] = (char)('0' + (number & 7));
}
#define HEAD_OCTAL(field, number) head_octal(field, sizeof(field), number)

/* A number, or 0 and a record where it has too many digits. */
static uint64_t head_number(struct packer *p, const char *key, int64_t number,
			    int64_t max)
{
	if (number >= 0 && number <= max)
		return (uint64_t)number;
	pax_add_number(p, key, (uint64_t)number);
	return 0;
}

static void head_out(struct packer *p, struct tar_header *header)
{
	memcpy(header->magic,
	       "ustar\0"
	       "00",
	       sizeof(header->magic));
	head_octal(header->checksum, 7, tar_checksum(header));
	header->checksum[7] = ' ';
	out_bytes(p, header, sizeof(*header));
}

static void head_out_pax(struct packer *p)
{
	struct tar_header header;

	memset(&header, 0, sizeof(header));
	memcpy(header.name, PAX_NAME, sizeof(PAX_NAME));
	header.type = 'x';
	HEAD_OCTAL(header.mode, 0644);
	HEAD_OCTAL(header.uid, 0);
	HEAD_OCTAL(header.gid, 0);
	HEAD_OCTAL(header.size, p->pax_len);
	HEAD_OCTAL(header.mtime, 0);
	head_out(p, &header);
	out_bytes(p, p->work->pax, p->pax_len);
	out_zeros(p, (int64_t)tar_padding((int64_t)p->pax_len));
	p->pax_len = 0;
}

static void head_add_sparse(struct packer *p, const struct tar_entry *entry)
{
	pax_add_number(p, "GNU.sparse.major", 1);
	pax_add_number(p, "GNU.sparse.minor", 0);
	pax_add_number(p, "GNU.sparse.realsize", (uint64_t)entry->real_size);
}

void head_write(struct packer *p, const struct tar_entry *entry)
{
	struct tar_header header;
	uint64_t time = 0;

	memset(&header, 0, sizeof(header));
	header.type = entry->type;
	head_add_names(p, entry, &header);
	if (entry->sparse)
		head_add_sparse(p, entry);
	HEAD_OCTAL(header.mode, entry->mode);
	HEAD_OCTAL(header.uid, head_number(p, "uid", entry->uid, OCTAL_ID_MAX));
	HEAD_OCTAL(header.gid, head_number(p, "gid", entry->gid, OCTAL_ID_MAX));
	HEAD_OCTAL(header.size,
		   head_number(p, "size", entry->size, OCTAL_SIZE_MAX));
	if (entry->mtime >= 0 && entry->mtime <= OCTAL_SIZE_MAX)
		time = (uint64_t)entry->mtime;
	if (entry->ns || time != (uint64_t)entry->mtime)
		pax_add_time(p, entry->mtime, entry->ns);
	HEAD_OCTAL(header.mtime, time);
	HEAD_OCTAL(header.major, entry->major);
	HEAD_OCTAL(header.minor, entry->minor);
	/* A name would be looked up where this is unpacked: only root's is
	 * the same everywhere. */
	if (!p->report.options->keep_owner) {
		memcpy(header.uname, "root", 4);
		memcpy(header.gname, "root", 4);
	}
	if (p->pax_len)
		head_out_pax(p);
	head_out(p, &header);
}
