/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/mmio.c virtio/queue.c */
/* uses: cpu/bus.c mem/ram.c mem/log.c mem/pool.c mem/state.c */
#include "tests/fuzz/driver.h"

#include <poll.h>

void must(bool good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "violated: %s\n", what);
	abort();
}

/* -- the loop -------------------------------------------------------------- */

struct fake fake;

static unsigned find_source(const struct loop_source *source)
{
	unsigned i = 0;

	while (i < LOOP_SOURCES_MAX && fake.source[i] != source)
		i++;
	return i;
}

int loop_add(struct loop *loop, struct loop_source *source, uint32_t events)
{
	unsigned i = find_source(NULL);

	(void)loop;
	must(find_source(source) == LOOP_SOURCES_MAX, "a source added twice");
	must(i < LOOP_SOURCES_MAX && source->fd >= 0, "a source");
	fake.source[i] = source;
	fake.events[i] = events;
	return 0;
}

int loop_change(struct loop *loop, struct loop_source *source, uint32_t events)
{
	unsigned i = find_source(source);

	(void)loop;
	if (i == LOOP_SOURCES_MAX)
		return -ENOENT;
	fake.events[i] = events;
	return 0;
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	unsigned i = find_source(source);

	(void)loop;
	if (i < LOOP_SOURCES_MAX)
		fake.source[i] = NULL;
}

int loop_call(struct loop *loop, void (*function)(void *arg), void *arg)
{
	for (;;) {
		loop->hold = fake.resumed = false;
		function(arg);
		if (!loop->hold)
			return 0;
		must(fake.held != NULL, "a call is held for nothing");
		for (unsigned i = 0; !fake.resumed; i++) {
			must(i < 100000, "a call is held for ever");
			fake.held();
		}
	}
}

void loop_hold_call(struct loop *loop)
{
	loop->hold = true;
}

void loop_resume_calls(struct loop *loop)
{
	(void)loop;
	fake.resumed = true;
}

uint64_t loop_now(void)
{
	return fake.now;
}

int loop_timer_create(struct loop *loop, struct loop_timer *timer,
		      void (*expired)(void *arg), void *arg)
{
	(void)loop;
	*timer = (struct loop_timer){ .source = { .fd = -1 },
				      .expired = expired,
				      .arg = arg };
	for (unsigned i = 0; i < LOOP_TIMERS_MAX; i++)
		if (!fake.timer[i]) {
			fake.timer[i] = timer;
			fake.expires[i] = 0;
			return 0;
		}
	return -ENOSPC;
}

static unsigned find_timer(const struct loop_timer *timer)
{
	unsigned i = 0;

	while (i < LOOP_TIMERS_MAX && fake.timer[i] != timer)
		i++;
	return i;
}

void loop_timer_set(struct loop_timer *timer, uint64_t ns)
{
	unsigned i = find_timer(timer);

	must(i < LOOP_TIMERS_MAX, "a timer that was never made");
	fake.expires[i] = ns ? fake.now + ns : 0;
}

void loop_timer_destroy(struct loop *loop, struct loop_timer *timer)
{
	unsigned i = find_timer(timer);

	(void)loop;
	if (i < LOOP_TIMERS_MAX)
		fake.timer[i] = NULL;
}

void loop_defer(struct loop *loop, struct loop_work *work)
{
	(void)loop;
	if (work->deferred)
		return;
	must(fake.deferred_count < LOOP_WORK_MAX, "so much deferred work");
	work->deferred = true;
	fake.deferred[fake.deferred_count++] = work;
}

void loop_cancel(struct loop *loop, struct loop_work *work)
{
	unsigned kept = 0;

	(void)loop;
	work->deferred = false;
	for (unsigned i = 0; i < fake.deferred_count; i++)
		if (fake.deferred[i] != work)
			fake.deferred[kept++] = fake.deferred[i];
	fake.deferred_count = kept;
}

/*
 * Everything that is ready, once, then what was deferred before. An
 * edge-triggered source that still is ready gets one edge too many, which must
 * do no harm.
 */
