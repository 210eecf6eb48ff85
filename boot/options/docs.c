/* uses: boot/options/table.c boot/options/devices.c boot/options/help.c */
/* uses: boot/options/values.c boot/options/nearest.c mem/log.c */
/*
 * Writes the manual page or a shell's completion from the table of options.
 *
 *	docs man|bash|zsh	onto stdout
 *
 * A program of the build host, run while mote is built, so that what is
 * written about an option cannot differ from what is parsed. Trusts the table,
 * which is constant data; owns nothing.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "boot/options/docs.h"
#include "boot/options/help.h"
#include "boot/options/options.h"
#include "boot/options/values.h"
#include "mem/util.h"

static bool takes_value(const struct option_entry *entry)
{
	return entry->field.kind != OPTION_FLAG &&
	       entry->field.kind != OPTION_ACTION;
}

/* -- mote.1, in man(7) ----------------------------------------------------- */

/* Text in the current font; `bol` where it begins a line of roff. */
static void man_put(const char *text, size_t len, bool bol)
{
	if (bol && len && (text[0] == '.' || text[0] == '\''))
		printf("\\&");
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\\')
			printf("\\e");
		else if (text[i] == '-' && (!i || text[i - 1] == '-'))
			printf("\\-"); /* an option, not a hyphen */
		else
			putchar(text[i]);
}

/* Prose, one word at a time, in lines of at most 72 columns. */
static void man_text(const char *text)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column && column + len > 72) {
			putchar('\n');
			column = 0;
		} else if (column) {
			putchar(' ');
		}
		man_put(text, len, !column);
		column += len + 1;
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* PLACEHOLDERS slanted, what is typed bold, the rest plain. */
static void man_syntax(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "[]|"), upper;

		for (upper = 0; isupper((unsigned char)text[upper]);)
			upper++;
		if (!len) {
			printf("\\fR%c", *text++);
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
		man_put(text, len, false);
		text += len;
	}
	printf("\\fR");
}

static void man_choices(const struct option_field *field)
{
	for (const struct option_choice *choice = field->choices;
	     choice && choice->name; choice++) {
		printf(".TP\n\\fB%s", choice->name);
		man_syntax(optvalue_arguments[choice->argument]);
		printf("\n");
		man_text(choice->help);
	}
}

static void man_details(const struct option_entry *entry)
{
	if (!entry->keys && !entry->field.choices)
		return;
	printf(".RS\n");
	man_choices(&entry->field);
	for (const struct option_key *key = entry->keys; key && key->name;
	     key++) {
		printf(".TP\n\\fB%s%s\\fR\n", key->name,
		       key->field.kind == OPTION_FLAG ? "" : "=");
		man_text(key->help);
		if (key->field.choices) {
			printf(".RS\n");
			man_choices(&key->field);
			printf(".RE\n");
		}
	}
	printf(".RE\n");
}

static void man_entry(const struct option_entry *entry)
{
	char syntax[OPTIONS_SYNTAX_BYTES], help[512], number[32];
	const char *initial = options_default(&entry->field, number);

	printf(".TP\n");
	if (entry->letter)
		printf("\\fB\\-%c\\fR, ", entry->letter);
	printf("\\fB\\-\\-%s\\fR ", entry->name);
	man_syntax(options_syntax(entry, syntax));
	printf("\n");
	snprintf(help, sizeof(help), "%c%s.%s%s%s%s%s",
		 toupper((unsigned char)entry->help[0]), entry->help + 1,
		 initial ? " The default is " : "", initial ? initial : "",
		 initial ? "." : "", entry->more ? " " : "",
		 entry->more ? entry->more : "");
	man_text(help);
	man_details(entry);
}

static void man_note(const char *name, const char *text)
{
	printf(".TP\n\\fB");
	man_put(name, strlen(name), false);
	printf("\\fR\n");
	man_text(text);
}

static void put_man(void)
{
	printf(".\\\" Made from the table of options, boot/options/table.c.\n"
	       ".TH MOTE 1 %s \"mote %s\" \"User Commands\"\n"
	       ".SH NAME\nmote \\- boot one Linux guest on /dev/kvm\n"
	       ".SH SYNOPSIS\n\\fBmote\\fR [\\fIoptions\\fR] "
	       "[\\fB\\-\\-\\fR \\fIcommand\\fR [\\fIargument\\fR...]]\n"
	       ".SH DESCRIPTION\n",
	       MAN_DATE, MOTE_VERSION);
	for (size_t i = 0; i < ARRAY_LEN(man_description); i++) {
		printf(i ? ".PP\n" : "");
		man_text(man_description[i]);
	}
	printf(".SH OPTIONS\n");
	for (unsigned group = 0; group < options_set.group_count; group++) {
		const char *name = options_set.groups[group];

		printf(".SS %c%s\n", toupper((unsigned char)name[0]), name + 1);
		for (size_t i = 0; i < options_set.entry_count; i++)
			if (options_set.entries[i].group == group)
				man_entry(&options_set.entries[i]);
	}
	printf(".SH EXIT STATUS\n");
	for (const struct options_status *status = options_statuses;
	     status->status; status++)
		man_note(status->status, status->meaning);
	printf(".SH SIGNALS\n");
	for (size_t i = 0; i < ARRAY_LEN(man_signals); i++)
		man_note(man_signals[i].name, man_signals[i].text);
	printf(".SH EXAMPLES\n");
	for (size_t i = 0; i < ARRAY_LEN(man_examples); i++) {
		printf(i ? ".PP\n" : "");
		man_text(man_examples[i].text);
		printf(".PP\n.RS 4\n.EX\n");
		man_put(man_examples[i].name, strlen(man_examples[i].name),
			true);
		printf("\n.EE\n.RE\n");
	}
}

