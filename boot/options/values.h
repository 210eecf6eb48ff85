/*
 * The values of options: text to number, size, duration, choice or file, and
 * back, and the guess at what a misspelt word meant.
 */
#ifndef BOOT_OPTIONS_VALUES_H
#define BOOT_OPTIONS_VALUES_H

#include "boot/options/parse.h"

/* Which value is looked at, for messages; key NULL is the option's own. */
struct option_where {
	const char *option, *key;
};

/* Log "--option key: ..."; -EINVAL. */
int optvalue_fail(const struct option_where *where, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* `text` in quotes, shortened where it is long. */
#define OPTVALUE_SHOW_BYTES 72
const char *optvalue_show(char buf[OPTVALUE_SHOW_BYTES], const char *text);

/* "=PATH": what follows a form of a variant, by its enum option_argument. */
extern const char *const optvalue_arguments[];

/* Store the default of `field` in the element. */
void optvalue_reset(const struct option_field *field, void *element);

/*
 * Judge `text` and store it in the element, where it must stay valid; 0, or
 * -EINVAL and a logged line. Not for OPTION_ACTION; NULL for OPTION_FLAG.
 */
int optvalue_parse(const struct option_where *where,
		   const struct option_field *field, const char *text,
		   void *element);

/* The size, duration, number or choice `value` as its user would write it. */
#define OPTVALUE_FORMAT_BYTES 32
const char *optvalue_format(const struct option_field *field, uint64_t value,
			    char buf[OPTVALUE_FORMAT_BYTES]);

/*
 * The nearest of the words offered, by edit distance; `best` is NULL where
 * none is near enough to be what was meant. Start with {.word = ..., .len = }.
 */
struct optvalue_nearest {
	const char *word; /* `len` bytes of it */
	size_t len;
	const char *best;
	unsigned distance;
};
void optvalue_offer(struct optvalue_nearest *nearest, const char *candidate);

#endif
