/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mote's init is told to run, and as whom: strings that end in NUL, what
 * each is told by its first character (RUN_ARGUMENT and so on). They are a file
 * of the initrd, a part of a snapshot, or frames for a guest that was restored
 * from one.
 */
#ifndef CPU_COMMAND_ORDERS_H
#define CPU_COMMAND_ORDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/command/protocol.h"
#include "mem/state.h"

#define ORDERS_MAX RUN_MAX /* bytes, in a snapshot */

struct orders {
	char *bytes;
	size_t len, room;
	bool failed; /* there was no memory: some are missing */
};

/* Start with all zero. TYPE TEXT, TYPE TEXT=VALUE, or TYPE FIRST SECOND. */
void orders_add(struct orders *orders, char type, const char *text);
void orders_add_pair(struct orders *orders, char type, const char *text,
		     const char *value);
void orders_add_words(struct orders *orders, char type, const char *first,
		      const char *second);

/* How large the terminal of mote's stdin is, for RUN_TTY; "": it is none. */
#define ORDERS_TTY_BYTES 16
void orders_read_tty(char text[ORDERS_TTY_BYTES]);

/* 32 new random bytes, as RUN_RANDOM. */
void orders_add_random(struct orders *orders);

/* The interface that has the one is to have the other, as RUN_MAC. */
void orders_add_mac(struct orders *orders, const uint8_t was[6],
		    const uint8_t is[6]);

/* Its first `len` bytes, saved; or all that there is, judged and loaded. */
void orders_state(struct orders *orders, uint32_t len, struct state *s);

void orders_free(struct orders *orders);

#endif
