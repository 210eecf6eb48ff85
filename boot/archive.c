/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes the archive that a guest with a command gets: a directory of its own
 * in the initramfs, which nobody else has a file in, with the init that
 * boot/init/ is built to, and the command with its arguments, its environment
 * and its directory (cpu/command/protocol.h says how). Nothing of that is on
 * the kernel's command line, where others could read it and there is little
 * room.
 *
 * The format is cpio's "newc" (Documentation/driver-api/early-userspace/
 * buffer-format.rst): headers of hexadecimal digits, names and contents filled
 * up to four bytes. Written twice: first to see how long it is. Trusts the
 * options. Main thread, before the sandbox closes in.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/initrd.h"
#include "boot/options/env.h"
#include "boot/options/options.h"
#include "cpu/command/orders.h"
#include "mem/log.h"
#include "mem/util.h"

#define MODE_DIR 0040700u
#define MODE_RUN 0100700u
#define MODE_TXT 0100600u

/* archive_init.S */
extern const char archive_init[];
extern const uint32_t archive_init_len;

struct archive {
	char *bytes; /* NULL: only `len` is of interest */
	size_t len;
	unsigned files;
};

static void archive_put(struct archive *a, const void *from, size_t len)
{
	if (a->bytes)
		memcpy(a->bytes + a->len, from, len);
	a->len += len;
}

static void archive_put_string(struct archive *a, const char *text)
{
	archive_put(a, text, strlen(text) + 1);
}

static void archive_pad(struct archive *a)
{
	static const char zeros[3];

	archive_put(a, zeros, round_up(a->len, 4) - a->len);
}

static void archive_begin_file(struct archive *a, const char *name,
			       unsigned mode, size_t size)
{
	char header[111];

	/* inode, mode, user and group; links, time, size; four of devices; the
	 * name's size with its NUL, check sum */
	snprintf(header, sizeof(header),
		 "070701%08X%08X%016X%08X%08X%08X%032X%08X%08X", ++a->files,
		 mode, 0, 1, 0, (unsigned)size, 0, (unsigned)strlen(name) + 1,
		 0);
	archive_put(a, header, sizeof(header) - 1);
	archive_put_string(a, name);
	archive_pad(a);
}

/* -- the command ---------------------------------------------------------- */

/* With --as, init finds out which HOME the user has. */
static void add_envs(struct orders *o, const struct options *options,
		     const struct env *env)
{
	const char *term = getenv("TERM");
	/* Beside another command all that is not said is as that one's. */
	const bool exec = file_is_given(&options->exec);
	const struct {
		const char *name, *value;
	} defaults[] = {
		{ "PATH", exec ? NULL
			       : "/usr/local/sbin:/usr/local/bin:/usr/sbin:"
				 "/usr/bin:/sbin:/bin" },
		{ "HOME", exec || options->as ? NULL : "/root" },
		{ "TERM", options->tty ? (term ? term : "linux") : NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		if (defaults[i].value && !env_has(env, 0, defaults[i].name,
						  strlen(defaults[i].name)))
			orders_add_pair(o, RUN_ENV, defaults[i].name,
					defaults[i].value);
	for (unsigned i = 0; i < env->count; i++) {
		const char *text = env->vars[i];
		const char *value = getenv(text);

		/* The last one counts, as for env(1). */
		if (env_has(env, i + 1, text, strcspn(text, "=")))
			continue;
		if (strchr(text, '='))
			orders_add(o, RUN_ENV, text);
		else if (value)
			orders_add_pair(o, RUN_ENV, text, value);
	}
}

int archive_orders(struct orders *o, const struct options *options,
		   bool no_serial, bool program)
{
	char tty[ORDERS_TTY_BYTES];
	struct env env;
	int error = env_read(&env, options);

	for (char **word = options->command; *word; word++)
		orders_add(o, RUN_ARGUMENT, *word);
	/* First: getenv(3) takes the first one. */
	if (program) {
		orders_add(o, RUN_PROGRAM, "");
		orders_add_pair(o, RUN_ENV, RUN_READY_NAME, RUN_READY_FIFO);
		orders_add_pair(o, RUN_ENV, RUN_ARGS_NAME, RUN_ARGS_FIFO);
	}
	if (!error)
		add_envs(o, options, &env);
	env_free(&env);
	if (options->as)
		orders_add(o, RUN_USER, options->as);
	if (options->hostname)
		orders_add(o, RUN_HOSTNAME, options->hostname);
	if (options->workdir)
		orders_add(o, RUN_WORKDIR, options->workdir);
	if (options->tty) {
		orders_read_tty(tty);
		orders_add(o, RUN_TTY, tty);
	}
	if (no_serial)
		orders_add(o, RUN_NO_SERIAL, "");
	if (file_is_given(&options->devices.vsock.file))
		orders_add(o, RUN_EXEC, "");
	if (error)
		return error;
	return o->failed ? log_errno("malloc") : 0;
}

/* -- all of it ------------------------------------------------------------ */

static bool names_root_disk(const char *cmdline)
{
	return cmdline && strstr(cmdline, "root=");
}

/* A kernel may have files of its own for a command to be found in; few have. */
static void warn_without_files(const struct options *options)
{
	bool found = !options->command || options->initrd_count ||
		     names_root_disk(options->cmdline);

	for (unsigned i = 0; i < options->devices.disk_count; i++)
		found = found || options->devices.disks[i].root;
	for (unsigned i = 0; i < options->append_count; i++)
		found = found || names_root_disk(options->append[i]);
	if (!found)
		log_warn("the command has no files in the guest but the "
			 "kernel's own: --disk root.img,root or an --initrd "
			 "gives it others");
}

static void put_archive(struct archive *a, const struct orders *orders)
{
	archive_begin_file(a, RUN_DIR, MODE_DIR, 0);
	archive_begin_file(a, RUN_INIT, MODE_RUN, archive_init_len);
	archive_put(a, archive_init, archive_init_len);
	archive_pad(a);
	archive_begin_file(a, RUN_FILE, MODE_TXT, orders->len);
	archive_put(a, orders->bytes, orders->len);
	archive_pad(a);
	archive_begin_file(a, "TRAILER!!!", 0, 0);
}

int archive_create(const struct options *options, const struct orders *orders)
{
	struct archive a = { .len = 0 };
	int error = 0, fd;

	warn_without_files(options);
	put_archive(&a, orders);
	a.bytes = malloc(a.len);
	if (!a.bytes)
		return log_errno("malloc");
	a.len = 0;
	a.files = 0;
	put_archive(&a, orders);
	fd = memfd_create("mote-command", MFD_CLOEXEC);
	if (fd < 0 || write(fd, a.bytes, a.len) != (ssize_t)a.len) {
		error = log_errno("memfd");
		if (fd >= 0)
			close(fd);
	}
	free(a.bytes);
	return error ? error : fd;
}
