/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: what is open for them, from the first to the last.
 *
 *	snapshot.c	opening, the end, closing
 *	take.c		one is taken
 *	restore.c	one is restored
 *	update.c	what a clone's run has shown is added to it
 *	parts.c		the table of what is saved and loaded
 *	memory.c	guest memory into the file
 *	learn.c		pages that are written anyway, ahead
 *	file.c		the file: header, records
 *
 * Owns the descriptors and the state's memory.
 */
#include "boot/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/options/words.h"
#include "boot/snapshot/memory.h"
#include "boot/snapshot/parts.h"
#include "boot/snapshot/restore.h"
#include "boot/snapshot/update.h"
#include "mem/log.h"
#include "mem/util.h"

/* What is zero is left alone: each start would touch its page. */
void snapshot_init(struct snapshot *s, const struct snapshot_machine *on)
{
	s->on = *on;
	s->committer.fd = s->committer.dir_fd = s->committer.channel = -1;
	s->pagemap_fd = s->parked_fd = s->restore_fd = -1;
	s->ready_vcpu = -1;
	s->patience.source.fd = -1;
}

bool snapshot_restores(const struct snapshot *s)
{
	return s->restores;
}

bool snapshot_keeps_orders(const struct snapshot *s)
{
	return snapshot_restores(s) ||
	       file_is_given(&s->on.options->snapshot.file);
}

/* While the directory is still the one that the paths are relative to. */
static int keep_words(struct snapshot *s)
{
	long len;

	s->words = snapshot_map(OPTIONS_WORDS_MAX, 0);
	if (!s->words)
		return log_errno("memory for a snapshot's words");
	len = options_save_words(s->on.options, s->words);
	if (len < 0)
		return (int)len;
	s->words_len = (size_t)len;
	return 0;
}

/* What is written in place is lost while memory comes from it. */
static int check_two_files(const struct snapshot *s)
{
	struct stat from, to;

	if (!snapshot_restores(s) || s->on.options->snapshot.file.path ||
	    fstat(s->restore_fd, &from) || fstat(s->committer.fd, &to) ||
	    from.st_dev != to.st_dev || from.st_ino != to.st_ino)
		return 0;
	log_error("--snapshot fd=%d: it is the file that is restored",
		  s->committer.fd);
	return -EINVAL;
}

static void read_boot_id(struct snapshot *s)
{
	const int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, s->boot_id, sizeof(s->boot_id)) != sizeof(s->boot_id))
		*s->boot_id = '\0';
	close(fd);
}

/* A file that learns replaces the one that it comes from, and no other. */
static struct committer_mark mark_of(const struct snapshot_header *header)
{
	struct committer_mark mark = { SNAPSHOT_ID_AT,
				       sizeof(header->id),
				       { 0 } };

	memcpy(mark.bytes, header->id, sizeof(header->id));
	return mark;
}

int snapshot_open(struct snapshot *s)
{
	const struct option_file *file = &s->on.options->snapshot.file;
	int error = snapshot_open_restore(s);

	if (!error && snapshot_keeps_orders(s))
		read_boot_id(s);
	if (s->on.options->restore.learn)
		file = &s->on.options->restore.file;
	else if (!error && file_is_given(file))
		error = keep_words(s);
	if (error || !file_is_given(file))
		return error;
	s->pagemap_fd = snapshot_memory_open();
	s->state = snapshot_map(SNAPSHOT_STATE_MAX, 0);
	if (!s->state)
		return log_errno("memory for a snapshot's state");
	s->words_are_ours = snapshot_words_are_trusted(s);
	error = committer_open(&s->committer,
			       s->on.options->restore.learn ? "--restore "
							    : "--snapshot ",
			       file);
	if (s->on.options->restore.learn)
		s->committer.mark = mark_of(&s->header);
	return error ? error : check_two_files(s);
}

unsigned snapshot_features(const struct snapshot *s)
{
	const struct options *o = s->on.options;

	return (file_is_given(&o->snapshot.file) ? FEATURE_SNAPSHOT : 0) |
	       (o->restore.learn ? FEATURE_LEARN : 0);
}

uint64_t snapshot_largest(const struct snapshot *s)
{
	uint64_t size = s->on.options->ram.size;

	if (s->on.options->restore.learn)
		return s->header.file_len + SNAPSHOT_STATE_MAX +
		       2 * SNAPSHOT_ALIGN;
	if (!file_is_given(&s->on.options->snapshot.file))
		return 0;
	if (snapshot_restores(s))
		size = s->header.mem_len;
	size += SNAPSHOT_STATE_MAX + 2 * SNAPSHOT_ALIGN;
	for (unsigned i = 0; i < s->on.devices->options->disk_count; i++)
		size += s->on.devices->disk[i].ephemeral
				? 2 * s->on.devices->disk[i].size
				: 0;
	return size;
}

/* Its status may be the guest's, which says nothing of a snapshot. */
static void warn_without(const struct snapshot *s)
{
	char room[FILE_NAME_BYTES];

	log_warn("--snapshot %s: none was taken: the guest ended %s",
		 file_name(&s->on.options->snapshot.file, room),
		 s->phase == SNAPSHOT_IDLE ? "before it was ready"
					   : "meanwhile");
}

void snapshot_end(struct snapshot *s)
{
	if (s->on.options->restore.learn)
		snapshot_update(s);
	/* Who has stopped it knows. */
	if (!s->on.guest->stopped &&
	    (s->phase == SNAPSHOT_PAUSES || s->phase == SNAPSHOT_ASKS ||
	     (s->on.guest->platform.on_ready.call && !s->ready_seen)))
		warn_without(s);
}

void snapshot_close(struct snapshot *s)
{
	if (s->patience.source.fd >= 0)
		loop_timer_destroy(&s->on.guest->loop, &s->patience);
	committer_close(&s->committer);
	if (s->parked_fd >= 0)
		close(s->parked_fd);
	if (s->pagemap_fd >= 0)
		close(s->pagemap_fd);
	s->parked_fd = s->pagemap_fd = -1;
}
