/*
 * The parser of the command line, driven by a table (boot/options/parse.h).
 *
 * One pass over argv: each word is a long option, a group of letters or a
 * mistake. A value is split at its commas, its first part is judged by the
 * entry's field and the others by the keys'. The first mistake is logged, with
 * the nearest thing that would have been right, and ends the parsing. Trusts
 * nobody: argv is the user's, of any bytes and any length. Owns nothing and
 * keeps nothing between calls; the main thread runs it.
 */
#include "boot/options/parse.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/options/values.h"
#include "mem/log.h"

#define LIST_BYTES 256

struct parse {
	const struct option_set *set;
	char *target;
	struct option_pool *pool;
	char **argv;
	int argc, next; /* the word after the one in hand */
};

static int hint(const struct parse *parse, const char *what, const char *word,
		const char *nearest)
{
	char shown[OPTVALUE_SHOW_BYTES];

	log_error("%s %s%s%s%s '%s --help' lists the options", what,
		  optvalue_show(shown, word),
		  nearest ? "; did you mean '--" : "", nearest ? nearest : "",
		  nearest ? "'?" : ";", parse->set->program);
	return -EINVAL;
}

static const struct option_entry *find_long(const struct parse *parse,
					    const char *name, size_t len)
{
	for (size_t i = 0; i < parse->set->entry_count; i++) {
		const struct option_entry *entry = &parse->set->entries[i];

		if (strlen(entry->name) == len &&
		    !memcmp(entry->name, name, len))
			return entry;
	}
	return NULL;
}

static int unknown_long(const struct parse *parse, const char *word, size_t len)
{
	struct optvalue_nearest guess = { .word = word, .len = len };

	for (size_t i = 0; i < parse->set->entry_count; i++)
		optvalue_offer(&guess, parse->set->entries[i].name);
	return hint(parse, "there is no option", word - 2, guess.best);
}

static const struct option_entry *find_letter(const struct parse *parse,
					      char letter)
{
	for (size_t i = 0; i < parse->set->entry_count; i++)
		if (letter && parse->set->entries[i].letter == letter)
			return &parse->set->entries[i];
	return NULL;
}

static bool takes_value(const struct option_entry *entry)
{
	return entry->field.kind != OPTION_FLAG &&
	       entry->field.kind != OPTION_ACTION;
}

/* -- VALUE,key=value,flag -------------------------------------------------- */

/*
 * The part of *text up to a single comma into *part, with ",," made ","; *text
 * moves past the comma, or becomes NULL after the last part. A part that is
 * also the end of its argument, unchanged, is used where it is.
 */
static int next_part(const struct option_where *where, struct option_pool *pool,
		     const char **text, const char **part)
{
	const char *from = *text;
	size_t len = strcspn(from, ",");
	char *to = pool->bytes + pool->used;
	bool more;

	*part = from;
	*text = NULL;
	if (!from[len])
		return 0;
	*part = to;
	do {
		if (pool->used == pool->size)
			return optvalue_fail(where,
					     "the values of all options take "
					     "more than %zu bytes",
					     pool->size);
		more = *from && (from[0] != ',' || from[1] == ',');
		if (more && *from == ',')
			from++;
		pool->bytes[pool->used++] = more ? *from++ : '\0';
	} while (more);
	if (*from)
		*text = from + 1;
	return 0;
}

static int unknown_key(const struct option_where *where,
		       const struct option_entry *entry, const char *part,
		       size_t len)
{
	struct optvalue_nearest nearest = { .word = part, .len = len };
	char shown[OPTVALUE_SHOW_BYTES], list[LIST_BYTES] = "";
	size_t used = 0;

	if (!entry->keys)
		return optvalue_fail(where,
				     "%s follows a comma, but this option has "
				     "no keys; a comma in a value is written "
				     "',,'",
				     optvalue_show(shown, part));
	for (const struct option_key *key = entry->keys; key->name; key++) {
		optvalue_offer(&nearest, key->name);
		if (used < sizeof(list))
			used += (size_t)snprintf(
				list + used, sizeof(list) - used, "%s%s%s",
				used ? ", " : "", key->name,
				key->field.kind == OPTION_FLAG ? "" : "=");
	}
	return optvalue_fail(where, "%s is not one of the keys %s%s%s%s",
			     optvalue_show(shown, part), list,
			     nearest.best ? "; did you mean '" : "",
			     nearest.best ? nearest.best : "",
			     nearest.best ? "'?" : "");
}

static const struct option_key *find_key(const struct option_entry *entry,
					 const char *name, size_t len)
{
	const struct option_key *key = entry->keys;

	for (; key && key->name; key++)
		if (strlen(key->name) == len && !memcmp(key->name, name, len))
			return key;
	return NULL;
}

static int set_key(const struct option_entry *entry, const char *part,
		   uint64_t *seen, void *element)
{
	struct option_where where = { .option = entry->name };
	size_t len = strcspn(part, "=");
	const struct option_key *key = find_key(entry, part, len);
	uint64_t bit;
	bool flag;

	if (!key)
		return unknown_key(&where, entry, part, len);
	bit = 1ULL << (key - entry->keys);
	flag = key->field.kind == OPTION_FLAG;
	if (*seen & bit)
		return optvalue_fail(&where, "'%s' is given twice", key->name);
	*seen |= bit;
	if (flag && part[len])
		return optvalue_fail(&where, "'%s' takes no value", key->name);
	if (!flag && !part[len])
		return optvalue_fail(&where,
				     "'%s' needs a value, for example %s=%s",
				     key->name, key->name, key->field.example);
	where.key = key->name;
	return optvalue_parse(&where, &key->field, flag ? NULL : part + len + 1,
			      element);
}

