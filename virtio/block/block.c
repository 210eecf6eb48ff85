/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device: its requests.
 *
 * Takes requests from its queues, carries them out through an engine, gives
 * them back as they get done, in whatever order that is. Requests live in one
 * pool, mapped at start-up and touched only as deep as they are used (the free
 * ones are a stack). When the pool is empty, a rate limit bites or a queue has
 * had its turn, the queue is marked as starved or stalled and looked at again
 * later; it asks for no notification until then.
 *
 * Trusts neither the driver (virtio/queue.c, block_request.c) nor the file.
 * Loop's thread.
 */
#include "virtio/block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"

#define TURN_MAX    128	     /* chains taken from a queue before others' turn */
#define WAIT_MIN_NS 1000000u /* of a rate limit; far below its burst */
#define COPY_TURNS  16	     /* so many of them are one cluster's copy */
#define FLUSHES_MAX 8	     /* of an engine; then others have their turn */

/* True where the request has to wait: the timer is set. */
static bool limited(struct block *b, const struct block_request *r)
{
	uint64_t now, wait, wait_ops;

	if (!b->bytes.rate && !b->ops.rate)
		return false;
	now = loop_now();
	wait = limiter_take(&b->bytes, 0, now);
	wait_ops = limiter_take(&b->ops, 0, now);
	if (wait < wait_ops)
		wait = wait_ops;
	if (wait) {
		/* What comes together in the meantime goes in one turn. */
		loop_timer_set(&b->timer,
			       wait > WAIT_MIN_NS ? wait : WAIT_MIN_NS);
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
		b->free = r->next;
	else if (b->disk.pool_used < ENGINE_DEPTH)
		r = &b->disk.pool[b->disk.pool_used++];
	return r;
}

static void put_request(struct block *b, struct block_request *r)
{
	r->next = b->free;
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

/* What was held, and may go on; not so many that others wait for copies. */
static void go_on_held(struct block *b)
{
	struct block_request *r;
	int status;

	b->disk.copies = 0;
	while (b->disk.copies < TURN_MAX / COPY_TURNS &&
	       (r = block_held_take(&b->disk))) {
		b->disk.stopping = false;
		status = block_request_again(&b->disk, r);
		if (status != BLOCK_PENDING)
			finish(b, r, status);
	}
}

static void end_held(struct block *b, uint32_t queues)
{
	struct block_request *r;

	while ((r = block_held_end(&b->disk, queues)))
		finish(b, r, BLOCK_IOERR);
}

static void block_io_done(void *arg, struct engine_io *io)
{
	struct block *b = arg;
	struct block_request *r = (struct block_request *)io;
	int status;

	b->disk.stopping = b->resetting || b->draining & 1u << r->queue;
	status = block_request_step_done(&b->disk, r);
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
	b->disk.stopping = false;
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

/* True where it gave anything. */
static bool look_at(struct block *b, unsigned index)
{
	struct queue *queue = &b->device.queue[index];
	unsigned taken = 0, turn = 0;

	b->stalled &= ~(1u << index);
	b->disk.copies = 0;
	queue_ignore_kicks(queue);
	do
		while (turn < TURN_MAX && take_one(b, index))
			turn = ++taken + COPY_TURNS * b->disk.copies;
	while (turn < TURN_MAX && !((b->stalled | b->starved) & 1u << index) &&
	       queue_want_kick(queue));
	if (turn >= TURN_MAX) {
		b->stalled |= 1u << index;
		loop_timer_set(&b->timer, 1);
	}
	return turn;
}

/* In turn: a queue that always has more must not keep the others waiting. */
static void look_at_all(struct block *b, uint32_t queues)
{
	const unsigned first = b->next_queue, count = b->device.queue_count;

	for (unsigned i = 0; i < count; i++) {
		unsigned index = (first + i) % count;

		if (queues & 1u << index && look_at(b, index))
			b->next_queue = index + 1;
	}
}

static bool has_request(const struct block *b)
{
	return b->free || b->disk.pool_used < ENGINE_DEPTH;
}

/* What one did at once may have given the other something to do. */
static void flush_engines(struct block *b)
{
	bool due = true;

	for (unsigned turn = 0; due && turn < FLUSHES_MAX; turn++) {
		due = false;
		for (unsigned i = 0; i < BLOCK_ENGINES; i++) {
			struct engine *engine = b->disk.engines[i];

			if (!engine || !engine->due)
				continue;
			due = true;
			engine->due = false;
			engine->ops->flush(engine);
		}
	}
	if (due)
		loop_timer_set(&b->timer, 1);
}

/*
 * Hands over what was submitted; what is done at once makes room for queues
 * that found no request. They have one more look; a driver that keeps them full
 * all the same has to wait for the timer, so that others have their turn.
 */
static void push_on(struct block *b)
{
	uint32_t starved;

	go_on_held(b);
	flush_engines(b);
	if (b->starved && has_request(b)) {
		starved = b->starved;
		b->starved = 0;
		look_at_all(b, starved);
		flush_engines(b);
	}
	publish(b);
	if (b->starved && has_request(b)) {
		b->stalled |= b->starved;
		b->starved = 0;
		loop_timer_set(&b->timer, 1);
	}
	if (block_held_ready(&b->disk))
		loop_timer_set(&b->timer, 1);
}

static void kick(struct device *device, unsigned index)
{
	struct block *b = (struct block *)device;

	look_at(b, index);
	push_on(b);
}

static void block_completed(void *arg, uint32_t events)
{
	struct engine *engine = arg;

	(void)events;
	engine->ops->reap(engine);
	push_on(engine->arg);
}

static void block_timer_expired(void *arg)
{
	struct block *b = arg;

	look_at_all(b, b->stalled);
	push_on(b);
}

static void activate(struct device *device)
{
	struct block *b = (struct block *)device;

	b->disk.write_through = !device_has(device, BLOCK_FEATURE_FLUSH);
}

static void wait_for_any(struct block *b)
{
	for (unsigned i = 0; i < BLOCK_ENGINES; i++) {
		struct engine *engine = b->disk.engines[i];

		if (engine && engine->in_flight) {
			engine->ops->wait(engine);
			return;
		}
	}
}

/* What is in flight ends with the step that it is in. */
static void reset(struct device *device)
{
	struct block *b = (struct block *)device;

	loop_timer_set(&b->timer, 0);
	b->resetting = true;
	end_held(b, UINT32_MAX);
	while (b->in_flight)
		wait_for_any(b);
	b->resetting = false;
	b->stalled = b->starved = b->dirty = 0;
}

static struct engine *engine_of_queue(const struct block *b, unsigned index)
{
	for (unsigned i = 0; i < b->disk.pool_used; i++)
		if (b->disk.pool[i].engine && b->disk.pool[i].queue == index)
			return b->disk.pool[i].engine;
	return NULL;
}

/* The same for one queue; what others have in flight goes on meanwhile. */
static void drain(struct device *device, unsigned index)
{
	struct block *b = (struct block *)device;
	struct engine *engine;

	b->draining = 1u << index;
	end_held(b, b->draining);
	while ((engine = engine_of_queue(b, index)))
		engine->ops->wait(engine);
	b->draining = 0;
	b->stalled &= ~(1u << index);
	b->starved &= ~(1u << index);
	push_on(b);
}

static const struct device_ops block_ops = {
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.drain = drain,
};

/* -- making one ----------------------------------------------------------- */

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

	if (b->backing.ro || b->disk.engines[0]->ops->discards)
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
		b->disk.engines[1] = worker_create(options, &error);
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
	b->disk.engines[0] = engine;
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

static int watch_engine(struct block *b, struct engine *engine)
{
	int error;

	engine->source.ready = block_completed;
	engine->source.arg = engine;
	error = loop_add(b->loop, &engine->source, engine->events);
	if (error)
		log_error("%s: epoll: %s", b->backing.name, strerror(-error));
	return error;
}

static int connect_loop(struct block *b)
{
	int error =
		loop_timer_create(b->loop, &b->timer, block_timer_expired, b);

	for (unsigned i = 0; i < BLOCK_ENGINES && !error; i++)
		if (b->disk.engines[i])
			error = watch_engine(b, b->disk.engines[i]);
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
	return b->disk.engines[0]->ops->features;
}

void block_destroy(struct block *b)
{
	loop_timer_destroy(b->loop, &b->timer);
	for (unsigned i = 0; i < BLOCK_ENGINES; i++) {
		struct engine *engine = b->disk.engines[i];

		if (!engine)
			continue;
		loop_remove(b->loop, &engine->source);
		engine->ops->destroy(engine);
	}
	overlay_destroy(&b->overlay);
	pool_unmap(b->disk.pool, ENGINE_DEPTH * sizeof(*b->disk.pool));
	block_close(&b->backing);
	free(b);
}
