/*
 * Slots of virtio-mmio on the bus: what is behind an address, how wide an
 * access may be, which descriptors a slot is wired with.
 *
 * A register is accessed as virtio 1.2, 4.2.2.2 says (32 bits, aligned) or not
 * at all: other accesses read as zero and are ignored, except that QueueNotify
 * takes any width. Configuration bytes are read in any width, and zero past
 * their end. An ordinary notification never gets here: KVM writes the queue's
 * eventfd itself.
 *
 * Owns the transport, its eventfds and their place in the loop. Attached and
 * detached by the main thread; accesses come from vCPU threads.
 */
#include "virtio/mmio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/transport.h"

/* 2.5: the driver reads ConfigGeneration before and after. */
static void read_config(struct transport *t, uint64_t at, uint8_t *data,
			unsigned len)
{
	const struct device *device = t->device;

	pthread_mutex_lock(&t->config_lock);
	for (unsigned i = 0; i < len; i++)
		data[i] = at + i < device->config_len ? device->config[at + i]
						      : 0;
	pthread_mutex_unlock(&t->config_lock);
}

static bool is_absent(const struct transport_window *window)
{
	return window->absent && atomic_load(window->absent);
}

static void slot_read(void *device, uint64_t offset, uint8_t *data,
		      unsigned len)
{
	const struct transport_window *window = device;
	uint32_t value = 0;

	memset(data, 0, len);
	if (offset >= CONFIG) {
		read_config(window->transport, offset - CONFIG, data, len);
	} else if (len == 4 && offset % 4 == 0) {
		if (offset != DEVICE_ID || !is_absent(window))
			value = transport_read(window->transport,
					       (unsigned)offset);
		put_le32(data, value);
	}
}

static void kick(struct transport *t, unsigned queue)
{
	const uint64_t one = 1;

	while (write(t->kick[queue].source.fd, &one, sizeof(one)) < 0 &&
	       errno == EINTR)
		;
}

/* Reached where no ioeventfd matched: another width, or no such queue. */
static void notify(struct transport *t, const uint8_t *data, unsigned len)
{
	uint64_t queue = 0;

	memcpy(&queue, data, len);
	if (queue < t->device->queue_count)
		kick(t, (unsigned)queue);
}

/* No device here has configuration bytes that a driver may write. */
static void slot_write(void *device, uint64_t offset, const uint8_t *data,
		       unsigned len)
{
	const struct transport_window *window = device;

	if (is_absent(window))
		return;
	if (offset == QUEUE_NOTIFY)
		notify(window->transport, data, len);
	else if (offset < CONFIG && len == 4 && offset % 4 == 0)
		transport_write(window->transport, (unsigned)offset,
				get_le32(data));
}

static const struct bus_ops slot_ops = { slot_read, slot_write };

/* -- attaching ------------------------------------------------------------ */

static void init(struct transport *t, struct device *device, struct loop *loop,
		 const struct ram *ram)
{
	*t = (struct transport){
		.device = device,
		.loop = loop,
		.ram = ram,
		.irq_fd = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.config_lock = PTHREAD_MUTEX_INITIALIZER,
	};
	for (unsigned i = 0; i < DEVICE_QUEUES_MAX; i++) {
		struct transport_kick *k = &t->kick[i];

		k->source = (struct loop_source){ -1, transport_kicked, k };
		k->transport = t;
		k->queue = i;
	}
	transport_write(t, STATUS, 0);
	device->active = false;
	device->acked = 0;
}

static int add_window(struct transport *t, struct vm *vm, unsigned number,
		      gpa base, const _Atomic bool *absent)
{
	struct transport_window *window = &t->window[number];
	int error;

	*window = (struct transport_window){ t, absent };
	error = bus_add(&vm->mmio, base.v, MMIO_SLOT_SIZE, &slot_ops, window);
	if (error)
		log_error("no room on the bus for %s: %s", t->device->name,
			  strerror(-error));
	return error;
}

/* One queue needs no comparison: the kernel's quickest kind of ioeventfd. */
static int64_t notify_match(const struct device *device, unsigned queue)
{
	return device->queue_count == 1 ? VM_IOEVENTFD_ANY : (int64_t)queue;
}

static int add_queue(struct transport *t, struct vm *vm,
		     const struct mmio_place *place, unsigned queue)
{
	struct transport_kick *k = &t->kick[queue];
	const int64_t match = notify_match(t->device, queue);
	int error;

	k->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->source.fd < 0)
		return log_errno("eventfd");
	error = loop_add(t->loop, &k->source, EPOLLIN | EPOLLET);
	if (error) {
		log_error("cannot watch an eventfd: %s", strerror(-error));
		return error;
	}
	error = vm_ioeventfd(vm, k->source.fd,
			     gpa_add(place->base, QUEUE_NOTIFY), match);
	if (!error && place->alias.v)
		error = vm_ioeventfd(vm, k->source.fd,
				     gpa_add(place->alias, QUEUE_NOTIFY),
				     match);
	return error;
}

int mmio_attach(struct device *device, struct vm *vm, struct loop *loop,
		const struct ram *ram, const struct mmio_place *place)
{
	struct transport *t = malloc(sizeof(*t));
	int error;

	if (!t)
		return log_errno("malloc");
	init(t, device, loop, ram);
	device->transport = t;
	error = add_window(t, vm, 0, place->base, NULL);
	if (!error && place->alias.v)
		error = add_window(t, vm, 1, place->alias, place->alias_absent);
	t->irq_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (!error && t->irq_fd < 0)
		error = log_errno("eventfd");
	if (!error)
		error = vm_irqfd(vm, t->irq_fd, place->gsi);
	for (unsigned i = 0; i < device->queue_count && !error; i++)
		error = add_queue(t, vm, place, i);
	if (error)
		mmio_detach(device);
	return error;
}

void mmio_detach(struct device *device)
{
	struct transport *t = device->transport;

	if (!t)
		return;
	transport_reset(t);
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (t->kick[i].source.fd < 0)
			continue;
		loop_remove(t->loop, &t->kick[i].source);
		close(t->kick[i].source.fd);
	}
	if (t->irq_fd >= 0)
		close(t->irq_fd);
	device->transport = NULL;
	free(t);
}