static void reset_element(const struct option_entry *entry, void *element)
{
	optvalue_reset(&entry->field, element);
	for (const struct option_key *key = entry->keys; key && key->name;
	     key++)
		optvalue_reset(&key->field, element);
}

static int set_parts(struct parse *parse, const struct option_entry *entry,
		     const char *text, void *element)
{
	struct option_where where = { .option = entry->name };
	uint64_t seen = 0;
	const char *part;
	int error;

	error = next_part(&where, parse->pool, &text, &part);
	if (!error)
		error = optvalue_parse(&where, &entry->field, part, element);
	while (!error && text) {
		error = next_part(&where, parse->pool, &text, &part);
		if (!error)
			error = set_key(entry, part, &seen, element);
	}
	return error;
}

/* -- options --------------------------------------------------------------- */

static unsigned *count_of(const struct option_entry *entry, char *target)
{
	void *at = target + entry->count;

	return at;
}

static int set_option(struct parse *parse, const struct option_entry *entry,
		      const char *text)
{
	struct option_where where = { .option = entry->name };
	char *element = parse->target + entry->base;

	if (entry->field.kind == OPTION_ACTION) {
		int error = entry->field.action(parse->set);

		return error ? error : 1;
	}
	if (entry->max) {
		unsigned *count = count_of(entry, parse->target);

		if (*count >= entry->max)
			return optvalue_fail(&where,
					     "given more than %u times, which "
					     "is the most there can be",
					     entry->max);
		element += (*count)++ * entry->stride;
	}
	reset_element(entry, element);
	if (entry->field.kind == OPTION_FLAG ||
	    entry->field.kind == OPTION_TEXT)
		return optvalue_parse(&where, &entry->field, text, element);
	return set_parts(parse, entry, text, element);
}

/* The value of an option that stands last in its word. */
static int take_value(struct parse *parse, const struct option_entry *entry,
		      const char **text)
{
	struct option_where where = { .option = entry->name };

	if (parse->next < parse->argc) {
		*text = parse->argv[parse->next++];
		return 0;
	}
	return optvalue_fail(&where, "needs a value: --%s %s, for example %s",
			     entry->name, entry->field.value,
			     entry->field.example);
}

static int parse_long(struct parse *parse, const char *word)
{
	const char *text = NULL;
	size_t len = strcspn(word, "=");
	const struct option_entry *entry = find_long(parse, word, len);
	struct option_where where;
	int error = 0;

	if (!entry)
		return unknown_long(parse, word, len);
	where = (struct option_where){ .option = entry->name };
	if (word[len] && !takes_value(entry))
		return optvalue_fail(&where, "takes no value");
	if (word[len])
		text = word + len + 1;
	else if (takes_value(entry))
		error = take_value(parse, entry, &text);
	return error ? error : set_option(parse, entry, text);
}

static int parse_letters(struct parse *parse, const char *word)
{
	const struct option_entry *entry;
	int done = 0;

	/* -kernel is how other programs write --kernel; not a file "ernel". */
	entry = find_long(parse, word, strcspn(word, "="));
	if (entry && word[1])
		return hint(parse, "there is no option", word - 1, entry->name);
	for (const char *at = word; *at && !done; at++) {
		const char *text = at + 1;

		entry = find_letter(parse, *at);
		if (!entry)
			return hint(parse, "there is no option",
				    (char[]){ '-', *at, '\0' }, NULL);
		if (!takes_value(entry)) {
			done = set_option(parse, entry, NULL);
			continue;
		}
		if (!*text)
			done = take_value(parse, entry, &text);
		return done ? done : set_option(parse, entry, text);
	}
	return done;
}

/* argv ends in NULL (C11, 5.1.2.2.1). */
static void take_rest(struct parse *parse)
{
	char **rest = parse->argv + parse->next;
	void *to = parse->target + parse->set->rest;

	memcpy(to, &rest, sizeof(rest));
	parse->next = parse->argc;
}

static int parse_word(struct parse *parse, const char *word)
{
	if (!strcmp(word, "--")) {
		if (parse->next == parse->argc)
			return 0;
		if (parse->set->rest_syntax) {
			take_rest(parse);
			return 0;
		}
		return hint(parse, "there is no place for the word",
			    parse->argv[parse->next], NULL);
	}
	if (word[0] != '-' || !word[1])
		return hint(parse, "there is no place for the word", word,
			    NULL);
	if (word[1] == '-')
		return parse_long(parse, word + 2);
	return parse_letters(parse, word + 1);
}

int optparse_run(const struct option_set *set, void *target,
		 struct option_pool *pool, int argc, char **argv)
{
	struct parse parse = {
		.set = set,
		.target = target,
		.pool = pool,
		.argv = argv,
		.argc = argc,
		.next = 1,
	};
	int done = 0;

	for (size_t i = 0; i < set->entry_count; i++) {
		const struct option_entry *entry = &set->entries[i];

		if (entry->max)
			*count_of(entry, target) = 0;
		for (unsigned n = 0; n < (entry->max ? entry->max : 1); n++)
			reset_element(entry, parse.target + entry->base +
						     n * entry->stride);
	}
	while (!done && parse.next < argc)
		done = parse_word(&parse, argv[parse.next++]);
	return done;
}
