/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/init/user.c boot/init/text.c */
/*
 * Fuzzes what the guest's init makes of an image's /etc/passwd and /etc/group:
 * the input is USER[:GROUP], a byte 1, passwd, a byte 1, and group. Whoever is
 * found has numbers that are somebody's and one of each variable.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/init/init.h"

#define AS_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool said;

static char etc[] = "/tmp/fuzz_user-XXXXXX/";

/* In place of stream.c. */
void stream_note(const char *why, const char *what, long error)
{
	(void)why, (void)what, (void)error;
	said = true;
}

static void require(bool promise)
{
	if (!promise)
		abort();
}

/* Not the current directory: libFuzzer's corpus is there. */
static int etc_fd = -1;

static void remove_files(void)
{
	unlinkat(etc_fd, "passwd", 0);
	unlinkat(etc_fd, "group", 0);
	rmdir(etc);
}

static void make_directory(void)
{
	if (etc_fd >= 0)
		return;
	etc[strlen(etc) - 1] = 0;
	require(mkdtemp(etc));
	etc_fd = open(etc, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	require(etc_fd >= 0);
	etc[strlen(etc)] = '/';
	atexit(remove_files);
}

static void put(const char *name, const uint8_t *bytes, size_t len)
{
	const int fd = openat(etc_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	require(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	close(fd);
}

/* The bytes up to a 1, which *data moves past. */
static size_t take_part(const uint8_t **data, size_t *size)
{
	const uint8_t *end = memchr(*data, 1, *size);
	const size_t len = end ? (size_t)(end - *data) : *size;

	*data += len + !!end;
	*size -= len + !!end;
	return len;
}

static void check(char **env, const struct user *user)
{
	static const char *const names[] = { "HOME=", "USER=", "LOGNAME=",
					     "SHELL=" };
	unsigned count = 0;

	require(user->uid != UINT32_MAX && user->gid != UINT32_MAX);
	require(user->group_count && user->group_count <= 65536);
	require(user->groups[0] == user->gid);
	for (; env[count]; count++)
		require(!strncmp(env[count], names[count],
				 strlen(names[count])) &&
			strlen(env[count]) > strlen(names[count]));
	require(count == 1 || count == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char as[AS_MAX + 1], *env[1 + RUN_ENV_ROOM];
	static struct run run;
	const uint8_t *at = data;
	size_t len = take_part(&data, &size);
	bool found;

	if (len > AS_MAX)
		return 0;
	make_directory();
	memcpy(as, at, len);
	as[len] = 0;
	at = data;
	len = take_part(&data, &size);
	put("passwd", at, len);
	put("group", data, size);
	memset(env, 0, sizeof(env));
	run = (struct run){ .env = env, .as = as };
	said = false;
	found = user_find(&run, etc);
	require(found == !said);
	if (found)
		check(env, run.user);
	return 0;
}
