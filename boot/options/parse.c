/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of the command line, driven by a table (boot/options/parse.h).
 *
 * One pass over argv: each word is a long option, a group of letters or a
 * mistake. A value is split at its commas, its first part is judged by the
 * entry's own field and the others by the keys'. Everything is judged in full
 * before it is stored: a sign, a blank, a fraction, an overflow or a value out
 * of range is refused with the range and an example. The first mistake is
 * logged, with the nearest thing that would have been right, and ends the
 * parsing.
 *
 * The file goes from the small to the large: messages, the nearest word, one
 * value, a value with its keys, the words of argv; last, what was stored.
 *
 * Trusts nobody: argv is the user's, of any bytes and any length. Owns nothing
 * and keeps nothing between calls; the main thread runs it, before anything
 * else exists.
 */
#include "boot/options/parse.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mem/log.h"
#include "mem/util.h"

#define MESSAGE_BYTES 640
#define SHOWN_BYTES   60 /* of a value, in a message */
#define QUOTED_BYTES  72
#define WORD_MAX      32 /* longer words are not guessed at */

/* -- messages -------------------------------------------------------------- */

void optparse_add(struct option_text *to, const char *format, ...)
{
	const size_t room = sizeof(to->text) - to->used;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(to->text + to->used, room, format, args);
	va_end(args);
	if (len > 0)
		to->used += (size_t)len < room ? (size_t)len : room - 1;
}

/* `text` in quotes, shortened where it is long. */
static const char *quote_text(char buf[QUOTED_BYTES], const char *text)
{
	snprintf(buf, QUOTED_BYTES, "'%.*s%s'", SHOWN_BYTES, text,
		 strnlen(text, SHOWN_BYTES + 1) > SHOWN_BYTES ? "..." : "");
	return buf;
}

