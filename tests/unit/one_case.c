/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linked with every unit test: CASE='test_queue_*' in the environment runs
 * those cases alone (cmocka has the function, but nothing that calls it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

__attribute__((constructor)) static void choose_cases(void)
{
	const char *pattern = getenv("CASE");

	if (pattern)
		cmocka_set_test_filter(pattern);
}
