/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of packing and unpacking share: a directory of their own, a
 * stream in memory, and what was told.
 */
#ifndef TESTS_UNIT_TAR_HELP_H
#define TESTS_UNIT_TAR_HELP_H

#include <stdlib.h>
#include <sys/stat.h>

#include "boot/tar/work.h"
#include "unit.h"

/* The directory that tests work in: it is the current one. */
int tar_setup(void **state);
int tar_teardown(void **state);
int tar_empty(void **state); /* after a test: all in it is gone */

extern struct tar_options tar_options; /* with memory, and told_* by warn */

extern struct told {
	unsigned count;
	char why[128], name[128]; /* the last ones */
	long error;
} told;

/* The stream: what tar_collect has been given, and tar_supply gives. */
extern struct tar_stream {
	char *bytes;
	size_t len, at;
	size_t piece;		 /* of this size at most; 0: of any */
	long error;		 /* in place of what there is at the end */
	void (*each)(size_t at); /* called before each call's work */
} tar_stream;
tar_write tar_collect;
tar_read tar_supply;

/* A stream of no bytes; then more of them, and blocks that are full. */
void tar_begin(void);
void tar_put(const void *bytes, size_t len);
void tar_put_data(const void *bytes, size_t len);
void tar_put_end(void);

/* A header; *edit may change it, before its checksum is made. */
void tar_put_header(char type, const char *name, const char *link, size_t size,
		    void (*edit)(struct tar_header *header));
/* A file with that in it; a pax header of these records, a '|' behind each. */
void tar_put_file(const char *name, const char *text);
void tar_put_pax(char type, const char *records);

/* Unpacks the stream into "out", which is new. */
long tar_run(void);

/* The contents of a file; "" for none. */
const char *tar_read_file(const char *name);
struct stat tar_look(const char *name); /* it must be there */
bool tar_is(const char *name);

#endif