int optparse_fail(const struct option_where *where, const char *text,
		  const char *format, ...)
{
	const char *key = where ? where->key : NULL;
	char message[MESSAGE_BYTES], quoted[QUOTED_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	log_error("%s%s%s%s%s%s%s%s", where ? "--" : "",
		  where ? where->option : "", key ? " " : "", key ? key : "",
		  where ? ": " : "", text ? quote_text(quoted, text) : "",
		  text ? " " : "", message);
	return -EINVAL;
}

/* -- the nearest word ------------------------------------------------------ */

static unsigned least_of_three(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

static bool letters_equal(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * Edits from a to b (optimal string alignment distance, letter case aside): a
 * letter changed, left out, added, two swapped are 1 each.
 */
static unsigned edit_distance(const char *a, size_t a_len, const char *b,
			      size_t b_len)
{
	unsigned rows[3][WORD_MAX + 1] = { { 0 } };

	for (unsigned j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (unsigned i = 1; i <= a_len; i++) {
		const unsigned *two = rows[(i + 1) % 3];
		const unsigned *above = rows[(i + 2) % 3];
		unsigned *row = rows[i % 3];

		row[0] = i;
		for (unsigned j = 1; j <= b_len; j++) {
			bool equal = letters_equal(a[i - 1], b[j - 1]);

			row[j] = least_of_three(row[j - 1] + 1, above[j] + 1,
						above[j - 1] + !equal);
			if (i > 1 && j > 1 &&
			    letters_equal(a[i - 1], b[j - 2]) &&
			    letters_equal(a[i - 2], b[j - 1]) &&
			    two[j - 2] + 1 < row[j])
				row[j] = two[j - 2] + 1;
		}
	}
	return rows[a_len % 3][b_len];
}

void optparse_offer(struct option_guess *guess, const char *candidate)
{
	size_t len = strlen(candidate), longer;
	unsigned distance;

	if (!guess->len || guess->len > WORD_MAX || len > WORD_MAX)
		return;
	longer = len > guess->len ? len : guess->len;
	distance = edit_distance(guess->word, guess->len, candidate, len);
	/* The start of a word is as good as one slip. */
	if (distance > 1 && len > guess->len &&
	    !strncasecmp(candidate, guess->word, guess->len))
		distance = 1;
	if (distance >= longer || distance > longer / 3 + 1)
		return;
	/* Of equals the longer: letters are left out more than added. */
	if (guess->best &&
	    (guess->distance < distance ||
	     (guess->distance == distance && strlen(guess->best) >= len)))
		return;
	guess->best = candidate;
	guess->distance = distance;
}

/* `list` names what would have been right; to be freed of its ", " in front. */
static int refuse_name(const struct option_where *where, const char *text,
		       const char *what, const struct option_text *list,
		       const struct option_guess *guess)
{
	return optparse_fail(
		where, text, "is not one of %s%s%s%s%s", what, list->text + 2,
		guess->best ? "; did you mean '" : "",
		guess->best ? guess->best : "", guess->best ? "'?" : "");
}

/* -- the words of other programs ------------------------------------------- */

static bool has_word(const char *words, const char *word, size_t len)
{
	while (*words) {
		const size_t next = strcspn(words, " ");

		if (next == len && !memcmp(words, word, len))
			return true;
		words += next + (words[next] == ' ');
	}
	return false;
}

/* What to say to that word, of `len` bytes, there; NULL where nothing is. */
static const char *find_foreign(const struct option_where *where,
				const char *word, size_t len)
{
	const struct option_foreign *at = where->foreign;

	for (; at && at->words; at++)
		if (!at->option == !where->option &&
		    (!at->option || !strcmp(at->option, where->option)) &&
		    has_word(at->words, word, len))
			return at->answer;
	return NULL;
}

/* Of a value, or a part of it: 0, nothing said, where it is nobody's word. */
static int refuse_foreign(const struct option_where *where, const char *text)
{
	const char *answer = find_foreign(where, text, strcspn(text, "="));

	return answer ? optparse_fail(where, text, "is not known here: %s",
				      answer)
		      : 0;
}

/* -- numbers with units ---------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t scale;
};

#define BYTE_UNITS                                                             \
	{                                                                      \
		{ "T", 1ULL << 40 }, { "G", 1ULL << 30 }, { "M", 1ULL << 20 }, \
			{ "K", 1ULL << 10 },                                   \
	}

/* Numbers, sizes and durations are one thing: digits and a unit of these. */
static const struct scale {
	const char *noun;
	const char *ending;   /* what may follow; NULL: nothing */
	bool bytes;	      /* MB, MiB and m are M, but 2M is not 2 minutes */
	bool adds_up;	      /* several, the largest unit first: 1h30m */
	struct unit units[6]; /* the largest first, up to a NULL name */
} scales[] = {
	[OPTION_NUMBER] = { "a number", NULL, false, false, { { NULL, 0 } } },
	[OPTION_SIZE] = { "a size", NULL, true, false, BYTE_UNITS },
	[OPTION_RATE] = { "a rate", "/s", true, false, BYTE_UNITS },
	[OPTION_DURATION] = { "a duration",
			      NULL,
			      false,
			      true,
			      { { "d", 86400000000000ULL },
				{ "h", 3600000000000ULL },
				{ "m", 60000000000ULL },
				{ "s", 1000000000ULL },
				{ "ms", 1000000ULL } } },
};

bool optparse_digits(const char **text, uint64_t *value)
{
	const char *at = *text;

	*value = 0;
	if (*at < '0' || *at > '9')
		return false;
	for (; *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(*value, 10, value) ||
		    __builtin_add_overflow(*value, (uint64_t)(*at - '0'),
					   value))
			return false;
	*text = at;
	return true;
}

static bool is_unit(const struct scale *scale, const char *name,
		    const char *text, size_t len)
{
	static const char *const endings[] = { "", "B", "iB" };
	const size_t name_len = strlen(name);
	bool equal = false;

	if (!scale->bytes)
		return name_len == len && !memcmp(name, text, len);
	for (size_t i = 0; i < ARRAY_LEN(endings); i++)
		equal |= len == name_len + strlen(endings[i]) &&
			 !strncasecmp(name, text, name_len) &&
			 !strncasecmp(endings[i], text + name_len,
				      len - name_len);
	return equal;
}

/*
 * The unit that *text begins with, which moves past it: `unit` or one of the
 * smaller ones behind it. NULL where there is none.
 */
static const struct unit *read_unit(const struct scale *scale,
				    const struct unit *unit, const char **text)
{
	size_t len = 0;

	while (isalpha((unsigned char)(*text)[len]))
		len++;
	while (unit->name && !is_unit(scale, unit->name, *text, len))
		unit++;
	*text += len;
	return unit->name ? unit : NULL;
}

static bool read_scaled(const struct option_field *field, const char *text,
			uint64_t *value)
{
	const struct scale *scale = &scales[field->kind];
	const struct unit *unit = scale->units;
	uint64_t number, by = field->unit ? field->unit : 1;

	*value = 0;
	do {
		const bool first = unit == scale->units;

		if (!optparse_digits(&text, &number))
			return false;
		/* Only a number that stands alone needs none. */
		if (!first || isalpha((unsigned char)*text)) {
			unit = read_unit(scale, unit, &text);
			if (!unit)
				return false;
			by = unit++->scale;
		}
		if (__builtin_mul_overflow(number, by, &number) ||
		    __builtin_add_overflow(*value, number, value))
			return false;
	} while (scale->adds_up && *text);
	return (!*text || (scale->ending && !strcmp(text, scale->ending))) &&
	       *value >= field->min && *value <= field->max;
}

/* " (units: T, G, M, K; without one: M)" */
static void add_units(struct option_text *to, const struct option_field *field)
{
	const struct unit *unit = scales[field->kind].units;
	const char *bare = "bytes", *before = " (units: ";

	if (!unit->name)
		return;
	for (; unit->name; unit++, before = ", ") {
		optparse_add(to, "%s%s", before, unit->name);
		if (unit->scale == field->unit)
			bare = unit->name;
	}
	optparse_add(to, "; without one: %s)", bare);
}

static int parse_scaled(const struct option_where *where,
			const struct option_field *field, const char *text,
			uint64_t *value)
{
	char min[OPTPARSE_FORMAT_BYTES], max[OPTPARSE_FORMAT_BYTES];
	struct option_text units = { 0 };

	if (read_scaled(field, text, value))
		return 0;
	if (refuse_foreign(where, text))
		return -EINVAL;
	add_units(&units, field);
	return optparse_fail(where, text,
			     "is not %s from %s to %s, for example %s%s",
			     scales[field->kind].noun,
			     optparse_format(field, field->min, min),
			     optparse_format(field, field->max, max),
			     field->example, units.text);
}

const char *optparse_format(const struct option_field *field, uint64_t value,
			    char buf[OPTPARSE_FORMAT_BYTES])
{
	const struct option_choice *choice = field->choices;
	const struct unit *unit;

	if (choice) {
		while (choice->name && choice->value != value)
			choice++;
		return choice->name;
	}
	unit = scales[field->kind].units;
	while (unit->name && (!value || value % unit->scale))
		unit++;
	snprintf(buf, OPTPARSE_FORMAT_BYTES, "%llu%s",
		 (unsigned long long)(unit->name ? value / unit->scale : value),
		 unit->name ? unit->name : "");
	return buf;
}

/* -- one value ------------------------------------------------------------- */

const char *const optparse_arguments[] = {
	[OPTION_ARG_NONE] = "",
	[OPTION_ARG_PATH] = "=PATH",
	[OPTION_ARG_NAME] = "=NAME",
	[OPTION_ARG_FD] = "=N",
};

/* The choice called `text`, of `len` bytes; NULL, logged, where none is. */
static const struct option_choice *find_choice(const struct option_where *where,
					       const struct option_field *field,
					       const char *text, size_t len)
{
	struct option_guess guess = { .word = text, .len = len };
	struct option_text list = { 0 };

	for (const struct option_choice *choice = field->choices; choice->name;
	     choice++)
		if (strlen(choice->name) == len &&
		    !strncmp(choice->name, text, len))
			return choice;
	if (refuse_foreign(where, text))
		return NULL;
	for (const struct option_choice *choice = field->choices; choice->name;
	     choice++) {
		optparse_offer(&guess, choice->name);
		optparse_add(&list, ", %s%s", choice->name,
			     optparse_arguments[choice->argument]);
	}
	refuse_name(where, text, "", &list, &guess);
	return NULL;
}

/* A path that stands for a descriptor is that, as fd=N is. */
static int parse_path(const struct option_where *where, const char *text,
		      struct option_file *file)
{
	const int fd = file_path_fd(text);

	*file = (struct option_file){ .path = fd < 0 ? text : NULL, .fd = fd };
	return *text ? 0 : optparse_fail(where, NULL, "the path is empty");
}

/* `text` is "fd=N". */
static int parse_fd(const struct option_where *where, const char *text,
		    struct option_file *file)
{
	const char *end = text + strlen("fd=");
	uint64_t value;

	if (!optparse_digits(&end, &value) || *end || value > INT_MAX)
		return optparse_fail(where, text,
				     "is not fd= and the number of an open "
				     "descriptor, for example fd=3");
	*file = (struct option_file){ .path = NULL, .fd = (int)value };
	return 0;
}

/* The choice whose argument is a descriptor, which each variant has. */
static int become_fd(const struct option_field *field, uint64_t *value)
{
	const struct option_choice *choice = field->choices;

	while (choice->argument != OPTION_ARG_FD)
		choice++;
	*value = choice->value;
	return 0;
}

/* PATH or fd=N. */
static int parse_file(const struct option_where *where, const char *text,
		      struct option_file *file)
{
	if (!strncmp(text, "fd=", strlen("fd=")))
		return parse_fd(where, text, file);
	/* path=PATH, in other programs. */
	if (strchr(text, '=') && refuse_foreign(where, text))
		return -EINVAL;
	return parse_path(where, text, file);
}

/* Of an OPTION_ENUM; of an OPTION_VARIANT also what follows its "=". */
static int parse_choice(const struct option_where *where,
			const struct option_field *field, const char *text,
			uint64_t *value, struct option_file *file)
{
	size_t len = field->kind == OPTION_VARIANT ? strcspn(text, "=")
						   : strlen(text);
	const struct option_choice *choice =
		find_choice(where, field, text, len);
	const char *argument;

	if (!choice)
		return -EINVAL;
	argument = optparse_arguments[choice->argument];
	if (text[len] && !*argument)
		return optparse_fail(where, choice->name, "takes no value");
	if (!text[len] && *argument)
		return optparse_fail(where, choice->name, "needs a value: %s%s",
				     choice->name, argument);
	*value = choice->value;
	if (!*argument)
		return 0;
	if (choice->argument == OPTION_ARG_FD)
		return parse_fd(where, text, file);
	if (choice->argument == OPTION_ARG_NAME) {
		*file = (struct option_file){ .path = text + len + 1,
					      .fd = -1 };
		return *file->path ? 0
				   : optparse_fail(where, choice->name,
						   "needs a name");
	}
	/* unix=/dev/fd/3 is fd=3. */
	if (!parse_path(where, text + len + 1, file))
		return file->fd >= 0 ? become_fd(field, value) : 0;
	return -EINVAL;
}

static int check_length(const struct option_where *where,
			const struct option_field *field, const char *text)
{
	const size_t len = strlen(text);

	if (len >= field->min && len <= field->max)
		return 0;
	return optparse_fail(where, text,
			     "is %zu bytes long; %llu to %llu are allowed, "
			     "for example %s",
			     len, (unsigned long long)field->min,
			     (unsigned long long)field->max, field->example);
}

/* Stores a number or a pointer: the low bytes of `value` (x86 only). */
static void store_value(const struct option_field *field, void *target,
			uint64_t value)
{
	static const uint8_t bytes[] = {
		[OPTION_FLAG] = sizeof(bool),
		[OPTION_TEXT] = sizeof(const char *),
		[OPTION_STRING] = sizeof(const char *),
		[OPTION_NUMBER] = sizeof(unsigned),
		[OPTION_SIZE] = sizeof(uint64_t),
		[OPTION_RATE] = sizeof(uint64_t),
		[OPTION_DURATION] = sizeof(uint64_t),
		[OPTION_ENUM] = sizeof(unsigned),
		[OPTION_VARIANT] = sizeof(unsigned),
		[OPTION_PUT] = sizeof(const char *),
		[OPTION_GET] = sizeof(const char *),
		[OPTION_FILE] = 0,
		[OPTION_ACTION] = 0,
	};

	memcpy((char *)target + field->offset, &value, bytes[field->kind]);
}

static bool stores_file(const struct option_field *field)
{
	return field->kind == OPTION_FILE || field->kind == OPTION_VARIANT ||
	       field->kind == OPTION_PUT || field->kind == OPTION_GET;
}

/* Of a field that stores one. */
static struct option_file *stored_file(const struct option_field *field,
				       void *target)
{
	void *at = (char *)target + (field->kind == OPTION_FILE
					     ? field->offset
					     : field->file_offset);

	return at;
}

/* Of a key that may be given several times. */
static void *stored_place(void *target, unsigned i)
{
	return (char *)target + i * sizeof(const char *);
}

static void store_default(const struct option_field *field, void *target)
{
	for (unsigned i = 0; i < (field->times ? field->times : 1); i++)
		store_value(field, stored_place(target, i), field->initial);
	if (stores_file(field))
		*stored_file(field, target) =
			(struct option_file){ .path = NULL, .fd = -1 };
}

/* It is told to the guest, in whose files it is. */
static int check_guest_path(const struct option_where *where, const char *path)
{
	if (*path == '/' && strlen(path) < PATH_MAX)
		return 0;
	return optparse_fail(where, path,
			     "is not a path of the guest, which begins with /, "
			     "for example /src");
}

int optparse_value(const struct option_where *where,
		   const struct option_field *field, const char *text,
		   void *target)
{
	struct option_file *file = stored_file(field, target);
	uint64_t value = 0;
	int error = 0;

	switch (field->kind) {
	case OPTION_FLAG:
		value = true;
		break;
	case OPTION_STRING:
		error = check_length(where, field, text);
		/* fallthrough */
	case OPTION_TEXT:
		value = (uintptr_t)text;
		break;
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_RATE:
	case OPTION_DURATION:
		error = parse_scaled(where, field, text, &value);
		break;
	case OPTION_ENUM:
	case OPTION_VARIANT:
		error = parse_choice(where, field, text, &value, file);
		break;
	case OPTION_FILE:
	case OPTION_PUT:
		error = parse_file(where, text, file);
		break;
	case OPTION_GET:
		value = (uintptr_t)text;
		error = check_guest_path(where, text);
		break;
	case OPTION_ACTION:
		break;
	}
	if (!error)
		store_value(field, target, value);
	return error;
}

/* -- VALUE,key=value,flag -------------------------------------------------- */

static int fail_pool(const struct option_where *where)
{
	return optparse_fail(where, NULL,
			     "the values of all options take more than %d "
			     "bytes",
			     OPTION_POOL_BYTES);
}

/*
 * The part of *text up to a single comma into *part, with ",," made ","; *text
 * moves past the comma, or becomes NULL after the last part. A part that is
 * also the end of its argument, unchanged, is used where it is.
 */
static int split_part(const struct option_where *where,
		      struct option_parsed *parsed, const char **text,
		      const char **part)
{
	const char *from = *text;
	size_t len = strcspn(from, ",");
	bool more;

	*part = from;
	*text = NULL;
	if (!from[len])
		return 0;
	*part = parsed->pool + parsed->pool_used;
	do {
		if (parsed->pool_used == sizeof(parsed->pool))
			return fail_pool(where);
		more = *from && (from[0] != ',' || from[1] == ',');
		if (more && *from == ',')
			from++;
		parsed->pool[parsed->pool_used++] = more ? *from++ : '\0';
	} while (more);
	if (*from)
		*text = from + 1;
	return 0;
}

/* Where the guest's part of FILE:/PATH begins, or ends in PATH:FILE; NULL. */
static const char *find_parting(const struct option_field *field,
				const char *part)
{
	const char *found = NULL;

	if (field->kind == OPTION_GET)
		return strchr(part, ':');
	for (const char *at = part; (at = strstr(at, ":/")); at++)
		found = at;
	return found;
}

/* Of an OPTION_PUT or OPTION_GET. What stands first needs an end of its own. */
static int set_both_paths(const struct option_where *where,
			  const struct option_field *field,
			  struct option_parsed *parsed, const char *part,
			  const char *parting, void *element)
{
	const size_t len = (size_t)(parting - part);
	char *first = parsed->pool + parsed->pool_used;
	const char *paths[] = { first, parting + 1 };
	const bool put = field->kind == OPTION_PUT;
	int error;

	if (len >= sizeof(parsed->pool) - parsed->pool_used)
		return fail_pool(where);
	memcpy(first, part, len);
	first[len] = '\0';
	parsed->pool_used += len + 1;
	error = check_guest_path(where, paths[put]);
	if (!error)
		error = parse_file(where, paths[!put],
				   stored_file(field, element));
	store_value(field, element, (uintptr_t)paths[put]);
	return error;
}

static int set_own_value(const struct option_where *where,
			 const struct option_entry *entry,
			 struct option_parsed *parsed, const char *part,
			 void *element)
{
	const struct option_field *field = &entry->own;
	const bool two = field->kind == OPTION_PUT || field->kind == OPTION_GET;
	const char *parting = two ? find_parting(field, part) : NULL;

	return parting ? set_both_paths(where, field, parsed, part, parting,
					element)
		       : optparse_value(where, field, part, element);
}

/* The key that `part` names, by `len` bytes; NULL, logged, where none is. */
static const struct option_field *find_key(const struct option_where *where,
					   const struct option_entry *entry,
					   const char *part, size_t len)
{
	struct option_guess guess = { .word = part, .len = len };
	struct option_text list = { 0 };

	for (const struct option_field *key = entry->keys; key && key->name;
	     key++)
		if (strlen(key->name) == len && !memcmp(key->name, part, len))
			return key;
	if (refuse_foreign(where, part))
		return NULL;
	for (const struct option_field *key = entry->keys; key && key->name;
	     key++) {
		optparse_offer(&guess, key->name);
		optparse_add(&list, ", %s%s", key->name,
			     option_takes_value(key) ? "=" : "");
	}
	if (entry->keys)
		refuse_name(where, part, "the keys ", &list, &guess);
	else
		optparse_fail(where, part,
			      "follows a comma, but this option has no keys; a "
			      "comma in a value is written ',,'");
	return NULL;
}

/* Where the value of a key goes; NULL: all places are taken. */
static void *free_place(const struct option_field *key, void *element)
{
	const char *taken;

	if (!key->times)
		return element;
	for (unsigned i = 0; i < key->times; i++) {
		void *place = stored_place(element, i);

		memcpy(&taken, (char *)place + key->offset, sizeof(taken));
		if (!taken)
			return place;
	}
	return NULL;
}

static int set_key(struct option_where where, const struct option_entry *entry,
		   const char *part, uint64_t *seen, void *element)
{
	size_t len = strcspn(part, "=");
	const struct option_field *key = find_key(&where, entry, part, len);
	uint64_t bit;

	if (!key)
		return -EINVAL;
	bit = 1ULL << (key - entry->keys);
	if (*seen & bit && !key->times)
		return optparse_fail(&where, key->name, "is given twice");
	*seen |= bit;
	if (!option_takes_value(key) && part[len])
		return optparse_fail(&where, key->name, "takes no value");
	if (option_takes_value(key) && !part[len])
		return optparse_fail(&where, key->name,
				     "needs a value, for example %s=%s",
				     key->name, key->example);
	where.key = key->name;
	element = free_place(key, element);
	if (!element)
		return optparse_fail(&where, NULL,
				     "given more than %u times, which is the "
				     "most there can be",
				     key->times);
	return optparse_value(&where, key, part + len + !!part[len], element);
}

static int set_parts(const struct option_where *where,
		     const struct option_entry *entry,
		     struct option_parsed *parsed, const char *text,
		     void *element)
{
	uint64_t seen = 0;
	const char *part;
	int error = split_part(where, parsed, &text, &part);

	if (!error)
		error = set_own_value(where, entry, parsed, part, element);
	while (!error && text) {
		error = split_part(where, parsed, &text, &part);
		if (!error)
			error = set_key(*where, entry, part, &seen, element);
	}
	return error;
}

/* -- the words of argv ----------------------------------------------------- */

struct parse {
	const struct option_set *set;
	char *target;
	struct option_parsed *parsed;
	char **argv;
	int argc, next; /* the word after the one in hand */
};

/* The option's own field, then those of its keys, then NULL. */
static const struct option_field *field_at(const struct option_entry *entry,
					   unsigned i)
{
	if (!i)
		return &entry->own;
	return entry->keys && entry->keys[i - 1].name ? &entry->keys[i - 1]
						      : NULL;
}

static void reset_element(const struct option_entry *entry, void *element)
{
	for (unsigned i = 0; field_at(entry, i); i++)
		store_default(field_at(entry, i), element);
}

static unsigned *element_count(const struct option_entry *entry, char *target)
{
	void *at = target + entry->count;

	return at;
}

static int note_given(struct option_parsed *parsed, const char *option,
		      const char *text)
{
	if (parsed->given_count == OPTION_GIVEN_MAX)
		return optparse_fail(NULL, NULL,
				     "more than %u options are given",
				     OPTION_GIVEN_MAX);
	parsed->given[parsed->given_count++] =
		(struct option_given){ option, text };
	return 0;
}

static int set_option(struct parse *parse, const struct option_entry *entry,
		      const char *text)
{
	const struct option_where where = { .option = entry->own.name,
					    .foreign = parse->set->foreign };
	char *element = parse->target;

	if (entry->own.kind == OPTION_ACTION) {
		int error = entry->own.action(parse->set);

		return error ? error : 1;
	}
	if (note_given(parse->parsed, entry->own.name, text))
		return -EINVAL;
	if (entry->max) {
		unsigned *count = element_count(entry, parse->target);

		if (*count >= entry->max)
			return optparse_fail(&where, NULL,
					     "given more than %u times, which "
					     "is the most there can be",
					     entry->max);
		element += (*count)++ * entry->stride;
		memset(element + entry->first, 0, entry->stride);
	}
	reset_element(entry, element);
	if (entry->own.kind == OPTION_FLAG || entry->own.kind == OPTION_TEXT)
		return optparse_value(&where, &entry->own, text, element);
	return set_parts(&where, entry, parse->parsed, text, element);
}

/* `nearest` NULL: there is no guess at what was meant. */
static int refuse_word(const struct parse *parse, const char *what,
		       const char *word, const char *nearest)
{
	char quoted[QUOTED_BYTES];

	return optparse_fail(
		NULL, NULL, "%s %s%s%s%s '%s --help' lists the options", what,
		quote_text(quoted, word), nearest ? "; did you mean '--" : "",
		nearest ? nearest : "", nearest ? "'?" : ";",
		parse->set->program);
}

/* `dashed` is the word, `name` what follows its dashes, `len` bytes of it. */
static int refuse_option(const struct parse *parse, const char *dashed,
			 const char *name, size_t len, const char *nearest)
{
	const struct option_where where = { .foreign = parse->set->foreign };
	const char *answer = find_foreign(&where, name, len);
	char quoted[QUOTED_BYTES];

	if (!answer)
		return refuse_word(parse, "there is no option", dashed,
				   nearest);
	return optparse_fail(NULL, NULL, "there is no option %s: %s",
			     quote_text(quoted, dashed), answer);
}

static const struct option_entry *find_long(const struct parse *parse,
					    const char *name, size_t len)
{
	for (size_t i = 0; i < parse->set->entry_count; i++) {
		const struct option_entry *entry = &parse->set->entries[i];

		if (!strncmp(entry->own.name, name, len) &&
		    !entry->own.name[len])
			return entry;
	}
	return NULL;
}

/* The name that comes nearest to one that is not there, or NULL. */
static const char *guess_long(const struct parse *parse, const char *name,
			      size_t len)
{
	struct option_guess guess = { .word = name, .len = len };

	for (size_t i = 0; i < parse->set->entry_count; i++)
		optparse_offer(&guess, parse->set->entries[i].own.name);
	return guess.best;
}

static const struct option_entry *find_letter(const struct parse *parse,
					      char letter)
{
	for (size_t i = 0; i < parse->set->entry_count; i++)
		if (parse->set->entries[i].letter == letter)
			return &parse->set->entries[i];
	return NULL;
}

/* The value of an option that stands last in its word: the next word. */
static int take_next_word(struct parse *parse, const struct option_entry *entry,
			  const char **text)
{
	struct option_where where = { .option = entry->own.name };

	if (parse->next < parse->argc) {
		*text = parse->argv[parse->next++];
		return 0;
	}
	return optparse_fail(
		&where, NULL, "needs a value: --%s %s, for example %s",
		entry->own.name, entry->own.value, entry->own.example);
}

/* `word` is what follows the "--". */
static int parse_long(struct parse *parse, const char *word)
{
	const size_t len = strcspn(word, "=");
	const struct option_entry *entry = find_long(parse, word, len);
	const char *text = word + len + !!word[len];
	struct option_where where;
	int error = 0;

	if (!entry)
		return refuse_option(parse, word - 2, word, len,
				     guess_long(parse, word, len));
	where = (struct option_where){ .option = entry->own.name };
	if (word[len] && !option_takes_value(&entry->own))
		return optparse_fail(&where, NULL, "takes no value");
	if (!word[len] && option_takes_value(&entry->own))
		error = take_next_word(parse, entry, &text);
	return error ? error : set_option(parse, entry, text);
}

/* `word` is what follows the "-". */
static int parse_letters(struct parse *parse, const char *word)
{
	const struct option_where where = { .foreign = parse->set->foreign };
	const size_t len = strcspn(word, "=");
	const struct option_entry *entry = find_long(parse, word, len);
	int done = 0;

	/* -kernel is how other programs write --kernel; not a file "ernel". */
	if (word[1] && (entry || find_foreign(&where, word, len)))
		return refuse_option(parse, word - 1, word, len,
				     entry ? entry->own.name : NULL);
	for (const char *at = word; *at && !done; at++) {
		const char *text = at + 1;

		entry = find_letter(parse, *at);
		if (!entry)
			return refuse_option(parse, (char[]){ '-', *at, '\0' },
					     at, 1, NULL);
		if (!option_takes_value(&entry->own)) {
			done = set_option(parse, entry, "");
			continue;
		}
		if (!*text)
			done = take_next_word(parse, entry, &text);
		return done ? done : set_option(parse, entry, text);
	}
	return done;
}

static int parse_word(struct parse *parse, const char *word)
{
	static const char nowhere[] = "there is no place for the word";
	char **rest = parse->argv + parse->next;
	char ***to = (void *)(parse->target + parse->set->rest);

	if (!strcmp(word, "--")) {
		if (parse->next == parse->argc)
			return 0;
		if (!parse->set->rest_syntax)
			return refuse_word(parse, nowhere, *rest, NULL);
		*to = rest; /* argv ends in NULL (C11, 5.1.2.2.1) */
		parse->next = parse->argc;
		return 0;
	}
	if (word[0] != '-' || !word[1])
		return refuse_word(parse,
				   parse->set->rest_syntax
					   ? "a command comes last, "
					     "after --; there is no "
					     "place for the word"
					   : nowhere,
				   word, NULL);
	if (word[1] == '-')
		return parse_long(parse, word + 2);
	return parse_letters(parse, word + 1);
}

/* -- which option took which descriptor ------------------------------------ */

/* The list stays in order of number. */
static int list_fd(struct option_parsed *parsed, const char *option, int fd)
{
	struct option_fd *list = parsed->fds;
	unsigned i = parsed->fd_count;

	if (i == OPTION_FDS_MAX)
		return optparse_fail(NULL, NULL,
				     "more than %u descriptors are given by "
				     "fd=N",
				     OPTION_FDS_MAX);
	for (; i && list[i - 1].fd >= fd; i--) {
		if (list[i - 1].fd == fd)
			return optparse_fail(NULL, NULL,
					     "--%s and --%s both take fd=%d; "
					     "give each its own descriptor",
					     list[i - 1].option, option, fd);
		list[i] = list[i - 1];
	}
	list[i] = (struct option_fd){ fd, option };
	parsed->fd_count++;
	return 0;
}

static int list_fds(struct parse *parse, const struct option_entry *entry)
{
	const unsigned count =
		entry->max ? *element_count(entry, parse->target) : 1;
	const struct option_field *field;
	int error = 0, fd;

	for (unsigned n = 0; n < count; n++)
		for (unsigned i = 0; (field = field_at(entry, i)); i++) {
			if (!stores_file(field) || error)
				continue;
			fd = stored_file(field,
					 parse->target + n * entry->stride)
				     ->fd;
			if (fd >= 0)
				error = list_fd(parse->parsed, entry->own.name,
						fd);
		}
	return error;
}

bool optparse_given(const struct option_parsed *parsed, const char *option)
{
	for (unsigned i = 0; i < parsed->given_count; i++)
		if (!strcmp(parsed->given[i].option, option))
			return true;
	return false;
}

const char *optparse_fd_owner(const struct option_parsed *parsed, int fd)
{
	for (unsigned i = 0; i < parsed->fd_count; i++)
		if (parsed->fds[i].fd == fd)
			return parsed->fds[i].option;
	return NULL;
}

/* -- all of it ------------------------------------------------------------- */

int optparse_run(const struct option_set *set, void *target,
		 struct option_parsed *parsed, int argc, char **argv)
{
	const struct option_entry *end = set->entries + set->entry_count;
	struct parse parse = {
		.set = set,
		.target = target,
		.parsed = parsed,
		.argv = argv,
		.argc = argc,
		.next = 1,
	};
	int done = 0;

	parsed->pool_used = parsed->fd_count = parsed->given_count = 0;
	for (const struct option_entry *at = set->entries; at < end; at++) {
		if (at->max)
			*element_count(at, target) = 0;
		else
			reset_element(at, parse.target);
	}
	while (!done && parse.next < argc)
		done = parse_word(&parse, argv[parse.next++]);
	for (const struct option_entry *at = set->entries; at < end; at++)
		if (!done)
			done = list_fds(&parse, at);
	return done;
}

int optparse_add_option(const struct option_set *set, void *target,
			struct option_parsed *parsed, const char *option,
			const char *text)
{
	struct parse parse = { .set = set, .target = target, .parsed = parsed };
	const struct option_entry *entry =
		find_long(&parse, option, strlen(option));

	return entry ? set_option(&parse, entry, text)
		     : refuse_word(&parse, "there is no option", option, NULL);
}

const char *optparse_relative_path(const struct option_set *set,
				   const char *option, const char *text)
{
	const struct parse parse = { .set = set };
	const struct option_entry *entry =
		find_long(&parse, option, strlen(option));
	const struct option_choice *form;

	if (!entry)
		return NULL;
	if (entry->own.kind == OPTION_FILE)
		return *text == '/' || !strncmp(text, "fd=", 3) ? NULL : text;
	if (entry->own.kind != OPTION_VARIANT)
		return NULL;
	for (form = entry->own.choices; form->name; form++) {
		const size_t len = strlen(form->name);

		if (form->argument == OPTION_ARG_PATH &&
		    !strncmp(text, form->name, len) && text[len] == '=' &&
		    text[len + 1] != '/')
			return text + len + 1;
	}
	return NULL;
}
