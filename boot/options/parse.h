/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A command line described by one table. An entry says what an option is
 * called, what its value and its keys may be, and where they are stored; the
 * parser, --help, the man page and shell completion are all made from it.
 *
 *	-m 1G,hugepages=2M,prefault
 *	   |  |            key, a flag
 *	   |  key with a value
 *	   value; ",," is a comma within a value
 */
#ifndef BOOT_OPTIONS_PARSE_H
#define BOOT_OPTIONS_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/file.h"

#define OPTION_POOL_BYTES 16384
#define OPTION_FDS_MAX	  64
#define OPTION_GIVEN_MAX  256

/* What a value is in the text, and what is stored. */
enum option_kind {
	OPTION_FLAG,	 /* bool: true when named */
	OPTION_TEXT,	 /* const char *: the whole argument, commas and all */
	OPTION_STRING,	 /* const char *, min to max bytes long */
	OPTION_NUMBER,	 /* unsigned, min to max */
	OPTION_SIZE,	 /* uint64_t in bytes; a bare number counts `unit` */
	OPTION_RATE,	 /* the same in a second */
	OPTION_DURATION, /* uint64_t in ns; a bare number counts `unit` */
	OPTION_ENUM,	 /* unsigned or an enum: the value of a choice */
	OPTION_FILE,	 /* struct option_file: PATH or fd=N */
	OPTION_VARIANT,	 /* an enum and, at file_offset, a struct option_file */
	OPTION_PUT,	 /* const char *, the guest's path, which begins with /
			  * (NULL: not given), and at file_offset as above:
			  * FILE[:PATH], parted at the last ":/" */
	OPTION_GET,	 /* the same: PATH[:FILE], parted at the first ":" */
	OPTION_ACTION,	 /* nothing: `action` runs at once and ends parsing */
};

/* What follows a form of an OPTION_VARIANT; OPTION_ARG_FD: its name is "fd". */
enum option_argument {
	OPTION_ARG_NONE,
	OPTION_ARG_PATH,
	OPTION_ARG_NAME, /* stored as a path is */
	OPTION_ARG_FD,
};

/* One word of an OPTION_ENUM, or one form of an OPTION_VARIANT. */
struct option_choice {
	const char *name;
	const char *help; /* for the man page */
	unsigned value;
	enum option_argument argument; /* after `=`; variants only */
};

struct option_set;

/*
 * What an option or one of its keys is called, takes and stores. Small, as are
 * entries: each start relocates all of them, and touches their pages for it.
 */
struct option_field {
	const char *name, *help; /* a key's help is for the man page only */
	enum option_kind kind : 16;
	/* A key's, of OPTION_STRING, which is stored in so many places, up to a
	 * NULL; 0: it is given once. */
	unsigned times : 16;
	uint32_t unit;
	uint32_t offset, file_offset; /* in the struct that is filled */
	uint64_t min, max;
	uint64_t initial;			     /* the default */
	const char *value;			     /* placeholder: "SIZE" */
	const char *example;			     /* a good value */
	const struct option_choice *choices;	     /* up to a NULL name */
	int (*action)(const struct option_set *set); /* 0 or -errno, logged */
};

struct option_entry {
	const char *group; /* headline of this and the next ones in --help */
	struct option_field own; /* its help: a line or two for --help */
#ifndef OPTIONS_WITHOUT_MANUAL
	const char *more; /* what else the man page says, or NULL */
#endif
	const struct option_field *keys; /* up to a NULL name; NULL: none */
	/*
	 * Where `max` is not 0 the option repeats: the offsets are those of the
	 * first of `max` elements, at `first`, `stride` bytes apart, and an
	 * unsigned at `count` counts them.
	 */
	uint32_t first, stride, count;
	uint16_t max;
	char letter; /* 0: none */
};

/* What those type who know another program, and what does it here. */
struct option_foreign {
	const char
		*option; /* a key or a value of that option; NULL: an option */
	const char *words;  /* with blanks between them, and without dashes */
	const char *answer; /* the end of the message */
};

