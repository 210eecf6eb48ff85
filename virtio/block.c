/*
 * The virtio block device.
 *
 * Takes requests from its queues, carries them out through an engine, gives
 * them back as they get done, in whatever order that is. Requests live in one
 * pool, mapped at start-up and touched only as deep as they are used (the free
 * ones are a stack). When the pool is empty, a rate limit bites or a queue has
 * had its turn, the queue is marked as stalled and looked at again later.
 *
 * Trusts neither the driver (virtio/queue.c, block_request.c) nor the file.
 * Owns the backing, the engine, the overlay. Loop's thread.
 */
#include "virtio/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "mem/bytes.h"
#include "mem/log.h"
#include "virtio/block_request.h"
#include "virtio/limiter.h"

/* virtio 1.2, 5.2.3 */
#define FEATURE_SEG_MAX	     (1ULL << 2)
#define FEATURE_RO	     (1ULL << 5)
#define FEATURE_BLK_SIZE     (1ULL << 6)
#define FEATURE_FLUSH	     (1ULL << 9)
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

#define TURN_MAX 128 /* chains taken from a queue before others have a turn */

struct block {
	struct device device; /* first */
	struct block_backing backing;
	char serial[BLOCK_SERIAL_BYTES + 1];
	struct block_disk disk;
	struct overlay overlay;
	struct loop *loop;
	struct loop_source completions;
	struct loop_timer timer; /* stalled queues have another look */
	struct limiter bytes, ops;
	/* Bits of queues: waiting for the timer, for a request; to publish. */
	uint32_t stalled, starved, dirty;
	unsigned in_flight;
	struct block_request *pool, *free; /* used once, now free: a stack */
	unsigned pool_used;		   /* of the pool, from its start */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* True where the request has to wait: the timer is set. */
static bool limited(struct block *b, const struct block_request *r)
{
	uint64_t now, wait, wait_ops;

	if (!b->bytes.rate && !b->ops.rate)
		return false;
	now = now_ns();
	wait = limiter_take(&b->bytes, 0, now);
	wait_ops = limiter_take(&b->ops, 0, now);
	if (wait < wait_ops)
		wait = wait_ops;
	if (wait) {
		loop_timer_set(&b->timer, wait);
		return true;
	}
	limiter_take(&b->bytes, block_request_bytes(r), now);
	limiter_take(&b->ops, 1, now);
	return false;
}

/* The one used last comes first: memory is touched only as deep as needed. */
static struct block_request *get_request(struct block *b)
{
	struct block_request *r = b->free;

