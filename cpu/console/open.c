/*
 * Opens and closes the host objects behind --serial.
 *
 * Everything that needs a path or a right is done here, before the sandbox
 * closes in; console.c goes on with descriptors alone. The main thread, before
 * there are others.
 *
 * Trusts the command line.
 */
#include "cpu/console/console.h"

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

#include "cpu/loop/features.h"
#include "cpu/loop/file.h"
#include "mem/log.h"

#define BACKLOG 4

static int open_stdio(struct console *console)
{
	console->in = console_end_open(STDIN_FILENO, O_RDONLY, false);
	console->out = console_end_open(STDOUT_FILENO, O_WRONLY, false);
	if (isatty(STDIN_FILENO))
		console->tty_fd = STDIN_FILENO;
	return 0;
}

static int open_off(struct console *console)
{
	(void)console;
	return 0;
}

/* What the option of SOL_SOCKET says; 0 where it is no socket. */
static int socket_option(int fd, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, option, &value, &len) ? 0 : value;
}

static int open_fd(struct console *console, int fd)
{
	const int flags = file_take(fd, "--serial ");
	struct sockaddr peer;
	socklen_t peer_len = sizeof(peer);
	struct stat status;
	int mode;

	if (flags < 0)
		return flags;
	if (!fstat(fd, &status) && S_ISDIR(status.st_mode)) {
		log_error("--serial fd=%d: it is a directory", fd);
		return -EISDIR;
	}
	if (socket_option(fd, SO_ACCEPTCONN)) {
		console->kind = CONSOLE_UNIX;
		console->wait_fd = fd;
		return unixsock_take("--serial ", fd);
	}
	if (socket_option(fd, SO_TYPE) == SOCK_STREAM &&
	    getpeername(fd, &peer, &peer_len) < 0) {
		log_error("--serial fd=%d: that socket is neither connected "
			  "nor does it listen",
			  fd);
		return -ENOTCONN;
	}
	mode = flags & O_ACCMODE;
	if (mode != O_WRONLY)
		console->in = console_end_open(fd, O_RDONLY, false);
	if (mode == O_RDONLY)
		return 0;
	/* epoll takes a descriptor once: the output is watched by another. */
	fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd < 0)
		return log_errno("--serial fd=: dup");
	console->out = console_end_open(fd, O_WRONLY, true);
	return 0;
}

/* With `check` it is only tried: it is left, or left away, as it was. */
static int open_file(struct console *console, bool check)
{
	const struct option_file file = { .path = console->path, .fd = -1 };
	struct stat status;
	const bool missing =
		check && stat(file.path, &status) < 0 && errno == ENOENT;
	const int create = missing ? O_CREAT | O_EXCL
			   : check ? 0
				   : O_CREAT | O_TRUNC;
	/* O_NONBLOCK: a FIFO that nobody reads must not hold mote up. */
	const int fd = file_open(&file, "--serial file=",
				 O_WRONLY | O_NONBLOCK | create, 0600, NULL);

	if (fd < 0)
		return fd;
	if (missing)
		unlink(file.path);
	console->out = console_end_open(fd, O_WRONLY, true);
	return 0;
}

static int pty_failed(const char *what, const char *mend)
{
	const int error = errno;

	log_error("--serial pty: %s: %s; %s", what, strerror(error), mend);
	return -error;
}

/*
 * Nobody may ever open the slave, or it may be opened and closed many times.
 * While it is closed (POLLHUP, from the first close on) output would pile up;
 * inotify says when it is opened.
 */
static int watch_pty(struct console *console, const char *name)
{
	int slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (slave < 0)
		return pty_failed(name, "is devpts mounted at /dev/pts?");
	close(slave);
	console->wait_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (console->wait_fd < 0 ||
	    inotify_add_watch(console->wait_fd, name, IN_OPEN) < 0)
		return pty_failed("inotify",
				  "raise fs.inotify.max_user_instances");
	return 0;
}

static int open_pty(struct console *console, bool check)
{
	int unlock = 0, error;
	unsigned number;
	char name[32];

	console->pty_fd =
		open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (console->pty_fd < 0 ||
	    ioctl(console->pty_fd, TIOCSPTLCK, &unlock) < 0 ||
	    ioctl(console->pty_fd, TIOCGPTN, &number) < 0)
		return pty_failed("/dev/ptmx", "is devpts mounted?");
	snprintf(name, sizeof(name), "/dev/pts/%u", number);
	error = watch_pty(console, name);
	if (error)
		return error;
	/* Not a log line: wanted at every --log level. */
	if (!check)
		dprintf(STDERR_FILENO, "mote: serial is on %s\n", name);
	return 0;
}

static int open_unix(struct console *console)
{
	console->wait_fd = unixsock_listen(
		&console->socket, "--serial unix=", console->path, BACKLOG);
	return console->wait_fd < 0 ? console->wait_fd : 0;
}

int console_open(struct console *console, const struct console_options *options)
{
	memset(console, 0, sizeof(*console));
	console->opened = true;
	console->kind = options->kind;
	console->path = options->path;
	console->sealed = options->sealed;
	console->in = console->out = CONSOLE_END_NONE;
	console->wait_fd = console->pty_fd = console->tty_fd = -1;
	console->socket = UNIXSOCK_NONE;
	console->event.fd = console->wait.fd = console->flush.source.fd = -1;

	switch (options->kind) {
	case CONSOLE_STDIO:
		return open_stdio(console);
	case CONSOLE_PTY:
		return open_pty(console, options->check);
	case CONSOLE_FILE:
		return open_file(console, options->check);
	case CONSOLE_UNIX:
		return open_unix(console);
	case CONSOLE_FD:
		return open_fd(console, options->fd);
	default:
		return open_off(console);
	}
}

unsigned console_features(const struct console *console)
{
	static const unsigned kinds[] = {
		[CONSOLE_PTY] = FEATURE_PTY | FEATURE_OUTPUT,
		[CONSOLE_UNIX] = FEATURE_UNIX | FEATURE_OUTPUT,
		[CONSOLE_FD] = 0,
	};
	const struct console_end *out = &console->out;
	unsigned features = console_end_features(&console->in) |
			    console_end_features(out) | kinds[console->kind];

	if (out->source.fd >= 0 && out->way != CONSOLE_DIRECT)
		features |= FEATURE_OUTPUT;
	if (console->tty_fd >= 0)
		features |= FEATURE_TTY;
	if (unixsock_is_ours(&console->socket))
		features |= FEATURE_SOCKET_FILE;
	return features;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void console_close(struct console *console)
{
	if (!console->opened)
		return;
	console->opened = false;
	console_stop(console);
	console_end_close(&console->in, NULL);
	console_end_close(&console->out, NULL);
	unixsock_remove(&console->socket);
	close_fd(&console->wait_fd);
	close_fd(&console->pty_fd);
}
