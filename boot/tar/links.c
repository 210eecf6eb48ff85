/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files with several names: a hash table with open addressing, of a fixed size.
 * Where it is full, a name more is packed as one more copy of the file.
 */
#include <string.h>

#include "boot/tar/pack.h"

#define LINKS_MAX (TAR_KEPT_MAX / 4 * 3) /* so that probes are short */

void links_begin(struct tar_work *work)
{
	if (work->has_kept)
		memset(work->kept.link, 0, sizeof(work->kept.link));
	work->has_kept = true;
	work->kept_count = 0;
	work->kept_used = 0;
}

/* The file's slot, or the empty one that it would have. */
static unsigned links_slot(const struct tar_work *work,
			   const struct stat *status)
{
	const uint64_t key = status->st_ino ^ (uint64_t)status->st_dev << 32;
	const struct tar_kept_link *link;
	/* Fibonacci hashing: neighbours are spread. */
	unsigned i = (unsigned)(key * 0x9e3779b97f4a7c15u >> 48);

	_Static_assert(TAR_KEPT_MAX == 1u << 16, "48 bits are shifted out");
	for (;; i = (i + 1) % TAR_KEPT_MAX) {
		link = &work->kept.link[i];
		if (!link->name || (link->ino == status->st_ino &&
				    link->dev == status->st_dev))
			return i;
	}
}

char *links_find(struct tar_work *work, const struct stat *status)
{
	const unsigned i = links_slot(work, status);
	const uint32_t name = work->kept.link[i].name;

	return name ? work->kept_names + name - 1 : NULL;
}

bool links_keep(struct tar_work *work, const struct stat *status,
		const char *name)
{
	const size_t len = tar_length(name) + 1;
	unsigned i;

	if (work->kept_count == LINKS_MAX ||
	    len > TAR_KEPT_NAMES - work->kept_used)
		return false;
	i = links_slot(work, status);
	work->kept.link[i] = (struct tar_kept_link){
		.dev = status->st_dev,
		.ino = status->st_ino,
		.name = (uint32_t)work->kept_used + 1,
	};
	memcpy(work->kept_names + work->kept_used, name, len);
	work->kept_used += len;
	work->kept_count++;
	return true;
}
