/* SPDX-License-Identifier: Apache-2.0 */
/* uses: boot/kernel.c boot/source.c boot/initrd.c mem/ram.c mem/pool.c */
/* uses: cpu/loop/format.c */
/*
 * Any bytes as a kernel, and then as the initrd of it where it was taken.
 * Besides what the sanitizers see: an error is one line, and what is said of a
 * loaded kernel is true. First inputs: corpus/kernel, made by seed_kernel.c.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/initrd.h"
#include "boot/kernel.h"
#include "boot/source.h"
#include "mem/log.h"
#include "mem/util.h"

#define RAM_SIZE (64ULL << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static unsigned errors, warnings;

/* In place of mem/log.c: formatted all the same, but not shown. */
#define COUNT_LOG(name, count)                                                 \
	void name(const char *format, ...)                                     \
	{                                                                      \
		char text[1024];                                               \
		va_list args;                                                  \
                                                                               \
		va_start(args, format);                                        \
		vsnprintf(text, sizeof(text), format, args);                   \
		va_end(args);                                                  \
		(count)++;                                                     \
	}
COUNT_LOG(log_error, errors)
COUNT_LOG(log_warn, warnings)

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_kernel(const struct kernel_image *image,
			 const struct ram *ram)
{
	uint64_t end = image->start.v + image->size;

	must(image->start.v >= SOURCE_LOW_END);
	must(ram_span(ram, image->start, image->size) != NULL);
	must(image->entry.v >= image->start.v && image->entry.v < end);
	must(image->setup_header_len <= sizeof(image->setup_header));
}

static void load_initrd(struct ram *ram, int fd,
			const struct kernel_image *image)
{
	const struct initrd_source list[] = { { fd, "first" },
					      { fd, "second" } };
	gpa floor = gpa_add(image->start, image->size);
	struct initrd initrd;
	int error = initrd_load(&initrd, ram, list, ARRAY_LEN(list), floor,
				image->initrd_max);

	/* What is no archive is named, and passed on: a guest may know it. */
	must(error <= 0 && errors == (error ? 1 : 0));
	must(warnings <= ARRAY_LEN(list));
	if (error)
		return;
	must(initrd.start.v >= floor.v && initrd.start.v % RAM_PAGE == 0);
	must(initrd.start.v + initrd.size - 1 <= image->initrd_max.v);
	must(ram_span(ram, initrd.start, initrd.size) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
	const struct ram_options options = { .size = RAM_SIZE };
	int fd = memfd_create("fuzz", MFD_CLOEXEC), error;
	struct kernel_image image;
	struct ram ram;

	must(fd >= 0 && write(fd, bytes, len) == (ssize_t)len);
	must(!ram_create(&ram, &options));
	errors = warnings = 0;
	error = kernel_load(&image, &ram, fd, "fuzz", len % 2);
	must(error <= 0 && errors == (error ? 1 : 0) && !warnings);
	if (!error) {
		check_kernel(&image, &ram);
		load_initrd(&ram, fd, &image);
	}
	ram_destroy(&ram);
	close(fd);
	return 0;
}
