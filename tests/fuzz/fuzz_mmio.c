/* uses: virtio/mmio.c virtio/mmio_regs.c virtio/device.c virtio/queue.c */
/* uses: cpu/bus.c mem/ram.c mem/log.c */
/*
 * The virtio-mmio bus: accesses of any width at any offset, rings in a RAM that
 * the input writes, and a device that copies from what it may read to what it
 * may write. The loop is played here: what another thread would do in it
 * happens at once, and a kick when the input says so.
 *
 * The input is a row of operations, each a byte and its arguments:
 *
 *	0 offset16 width value	write a register (of `width` & 3: 1 << that)
 *	1 offset16 width	read one
 *	2 at16 count value...	write to RAM at `at` * 4
 *	3 queue value		a driver's QueueNotify
 *	4 features32		reset, negotiate, up to FEATURES_OK
 *	5 queue log2 at16	a ring at `at` * 16, made ready
 *	6			DRIVER_OK
 *	7 queue flags at16 len16	a descriptor; without NEXT the chain is
 *offered 8 offset16 value	the device changes its configuration 9
 *the loop: every kick is delivered
 *	10			the guest has started its ACPI interpreter
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "mem/bytes.h"
#include "mem/log.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

#define RAM_SIZE (256 * 1024)
#define SLOT	 0xd0000000ULL
#define ALIAS	 0xd0100000ULL
#define SLOTS	 0x1000ULL
#define QUEUES	 3

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

/* -- the loop and the VM -------------------------------------------------- */

static struct loop loop;
static struct loop_source *sources[QUEUES];
static unsigned source_count;

int loop_add(struct loop *unused, struct loop_source *source, uint32_t events)
{
	(void)unused;
	must(events & EPOLLET && source_count < QUEUES, "sources");
	sources[source_count++] = source;
	return 0;
}

void loop_remove(struct loop *unused, struct loop_source *source)
{
	(void)unused;
	(void)source;
	source_count--;
}

int loop_call(struct loop *unused, void (*function)(void *arg), void *arg)
{
	(void)unused;
	function(arg);
	return 0;
}

int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi)
{
	(void)vm;
	(void)event_fd;
	return gsi == 5 ? 0 : -EINVAL;
}

int vm_ioeventfd(struct vm *vm, int event_fd, gpa at, int64_t match)
{
	(void)vm;
	(void)event_fd;
	(void)at;
	return match < QUEUES ? 0 : -EINVAL;
}

static void deliver(void)
{
	uint64_t count;

	for (unsigned i = 0; i < source_count; i++)
		if (read(sources[i]->fd, &count, sizeof(count)) > 0)
			sources[i]->ready(sources[i]->arg, EPOLLIN);
}

