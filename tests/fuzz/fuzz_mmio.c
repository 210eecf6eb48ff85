/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/mmio.c virtio/queue.c */
/* uses: cpu/bus.c mem/ram.c mem/log.c mem/pool.c mem/state.c */
/*
 * The virtio-mmio bus and rings, under a device that copies from what it may
 * read to what it may write. The input: see driver.h; the host's end:
 *
 *	11 offset16 value	the device changes its configuration
 *	12			the device is paused, or goes on
 *	13 count (at8 bits8)...	the guest goes on with a new device, after so
 *				many bytes of what was saved were changed
 *	14, 15			the device raises an interrupt
 */
/* uses: tests/fuzz/mmio_input.c */
#include "tests/fuzz/driver.h"

#define QUEUES 3

static struct device device;
static struct chain chain;
static bool running;

static void activate(struct device *d)
{
	must(!running && d->active, "activated twice");
	must(device_has(d, FEATURE_VERSION_1), "VERSION_1");
	running = true;
}

static void copy(void)
{
	struct cursor from = chain_reader(&chain), to = chain_writer(&chain);
	uint8_t bytes[512];

	while (from.left && to.left) {
		size_t n = from.left < to.left ? from.left : to.left;

		n = n < sizeof(bytes) ? n : sizeof(bytes);
		must(cursor_get(&from, bytes, n) && cursor_put(&to, bytes, n),
		     "a copy");
	}
}

static void kick(struct device *d, unsigned number)
{
	struct queue *queue = &d->queue[number];
	unsigned limit = 4 * QUEUE_SIZE_MAX;
	int more;

	must(running && number < QUEUES, "kicked while it does not run");
	must(!d->paused, "kicked while it is paused");
	queue_ignore_kicks(queue);
	do {
		while ((more = queue_pop(queue, &chain)) > 0) {
			copy();
			queue_push(queue, chain.head, chain.write_len);
			/* The rings may be the data; a driver can do that. */
			if (!limit--) {
				queue_publish(queue);
				return;
			}
		}
		if (more < 0) {
			device_broken(d, "a malformed ring");
			must(!queue_publish(queue), "a broken queue");
			return;
		}
	} while (queue_want_kick(queue));
	if (queue_publish(queue))
		device_interrupt(d);
}

static bool cancel(struct device *d, uint32_t queues)
{
	must(running && d->active, "cancel without activation");
	if (queues == DEVICE_ALL_QUEUES)
		running = false;
	return true;
}

static const struct device_ops ops = {
	.activate = activate,
	.kick = kick,
	.cancel = cancel,
};

static void change_config(void)
{
	const uint32_t offset = (uint32_t)take(2);
	const uint8_t byte = (uint8_t)take(1);

	device_set_config(&device, offset, &byte, 1);
}

static void make_device(void)
{
	device = (struct device){
		.ops = &ops,
		.id = DEVICE_NET,
		.name = "fuzzed",
		.features = 0x3f,
		.queue_count = QUEUES,
		.queue_size = QUEUE_SIZE_MAX,
		.config_len = 20,
	};
	input_attach(&device);
}

static void lose_device(void)
{
	mmio_detach(&device);
	running = false;
}

static void all_of_it(struct state *s)
{
	mmio_state_slot(&device, s);
	must(!s->wrong || !s->loading || !reg_read(0x70), "a part is taken");
	for (unsigned i = 0; i < QUEUES && !s->wrong; i++)
		mmio_state_queue(&device, i, s);
}

/* What is refused ends mote: the guest has a device that knows nothing. */
static void move_device(void)
{
	uint8_t bytes[256];
	struct state s = state_save(bytes, sizeof(bytes));
	unsigned changes = (unsigned)take(1) % 8;
	const bool changed = changes;
	size_t len;

	all_of_it(&s);
	must(state_is_whole(&s), "there is room");
	len = s.at;
	while (changes--) {
		const size_t at = take(1) % len;

		bytes[at] ^= (uint8_t)take(1);
	}
	lose_device();
	make_device();
	s = state_load(bytes, len);
	all_of_it(&s);
	must(changed || state_is_whole(&s), "what was saved can be loaded");
	if (state_is_whole(&s)) {
		mmio_restored(&device);
		return;
	}
	lose_device();
	make_device();
}

void input_host(unsigned operation)
{
	if (!operation)
		change_config();
	else if (operation == 1 && !device.paused)
		must(mmio_pause(&device, NULL, NULL), "nothing is in flight");
	else if (operation == 1)
		mmio_resume(&device);
	else if (operation == 2)
		move_device();
	else if (running)
		device_interrupt(&device);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	input_begin(data, size);
	running = false;
	make_device();
	input_run();
	must(!running, "running");
	mmio_detach(&device);
	return 0;
}
