/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of the command line, driven by a table (boot/options/parse.h).
 *
 * One pass over argv: each word is a long option, a group of letters or a
 * mistake. A value is split at its commas, its first part is judged by the
 * entry's own field and the others by the keys' (values.c). The first mistake
 * is logged, with the nearest thing that would have been right, and ends the
 * parsing.
 *
 * The file goes from the small to the large: a value with its keys, the words
 * of argv; last, what was stored.
 *
 * Trusts nobody: argv is the user's, of any bytes and any length. Owns nothing
 * and keeps nothing between calls; the main thread runs it, before anything
 * else exists.
 */
#include "boot/options/parse.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "boot/options/values.h"
#include "mem/log.h"
#include "mem/util.h"

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
	error = optparse_check_guest_path(where, paths[put]);
	if (!error)
		error = optparse_file(where, paths[!put],
				      optparse_stored_file(field, element));
	optparse_store(field, element, (uintptr_t)paths[put]);
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
	if (optparse_refuse_foreign(where, part))
		return NULL;
	for (const struct option_field *key = entry->keys; key && key->name;
	     key++) {
		optparse_offer(&guess, key->name);
		optparse_add(&list, ", %s%s", key->name,
			     option_takes_value(key) ? "=" : "");
	}
	if (entry->keys)
		optparse_refuse_name(where, part, "the keys ", &list, &guess);
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
		void *place = optparse_stored_place(element, i);

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
		optparse_store_default(field_at(entry, i), element);
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
		optparse_quote(quoted, word),
		nearest ? "; did you mean '--" : "", nearest ? nearest : "",
		nearest ? "'?" : ";", parse->set->program);
}

/* `dashed` is the word, `name` what follows its dashes, `len` bytes of it. */
static int refuse_option(const struct parse *parse, const char *dashed,
			 const char *name, size_t len, const char *nearest)
{
	const struct option_where where = { .foreign = parse->set->foreign };
	const char *answer = optparse_find_foreign(&where, name, len);
	char quoted[QUOTED_BYTES];

	if (!answer)
		return refuse_word(parse, "there is no option", dashed,
				   nearest);
	return optparse_fail(NULL, NULL, "there is no option %s: %s",
			     optparse_quote(quoted, dashed), answer);
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
	if (word[1] && (entry || optparse_find_foreign(&where, word, len)))
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
			if (!optparse_stores_file(field) || error)
				continue;
			fd = optparse_stored_file(
				     field, parse->target + n * entry->stride)
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
