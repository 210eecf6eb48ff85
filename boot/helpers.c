/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the processes beside mote's (cpu/loop/helper.h), each with what it may
 * do: its jail, then its filter, which it enters by itself, in a hook of who
 * runs there. None has more of mote than what it was forked with, and it drops
 * most of that.
 *
 * Main thread, before the sandbox closes in. Owns nothing.
 */
#include "boot/helpers.h"

#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "boot/walker.h"
#include "cpu/loop/broker.h"
#include "mem/ram.h"

struct helper_setup {
	const struct helpers *helpers;
	unsigned files; /* its user for these */
};

static bool is_locked(const struct helpers *h)
{
	return h->sandbox != SANDBOX_OFF;
}

static bool keeps_stderr(const struct helpers *h)
{
	return h->sandbox == SANDBOX_LOG;
}

/* -- in one of them -------------------------------------------------------- */

static void forget_mote(const struct helpers *h)
{
	const uintptr_t at = (uintptr_t)h->memory;
	const uintptr_t from = (at | (RAM_PAGE - 1)) + 1;
	const uintptr_t to = (at + h->memory_len) & ~(RAM_PAGE - 1);

	/* Each page would be here twice as soon as mote writes to it. */
	madvise((void *)from, to - from, MADV_DONTNEED);
}

static int enter_helper(const struct helper_setup *s, enum filter_thread kind)
{
	const int error = jail_enter_broker(s->helpers->jail, s->files);

	forget_mote(s->helpers);
	return error ? error : filter_load(kind, 0, &s->helpers->filter);
}

static int enter_broker(void *arg, unsigned number)
{
	(void)number;
	return enter_helper(arg, FILTER_BROKER);
}

static int enter_committer(void *arg, unsigned number)
{
	(void)number;
	return enter_helper(arg, FILTER_COMMITTER);
}

static int enter_walker(void *arg, unsigned number)
{
	const struct helpers *h = ((const struct helper_setup *)arg)->helpers;
	struct filter_options filter = h->filter;
	struct stat status;
	int error = jail_enter_walker(h->jail, WALKER_TREE);

	(void)number;
	forget_mote(h);
	/* One that has a file only may open no other. */
	filter.features =
		!fstat(WALKER_TREE, &status) && S_ISDIR(status.st_mode)
			? FEATURE_TREE
			: 0;
	return error ? error : filter_load(FILTER_WALKER, 0, &filter);
}

/* -- in mote --------------------------------------------------------------- */

/* It gets the sockets' directories; without these there is none. */
int helpers_start_broker(const struct helpers *h, struct vsock *vsock,
			 struct unixsock *serial, int *broker_fd)
{
	struct helper_setup setup = { h, 0 };
	const struct broker_options options = {
		.file = { vsock ? vsock_file(vsock) : NULL, serial },
		.dials = vsock && vsock_dials(vsock),
		.keeps_stderr = keeps_stderr(h),
		.hook = { is_locked(h) ? enter_broker : NULL, &setup },
	};
	int error;

	if (is_locked(h))
		setup.files = jail_socket_user(
			h->jail, options.dials ? options.file[0] : serial,
			options.dials);
	error = broker_start(&options, broker_fd);
	if (!error && vsock)
		vsock_set_broker(vsock, *broker_fd);
	return error;
}

int helpers_start_committer(const struct helpers *h, struct committer *c)
{
	struct helper_setup setup = { h, 0 };
	const struct thread_hook hook = { is_locked(h) ? enter_committer : NULL,
					  &setup };

	if (c->dir_fd < 0)
		return 0;
	setup.files = jail_directory_user(h->jail, c->dir_fd);
	return committer_start(c, keeps_stderr(h), &hook);
}

int helpers_start_walkers(const struct helpers *h, struct transfers *transfers)
{
	struct helper_setup setup = { h, 0 };
	const struct thread_hook hook = { is_locked(h) ? enter_walker : NULL,
					  &setup };

	return walker_start_all(transfers, keeps_stderr(h), &hook);
}
