/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The initrd.
 *
 * "Arbitrary amounts zero bytes (for padding) can be added between members"
 * (Documentation/driver-api/early-userspace/buffer-format.rst). So each archive
 * starts on a page of its own, which lets ram_load map all of them instead of
 * reading any; the zeros between are RAM's own. The contents are the guest
 * kernel's business; what is certainly none for Linux is warned of. Owns no
 * descriptor but copies of streams (boot/source.c). Main thread, before the
 * vCPUs run.
 */
#include "boot/initrd.h"

#include <errno.h>

#include "boot/source.h"
#include "cpu/loop/format.h"
#include "mem/log.h"
#include "mem/util.h"

struct archives {
	struct source source[INITRD_SOURCES_MAX];
	unsigned count; /* opened */
	uint64_t total; /* bytes, each archive in whole pages */
};

static int open_archives(struct archives *all, const struct ram *ram,
			 const struct initrd_source *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct source *source = &all->source[i];
		int error = source_open(source, "initrd", list[i].fd,
					list[i].name, ram->size);

		if (error)
			return error;
		all->count++;
		/* Keeps the sum far from wrapping: this is over the limit. */
		if (source->size > RAM_GAP_START)
			return source_error(source, -ENOMEM,
					    "has %llu MiB, more than the 3 "
					    "GiB that an initrd can have; give "
					    "it with --disk",
					    (unsigned long long)source->size >>
						    20);
		all->total += round_up(source->size, RAM_PAGE);
	}
	return 0;
}

/*
 * Linux takes an initrd that is compressed, and one that is a disk's image; of
 * these it takes none, and panics much later. Other kernels may.
 */
static void warn_of_no_archive(const struct source *source,
			       const struct ram *ram, gpa at)
{
	static const char *const mend[FORMAT_KINDS] = {
		[FORMAT_DISK_IMAGE] = "make it raw (qemu-img convert -O raw) "
				      "and give it with --disk PATH,root",
		[FORMAT_PACKAGE] = "unpack it, and make a cpio archive of it",
		[FORMAT_TAR] = "make a cpio archive of it: unpack it there, "
			       "and find . | cpio -o -H newc",
	};
	const struct format *format = NULL;
	char head[512];

	/* In RAM it is by now: that takes no system call. */
	if (source->size >= sizeof(head) &&
	    !ram_read(ram, head, at, sizeof(head)))
		format = format_find(head, sizeof(head));
	if (format && mend[format->kind])
		log_warn("initrd %.200s: is %s, which Linux does not take; %s",
			 source->name, format->is, mend[format->kind]);
}

static void close_archives(struct archives *all)
{
	while (all->count)
		source_close(&all->source[--all->count]);
}

/* The first byte that the initrd may not take, and page-aligned. */
static uint64_t find_initrd_top(uint64_t low_ram, gpa limit)
{
	return (limit.v < low_ram ? limit.v + 1 : low_ram) & ~(RAM_PAGE - 1);
}

static int place_archives(gpa *start, const struct archives *all,
			  const struct ram *ram, gpa floor, gpa limit)
{
	const struct source *first = &all->source[0];
	const char *more = all->count > 1 ? " with those after it" : "";
	uint64_t top = find_initrd_top(ram->region[0].size, limit);
	uint64_t highest = find_initrd_top(RAM_GAP_START, limit);
	uint64_t bottom = floor.v < RAM_GAP_START ? round_up(floor.v, RAM_PAGE)
						  : RAM_GAP_START;
	uint64_t kib = all->total >> 10;

	if (bottom <= top && all->total <= top - bottom) {
		*start = GPA(top - all->total);
		return 0;
	}
	if (bottom > highest || all->total > highest - bottom)
		return source_error(first, -ENOMEM,
				    "needs %llu KiB%s, and this kernel takes "
				    "an initrd from 0x%llx to 0x%llx only; "
				    "make it smaller or give it with --disk",
				    (unsigned long long)kib, more,
				    (unsigned long long)bottom,
				    (unsigned long long)highest);
	return source_error(
		first, -ENOMEM,
		"needs %llu KiB%s, and RAM has %llu KiB for it "
		"above the kernel; give --memory %lluM or more",
		(unsigned long long)kib, more,
		(unsigned long long)(bottom < top ? top - bottom : 0) >> 10,
		(unsigned long long)source_memory(bottom + all->total));
}

int initrd_load(struct initrd *out, struct ram *ram,
		const struct initrd_source *list, unsigned count, gpa floor,
		gpa limit)
{
	struct archives all = { .count = 0 };
	gpa at = GPA(0);
	int error;

	*out = (struct initrd){ .size = 0 };
	if (!count)
		return 0;
	if (count > INITRD_SOURCES_MAX) {
		log_error("%u initrds are more than %u; concatenate some of "
			  "them into one file",
			  count, INITRD_SOURCES_MAX);
		return -E2BIG;
	}
	error = open_archives(&all, ram, list, count);
	if (!error)
		error = place_archives(&at, &all, ram, floor, limit);
	if (error)
		goto out;
	out->start = at;
	for (unsigned i = 0; !error && i < all.count; i++) {
		uint64_t size = all.source[i].size;

		error = source_load(&all.source[i], ram, at, 0, size, false);
		if (!error)
			warn_of_no_archive(&all.source[i], ram, at);
		out->size = at.v + size - out->start.v;
		at = gpa_add(at, round_up(size, RAM_PAGE));
	}
	if (error)
		*out = (struct initrd){ .size = 0 };
out:
	close_archives(&all);
	return error;
}
