/*
 * The virtio block device: how one is made.
 *
 * Owns the backing, the engines, the overlay. Main thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"
#include "virtio/block/state.h"

/* virtio 1.2, 5.2.3 */
#define FEATURE_SEG_MAX	     (1ULL << 2)
#define FEATURE_RO	     (1ULL << 5)
#define FEATURE_BLK_SIZE     (1ULL << 6)
#define FEATURE_TOPOLOGY     (1ULL << 10)
#define FEATURE_MQ	     (1ULL << 12)
#define FEATURE_DISCARD	     (1ULL << 13)
#define FEATURE_WRITE_ZEROES (1ULL << 14)

/* Offsets in the configuration: 5.2.4 */
enum config {
	CONFIG_CAPACITY = 0,
	CONFIG_SEG_MAX = 12,
	CONFIG_BLK_SIZE = 20,
	CONFIG_PHYSICAL_EXP = 24,
	CONFIG_NUM_QUEUES = 34,
	CONFIG_DISCARD = 36, /* max sectors, max segments, alignment */
	CONFIG_ZEROES = 48,  /* max sectors, max segments */
	CONFIG_ZEROES_UNMAP = 56,
	CONFIG_SIZE = 60,
};

static void set_config(struct block *b, unsigned queues)
{
	uint8_t config[CONFIG_SIZE] = { 0 };
	const struct block_backing *backing = &b->backing;
	unsigned exp = 0;

	while (backing->logical << exp < backing->physical && exp < 8)
		exp++;
	put_le64(config + CONFIG_CAPACITY, backing->size / BLOCK_SECTOR);
	put_le32(config + CONFIG_SEG_MAX, QUEUE_SIZE_MAX - 2);
	put_le32(config + CONFIG_BLK_SIZE, backing->logical);
	config[CONFIG_PHYSICAL_EXP] = (uint8_t)exp;
	put_le16(config + CONFIG_NUM_QUEUES, (uint16_t)queues);
	put_le32(config + CONFIG_DISCARD, BLOCK_RANGE_SECTORS);
	put_le32(config + CONFIG_DISCARD + 4, BLOCK_RANGES_MAX);
	put_le32(config + CONFIG_DISCARD + 8, backing->physical / BLOCK_SECTOR);
	put_le32(config + CONFIG_ZEROES, BLOCK_RANGE_SECTORS);
	put_le32(config + CONFIG_ZEROES + 4, BLOCK_RANGES_MAX);
	config[CONFIG_ZEROES_UNMAP] = 1;
	device_set_config(&b->device, 0, config, sizeof(config));
}

/*
 * What is done better by a worker thread of ours than by io_uring. Discards of
 * a block device: a system call that io_uring may not have. Writes to a file
 * through the page cache: io_uring hands those, one after the other, to a
 * thread of the kernel's where the file system cannot take them without waiting
 * (ext4), and that one wakes this one by a signal; a worker is half as fast
 * again. With engine=uring there is none but for what the ring cannot do.
 */
static unsigned worker_ops(const struct block *b, enum block_engine wanted)
{
	const bool direct = b->backing.buffered_fd >= 0;
	const bool overlay = b->backing.ephemeral;

	if (b->backing.ro || b->disk.engine->ops->discards)
		return 0;
	if (b->backing.is_device && !overlay)
		return 1u << ENGINE_DISCARD;
	return wanted == BLOCK_ENGINE_AUTO && (overlay || !direct)
		       ? 1u << ENGINE_WRITE
		       : 0;
}

static int create_worker(struct block *b, const struct block_options *o,
			 const struct engine_options *options)
{
	int error = 0;

	b->disk.worker_ops = worker_ops(b, o->engine);
	if (b->disk.worker_ops)
		b->disk.worker = b->engines[1] = worker_create(options, &error);
	if (!error || b->disk.worker_ops & 1u << ENGINE_DISCARD)
		return error;
	/* The ring can do the rest: a limit of threads is no reason to end. */
	b->disk.worker_ops = 0;
	return 0;
}

