/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/options/table.c boot/options/check.c boot/options/parse.c */
/* uses: boot/options/values.c */
/* uses: boot/options/address.c boot/options/publish.c */
/* uses: boot/options/help.c cpu/loop/file.c mem/log.c */
/*
 * Fills in the manual page or a shell's completion from the table of options.
 *
 *	docs <TEMPLATE >RESULT
 *
 * Each @WORD@ of a template (*.in beside this file) that is a part, see the
 * end of this file, is replaced by what the table says. A program of the build
 * host, run while mote is built, so that what is written about an option cannot
 * differ from what is parsed. Trusts the template and the table; owns nothing.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "boot/options/options.h"
#include "cpu/loop/counters.h"
#include "mem/util.h"

static void put_version(void)
{
	printf("%s", MOTE_VERSION);
}

/* -- mote.1, in man(7) ----------------------------------------------------- */

/* In the current font. */
static void man_put(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\\')
			printf("\\e");
		else if (text[i] == '-' && (!i || strchr(" -", text[i - 1])))
			printf("\\-"); /* an option, not a hyphen */
		else
			putchar(text[i]);
}

/* Lines of their own. `\&`: what may be a dot begins no line of roff. */
static void man_text(const char *text)
{
	printf("%s", *text == '.' || *text == '\'' ? "\\&" : "");
	man_put(text, strlen(text));
	printf("\n");
}

/* PLACEHOLDERS slanted, what is typed bold, the rest plain. */
static void man_syntax(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "[]|"), upper = 0;

		while (isupper((unsigned char)text[upper]))
			upper++;
		if (!len) {
			/* a long one goes on in a second line */
			printf("%s\\fR%c", *text == '[' ? "\\:" : "", *text);
			text++;
			continue;
		}
		if (upper && !isalnum((unsigned char)text[upper])) {
			printf("\\fI");
			len = upper;
		} else {
			printf("\\fB");
			upper = strcspn(text, "=") + 1;
			if (upper < len)
				len = upper;
		}
		man_put(text, len);
		text += len;
	}
	printf("\\fR");
}

static void man_choices(const struct option_field *field)
{
	for (const struct option_choice *choice = field->choices;
	     choice && choice->name; choice++) {
		printf(".TP\n\\fB%s", choice->name);
		man_syntax(optparse_arguments[choice->argument]);
		printf("\n");
		man_text(choice->help);
	}
}

static void man_details(const struct option_entry *entry)
{
	if (!entry->keys && !entry->own.choices)
		return;
	printf(".RS\n");
	man_choices(&entry->own);
	for (const struct option_field *key = entry->keys; key && key->name;
	     key++) {
		printf(".TP\n\\fB%s%s\\fR\n", key->name,
		       option_takes_value(key) ? "=" : "");
		man_text(key->help);
		if (key->choices) {
			printf(".RS\n");
			man_choices(key);
			printf(".RE\n");
		}
	}
	printf(".RE\n");
}

static void man_option(const struct option_entry *entry)
{
	const char *help = entry->own.help, *initial;
	char number[OPTPARSE_FORMAT_BYTES];
	struct option_text syntax = { 0 };

	if (option_opens_group(&options_set, entry))
		printf(".SS %c%s\n", toupper((unsigned char)*entry->group),
		       entry->group + 1);
	printf(".TP\n");
	if (entry->letter)
		printf("\\fB\\-%c\\fR, ", entry->letter);
	printf("\\fB\\-\\-%s\\fR ", entry->own.name);
	options_add_syntax(&syntax, entry);
	man_syntax(syntax.text);
	printf("\n%c", toupper((unsigned char)*help));
	man_put(help + 1, strlen(help + 1));
	printf(".");
	initial = options_default(&entry->own, number);
	if (initial)
		printf(" The default is %s.", initial);
	printf("%s", entry->more ? " " : "");
	man_text(entry->more ? entry->more : "");
	man_details(entry);
}

/* What --events counts: each object and its members. */
static void put_counters(void)
{
#define COUNTER_ITEM(index, name, meaning) { name, meaning },
#define COUNTED_ITEM(index, name, numbered, of, meaning)                       \
	{ NULL, meaning }, of(COUNTER_ITEM)
	static const struct {
		const char *name; /* NULL: an object begins */
		const char *meaning;
	} items[] = { COUNTED_ALL(COUNTED_ITEM) };

	for (size_t i = 0; i < ARRAY_LEN(items); i++) {
		const char *meaning = items[i].meaning;
		const size_t names = strcspn(meaning, ":");

		if (items[i].name) {
			printf(".TP\n\\fB%s\\fR\n", items[i].name);
			man_text(meaning);
			continue;
		}
		printf("%s.TP\n\\fB%.*s\\fR\n", i ? ".RE\n" : "", (int)names,
		       meaning);
		man_text(meaning + names + 2);
		printf(".RS\n");
	}
	printf(".RE\n");
}

