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

/* What a field is in the text, and what is stored. A rate is an OPTION_SIZE. */
enum option_kind {
	OPTION_FLAG,	 /* bool: true when named */
	OPTION_TEXT,	 /* const char *: the whole argument, commas and all */
	OPTION_STRING,	 /* const char *, min to max bytes long */
	OPTION_NUMBER,	 /* unsigned, min to max */
	OPTION_SIZE,	 /* uint64_t in bytes; a bare number counts `unit` */
	OPTION_DURATION, /* uint64_t in ns; a bare number counts `unit` */
	OPTION_ENUM,	 /* unsigned or an enum: the value of a choice */
	OPTION_FILE,	 /* struct option_file: PATH or fd=N */
	OPTION_VARIANT,	 /* an enum and, at file_offset, a struct option_file */
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
	unsigned value;
	enum option_argument argument; /* after `=`; variants only */
	const char *help;	       /* for the man page */
};

struct option_set;

struct option_field {
	enum option_kind kind;
	size_t offset, file_offset; /* from the start of the element */
	uint64_t min, max, unit;
	uint64_t initial;			     /* the default */
	const char *value;			     /* placeholder: "SIZE" */
	const char *example;			     /* a good value */
	const struct option_choice *choices;	     /* up to a NULL name */
	int (*action)(const struct option_set *set); /* 0 or -errno, logged */
};

struct option_key {
	const char *name;
	struct option_field field;
	const char *help; /* for the man page */
};

struct option_entry {
	const char *name, *help; /* help: a line or two, for --help */
	const char *more;	 /* what else the man page says, or NULL */
	char letter;		 /* 0: none */
	unsigned group;
	struct option_field field;
	const struct option_key *keys; /* up to a NULL name; NULL: none */
	/*
	 * Offsets above are from `base`, in the struct that is filled. Where
	 * `max` is not 0 the option repeats: `base` is an array of that many
	 * elements of `stride` bytes and an unsigned at `count` counts them.
	 */
	size_t base, stride, count;
	unsigned max;
};

struct option_set {
	const char *program;
	const struct option_entry *entries;
	size_t entry_count;
	const char *const *groups;
	size_t group_count;
	/* Words that may follow "--": what --help calls them; NULL: none may.
	 * A char ** at `rest` points to the first, and NULL is behind them. */
	const char *rest_syntax;
	size_t rest;
};

/* Room for values that are not the end of an argument or hold ",,". */
struct option_pool {
	char *bytes;
	size_t size, used;
};

/*
 * Fill `target` with the defaults of every entry, then with what argv says.
 * An option that is given again replaces the first, its keys included. Values
 * point into argv and the pool, and live as long as these. 0; 1 where an
 * action ran; -EINVAL where something is wrong, in one logged line.
 */
int optparse_run(const struct option_set *set, void *target,
		 struct option_pool *pool, int argc, char **argv);

/* 0, or -EINVAL and a logged line where two options name one descriptor. */
int optparse_check_fds(const struct option_set *set, const void *target);

/* The lowest descriptor from `from` on that any option took; -1: no more. */
int optparse_next_fd(const struct option_set *set, const void *target,
		     int from);

/* The entry that was given fd=`fd`; NULL where none was. */
const struct option_entry *optparse_fd_owner(const struct option_set *set,
					     const void *target, int fd);

#endif
