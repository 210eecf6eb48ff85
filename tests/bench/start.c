/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures how long monitors take from exec to a guest's first instruction, and
 * from exec to their own end, and what processor time that is. They run in
 * turns: host noise then meets all alike, and the ratio within a turn counts.
 *
 *	start TURNS NAME COMMAND [-- NAME COMMAND]...
 *
 * An argument that is `@` is the turn's number. Prints lines for tests/bench/
 * table: `first`, `end` and `cpu`, "us", NAME, a value a turn; `faults`, "n";
 * or ! and why there is none: a command that fails once is not run again.
 *
 * The commands run a guest (first.S) that sends byte 1 to the serial port with
 * its first instructions. It comes out of the monitor on a pipe: the clock
 * starts in the child just before execve() and stops when the byte is read
 * here, so that no monitor needs a special build, and each pays for its own way
 * from the port to stdout. "end" stops when the child is reaped: the KVM
 * objects are gone; and "cpu" is what it has used of processors by then, in
 * user mode and in the kernel; "faults" are the pages that it has touched for
 * the first time. A monitor that has not ended by itself a while after the byte
 * is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TURNS_MAX  10000
#define SIDES_MAX  8
#define WARM_UP	   3
#define LIMIT_S	   120	/* a run that takes longer has failed */
#define END_MS	   2000 /* to end by itself */
#define FIRST_BYTE 1

enum { FIRST, END, CPU, FAULTS, FIGURES };
static const char *const figures[FIGURES] = {
	"first us",
	"end us",
	"cpu us",
	"faults n",
};

struct side {
	const char *name;
	char **argv;
	char failed[64]; /* how; empty: not */
	double value[FIGURES][TURNS_MAX];
};

static struct side sides[SIDES_MAX];
static unsigned side_count;
static char turn_number[16];
static volatile double exec_us; /* written by the child, which is vforked */

static void die(const char *what)
{
	fprintf(stderr, "start: %s: %s\n", what, strerror(errno));
	exit(2);
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double timeval_us(const struct timeval *t)
{
	return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

/*
 * vfork: the child starts with no copy of this process, so that the time of
 * exec is the monitor's alone; and the clock is read on the child's own CPU.
 */
static pid_t spawn(char **argv, int out)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid_t pid;

	if (null < 0)
		die("/dev/null");
	/* vfork: a fork would be part of what is measured */
	/* NOLINTBEGIN(*vfork, *Vfork) */
	pid = vfork();
	if (pid < 0)
		die("vfork");
	if (!pid) {
		dup2(null, STDIN_FILENO);
		dup2(out, STDOUT_FILENO);
		alarm(LIMIT_S);
		exec_us = now_us();
		execv(argv[0], argv);
		_exit(126);
	}
	/* NOLINTEND(*vfork, *Vfork) */
	close(null);
	return pid;
}

/* A monitor may write a log before the byte. */
static int read_first_byte(int fd)
{
	char text[512];
	ssize_t len;

	while ((len = read(fd, text, sizeof(text))) > 0)
		if (memchr(text, FIRST_BYTE, (size_t)len))
			return 0;
	return -1;
}

/* Returns whether it had to be killed. */
static int await_end(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd end = { .fd = fd, .events = POLLIN };
	int late;

	if (fd < 0)
		die("pidfd_open");
	late = poll(&end, 1, END_MS) == 0;
	if (late)
		kill(pid, SIGKILL);
	close(fd);
	return late;
}

static void measure(struct side *side, unsigned n)
{
	int out[2], status, missing, late = 0;
	struct rusage use;
	double first;
	pid_t pid;

	if (pipe2(out, O_CLOEXEC))
		die("pipe2");
	pid = spawn(side->argv, out[1]);
	close(out[1]);
	missing = read_first_byte(out[0]);
	first = now_us();
	if (!missing)
		late = await_end(pid);
	if (wait4(pid, &status, 0, &use) != pid)
		die("wait4");
	side->value[FIRST][n] = first - exec_us;
	side->value[END][n] = now_us() - exec_us;
	side->value[CPU][n] =
		timeval_us(&use.ru_utime) + timeval_us(&use.ru_stime);
	side->value[FAULTS][n] = (double)use.ru_minflt;
	close(out[0]);
	if (missing)
		snprintf(side->failed, sizeof(side->failed),
			 "wait status 0x%x and no byte of the guest", status);
	else if (late)
		side->value[END][n] = 0;
}

static void report(const struct side *side, unsigned turns)
{
	for (unsigned f = 0; f < FIGURES; f++) {
		printf("%s %s", figures[f], side->name);
		if (*side->failed)
			printf(" ! %s", side->failed);
		else if (!side->value[f][0])
			printf(" ! does not end by itself");
		else
			for (unsigned n = 0; n < turns; n++)
				printf(" %.1f", side->value[f][n]);
		printf("\n");
	}
}

static int usage(void)
{
	fprintf(stderr, "start TURNS NAME COMMAND [-- NAME COMMAND]...\n");
	return 2;
}

static int parse(char **argv)
{
	for (char **at = argv; *at; side_count++) {
		struct side *side = &sides[side_count];

		if (side_count == SIDES_MAX || !at[1])
			return -1;
		side->name = at[0];
		side->argv = ++at;
		for (; *at && strcmp(*at, "--") != 0; at++)
			if (strcmp(*at, "@") == 0)
				*at = turn_number;
		if (*at)
			*at++ = NULL;
	}
	return side_count ? 0 : -1;
}

int main(int argc, char **argv)
{
	unsigned turns = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	unsigned warm_up = turns < WARM_UP ? turns : WARM_UP;

	if (!turns || turns > TURNS_MAX || parse(argv + 2))
		return usage();
	for (unsigned i = 0; i < warm_up + turns; i++) {
		unsigned n = i < warm_up ? 0 : i - warm_up;

		/* who goes first changes, lest the order be measured */
		snprintf(turn_number, sizeof(turn_number), "%u", i);
		for (unsigned s = 0; s < side_count; s++) {
			struct side *side = &sides[(i + s) % side_count];

			if (!*side->failed)
				measure(side, n);
		}
	}
	for (unsigned s = 0; s < side_count; s++)
		report(&sides[s], turns);
	return 0;
}
