/* SPDX-License-Identifier: Apache-2.0 */
/* Whether an access is a fault: a child process of a test tries. */
#ifndef TESTS_UNIT_FAULTS_H
#define TESTS_UNIT_FAULTS_H

#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

/* A write there ends the process. (To a copy of what is there otherwise.) */
static inline bool faults(void *at)
{
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		/* The sanitizers have a handler of their own. */
		signal(SIGSEGV, SIG_DFL);
		*(volatile unsigned char *)at = 1;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

#endif
