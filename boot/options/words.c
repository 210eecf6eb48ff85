/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a command line as words. Those that are taken may come from
 * anybody who can write a snapshot: only their form is judged here. Owns
 * nothing. Main thread, before the sandbox closes in.
 */
#include "boot/options/words.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

static const char *const device_options[] = { "disk", "net", "vsock" };

static bool is_device(const char *option)
{
	for (size_t i = 0; i < ARRAY_LEN(device_options); i++)
		if (!strcmp(option, device_options[i]))
			return true;
	return false;
}

/* -- saving --------------------------------------------------------------- */

struct word_text {
	char *bytes;
	size_t used;
	bool full;
};

static void add_char(struct word_text *to, char c)
{
	if (to->used < OPTIONS_WORDS_MAX)
		to->bytes[to->used++] = c;
	else
		to->full = true;
}

static void add_chars(struct word_text *to, const char *from, size_t len)
{
	while (len--)
		add_char(to, *from++);
}

/* In an argument a comma stands twice (boot/options/parse.h). */
static void add_directory(struct word_text *to, const char *dir)
{
	for (; *dir; dir++) {
		if (*dir == ',')
			add_char(to, ',');
		add_char(to, *dir);
	}
	add_char(to, '/');
}

static void add_device(struct word_text *to, const struct option_given *given,
		       const char *dir)
{
	const char *path = optparse_relative_path(&options_set, given->option,
						  given->text);

	add_chars(to, given->option, strlen(given->option) + 1);
	if (path) {
		add_chars(to, given->text, (size_t)(path - given->text));
		add_directory(to, dir);
	} else {
		path = given->text;
	}
	add_chars(to, path, strlen(path) + 1);
}

long options_save_words(const struct options *options,
			char words[OPTIONS_WORDS_MAX])
{
	const struct option_parsed *parsed = &options->parsed;
	struct word_text to = { .bytes = words };
	char dir[4096];

	if (!getcwd(dir, sizeof(dir)))
		return log_errno("getcwd");
	for (unsigned i = 0; i < parsed->given_count; i++)
		if (is_device(parsed->given[i].option))
			add_device(&to, &parsed->given[i], dir);
	if (!to.full)
		return (long)to.used;
	log_error("--snapshot: the words of all devices are more than %u bytes",
		  OPTIONS_WORDS_MAX);
	return -E2BIG;
}

/* -- taking --------------------------------------------------------------- */

/* The next pair; false at the end, and where what is left is no pair. */
static bool next_pair(const char **at, size_t *left, const char **option,
		      const char **text)
{
	const char *last = *at + *left;
	const char *middle = memchr(*at, 0, *left), *end;

	end = middle ? memchr(middle + 1, 0, (size_t)(last - middle - 1))
		     : NULL;
	if (!end)
		return false;
	*option = *at;
	*text = middle + 1;
	*at = end + 1;
	*left = (size_t)(last - *at);
	return true;
}

static bool is_wanted(const struct options *options, unsigned given,
		      const char *option)
{
	for (unsigned i = 0; i < given; i++)
		if (!strcmp(options->parsed.given[i].option, option))
			return false;
	return is_device(option);
}

bool options_want_words(const struct options *options, const char *words,
			size_t len)
{
	const char *option, *text;

	while (next_pair(&words, &len, &option, &text))
		if (is_wanted(options, options->parsed.given_count, option))
			return true;
	return false;
}

/* What the last of a kind names. */
static const struct option_file *last_file(const struct options *options,
					   const char *option)
{
	const struct device_options *d = &options->devices;

	if (!strcmp(option, "disk"))
		return &d->disks[d->disk_count - 1].file;
	if (!strcmp(option, "net"))
		return &d->nets[d->net_count - 1].file;
	return &d->vsock.file;
}

/* A descriptor was the saved one's caller's, however it was named. */
static int take_device(struct options *options, const char *option,
		       const char *text, const char *whose)
{
	int error = optparse_add_option(&options_set, options, &options->parsed,
					option, text);

	if (error || last_file(options, option)->fd < 0)
		return error;
	log_error("snapshot %s: its --%s was given as %s: name it again", whose,
		  option, text);
	return -EINVAL;
}

int options_take_words(struct options *options, const char *words, size_t len,
		       const char *whose)
{
	/* Those that are taken are given from then on. */
	const unsigned given = options->parsed.given_count;
	const char *option, *text;
	int error = 0;

	while (!error && next_pair(&words, &len, &option, &text)) {
		if (!is_device(option)) {
			log_error("snapshot %s: --%s is no device's: a newer "
				  "mote made it",
				  whose, option);
			return -EINVAL;
		}
		if (is_wanted(options, given, option))
			error = take_device(options, option, text, whose);
	}
	if (error || !len)
		return error;
	log_error("snapshot %s: the words of its devices are damaged", whose);
	return -EINVAL;
}
