/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/user_fails.h"

#include <stdio.h>

#include "boot/init/init.h"

struct user_fails user_fails;

void user_fails_reset(void)
{
	user_fails.why[0] = 0;
}

void stream_fail(const char *why, const char *what, long error)
{
	snprintf(user_fails.why, sizeof(user_fails.why), "%s: %s", why, what);
	(void)error;
	longjmp(user_fails.jump, 1);
}
