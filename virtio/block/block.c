/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio block device (virtio 1.2, 5.2): a disk of the guest's over a raw
 * file or a block device of the host's.
 *
 * Each layer uses those below it:
 *
 *	snapshot.c	what a snapshot keeps of it
 *	block.c		the device: its queues, which one is served when
 *	request.c	one request: judged, then carried out step by step
 *	file.c		the file: opened and locked; what is in the overlay
 *	io.h		one operation of an engine: io_uring.c, io_thread.c;
 *			io.c is what both share
 *
 * Requests come from disk.requests, where they are small; one of many buffers
 * has a page of disk.pages besides. From queue_pop to queue_push it is taken,
 * and is either in a step, which an engine carries out (request.engine), or
 * deferred until another request's step is done (disk.deferred). Otherwise it
 * is free. Requests end in whatever order their steps do.
 *
 * A write of 6 MiB, for example: the guest's QueueNotify has the loop call
 * block_kick. take_request pops the chain, request_start judges its header and
 * submits the first 4 MiB to an engine, and serve_engines hands that over. When
 * it is done, the engine's descriptor is readable: the loop calls engine_ready,
 * the engine calls step_done, and request_step_done submits the other 2 MiB.
 * The next time it returns BLOCK_OK, complete_request writes the status byte
 * and pushes the chain, and publish_used shows it to the driver and interrupts
 * it. Where the engine can finish at once (the page cache has the data: io.c),
 * all of this happens within block_kick.
 *
 * A queue that has more chains may have to wait: it is
 *
 *	limited		by bw= or iops=: until the timer expires, which is
 *			also for batches and pools (watch_leftovers)
 *	starved		as all requests are in flight: until one is done
 *	unfinished	as its budget is used up: until the loop's next turn
 *
 * and asks for no notification meanwhile. loop_defer brings the next turn, also
 * for engines and deferred requests that have more to do than the budget of
 * this turn.
 *
 * Cancel (a reset, a queue that is stopped, the end) takes back what the
 * engines have not begun, and the driver hears no more of anything. What is
 * begun cannot be taken back: a read would reach into memory that is something
 * else by then, a write could come after a later one to the same place. It is
 * little (ENGINE_BYTES, or what a worker thread is at), and whoever cancels is
 * told when it is done; at the end of mote nobody waits for it. But a FLUSH has
 * no bound: the host's kernel writes all that its page cache has of the file,
 * and no signal ends that. A reset does not wait for it. The process does, in
 * the kernel, when it ends.
 *
 * Pause takes nothing more from the queues and lets all that was taken be done,
 * FLUSH included, however many steps that is and whatever bw= and iops= say of
 * the next one. What waits in a queue is forgotten here, and found by the kicks
 * that follow a pause.
 *
 * Trusts neither the driver nor what the file holds. Owns the backing, the
 * engines, the overlay and the pools. It runs in the
 * loop's thread, which also creates it.
 */
#include "virtio/block/block.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"

#define QUEUE_BUDGET 128	 /* chains taken from a queue in a turn */
#define FLUSH_BUDGET 8		 /* of an engine, in a turn */
#define WAIT_MIN_NS  1000000u	 /* of a rate limit; far below its burst */
#define BATCH_NS     1000000u	 /* what is done waits no longer for others */
#define TRIM_NS	     1000000000u /* after a burst: another may follow it */

/* Of disk.pages. */
#define PAGE_BYTES (QUEUE_SIZE_MAX * sizeof(struct iovec))
_Static_assert(BLOCK_RANGES_MAX * sizeof(struct block_range) <= PAGE_BYTES,
	       "the ranges of a request fit into a page");

/* The timer expires in `ns` or before, and serves all that waits for it. */
static void wake_within(struct block *b, uint64_t ns)
{
	const uint64_t at = loop_now() + ns;

	if (b->wakes_ns && b->wakes_ns <= at)
		return;
	b->wakes_ns = at;
	loop_timer_set(&b->timer, ns);
}

/* -- requests ------------------------------------------------------------- */

static void count_request(struct block *b, const struct request *r, int status)
{
	const uint64_t bytes = (uint64_t)r->sectors * BLOCK_SECTOR;

	if (status != BLOCK_OK) {
		b->counter[DISK_ERRORS]++;
		return;
	}
	switch (r->type) {
	case BLOCK_IN:
		b->counter[DISK_READS]++;
		b->counter[DISK_READ_BYTES] += bytes;
		break;
	case BLOCK_OUT:
		b->counter[DISK_WRITES]++;
		b->counter[DISK_WRITTEN_BYTES] += bytes;
		break;
	case BLOCK_FLUSH:
		b->counter[DISK_FLUSHES]++;
		break;
	case BLOCK_DISCARD:
	case BLOCK_WRITE_ZEROES:
		b->counter[DISK_DISCARDS]++;
		b->counter[DISK_DISCARDED_BYTES] += bytes;
		break;
	case BLOCK_GET_ID:
		break;
	}
}

