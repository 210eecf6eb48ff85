/*
 * Doing an operation at once, where it need not wait.
 *
 * A file says by its errors what it can: EOPNOTSUPP is a file system that
 * cannot write without waiting (ext4), and is not asked again; EAGAIN is data
 * that is not in memory. Where several in a row are not, most are not tried for
 * a while: such a disk is read for the first time, and each try is a system
 * call for nothing.
 *
 * Never with O_DIRECT: there the flag is about the queue's being full, and the
 * call waits for the disk. Loop's thread.
 */
#include "virtio/block/io_now.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RWF_NOWAIT /* musl 1.2.3 has no preadv2 */
#define RWF_NOWAIT 0x8
#endif

#define TRIES_MAX    64u
#define SKIP_MAX_LOG 6u

void engine_now_init(struct engine_now *now,
		     const struct engine_options *options)
{
	*now = (struct engine_now){ 0 };
	memcpy(now->fds, options->fds, sizeof(now->fds));
	for (unsigned i = 0; i < ENGINE_FILES_MAX; i++) {
		int flags = now->fds[i] < 0 ? -1 : fcntl(now->fds[i], F_GETFL);

		now->reads[i] = flags >= 0 && !(flags & O_DIRECT);
		now->writes[i] = now->reads[i] && (flags & O_ACCMODE) == O_RDWR;
	}
}

static void miss(struct engine_now *now)
{
	now->skip = (1u << now->misses) - 1;
	if (now->misses < SKIP_MAX_LOG)
		now->misses++;
}

bool engine_now_try(struct engine_now *now, struct engine_io *io)
{
	const long call = io->op == ENGINE_READ ? SYS_preadv2 : SYS_pwritev2;
	bool *able = io->op == ENGINE_READ ? now->reads : now->writes;
	long n;

	if ((io->op != ENGINE_READ && io->op != ENGINE_WRITE) ||
	    !able[io->file] || now->tries == TRIES_MAX)
		return false;
	if (now->skip) {
		now->skip--;
		return false;
	}
	now->tries++;
	n = syscall(call, now->fds[io->file], io->iov, io->iov_count,
		    io->offset, 0, RWF_NOWAIT);
	/*
	 * 0 is the end of the file, or nothing at all: Linux 5.9 and 5.10 say
	 * so of data that is not in memory, too (preadv2(2), BUGS). The engine
	 * knows.
	 */
	if (n > 0) {
		now->misses = 0;
		io->result = n;
		return true;
	}
	/* Other errors come again, from the engine. */
	if (!n || errno == EAGAIN)
		miss(now);
	else if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
		able[io->file] = false;
	return false;
}
