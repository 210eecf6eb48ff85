/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory into a snapshot's file.
 *
 * A page that the host does not have, neither present nor swapped (bits 63 and
 * 62 of its entry: Linux, Documentation/admin-guide/mm/pagemap.rst), is zero,
 * unless a file is mapped there: reading such a page brings it. To read those
 * that nobody has would make page tables for all of memory, and take longer
 * than all the rest. What the host has is written, but for pages of zeros.
 *
 * Owns nothing. The loop's thread, while the vCPUs are parked.
 */
#include "boot/snapshot/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "boot/snapshot/file.h"
#include "boot/snapshot/learn.h"
#include "mem/util.h"

#define PAGEMAP_HAS  (3ULL << 62) /* present, swapped */
#define PAGEMAP_FILE (1ULL << 61) /* and a file's, or shared */
#define ENTRIES	     512u	  /* of pagemap, at once: 2 MiB of memory */

int snapshot_memory_open(void)
{
	return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

static bool is_mapped(const struct ram *ram, uint64_t at)
{
	for (unsigned i = 0; i < ram->mapping_count; i++)
		if (at >= ram->mapping[i].start && at < ram->mapping[i].end)
			return true;
	return false;
}

static bool page_is_zero(const uint8_t *page)
{
	static uint8_t zeros[RAM_PAGE]; /* never written */

	return !memcmp(page, zeros, sizeof(zeros));
}

/* The entries of `count` pages from `at` on; all set where they are unknown. */
static void read_entries(const struct ram *ram, int pagemap_fd, uint64_t at,
			 uint64_t *entries, size_t count)
{
	const uintptr_t address = (uintptr_t)ram->region[0].host + at;
	const ssize_t len = (ssize_t)(count * sizeof(*entries));

	if (pagemap_fd >= 0 &&
	    pread(pagemap_fd, entries, (size_t)len,
		  (off_t)(address / RAM_PAGE * sizeof(*entries))) == len)
		return;
	memset(entries, 0xff, (size_t)len);
}

/* Runs of pages that are not zero, one write for each. */
static int write_runs(const struct ram *ram, const uint64_t *entries,
		      size_t count, int fd, uint64_t off, uint64_t at)
{
	const uint8_t *host = ram->region[0].host + at;
	size_t first = 0;
	int error = 0;

	for (size_t i = 0; i <= count && !error; i++) {
		const bool kept = i < count &&
				  (entries[i] & PAGEMAP_HAS ||
				   is_mapped(ram, at + i * RAM_PAGE)) &&
				  !page_is_zero(host + i * RAM_PAGE);

		if (kept)
			continue;
		if (i > first)
			error = snapshot_write(fd, host + first * RAM_PAGE,
					       (i - first) * RAM_PAGE,
					       off + at + first * RAM_PAGE);
		first = i + 1;
	}
	return error;
}

int snapshot_memory_write(const struct ram *ram, int pagemap_fd, int fd,
			  uint64_t off, uint64_t *at)
{
	static uint64_t entries[ENTRIES];
	uint64_t end = *at + SNAPSHOT_MEMORY_STEP;
	int error = 0;

	if (end > ram->size)
		end = ram->size;
	while (*at < end && !error) {
		size_t count = (size_t)((end - *at) / RAM_PAGE);

		if (count > ENTRIES)
			count = ENTRIES;
		read_entries(ram, pagemap_fd, *at, entries, count);
		error = write_runs(ram, entries, count, fd, off, *at);
		if (!error)
			*at += count * RAM_PAGE;
	}
	return error;
}

void snapshot_memory_written(const struct ram *ram, int pagemap_fd,
			     struct state *s)
{
	static uint64_t entries[ENTRIES];
	const uint64_t pages = ram->size / RAM_PAGE;
	uint32_t first = 0, runs = 0;

	for (uint64_t i = 0; i <= pages && runs < LEARN_RUNS_MAX; i++) {
		const uint64_t left = pages - i;
		uint64_t *entry = &entries[i % ENTRIES];
		uint32_t count;

		if (left && entry == entries)
			read_entries(ram, pagemap_fd, i * RAM_PAGE, entries,
				     left < ENTRIES ? (size_t)left : ENTRIES);
		if (left && *entry & PAGEMAP_HAS && !(*entry & PAGEMAP_FILE))
			continue;
		count = (uint32_t)i - first;
		if (count) {
			state_u32(s, &first);
			state_u32(s, &count);
			runs++;
		}
		first = (uint32_t)i + 1;
	}
}
