/*
 * What is said of a value that is wrong: one line, with the value shortened,
 * and what a misspelt word was meant to be: the nearest of the words that would
 * have been right, by optimal string alignment distance, letter case aside.
 *
 * Trusts nobody: the word is the user's, of any length and any bytes; long
 * ones are not guessed at, so the cost is bounded. Owns nothing; the main
 * thread runs it, when an option is wrong.
 */
#include "boot/options/values.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "mem/log.h"

#define MESSAGE_BYTES 640
#define SHOWN_BYTES   60 /* of a value, in a message */
#define WORD_MAX      32 /* longer words are not guessed at */

int optvalue_fail(const struct option_where *where, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	log_error("--%s%s%s: %s", where->option, where->key ? " " : "",
		  where->key ? where->key : "", message);
	return -EINVAL;
}

const char *optvalue_show(char buf[OPTVALUE_SHOW_BYTES], const char *text)
{
	snprintf(buf, OPTVALUE_SHOW_BYTES, "'%.*s%s'", SHOWN_BYTES, text,
		 strnlen(text, SHOWN_BYTES + 1) > SHOWN_BYTES ? "..." : "");
	return buf;
}

/* -- the nearest word ----------------------------------------------------- */

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned least = a < b ? a : b;

	return least < c ? least : c;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Edits from a to b; a letter changed, left out, added, two swapped: 1 each. */
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
			bool equal = same(a[i - 1], b[j - 1]);

			row[j] = min3(row[j - 1] + 1, above[j] + 1,
				      above[j - 1] + !equal);
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) &&
			    same(a[i - 2], b[j - 1]) && two[j - 2] + 1 < row[j])
				row[j] = two[j - 2] + 1;
		}
	}
	return rows[a_len % 3][b_len];
}

void optvalue_offer(struct optvalue_nearest *nearest, const char *candidate)
{
	size_t len = strlen(candidate), longer;
	unsigned distance;

	if (!nearest->len || nearest->len > WORD_MAX || len > WORD_MAX)
		return;
	longer = len > nearest->len ? len : nearest->len;
	distance = edit_distance(nearest->word, nearest->len, candidate, len);
	/* The start of a word is as good as one slip. */
	if (distance > 1 && len > nearest->len &&
	    !strncasecmp(candidate, nearest->word, nearest->len))
		distance = 1;
	if (distance >= longer || distance > longer / 3 + 1)
		return;
	/* Of equals the longer: letters are left out more than added. */
	if (nearest->best &&
	    (nearest->distance < distance ||
	     (nearest->distance == distance && strlen(nearest->best) >= len)))
		return;
	nearest->best = candidate;
	nearest->distance = distance;
}
