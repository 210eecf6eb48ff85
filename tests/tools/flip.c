/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds damaged kernels to `mote --check`, one damaged byte at a time.
 *
 *	flip MOTE FILE flip MASK COUNT	byte 0, 1, ... COUNT-1 XOR MASK
 *	flip MOTE FILE cut COUNT	the file cut to 0, 1, ... COUNT-1 bytes
 *
 * Each run must end by itself within 10 s with status 0 and a silent stderr,
 * or with status 125 and one line that begins "mote: ". What does not is
 * printed; the last line is the tally; status 1 if there was any. Two workers
 * share the work, each with the file in a memfd that mote gets as fd=3.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS	   2
#define LIMIT_S	   10
#define KERNEL_FD  3
#define REFUSED	   125
#define LINE_BYTES 1100
#define PREFIX	   "mote: "

static struct {
	char *mote;
	const char *file;
	bool cut;
	unsigned mask;
	off_t count;
} task;

/* Shared by the workers. */
static struct tally {
	_Atomic unsigned accepted, refused, wrong;
} * tally;

static void die(const char *what)
{
	fprintf(stderr, "flip: %s: %s\n", what, strerror(errno));
	exit(2);
}

static unsigned char *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char *bytes;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		die(path);
	*size = (size_t)st.st_size;
	bytes = malloc(*size);
	if (!bytes || read(fd, bytes, *size) != st.st_size)
		die(path);
	close(fd);
	return bytes;
}

static int spawn_check(int kernel, int message)
{
	static char fd_text[] = "fd=3", check[] = "--check", k[] = "-k";
	/* 33,000 times: namespaces would take longer than all the rest. */
	static char sandbox[] = "--sandbox=off";
	char *argv[] = { task.mote, check, k, fd_text, sandbox, NULL };
	char *environment[] = { NULL };
	int status;
	pid_t pid;

	/* vfork: to fork would take as long as the run itself does */
	/* NOLINTBEGIN(*vfork, *Vfork) */
	pid = vfork();
	if (pid < 0)
		die("vfork");
	if (!pid) {
		dup2(message, STDERR_FILENO);
		if (dup2(kernel, KERNEL_FD) < 0)
			_exit(126);
		alarm(LIMIT_S);
		execve(task.mote, argv, environment);
		_exit(126);
	}
	/* NOLINTEND(*vfork, *Vfork) */
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	return status;
}

/* One line that begins as mote's do, or, where it accepts, nothing. */
static bool message_is_good(const char *text, ssize_t len, int status)
{
	const char *end = memchr(text, '\n', (size_t)len);

	if (!status)
		return !len;
	return len > (ssize_t)sizeof(PREFIX) && end == text + len - 1 &&
	       !memcmp(text, PREFIX, sizeof(PREFIX) - 1);
}

static void judge(off_t at, int status, int message)
{
	char text[LINE_BYTES];
	ssize_t len = pread(message, text, sizeof(text), 0);
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;

	if (len < 0)
		die("pread");
	if ((code == 0 || code == REFUSED) &&
	    message_is_good(text, len, code)) {
		if (code)
			tally->refused++;
		else
			tally->accepted++;
		return;
	}
	tally->wrong++;
	fprintf(stderr, "%s %lld: wait status %04x, said: %.*s\n",
		task.cut ? "cut to" : "byte", (long long)at, (unsigned)status,
		(int)len, text);
}

static void damage(int kernel, const unsigned char *bytes, off_t at, bool undo)
{
	unsigned char byte = bytes[at];

	if (task.cut) {
		if (ftruncate(kernel, 0) ||
		    pwrite(kernel, bytes, (size_t)at, 0) != at)
			die("memfd");
		return;
	}
	if (!undo)
		byte ^= (unsigned char)task.mask;
	if (pwrite(kernel, &byte, 1, at) != 1)
		die("pwrite");
}

static void work(unsigned worker, const unsigned char *bytes, size_t size)
{
	int kernel = memfd_create("kernel", MFD_CLOEXEC);
	int message = memfd_create("message", MFD_CLOEXEC);

	/* kept clear of the number that mote is given */
	kernel = fcntl(kernel, F_DUPFD_CLOEXEC, 10);
	message = fcntl(message, F_DUPFD_CLOEXEC, 10);
	if (kernel < 0 || message < 0 ||
	    write(kernel, bytes, size) != (ssize_t)size)
		die("memfd");
	for (off_t at = worker; at < task.count; at += WORKERS) {
		int status;

		damage(kernel, bytes, at, false);
		if (ftruncate(message, 0) || lseek(message, 0, SEEK_SET))
			die("memfd");
		status = spawn_check(kernel, message);
		judge(at, status, message);
		damage(kernel, bytes, at, true);
	}
}

static int parse(int argc, char **argv)
{
	if (argc < 5)
		return -1;
	task.mote = argv[1];
	task.file = argv[2];
	task.cut = !strcmp(argv[3], "cut");
	if (argc != (task.cut ? 5 : 6))
		return -1;
	task.mask = (unsigned)strtoul(argv[4], NULL, 0);
	task.count = strtol(argv[argc - 1], NULL, 0);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned char *bytes;
	size_t size;

	if (parse(argc, argv)) {
		fprintf(stderr, "flip MOTE FILE flip MASK COUNT\n"
				"flip MOTE FILE cut COUNT\n");
		return 2;
	}
	bytes = read_file(task.file, &size);
	if (task.count > (off_t)size)
		task.count = (off_t)size;
	tally = mmap(NULL, sizeof(*tally), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tally == MAP_FAILED)
		die("mmap");
	for (unsigned i = 0; i < WORKERS; i++) {
		pid_t pid = fork();

		if (pid < 0)
			die("fork");
		if (!pid) {
			work(i, bytes, size);
			return 0;
		}
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		int status;

		if (wait(&status) < 0 || status)
			return 2;
	}
	printf("%u accepted, %u refused, %u wrong\n", tally->accepted,
	       tally->refused, tally->wrong);
	return tally->wrong != 0;
}
