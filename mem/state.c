/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State as bytes, and back. Owns the words of state_refuse; one thread.
 */
#include "mem/state.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem/util.h"

struct state state_load(const void *bytes, size_t len)
{
	/* Nothing is written to it: see state_bytes. */
	return (struct state){ .loading = true,
			       .bytes = (uint8_t *)(uintptr_t)bytes,
			       .len = len };
}

struct state state_save(void *bytes, size_t len)
{
	return (struct state){ .bytes = bytes, .len = len };
}

static void state_blame(struct state *s, const char *wrong)
{
	if (!s->wrong)
		s->wrong = wrong;
}

void state_bytes(struct state *s, void *value, size_t len)
{
	if (!len) /* nothing, which may be nowhere */
		return;
	if (len > s->len - s->at)
		state_blame(s, s->loading ? "it is too short"
					  : "there is no room for it");
	if (s->wrong) {
		if (s->loading)
			memset(value, 0, len);
		return;
	}
	if (s->loading)
		memcpy(value, s->bytes + s->at, len);
	else
		memcpy(s->bytes + s->at, value, len);
	s->at += len;
}

void state_u8(struct state *s, uint8_t *value)
{
	state_bytes(s, value, sizeof(*value));
}

void state_u16(struct state *s, uint16_t *value)
{
	uint8_t bytes[2];

	put_le16(bytes, *value);
	state_bytes(s, bytes, sizeof(bytes));
	*value = get_le16(bytes);
}

void state_u32(struct state *s, uint32_t *value)
{
	uint8_t bytes[4];

	put_le32(bytes, *value);
	state_bytes(s, bytes, sizeof(bytes));
	*value = get_le32(bytes);
}

void state_u64(struct state *s, uint64_t *value)
{
	uint8_t bytes[8];

	put_le64(bytes, *value);
	state_bytes(s, bytes, sizeof(bytes));
	*value = get_le64(bytes);
}

void state_bool(struct state *s, bool *value)
{
	uint8_t byte = !s->loading && *value;

	state_u8(s, &byte);
	state_check(s, byte <= 1, "a flag is neither 0 nor 1");
	*value = byte;
}

void state_unsigned(struct state *s, unsigned *value)
{
	uint32_t v = *value;

	state_u32(s, &v);
	*value = v;
}

bool state_check(struct state *s, bool good, const char *wrong)
{
	if (s->loading && !good)
		state_blame(s, wrong);
	return !s->wrong;
}

void state_refuse(struct state *s, const char *format, ...)
{
	static char words[256];
	va_list args;

	if (s->wrong)
		return;
	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	s->wrong = words;
}

bool state_is_whole(struct state *s)
{
	if (s->loading && s->at != s->len)
		state_blame(s, "it is too long");
	return !s->wrong;
}
