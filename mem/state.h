/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State as bytes, and back: a part of the machine that a snapshot keeps lists
 * its fields once, in one function, which is called to save and to load. So
 * both agree by construction:
 *
 *	void rtc_state(struct rtc *rtc, struct state *s)
 *	{
 *		state_u8(s, &rtc->index);
 *		state_check(s, rtc->index < 128, "its index is impossible");
 *	}
 *
 * Values are little-endian and not aligned. What is loaded is hostile: the
 * first thing that is wrong is kept, every load after that gives zeros, and the
 * caller asks once at the end.
 */
#ifndef MEM_STATE_H
#define MEM_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct state {
	bool loading;
	uint8_t *bytes; /* the caller's: room to save to, or what is loaded */
	size_t len;	/* of it */
	size_t at;	/* so many are saved, or loaded */
	const char *wrong; /* what was the first to be so; NULL: nothing */
};

/* Loading from, or saving to, these bytes, which must outlive it. */
struct state state_load(const void *bytes, size_t len);
struct state state_save(void *bytes, size_t len);

/*
 * One field. Where there are too few bytes left "it is too short" (loading) or
 * "there is no room for it" (saving) is wrong.
 */
void state_u8(struct state *s, uint8_t *value);
void state_u16(struct state *s, uint16_t *value);
void state_u32(struct state *s, uint32_t *value);
void state_u64(struct state *s, uint64_t *value);
void state_bool(struct state *s, bool *value); /* a byte: 0 or 1 */
void state_bytes(struct state *s, void *value, size_t len);

/* An unsigned, as 32 bits. */
void state_unsigned(struct state *s, unsigned *value);

/*
 * What must hold after fields were loaded, and else the words for what is
 * wrong, as in "snapshot x: vCPU 1: " "its mode is impossible". The result:
 * whether all is well so far. Saving, nothing is judged.
 */
bool state_check(struct state *s, bool good, const char *wrong);

/*
 * What is wrong in words that are made here, both ways: where something else
 * was not before it. They stay until the next call.
 */
void state_refuse(struct state *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Loaded to the last byte, and nothing was wrong; or saved whole. */
bool state_is_whole(struct state *s);

#endif
