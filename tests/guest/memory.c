/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads e820 and uses RAM: each range is checked against its neighbours, and
 * the first page, the last page and a page every 16 MiB, or every step= bytes,
 * of every usable range above 1 MiB is written with its own address and, when
 * all are, read back, so that two addresses for one page are found.
 */
#include "tests/guest/guest.h"

#define STEP (16U << 20)
#define PAGE 4096ULL

static unsigned step;

struct range {
	uint64_t start, size;
	uint32_t type;
};

static struct range range_at(const uint8_t *boot_params, unsigned i)
{
	const uint8_t *at = boot_params + BP_E820 + i * E820_ENTRY_SIZE;

	return (struct range){ get64(at), get64(at + 8), get32(at + 16) };
}

/* Calls `visit` for the pages to test of every usable range; their number. */
static unsigned long each_page(const uint8_t *boot_params,
			       void (*visit)(uint64_t at))
{
	unsigned long pages = 0;

	for (unsigned i = 0; i < boot_params[BP_E820_ENTRIES]; i++) {
		struct range range = range_at(boot_params, i);
		uint64_t at = range.start, end = range.start + range.size;

		if (range.type != E820_RAM || end <= (1u << 20))
			continue;
		if (at < (uintptr_t)image_end) /* not over ourselves */
			at = ((uintptr_t)image_end + PAGE - 1) & -PAGE;
		for (; at < end; at += step, pages++)
			visit(at);
		visit(end - PAGE);
	}
	return pages;
}

static void mark(uint64_t at)
{
	*(volatile uint64_t *)at_physical(at) = at;
	*(volatile uint64_t *)at_physical(at + PAGE - 8) = ~at;
}

static void check(uint64_t at)
{
	if (*(volatile uint64_t *)at_physical(at) != at ||
	    *(volatile uint64_t *)at_physical(at + PAGE - 8) != ~at)
		fail("the page at %lx lost what was written",
		     (unsigned long)at);
}

void guest_main(const uint8_t *boot_params)
{
	uint64_t usable = 0, last = 0;
	unsigned count = boot_params[BP_E820_ENTRIES];
	unsigned long pages;

	step = cmdline_number("step", STEP);
	if (!count || count > 128)
		fail("%u entries in e820", count);
	for (unsigned i = 0; i < count; i++) {
		struct range range = range_at(boot_params, i);

		print("e820 %012lx-%012lx type %u\n",
		      (unsigned long)range.start,
		      (unsigned long)(range.start + range.size), range.type);
		if (range.start < last || !range.size ||
		    range.start + range.size < range.start)
			fail("e820 entry %u overlaps or wraps", i);
		last = range.start + range.size;
		if (range.type == E820_RAM)
			usable += range.size;
	}
	map_memory(last < (1ULL << 32) ? 1ULL << 32 : last);
	pages = each_page(boot_params, mark);
	each_page(boot_params, check);
	print("usable %lu KiB, %lu pages tried\n",
	      (unsigned long)(usable >> 10), pages);
}
