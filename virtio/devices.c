/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The types of virtio devices, and which slot each device gets: in the order of
 * the table, and of one type as the command line names them, so that the first
 * disk is always vda.
 *
 * Options are the user's and trusted; what they name is not, and each type
 * checks it when it opens it. Owns the devices. Main thread.
 */
#include "virtio/devices.h"

#include <errno.h>
#include <stdlib.h>

#include "cpu/loop/thread.h"
#include "cpu/loop/unixsock.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"
#include "virtio/mmio.h"

struct device_type {
	unsigned (*count)(const struct device_options *options);
	unsigned (*features)(const struct devices *devices,
			     const struct device_slot *slot);
	/* Opens the host's side: 0 or -errno, logged. */
	int (*open)(struct devices *devices, unsigned number);
	/* Sets self and device: 0 or -errno, logged. */
	int (*create)(struct devices *devices, struct device_slot *slot,
		      struct loop *loop);
	void (*destroy)(void *self);
	void (*counters)(const struct device_slot *slot,
			 struct report_line *line);
};

static unsigned count_disks(const struct device_options *options)
{
	return options->disk_count;
}

static unsigned disk_device_features(const struct devices *d,
				     const struct device_slot *slot)
{
	const struct block_backing *b = &d->disk[slot->number];
	unsigned features = FEATURE_DISK;

	if (slot->self)
		features |= block_features(slot->self);
	else if (d->options->disks[slot->number].engine != BLOCK_ENGINE_THREADS)
		features |= FEATURE_URING;
	if (b->ephemeral)
		features |= FEATURE_EPHEMERAL;
	else if (!b->ro)
		features |= FEATURE_DISK_WRITE |
			    (b->is_device ? FEATURE_DISK_DEVICE : 0);
	return features;
}

static int open_disk_device(struct devices *d, unsigned number)
{
	return block_open(&d->disk[number], &d->options->disks[number], number);
}

static int create_disk_device(struct devices *d, struct device_slot *slot,
			      struct loop *loop)
{
	struct block *block = block_create(
		&d->disk[slot->number], &d->options->disks[slot->number], loop);

	if (!block)
		return -EIO;
	slot->self = block;
	slot->device = block_device(block);
	return 0;
}

static void destroy_disk_device(void *self)
{
	block_destroy(self);
}

static void add_disk_counters(const struct device_slot *slot,
			      struct report_line *line)
{
	uint64_t value[DISK_COUNTERS];

	block_counters(slot->self, value);
	report_add(line, COUNTED_DISK, slot->number, value);
}

static unsigned count_nets(const struct device_options *options)
{
	return options->net_count;
}

static unsigned net_device_features(const struct devices *d,
				    const struct device_slot *slot)
{
	return net_is_stream(&d->net[slot->number]) ? FEATURE_STREAM
						    : FEATURE_TAP;
}

static int open_net_device(struct devices *d, unsigned number)
{
	return net_open(&d->net[number], &d->options->nets[number], number);
}

static int create_net_device(struct devices *d, struct device_slot *slot,
			     struct loop *loop)
{
	struct net *net = &d->net[slot->number];

	slot->self = net;
	slot->device = &net->device;
	return net_create(net, loop);
}

static void destroy_net_device(void *self)
{
	net_destroy(self);
}

static void add_net_counters(const struct device_slot *slot,
			     struct report_line *line)
{
	uint64_t value[NET_COUNTERS];

	net_counters(slot->self, value);
	report_add(line, COUNTED_NET, slot->number, value);
}

static unsigned count_vsocks(const struct device_options *options)
{
	return vsock_is_shared(&options->vsock) || options->vsock.internal;
}

static unsigned vsock_device_features(const struct devices *d,
				      const struct device_slot *slot)
{
	(void)slot;
	return (vsock_is_shared(&d->options->vsock) ? FEATURE_VSOCK : 0) |
	       (vsock_dials(d->vsock) ? FEATURE_VSOCK_DIAL : 0) |
	       (unixsock_is_ours(vsock_file(d->vsock)) ? FEATURE_SOCKET_FILE
						       : 0) |
	       (d->options->vsock.internal ? FEATURE_COMMAND : 0);
}

static int open_vsock_device(struct devices *d, unsigned number)
{
	int error = vsock_open(&d->vsock, &d->options->vsock);

	(void)number;
	/* From now on there is a file that must not stay behind. */
	if (!error)
		d->slot[d->count - 1].self = d->vsock;
	return error;
}

static int create_vsock_device(struct devices *d, struct device_slot *slot,
			       struct loop *loop)
{
	slot->device = vsock_device(d->vsock);
	return vsock_create(slot->self, loop);
}

static void destroy_vsock_device(void *self)
{
	vsock_destroy(self);
}

