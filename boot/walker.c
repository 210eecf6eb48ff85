/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walkers. Mote cannot read files once it is locked in, nor should what looks
 * at a tree that others made have a guest's memory beside it. So a --put is
 * read by a process of its own, which has two descriptors: the tree, and a
 * socket to mote. Each message on that says by its first byte what it is
 * (cpu/command/transfer.h). The socket takes a few of them, and then the walker
 * waits until the guest has unpacked: nothing piles up.
 *
 * What it may do is the jail's (seccomp/jail.h, jail_enter_walker) and the
 * filter's: open for reading, look, read. It ends with the tree, or with mote,
 * when there is nobody to write to.
 *
 * Trusts nothing in the tree: boot/tar does not, either. Owns nothing.
 */
#include "boot/walker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "boot/tar/tar.h"
#include "mem/log.h"

struct walker {
	const struct transfer *put;
	bool keeps_stderr;
	const struct thread_hook *hook;
};

/* -- in the walker --------------------------------------------------------- */

static bool send_message(char type, const void *bytes, size_t len)
{
	const struct iovec parts[] = { { &type, 1 }, { (void *)bytes, len } };

	return writev(HELPER_CHANNEL, parts, 2) == (ssize_t)len + 1;
}

static long send_stream(void *arg, const void *bytes, size_t len)
{
	const char *at = bytes;
	size_t part;

	(void)arg;
	for (; len; at += part, len -= part) {
		part = len < PROTOCOL_CHUNK ? len : PROTOCOL_CHUNK;
		if (!send_message(TRANSFER_BYTES, at, part))
			return -EPIPE;
	}
	return 0;
}

static void send_text(char type, const char *why, const char *name, long error)
{
	char text[512];
	int len =
		snprintf(text, sizeof(text), "%s%s%.400s%s%s", why,
			 name ? ": " : "", name ? name : "", error ? ": " : "",
			 error ? strerror((int)-error) : "");

	send_message(type, text,
		     len < (int)sizeof(text) ? (size_t)len : sizeof(text) - 1);
}

static void send_warning(void *arg, const char *why, const char *name,
			 long error)
{
	(void)arg;
	send_text(TRANSFER_WARN, why, name, error);
}

/* What it has of mote's memory is taken before the hook. */
static void run_walker(const void *arg, int channel)
{
	const struct walker *w = arg;
	const struct transfer_options *o = w->put->options;
	const char *slash = strrchr(o->file.path, '/');
	char name[256];
	struct tar_options options = {
		.keep_owner = o->owner == TRANSFER_OWNER_KEEP,
		.warn = send_warning,
	};
	struct stat status = { 0 };
	long error;

	snprintf(name, sizeof(name), "%s", slash ? slash + 1 : o->file.path);
	if (!helper_take(channel, &w->put->tree_fd, 1, w->keeps_stderr))
		_exit(1);
	options.work = mmap(NULL, TAR_WORK_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	error = options.work == MAP_FAILED || fstat(WALKER_TREE, &status)
			? -errno
			: 0;
	if (!error && w->hook->enter)
		error = w->hook->enter(w->hook->arg, 0);
	if (!error)
		error = S_ISDIR(status.st_mode)
				? tar_pack(WALKER_TREE, ".", &options,
					   send_stream, NULL)
				: tar_pack_file(WALKER_TREE, name, &options,
						send_stream, NULL);
	if (error < 0)
		send_text(TRANSFER_ERROR, "cannot be read", NULL, error);
	else
		send_message(TRANSFER_END, "", 0);
	_exit(0);
}

/* -- in mote --------------------------------------------------------------- */

static int start_walker(struct transfers *t, unsigned i, bool keeps_stderr,
			const struct thread_hook *hook)
{
	const struct walker walker = { &t->put[i], keeps_stderr, hook };
	const struct helper helper = {
		.name = "mote walker",
		.keeps_stderr = keeps_stderr,
		.run = run_walker,
		.arg = &walker,
	};
	int fd, child = helper_start(&helper, &fd);

	if (child < 0)
		return child;
	log_info("walker: process %d reads --put %s", child,
		 t->put[i].options->file.path);
	return transfers_set_walker(t, i, fd);
}

int walker_start_all(struct transfers *t, bool keeps_stderr,
		     const struct thread_hook *hook)
{
	int error = 0;

	/* Who has sent all of it ends, and the guest may run for days. */
	signal(SIGCHLD, SIG_IGN);
	for (unsigned i = 0; i < t->put_count && !error; i++)
		if (t->put[i].tree_fd >= 0)
			error = start_walker(t, i, keeps_stderr, hook);
	return error;
}
