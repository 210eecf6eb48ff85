/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads the files of --env-file, in docker's format: a variable a line, after
 * blanks that do not count; empty lines and those that begin with # are none.
 * What follows the first = is the value, as it stands: there are no quotes, no
 * escapes, and no comment ends it. A byte order mark at the start and the CR of
 * a line that ends in CR LF are dropped.
 *
 * The files are the user's own, and read before the sandbox closes in; they may
 * be of any bytes, and a pipe's. Owns what it has read until env_free. Main
 * thread.
 */
#include "boot/options/env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/loop/file.h"
#include "mem/log.h"

#define BLANKS " \t\v\f\r"

/* -- bytes ----------------------------------------------------------------- */

/* All of it, which must be less than `room`: how many bytes, or -errno. */
static ssize_t read_env_bytes(int fd, char *to, size_t room)
{
	size_t len = 0;
	ssize_t n;

	do {
		n = read(fd, to + len, room - len);
		if (n > 0)
			len += (size_t)n;
	} while ((n > 0 && len < room) || (n < 0 && errno == EINTR));
	if (n < 0)
		return -errno;
	return n ? -EFBIG : (ssize_t)len;
}

static ssize_t read_env_file(const struct option_file *file, const char *name,
			     char *to, size_t room)
{
	const int fd = file_open(file, "--env-file ", O_RDONLY, 0, NULL);
	ssize_t len;

	if (fd < 0)
		return fd;
	len = read_env_bytes(fd, to, room);
	if (fd > STDERR_FILENO)
		close(fd);
	if (len == -EFBIG)
		log_error("--env-file %s: there may be %u bytes in all, and "
			  "are more",
			  name, ENV_FILES_BYTES);
	else if (len < 0)
		log_error("--env-file %s: it cannot be read: %s", name,
			  strerror((int)-len));
	return len;
}

/* -- lines ----------------------------------------------------------------- */

struct env_place {
	const char *file;
	unsigned line;
};

/* Not the line itself: a value may be a secret. */
static int refuse_env_line(const struct env_place *place, const char *wrong)
{
	log_error("--env-file %s:%u: %s", place->file, place->line, wrong);
	return -EINVAL;
}

/* Of `len` bytes, and a NUL behind them. */
static int take_env_line(struct env *env, const struct env_place *place,
			 char *line, size_t len)
{
	const char *at = line + strspn(line, BLANKS);

	if (strlen(line) < len)
		return refuse_env_line(place, "there is a byte 0 in the line");
	if (len && line[len - 1] == '\r')
		line[len - 1] = 0;
	if (!*at || *at == '#')
		return 0;
	if (*at == '=')
		return refuse_env_line(place, "the variable has no name");
	if (strcspn(at, BLANKS) < strcspn(at, "="))
		return refuse_env_line(place,
				       "a blank is in the variable's name; a "
				       "line is NAME=VALUE, or NAME alone");
	if (env->count == ENV_FILES_VARS)
		return refuse_env_line(place, "there are too many variables");
	env->vars[env->count++] = at;
	return 0;
}

/* There is room for one byte behind `text`. */
static int take_env_text(struct env *env, const char *file, char *text,
			 size_t len)
{
	struct env_place place = { file, 1 };
	char *const end = text + len, *next;
	int error = 0;

	if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
		text += 3;
	for (*end = '\n'; text < end && !error; text = next + 1, place.line++) {
		next = memchr(text, '\n', (size_t)(end - text) + 1);
		*next = 0;
		error = take_env_line(env, &place, text, (size_t)(next - text));
	}
	return error;
}

/* -- all of it ------------------------------------------------------------- */

static int read_env_files(struct env *env, const struct options *options)
{
	char room[FILE_NAME_BYTES], *at;
	size_t left = ENV_FILES_BYTES + 1;
	int error = 0;

	/* Behind each file there is a byte for its end. */
	at = env->text = malloc(left + OPTIONS_ENV_FILES_MAX);
	if (!at)
		return log_errno("malloc");
	for (unsigned i = 0; i < options->env_file_count && !error; i++) {
		const struct option_file *file = &options->env_files[i];
		const char *name = file_name(file, room);
		const ssize_t len = read_env_file(file, name, at, left);

		if (len < 0)
			return (int)len;
		error = take_env_text(env, name, at, (size_t)len);
		at += len + 1;
		left -= (size_t)len;
	}
	return error;
}

int env_read(struct env *env, const struct options *options)
{
	const unsigned room = options->env_file_count ? ENV_FILES_VARS : 0;
	int error = 0;

	*env = (struct env){ .count = 0 };
	env->vars =
		malloc((room + options->env_count + 1) * sizeof(*env->vars));
	if (!env->vars)
		return log_errno("malloc");
	if (room)
		error = read_env_files(env, options);
	for (unsigned i = 0; i < options->env_count && !error; i++)
		env->vars[env->count++] = options->env[i];
	return error;
}

/* -- asking ---------------------------------------------------------------- */

bool env_has(const struct env *env, unsigned first, const char *name,
	     size_t len)
{
	for (unsigned i = first; i < env->count; i++) {
		const char *text = env->vars[i];

		if (!strncmp(text, name, len) &&
		    (text[len] == '=' || (!text[len] && getenv(text))))
			return true;
	}
	return false;
}

void env_free(struct env *env)
{
	free(env->vars);
	free(env->text);
	*env = (struct env){ .count = 0 };
}
