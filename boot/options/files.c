/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Takes stock of the descriptors that the caller of mote left open, and opens
 * the files that the command line names.
 *
 * Stock is taken first of all: what is open afterwards is standard input and
 * output, what the options name (fd=N), and what mote opens itself. So nothing
 * that a shell or a launcher forgot to close is there for a guest that takes
 * mote over.
 *
 * Trusts that the options were parsed. The user may name any file that he may
 * open; what a file contains is checked by the code that reads it. Owns the
 * kernel's and the initrds' descriptors until they are loaded; others are
 * closed by those who use them. Main thread.
 */
#include "boot/options/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cpu/loop/file.h"
#include "mem/log.h"

/* -- what mote was started with -------------------------------------------- */

int files_fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		int error;

		if (fcntl(fd, F_GETFD) >= 0 || open("/dev/null", O_RDWR) >= 0)
			continue;
		error = errno;
		log_error("descriptor %d is closed, and /dev/null, to take its "
			  "place, cannot be opened: %s; leave 0, 1 and 2 open",
			  fd, strerror(error));
		return -error;
	}
	return 0;
}

int files_take_fds(const struct options *options, bool alone)
{
	const struct option_parsed *parsed = &options->parsed;
	unsigned from = STDERR_FILENO + 1;

	for (unsigned i = 0; i < parsed->fd_count; i++) {
		char option[32];

		snprintf(option, sizeof(option), "--%s ",
			 parsed->fds[i].option);
		if (file_take(parsed->fds[i].fd, option) < 0)
			return -EBADF;
	}
	for (unsigned i = 0; alone && i < parsed->fd_count; i++) {
		const unsigned fd = (unsigned)parsed->fds[i].fd;

		if (fd < from)
			continue;
		if (fd > from)
			file_close_between(from, fd - 1);
		from = fd + 1;
	}
	if (alone)
		file_close_between(from, ~0U);
	return 0;
}

void files_drop_standard(const struct options *options)
{
	int null, ends[2];

	if (options->command || options->serial.kind == CONSOLE_STDIO)
		return;
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	/* A chroot without it: there is nothing to read, nor to write to. */
	if (null < 0 && !pipe2(ends, O_CLOEXEC)) {
		null = ends[0];
		close(ends[1]);
	}
	for (int fd = STDIN_FILENO; fd <= STDOUT_FILENO; fd++)
		if (!optparse_fd_owner(&options->parsed, fd) &&
		    (null < 0 || dup2(null, fd) < 0))
			log_warn("descriptor %d stays open, unused: %s", fd,
				 strerror(errno));
	if (null >= 0)
		close(null);
}

static bool is_socket(int fd)
{
	struct stat status;

	return !fstat(fd, &status) && S_ISSOCK(status.st_mode);
}

bool files_have_socket(const struct options *options)
{
	const struct option_parsed *parsed = &options->parsed;

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (is_socket(fd))
			return true;
	for (unsigned i = 0; i < parsed->fd_count; i++)
		if (is_socket(parsed->fds[i].fd))
			return true;
	return false;
}

/* -- what the options name ------------------------------------------------- */

int files_open_events(struct files *files, const struct options *options)
{
	files->events_fd = -1;
	if (!file_is_given(&options->events))
		return 0;
	/* O_NONBLOCK: a FIFO that nobody reads must not hold mote up. */
	files->events_fd = file_open(&options->events, "--events ",
				     O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK,
				     0666, NULL);
	if (files->events_fd < 0)
		return files->events_fd;
	/* Others may write to it, too; where it is a file, each at its end. */
	if (!options->events.path)
		fcntl(files->events_fd, F_SETFL,
		      fcntl(files->events_fd, F_GETFL) | O_APPEND);
	return 0;
}

int files_open(struct files *files, const struct options *options)
{
	files->initrd_count = 0;
	files->kernel_fd = -1;
	if (!file_is_given(&options->kernel))
		return 0;
	files->kernel_fd =
		file_open(&options->kernel, "--kernel ", O_RDONLY, 0, NULL);
	files->kernel_name = file_name(&options->kernel, files->names[0]);
	if (files->kernel_fd < 0)
		return files->kernel_fd;
	for (unsigned i = 0; i < options->initrd_count; i++) {
		const struct option_file *file = &options->initrds[i];
		const int fd = file_open(file, "--initrd ", O_RDONLY, 0, NULL);

		if (fd < 0)
			return fd;
		files_add_initrd(files, fd,
				 file_name(file, files->names[1 + i]));
	}
	return 0;
}

void files_add_initrd(struct files *files, int fd, const char *name)
{
	files->initrd[files->initrd_count++] =
		(struct initrd_source){ .fd = fd, .name = name };
}

/* Standard descriptors are not ours to close, whatever they were used for. */
static void close_image(int *fd)
{
	if (*fd > STDERR_FILENO)
		close(*fd);
	*fd = -1;
}

void files_close_images(struct files *files)
{
	close_image(&files->kernel_fd);
	for (unsigned i = 0; i < files->initrd_count; i++)
		close_image(&files->initrd[i].fd);
}
