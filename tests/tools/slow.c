/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a command on a host that is slow:
 *
 *	slow -o FILE [-a FILE] CALL[,CALL...]:MS COMMAND...
 *
 * Each call named takes MS milliseconds more before it begins, several threads'
 * at the same time, and leaves a byte in FILE; with -a only once that file is
 * there. The command keeps this process; a child of its own waits for it, by
 * the user notifications of seccomp(2) (Linux 5.5), which need no right. What a
 * ring of io_uring is told to do is not slowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define PENDING	   64

static const struct call {
	const char *name;
	int number;
} calls[] = {
	{ "munmap", SYS_munmap },	{ "preadv", SYS_preadv },
	{ "pwritev", SYS_pwritev },	{ "fdatasync", SYS_fdatasync },
	{ "fallocate", SYS_fallocate },
};

static struct sock_filter code[2 + LEN(calls) * 2];
static unsigned short code_len;
static int64_t delay_ms;
static const char *armed_by;

/* Calls that wait, in the order of their coming: all wait as long. */
static struct {
	uint64_t id;
	int64_t until_ms;
} pending[PENDING];
static unsigned pending_count;

static void die(const char *what)
{
	fprintf(stderr, "slow: %s: %s\n", what, strerror(errno));
	exit(2);
}

static void add(struct sock_filter one)
{
	code[code_len++] = one;
}

static void make_filter(char *names)
{
	char *save, *name;

	add((struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
					 offsetof(struct seccomp_data, nr)));
	for (name = strtok_r(names, ",", &save); name;
	     name = strtok_r(NULL, ",", &save)) {
		size_t i = 0;

		while (i < LEN(calls) && strcmp(calls[i].name, name))
			i++;
		if (i == LEN(calls)) {
			errno = EINVAL;
			die(name);
		}
		add((struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						 (unsigned)calls[i].number, 0,
						 1));
		add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						 SECCOMP_RET_USER_NOTIF));
	}
	add((struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void take_call(int listener, int log_fd)
{
	struct seccomp_notif call = { 0 };

	/* ENOENT: whoever made it is gone. */
	if (pending_count == PENDING ||
	    ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call))
		return;
	pending[pending_count].id = call.id;
	pending[pending_count++].until_ms = now_ms();
	if (armed_by && access(armed_by, F_OK))
		return;
	pending[pending_count - 1].until_ms += delay_ms;
	if (write(log_fd, ".", 1) != 1)
		die("write");
}

/* Lets go of those whose time has come; the ms until the next one's. */
static int let_go(int listener)
{
	unsigned gone = 0;

	for (; gone < pending_count; gone++) {
		struct seccomp_notif_resp go_on = {
			.id = pending[gone].id,
			.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE,
		};

		if (pending[gone].until_ms > now_ms())
			break;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &go_on);
	}
	pending_count -= gone;
	memmove(pending, pending + gone, pending_count * sizeof(pending[0]));
	return pending_count ? (int)(pending[0].until_ms - now_ms()) : -1;
}

static void supervise(int listener, int command, int log_fd)
{
	struct pollfd fds[] = { { command, POLLIN, 0 },
				{ listener, POLLIN, 0 } };
	int wait_ms;

	while (!fds[0].revents) {
		wait_ms = let_go(listener);
		if (pending_count && wait_ms < 0)
			wait_ms = 0;
		if (poll(fds, 2, wait_ms) > 0 && fds[1].revents & POLLIN)
			take_call(listener, log_fd);
	}
	_exit(0);
}

/* A grandchild: the command is to have no child of ours. */
static void start_supervisor(int listener, const char *log)
{
	const int command = (int)syscall(SYS_pidfd_open, getpid(), 0);
	const int log_fd =
		open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	pid_t child;

	if (command < 0 || log_fd < 0)
		die("pidfd_open, open");
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		if (fork())
			_exit(0);
		close(STDIN_FILENO);
		close(STDOUT_FILENO);
		supervise(listener, command, log_fd);
	}
	waitpid(child, NULL, 0);
	close(command);
	close(log_fd);
	close(listener);
}

int main(int argc, char **argv)
{
	struct sock_fprog program = { .filter = code };
	const char *log = NULL;
	char *colon;
	int option, listener;

	while ((option = getopt(argc, argv, "+o:a:")) > 0)
		*(option == 'o' ? &log : &armed_by) = optarg;
	colon = optind < argc ? strchr(argv[optind], ':') : NULL;
	if (!log || !colon || argc - optind < 2) {
		fputs("usage: slow -o FILE [-a FILE] CALL[,CALL...]:MS "
		      "COMMAND...\n",
		      stderr);
		return 2;
	}
	*colon = 0;
	delay_ms = atoll(colon + 1);
	make_filter(argv[optind]);
	program.len = code_len;
	/* Root needs no PR_SET_NO_NEW_PRIVS for it; others do. */
	if (geteuid())
		prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
	if (listener < 0)
		die("seccomp");
	start_supervisor(listener, log);
	argv += optind + 1;
	execvp(argv[0], argv);
	die(argv[0]);
}
