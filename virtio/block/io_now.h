/*
 * Doing an operation at once, where it need not wait: what the page cache has
 * is read by one system call, with no ring and no thread (preadv2(2),
 * RWF_NOWAIT). For engines.
 */
#ifndef VIRTIO_BLOCK_IO_NOW_H
#define VIRTIO_BLOCK_IO_NOW_H

#include "virtio/block/io.h"

struct engine_now {
	int fds[ENGINE_FILES_MAX];
	bool reads[ENGINE_FILES_MAX], writes[ENGINE_FILES_MAX];
	unsigned misses; /* since something was last done at once */
	unsigned skip;	 /* so many operations are not even tried */
	unsigned tries;	 /* since engine_now_begin */
};

void engine_now_init(struct engine_now *now,
		     const struct engine_options *options);

/* A new round: a round does not go on for ever, whatever is in the cache. */
static inline void engine_now_begin(struct engine_now *now)
{
	now->tries = 0;
}

/*
 * A copy of many pages is better left to another thread, so that the loop goes
 * on meanwhile; unless it is all there is to do, and not very large.
 */
#define ENGINE_NOW_MAX	     (128u << 10)
#define ENGINE_NOW_MAX_ALONE (1u << 20)

static inline bool engine_now_is_small(const struct engine *engine,
				       const struct engine_io *io)
{
	return io->len <=
	       (engine->in_flight > 1 ? ENGINE_NOW_MAX : ENGINE_NOW_MAX_ALONE);
}

/* True where it is done, with its result. */
bool engine_now_try(struct engine_now *now, struct engine_io *io);

#endif