static void add_vsock_counters(const struct device_slot *slot,
			       struct report_line *line)
{
	uint64_t value[VSOCK_COUNTERS];

	vsock_counters(slot->self, value);
	report_add(line, COUNTED_VSOCK, slot->number, value);
}

static const struct device_type device_types[] = {
	{ count_disks, disk_device_features, open_disk_device,
	  create_disk_device, destroy_disk_device, add_disk_counters },
	{ count_nets, net_device_features, open_net_device, create_net_device,
	  destroy_net_device, add_net_counters },
	{ count_vsocks, vsock_device_features, open_vsock_device,
	  create_vsock_device, destroy_vsock_device, add_vsock_counters },
};

static int open_devices_of_type(struct devices *d,
				const struct device_type *type)
{
	const unsigned count = type->count(d->options);
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		if (d->count == DEVICES_MAX) {
			log_error("too many devices: a guest has room for %u "
				  "disks, networks and vsocks in all",
				  DEVICES_MAX);
			return -ENOSPC;
		}
		d->slot[d->count++] = (struct device_slot){
			.type = type,
			.number = i,
		};
		error = type->open(d, i);
	}
	return error;
}

/*
 * The first use of libc's heap takes brk(2), which no filter allows; and
 * devices are created behind one. Who has no device has no heap either.
 */
static void begin_heap(void)
{
	void *volatile first = malloc(1);

	free(first);
}

int devices_open(struct devices *d, struct device_options *options,
		 unsigned cpus)
{
	const unsigned queues =
		cpus < DEVICE_QUEUES_MAX ? cpus : DEVICE_QUEUES_MAX;
	int error = 0;

	d->options = options;
	/* A queue for each CPU: they never wait for each other's lock. */
	for (unsigned i = 0; i < options->disk_count; i++)
		if (!options->disks[i].queues)
			options->disks[i].queues = queues;
	for (size_t i = 0; i < ARRAY_LEN(device_types) && !error; i++)
		error = open_devices_of_type(d, &device_types[i]);
	if (d->count)
		begin_heap();
	return error;
}

int devices_wait(struct devices *d)
{
	int error = 0;

	for (unsigned i = 0; i < d->options->net_count && !error; i++)
		error = net_wait(&d->net[i]);
	return error;
}

int devices_create(struct devices *d, const struct devices_setup *setup)
{
	int error = 0;

	for (unsigned i = 0; i < d->options->disk_count; i++)
		d->options->disks[i].hook = setup->hook;
	for (unsigned i = 0; i < d->count && !error; i++) {
		struct device_slot *slot = &d->slot[i];
		const uint64_t offset = (uint64_t)i * MMIO_SLOT_SIZE;
		const struct mmio_slot registers = {
			.base = gpa_add(setup->base, offset),
			.alias = GPA(setup->alias.v ? setup->alias.v + offset
						    : 0),
			.alias_absent = setup->alias_absent,
			.gsi = VM_GSI_VIRTIO + i,
		};

		error = slot->type->create(d, slot, setup->loop);
		if (!error)
			error = mmio_attach(slot->device, setup->vm,
					    setup->loop, setup->ram,
					    &registers);
	}
	return error;
}

unsigned devices_features(const struct devices *d)
{
	unsigned features = 0;

	for (unsigned i = 0; i < d->count; i++)
		features |= d->slot[i].type->features(d, &d->slot[i]);
	return features;
}

static void one_is_quiet(void *arg)
{
	struct devices *d = arg;

	if (!--d->busy)
		d->quiet(d->quiet_arg);
}

bool devices_pause(struct devices *d, void (*quiet)(void *arg), void *arg)
{
	d->busy = 0;
	d->quiet = quiet;
	d->quiet_arg = arg;
	for (unsigned i = 0; i < d->count; i++)
		d->busy += !mmio_pause(d->slot[i].device, one_is_quiet, d);
	return !d->busy;
}

const char *devices_awaited(const struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++)
		if (mmio_is_busy(d->slot[i].device))
			return d->slot[i].device->name;
	return NULL;
}

void devices_resume(struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++)
		mmio_resume(d->slot[i].device);
}

void devices_restored(struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++)
		mmio_restored(d->slot[i].device);
}

void devices_counters(const struct devices *d, struct report_line *line)
{
	for (unsigned i = 0; i < d->count; i++)
		if (d->slot[i].self)
			d->slot[i].type->counters(&d->slot[i], line);
}

void devices_destroy(struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++) {
		struct device_slot *slot = &d->slot[i];

		if (!slot->self)
			continue;
		if (slot->device)
			mmio_detach(slot->device);
		slot->type->destroy(slot->self);
		slot->self = slot->device = NULL;
	}
	d->count = 0;
}
