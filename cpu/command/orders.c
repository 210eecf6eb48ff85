/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders for mote's init. They are put together from the command line, before
 * the sandbox closes in, and for a restored guest what is its own is added.
 * From a snapshot they come as hostile bytes; but they go to the very guest
 * that they come from, so all that counts is that they are strings of the kind
 * that a command line may bring. Owns its bytes. Main thread.
 */
#include "cpu/command/orders.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "mem/util.h"

#define ROOM_MIN     1024u
#define RANDOM_BYTES 32u

/* Not realloc(3): it may move pages by mremap(2), which no filter allows. */
static void grow_orders(struct orders *o, size_t room)
{
	char *bytes = malloc(room);

	if (!bytes) {
		o->failed = true;
		return;
	}
	if (o->len)
		memcpy(bytes, o->bytes, o->len);
	free(o->bytes);
	o->bytes = bytes;
	o->room = room;
}

static void append_order(struct orders *o, const char *from, size_t len)
{
	size_t room = o->room ? o->room : ROOM_MIN;

	while (room - o->len < len)
		room *= 2;
	if (room != o->room)
		grow_orders(o, room);
	if (room != o->room)
		return;
	memcpy(o->bytes + o->len, from, len);
	o->len += len;
}

void orders_add(struct orders *o, char type, const char *text)
{
	append_order(o, &type, 1);
	append_order(o, text, strlen(text) + 1);
}

static void append_joined(struct orders *o, char type, const char *text,
			  const char *between, const char *value)
{
	append_order(o, &type, 1);
	append_order(o, text, strlen(text));
	append_order(o, between, 1);
	append_order(o, value, strlen(value) + 1);
}

void orders_add_pair(struct orders *o, char type, const char *text,
		     const char *value)
{
	append_joined(o, type, text, "=", value);
}

void orders_add_words(struct orders *o, char type, const char *first,
		      const char *second)
{
	append_joined(o, type, first, " ", second);
}

void orders_read_tty(char text[ORDERS_TTY_BYTES])
{
	struct winsize size = { 0 };

	text[0] = 0;
	if (!ioctl(STDIN_FILENO, TIOCGWINSZ, &size) && size.ws_row)
		snprintf(text, ORDERS_TTY_BYTES, "%u %u", size.ws_row,
			 size.ws_col);
}

void orders_add_random(struct orders *o)
{
	uint8_t bytes[RANDOM_BYTES];
	char text[2 * RANDOM_BYTES + 1];

	if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes))
		o->failed = true;
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	orders_add(o, RUN_RANDOM, text);
}

void orders_add_mac(struct orders *o, const uint8_t was[6], const uint8_t is[6])
{
	char text[2 * 18];

	snprintf(text, sizeof(text),
		 "%02x:%02x:%02x:%02x:%02x:%02x "
		 "%02x:%02x:%02x:%02x:%02x:%02x",
		 was[0], was[1], was[2], was[3], was[4], was[5], is[0], is[1],
		 is[2], is[3], is[4], is[5]);
	orders_add(o, RUN_MAC, text);
}

/* -- in a snapshot -------------------------------------------------------- */

/* Those that are one clone's own are in none. */
static bool orders_are_good(const struct orders *o)
{
	static const char types[] = { RUN_ARGUMENT,  RUN_ENV,	   RUN_WORKDIR,
				      RUN_NO_SERIAL, RUN_TTY,	   RUN_PROGRAM,
				      RUN_USER,	     RUN_HOSTNAME, RUN_EXEC };
	bool argument = false;
	size_t at = 0;

	if (!o->len || o->bytes[o->len - 1])
		return false;
	for (; at < o->len; at += strlen(o->bytes + at) + 1) {
		if (!memchr(types, o->bytes[at], sizeof(types)))
			return false;
		argument |= o->bytes[at] == RUN_ARGUMENT;
	}
	return argument;
}

void orders_state(struct orders *o, uint32_t len, struct state *s)
{
	state_u32(s, &len);
	/* Before there is memory for it: none beyond what the file has. */
	if (!state_check(s, len <= ORDERS_MAX && len <= s->len - s->at,
			 "its command is longer than what there is of it"))
		return;
	if (s->loading) {
		orders_free(o);
		o->bytes = malloc(len + 1);
		o->room = o->bytes ? len + 1 : 0;
		o->len = o->bytes ? len : 0;
		if (!state_check(s, o->bytes, "there is no memory for it"))
			return;
	}
	state_bytes(s, o->bytes, len);
	state_check(s, orders_are_good(o), "its command makes no sense");
}

void orders_free(struct orders *o)
{
	free(o->bytes);
	*o = (struct orders){ .len = 0 };
}
