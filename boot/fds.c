/*
 * Takes stock of the descriptors that the caller of mote left open.
 *
 * Done first of all: what is open afterwards is standard input and output, what
 * the options name, and what mote opens itself. So nothing that a shell or a
 * launcher forgot to close is there for a guest that takes mote over.
 *
 * Trusts that the options were parsed. Owns nothing: descriptors are closed by
 * those who use them. Main thread.
 */
#include "boot/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/log.h"

/*
 * From `first` up to `last`; close_range(2) is of Linux 5.9. Older ones have no
 * more than 2^20, unless they were told to (fs.nr_open, Documentation/
 * admin-guide/sysctl/fs.rst), and trying these takes a tenth of a second.
 */
#define MANY (1U << 20)

static void close_between(unsigned first, unsigned last)
{
	if (first > last || !syscall(SYS_close_range, first, last, 0))
		return;
	for (; first < MANY && first <= last; first++)
		close((int)first);
}

static int check_open(const struct options *options)
{
	int fd = -1;

	while ((fd = optparse_next_fd(&options_set, options, fd + 1)) >= 0)
		if (fcntl(fd, F_GETFD) < 0) {
			log_error("--%s fd=%d: no such descriptor is open; "
				  "whoever starts mote must leave it open",
				  optparse_fd_owner(&options_set, options, fd)
					  ->name,
				  fd);
			return -EBADF;
		}
	return 0;
}

void fds_spare(const struct options *options)
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
		if (!optparse_fd_owner(&options_set, options, fd) &&
		    (null < 0 || dup2(null, fd) < 0))
			log_warn("descriptor %d stays open, unused: %s", fd,
				 strerror(errno));
	if (null >= 0)
		close(null);
}

static bool is_foreign(int fd)
{
	int domain, type;
	socklen_t len = sizeof(int);

	return !getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) &&
	       !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) &&
	       (domain != AF_UNIX || type != SOCK_STREAM);
}

bool fds_have_foreign(const struct options *options)
{
	int fd = -1;

	for (int one = STDIN_FILENO; one <= STDERR_FILENO; one++)
		if (is_foreign(one))
			return true;
	while ((fd = optparse_next_fd(&options_set, options, fd + 1)) >= 0)
		if (is_foreign(fd))
			return true;
	return false;
}

int fds_take(const struct options *options, bool alone)
{
	int error = check_open(options), from = STDERR_FILENO + 1, fd;

	if (error || !alone)
		return error;
	while ((fd = optparse_next_fd(&options_set, options, from)) >= 0) {
		if (fd > from)
			close_between((unsigned)from, (unsigned)fd - 1);
		from = fd + 1;
	}
	close_between((unsigned)from, ~0U);
	return 0;
}
