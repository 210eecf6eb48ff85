/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens and closes the host objects behind --serial.
 *
 * Everything that needs a path or a right is done here, before the sandbox
 * closes in; console.c goes on with descriptors alone. The main thread, before
 * there are others. Trusts the command line.
 */
#include "cpu/console/open.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cpu/loop/thread.h"
#include "mem/log.h"

#define BACKLOG 4

static int open_serial_stdio(struct console_host *host)
{
	host->in = stream_open(STDIN_FILENO, O_RDONLY, false);
	host->out = stream_open(STDOUT_FILENO, O_WRONLY, false);
	if (isatty(STDIN_FILENO))
		host->tty_fd = STDIN_FILENO;
	return 0;
}

/* What an option of SOL_SOCKET says; 0 where it is no socket. */
static int get_socket_option(int fd, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? 0 : value;
}

/* 0, or -errno, logged, where `fd` cannot be a serial port's other end. */
static int check_serial_fd(int fd)
{
	struct sockaddr peer;
	socklen_t peer_len = sizeof(peer);
	struct stat status;

	if (!fstat(fd, &status) && S_ISDIR(status.st_mode)) {
		log_error("--serial fd=%d: it is a directory", fd);
		return -EISDIR;
	}
	if (!get_socket_option(fd, SO_ACCEPTCONN) &&
	    get_socket_option(fd, SO_TYPE) == SOCK_STREAM &&
	    getpeername(fd, &peer, &peer_len) < 0) {
		log_error("--serial fd=%d: that socket is neither connected "
			  "nor does it listen",
			  fd);
		return -ENOTCONN;
	}
	return 0;
}

static int open_serial_fd(struct console_host *host, int fd)
{
	const int flags = file_take(fd, "--serial "), mode = flags & O_ACCMODE;
	const int error = flags < 0 ? flags : check_serial_fd(fd);

	if (error)
		return error;
	if (get_socket_option(fd, SO_ACCEPTCONN)) {
		host->kind = CONSOLE_UNIX;
		host->wait_fd = fd;
		return unixsock_take("--serial ", fd);
	}
	/* A shell's terminal lets both be read; what is typed is stdin's. */
	if (mode != O_WRONLY && fd != STDOUT_FILENO && fd != STDERR_FILENO)
		host->in = stream_open(fd, O_RDONLY, false);
	if (mode == O_RDONLY)
		return 0;
	/* epoll takes a descriptor once: the output is watched by another. */
	fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd < 0)
		return log_errno("--serial fd=: dup");
	host->out = stream_open(fd, O_WRONLY, true);
	return 0;
}

/* With `check` it is only tried: it is left, or left away, as it was. */
static int open_serial_file(struct console_host *host,
			    const struct console_options *options)
{
	const char *path = options->file.path;
	struct stat status;
	const bool missing =
		options->check && stat(path, &status) < 0 && errno == ENOENT;
	const int create = missing	     ? O_CREAT | O_EXCL
			   : options->check  ? 0
			   : options->append ? O_CREAT
					     : O_CREAT | O_TRUNC;
	/*
	 * O_NONBLOCK: a FIFO that nobody reads must not hold mote up. O_APPEND:
	 * who empties the file (logrotate's copytruncate) wants no hole there.
	 */
	const int fd = file_open(&options->file, "--serial file=",
				 O_WRONLY | O_APPEND | O_NONBLOCK | create,
				 0600, NULL);

	if (fd < 0)
		return fd;
	if (missing)
		unlink(path);
	host->out = stream_open(fd, O_WRONLY, true);
	if (!options->max || !stream_limit(&host->out, options->max))
		return 0;
	log_error("--serial file=%s: max= is for a regular file, and this is "
		  "none",
		  path);
	return -EINVAL;
}

static int log_pty_error(const char *what, const char *advice)
{
	const int error = errno;

	log_error("--serial pty: %s: %s; %s", what, strerror(error), advice);
	return -error;
}

/*
 * Nobody may ever open the slave, or it may be opened and closed many times.
 * While it is closed (POLLHUP, from the first close on) output would pile up;
 * inotify says when it is opened.
 */
static int watch_pty_slave(struct console_host *host, const char *name)
{
	int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return log_pty_error(name, "is devpts mounted at /dev/pts?");
	close(slave);
	host->wait_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (host->wait_fd < 0 ||
	    inotify_add_watch(host->wait_fd, name, IN_OPEN) < 0)
		return log_pty_error("inotify",
				     "raise fs.inotify.max_user_instances");
	return 0;
}

static int open_serial_pty(struct console_host *host, bool check)
{
	int unlock = 0, error;
	unsigned number;
	char name[32];

	host->pty_fd =
		open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (host->pty_fd < 0 || ioctl(host->pty_fd, TIOCSPTLCK, &unlock) < 0 ||
	    ioctl(host->pty_fd, TIOCGPTN, &number) < 0)
		return log_pty_error("/dev/ptmx", "is devpts mounted?");
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	error = watch_pty_slave(host, name);
	/* Not a log line: it is wanted at every --log level. */
	if (!error && !check)
		dprintf(STDERR_FILENO, "mote: serial is on %s\n", name);
	return error;
}

int console_host_open(struct console_host *host,
		      const struct console_options *options)
{
	*host = (struct console_host){
		.kind = options->kind,
		.in = STREAM_NONE,
		.out = STREAM_NONE,
		.wait_fd = -1,
		.pty_fd = -1,
		.tty_fd = -1,
		.sealed = options->sealed,
		.socket = UNIXSOCK_NONE,
	};
	switch (options->kind) {
	case CONSOLE_STDIO:
		return open_serial_stdio(host);
	case CONSOLE_PTY:
		return open_serial_pty(host, options->check);
	case CONSOLE_FILE:
		return open_serial_file(host, options);
	case CONSOLE_UNIX:
		host->wait_fd = unixsock_listen(&host->socket, "--serial unix=",
						options->file.path, BACKLOG);
		return host->wait_fd < 0 ? host->wait_fd : 0;
	case CONSOLE_FD:
		return open_serial_fd(host, options->file.fd);
	default: /* CONSOLE_OFF */
		return 0;
	}
}

unsigned console_host_features(const struct console_host *host)
{
	unsigned features =
		stream_features(&host->in) | stream_features(&host->out);

	if (host->out.source.fd >= 0 && host->out.mode != STREAM_DIRECT)
		features |= FEATURE_OUTPUT;
	if (host->kind == CONSOLE_PTY)
		features |= FEATURE_PTY | FEATURE_OUTPUT;
	if (host->kind == CONSOLE_UNIX)
		features |= FEATURE_UNIX | FEATURE_OUTPUT;
	if (host->tty_fd >= 0)
		features |= FEATURE_TTY;
	if (host->out.max)
		features |= FEATURE_OUTPUT_MAX;
	if (unixsock_is_ours(&host->socket))
		features |= FEATURE_SOCKET_FILE;
	return features;
}

void console_host_close(struct console_host *host)
{
	stream_close(&host->in);
	stream_close(&host->out);
	unixsock_remove(&host->socket);
	if (host->wait_fd >= 0)
		close(host->wait_fd);
	if (host->pty_fd >= 0)
		close(host->pty_fd);
	host->wait_fd = host->pty_fd = -1;
}
