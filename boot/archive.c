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
#include "boot/archive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/command/protocol.h"
#include "mem/log.h"
#include "mem/util.h"

#define FIELDS	 13
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
	char tty[16]; /* rows and columns, or nothing */
};

static void put(struct archive *a, const void *from, size_t len)
{
	if (a->bytes)
		memcpy(a->bytes + a->len, from, len);
	a->len += len;
}

static void put_string(struct archive *a, const char *text)
{
	put(a, text, strlen(text) + 1);
}

static void pad(struct archive *a)
{
	static const char zeros[3];

	put(a, zeros, round_up(a->len, 4) - a->len);
}

static void begin_file(struct archive *a, const char *name, unsigned mode,
		       size_t size)
{
	/* user, group, time, devices and the check sum are 0 */
	const uint32_t fields[FIELDS] = {
		[0] = ++a->files,
		[1] = mode,
		[4] = 1, /* link */
		[6] = (uint32_t)size,
		[11] = (uint32_t)strlen(name) + 1,
	};
	char field[9];

	put(a, "070701", 6);
	for (size_t i = 0; i < FIELDS; i++) {
		snprintf(field, sizeof(field), "%08X", fields[i]);
		put(a, field, 8);
	}
	put_string(a, name);
	pad(a);
}

/* -- the command ---------------------------------------------------------- */

static void put_kind(struct archive *a, char kind, const char *text)
{
	put(a, &kind, 1);
	put_string(a, text);
}

/* One of them from `first` on says what `name` is. */
static bool has_env(const struct options *options, unsigned first,
		    const char *name, size_t len)
{
	for (unsigned i = first; i < options->env_count; i++) {
		const char *text = options->env[i];

		if (!strncmp(text, name, len) &&
		    (text[len] == '=' || (!text[len] && getenv(text))))
			return true;
	}
	return false;
}

static void put_env(struct archive *a, const char *name, const char *value)
{
	const char kind = RUN_ENV;

	put(a, &kind, 1);
	put(a, name, strlen(name));
	put(a, "=", 1);
	put_string(a, value);
}

static void put_envs(struct archive *a, const struct options *options)
{
	const char *term = getenv("TERM");
	const struct {
		const char *name, *value;
	} defaults[] = {
		{ "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
			  "/sbin:/bin" },
		{ "HOME", "/root" },
		{ "TERM", options->tty ? (term ? term : "linux") : NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		if (defaults[i].value && !has_env(options, 0, defaults[i].name,
						  strlen(defaults[i].name)))
			put_env(a, defaults[i].name, defaults[i].value);
	for (unsigned i = 0; i < options->env_count; i++) {
		const char *text = options->env[i];
		const char *value = getenv(text);

		/* The last one counts, as for env(1). */
		if (has_env(options, i + 1, text, strcspn(text, "=")))
			continue;
		if (strchr(text, '='))
			put_kind(a, RUN_ENV, text);
		else if (value)
			put_env(a, text, value);
	}
}

/* Asked once: it may change while the archive is written. */
static void get_size(struct archive *a)
{
	struct winsize size = { 0 };

	if (!ioctl(STDIN_FILENO, TIOCGWINSZ, &size) && size.ws_row)
		snprintf(a->tty, sizeof(a->tty), "%u %u", size.ws_row,
			 size.ws_col);
}

static void put_command(struct archive *a, const struct options *options,
			bool no_serial)
{
	for (char **word = options->command; *word; word++)
		put_kind(a, RUN_ARGUMENT, *word);
	put_envs(a, options);
	if (options->workdir)
		put_kind(a, RUN_WORKDIR, options->workdir);
	if (options->tty)
		put_kind(a, RUN_TTY, a->tty);
	if (no_serial)
		put_kind(a, RUN_NO_SERIAL, "");
}

/* -- all of it ------------------------------------------------------------ */

static bool names_root(const char *cmdline)
{
	return cmdline && strstr(cmdline, "root=");
}

/* A kernel may have files of its own for a command to be found in; few have. */
static void check_files(const struct options *options)
{
	bool found = !options->command || options->initrd_count ||
		     names_root(options->cmdline);

	for (unsigned i = 0; i < options->devices.disk_count; i++)
		found = found || options->devices.disks[i].root;
	for (unsigned i = 0; i < options->append_count; i++)
		found = found || names_root(options->append[i]);
	if (!found)
		log_warn("the command has no files in the guest but the "
			 "kernel's own: --disk root.img,root or an --initrd "
			 "gives it others");
}

static void put_all(struct archive *a, const struct options *options,
		    bool no_serial)
{
	struct archive command = *a;

	command.bytes = NULL;
	command.len = 0;
	put_command(&command, options, no_serial);
	begin_file(a, RUN_DIR, MODE_DIR, 0);
	begin_file(a, RUN_INIT, MODE_RUN, archive_init_len);
	put(a, archive_init, archive_init_len);
	pad(a);
	begin_file(a, RUN_FILE, MODE_TXT, command.len);
	put_command(a, options, no_serial);
	pad(a);
	begin_file(a, "TRAILER!!!", 0, 0);
}

int archive_create(const struct options *options, bool no_serial)
{
	struct archive a = { .len = 0 };
	int error = 0, fd;

	check_files(options);
	get_size(&a);
	put_all(&a, options, no_serial);
	a.bytes = malloc(a.len);
	if (!a.bytes)
		return log_errno("malloc");
	a.len = 0;
	a.files = 0;
	put_all(&a, options, no_serial);
	fd = memfd_create("mote-command", MFD_CLOEXEC);
	if (fd < 0 || write(fd, a.bytes, a.len) != (ssize_t)a.len) {
		error = log_errno("memfd");
		if (fd >= 0)
			close(fd);
	}
	free(a.bytes);
	return error ? error : fd;
}
