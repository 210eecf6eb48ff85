/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For build/tests/mote-rows, whose filter programs have an action of its own
 * for each row of the policy: rows can be taken out when it starts, by
 *
 *	MOTE_STRIP=THREAD:ROW:FEATURE	that row in that kind of thread (its
 *					number), as far as it is for that
 *					feature; 0: altogether
 *	MOTE_STRIP=all:ROW		all rows but that one, of the threads
 *					and the broker, not of the filter under
 *					them: without it nothing starts
 *
 * Included by the table that `gen_filter rows` makes.
 */
#ifndef TESTS_STRIP_STRIP_H
#define TESTS_STRIP_STRIP_H

/* Whether `row` is left, given the features in use that it is for. */
int strip_allows(unsigned thread, unsigned row, unsigned features);

static inline int program_allows(unsigned thread, unsigned row,
				 unsigned features)
{
	const unsigned wanted = row_features[row][thread];

	if (wanted && !(wanted & features))
		return 0;
	return strip_allows(thread, row, wanted & features);
}

#endif
