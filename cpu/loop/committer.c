/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The committer's life:
 *
 *	mote			committer
 *	a new file, .NAME.XXXXXX
 *	fork			keeps the directory and that file
 *	writes it
 *	last or not	-->	fsync, rename over NAME, fsync of the directory
 *			<--	errno, and the next new file (SCM_RIGHTS)
 *	file		-->	where that could not be made: once more
 *			<--	the same
 *	its end		-->	removes a file that is not renamed; ends
 *
 * As with the broker (broker.c), who could take it over finds that its filter
 * compares pointers: it renames, removes and makes files of these two names in
 * this directory, which lie on a page that can be neither written to nor
 * replaced, and nothing else.
 *
 * A file that has no directory to be renamed in (fd=N) is written where it is.
 *
 * Trusts nobody. Owns the directory and the new file.
 */
#include "cpu/loop/committer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/ram.h"

#ifndef MAP_FIXED_NOREPLACE /* Linux 4.17 */
#define MAP_FIXED_NOREPLACE 0x100000
#endif

/* -- in the committer ----------------------------------------------------- */

/* What mote says: a byte. */
enum order { ORDER_COMMIT, ORDER_LAST, ORDER_FILE };

/*
 * Is it still what is to be replaced? Who gives the name to another file just
 * behind this look has it replaced all the same.
 */
static int check_mark(void)
{
	const struct committer_mark *mark = (void *)COMMITTER_MARK;
	uint8_t there[sizeof(mark->bytes)] = { 0 };
	ssize_t n = -1;
	int fd;

	if (!mark->len)
		return 0;
	fd = openat(COMMITTER_DIR, (char *)COMMITTER_NAME, COMMITTER_LOOK, 0);
	if (fd >= 0) {
		n = pread(fd, there, mark->len, mark->at);
		close(fd);
	}
	return n == mark->len && !memcmp(there, mark->bytes, mark->len)
		       ? 0
		       : -ESTALE;
}

/* 0 or -errno: then it has no name yet. */
static int rename_finished(int fd)
{
	int error;

	if (fsync(fd))
		return -errno;
	error = check_mark();
	if (error)
		return error;
	if (renameat(COMMITTER_DIR, (char *)COMMITTER_TEMPORARY, COMMITTER_DIR,
		     (char *)COMMITTER_NAME))
		return -errno;
	/*
	 * From here on it is done, and must not be written to any more. Where
	 * the directory is not synced a crash of the host leaves the one file
	 * or the other, and both are whole.
	 */
	fsync(COMMITTER_DIR);
	return 0;
}

static void answer_commit(int32_t result, int fd)
{
	/* Else this user has too many descriptors on their way (ETOOMANYREFS).
	 */
	if (!helper_send(COMMITTER_CHANNEL, &result, sizeof(result), fd) &&
	    fd >= 0)
		helper_send(COMMITTER_CHANNEL, &result, sizeof(result), -1);
}

/* *fd: -1, or the file that mote could not be given. 0 or -errno. */
static int make_next(int *fd)
{
	if (*fd < 0)
		*fd = openat(COMMITTER_DIR, (char *)COMMITTER_TEMPORARY,
			     COMMITTER_FLAGS, COMMITTER_MODE);
	return *fd < 0 ? -errno : 0;
}

/* That it is done is the answer; that there is no next file shows. */
static int commit_one(int *fd, char order)
{
	const int result = rename_finished(*fd);

	if (result)
		return result;
	close(*fd);
	*fd = -1;
	if (order != ORDER_LAST)
		make_next(fd);
	return 0;
}

/* One that failed stays what it is, to be written anew. */
static void serve_commits(void)
{
	int fd = COMMITTER_FILE, result;
	char order;

	while (read(COMMITTER_CHANNEL, &order, sizeof(order)) == 1) {
		result = order == ORDER_FILE ? make_next(&fd)
					     : commit_one(&fd, order);
		answer_commit(result, result ? -1 : fd);
		if (!result && order == ORDER_LAST)
			return;
	}
	unlinkat(COMMITTER_DIR, (char *)COMMITTER_TEMPORARY, 0);
}

