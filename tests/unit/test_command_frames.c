/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/command/frames.c */
/*
 * What a guest may send on a command's stream, in pieces of any size, and what
 * it may not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cpu/command/frames.h"
#include "mem/util.h"

/* What was parsed, as text. */
static char said[4096];
static int answer;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void say(const char *format, ...)
{
	const size_t len = strlen(said);
	va_list args;

	va_start(args, format);
	vsnprintf(said + len, sizeof(said) - len, format, args);
	va_end(args);
}

/* Where the pieces of one frame end does not show. */
static int take(void *arg, unsigned type, const uint8_t *payload, size_t len)
{
	assert_ptr_equal(arg, said);
	if (type == PROTOCOL_STDOUT || type == PROTOCOL_STDERR) {
		assert_true(len > 0);
		for (size_t i = 0; i < len; i++)
			say("%u%c", type, payload[i]);
		return answer;
	}
	assert_int_equal(payload[len], 0);
	if (type == PROTOCOL_NOTE)
		say("<%s>", (const char *)payload);
	else
		say("[%u %u %u]", type, len ? get_le32(payload) : 0,
		    len ? get_le32(payload + 4) : 0);
	return answer;
}

static size_t put(uint8_t *to, unsigned type, const void *payload, size_t len)
{
	frames_header(to, type, len);
	memcpy(to + PROTOCOL_HEADER, payload, len);
	return PROTOCOL_HEADER + len;
}

static size_t put_words(uint8_t *to, unsigned type, uint32_t a, uint32_t b)
{
	uint8_t words[8];

	put_le32(words, a);
	put_le32(words + 4, b);
	return put(to, type, words, sizeof(words));
}

static void test_pieces(void **state)
{
	static const char want[] = "[7 0 0]1a1b1c[3 0 1000]2d2e2f<a note>"
				   "[4 0 0][9 42 0]";
	uint8_t bytes[256];
	size_t len = 0;

	(void)state;
	len += put(bytes + len, PROTOCOL_READY, "", 0);
	len += put(bytes + len, PROTOCOL_STDOUT, "abc", 3);
	len += put_words(bytes + len, PROTOCOL_TAKEN, PROTOCOL_STDIN, 1000);
	len += put(bytes + len, PROTOCOL_STDERR, "def", 3);
	len += put(bytes + len, PROTOCOL_NOTE, "a note", 6);
	len += put_words(bytes + len, PROTOCOL_CLOSED, PROTOCOL_STDIN, 0);
	len += put_words(bytes + len, PROTOCOL_EXIT, 42, 0);
	for (size_t piece = 1; piece <= len; piece++) {
		struct frames frames = { .left = 0 };

		said[0] = '\0';
		for (size_t at = 0; at < len; at += piece) {
			const size_t n = piece < len - at ? piece : len - at;

			assert_int_equal(
				frames_feed(&frames, bytes + at, n, take, said),
				0);
		}
		assert_string_equal(said, want);
	}
}

static void test_refused(void **state)
{
	static const struct {
		uint32_t type, len;
	} bad[] = {
		{ PROTOCOL_STDIN, 0 },
		{ PROTOCOL_STDIN, 1 },
		{ PROTOCOL_STDOUT, 0 },
		{ PROTOCOL_STDERR, 0 },
		{ PROTOCOL_STDOUT, PROTOCOL_CHUNK + 1 },
		{ PROTOCOL_STDERR, UINT32_MAX },
		{ PROTOCOL_TAKEN, 7 },
		{ PROTOCOL_TAKEN, 9 },
		{ PROTOCOL_CLOSED, 0 },
		{ PROTOCOL_WINCH, 8 },
		{ PROTOCOL_SIGNAL, 8 },
		{ PROTOCOL_READY, 1 },
		{ PROTOCOL_NOTE, PROTOCOL_TEXT + 1 },
		{ PROTOCOL_EXIT, 4 },
		{ PROTOCOL_RUN, 1 },
		{ PROTOCOL_TYPES, 0 },
		{ UINT32_MAX, 8 },
	};
	uint8_t header[PROTOCOL_HEADER];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct frames frames = { .left = 0 };

		put_le32(header, bad[i].type);
		put_le32(header + 4, bad[i].len);
		said[0] = '\0';
		assert_int_equal(frames_feed(&frames, header, sizeof(header),
					     take, said),
				 -EPROTO);
		assert_string_equal(said, "");
	}
}

/* The longest of each; and whoever is told may refuse it. */
static void test_limits(void **state)
{
	static uint8_t bytes[PROTOCOL_HEADER + PROTOCOL_CHUNK];
	struct frames frames = { .left = 0 };
	char note[PROTOCOL_TEXT + 3] = "<";

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	frames_header(bytes, PROTOCOL_NOTE, PROTOCOL_TEXT);
	said[0] = '\0';
	assert_int_equal(frames_feed(&frames, bytes,
				     PROTOCOL_HEADER + PROTOCOL_TEXT, take,
				     said),
			 0);
	memset(note + 1, 'x', PROTOCOL_TEXT);
	note[PROTOCOL_TEXT + 1] = '>';
	assert_string_equal(said, note);
	frames_header(bytes, PROTOCOL_STDOUT, PROTOCOL_CHUNK);
	said[0] = '\0';
	assert_int_equal(frames_feed(&frames, bytes, sizeof(bytes), take, said),
			 0);
	answer = -EPROTO;
	frames_header(bytes, PROTOCOL_READY, 0);
	assert_int_equal(
		frames_feed(&frames, bytes, PROTOCOL_HEADER, take, said),
		-EPROTO);
	answer = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