static void put_statuses(void)
{
	for (const struct option_status *status = options_statuses;
	     status->status; status++) {
		printf(".TP\n\\fB%s\\fR\n", status->status);
		man_text(status->meaning);
	}
}

/* -- completion ------------------------------------------------------------ */

static bool names_file(const struct option_field *field)
{
	return field->kind == OPTION_FILE || field->kind == OPTION_PUT;
}

/* The words that a value can be, or begin with: "off thp", "file= fd=". */
static void put_words(const char *prefix, const struct option_field *field)
{
	for (const struct option_choice *choice = field->choices;
	     choice && choice->name; choice++)
		printf("%s%s%s ", prefix, choice->name,
		       choice->argument == OPTION_ARG_NONE ? "" : "=");
	if (names_file(field))
		printf("%sfd= ", prefix);
}

/* What both completions have of a value, as the words "FILES" "FIRST" "KEYS"
 * "PATHS": 1 where it can be a path, what it can be, or begin with, the keys,
 * and what of it is followed by a path ("file= unix="). */
static void put_value(const struct option_entry *entry)
{
	const struct option_choice *choice = entry->own.choices;

	printf("\"%s\" \"", names_file(&entry->own) ? "1" : "");
	put_words("", &entry->own);
	printf("\" \"");
	for (const struct option_field *key = entry->keys; key && key->name;
	     key++) {
		char prefix[64];

		snprintf(prefix, sizeof(prefix), "%s=", key->name);
		if (key->choices)
			put_words(prefix, key);
		else
			printf("%s%s ", key->name,
			       option_takes_value(key) ? "=" : "");
	}
	printf("\" \"");
	for (; choice && choice->name; choice++)
		if (choice->argument == OPTION_ARG_PATH)
			printf("%s= ", choice->name);
	printf("\"");
}

static void bash_case(const struct option_entry *entry)
{
	if (!option_takes_value(&entry->own))
		return;
	printf("\t");
	if (entry->letter)
		printf("-%c | ", entry->letter);
	printf("--%s) set -- ", entry->own.name);
	put_value(entry);
	printf(" ;;\n");
}

static void bash_name(const struct option_entry *entry)
{
	if (entry->letter)
		printf("-%c ", entry->letter);
	printf("--%s ", entry->own.name);
}

/* In a spec of _arguments, within single quotes. */
static void zsh_text(const char *text)
{
	for (; *text; text++)
		if (*text == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *text))
			printf("\\%c", *text);
		else
			putchar(*text);
}

static void zsh_value(const struct option_entry *entry)
{
	struct option_text syntax = { 0 };

	options_add_syntax(&syntax, entry);
	putchar(':');
	zsh_text(syntax.text);
	printf(":{_mote_value ");
	put_value(entry);
	putchar('}');
}

static void zsh_spec(const struct option_entry *entry)
{
	const bool value = option_takes_value(&entry->own);
	const char *name = entry->own.name;

	printf(" \\\n\t");
	if (entry->own.kind == OPTION_ACTION)
		printf("'(- *)'");
	else if (entry->max)
		printf("'*'");
	else if (entry->letter)
		printf("'(-%c --%s)'", entry->letter, name);
	if (entry->letter)
		printf("{-%c%s,--%s%s}", entry->letter, value ? "+" : "", name,
		       value ? "=" : "");
	else
		printf("--%s%s", name, value ? "=" : "");
	printf("'[");
	zsh_text(entry->own.help);
	putchar(']');
	if (value)
		zsh_value(entry);
	putchar('\'');
}

/* -- templates ------------------------------------------------------------- */

static const struct part {
	const char *word;
	void (*put)(void); /* or for each option: */
	void (*put_option)(const struct option_entry *entry);
} parts[] = {
	{ "@VERSION@", put_version, NULL },   /* as --version says it */
	{ "@OPTIONS@", NULL, man_option },    /* the manual's section */
	{ "@STATUSES@", put_statuses, NULL }, /* and that on exit statuses */
	{ "@COUNTERS@", put_counters, NULL }, /* that on counters */
	{ "@CASES@", NULL, bash_case },	      /* what the value can be */
	{ "@NAMES@", NULL, bash_name },	      /* letters and long names */
	{ "@SPECS@", NULL, zsh_spec },	      /* as _arguments takes them */
};

/* What stands at `at`, which moves past it. */
static void put_next(const char **at)
{
	const struct part *part = parts, *end = parts + ARRAY_LEN(parts);

	while (part < end && strncmp(*at, part->word, strlen(part->word)) != 0)
		part++;
	if (part == end) {
		putchar(*(*at)++);
		return;
	}
	*at += strlen(part->word);
	if (part->put)
		part->put();
	for (size_t i = 0; part->put_option && i < options_set.entry_count; i++)
		part->put_option(&options_set.entries[i]);
}

int main(void)
{
	char line[4096];

	while (fgets(line, sizeof(line), stdin))
		for (const char *at = line; *at;)
			put_next(&at);
	return ferror(stdin) || fflush(stdout) || ferror(stdout);
}
