/*
 * The values of options.
 *
 * Numbers, sizes and durations are one thing, digits and a unit, and differ in
 * a table of units. Everything is judged in full before it is stored: a sign,
 * a blank, a fraction, an overflow or a value out of range is refused with the
 * range and an example. Trusts nobody: the text is the user's. Owns nothing;
 * the main thread runs it, once, before anything else exists.
 */
#include "boot/options/values.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mem/util.h"

#define LIST_BYTES 256

/* -- numbers with units ---------------------------------------------------- */

struct unit {
	const char *name;
	uint64_t scale;
};

static const struct unit no_units[] = { { NULL, 0 } };
static const struct unit size_units[] = {
	{ "T", 1ULL << 40 }, { "G", 1ULL << 30 }, { "M", 1ULL << 20 },
	{ "K", 1ULL << 10 }, { NULL, 0 },
};
static const struct unit duration_units[] = {
	{ "h", 3600000000000ULL },
	{ "m", 60000000000ULL },
	{ "s", 1000000000ULL },
	{ "ms", 1000000ULL },
	{ NULL, 0 },
};

static const struct scale {
	const char *noun;
	const struct unit *units; /* the largest first */
	bool any_case;		  /* 128m is 128M, but 2M is not 2 minutes */
} scales[] = {
	[OPTION_NUMBER] = { "a number", no_units, false },
	[OPTION_SIZE] = { "a size", size_units, true },
	[OPTION_DURATION] = { "a duration", duration_units, false },
};

/* Digits at *text, which moves past them; false: none, or too many. */
static bool read_digits(const char **text, uint64_t *value)
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

static bool read_unit(const struct scale *scale, const char *name, uint64_t *by)
{
	int (*compare)(const char *, const char *) =
		scale->any_case ? strcasecmp : strcmp;

	for (const struct unit *unit = scale->units; unit->name; unit++)
		if (!compare(unit->name, name)) {
			*by = unit->scale;
			return true;
		}
	return false;
}

static bool read_scaled(const struct option_field *field, const char *text,
			uint64_t *value)
{
	uint64_t by = field->unit ? field->unit : 1;

	if (!read_digits(&text, value))
		return false;
	if (*text && !read_unit(&scales[field->kind], text, &by))
		return false;
	return !__builtin_mul_overflow(*value, by, value) &&
	       *value >= field->min && *value <= field->max;
}

/* " (units: T, G, M, K; without one: M)" */
static const char *describe_units(const struct option_field *field,
				  char buf[LIST_BYTES])
{
	const struct unit *unit = scales[field->kind].units;
	const char *bare = "bytes";
	size_t used = 0;

	buf[0] = '\0';
	if (!unit->name)
		return buf;
	for (; unit->name; unit++) {
		used += (size_t)snprintf(buf + used, LIST_BYTES - used, "%s%s",
					 used ? ", " : " (units: ", unit->name);
		if (unit->scale == field->unit)
			bare = unit->name;
	}
	snprintf(buf + used, LIST_BYTES - used, "; without one: %s)", bare);
	return buf;
}

static int parse_scaled(const struct option_where *where,
			const struct option_field *field, const char *text,
			uint64_t *value)
{
	char shown[OPTVALUE_SHOW_BYTES], units[LIST_BYTES];
	char min[OPTVALUE_FORMAT_BYTES], max[OPTVALUE_FORMAT_BYTES];

	if (read_scaled(field, text, value))
		return 0;
	return optvalue_fail(
		where, "%s is not %s from %s to %s, for example %s%s",
		optvalue_show(shown, text), scales[field->kind].noun,
		optvalue_format(field, field->min, min),
		optvalue_format(field, field->max, max), field->example,
		describe_units(field, units));
}

const char *optvalue_format(const struct option_field *field, uint64_t value,
			    char buf[OPTVALUE_FORMAT_BYTES])
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
	snprintf(buf, OPTVALUE_FORMAT_BYTES, "%llu%s",
		 (unsigned long long)(unit->name ? value / unit->scale : value),
		 unit->name ? unit->name : "");
	return buf;
}

/* -- choices and files ----------------------------------------------------- */

const char *const optvalue_arguments[] = {
	[OPTION_ARG_NONE] = "",
	[OPTION_ARG_PATH] = "=PATH",
	[OPTION_ARG_NAME] = "=NAME",
	[OPTION_ARG_FD] = "=N",
};

/* "off, thp, 2M, 1G"; a variant's form with its argument. */
static const char *list_choices(const struct option_choice *choice,
				char buf[LIST_BYTES])
{
	size_t used = 0;

	buf[0] = '\0';
	for (; choice->name && used < LIST_BYTES; choice++)
		used += (size_t)snprintf(buf + used, LIST_BYTES - used,
					 "%s%s%s", used ? ", " : "",
					 choice->name,
					 optvalue_arguments[choice->argument]);
	return buf;
}

static const struct option_choice *
unknown_choice(const struct option_where *where,
	       const struct option_field *field, const char *text, size_t len)
{
	struct optvalue_nearest nearest = { .word = text, .len = len };
	char shown[OPTVALUE_SHOW_BYTES], list[LIST_BYTES];
	const struct option_choice *choice;

	for (choice = field->choices; choice->name; choice++)
		optvalue_offer(&nearest, choice->name);
	optvalue_fail(
		where, "%s is not one of %s%s%s%s", optvalue_show(shown, text),
		list_choices(field->choices, list),
		nearest.best ? "; did you mean '" : "",
		nearest.best ? nearest.best : "", nearest.best ? "'?" : "");
	return NULL;
}

