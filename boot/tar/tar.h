/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees of files as tar streams, both ways: POSIX's pax interchange format
 * (IEEE Std 1003.1-2017, pax, "EXTENDED DESCRIPTION"), with sparse files as GNU
 * tar's format 1.0 has them and extended attributes as SCHILY.xattr.NAME.
 * boot/tar/README.md says more. Freestanding: the guest's init has no libc.
 */
#ifndef BOOT_TAR_TAR_H
#define BOOT_TAR_TAR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * All the memory that packing or unpacking uses but for a few KiB of stack:
 * so many bytes, the caller's, of any alignment that mmap(2) or brk(2) gives.
 * They are zeros at first, and then as the last call left them. What is not
 * needed is not touched: a tree of plain files costs some 300 KiB.
 */
#define TAR_WORK_BYTES (12ul << 20)
struct tar_work;

/*
 * tar_write takes all of the bytes: 0, or -errno, which ends the packing.
 * tar_read: bytes read, 1 to `room`; 0: the stream's end; or -errno.
 * Both get up to 256 KiB at a time.
 */
typedef long tar_write(void *arg, const void *bytes, size_t len);
typedef long tar_read(void *arg, void *to, size_t room);

struct tar_options {
	/*
	 * Owners are packed, and taken from the stream. Without, all is packed
	 * as root's and unpacked as the process's own, and what is not root's
	 * loses its setuid and setgid bits.
	 */
	bool keep_owner;

	/*
	 * Tells the user something: why, and the file that it is about (NULL:
	 * none), whose name is whatever bytes the tree or the stream has there,
	 * and -errno or 0. A call of tar_* does so 32 times at most.
	 */
	void (*warn)(void *arg, const char *why, const char *name, long error);
	void *arg;

	struct tar_work *work;
};

/* Something was left out or could not be made: each was told by warn. */
#define TAR_INCOMPLETE 1

/*
 * Packs what `path` names, which may be a symbolic link to it: a directory as
 * "./" and all below, no link in it being followed; anything else as one entry
 * with the last component of `path` for its name. The stream ends with two zero
 * blocks. 0; TAR_INCOMPLETE; -errno of `path`, where nothing was written and
 * nothing told; or what `write` returned.
 */
long tar_pack(int dir_fd, const char *path, const struct tar_options *options,
	      tar_write *write, void *arg);

/*
 * The same of one file that is open for reading already, and is closed; `name`
 * is what it is called in the stream.
 */
long tar_pack_file(int fd, const char *name, const struct tar_options *options,
		   tar_write *write, void *arg);

/*
 * Unpacks a stream into a directory, and reads it to its very end. Nothing
 * outside of that directory is ever changed, whatever the stream says. 0;
 * TAR_INCOMPLETE; or, told by warn, -EBADMSG for a stream that is no tar, is
 * damaged or ends too early; -errno of a file system that is full or broken; or
 * what `read` returned (not told). Then some of the stream may not be read yet.
 * The process's umask is 0 meanwhile.
 */
long tar_unpack(int dir_fd, const struct tar_options *options, tar_read *read,
		void *arg);

#endif