void deliver(void)
{
	struct loop_work *due[LOOP_WORK_MAX];
	const unsigned due_count = fake.deferred_count;

	memcpy(due, fake.deferred, sizeof(due));
	fake.deferred_count = 0;
	for (unsigned i = 0; i < LOOP_SOURCES_MAX; i++) {
		const struct loop_source *source = fake.source[i];
		struct pollfd ready;

		if (!source)
			continue;
		/* poll's events are epoll's. */
		ready = (struct pollfd){ source->fd, (short)fake.events[i], 0 };
		if (poll(&ready, 1, 0) == 1)
			source->ready(source->arg, (uint16_t)ready.revents);
	}
	for (unsigned i = 0; i < due_count; i++)
		if (due[i]->deferred) {
			due[i]->deferred = false;
			due[i]->run(due[i]->arg);
		}
}

static void pass_time(uint64_t ns)
{
	fake.now += ns;
	for (unsigned i = 0; i < LOOP_TIMERS_MAX; i++) {
		const struct loop_timer *timer = fake.timer[i];

		if (!timer || !fake.expires[i] || fake.expires[i] > fake.now)
			continue;
		fake.expires[i] = 0;
		timer->expired(timer->arg);
	}
}

/* -- the VM ---------------------------------------------------------------- */

static struct vm host_vm;
struct ram ram;
static struct device *driven; /* the device */
static const uint8_t *shown;  /* what the guest reads without an exit */
static _Atomic bool acpi;

void vm_interrupt(const struct vm *vm, unsigned gsi)
{
	must(vm == &host_vm && gsi == 5, "an interrupt");
}

int vm_ioeventfd(struct vm *vm, int event_fd, gpa at, int64_t match)
{
	const uint64_t offset = at.v - INPUT_SLOT & ~(INPUT_SLOT ^ INPUT_ALIAS);

	if (vm != &host_vm || event_fd < 0)
		return -EINVAL;
	if (offset == 0x64)
		return match == 1 ? 0 : -EINVAL;
	return offset == 0x50 && match < QUEUES_MAX ? 0 : -EINVAL;
}

/* What both windows show is one page. */
int vm_show_page(struct vm *vm, gpa at, const void *page)
{
	must(vm == &host_vm && at.v % RAM_PAGE == 0, "where a page is shown");
	must((uintptr_t)page % RAM_PAGE == 0, "a page");
	must(!shown || shown == page, "one page");
	shown = page;
	return 0;
}

void input_attach(struct device *device)
{
	const struct mmio_slot place = {
		.base = GPA(INPUT_SLOT),
		.alias = GPA(INPUT_ALIAS),
		.alias_absent = &acpi,
		.gsi = 5,
	};

	driven = device;
	shown = NULL;
	memset(&host_vm, 0, sizeof(host_vm));
	must(!mmio_attach(device, &host_vm, &fake.loop, &ram, &place),
	     "attach");
}

/* -- the driver ------------------------------------------------------------ */

struct input input;

/* What the driver has in a ring: its next descriptor, its chain's first. */
static struct driver {
	uint16_t next, head;
} drivers[QUEUES_MAX];

uint64_t take(unsigned bytes)
{
	uint8_t value[8] = { 0 };

	if (bytes > input.left)
		bytes = (unsigned)input.left;
	memcpy(value, input.at, bytes);
	input.at += bytes;
	input.left -= bytes;
	return get_le64(value);
}

uint32_t reg_read(uint64_t offset)
{
	uint8_t bytes[4];

	must(bus_read(&host_vm.mmio, INPUT_SLOT + offset, bytes, 4),
	     "a register");
	return get_le32(bytes);
}

void reg_write(uint64_t offset, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	must(bus_write(&host_vm.mmio, INPUT_SLOT + offset, bytes, 4),
	     "a register");
}

/*
 * What the guest reads without an exit is what the device says, and nothing of
 * mote's memory besides (virtio 1.2, table 4.1; 0x60 is its first byte).
 */
static void judge_shown(void)
{
	static const struct {
		unsigned from, end;
		uint32_t bits; /* that may be set in each word */
	} parts[] = {
		{ 0x60, 0x64, 3 },	     { 0x64, 0x70, 0 },
		{ 0x70, 0x74, 0xcf },	     { 0x74, 0xb0, 0 },
		{ 0xb0, 0xc0, UINT32_MAX },  { 0xc0, 0xfc, 0 },
		{ 0xfc, 0x100, UINT32_MAX },
	};

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (unsigned at = parts[i].from; at < parts[i].end; at += 4)
			must(!(get_le32(shown + at - 0x60) & ~parts[i].bits),
			     "a register that is shown");
	must(!memcmp(shown + 0xa0, driven->config, driven->config_len),
	     "the configuration that is shown");
	for (unsigned at = 0xa0 + driven->config_len; at < RAM_PAGE; at++)
		must(!shown[at], "nothing behind it");
}

