/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The variables that --env and --env-file give the command.
 */
#ifndef BOOT_OPTIONS_ENV_H
#define BOOT_OPTIONS_ENV_H

#include <stdbool.h>
#include <stddef.h>

#include "boot/options/options.h"

#define ENV_FILES_BYTES (1u << 20) /* of all --env-file, at most */
#define ENV_FILES_VARS	4096u

/*
 * NAME=VALUE, or NAME, whose value is mote's own environment's. Of several of a
 * name the last counts: those of files come first.
 */
struct env {
	const char **vars;
	unsigned count;
	char *text; /* of the files */
};

/* Reads the files, to be freed by the caller in any case. 0 or -errno, logged.
 */
int env_read(struct env *env, const struct options *options);

/* One of them from `first` on gives the variable `name` a value. */
bool env_has(const struct env *env, unsigned first, const char *name,
	     size_t len);

void env_free(struct env *env);

#endif