/* -- the device ----------------------------------------------------------- */

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
	queue_ignore_kicks(queue);
	do {
		while ((more = queue_pop(queue, &chain)) > 0) {
			copy();
			queue_push(queue, chain.head, chain.write_len);
			/* The rings may be the data; a driver can do that. */
			if (!limit--)
				return;
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

static void reset(struct device *d)
{
	must(running && d->active, "reset without activation");
	running = false;
}

static const struct device_ops ops = { activate, kick, reset };

/* -- the input ------------------------------------------------------------ */

static struct vm vm;
static struct ram ram;
static _Atomic bool absent;

static struct input {
	const uint8_t *at;
	size_t left;
} input;

static uint64_t take(unsigned bytes)
{
	uint8_t value[8] = { 0 };

	if (bytes > input.left)
		bytes = (unsigned)input.left;
	memcpy(value, input.at, bytes);
	input.at += bytes;
	input.left -= bytes;
	return get_le64(value);
}

static uint32_t reg_read(uint64_t offset)
{
	uint8_t bytes[4];

	must(bus_read(&vm.mmio, SLOT + offset, bytes, 4), "a register");
	return get_le32(bytes);
}

static void reg_write(uint64_t offset, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	bus_write(&vm.mmio, SLOT + offset, bytes, 4);
}

static void any_access(bool write)
{
	const uint64_t offset = take(2);
	const unsigned how = (unsigned)take(1), len = 1u << (how & 3);
	const uint64_t at = (how & 4 ? ALIAS : SLOT) + offset % (SLOTS + 16);
	uint8_t bytes[8];

	if (write) {
		put_le64(bytes, take(len));
		bus_write(&vm.mmio, at, bytes, len);
	} else {
		bus_read(&vm.mmio, at, bytes, len);
	}
}

static void write_ram(void)
{
	uint64_t at = take(2) * 4;
	size_t count = take(1);

	while (count-- && at < RAM_SIZE)
		ram.region[0].host[at++] = (uint8_t)take(1);
}

static void negotiate(void)
{
	uint32_t features = (uint32_t)take(4);

	reg_write(0x70, 0);
	reg_write(0x70, 3);
	reg_write(0x24, 1);
	reg_write(0x20, 1);
	reg_write(0x24, 0);
	reg_write(0x20, features);
	reg_write(0x70, 11);
}

static void make_ready(void)
{
	const uint32_t queue = (uint32_t)take(1) % (QUEUES + 1);
	const uint32_t number = 1u << take(1) % 10;
	const uint32_t at = (uint32_t)take(2) * 16;

	reg_write(0x30, queue);
	reg_write(0x38, number);
	reg_write(0x80, at);
	reg_write(0x84, 0);
	reg_write(0x90, at + 16 * number);
	reg_write(0x94, 0);
	reg_write(0xa0, at + 16 * number + round_up(6 + 2 * number, 4));
	reg_write(0xa4, 0);
	reg_write(0x44, 1);
}

/* What the driver has in a ring: its next descriptor, and its chain's first. */
static struct driver {
	uint16_t next, head;
} drivers[QUEUES];

static void put16(gpa at, uint16_t value)
{
	uint8_t bytes[2];

	put_le16(bytes, value);
	ram_write(&ram, at, bytes, sizeof(bytes));
}

/* One descriptor more in the ring that a queue really has. */
static void offer(void)
{
	const unsigned number = (unsigned)take(1) % QUEUES;
	const struct queue *queue = &device.queue[number];
	struct driver *driver = &drivers[number];
	const uint16_t flags = (uint16_t)take(1), mask = queue->mask;
	const uint16_t at = driver->next++ & mask;
	uint8_t desc[16], two[2] = { 0 };
	uint16_t idx;

	put_le64(desc, take(2) * 4);
	put_le32(desc + 8, (uint32_t)take(2));
	put_le16(desc + 12, flags);
	put_le16(desc + 14, driver->next & mask);
	if (!queue->ready)
		return;
	ram_write(&ram, gpa_add(queue->config.desc, 16ULL * at), desc, 16);
	if (flags & 1)
		return;
	/* The chain is whole. */
	ram_read(&ram, two, gpa_add(queue->config.driver, 2), 2);
	idx = get_le16(two);
	put16(gpa_add(queue->config.driver, 4 + 2ULL * (idx & mask)),
	      driver->head);
	put16(gpa_add(queue->config.driver, 2), (uint16_t)(idx + 1));
	driver->head = driver->next & mask;
}

static void configure(void)
{
	const uint32_t offset = (uint32_t)take(2);
	const uint8_t byte = (uint8_t)take(1);

	device_set_config(&device, offset, &byte, 1);
}

static void operate(unsigned operation)
{
	switch (operation) {
	case 0:
	case 1:
		any_access(!operation);
		break;
	case 2:
		write_ram();
		break;
	case 3:
		reg_write(0x50, (uint32_t)take(1));
		break;
	case 4:
		negotiate();
		break;
	case 5:
		make_ready();
		break;
	case 6:
		reg_write(0x70, 15);
		break;
	case 7:
		offer();
		break;
	case 8:
		configure();
		break;
	case 9:
		deliver();
		break;
	default:
		absent = true;
	}
}

static void start(void)
{
	const struct ram_options options = { .size = RAM_SIZE };
	const struct mmio_place place = {
		.base = GPA(SLOT),
		.alias = GPA(ALIAS),
		.alias_absent = &absent,
		.gsi = 5,
	};

	log_set_level(LOG_ERROR);
	must(!ram_create(&ram, &options), "RAM");
	device = (struct device){
		.ops = &ops,
		.id = DEVICE_NET,
		.name = "fuzzed",
		.features = 0x3f,
		.queue_count = QUEUES,
		.queue_size = QUEUE_SIZE_MAX,
		.config_len = 20,
	};
	must(!mmio_attach(&device, &vm, &loop, &ram, &place), "attach");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ram.size)
		start();
	memset(ram.region[0].host, 0, RAM_SIZE);
	memset(drivers, 0, sizeof(drivers));
	absent = false;
	input = (struct input){ data, size };
	while (input.left)
		operate((unsigned)take(1) % 11);
	deliver();
	must(running == device.active, "active");
	/* Whatever it was: a reset mends it. */
	reg_write(0x70, 0);
	must(!running && !reg_read(0x70) && !reg_read(0x60), "reset");
	return 0;
}
