/* SPDX-License-Identifier: Apache-2.0 */
/* What the parser of the command line asks of its values (values.c). */
#ifndef BOOT_OPTIONS_VALUES_H
#define BOOT_OPTIONS_VALUES_H

#include "boot/options/parse.h"

#define QUOTED_BYTES 72

/* The text for a message, cut and without what would harm a terminal. */
const char *optparse_quote(char buf[QUOTED_BYTES], const char *text);

/* -EINVAL, logged: no word of a list; with the nearest one, and the list. */
int optparse_refuse_name(const struct option_where *where, const char *text,
			 const char *what, const struct option_text *list,
			 const struct option_guess *guess);

/* What does here what that word does for another program; NULL: none does. */
const char *optparse_find_foreign(const struct option_where *where,
				  const char *word, size_t len);

/* -EINVAL, logged, where it is such a word; else 0. */
int optparse_refuse_foreign(const struct option_where *where, const char *text);

/* PATH, or fd=N. 0 or -EINVAL, logged. */
int optparse_file(const struct option_where *where, const char *text,
		  struct option_file *file);

/* A path of the guest's. 0 or -EINVAL, logged. */
int optparse_check_guest_path(const struct option_where *where,
			      const char *path);

/* Where a field's value goes, and its file, if it has one; its default. */
void optparse_store(const struct option_field *field, void *target,
		    uint64_t value);
void *optparse_stored_place(void *target, unsigned i);
bool optparse_stores_file(const struct option_field *field);
struct option_file *optparse_stored_file(const struct option_field *field,
					 void *target);
void optparse_store_default(const struct option_field *field, void *target);

#endif
