/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What both engines of a disk share: giving back what was not begun, and doing
 * an operation at once where it need not wait (preadv2(2), RWF_NOWAIT).
 *
 * A file says by its errors what it can: EOPNOTSUPP is a file system that
 * cannot write without waiting (ext4), and is not asked again; EAGAIN is data
 * that is not in memory. Where several in a row are not, most are not tried for
 * a while: such a disk is read for the first time, and each try is a system
 * call for nothing.
 *
 * Files with O_DIRECT are never tried: there the flag is about the queue's
 * being full, and the call waits for the disk. Loop's thread.
 */
#include "virtio/block/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef RWF_NOWAIT /* musl 1.2.3 has no preadv2 */
#define RWF_NOWAIT 0x8
#endif

#define TRIES_MAX    64u /* a flush ends, whatever is in the cache */
#define SKIP_MAX_LOG 6u

void engine_init(struct engine *engine, const struct engine_ops *ops,
		 const struct engine_options *options)
{
	*engine = (struct engine){
		.ops = ops,
		.source.fd = -1,
		.done = options->done,
		.arg = options->arg,
	};
	memcpy(engine->fds, options->fds, sizeof(engine->fds));
	for (unsigned i = 0; i < BLOCK_FILES; i++) {
		const int fd = engine->fds[i];
		const int flags = fd < 0 ? O_DIRECT : fcntl(fd, F_GETFL);

		engine->reads_now[i] = flags >= 0 && !(flags & O_DIRECT);
		engine->writes_now[i] =
			engine->reads_now[i] && (flags & O_ACCMODE) == O_RDWR;
	}
}

int engine_add_file(struct engine *engine, enum block_file file, int fd)
{
	engine->fds[file] = fd;
	engine->reads_now[file] = true;
	return engine->ops->add_file ? engine->ops->add_file(engine, file) : 0;
}

void engine_take_back(struct engine *engine, struct io_list *list)
{
	struct engine_io *io;

	while ((io = io_list_take_first(list))) {
		io->not_begun = true;
		engine_complete(engine, io, -ECANCELED);
	}
}

static void skip_after_miss(struct engine *engine)
{
	engine->skip = (1u << engine->misses) - 1;
	if (engine->misses < SKIP_MAX_LOG)
		engine->misses++;
}

bool engine_try_now(struct engine *engine, struct engine_io *io)
{
	const bool reads = io->op == ENGINE_READ;
	bool *able = reads ? engine->reads_now : engine->writes_now;
	long n;

	if ((!reads && io->op != ENGINE_WRITE) || !able[io->file] ||
	    engine->tries == TRIES_MAX || !engine_is_small(engine, io))
		return false;
	if (engine->skip) {
		engine->skip--;
		return false;
	}
	engine->tries++;
	n = syscall(reads ? SYS_preadv2 : SYS_pwritev2, engine->fds[io->file],
		    io->iov, io->iov_count, io->offset, 0, RWF_NOWAIT);
	/*
	 * 0 is the end of the file, or nothing at all: Linux 5.9 and 5.10 say
	 * so of data that is not in memory, too (preadv2(2), BUGS). The engine
	 * finds out which.
	 */
	if (n > 0) {
		engine->misses = 0;
		io->result = n;
		return true;
	}
	/* Other errors come again, from the engine. */
	if (!n || errno == EAGAIN)
		skip_after_miss(engine);
	else if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL)
		able[io->file] = false;
	return false;
}
