/*
 * What is typed at mote's own terminal and not meant for the guest: Ctrl-A and
 * a letter.
 */
#ifndef CPU_CONSOLE_ESCAPE_H
#define CPU_CONSOLE_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct escape {
	bool begun; /* Ctrl-A came, the next byte says what for */
	void (*on_quit)(void *arg); /* Ctrl-A x; or NULL */
	void *arg;
};

/* Takes them out of what was typed, and obeys; returns what is left. */
size_t escape_filter(struct escape *escape, uint8_t *data, size_t len);

#endif
