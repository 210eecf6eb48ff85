/*
 * What the table of options says to people: --help, --version, and the pieces
 * that boot/options/docs.c makes the manual from.
 */
#ifndef BOOT_OPTIONS_HELP_H
#define BOOT_OPTIONS_HELP_H

#include "boot/options/parse.h"

/* An exit status of mote. */
struct options_status {
	const char *status, *meaning;
};
extern const struct options_status options_statuses[]; /* to a NULL status */

/* Onto stdout; 0, or -errno and a logged line where stdout does not take it. */
int options_print_help(const struct option_set *set);
int options_print_version(const struct option_set *set);

/* "PATH|fd=N[,copy]"; each "[,...]" stays whole. Empty for a flag. */
#define OPTIONS_SYNTAX_BYTES 512
const char *options_syntax(const struct option_entry *entry,
			   char buf[OPTIONS_SYNTAX_BYTES]);

/* "256M": the default of the option's own value; NULL where there is none. */
const char *options_default(const struct option_field *field, char buf[32]);

#endif
