/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --restore PATH,learn: at the end PATH is replaced by a copy of itself that
 * says besides which pages were written (learn.c has them ready sooner, then).
 */
#include "boot/snapshot/update.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "boot/snapshot/memory.h"
#include "boot/snapshot/parts.h"
#include "mem/log.h"
#include "mem/util.h"

/* A file that is not whole in that time is not learned from. */
#define LEARN_NS      60000000000ULL
#define LEARN_LOOK_MS 50 /* so often is looked who may have had enough */

/* And for the committer, which may have a disk to wait for. */
#define PATIENCE_NS 10000000000ULL

/* Who has told mote to stop, or set a limit, does not wait for it. */
static int learning_error(struct snapshot *s)
{
	guest_answer(s->on.guest);
	if (s->on.guest->stopped)
		return -ECANCELED;
	return loop_now() - s->began_ns < LEARN_NS ? 0 : -ETIMEDOUT;
}

static int copy_part(struct snapshot *s, uint64_t from, uint64_t to,
		     uint64_t len)
{
	uint64_t at = 0, step;
	int error = 0;

	for (; at < len && !error; at += step) {
		step = len - at;
		if (step > SNAPSHOT_MEMORY_STEP)
			step = SNAPSHOT_MEMORY_STEP;
		error = learning_error(s);
		if (!error)
			error = learn_copy(s->restore_fd, from + at,
					   s->committer.fd, to + at, step);
	}
	return error;
}

/*
 * The new file is its maker's: there words that were not to be trusted would
 * be.
 */
static void drop_strange_words(struct snapshot *s)
{
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !s->words_are_ours; i++)
		if (s->header.area[i].kind == SNAPSHOT_AREA_WORDS)
			s->header.area[i].len = 0;
}

static int write_learned(struct snapshot *s)
{
	const struct snapshot_header old = s->header;
	const int fd = s->committer.fd;
	int error;

	if (!snapshot_parts_save_learned(s))
		return -ENOBUFS;
	drop_strange_words(s);
	snapshot_header_place(&s->header);
	/* The last byte makes it as long as it is to be, all holes. */
	error = snapshot_write(fd, "", 1, s->header.file_len - 1);
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !error; i++)
		error = copy_part(s, old.area[i].off, s->header.area[i].off,
				  s->header.area[i].len);
	if (!error)
		error = copy_part(s, old.mem_off, s->header.mem_off,
				  old.mem_len);
	return error ? error
		     : snapshot_header_write(&s->header, s->state, fd, false);
}

static int await_committed(struct snapshot *s)
{
	struct pollfd answer = { s->committer.channel, POLLIN, 0 };
	int error;

	do
		error = learning_error(s);
	while (!error && !poll(&answer, 1, LEARN_LOOK_MS));
	return error ? error : committer_answer(&s->committer);
}

void snapshot_update(struct snapshot *s)
{
	int error;

	signals_last_resort(LEARN_NS + PATIENCE_NS);
	s->began_ns = loop_now();
	error = learning_error(s);
	if (!error)
		error = write_learned(s);
	if (!error)
		error = committer_commit(&s->committer, true);
	if (!error)
		error = await_committed(s);
	if (error)
		log_warn("snapshot %s: nothing was learned: %s", s->name,
			 error == -ESTALE ? "another file has its name by now"
					  : strerror(-error));
}
