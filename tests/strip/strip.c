/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads MOTE_STRIP before main() does anything, because mote drops its
 * environment. See strip.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "seccomp/filter.h"

int strip_allows(unsigned thread, unsigned row, unsigned features);

static struct {
	int on, all;
	unsigned thread, row, feature;
} strip;

__attribute__((constructor)) static void read_environment(void)
{
	const char *text = getenv("MOTE_STRIP");

	if (!text)
		return;
	strip.on = 1;
	strip.all = sscanf(text, "all:%u", &strip.row) == 1;
	if (!strip.all && sscanf(text, "%u:%u:%u", &strip.thread, &strip.row,
				 &strip.feature) != 3)
		abort();
}

int strip_allows(unsigned thread, unsigned row, unsigned features)
{
	if (!strip.on)
		return 1;
	if (strip.all)
		return row == strip.row || thread == FILTER_LOAD;
	if (thread != strip.thread || row != strip.row)
		return 1;
	return strip.feature && features & ~strip.feature;
}
