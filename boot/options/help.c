/*
 * --help and --version, from the table of options.
 *
 * The text goes to stdout through stdio and is flushed and checked here, so
 * that `mote --help >/dev/full` fails as it should. Trusts the table, which is
 * constant; owns nothing; the main thread runs it.
 */
#include "boot/options/help.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "boot/options/options.h"
#include "boot/options/values.h"

#define WIDTH	   80
#define VALUE_AT   6  /* column of the long name */
#define HELP_AT	   30 /* column of the help */
#define STATUS_AT  8
#define LINE_BYTES 256

const struct options_status options_statuses[] = {
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

/* Append to a buffer that was made large enough for every entry. */
static void add(char buf[OPTIONS_SYNTAX_BYTES], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void add(char buf[OPTIONS_SYNTAX_BYTES], const char *format, ...)
{
	size_t used = strlen(buf);
	va_list args;

	va_start(args, format);
	vsnprintf(buf + used, OPTIONS_SYNTAX_BYTES - used, format, args);
	va_end(args);
}

static void add_value(const struct option_field *field,
		      char buf[OPTIONS_SYNTAX_BYTES])
{
	if (!field->choices) {
		add(buf, "%s", field->value ? field->value : "");
		return;
	}
	for (const struct option_choice *choice = field->choices; choice->name;
	     choice++)
		add(buf, "%s%s%s", choice == field->choices ? "" : "|",
		    choice->name, optvalue_arguments[choice->argument]);
}

const char *options_syntax(const struct option_entry *entry,
			   char buf[OPTIONS_SYNTAX_BYTES])
{
	buf[0] = '\0';
	add_value(&entry->field, buf);
	for (const struct option_key *key = entry->keys; key && key->name;
	     key++) {
		add(buf, "[,%s", key->name);
		if (key->field.kind != OPTION_FLAG)
			add(buf, "=");
		add_value(&key->field, buf);
		add(buf, "]");
	}
	return buf;
}

const char *options_default(const struct option_field *field, char buf[32])
{
	switch (field->kind) {
	case OPTION_ENUM:
	case OPTION_VARIANT:
		return optvalue_format(field, field->initial, buf);
	case OPTION_NUMBER:
	case OPTION_SIZE:
	case OPTION_DURATION:
		if (field->initial)
			return optvalue_format(field, field->initial, buf);
		return NULL;
	default:
		return NULL;
	}
}

/*
 * `text`, from column `at` of a line that holds `column` characters, broken
 * before one of `breaks`; lines after the first are indented by `indent`.
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

static void print_entry(const struct option_entry *entry)
{
	char syntax[OPTIONS_SYNTAX_BYTES], number[32], help[LINE_BYTES];
	const char *initial = options_default(&entry->field, number);
	size_t column;

	options_syntax(entry, syntax);
	if (entry->letter)
		printf("  -%c, ", entry->letter);
	else
		printf("%*s", VALUE_AT, "");
	printf("--%s%s", entry->name, syntax[0] ? " " : "");
	column = VALUE_AT + 2 + strlen(entry->name) + (syntax[0] != '\0');
	column = print_folded(syntax, column, column, '[');
	if (column + 2 > HELP_AT) {
		printf("\n");
		column = 0;
	}
	printf("%*s", (int)(HELP_AT - column), "");
	snprintf(help, sizeof(help), "%s%s%s%s", entry->help,
		 initial ? " (default " : "", initial ? initial : "",
		 initial ? ")" : "");
	print_folded(help, HELP_AT, HELP_AT, ' ');
	printf("\n");
}

static int flush(void)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	log_error("cannot write to stdout: %s", strerror(errno));
	return -EIO;
}

int options_print_help(const struct option_set *set)
{
	printf("usage: %s [options]%s%s\n"
	       "Boots one Linux guest on /dev/kvm and is that guest.\n",
	       set->program, set->rest_syntax ? " " : "",
	       set->rest_syntax ? set->rest_syntax : "");
	for (unsigned group = 0; group < set->group_count; group++) {
		printf("\n%s\n", set->groups[group]);
		for (size_t i = 0; i < set->entry_count; i++)
			if (set->entries[i].group == group)
				print_entry(&set->entries[i]);
	}
	printf("\nexit status\n");
	for (const struct options_status *status = options_statuses;
	     status->status; status++)
		printf("  %-*s%s\n", STATUS_AT, status->status,
		       status->meaning);
	printf("\n"
	       "A size takes K, M, G or T; a duration ms, s, m or h. fd=N is a "
	       "descriptor\nthat the caller opened. ,, is a comma in a path. "
	       "See also mote(1).\n");
	return flush();
}

int options_print_version(const struct option_set *set)
{
	printf("%s %s\n", set->program, MOTE_VERSION);
	return flush();
}
