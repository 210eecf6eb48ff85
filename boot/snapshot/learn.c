/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Learned pages. What is loaded is hostile, but can do no more than what the
 * guest may: make pages of its own memory its own. Owns the thread, which is
 * over before any thread's own filter is loaded.
 */
#include "boot/snapshot/learn.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/util.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14; older headers lack it */
#define MADV_POPULATE_WRITE 23
#endif

void learned_load(struct learned *l, uint64_t size, struct state *s)
{
	uint64_t end = 0;

	l->runs = s->bytes + s->at;
	l->count = (s->len - s->at) / LEARN_RUN_BYTES;
	for (size_t i = 0; i < l->count && !s->wrong; i++) {
		uint32_t first, count;

		state_u32(s, &first);
		state_u32(s, &count);
		state_check(s, count && first >= end, "they are in no order");
		end = (uint64_t)first + count;
		state_check(s, end <= size / RAM_PAGE,
			    "they are beyond its memory");
	}
}

static void populate(void *arg)
{
	const struct learned *l = arg;

	for (size_t i = 0; i < l->count; i++) {
		const uint8_t *run = l->runs + i * LEARN_RUN_BYTES;

		if (madvise(l->ram->region[0].host + get_le32(run) * RAM_PAGE,
			    get_le32(run + 4) * RAM_PAGE, MADV_POPULATE_WRITE))
			return;
	}
}

void learned_begin(struct learned *l, const struct ram *ram)
{
	l->ram = ram;
	l->thread =
		(struct thread){ .name = "learned", .run = populate, .arg = l };
	if (l->count)
		thread_start(&l->thread);
}

void learned_end(struct learned *l)
{
	thread_join(&l->thread);
	l->count = 0;
}

/* Some of it, as copy_file_range; where the host cannot that, by hand. */
static ssize_t copy_some(int from, off_t from_off, int to, off_t to_off,
			 size_t len)
{
	static uint8_t bytes[65536]; /* untouched where it is not used */
	ssize_t n = copy_file_range(from, &from_off, to, &to_off, len, 0);

	if (n > 0)
		return n;
	n = pread(from, bytes, len < sizeof(bytes) ? len : sizeof(bytes),
		  from_off);
	return n > 0 ? pwrite(to, bytes, (size_t)n, to_off) : n;
}

int learn_copy(int from, uint64_t from_off, int to, uint64_t to_off,
	       uint64_t len)
{
	const off_t end = (off_t)(from_off + len);
	off_t at = (off_t)from_off, hole = at;

	for (;;) {
		ssize_t n;

		if (at == hole) {
			at = lseek(from, at, SEEK_DATA);
			if (at < 0 && errno != ENXIO)
				return -errno;
			if (at < 0 || at >= end)
				return 0;
			hole = lseek(from, at, SEEK_HOLE);
			if (hole < 0 || hole > end)
				hole = end;
		}
		n = copy_some(from, at, to,
			      at - (off_t)from_off + (off_t)to_off,
			      (size_t)(hole - at));
		if (n <= 0)
			return n ? -errno : -ENODATA;
		at += n;
	}
}
