/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks a stream: an entry after the other, from its headers (entry.c) to a
 * file (make.c). See README.md for which.
 *
 * It trusts nothing that the stream says. It does trust that nobody else works
 * in the directory: one who does cannot lead it out of there, but may get in
 * its way. One thread; the caller's.
 */
#include <errno.h>
#include <fcntl.h>

#include "boot/tar/sys.h"
#include "boot/tar/unpack.h"

/* What the next entry would not have more luck with. */
static bool is_fatal(long error)
{
	static const int fatal[] = { ENOSPC, EDQUOT, EROFS, EIO,
				     ENOMEM, EMFILE, ENFILE };

	for (size_t i = 0; i < sizeof(fatal) / sizeof(*fatal); i++)
		if (error == -fatal[i])
			return true;
	return false;
}

/* 0, or what ends it all. */
static long unpack_entry(struct unpacker *u, const struct tar_entry *entry)
{
	const char *why = u->bad;
	bool absolute = false;
	long error = 0;

	if (!why && !place_clean(entry->name, &absolute))
		why = "a name with .. in it is not unpacked";
	if (absolute && !(u->once & ONCE_ABSOLUTE)) {
		u->once |= ONCE_ABSOLUTE;
		tar_warn(&u->report,
			 "unpacked without the / that it begins "
			 "with, as all others are",
			 entry->name, 0);
	}
	if (!why)
		error = make_entry(u, entry);
	if (u->cut)
		return u->cut;
	if (is_fatal(error))
		return tar_fail(&u->report, "cannot unpack", entry->name,
				error);
	if (why || error)
		tar_lack(&u->report, why ? why : "cannot unpack", entry->name,
			 error);
	return in_end(u, tar_padding(entry->size));
}

static void unpack_begin(struct unpacker *u)
{
	struct stat top = { .st_ino = 0 }, root = top;

	u->is_root = !SYS(fstat, u->dir_fd, &top) && !SYS(stat, "/", &root) &&
		     top.st_dev == root.st_dev && top.st_ino == root.st_ino;
	u->work->has_kept = true;
	u->work->kept_count = 0;
	u->work->kept_used = 0;
}

long tar_unpack(int dir_fd, const struct tar_options *options, tar_read *read,
		void *arg)
{
	struct unpacker u = { .report = { .options = options },
			      .work = options->work,
			      .read = read,
			      .arg = arg,
			      .dir_fd = dir_fd,
			      .parent = -1 };
	const long mask = SYS(umask, 0); /* modes are the stream's */
	struct tar_entry entry;
	long result;

	unpack_begin(&u);
	while ((result = entry_next(&u, &entry)) > 0) {
		result = unpack_entry(&u, &entry);
		if (result)
			break;
	}
	make_finish(&u);
	place_forget(&u);
	SYS(umask, mask);
	if (!result)
		result = in_drain(&u);
	return result ? result : u.report.incomplete ? TAR_INCOMPLETE : 0;
}
