/*
 * The files that the command line names, opened before the sandbox closes in:
 * nothing is opened by name later.
 */
#ifndef BOOT_FILES_H
#define BOOT_FILES_H

#include "boot/initrd.h"
#include "boot/options/options.h"

#define FILES_NAME_BYTES 16

struct files {
	int kernel_fd;
	const char *kernel_name; /* as the user wrote it, for messages */
	struct initrd_source initrd[OPTIONS_INITRDS_MAX + 1];
	unsigned initrd_count;
	int events_fd; /* -1: no --events */
	/* "fd=N", for those that have no path: kernel, initrds */
	char names[1 + OPTIONS_INITRDS_MAX][FILES_NAME_BYTES];
};

/*
 * Descriptors 0 to 2 that the caller left closed become /dev/null, lest a
 * kernel becomes stdout. Before anything is opened. 0 or -errno, logged (which
 * nobody sees where stderr is the one that is closed).
 */
int files_fill_standard(void);

/*
 * Opens --events; before all else, so that a failure of the rest is an event.
 * 0 or -errno, logged.
 */
int files_open_events(struct files *files, const struct options *options);

/*
 * Opens everything else; the names point into `options` and `files`. 0 or
 * -errno, logged. files_close_images closes the images.
 */
int files_open(struct files *files, const struct options *options);

/*
 * One more archive behind the user's initrds, that mote has made: `fd` becomes
 * the files' own. After files_open.
 */
void files_add_initrd(struct files *files, int fd, const char *name);

/*
 * Closes the kernel and the initrds once they are loaded: what is mapped of
 * them stays, and a guest that takes over mote finds no descriptor of theirs.
 */
void files_close_images(struct files *files);

#endif
