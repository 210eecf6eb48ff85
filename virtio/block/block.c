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

#include "virtio/block/state.h"

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

void block_io_done(void *arg, struct engine_io *io)
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
			struct engine *engine = b->engines[i];

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

void block_completed(void *arg, uint32_t events)
{
	struct block_completions *c = arg;

	(void)events;
	c->engine->ops->reap(c->engine);
	push_on(c->block);
}

void block_timer_expired(void *arg)
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
		struct engine *engine = b->engines[i];

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

const struct device_ops block_ops = {
	.activate = activate,
	.kick = kick,
	.reset = reset,
	.drain = drain,
};
