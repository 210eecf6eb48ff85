/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a command line as words that another one can take: pairs of an
 * option's long name and its argument, each with a zero behind it. Paths are
 * absolute in them.
 */
#ifndef BOOT_OPTIONS_WORDS_H
#define BOOT_OPTIONS_WORDS_H

#include <stddef.h>

#include "boot/options/options.h"

#define OPTIONS_WORDS_MAX 65536u

/*
 * Those of `options`, whose relative paths are relative to the directory that
 * mote is in: how many bytes; or -errno, logged, where they do not fit.
 */
long options_save_words(const struct options *options,
			char words[OPTIONS_WORDS_MAX]);

/*
 * Adds those of kinds that this command line does not name. `words`, of `len`
 * bytes, must last, and whoever can write them can name any file. `whose` is
 * for messages. 0 or -EINVAL, logged. options_check comes next.
 */
int options_take_words(struct options *options, const char *words, size_t len,
		       const char *whose);

/* Whether there is a kind in them that this command line does not name. */
bool options_want_words(const struct options *options, const char *words,
			size_t len);

#endif
