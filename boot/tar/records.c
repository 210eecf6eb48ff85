/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a pax header (POSIX.1-2017, pax, "pax Extended Header"; GNU
 * tar's manual, "Storing Sparse Files"). They are read where they are: keys and
 * values become strings there. Those that no key here names are passed over.
 */
#include <errno.h>
#include <string.h>

#include "boot/tar/unpack.h"

/* A number with nothing behind it. False: it is none, or too large. */
static bool records_number(const char *text, int64_t *number)
{
	bool negative = *text == '-';
	int64_t value = 0;

	text += negative;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' ||
		    __builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *text - '0', &value))
			return false;
	}
	*number = negative ? -value : value;
	return true;
}

/* Seconds with a fraction; what is less than a nanosecond falls away. */
static bool records_time(char *text, int64_t *seconds, uint32_t *ns)
{
	uint32_t unit = 100000000, part = 0;
	char *point = text;

	while (*point && *point != '.')
		point++;
	if (*point) {
		*point = 0;
		for (char *at = point + 1; *at >= '0' && *at <= '9'; at++) {
			part += unit * (uint32_t)(*at - '0');
			unit /= 10;
		}
	}
	if (!records_number(text, seconds))
		return false;
	if (*text == '-' && part) {
		--*seconds;
		part = 1000000000 - part;
	}
	*ns = part;
	return true;
}

/* -- keys ----------------------------------------------------------------- */

enum value { VALUE_STRING, VALUE_NUMBER, VALUE_TIME, VALUE_NONE };

static const struct {
	const char *name;
	unsigned has;
	enum value value;
	size_t at; /* in struct pax */
} keys[] = {
#define KEY(name, has, value, field)                                           \
	{                                                                      \
		name, has, value, offsetof(struct pax, field)                  \
	}
	KEY("path", HAS_PATH, VALUE_STRING, path),
	KEY("linkpath", HAS_LINK, VALUE_STRING, link),
	KEY("size", HAS_SIZE, VALUE_NUMBER, size),
	KEY("uid", HAS_UID, VALUE_NUMBER, uid),
	KEY("gid", HAS_GID, VALUE_NUMBER, gid),
	KEY("mtime", HAS_MTIME, VALUE_TIME, mtime),
	KEY("GNU.sparse.major", HAS_SPARSE, VALUE_NUMBER, sparse_major),
	KEY("GNU.sparse.minor", HAS_SPARSE, VALUE_NUMBER, sparse_minor),
	KEY("GNU.sparse.name", HAS_SPARSE_NAME, VALUE_STRING, sparse_name),
	KEY("GNU.sparse.realsize", HAS_REAL_SIZE, VALUE_NUMBER, real_size),
	KEY("GNU.sparse.map", HAS_OLD_SPARSE, VALUE_NONE, has),
	KEY("GNU.sparse.numblocks", HAS_OLD_SPARSE, VALUE_NONE, has),
#undef KEY
};

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

/* What cannot be read is as if it were not there, but for sizes: without them
 * nothing that follows would be where it is looked for. */
static bool records_set(struct unpacker *u, struct pax *pax, size_t key,
			const struct pax_record *r)
{
	char *field = (char *)pax + keys[key].at;
	bool good = true;

	if (!r->len) {
		pax->has &= ~keys[key].has; /* POSIX: it is taken back */
		return true;
	}
	switch (keys[key].value) {
	case VALUE_STRING:
		if (tar_length(r->value) != r->len || r->len >= TAR_NAME_BYTES)
			u->bad = "its name is too long, or has a NUL in it";
		memcpy(field, &r->value, sizeof(r->value));
		break;
	case VALUE_NUMBER:
		good = records_number(r->value, (int64_t *)(void *)field);
		break;
	case VALUE_TIME:
		good = records_time(r->value, &pax->mtime, &pax->ns);
		break;
	case VALUE_NONE:
		break;
	}
	if (good)
		pax->has |= keys[key].has;
	return good || !(keys[key].has & (HAS_SIZE | HAS_REAL_SIZE));
}

/* -- records -------------------------------------------------------------- */

/* Has an end already: they are gone through twice. */
static bool is_end(char byte, char end)
{
	return byte == end || !byte;
}

int records_next(char **at, char *end, struct pax_record *record)
{
	char *from = *at, *key = from;
	size_t len = 0;

	if (from == end)
		return 0;
	for (; key < end && *key >= '0' && *key <= '9'; key++) {
		len = len * 10 + (size_t)(*key - '0');
		if (len > TAR_PAX_BYTES)
			return -EBADMSG;
	}
	if (len > (size_t)(end - from) || len < (size_t)(key - from) + 2 ||
	    *key != ' ' || !is_end(from[len - 1], '\n'))
		return -EBADMSG;
	from[len - 1] = 0;
	record->key = ++key;
	while (!is_end(*key, '='))
		key++;
	if (key == from + len - 1)
		return -EBADMSG;
	*key = 0;
	record->value = key + 1;
	record->len = (size_t)(from + len - 1 - record->value);
	*at = from + len;
	return 1;
}

long records_read(struct unpacker *u, struct pax *pax)
{
	char *at = u->work->pax, *end = at + u->pax_len;
	struct pax_record record;
	int result;

	while ((result = records_next(&at, end, &record)) > 0)
		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (same(record.key, keys[i].name) &&
			    !records_set(u, pax, i, &record))
				return -EBADMSG;
	return result;
}