	if (r)
		b->free = r->next_free;
	else if (b->pool_used < ENGINE_DEPTH)
		r = &b->pool[b->pool_used++];
	return r;
}

static void put_request(struct block *b, struct block_request *r)
{
	r->next_free = b->free;
	b->free = r;
}

static void finish(struct block *b, struct block_request *r, int status)
{
	block_request_put_status(r, (enum block_status)status);
	queue_push(&b->device.queue[r->queue], r->chain.head, r->written);
	b->dirty |= 1u << r->queue;
	put_request(b, r);
	b->in_flight--;
}

static void step_done(void *arg, struct engine_io *io)
{
	struct block *b = arg;
	struct block_request *r = (struct block_request *)io;
	int status = block_request_step_done(&b->disk, r);

	if (status != BLOCK_PENDING)
		finish(b, r, status);
}

static void publish(struct block *b)
{
	bool interrupt = false;

	for (uint32_t left = b->dirty; left; left &= left - 1)
		interrupt |=
			queue_publish(&b->device.queue[__builtin_ctz(left)]);
	b->dirty = 0;
	if (interrupt)
		device_interrupt(&b->device);
}

/* Takes one chain: false where the queue has no more, or has to wait. */
static bool take_one(struct block *b, unsigned index)
{
	struct queue *queue = &b->device.queue[index];
	struct block_request *r = get_request(b);
	int status;

	if (!r) {
		b->starved |= 1u << index;
		return false;
	}
	status = queue_pop(queue, &r->chain);
	if (status > 0 && limited(b, r)) {
		queue_unpop(queue);
		b->stalled |= 1u << index;
		status = 0;
	}
	if (status <= 0) {
		put_request(b, r);
		if (status < 0)
			device_broken(&b->device, "a request queue is "
						  "malformed");
		return false;
	}
	r->queue = (uint16_t)index;
	b->in_flight++;
	status = block_request_start(&b->disk, r);
	if (status >= 0) {
		if (status != BLOCK_PENDING)
			finish(b, r, status);
		return true;
	}
	b->in_flight--;
	put_request(b, r);
	device_broken(&b->device, "a request has no status byte");
	return false;
}

static void look_at(struct block *b, unsigned index)
{
	struct queue *queue = &b->device.queue[index];
	unsigned turn = 0;

	b->stalled &= ~(1u << index);
	queue_ignore_kicks(queue);
	do
		while (turn < TURN_MAX && take_one(b, index))
			turn++;
	while (turn < TURN_MAX && !((b->stalled | b->starved) & 1u << index) &&
	       queue_want_kick(queue));
	if (turn == TURN_MAX) {
		b->stalled |= 1u << index;
		loop_timer_set(&b->timer, 1);
	}
}

static void look_at_all(struct block *b, uint32_t queues)
{
	for (; queues; queues &= queues - 1)
		look_at(b, (unsigned)__builtin_ctz(queues));
}

static bool has_request(const struct block *b)
{
	return b->free || b->pool_used < ENGINE_DEPTH;
}

/* Hands over what was submitted; what is done at once makes room for more. */
static void push_on(struct block *b)
{
	struct engine *engine = b->disk.engine;
	uint32_t starved;

	for (;;) {
		engine->ops->flush(engine);
		publish(b);
		if (!b->starved || !has_request(b))
			return;
		starved = b->starved;
		b->starved = 0;
		look_at_all(b, starved);
	}
}

static void kick(struct device *device, unsigned index)
{
	struct block *b = (struct block *)device;

	look_at(b, index);
	push_on(b);
}

static void on_completions(void *arg, uint32_t events)
{
	struct block *b = arg;
	struct engine *engine = b->disk.engine;
	uint64_t count;

	(void)events;
	if (read(engine->event_fd, &count, sizeof(count)) < 0)
		return;
	engine->ops->reap(engine);
	push_on(b);
}

static void on_timer(void *arg)
{
	struct block *b = arg;

	look_at_all(b, b->stalled);
	push_on(b);
}

static void activate(struct device *device)
{
	struct block *b = (struct block *)device;

	b->disk.write_through = !device_has(device, FEATURE_FLUSH);
}

static void reset(struct device *device)
{
	struct block *b = (struct block *)device;
	struct engine *engine = b->disk.engine;

	loop_timer_set(&b->timer, 0);
	while (b->in_flight)
		engine->ops->wait(engine);
	b->stalled = b->starved = b->dirty = 0;
}

static const struct device_ops block_ops = {
	.activate = activate,
	.kick = kick,
	.reset = reset,
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

static int create_engine(struct block *b, enum block_engine wanted)
{
	const struct engine_options options = {
		.fds = { b->backing.fd, b->overlay.fd },
		.fd_count = b->disk.overlay ? 2 : 1,
		.done = step_done,
		.arg = b,
	};
	struct engine *engine = NULL;
	int error = 0;

	if (wanted != BLOCK_ENGINE_THREADS)
		engine = uring_create(&options, &error);
	if (!engine && wanted == BLOCK_ENGINE_URING) {
		log_error("%s: this host has no io_uring for mote: %s; leave "
			  "engine=uring out",
			  b->backing.name, strerror(-error));
		return error;
	}
	if (!engine)
		engine = worker_create(&options, &error);
	if (!engine) {
		log_error("%s: cannot start its worker thread: %s",
			  b->backing.name, strerror(-error));
		return error;
	}
	log_info("%s: engine %s", b->backing.name, engine->ops->name);
	b->disk.engine = engine;
	return 0;
}

static int create_pool(struct block *b)
{
	void *pool = mmap(NULL, ENGINE_DEPTH * sizeof(*b->pool),
			  PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (pool == MAP_FAILED)
		return log_errno("mmap of a disk's requests");
	b->pool = pool;
	return 0;
}

static int connect_loop(struct block *b)
{
	int error = loop_timer_create(b->loop, &b->timer, on_timer, b);

	if (error)
		return error;
	b->completions = (struct loop_source){
		.fd = b->disk.engine->event_fd,
		.ready = on_completions,
		.arg = b,
	};
	error = loop_add(b->loop, &b->completions, EPOLLIN);
	if (error)
		log_error("%s: epoll: %s", b->backing.name, strerror(-error));
	return error;
}

static void init(struct block *b, const struct block_options *o)
{
	b->device = (struct device){
		.ops = &block_ops,
		.id = DEVICE_BLOCK,
		.name = b->backing.name,
		.features = FEATURE_SEG_MAX | FEATURE_BLK_SIZE | FEATURE_FLUSH |
			    FEATURE_TOPOLOGY | FEATURE_MQ |
			    (b->backing.ro
				     ? FEATURE_RO
				     : FEATURE_DISCARD | FEATURE_WRITE_ZEROES),
		.queue_count = o->queues,
		.queue_size = QUEUE_SIZE_MAX,
		.config_len = CONFIG_SIZE,
	};
	b->disk.backing = &b->backing;
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
		close(backing->fd);
		return NULL;
	}
	b->backing = *backing;
	b->loop = loop;
	b->timer.source.fd = b->completions.fd = b->overlay.fd = -1;
	init(b, options);
	error = create_pool(b);
	if (!error && backing->ephemeral) {
		error = overlay_open(&b->overlay, b->backing.name, backing->fd,
				     backing->size);
		b->disk.overlay = &b->overlay;
	}
	if (!error)
		error = create_engine(b, options->engine);
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

void block_destroy(struct block *b)
{
	if (b->completions.fd >= 0)
		loop_remove(b->loop, &b->completions);
	loop_timer_destroy(b->loop, &b->timer);
	if (b->disk.engine)
		b->disk.engine->ops->destroy(b->disk.engine);
	if (b->disk.overlay)
		overlay_close(&b->overlay);
	if (b->pool)
		munmap(b->pool, ENGINE_DEPTH * sizeof(*b->pool));
	if (b->backing.fd >= 0) {
		/* The kernel may keep a ring, and what it has registered. */
		flock(b->backing.fd, LOCK_UN);
		close(b->backing.fd);
	}
	free(b);
}
