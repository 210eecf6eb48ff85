/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Measures how long monitors take from exec to a guest's first instruction,
 * and from exec to their own end, in interleaved pairs: host noise then meets
 * both alike, and the ratio is what counts.
 *
 *	start PAIRS NAME COMMAND -- NAME COMMAND
 *
 * Both commands run the guest `first`, which sends one byte to the serial port
 * with its first instructions and ends the monitor with status 0. The byte
 * comes out of the monitor on a pipe: the clock starts in the child just
 * before execve() and stops when the byte is read here, so that no monitor
 * needs a special build, and each pays for its own way from the port to
 * stdout. "total" stops when the child is reaped: the KVM objects are gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 10000
#define WARM_UP	  3
#define LIMIT_S	  10 /* a run that takes longer has failed */

enum { FIRST, TOTAL, FIGURES };

struct side {
	const char *name;
	char **argv;
	double us[FIGURES][PAIRS_MAX];
};

static struct side sides[2];
static double ratios[FIGURES][PAIRS_MAX];
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

static void measure(struct side *side, unsigned n)
{
	int out[2], status;
	double first;
	ssize_t got;
	pid_t pid;
	char c = 0;

	if (pipe2(out, O_CLOEXEC))
		die("pipe2");
	pid = spawn(side->argv, out[1]);
	close(out[1]);
	got = read(out[0], &c, 1);
	first = now_us();
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	side->us[TOTAL][n] = now_us() - exec_us;
	side->us[FIRST][n] = first - exec_us;
	close(out[0]);
	if (got != 1 || c != '!' || !WIFEXITED(status) || WEXITSTATUS(status)) {
		fprintf(stderr, "start: %s: wait status %x, byte %x\n",
			side->name, (unsigned)status, (unsigned)c);
		exit(1);
	}
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of sorted values. */
static double quantile(const double *sorted, unsigned n, double q)
{
	double at = q * (n - 1);
	unsigned low = (unsigned)at;

	if (low + 1 >= n)
		return sorted[n - 1];
	return sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]);
}

static void report(const char *figure, unsigned which, unsigned n)
{
	double median[2];

	for (unsigned s = 0; s < 2; s++) {
		double *us = sides[s].us[which];

		qsort(us, n, sizeof(*us), compare);
		median[s] = quantile(us, n, 0.5);
		printf("%-22s %-6s %9.0f %9.0f %9.0f %9.0f %9.0f\n", figure,
		       sides[s].name, us[0], quantile(us, n, 0.25), median[s],
		       quantile(us, n, 0.75), us[n - 1]);
	}
	qsort(ratios[which], n, sizeof(double), compare);
	printf("%-22s ratio  %9.2f %9.2f %9.2f %9.2f %9.2f  medians %.2f\n",
	       figure, ratios[which][0], quantile(ratios[which], n, 0.25),
	       quantile(ratios[which], n, 0.5),
	       quantile(ratios[which], n, 0.75), ratios[which][n - 1],
	       median[0] / median[1]);
}

static int usage(void)
{
	fprintf(stderr, "start PAIRS NAME COMMAND -- NAME COMMAND\n");
	return 2;
}

int main(int argc, char **argv)
{
	unsigned pairs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 0;
	int split = 2;

	while (split < argc && strcmp(argv[split], "--"))
		split++;
	if (!pairs || pairs > PAIRS_MAX - WARM_UP || split < 4 ||
	    split + 2 >= argc)
		return usage();
	argv[split] = NULL;
	sides[0].name = argv[2];
	sides[0].argv = argv + 3;
	sides[1].name = argv[split + 1];
	sides[1].argv = argv + split + 2;

	for (unsigned i = 0; i < WARM_UP + pairs; i++) {
		unsigned n = i < WARM_UP ? 0 : i - WARM_UP;

		/* who goes first changes, lest the order be measured */
		measure(&sides[i % 2], n);
		measure(&sides[!(i % 2)], n);
		for (unsigned f = 0; f < FIGURES; f++)
			ratios[f][n] = sides[0].us[f][n] / sides[1].us[f][n];
	}
	printf("%u pairs, in us           %9s %9s %9s %9s %9s\n", pairs,
	       "least", "quarter", "median", "3/4", "most");
	report("exec to first insn", FIRST, pairs);
	report("exec to end", TOTAL, pairs);
	return 0;
}
