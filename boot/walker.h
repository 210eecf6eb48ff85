/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walker of a --put: a process beside mote's that has that tree, or that
 * one file, and nothing else, and makes a tar stream of it.
 */
#ifndef BOOT_WALKER_H
#define BOOT_WALKER_H

#include <stdbool.h>

#include "cpu/command/transfer.h"
#include "cpu/loop/helper.h"
#include "cpu/loop/thread.h"

/* Its descriptor of what it walks. */
#define WALKER_TREE HELPER_FIRST

/*
 * Starts one for each --put that has a tree, before the sandbox closes in and
 * while there is one thread. `hook`: its jail and its filter, in the process,
 * which needs no memory of mote's any more. 0 or -errno, logged.
 */
int walker_start_all(struct transfers *transfers, bool keeps_stderr,
		     const struct thread_hook *hook);

#endif