static void complete_request(struct block *b, struct request *r, int status)
{
	if (status == BLOCK_PENDING)
		return;
	if (!r->canceled) {
		count_request(b, r, status);
		request_put_status(r, (enum block_status)status);
		queue_push(&b->device.queue[r->queue], r->head, r->written);
		b->dirty |= 1u << r->queue;
	}
	request_free(&b->disk, r);
}

static void step_done(void *arg, struct engine_io *io)
{
	struct block *b = arg;
	struct request *r = (struct request *)io;

	complete_request(b, r, request_step_done(&b->disk, r));
}

static void resume_deferred(struct block *b)
{
	struct request *r;
	int status;

	while (!b->disk.copied && (r = request_resume(&b->disk, &status)))
		complete_request(b, r, status);
}

/* -- queues --------------------------------------------------------------- */

/*
 * The last one, of any disk; the loop's thread. 4 KiB that each disk need not
 * have, and that on the stack would be cleared for each request.
 */
static struct chain taken_chain;

/* Of the queue's next request, which may have to wait more than once. */
static void count_throttled(struct block *b, uint32_t queue)
{
	b->counter[DISK_THROTTLED] += !(b->throttled & queue);
	b->throttled |= queue;
}

/* True where the request of this queue has to wait: the timer is set. */
static bool is_rate_limited(struct block *b, uint32_t queue)
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
		wake_within(b, wait > WAIT_MIN_NS ? wait : WAIT_MIN_NS);
		count_throttled(b, queue);
		return true;
	}
	b->throttled &= ~queue;
	limiter_take(&b->bytes, request_bytes(&taken_chain), now);
	limiter_take(&b->ops, 1, now);
	return false;
}

/* Takes one chain: false where the queue has no more, or has to wait. */
static bool take_request(struct block *b, unsigned index)
{
	struct queue *queue = &b->device.queue[index];
	struct request *r;
	int status;

	if (!pool_has(&b->disk.requests)) {
		b->starved |= 1u << index;
		return false;
	}
	status = queue_pop(queue, &taken_chain);
	if (status > 0 && is_rate_limited(b, 1u << index)) {
		queue_unpop(queue);
		b->limited |= 1u << index;
		status = 0;
	}
	if (status < 0)
		device_broken(&b->device, "a request queue is malformed");
	if (status <= 0)
		return false;
	status = request_start(&b->disk, &taken_chain, index, &r);
	if (status < 0) {
		device_broken(&b->device, "a request has no status byte");
		return false;
	}
	complete_request(b, r, status);
	return true;
}

/* True where the queue had anything. */
static bool serve_queue(struct block *b, unsigned index)
{
	struct queue *queue = &b->device.queue[index];
	const uint32_t bit = 1u << index;
	unsigned taken = 0;

	b->limited &= ~bit;
	b->starved &= ~bit;
	b->unfinished &= ~bit;
	queue_ignore_kicks(queue);
	do
		while (taken < QUEUE_BUDGET && take_request(b, index))
			taken++;
	while (taken < QUEUE_BUDGET && !((b->limited | b->starved) & bit) &&
	       queue_want_kick(queue));
	if (taken == QUEUE_BUDGET) {
		b->unfinished |= bit;
		loop_defer(b->loop, &b->more);
	}
	return taken;
}

/* In turn: a queue that always has more must not keep the others waiting. */
static void serve_queues(struct block *b, uint32_t queues)
{
	const unsigned first = b->next_queue, count = b->device.queue_count;

	for (unsigned i = 0; i < count; i++) {
		unsigned index = (first + i) % count;

		if (queues & 1u << index && serve_queue(b, index))
			b->next_queue = index + 1;
	}
}

static void publish_used(struct block *b)
{
	bool interrupt = false;

	for (uint32_t left = b->dirty; left; left &= left - 1)
		interrupt |=
			queue_publish(&b->device.queue[__builtin_ctz(left)]);
	b->dirty = 0;
	if (interrupt)
		device_interrupt(&b->device);
}

/* -- engines -------------------------------------------------------------- */

