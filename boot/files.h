/*
 * The files that the command line names, opened before the sandbox closes in:
 * nothing is opened by name later.
 */
#ifndef BOOT_FILES_H
#define BOOT_FILES_H

#include "boot/initrd.h"
#include "boot/options.h"

#define FILES_NAME_BYTES 16

struct files {
	int kernel_fd;
	const char *kernel_name; /* as the user wrote it, for messages */
	struct initrd_source initrd[OPTIONS_INITRDS_MAX];
	unsigned initrd_count;
	int events_fd; /* -1: no --events */
	/* "fd=N", for those that have no path: kernel, events, initrds */
	char names[2 + OPTIONS_INITRDS_MAX][FILES_NAME_BYTES];
};

/*
 * Descriptors 0 to 2 that the caller left closed become /dev/null, lest a
 * kernel becomes stdout. Before anything is opened. 0 or -errno.
 */
int files_fill_standard(void);

/*
 * Opens everything; the names point into `options`. 0 or -errno, logged.
 * Closing is left to the end of the process.
 */
int files_open(struct files *files, const struct options *options);

#endif
