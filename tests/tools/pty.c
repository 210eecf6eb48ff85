/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command on a new terminal, as somebody at a keyboard would.
 *
 *	pty [-w TEXT] [-k SIGNAL] [-t SECONDS] COMMAND...
 *
 * What the command writes goes to stdout. When it has written TEXT, stdin is
 * typed on the keyboard, or SIGNAL (a number) is sent to the command. Its
 * status is handed on (128+N where a signal killed it), but 99 if the
 * terminal's settings after it are not those before it: it must leave a
 * terminal as it was. After SECONDS (20) all is killed, status 98.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define STATUS_SETTINGS 99
#define STATUS_TIME	98
#define SEEN_MAX	65536

static struct {
	const char *text;
	int signal;
	long seconds;
	int master, slave;
	pid_t pid;
	char seen[SEEN_MAX];
	size_t len;
} pty = { .seconds = 20 };

static void die(const char *what)
{
	fprintf(stderr, "pty: %s: %s\n", what, strerror(errno));
	if (pty.pid)
		kill(pty.pid, SIGKILL);
	exit(2);
}

static void open_pty(void)
{
	pty.master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pty.master < 0 || grantpt(pty.master) || unlockpt(pty.master))
		die("posix_openpt");
	pty.slave = open(ptsname(pty.master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (pty.slave < 0)
		die("the terminal");
}

static void start(char **argv)
{
	pty.pid = fork();
	if (pty.pid < 0)
		die("fork");
	if (pty.pid)
		return;
	setsid();
	ioctl(pty.slave, TIOCSCTTY, 0);
	for (int fd = 0; fd < 3; fd++)
		dup2(pty.slave, fd);
	execvp(argv[0], argv);
	_exit(127);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Copies what the command wrote; false where there was nothing. */
static int copy_output(int wait_ms)
{
	struct pollfd readable = { .fd = pty.master, .events = POLLIN };
	char buffer[4096];
	ssize_t n;

	if (poll(&readable, 1, wait_ms) < 1 || !(readable.revents & POLLIN))
		return 0;
	n = read(pty.master, buffer, sizeof(buffer));
	if (n <= 0)
		return 0;
	if (write(STDOUT_FILENO, buffer, (size_t)n) != n)
		die("stdout");
	if (pty.len + (size_t)n < SEEN_MAX) {
		memcpy(pty.seen + pty.len, buffer, (size_t)n);
		pty.len += (size_t)n;
	}
	return 1;
}

/* What mote itself says there may come in the midst of a guest's word. */
static int has_said(const char *text)
{
	static const char message[] = "mote: ";
	static char said[SEEN_MAX];
	size_t len = 0;

	for (size_t i = 0; i < pty.len; i++) {
		if (pty.len - i > sizeof(message) &&
		    !memcmp(pty.seen + i, message, sizeof(message) - 1))
			while (i < pty.len && pty.seen[i] != '\n')
				i++;
		else
			said[len++] = pty.seen[i];
	}
	return memmem(pty.seen, pty.len, text, strlen(text)) ||
	       memmem(said, len, text, strlen(text));
}

static void act(void)
{
	char buffer[4096];
	ssize_t n;

	if (pty.signal) {
		kill(pty.pid, pty.signal);
		return;
	}
	while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
		if (write(pty.master, buffer, (size_t)n) != n)
			die("the keyboard");
}

/* Returns the command's wait status. */
static int attend(void)
{
	double end = now() + (double)pty.seconds;
	int status, acted = 0;

	while (waitpid(pty.pid, &status, WNOHANG) == 0) {
		if (now() > end) {
			kill(pty.pid, SIGKILL);
			waitpid(pty.pid, &status, 0);
			exit(STATUS_TIME);
		}
		copy_output(10);
		if (!acted && (!pty.text || has_said(pty.text))) {
			act();
			acted = 1;
		}
	}
	while (copy_output(0))
		;
	return status;
}

int main(int argc, char **argv)
{
	struct termios before, after;
	int option, status;

	while ((option = getopt(argc, argv, "+w:k:t:")) != -1) {
		if (option == 'w')
			pty.text = optarg;
		else if (option == 'k')
			pty.signal = atoi(optarg);
		else if (option == 't')
			pty.seconds = atol(optarg);
		else
			return 2;
	}
	if (optind == argc)
		return 2;
	open_pty();
	if (tcgetattr(pty.slave, &before))
		die("tcgetattr");
	start(argv + optind);
	status = attend();
	if (tcgetattr(pty.slave, &after))
		die("tcgetattr");
	if (before.c_iflag != after.c_iflag ||
	    before.c_oflag != after.c_oflag ||
	    before.c_cflag != after.c_cflag ||
	    before.c_lflag != after.c_lflag ||
	    memcmp(before.c_cc, after.c_cc, sizeof(before.c_cc)))
		return STATUS_SETTINGS;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