struct option_set {
	const char *program;
	const struct option_entry *entries;
	size_t entry_count;
	const struct option_foreign *foreign; /* up to NULL words; or NULL */
	/* Words that may follow "--": what --help calls them; NULL: none may.
	 * A char ** at `rest` points to the first, and NULL is behind them. */
	const char *rest_syntax;
	size_t rest;
};

static inline bool option_opens_group(const struct option_set *set,
				      const struct option_entry *entry)
{
	return entry == set->entries || entry->group != entry[-1].group;
}

static inline bool option_takes_value(const struct option_field *field)
{
	return field->kind != OPTION_FLAG && field->kind != OPTION_ACTION;
}

/* What the parser keeps beside what it stores; all zero at first. */
struct option_parsed {
	size_t pool_used;
	unsigned fd_count;
	unsigned given_count;
	/* What was given, in that order: the whole argument; NULL: a flag. */
	struct option_given {
		const char *option; /* its long name */
		const char *text;
	} given[OPTION_GIVEN_MAX];
	/* Which option took which descriptor, the lowest first. */
	struct option_fd {
		int fd;
		const char *option; /* its long name */
	} fds[OPTION_FDS_MAX];
	/* Values that are not the end of an argument, or that hold ",,". */
	char pool[OPTION_POOL_BYTES]; /* the last: not cleared at start */
};

/*
 * Fill `target` with the defaults of every entry, then with what argv says.
 * An option that is given again replaces the first, its keys included. Values
 * point into argv and *parsed, and live as long as these. 0; 1 where an action
 * ran; -EINVAL where something is wrong, in one logged line: also where two
 * options take one descriptor, whose offset they would share.
 */
int optparse_run(const struct option_set *set, void *target,
		 struct option_parsed *parsed, int argc, char **argv);

/* The option that was given fd=`fd`; NULL where none was. */
const char *optparse_fd_owner(const struct option_parsed *parsed, int fd);

/*
 * The same for one more option, by its long name, behind all others: 0 or
 * -EINVAL, logged. `text` must last.
 */
int optparse_add_option(const struct option_set *set, void *target,
			struct option_parsed *parsed, const char *option,
			const char *text);

/* Where in the argument of an option a path begins that is relative, or NULL.
 */
const char *optparse_relative_path(const struct option_set *set,
				   const char *option, const char *text);

/* Whether that option was given. */
bool optparse_given(const struct option_parsed *parsed, const char *option);

/* -- single values --------------------------------------------------------- */

/* Which value is looked at, for messages; key NULL is the option's own. */
struct option_where {
	const char *option, *key;
	const struct option_foreign *foreign; /* of the set; NULL: none */
};

/*
 * Log "--option key: 'text' message", without what is NULL and with a long text
 * shortened; -EINVAL.
 */
int optparse_fail(const struct option_where *where, const char *text,
		  const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Judge `text` and store it in the target, where it must stay valid; 0, or
 * -EINVAL and a logged line. Not for OPTION_ACTION; OPTION_FLAG has no text.
 */
int optparse_value(const struct option_where *where,
		   const struct option_field *field, const char *text,
		   void *target);

/* Digits at *text, which moves past them; false: none, or too many. */
bool optparse_digits(const char **text, uint64_t *value);

/* A text made piece by piece, from all zeros; what is too long is cut off. */
struct option_text {
	size_t used;
	char text[512];
};
void optparse_add(struct option_text *to, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* The size, duration, number or choice `value` as its user would write it. */
#define OPTPARSE_FORMAT_BYTES 32
const char *optparse_format(const struct option_field *field, uint64_t value,
			    char buf[OPTPARSE_FORMAT_BYTES]);

/* "=PATH": what follows a form of a variant, by its enum option_argument. */
extern const char *const optparse_arguments[];

/*
 * The nearest of the words offered, by edit distance; `best` is NULL where
 * none is near enough to be what was meant. Start with {.word = ..., .len = }.
 */
struct option_guess {
	const char *word; /* `len` bytes of it */
	size_t len;
	const char *best;
	unsigned distance;
};
void optparse_offer(struct option_guess *guess, const char *candidate);

#endif