static void any_access(bool write)
{
	const uint64_t offset = take(2);
	const unsigned how = (unsigned)take(1), len = 1u << (how & 3);
	const uint64_t at =
		(how & 4 ? INPUT_ALIAS : INPUT_SLOT) + offset % 0x1070;
	const int64_t page = (int64_t)(offset % 0x1070) - 0x60;
	uint8_t bytes[8];

	put_le64(bytes, 0);
	if (write) {
		put_le64(bytes, take(len));
		bus_write(&host_vm.mmio, at, bytes, len);
	} else if (!bus_read(&host_vm.mmio, at, bytes, len)) {
		return;
	}
	if (!write && page >= 0 && page + len <= (int64_t)RAM_PAGE)
		must(!memcmp(bytes, shown + page, len), "a read by an exit");
	judge_shown();
}

static void write_ram(void)
{
	uint64_t at = take(2) * 4;
	size_t count = take(1);

	while (count-- && at < INPUT_RAM)
		ram.region[0].host[at++] = (uint8_t)take(1);
}

static uint32_t offered(unsigned half)
{
	reg_write(0x14, half);
	return reg_read(0x10);
}

static void negotiate(void)
{
	uint32_t features = (uint32_t)take(4);

	reg_write(0x70, 0);
	reg_write(0x70, 3);
	reg_write(0x24, 1);
	reg_write(0x20, 1);
	reg_write(0x24, 0);
	reg_write(0x20, features == UINT32_MAX ? offered(0) : features);
	reg_write(0x70, 11);
	memset(drivers, 0, sizeof(drivers));
}

static void make_ready(void)
{
	const uint32_t queue = (uint32_t)take(1) % (driven->queue_count + 1);
	const uint32_t number = 1u << take(1) % 10;
	const uint32_t at = (uint32_t)take(2) * 16;

	reg_write(0x30, queue);
	reg_write(0x38, number);
	reg_write(0x80, at);
	reg_write(0x84, 0);
	reg_write(0x90, at + 16 * number);
	reg_write(0x94, 0);
	reg_write(0xa0,
		  at + 16 * number + (uint32_t)round_up(6 + 2 * number, 4));
	reg_write(0xa4, 0);
	reg_write(0x44, 1);
}

static void put16(gpa at, uint16_t value)
{
	uint8_t bytes[2];

	put_le16(bytes, value);
	ram_write(&ram, at, bytes, sizeof(bytes));
}

/* One descriptor more in the ring that a queue really has. */
void offer(void)
{
	const unsigned number = (unsigned)take(1) % driven->queue_count;
	const struct queue *queue = &driven->queue[number];
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
		acpi = true;
		break;
	case 9:
		deliver();
		break;
	case 10:
		pass_time((take(1) + 1) * 4000000);
		break;
	default:
		input_host(operation - INPUT_HOST);
	}
}

/* Before a device is made. */
void input_begin(const uint8_t *data, size_t size)
{
	const struct ram_options options = { .size = INPUT_RAM };

	log_set_level(LOG_ERROR);
	if (!ram.size)
		must(!ram_create(&ram, &options), "RAM");
	memset(ram.region[0].host, 0, INPUT_RAM);
	memset(&fake, 0, sizeof(fake));
	memset(drivers, 0, sizeof(drivers));
	fake.now = 1;
	acpi = false;
	input = (struct input){ data, size };
}

/* All of it; then whatever it was, a reset must mend it. */
void input_run(void)
{
	while (input.left)
		operate((unsigned)take(1) % INPUT_OPS);
	for (unsigned i = 0; i < 4; i++) {
		deliver();
		pass_time(1000000000);
	}
	reg_write(0x70, 0);
	must(!reg_read(0x70) && !reg_read(0x60), "reset");
	must(!driven->active && !driven->acked, "inactive");
	for (unsigned i = 0; i < driven->queue_count; i++)
		must(!driven->queue[i].ready, "queues stopped");
}