/* What one did at once may have given the other something to do. */
static void flush_engines(struct block *b)
{
	bool due = true;

	for (unsigned spent = 0; due && spent < FLUSH_BUDGET; spent++) {
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
		loop_defer(b->loop, &b->more);
}

/* A bit of `awaited` that is no queue's: pause waits for whatever is taken. */
#define AWAITED_PAUSE (1u << 31)
_Static_assert(DEVICE_QUEUES_MAX < 31, "it is no queue's");

/*
 * Of these queues (bits). A FLUSH touches neither guest memory nor what others
 * write, and takes as long as it likes: nobody waits for it.
 */
static bool is_in_flight(const struct block *b, uint32_t queues)
{
	for (unsigned i = 0; i < b->disk.requests.used; i++) {
		const struct request *r = pool_object(&b->disk.requests, i);

		if (r->engine && queues & 1u << r->queue &&
		    r->io.op != ENGINE_FLUSH)
			return true;
	}
	return false;
}

/* Whoever cancels or pauses is told once what that found is over. */
static void tell_who_waits(struct block *b)
{
	const uint32_t canceled = b->awaited & ~AWAITED_PAUSE;

	if (canceled && !is_in_flight(b, canceled)) {
		b->awaited &= AWAITED_PAUSE;
		device_canceled(&b->device);
	}
	if (b->awaited & AWAITED_PAUSE && !b->disk.requests.taken) {
		b->awaited &= ~AWAITED_PAUSE;
		device_paused(&b->device);
	}
}

/*
 * What needs the timer for as long as it lasts: a batch, of which what is done
 * must not wait long for the rest; and what a burst has left of the pools.
 */
static void watch_leftovers(struct block *b)
{
	bool batch = false;

	for (unsigned i = 0; i < BLOCK_ENGINES && !b->batching; i++) {
		const struct engine *engine = b->disk.engines[i];

		batch |= engine && engine->batches && engine->in_flight > 1;
	}
	if (batch) {
		b->batching = true;
		wake_within(b, BATCH_NS);
	}
	if (!b->trims_ns &&
	    (pool_is_deep(&b->disk.requests) || pool_is_deep(&b->disk.pages))) {
		b->trims_ns = loop_now() + TRIM_NS;
		wake_within(b, TRIM_NS);
	}
}

/*
 * Hands over what was submitted; what is done at once makes room for queues
 * that found no request. They are served once more; a driver that keeps them
 * full all the same has to wait, so that others have their turn.
 */
static void serve_engines(struct block *b)
{
	if (b->disk.deferred)
		resume_deferred(b);
	flush_engines(b);
	if (b->starved && pool_has(&b->disk.requests)) {
		serve_queues(b, b->starved);
		flush_engines(b);
	}
	publish_used(b);
	if (b->awaited)
		tell_who_waits(b);
	if (b->disk.copied || (b->starved && pool_has(&b->disk.requests)) ||
	    (b->disk.deferred && request_can_resume(&b->disk)))
		loop_defer(b->loop, &b->more);
	watch_leftovers(b);
}

static void engine_ready(void *arg, uint32_t events)
{
	struct engine *engine = arg;

	(void)events;
	engine->ops->reap(engine);
	serve_engines(engine->arg);
}

/* A disk in use is looked at again after the same time: serve_engines. */
static void trim_pools(struct block *b)
{
	const uint64_t now = loop_now();

	if (!b->trims_ns)
		return;
	if (now < b->trims_ns) {
		wake_within(b, b->trims_ns - now);
		return;
	}
	b->trims_ns = 0;
	if (pool_trim(&b->disk.requests))
		pool_trim(&b->disk.pages);
}

/* What is in flight yet comes by itself, and is watched again then. */
static void forget_later_work(struct block *b)
{
	b->disk.copied = false;
	loop_cancel(b->loop, &b->more);
	loop_timer_set(&b->timer, 0);
	b->wakes_ns = b->trims_ns = 0;
	b->batching = false;
	if (pool_trim(&b->disk.requests))
		pool_trim(&b->disk.pages);
}

static void timer_expired(void *arg)
{
	struct block *b = arg;

	b->wakes_ns = 0;
	b->batching = false;
	for (unsigned i = 0; i < BLOCK_ENGINES; i++)
		if (b->disk.engines[i] && b->disk.engines[i]->batches)
			b->disk.engines[i]->ops->reap(b->disk.engines[i]);
	trim_pools(b);
	serve_queues(b, b->limited);
	serve_engines(b);
}

static void serve_unfinished(void *arg)
{
	struct block *b = arg;

	b->disk.copied = false;
	serve_queues(b, b->unfinished | b->starved);
	serve_engines(b);
}

/* -- operations of the device --------------------------------------------- */

static void block_activate(struct device *device)
{
	struct block *b = (struct block *)device;

	b->disk.write_through = !device_has(device, BLOCK_FEATURE_FLUSH);
}

static void block_kick(struct device *device, unsigned index)
{
	struct block *b = (struct block *)device;

	serve_queue(b, index);
	serve_engines(b);
}

static void forget_queues(struct block *b, uint32_t queues)
{
	b->limited &= ~queues;
	b->starved &= ~queues;
	b->unfinished &= ~queues;
}

/* The driver is to hear no more of what is in flight from these queues. */
static void forget_requests(struct block *b, uint32_t queues)
{
	struct request *r;

	b->throttled &= ~queues;
	while ((r = request_drop_deferred(&b->disk, queues)))
		request_free(&b->disk, r);
	for (unsigned i = 0; i < b->disk.requests.used; i++) {
		r = pool_object(&b->disk.requests, i);
		if (r->engine && queues & 1u << r->queue)
			r->canceled = true;
	}
	forget_queues(b, queues);
}

/*
 * What is done is taken back, too, told of or not: the worker may be at a
 * FLUSH, and would tell when that is over.
 */
static void cancel_engine(struct engine *engine)
{
	engine->ops->cancel(engine);
	if (engine->batches)
		engine->ops->reap(engine);
}

/*
 * The engines give back all that they have not begun: what other queues have
 * there is submitted once more.
 */
static bool block_cancel(struct device *device, uint32_t queues)
{
	struct block *b = (struct block *)device;
	const uint32_t pause = b->awaited & AWAITED_PAUSE;

	forget_requests(b, queues);
	for (unsigned i = 0; i < BLOCK_ENGINES; i++)
		if (b->disk.engines[i])
			cancel_engine(b->disk.engines[i]);
	b->awaited = 0;
	serve_engines(b);
	if (queues == DEVICE_ALL_QUEUES)
		forget_later_work(b);
	if (is_in_flight(b, queues))
		b->awaited = queues & ~AWAITED_PAUSE;
	/* Whoever pauses is told later: this one has not got its answer yet. */
	if (pause)
		loop_defer(b->loop, &b->more);
	b->awaited |= pause;
	return !(b->awaited & ~AWAITED_PAUSE);
}

/* What an engine has done and not told of yet is taken at once. */
static bool block_pause(struct device *device)
{
	struct block *b = (struct block *)device;

	forget_queues(b, DEVICE_ALL_QUEUES);
	for (unsigned i = 0; i < BLOCK_ENGINES; i++)
		if (b->disk.engines[i] && b->disk.engines[i]->batches)
			b->disk.engines[i]->ops->reap(b->disk.engines[i]);
	b->awaited &= ~AWAITED_PAUSE;
	serve_engines(b);
	if (!b->disk.requests.taken)
		return true;
	b->awaited |= AWAITED_PAUSE;
	return false;
}

/* -- making one ----------------------------------------------------------- */

/* virtio 1.2, 5.2.3 */
#define FEATURE_SEG_MAX	     (1ULL << 2)
#define FEATURE_RO	     (1ULL << 5)
#define FEATURE_BLK_SIZE     (1ULL << 6)
#define FEATURE_TOPOLOGY     (1ULL << 10)
#define FEATURE_MQ	     (1ULL << 12)
#define FEATURE_DISCARD	     (1ULL << 13)
#define FEATURE_WRITE_ZEROES (1ULL << 14)

#define CONFIG_SIZE 60 /* 5.2.4: struct virtio_blk_config */

static void set_config(struct block *b)
{
	uint8_t config[CONFIG_SIZE] = { 0 };
	const struct block_backing *backing = &b->backing;
	const uint32_t unit = backing->physical / BLOCK_SECTOR;
	unsigned exp = 0;

	while (backing->logical << exp < backing->physical && exp < 8)
		exp++;
	put_le64(config + 0, backing->size / BLOCK_SECTOR); /* capacity */
	put_le32(config + 12, QUEUE_SIZE_MAX - 2);	    /* seg_max */
	put_le32(config + 20, backing->logical);	    /* blk_size */
	config[24] = (uint8_t)exp; /* physical_block_exp */
	put_le16(config + 34, (uint16_t)b->device.queue_count);
	put_le32(config + 36, BLOCK_RANGE_SECTORS); /* max_discard_sectors */
	put_le32(config + 40, BLOCK_RANGES_MAX);    /* max_discard_seg */
	put_le32(config + 44, unit);		    /* discard_alignment */
	put_le32(config + 48, BLOCK_RANGE_SECTORS); /* the same of zeroes */
	put_le32(config + 52, BLOCK_RANGES_MAX);
	config[56] = 1; /* write_zeroes_may_unmap */
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
static unsigned ops_for_worker(const struct block *b, enum block_engine wanted)
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

	b->disk.worker_ops = ops_for_worker(b, o->engine);
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
	const struct engine_options options = {
		.fds = {
			[BLOCK_FILE_BASE] = b->backing.fd,
			[BLOCK_FILE_OVERLAY] = b->backing.overlay_fd,
			[BLOCK_FILE_BUFFERED] = b->backing.buffered_fd,
			[BLOCK_FILE_LAYER] = -1,
		},
		.done = step_done,
		.arg = b,
		.ro = b->backing.ro,
		.hook = o->hook,
		.number = b->backing.index,
	};
	struct engine *engine = NULL;
	int error = 0;

	if (o->engine != BLOCK_ENGINE_THREADS)
		engine = uring_create(&options, &error);
	if (!engine && o->engine == BLOCK_ENGINE_URING) {
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
		log_error("%s: cannot start its worker thread: %s%s",
			  b->backing.name, strerror(-error),
			  log_advice(-error));
		return error;
	}
	log_info("%s: engine %s%s", b->backing.name, engine->ops->name,
		 b->disk.worker_ops & 1u << ENGINE_WRITE
			 ? ", and a thread for writes"
			 : "");
	return 0;
}

static int watch_engine(struct block *b, struct engine *engine)
{
	int error;

	engine->source.ready = engine_ready;
	engine->source.arg = engine;
	error = loop_add(b->loop, &engine->source, engine->events);
	if (error)
		log_error("%s: epoll: %s", b->backing.name, strerror(-error));
	return error;
}

static int connect_loop(struct block *b)
{
	int error = loop_timer_create(b->loop, &b->timer, timer_expired, b);

	for (unsigned i = 0; i < BLOCK_ENGINES && !error; i++)
		if (b->disk.engines[i])
			error = watch_engine(b, b->disk.engines[i]);
	return error;
}

static int create_pools(struct block *b)
{
	int error = pool_create(&b->disk.requests, sizeof(struct request),
				ENGINE_DEPTH);

	if (!error)
		error = pool_create(&b->disk.pages, PAGE_BYTES, ENGINE_DEPTH);
	if (error)
		return log_errno("mmap of a disk's requests");
	if (!b->backing.ephemeral)
		return 0;
	b->disk.overlay = &b->overlay;
	return overlay_create(&b->overlay, &b->backing);
}

static void init_block(struct block *b, const struct block_options *o)
{
	static const struct device_ops ops = {
		.activate = block_activate,
		.kick = block_kick,
		.cancel = block_cancel,
		.pause = block_pause,
	};

	b->device = (struct device){
		.ops = &ops,
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
	b->timer.source.fd = -1;
	b->more = (struct loop_work){ .run = serve_unfinished, .arg = b };
	b->disk.backing = &b->backing;
	b->disk.bytes = &b->bytes;
	b->disk.ops = &b->ops;
	b->disk.serial = o->serial ? b->serial : NULL;
	if (o->serial)
		strncpy(b->serial, o->serial, BLOCK_SERIAL_BYTES);
	b->moved = o->moved;
	limiter_init(&b->bytes, o->bytes_per_s, o->bytes_per_s / 10);
	limiter_init(&b->ops, o->ops_per_s, o->ops_per_s / 10);
	set_config(b);
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
	init_block(b, options);
	error = create_pools(b);
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

void block_counters(const struct block *b, uint64_t value[DISK_COUNTERS])
{
	memcpy(value, b->counter, sizeof(b->counter));
}

unsigned block_features(const struct block *b)
{
	return b->disk.engines[0]->ops->features;
}

void block_destroy(struct block *b)
{
	unsigned in_flight = 0;

	loop_cancel(b->loop, &b->more);
	loop_timer_destroy(b->loop, &b->timer);
	for (unsigned i = 0; i < BLOCK_ENGINES; i++) {
		struct engine *engine = b->disk.engines[i];

		if (!engine)
			continue;
		loop_remove(b->loop, &engine->source);
		engine->ops->reap(engine);
		in_flight += engine->in_flight;
	}
	if (in_flight)
		return;
	for (unsigned i = 0; i < BLOCK_ENGINES; i++)
		if (b->disk.engines[i])
			b->disk.engines[i]->ops->destroy(b->disk.engines[i]);
	block_unlock(&b->backing);
	overlay_destroy(&b->overlay);
	pool_destroy(&b->disk.requests);
	pool_destroy(&b->disk.pages);
	block_close(&b->backing);
	free(b);
}
