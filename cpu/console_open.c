/*
 * Opens and closes the host objects behind --serial.
 *
 * Everything that needs a path or a right is done here, before the sandbox
 * closes in; console.c goes on with descriptors alone. The main thread, before
 * there are others.
 *
 * Trusts the command line. A socket's path is the user's own: what is found
 * there is replaced only if it is a socket that nobody listens on.
 */
#include "cpu/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

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

static int open_fd(struct console *console, int fd)
{
	const int flags = fcntl(fd, F_GETFL);
	int mode;

	if (flags < 0 || flags & O_PATH) {
		log_error("--serial fd=%d: not an open descriptor; have the "
			  "caller open it for mote",
			  fd);
		return -EBADF;
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

/* Opens the file, or only tries to: then it is left, or left away, as it was.
 */
static int try_file(const char *path, bool check)
{
	/* O_NONBLOCK: a FIFO that nobody reads must not hold mote up. */
	const int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd;

	if (!check)
		return open(path, flags | O_CREAT | O_TRUNC, 0600);
	fd = open(path, flags);
	if (fd < 0 && errno == ENOENT) {
		fd = open(path, flags | O_CREAT | O_EXCL, 0600);
		if (fd >= 0)
			unlink(path);
	}
	return fd;
}

static int open_file(struct console *console, bool check)
{
	const int fd = try_file(console->path, check);
	int error = errno;

	if (fd < 0) {
		log_error("--serial file=%s: %s%s", console->path,
			  strerror(error),
			  error == ENXIO ? "; a FIFO needs its reader first"
					 : "");
		return -error;
	}
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

static int socket_failed(const struct console *console, int error,
			 const char *mend)
{
	log_error("--serial unix=%s: %s%s", console->path, strerror(error),
		  mend);
	return -error;
}

/* What lies at the path: away with it if it is a socket that is dead. */
static int remove_stale(const struct console *console,
			const struct sockaddr_un *address)
{
	struct stat status;
	int fd, error = 0;

	if (lstat(console->path, &status) < 0)
		return socket_failed(console, errno, "");
	if (!S_ISSOCK(status.st_mode))
		return socket_failed(console, EEXIST,
				     " and is not a socket; name another");
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return socket_failed(console, errno, "");
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
		error = errno;
	close(fd);
	/* 0 and EAGAIN (its backlog is full): somebody listens. */
	if (error != ECONNREFUSED)
		return socket_failed(console, EADDRINUSE,
				     "; another program serves it: name "
				     "another or end that one");
	if (unlink(console->path) < 0)
		return socket_failed(console, errno, "; remove it");
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Remembers where the socket's file is and which it is. */
static int note_socket(struct console *console)
{
	const size_t len = (size_t)(base_name(console->path) - console->path);
	struct stat status;
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];

	memcpy(dir, console->path, len);
	memcpy(dir + len, ".", 2);
	console->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (console->dir_fd < 0 || stat(console->path, &status) < 0)
		return socket_failed(console, errno, "");
	console->socket_dev = status.st_dev;
	console->socket_ino = status.st_ino;
	return 0;
}

static int open_unix(struct console *console)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct sockaddr *any = (const struct sockaddr *)&address;
	int error;

	if (strlen(console->path) >= sizeof(address.sun_path))
		return socket_failed(console, ENAMETOOLONG,
				     "; 107 bytes at most");
	memcpy(address.sun_path, console->path, strlen(console->path));
	console->wait_fd =
		socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (console->wait_fd < 0)
		return socket_failed(console, errno, "");
	if (bind(console->wait_fd, any, sizeof(address)) < 0) {
		if (errno != EADDRINUSE)
			return socket_failed(console, errno, "");
		error = remove_stale(console, &address);
		if (error)
			return error;
		if (bind(console->wait_fd, any, sizeof(address)) < 0)
			return socket_failed(console, errno, "");
	}
	error = note_socket(console);
	if (!error && listen(console->wait_fd, BACKLOG) < 0)
		error = socket_failed(console, errno, "");
	return error;
}

int console_open(struct console *console, const struct console_options *options)
{
	memset(console, 0, sizeof(*console));
	console->opened = true;
	console->kind = options->kind;
	console->path = options->path;
	console->in = console->out = CONSOLE_END_NONE;
	console->wait_fd = console->pty_fd = console->tty_fd = -1;
	console->dir_fd = -1;
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

/* Not a file that another mote has put there in the meantime. */
static void remove_socket(const struct console *console)
{
	const char *name = base_name(console->path);
	struct stat status;

	if (!fstatat(console->dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) &&
	    status.st_dev == console->socket_dev &&
	    status.st_ino == console->socket_ino)
		unlinkat(console->dir_fd, name, 0);
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
	if (console->dir_fd >= 0)
		remove_socket(console);
	close_fd(&console->dir_fd);
	close_fd(&console->wait_fd);
	close_fd(&console->pty_fd);
}
