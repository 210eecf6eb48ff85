/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptors that mote is started with, and the files that the command
 * line names, opened before the sandbox closes in: nothing is opened by name
 * later.
 */
#ifndef BOOT_OPTIONS_FILES_H
#define BOOT_OPTIONS_FILES_H

#include "boot/initrd.h"
#include "boot/options/options.h"

struct files {
	int kernel_fd;
	const char *kernel_name; /* as the user wrote it, for messages */
	struct initrd_source initrd[OPTIONS_INITRDS_MAX + 1];
	unsigned initrd_count;
	int events_fd; /* -1: no --events */
	/* "fd=N", for those that have no path: kernel, initrds */
	char names[1 + OPTIONS_INITRDS_MAX][FILE_NAME_BYTES];
};

/* All of these return 0 or -errno, logged, where they return an int. */

/*
 * Descriptors 0 to 2 that the caller left closed become /dev/null, so that
 * no kernel becomes stdout. Before anything is opened. (Nobody sees what is
 * logged where stderr is the one that is closed.)
 */
int files_fill_standard(void);

/*
 * Before anything else is opened: sees to it that each descriptor that an
 * option names is open, because a descriptor of mote's own could get that
 * number; and with `alone` closes all others but 0, 1 and 2.
 */
int files_take_fds(const struct options *options, bool alone);

/* Opens --events; before all else, so that what fails later is an event. */
int files_open_events(struct files *files, const struct options *options);

/*
 * Opens the kernel and the initrds; the names point into `options` and `files`.
 * files_close_images closes them.
 */
int files_open(struct files *files, const struct options *options);

/*
 * One more archive behind the user's initrds, that mote has made: `fd` becomes
 * the files' own. After files_open.
 */
void files_add_initrd(struct files *files, int fd, const char *name);

/*
 * Standard input and output, where nothing uses them, are /dev/null from then
 * on: what the caller has there may be worth more than that to a guest that
 * takes mote over.
 */
void files_drop_standard(const struct options *options);

/*
 * Whether something that mote has from its caller, 0 to 2 included, is a
 * socket. After files_drop_standard.
 */
bool files_have_socket(const struct options *options);

/*
 * Closes the kernel and the initrds once they are loaded: what is mapped of
 * them stays, and a guest that takes over mote finds no descriptor of theirs.
 */
void files_close_images(struct files *files);

#endif
