/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --help and --version, from the table of options; and the pieces that docs.c
 * makes the manual from.
 *
 * The text goes to stdout through stdio and is flushed and checked here, so
 * that `mote --help >/dev/full` fails as it should. Trusts the table, which is
 * constant; owns nothing; the main thread runs it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/options/options.h"

#define WIDTH	  80
#define NAME_AT	  6  /* column of the long name */
#define HELP_AT	  30 /* column of the help */
#define STATUS_AT 8

const struct option_status options_statuses[] = {
	{ "0", "the guest powered off or rebooted (with a command: 123)" },
	{ "0-255", "the byte that the guest wrote to port 0x506" },
	{ "0-255", "the command's own; 126: not runnable, 127: not found, "
		   "128+N: by signal" },
	{ "123", "the guest died: panic, triple fault or KVM error" },
	{ "124", "--timeout passed" },
	{ "125", "mote itself failed; one line on stderr says why" },
	{ "128+N", "mote was stopped by signal N" },
	{ NULL, NULL },
};

static void add_value_syntax(struct option_text *to,
			     const struct option_field *field)
{
	const struct option_choice *choice = field->choices;

	if (!choice && field->value)
		optparse_add(to, "%s", field->value);
	for (; choice && choice->name; choice++)
		optparse_add(to, "%s%s%s", choice == field->choices ? "" : "|",
			     choice->name,
			     optparse_arguments[choice->argument]);
}

void options_add_syntax(struct option_text *to,
			const struct option_entry *entry)
{
	add_value_syntax(to, &entry->own);
	for (const struct option_field *key = entry->keys; key && key->name;
	     key++) {
		optparse_add(to, "[,%s%s", key->name,
			     option_takes_value(key) ? "=" : "");
		add_value_syntax(to, key);
		optparse_add(to, key->times ? "]..." : "]");
	}
}

const char *options_default(const struct option_field *field,
			    char buf[OPTPARSE_FORMAT_BYTES])
{
	return field->choices || field->initial
		       ? optparse_format(field, field->initial, buf)
		       : NULL;
}

/*
 * `text`, on a line that holds `column` characters, broken before one of
 * `before`; lines after the first are indented by `indent`. The column after.
 */
static size_t print_folded(const char *text, size_t column, size_t indent,
			   char before)
{
	while (*text) {
		const char *end = strchr(text + 1, before);
		size_t len = end ? (size_t)(end - text) : strlen(text);

		if (column + len > WIDTH - 1 && column > indent) {
			printf("\n%*s", (int)indent, "");
			column = indent;
			if (*text == ' ')
				text++, len--;
		}
		printf("%.*s", (int)len, text);
		column += len;
		text += len;
	}
	return column;
}

static void print_option(const struct option_entry *entry)
{
	struct option_text syntax = { 0 }, help = { 0 };
	char number[OPTPARSE_FORMAT_BYTES];
	const char *initial = options_default(&entry->own, number);
	size_t column;

	options_add_syntax(&syntax, entry);
	if (entry->letter)
		printf("  -%c, ", entry->letter);
	else
		printf("%*s", NAME_AT, "");
	printf("--%s%s", entry->own.name, syntax.used ? " " : "");
	column = NAME_AT + 2 + strlen(entry->own.name) + !!syntax.used;
	column = print_folded(syntax.text, column, column, '[');
	if (column + 2 > HELP_AT) {
		printf("\n");
		column = 0;
	}
	printf("%*s", (int)(HELP_AT - column), "");
	optparse_add(&help, "%s", entry->own.help);
	if (initial)
		optparse_add(&help, " (default %s)", initial);
	print_folded(help.text, HELP_AT, HELP_AT, ' ');
	printf("\n");
}

static int flush_stdout(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	log_error("cannot write to stdout: %s", strerror(errno));
	return -EIO;
}

int options_print_help(const struct option_set *set)
{
	printf("usage: %s [options] %s\n"
	       "Boots one Linux guest on /dev/kvm and is that guest.\n",
	       set->program, set->rest_syntax);
	for (size_t i = 0; i < set->entry_count; i++) {
		if (option_opens_group(set, &set->entries[i]))
			printf("\n%s\n", set->entries[i].group);
		print_option(&set->entries[i]);
	}
	printf("\nexit status\n");
	for (const struct option_status *status = options_statuses;
	     status->status; status++)
		printf("  %-*s%s\n", STATUS_AT, status->status,
		       status->meaning);
	printf("\n"
	       "A size takes K, M, G or T, a duration ms, s, m, h or d "
	       "(1h30m). "
	       "fd=N is a\ndescriptor that the caller opened, and so is "
	       "/dev/fd/N, or <(...) of a shell.\n,, is a comma in a path. "
	       "See also mote(1).\n");
	return flush_stdout();
}

/* What is no mote, a test or docs.c, is not linked with commit.c. */
__attribute__((weak)) const char options_commit[] = "";

int options_print_version(const struct option_set *set)
{
	printf("%s %s%s\n", set->program, MOTE_VERSION, options_commit);
	return flush_stdout();
}