/* -- completion ------------------------------------------------------------ */

/* The words that a value can be, or begin with: "off thp", "file= fd=". */
static void put_words(const char *prefix, const struct option_field *field)
{
	for (const struct option_choice *choice = field->choices;
	     choice && choice->name; choice++)
		printf("%s%s%s ", prefix, choice->name,
		       choice->argument == OPTION_ARG_NONE ? "" : "=");
	if (field->kind == OPTION_FILE)
		printf("%sfd= ", prefix);
}

static void put_keys(const struct option_entry *entry)
{
	char prefix[64];

	for (const struct option_key *key = entry->keys; key && key->name;
	     key++) {
		snprintf(prefix, sizeof(prefix), "%s=", key->name);
		if (key->field.kind == OPTION_FLAG)
			printf("%s ", key->name);
		else if (key->field.choices)
			put_words(prefix, &key->field);
		else
			printf("%s ", prefix);
	}
}

/* What of a value is followed by a path: "file= unix=". */
static void put_paths(const struct option_entry *entry)
{
	for (const struct option_choice *choice = entry->field.choices;
	     choice && choice->name; choice++)
		if (choice->argument == OPTION_ARG_PATH)
			printf("%s= ", choice->name);
	for (const struct option_key *key = entry->keys; key && key->name;
	     key++)
		if (key->field.kind == OPTION_FILE)
			printf("%s= ", key->name);
}

static void put_bash(void)
{
	printf("%s\t-[", bash_head);
	for (size_t i = 0; i < options_set.entry_count; i++) {
		const struct option_entry *entry = &options_set.entries[i];

		if (entry->letter && takes_value(entry))
			putchar(entry->letter);
	}
	printf("]?*) option=${cur:0:2} head=$option ;;\n"
	       "\t*) option=$prev ;;\n\tesac\n\tcase $option in\n");
	for (size_t i = 0; i < options_set.entry_count; i++) {
		const struct option_entry *entry = &options_set.entries[i];

		if (!takes_value(entry))
			continue;
		printf("\t");
		if (entry->letter)
			printf("-%c | ", entry->letter);
		printf("--%s)\n\t\tfirst='", entry->name);
		put_words("", &entry->field);
		printf("' keys='");
		put_keys(entry);
		printf("'\n\t\tpaths='");
		put_paths(entry);
		printf("' files=%s ;;\n",
		       entry->field.kind == OPTION_FILE ? "1" : "");
	}
	printf("\t*)\n\t\thead= first='");
	for (size_t i = 0; i < options_set.entry_count; i++) {
		const struct option_entry *entry = &options_set.entries[i];

		if (entry->letter)
			printf("-%c ", entry->letter);
		printf("--%s ", entry->name);
	}
	printf("' ;;\n\tesac\n%s", bash_tail);
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
	char syntax[OPTIONS_SYNTAX_BYTES];

	putchar(':');
	zsh_text(options_syntax(entry, syntax));
	printf(":{_mote_value \"%s\" \"",
	       entry->field.kind == OPTION_FILE ? "1" : "");
	put_words("", &entry->field);
	printf("\" \"");
	put_keys(entry);
	printf("\" \"");
	put_paths(entry);
	printf("\"}");
}

static void put_zsh(void)
{
	printf("%s", zsh_head);
	for (size_t i = 0; i < options_set.entry_count; i++) {
		const struct option_entry *entry = &options_set.entries[i];
		bool value = takes_value(entry);

		printf(" \\\n\t");
		if (entry->field.kind == OPTION_ACTION)
			printf("'(- *)'");
		else if (entry->max)
			printf("'*'");
		else if (entry->letter)
			printf("'(-%c --%s)'", entry->letter, entry->name);
		if (entry->letter)
			printf("{-%c%s,--%s%s}", entry->letter,
			       value ? "+" : "", entry->name, value ? "=" : "");
		else
			printf("--%s%s", entry->name, value ? "=" : "");
		printf("'[");
		zsh_text(entry->help);
		putchar(']');
		if (value)
			zsh_value(entry);
		putchar('\'');
	}
	putchar('\n');
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*put)(void);
	} kinds[] = { { "man", put_man },
		      { "bash", put_bash },
		      { "zsh", put_zsh } };

	for (size_t i = 0; argc == 2 && i < ARRAY_LEN(kinds); i++)
		if (!strcmp(argv[1], kinds[i].name)) {
			kinds[i].put();
			return fflush(stdout) || ferror(stdout) ? 1 : 0;
		}
	fprintf(stderr, "usage: docs man|bash|zsh\n");
	return 1;
}
