/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The values of a command line (boot/options/parse.h): what the text of one
 * means and where it is stored, and what is said where it means nothing.
 *
 * A value is judged in full before it is stored: a sign, a blank, a fraction,
 * an overflow or a value out of range is refused with the range and an example;
 * a word that is not known, with the nearest one that is, or with the option
 * that does here what another program's did.
 *
 * The file goes from the small to the large: messages, the nearest word, the
 * words of other programs, numbers with units, one value.
 *
 * Trusts nobody: the text is the user's, of any bytes and any length. Owns
 * nothing and keeps nothing between calls.
 */
#include "boot/options/values.h"

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
const char *optparse_quote(char buf[QUOTED_BYTES], const char *text)
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
		  where ? ": " : "", text ? optparse_quote(quoted, text) : "",
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
int optparse_refuse_name(const struct option_where *where, const char *text,
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
const char *optparse_find_foreign(const struct option_where *where,
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
int optparse_refuse_foreign(const struct option_where *where, const char *text)
{
	const char *answer =
		optparse_find_foreign(where, text, strcspn(text, "="));

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
	if (optparse_refuse_foreign(where, text))
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
	if (optparse_refuse_foreign(where, text))
		return NULL;
	for (const struct option_choice *choice = field->choices; choice->name;
	     choice++) {
		optparse_offer(&guess, choice->name);
		optparse_add(&list, ", %s%s", choice->name,
			     optparse_arguments[choice->argument]);
	}
	optparse_refuse_name(where, text, "", &list, &guess);
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
int optparse_file(const struct option_where *where, const char *text,
		  struct option_file *file)
{
	if (!strncmp(text, "fd=", strlen("fd=")))
		return parse_fd(where, text, file);
	/* path=PATH, in other programs. */
	if (strchr(text, '=') && optparse_refuse_foreign(where, text))
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
void optparse_store(const struct option_field *field, void *target,
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

bool optparse_stores_file(const struct option_field *field)
{
	return field->kind == OPTION_FILE || field->kind == OPTION_VARIANT ||
	       field->kind == OPTION_PUT || field->kind == OPTION_GET;
}

/* Of a field that stores one. */
struct option_file *optparse_stored_file(const struct option_field *field,
					 void *target)
{
	void *at = (char *)target + (field->kind == OPTION_FILE
					     ? field->offset
					     : field->file_offset);

	return at;
}

/* Of a key that may be given several times. */
void *optparse_stored_place(void *target, unsigned i)
{
	return (char *)target + i * sizeof(const char *);
}

void optparse_store_default(const struct option_field *field, void *target)
{
	for (unsigned i = 0; i < (field->times ? field->times : 1); i++)
		optparse_store(field, optparse_stored_place(target, i),
			       field->initial);
	if (optparse_stores_file(field))
		*optparse_stored_file(field, target) =
			(struct option_file){ .path = NULL, .fd = -1 };
}

/* It is told to the guest, in whose files it is. */
int optparse_check_guest_path(const struct option_where *where,
			      const char *path)
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
	struct option_file *file = optparse_stored_file(field, target);
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
		error = optparse_file(where, text, file);
		break;
	case OPTION_GET:
		value = (uintptr_t)text;
		error = optparse_check_guest_path(where, text);
		break;
	case OPTION_ACTION:
		break;
	}
	if (!error)
		optparse_store(field, target, value);
	return error;
}
