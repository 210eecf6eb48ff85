/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that the user gave to boot from: a kernel or one archive of the
 * initrd, by path or as fd=N. Opened by the caller, measured here, and read at
 * any offset. Whatever fails is logged here, as "kernel NAME: ...".
 */
#ifndef BOOT_SOURCE_H
#define BOOT_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem/ram.h"

#define SOURCE_LOW_END 0x100000ULL /* below it are mote's own tables: 1 MiB */

struct source {
	int fd;		  /* seekable; the caller's unless `copied` */
	bool copied;	  /* fd is a copy in memory, closed by source_close */
	const char *what; /* "kernel", "initrd"; both names are borrowed */
	const char *name; /* as the user wrote it */
	uint64_t size;	  /* bytes, not 0 once opened */
};

/*
 * A pipe, a terminal and whatever else has no size is first copied to memory,
 * up to its end; more than `most` bytes are -EFBIG. Other errors: -EISDIR,
 * -ENODATA (empty), or of the system call. Nothing to close after an error.
 */
int source_open(struct source *source, const char *what, int fd,
		const char *name, uint64_t most);
void source_close(struct source *source);

/* Copy bytes [offset, offset + len) out; -ENODATA where the file is shorter. */
int source_read(const struct source *source, void *to, uint64_t offset,
		size_t len);

/* ram_load from this file. The range was checked with source_check_range. */
int source_load(const struct source *source, struct ram *ram, gpa at,
		uint64_t offset, uint64_t len, bool copy);

/*
 * Whether [at, at + len), `len` not 0, is RAM that a kernel may be put in: at
 * 1 MiB or above and below the gap. Else -EINVAL, or -ENOMEM where more RAM
 * would do: the smallest --memory is in the message. `part` names the range.
 */
int source_check_range(const struct source *source, const struct ram *ram,
		       gpa at, uint64_t len, const char *part);

/* The smallest --memory, in MiB, that has RAM up to `end`, at most 3 GiB. */
uint64_t source_memory(uint64_t end);

/* Log "WHAT NAME: format..." and return `error`. */
int source_error(const struct source *source, int error, const char *format,
		 ...) __attribute__((format(printf, 3, 4)));

#endif