static const char *name_in_path(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool map_names(const struct committer *c)
{
	void *at =
		mmap((void *)COMMITTER_AT, RAM_PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	const char *name = name_in_path(c->file.path);

	if (at != (void *)COMMITTER_AT)
		return false;
	memcpy((char *)COMMITTER_TEMPORARY, c->temporary, sizeof(c->temporary));
	memcpy((char *)COMMITTER_NAME, name, strlen(name) + 1);
	memcpy((void *)COMMITTER_MARK, &c->mark, sizeof(c->mark));
	return !mprotect(at, RAM_PAGE, PROT_READ);
}

struct committer_setup {
	const struct committer *committer;
	bool keeps_stderr;
	const struct thread_hook *hook;
};

/* Where it cannot be locked in it does nothing but to remove the file. */
static void run_committer(const void *arg, int channel)
{
	const struct committer_setup *setup = arg;
	const struct committer *c = setup->committer;
	const int fds[] = { c->dir_fd, c->fd };

	if (!helper_take(channel, fds, 2, setup->keeps_stderr))
		_exit(1);
	if (!map_names(c) ||
	    (setup->hook->enter && setup->hook->enter(setup->hook->arg, 0)))
		shutdown(COMMITTER_CHANNEL, SHUT_RDWR);
	serve_commits();
	_exit(0);
}

/* -- in mote --------------------------------------------------------------- */

/* Like mkstemp's, but in a directory that is open. */
static int make_temporary(struct committer *c)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
	const char *name = name_in_path(c->file.path);
	uint8_t random[6];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -errno;
	for (size_t i = 0; i < sizeof(random); i++)
		random[i] = (uint8_t)letters[random[i] % 64];
	snprintf(c->temporary, sizeof(c->temporary), ".%.240s.%.6s", name,
		 (char *)random);
	c->fd = openat(c->dir_fd, c->temporary, COMMITTER_FLAGS,
		       COMMITTER_MODE);
	return c->fd < 0 ? -errno : 0;
}

/* A name that is there must be a file's, which is what will be replaced. */
static int open_directory(struct committer *c)
{
	const char *path = c->file.path, *name = name_in_path(path);
	const size_t len = (size_t)(name - path);
	char dir[4096];
	struct stat status;

	if (!*name)
		return -EISDIR;
	if (strlen(name) > 240 || len >= sizeof(dir))
		return -ENAMETOOLONG;
	snprintf(dir, sizeof(dir), "%.*s", len ? (int)len : 1,
		 len ? path : ".");
	c->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir_fd < 0)
		return -errno;
	if (!fstatat(c->dir_fd, name, &status, AT_SYMLINK_NOFOLLOW) &&
	    !S_ISREG(status.st_mode))
		return -EEXIST;
	return 0;
}

static int log_no_file(const struct committer *c, int error)
{
	log_error("%s%s: a file there cannot be made: %s", c->option,
		  c->file.path,
		  error == -EEXIST ? "what has this name is no file"
				   : strerror(-error));
	return error;
}

static int take_file(struct committer *c)
{
	struct stat status;

	c->fd = file_open(&c->file, c->option, O_RDWR, 0, NULL);
	if (c->fd < 0)
		return c->fd;
	if (fstat(c->fd, &status) || !S_ISREG(status.st_mode)) {
		log_error("%sfd=%d: it is not a file", c->option, c->fd);
		return -EINVAL;
	}
	/* Such a one is not written at an offset (pwrite(2), BUGS). */
	if (!(fcntl(c->fd, F_GETFL) & O_APPEND))
		return 0;
	log_error("%sfd=%d: it is open for appending", c->option, c->fd);
	return -EINVAL;
}

int committer_open(struct committer *c, const char *option,
		   const struct option_file *file)
{
	int error;

	*c = COMMITTER_NONE;
	c->option = option;
	c->file = *file;
	if (!file->path)
		return take_file(c);
	error = open_directory(c);
	return error ? log_no_file(c, error) : 0;
}

int committer_start(struct committer *c, bool keeps_stderr,
		    const struct thread_hook *hook)
{
	const struct committer_setup setup = { c, keeps_stderr, hook };
	const struct helper helper = {
		.name = "mote committer",
		.keeps_stderr = keeps_stderr,
		.run = run_committer,
		.arg = &setup,
	};
	int child, error;

	if (!c->file.path)
		return 0;
	/* Not before: a signal ends mote at once, and nobody would remove it */
	error = make_temporary(c);
	if (error)
		return log_no_file(c, error);
	child = helper_start(&helper, &c->channel);
	if (child < 0)
		return child;
	close(c->dir_fd);
	c->dir_fd = -1;
	log_info("committer: process %d has the directory of %s%s", child,
		 c->option, c->file.path);
	return 0;
}

static int give_order(const struct committer *c, char order)
{
	return write(c->channel, &order, 1) == 1 ? 0 : -errno;
}

int committer_commit(struct committer *c, bool last)
{
	if (c->channel < 0)
		return fdatasync(c->fd) ? -errno : 0;
	return give_order(c, last ? ORDER_LAST : ORDER_COMMIT);
}

int committer_ask(struct committer *c)
{
	return give_order(c, ORDER_FILE);
}

int committer_answer(struct committer *c)
{
	int32_t result = -EPIPE;
	int next = -1;

	if (c->channel < 0)
		return 0;
	if (helper_receive(c->channel, &result, sizeof(result), &next) !=
	    sizeof(result))
		return -EPIPE;
	if (result)
		return result;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = next;
	return 0;
}

int committer_empty(struct committer *c)
{
	return c->fd >= 0 && ftruncate(c->fd, 0) ? -errno : 0;
}

void committer_close(struct committer *c)
{
	/* With a committer that is its work. */
	if (c->dir_fd >= 0) {
		if (c->fd >= 0)
			unlinkat(c->dir_fd, c->temporary, 0);
		close(c->dir_fd);
	}
	if (c->channel >= 0)
		close(c->channel);
	if (c->fd >= 0 && c->file.path)
		close(c->fd);
	c->fd = c->dir_fd = c->channel = -1;
}
