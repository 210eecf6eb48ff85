/*
 * Opens the files that the command line names, or takes over descriptors that
 * the caller of mote opened (fd=N). Trusts the user, who may name anything that
 * he can open; what is in the files is judged by whoever reads them. Main
 * thread.
 */
#include "boot/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

static int no_null(int fd)
{
	int error = errno;

	log_error("descriptor %d is closed, and /dev/null, to take its place, "
		  "cannot be opened: %s; leave 0, 1 and 2 open",
		  fd, strerror(error));
	return -error;
}

int files_fill_standard(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			return no_null(fd);
	return 0;
}

static int take_fd(int fd, int access, const char *option)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC)) {
		log_error("--%s fd=%d: no such descriptor is open; whoever "
			  "starts mote must leave it open",
			  option, fd);
		return -EBADF;
	}
	if ((flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR) {
		log_error("--%s fd=%d: it is not open for %s", option, fd,
			  access == O_RDONLY ? "reading" : "writing");
		return -EBADF;
	}
	return fd;
}

static const struct open_help {
	int error;
	const char *help;
} open_help[] = {
	{ ENOENT, "; check the path" },
	{ EACCES, "; change its mode, or have it opened for mote and give "
		  "fd=N" },
	{ ENXIO, "; a FIFO needs its reader first" },
	{ EMFILE, "; raise the limit on open files (ulimit -n)" },
};

static const char *help_for(int error)
{
	for (size_t i = 0; i < ARRAY_LEN(open_help); i++)
		if (open_help[i].error == error)
			return open_help[i].help;
	return "";
}

/* `name` is set to what messages call the file, `room` used where needed. */
static int open_file(const struct option_file *file, int flags,
		     const char *option, const char **name, char *room)
{
	int fd;

	if (!file->path) {
		snprintf(room, FILES_NAME_BYTES, "fd=%d", file->fd);
		*name = room;
		return take_fd(file->fd, flags & O_ACCMODE, option);
	}
	*name = file->path;
	fd = open(file->path, flags | O_CLOEXEC | O_NOCTTY, 0666);
	if (fd < 0) {
		int error = errno;

		log_error("cannot open --%s %s: %s%s", option, file->path,
			  strerror(error), help_for(error));
		return -error;
	}
	return fd;
}

int files_open_events(struct files *files, const struct options *options)
{
	const struct option_file *events = &options->events;
	const char *name;

	files->events_fd = -1;
	if (!events->path && events->fd < 0)
		return 0;
	/* O_NONBLOCK: a FIFO that nobody reads must not hold mote up. */
	files->events_fd =
		open_file(events, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK,
			  "events", &name, files->names[0]);
	return files->events_fd < 0 ? files->events_fd : 0;
}

int files_open(struct files *files, const struct options *options)
{
	files->initrd_count = 0;
	files->kernel_fd = open_file(&options->kernel, O_RDONLY, "kernel",
				     &files->kernel_name, files->names[0]);
	if (files->kernel_fd < 0)
		return files->kernel_fd;
	for (unsigned i = 0; i < options->initrd_count; i++) {
		struct initrd_source *initrd = &files->initrd[i];

		initrd->fd = open_file(&options->initrds[i], O_RDONLY, "initrd",
				       &initrd->name, files->names[1 + i]);
		if (initrd->fd < 0)
			return initrd->fd;
		files->initrd_count++;
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