static int create_engines(struct block *b, const struct block_options *o)
{
	const enum block_engine wanted = o->engine;
	const struct engine_options options = {
		.fds = {
			[BLOCK_FILE_BASE] = b->backing.fd,
			[BLOCK_FILE_OVERLAY] = b->backing.overlay_fd,
			[BLOCK_FILE_BUFFERED] = b->backing.buffered_fd,
		},
		.done = block_io_done,
		.arg = b,
		.hook = o->hook,
		.number = b->backing.index,
	};
	struct engine *engine = NULL;
	int error = 0;

	if (wanted != BLOCK_ENGINE_THREADS)
		engine = uring_create(&options, &error);
	if (!engine && wanted == BLOCK_ENGINE_URING) {
		log_error("%s: this host has no io_uring for mote (%s): leave "
			  "engine=uring out, or allow it with sysctl "
			  "kernel.io_uring_disabled=0",
			  b->backing.name, strerror(-error));
		return error;
	}
	if (!engine)
		engine = worker_create(&options, &error);
	b->disk.engine = b->engines[0] = engine;
	if (engine)
		error = create_worker(b, o, &options);
	if (!engine || error) {
		log_error("%s: cannot start its worker thread: %s",
			  b->backing.name, strerror(-error));
		return error;
	}
	log_info("%s: engine %s%s", b->backing.name, engine->ops->name,
		 b->disk.worker_ops & 1u << ENGINE_WRITE
			 ? ", and a thread for writes"
			 : "");
	return 0;
}

static int create_pool(struct block *b)
{
	b->disk.pool = pool_map(ENGINE_DEPTH * sizeof(*b->disk.pool));
	return b->disk.pool ? 0 : log_errno("mmap of a disk's requests");
}

static int watch(struct block *b, unsigned index)
{
	struct block_completions *c = &b->completions[index];
	int error;

	c->block = b;
	c->engine = b->engines[index];
	c->source =
		(struct loop_source){ c->engine->poll_fd, block_completed, c };
	error = loop_add(b->loop, &c->source, c->engine->poll_events);
	if (error)
		log_error("%s: epoll: %s", b->backing.name, strerror(-error));
	return error;
}

static int connect_loop(struct block *b)
{
	int error =
		loop_timer_create(b->loop, &b->timer, block_timer_expired, b);

	for (unsigned i = 0; i < BLOCK_ENGINES && !error; i++)
		if (b->engines[i])
			error = watch(b, i);
	return error;
}

static void init(struct block *b, const struct block_options *o)
{
	b->device = (struct device){
		.ops = &block_ops,
		.id = DEVICE_BLOCK,
		.name = b->backing.name,
		.features = FEATURE_SEG_MAX | FEATURE_BLK_SIZE |
			    BLOCK_FEATURE_FLUSH | FEATURE_TOPOLOGY |
			    FEATURE_MQ |
			    (b->backing.ro
				     ? FEATURE_RO
				     : FEATURE_DISCARD | FEATURE_WRITE_ZEROES),
		.queue_count = o->queues,
		.queue_size = QUEUE_SIZE_MAX,
		.config_len = CONFIG_SIZE,
	};
	b->disk.backing = &b->backing;
	b->disk.bytes = &b->bytes;
	b->disk.serial = o->serial ? b->serial : NULL;
	if (o->serial)
		strncpy(b->serial, o->serial, BLOCK_SERIAL_BYTES);
	limiter_init(&b->bytes, o->bytes_per_s, o->bytes_per_s / 10);
	limiter_init(&b->ops, o->ops_per_s, o->ops_per_s / 10);
	set_config(b, o->queues);
}

struct block *block_create(const struct block_backing *backing,
			   const struct block_options *options,
			   struct loop *loop)
{
	struct block *b = calloc(1, sizeof(*b));
	int error;

	if (!b) {
		log_error("%s: out of memory", backing->name);
		block_close(backing);
		return NULL;
	}
	b->backing = *backing;
	b->loop = loop;
	b->timer.source.fd = -1;
	init(b, options);
	error = create_pool(b);
	if (!error && backing->ephemeral) {
		error = overlay_create(&b->overlay, backing->overlay_fd,
				       backing->buffered_fd >= 0
					       ? backing->buffered_fd
					       : backing->fd,
				       backing->size);
		b->disk.overlay = &b->overlay;
	}
	if (!error)
		error = create_engines(b, options);
	if (!error)
		error = connect_loop(b);
	if (!error)
		return b;
	block_destroy(b);
	return NULL;
}

struct device *block_device(struct block *b)
{
	return &b->device;
}

unsigned block_features(const struct block *b)
{
	return b->disk.engine->ops->features;
}

void block_destroy(struct block *b)
{
	loop_timer_destroy(b->loop, &b->timer);
	for (unsigned i = 0; i < BLOCK_ENGINES; i++) {
		if (b->completions[i].engine)
			loop_remove(b->loop, &b->completions[i].source);
		if (b->engines[i])
			b->engines[i]->ops->destroy(b->engines[i]);
	}
	overlay_destroy(&b->overlay);
	pool_unmap(b->disk.pool, ENGINE_DEPTH * sizeof(*b->disk.pool));
	block_close(&b->backing);
	free(b);
}
