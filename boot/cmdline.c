/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest kernel's command line.
 *
 * One fixed buffer, always valid. A walker yields its words as Linux's own
 * next_arg() parts them (lib/cmdline.c); every question is asked through it,
 * so that "xreboot=" is never taken for "reboot=", nor init's arguments for
 * the kernel's. Words come from the user: trusted to mean what they say, but
 * not to be short or printable. Owns nothing; any thread once it is built.
 */
#include "boot/cmdline.h"

#include <errno.h>
#include <string.h>

#include "mem/log.h"

/* A word's parts, in the line's own text; value.at is NULL without a '='. */
struct text {
	const char *at;
	size_t len;
};
struct word {
	struct text key, value;
};

static int check_words(const char *words, size_t len)
{
	size_t quotes = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)words[i];

		if (c < 0x20 || c == 0x7f) {
			log_error("kernel command line: byte %zu of \"%.60s\" "
				  "is a control character (0x%02x); write it "
				  "as one line, with spaces between the words",
				  i, words, c);
			return -EINVAL;
		}
		quotes += c == '"';
	}
	if (quotes % 2) {
		log_error("kernel command line: \"%.60s\" leaves a double "
			  "quote open; close it",
			  words);
		return -EINVAL;
	}
	return 0;
}

int cmdline_add(struct cmdline *line, const char *words)
{
	size_t len, gap = line->len ? 1 : 0;
	int error;

	words += strspn(words, " ");
	len = strlen(words);
	while (len && words[len - 1] == ' ')
		len--;
	error = check_words(words, len);
	if (error || !len)
		return error;
	if (len + gap > sizeof(line->text) - 1 - line->len) {
		log_error("kernel command line: no room for the %zu bytes of "
			  "\"%.60s\": %zu of %zu are taken; shorten --append "
			  "or --cmdline",
			  len, words, line->len, sizeof(line->text) - 1);
		return -E2BIG;
	}
	if (gap)
		line->text[line->len++] = ' ';
	memcpy(line->text + line->len, words, len);
	line->len += len;
	line->text[line->len] = '\0';
	return 0;
}

int cmdline_check(const struct cmdline *line, uint32_t max)
{
	if (line->len <= max)
		return 0;
	log_error("kernel command line: this kernel reads %u bytes, the line "
		  "has %zu; shorten --append or --cmdline",
		  max, line->len);
	return -E2BIG;
}

static void strip_word_quotes(struct text *text)
{
	if (text->len && text->at[0] == '"') {
		text->at++;
		text->len--;
	}
	if (text->len && text->at[text->len - 1] == '"')
		text->len--;
}

/* The word at or after *at, which moves on; false at the end, or at "--". */
static bool next_cmdline_word(const char **at, struct word *word)
{
	const char *start = *at + strspn(*at, " "), *end = start;
	const char *equals = NULL;
	bool quoted = false;

	while (*end && (*end != ' ' || quoted)) {
		if (*end == '"')
			quoted = !quoted;
		if (*end == '=' && !equals)
			equals = end;
		end++;
	}
	*at = end;
	*word = (struct word){ .key = { start, (size_t)(end - start) } };
	if (equals) {
		word->key.len = (size_t)(equals - start);
		word->value =
			(struct text){ equals + 1, (size_t)(end - equals - 1) };
		strip_word_quotes(&word->value);
	}
	strip_word_quotes(&word->key);
	return end > start && (end - start != 2 || memcmp(start, "--", 2));
}

static char fold_dash(char c)
{
	return c == '-' ? '_' : c;
}

static bool word_has_key(const struct word *word, const char *key)
{
	size_t i = 0;

	while (i < word->key.len &&
	       fold_dash(word->key.at[i]) == fold_dash(key[i]))
		i++;
	return i == word->key.len && !key[i];
}

bool cmdline_has(const struct cmdline *line, const char *key)
{
	const char *at = line->text;
	struct word word;

	while (next_cmdline_word(&at, &word))
		if (word_has_key(&word, key))
			return true;
	return false;
}

/* Takes the first item off a comma list; false where none is left. */
static bool next_comma_item(struct text *list, struct text *item)
{
	const char *comma;

	if (!list->at)
		return false;
	comma = memchr(list->at, ',', list->len);
	*item = *list;
	if (comma) {
		item->len = (size_t)(comma - list->at);
		list->len -= item->len + 1;
	}
	list->at = comma ? comma + 1 : NULL;
	return true;
}

static bool text_has_prefix(const struct text *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return text->len >= len && !memcmp(text->at, prefix, len);
}

/*
 * One item of reboot= as reboot_setup() takes it (kernel/reboot.c): w(arm),
 * c(old), h(ard), s(oft) and g(pio) set a mode, s<CPU> and smp<CPU> do not.
 */
static void parse_reboot_item(struct text item, char *mode, char *panic_mode)
{
	struct text digits;

	if (text_has_prefix(&item, "panic_")) {
		mode = panic_mode;
		item.at += 6;
		item.len -= 6;
	}
	if (!item.len || !strchr("wchsg", item.at[0]))
		return;
	digits = (struct text){ item.at + 1, item.len - 1 };
	if (text_has_prefix(&item, "smp"))
		digits = (struct text){ item.at + 3, item.len - 3 };
	if (item.at[0] == 's' && digits.len && digits.at[0] >= '0' &&
	    digits.at[0] <= '9')
		return;
	*mode = item.at[0];
}

bool cmdline_tells_panic(const struct cmdline *line)
{
	const char *at = line->text;
	char mode = 0, panic_mode = 0;
	struct text item;
	struct word word;

	while (next_cmdline_word(&at, &word)) {
		struct text list = word.value;

		if (!word_has_key(&word, "reboot"))
			continue;
		while (next_comma_item(&list, &item))
			parse_reboot_item(item, &mode, &panic_mode);
	}
	return mode == 'w' && panic_mode && panic_mode != 'w';
}
