/* SPDX-License-Identifier: Apache-2.0 */
/* In place of the stream of the guest's init: why it has failed, kept. */
#ifndef TESTS_UNIT_USER_FAILS_H
#define TESTS_UNIT_USER_FAILS_H

#include <setjmp.h>

extern struct user_fails {
	char why[256];
	jmp_buf jump; /* where stream_fail goes to */
} user_fails;

void user_fails_reset(void);

#endif