/* The choice called `text`, of `len` bytes; NULL, logged, where none is. */
static const struct option_choice *find_choice(const struct option_where *where,
					       const struct option_field *field,
					       const char *text, size_t len)
{
	const struct option_choice *choice;

	for (choice = field->choices; choice->name; choice++)
		if (strlen(choice->name) == len &&
		    !strncmp(choice->name, text, len))
			return choice;
	return unknown_choice(where, field, text, len);
}

/* `text` is "fd=N". */
static int parse_fd(const struct option_where *where, const char *text,
		    struct option_file *file)
{
	char shown[OPTVALUE_SHOW_BYTES];
	const char *end = text + strlen("fd=");
	uint64_t value;

	if (!read_digits(&end, &value) || *end || value > INT_MAX)
		return optvalue_fail(where,
				     "%s is not fd= and the number of an open "
				     "descriptor, for example fd=3",
				     optvalue_show(shown, text));
	*file = (struct option_file){ .path = NULL, .fd = (int)value };
	return 0;
}

static int parse_path(const struct option_where *where, const char *text,
		      struct option_file *file)
{
	*file = (struct option_file){ .path = text, .fd = -1 };
	return *text ? 0 : optvalue_fail(where, "the path is empty");
}

/* -- one function for each kind -------------------------------------------- */

typedef int parse_function(const struct option_where *where,
			   const struct option_field *field, const char *text,
			   void *element);

static void *field_at(const struct option_field *field, void *element)
{
	return (char *)element + field->offset;
}

static int parse_flag(const struct option_where *where,
		      const struct option_field *field, const char *text,
		      void *element)
{
	(void)where, (void)text;
	*(bool *)field_at(field, element) = true;
	return 0;
}

static int parse_string(const struct option_where *where,
			const struct option_field *field, const char *text,
			void *element)
{
	char shown[OPTVALUE_SHOW_BYTES];
	size_t len = strlen(text);

	if (field->kind == OPTION_STRING &&
	    (len < field->min || len > field->max))
		return optvalue_fail(where,
				     "%s is %zu bytes long; %llu to %llu are "
				     "allowed, for example %s",
				     optvalue_show(shown, text), len,
				     (unsigned long long)field->min,
				     (unsigned long long)field->max,
				     field->example);
	*(const char **)field_at(field, element) = text;
	return 0;
}

static int parse_number(const struct option_where *where,
			const struct option_field *field, const char *text,
			void *element)
{
	void *at = field_at(field, element);
	uint64_t value;

	if (parse_scaled(where, field, text, &value))
		return -EINVAL;
	if (field->kind == OPTION_NUMBER)
		*(unsigned *)at = (unsigned)value;
	else
		*(uint64_t *)at = value;
	return 0;
}

static int parse_enum(const struct option_where *where,
		      const struct option_field *field, const char *text,
		      void *element)
{
	const struct option_choice *choice =
		find_choice(where, field, text, strlen(text));

	if (!choice)
		return -EINVAL;
	*(unsigned *)field_at(field, element) = choice->value;
	return 0;
}

static int parse_file(const struct option_where *where,
		      const struct option_field *field, const char *text,
		      void *element)
{
	struct option_file *file = field_at(field, element);

	if (!strncmp(text, "fd=", 3))
		return parse_fd(where, text, file);
	return parse_path(where, text, file);
}

static int parse_variant(const struct option_where *where,
			 const struct option_field *field, const char *text,
			 void *element)
{
	size_t len = strcspn(text, "=");
	const struct option_choice *choice =
		find_choice(where, field, text, len);
	void *file = (char *)element + field->file_offset;

	if (!choice)
		return -EINVAL;
	if (text[len] && choice->argument == OPTION_ARG_NONE)
		return optvalue_fail(where, "'%s' takes no value",
				     choice->name);
	if (!text[len] && choice->argument != OPTION_ARG_NONE)
		return optvalue_fail(where, "'%s' needs a value: %s%s",
				     choice->name, choice->name,
				     optvalue_arguments[choice->argument]);
	*(unsigned *)field_at(field, element) = choice->value;
	if (choice->argument == OPTION_ARG_FD)
		return parse_fd(where, text, file);
	if (choice->argument != OPTION_ARG_NONE)
		return parse_path(where, text + len + 1, file);
	return 0;
}

static parse_function *const parsers[] = {
	[OPTION_FLAG] = parse_flag,	  [OPTION_TEXT] = parse_string,
	[OPTION_STRING] = parse_string,	  [OPTION_NUMBER] = parse_number,
	[OPTION_SIZE] = parse_number,	  [OPTION_DURATION] = parse_number,
	[OPTION_ENUM] = parse_enum,	  [OPTION_FILE] = parse_file,
	[OPTION_VARIANT] = parse_variant,
};

int optvalue_parse(const struct option_where *where,
		   const struct option_field *field, const char *text,
		   void *element)
{
	return parsers[field->kind](where, field, text, element);
}

void optvalue_reset(const struct option_field *field, void *element)
{
	void *at = field_at(field, element);
	struct option_file *file = at;

	switch (field->kind) {
	case OPTION_FLAG:
		*(bool *)at = false;
		break;
	case OPTION_TEXT:
	case OPTION_STRING:
		*(const char **)at = NULL;
		break;
	case OPTION_SIZE:
	case OPTION_DURATION:
		*(uint64_t *)at = field->initial;
		break;
	case OPTION_NUMBER:
	case OPTION_ENUM:
		*(unsigned *)at = (unsigned)field->initial;
		break;
	case OPTION_VARIANT:
		*(unsigned *)at = (unsigned)field->initial;
		at = (char *)element + field->file_offset;
		file = at;
		/* fallthrough */
	case OPTION_FILE:
		*file = (struct option_file){ .path = NULL, .fd = -1 };
		break;
	case OPTION_ACTION:
		break;
	}
}
