/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command line names to be opened: a path, or a descriptor that the
 * caller of mote has open (fd=N). In what follows `option` is the text before
 * it in messages, as the user writes it: "--disk ", "--serial file=".
 */
#ifndef CPU_LOOP_FILE_H
#define CPU_LOOP_FILE_H

#include <stdbool.h>
#include <sys/types.h>

struct option_file {
	const char *path; /* NULL where fd=N was given, or nothing */
	int fd;		  /* -1 where a path was given, or nothing */
};

static inline bool file_is_given(const struct option_file *file)
{
	return file->path || file->fd >= 0;
}

/* What to do about an error that is usual of one option: an element of a list
 * that ends in error 0, whose advice is for all others (NULL: none). */
struct file_advice {
	int error;
	const char *mend;
};

/*
 * Opens the path, with `flags` and `mode` as of open(2), close-on-exec and not
 * as a controlling terminal; or checks that the descriptor is open for what
 * the access mode in `flags` asks for, which is EBADF to the `advice` (NULL:
 * none) if not, and makes it close-on-exec. Returns the descriptor or -errno,
 * logged with what to do about it.
 */
int file_open(const struct option_file *file, const char *option, int flags,
	      mode_t mode, const struct file_advice *advice);

/*
 * For a descriptor whose caller judges it: makes it close-on-exec. Returns its
 * file status flags (F_GETFL), or -EBADF, logged, where it is not open.
 */
int file_take(int fd, const char *option);

/* Closes the descriptors from `first` up to `last`; ~0U: all from there on. */
void file_close_between(unsigned first, unsigned last);

/*
 * The descriptor that a path stands for: /dev/fd/N, /proc/self/fd/N (as a
 * shell's <(...) is written), /dev/stdin, /dev/stdout, /dev/stderr; else -1. To
 * open it anew would need the right to, and cannot be done to a socket.
 */
int file_path_fd(const char *path);

/* What messages call it: the path, or "fd=N" written into `room`. */
#define FILE_NAME_BYTES 16
const char *file_name(const struct option_file *file,
		      char room[FILE_NAME_BYTES]);

#endif
