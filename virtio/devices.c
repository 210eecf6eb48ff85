/*
 * The kinds of virtio devices, and which slot each device gets: in the order of
 * the table, and of one kind as the command line names them, so that the first
 * disk is always vda.
 *
 * Options are the user's and trusted; what they name is not, and each kind
 * checks it when it opens it. Owns the devices. Main thread.
 */
#include "virtio/devices.h"

#include <errno.h>

#include "cpu/loop/features.h"
#include "cpu/loop/unixsock.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"
#include "virtio/mmio.h"

struct device_kind {
	unsigned (*count)(const struct device_options *options);
	unsigned (*features)(const struct devices *devices,
			     const struct devices_one *one);
	/* Opens the host's side: 0 or -errno, logged. */
	int (*open)(struct devices *devices, unsigned number);
	/* Sets self and device: 0 or -errno, logged. */
	int (*create)(struct devices *devices, struct devices_one *one,
		      struct loop *loop);
	void (*destroy)(void *self);
};

static unsigned disk_count(const struct device_options *options)
{
	return options->disk_count;
}

static unsigned disk_features(const struct devices *d,
			      const struct devices_one *one)
{
	const struct block_backing *b = &d->disk[one->number];
	unsigned features = FEATURE_DISK;

	if (one->self)
		features |= block_features(one->self);
	if (b->ephemeral)
		features |= FEATURE_EPHEMERAL;
	else if (!b->ro)
		features |= FEATURE_DISK_WRITE |
			    (b->is_device ? FEATURE_DISK_DEVICE : 0);
	return features;
}

static int disk_open(struct devices *d, unsigned number)
{
	return block_open(&d->disk[number], &d->options.disks[number], number);
}

static int disk_create(struct devices *d, struct devices_one *one,
		       struct loop *loop)
{
	struct block *block = block_create(
		&d->disk[one->number], &d->options.disks[one->number], loop);

	if (!block)
		return -EIO;
	one->self = block;
	one->device = block_device(block);
	return 0;
}

static void disk_destroy(void *self)
{
	block_destroy(self);
}

static unsigned net_count(const struct device_options *options)
{
	return options->net_count;
}

static unsigned net_features(const struct devices *d,
			     const struct devices_one *one)
{
	return net_is_stream(&d->net[one->number]) ? FEATURE_STREAM
						   : FEATURE_TAP;
}

static int open_net(struct devices *d, unsigned number)
{
	return net_open(&d->net[number], &d->options.nets[number], number);
}

static int create_net(struct devices *d, struct devices_one *one,
		      struct loop *loop)
{
	struct net *net = &d->net[one->number];

	one->self = net;
	one->device = &net->device;
	return net_create(net, loop);
}

static void destroy_net(void *self)
{
	net_destroy(self);
}

static unsigned vsock_count(const struct device_options *options)
{
	return vsock_is_shared(&options->vsock) || options->vsock.internal;
}

static unsigned vsock_features(const struct devices *d,
			       const struct devices_one *one)
{
	(void)one;
	return (vsock_is_shared(&d->options.vsock) ? FEATURE_VSOCK : 0) |
	       (vsock_dials(d->vsock) ? FEATURE_VSOCK_DIAL : 0) |
	       (unixsock_is_ours(vsock_file(d->vsock)) ? FEATURE_SOCKET_FILE
						       : 0) |
	       (d->options.vsock.internal ? FEATURE_COMMAND : 0);
}

static int open_vsock(struct devices *d, unsigned number)
{
	int error = vsock_open(&d->vsock, &d->options.vsock);

	(void)number;
	/* From now on there is a file that must not stay behind. */
	if (!error)
		d->one[d->count - 1].self = d->vsock;
	return error;
}

static int create_vsock(struct devices *d, struct devices_one *one,
			struct loop *loop)
{
	one->device = vsock_device(d->vsock);
	return vsock_create(one->self, loop);
}

static void destroy_vsock(void *self)
{
	vsock_destroy(self);
}

static const struct device_kind kinds[] = {
	{ disk_count, disk_features, disk_open, disk_create, disk_destroy },
	{ net_count, net_features, open_net, create_net, destroy_net },
	{ vsock_count, vsock_features, open_vsock, create_vsock,
	  destroy_vsock },
};

static int open_kind(struct devices *d, const struct device_kind *kind)
{
	const unsigned count = kind->count(&d->options);
	int error = 0;

	for (unsigned i = 0; i < count && !error; i++) {
		if (d->count == DEVICES_MAX) {
			log_error("too many devices: a guest has room for %u "
				  "disks, networks and vsocks in all",
				  DEVICES_MAX);
			return -ENOSPC;
		}
		d->one[d->count++] = (struct devices_one){
			.kind = kind,
			.number = i,
		};
		error = kind->open(d, i);
	}
	return error;
}

int devices_open(struct devices *d, const struct device_options *options,
		 unsigned cpus)
{
	int error = 0;

	d->options = *options;
	/* A queue for each CPU: they never wait for each other's lock. */
	for (unsigned i = 0; i < options->disk_count; i++)
		d->options.disks[i].queues =
			cpus < DEVICE_QUEUES_MAX ? cpus : DEVICE_QUEUES_MAX;
	for (size_t i = 0; i < ARRAY_LEN(kinds) && !error; i++)
		error = open_kind(d, &kinds[i]);
	return error;
}

int devices_create(struct devices *d, const struct devices_place *place)
{
	int error = 0;

	for (unsigned i = 0; i < d->options.disk_count; i++)
		d->options.disks[i].hook = place->hook;
	for (unsigned i = 0; i < d->count && !error; i++) {
		struct devices_one *one = &d->one[i];
		const uint64_t offset = (uint64_t)i * MMIO_SLOT_SIZE;
		const struct mmio_slot slot = {
			.base = gpa_add(place->base, offset),
			.alias = GPA(place->alias.v ? place->alias.v + offset
						    : 0),
			.alias_absent = place->alias_absent,
			.gsi = VM_GSI_VIRTIO + i,
		};

		error = one->kind->create(d, one, place->loop);
		if (!error)
			error = mmio_attach(one->device, place->vm, place->loop,
					    place->ram, &slot);
	}
	return error;
}

unsigned devices_features(const struct devices *d)
{
	unsigned features = 0;

	for (unsigned i = 0; i < d->count; i++)
		features |= d->one[i].kind->features(d, &d->one[i]);
	return features;
}

void devices_destroy(struct devices *d)
{
	for (unsigned i = 0; i < d->count; i++) {
		struct devices_one *one = &d->one[i];

		if (!one->self)
			continue;
		if (one->device)
			mmio_detach(one->device);
		one->kind->destroy(one->self);
		one->self = one->device = NULL;
	}
	d->count = 0;
}
