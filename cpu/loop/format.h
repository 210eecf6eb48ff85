/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file is that was named as something else: by its first bytes.
 */
#ifndef CPU_LOOP_FORMAT_H
#define CPU_LOOP_FORMAT_H

#include <stddef.h>

/* Bytes of a file that all signs lie in. */
#define FORMAT_HEAD 4096

/* What can be done with it. */
enum format_kind {
	FORMAT_PACKED,	   /* decompressed, by `tool` */
	FORMAT_OTHER_CPU,  /* nothing: code that x86-64 does not run */
	FORMAT_CPIO,	   /* an initrd */
	FORMAT_DISK_IMAGE, /* a disk, made raw by qemu-img */
	FORMAT_DISK,	   /* a disk, as it is */
	FORMAT_PACKAGE,	   /* taken apart */
	FORMAT_TAR,	   /* unpacked, and made a disk or an initrd */
	FORMAT_PROGRAM,	   /* run, but not as a kernel */
	FORMAT_KINDS
};

struct format {
	enum format_kind kind;
	size_t offset, len; /* of `bytes`, in the file */
	const char *bytes;
	const char *is;	  /* "a gzip file" */
	const char *tool; /* "gzip -dc"; NULL where there is none */
};

/* What begins with these `len` bytes; NULL where none of the signs is there. */
const struct format *format_find(const void *head, size_t len);

#endif
