/*
 * What all devices have in common, in the loop's thread: starting, stopping,
 * kicks, interrupts, configuration bytes, and giving up on a driver.
 *
 * The driver is hostile: it may start and reset at any time and kick at any
 * rate, also queues that it never set up; those are stopped, and a stopped
 * queue is empty. The eventfd behind a queue is watched edge-triggered and
 * never read: each write is an edge, and a write that comes while the queue is
 * being worked on is seen by the next epoll_wait. That saves a system call for
 * each kick, and its counter cannot fill up in a lifetime.
 *
 * Owns nothing: mmio.c opens and closes.
 */
#include "virtio/device.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"
#include "virtio/transport.h"

/* The irqfd: KVM raises the GSI, which is edge-triggered. */
static void raise_irq(struct transport *t, uint32_t why)
{
	const uint64_t one = 1;

	/* Before the interrupt: its handler reads what it was for. */
	atomic_fetch_or(&t->interrupt_status, why);
	while (write(t->irq_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void device_interrupt(struct device *device)
{
	raise_irq(device->transport, INTERRUPT_USED);
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	struct transport *t = device->transport;

	if (offset > DEVICE_CONFIG_MAX || len > DEVICE_CONFIG_MAX - offset)
		return;
	if (!t) {
		memcpy(device->config + offset, bytes, len);
		return;
	}
	pthread_mutex_lock(&t->config_lock);
	memcpy(device->config + offset, bytes, len);
	t->generation++;
	pthread_mutex_unlock(&t->config_lock);
	if (device->active)
		raise_irq(t, INTERRUPT_CONFIG);
}

void transport_break(struct transport *t, const char *why)
{
	if (atomic_exchange(&t->needs_reset, true))
		return;
	log_guest(&t->complaints,
		  "%s: the guest's driver broke the rules: %s; the device "
		  "does nothing until the driver resets it",
		  t->device->name, why);
	/* 2.1.2: only a driver that is running gets the notification. */
	if (atomic_load(&t->driver_ok))
		raise_irq(t, INTERRUPT_CONFIG);
}

void device_broken(struct device *device, const char *why)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queue[i].broken = true;
	transport_break(device->transport, why);
}

/* -- called by the transport ---------------------------------------------- */

void transport_kicked(void *arg, uint32_t events)
{
	const struct transport_kick *kick = arg;
	struct device *device = kick->transport->device;

	(void)events;
	/* Before activation, or after a reset or device_broken, it is stale. */
	if (device->queue[kick->queue].ready &&
	    !device->queue[kick->queue].broken)
		device->ops->kick(device, kick->queue);
}

static void stop_queues(struct device *device)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		queue_stop(&device->queue[i]);
}

static bool start_queues(struct transport *t)
{
	struct device *device = t->device;

	for (unsigned i = 0; i < device->queue_count; i++) {
		const struct transport_queue *q = &t->queue[i];
		const struct queue_config config = {
			.size = (uint16_t)q->num,
			.desc = GPA(q->desc),
			.driver = GPA(q->driver),
			.device = GPA(q->device),
			.event_idx = device_has(device, FEATURE_EVENT_IDX),
			.indirect = device_has(device, FEATURE_INDIRECT_DESC),
		};

		if (q->ready && queue_start(&device->queue[i], t->ram, &config))
			return false;
	}
	return true;
}

void transport_activate(void *arg)
{
	struct transport *t = arg;
	struct device *device = t->device;

	device->acked = t->driver_features;
	if (!start_queues(t)) {
		stop_queues(device);
		transport_break(t, "a queue is not in RAM any more");
		return;
	}
	device->active = true;
	device->ops->activate(device);
	/* What was put there before would wait for a kick that has been. */
	for (unsigned i = 0; i < device->queue_count; i++)
		transport_kicked(&t->kick[i], 0);
}

void transport_reset(void *arg)
{
	struct transport *t = arg;
	struct device *device = t->device;

	if (device->active)
		device->ops->reset(device);
	device->active = false;
	device->acked = 0;
	stop_queues(device);
}

void transport_stop_queue(void *arg)
{
	const struct transport_kick *kick = arg;
	struct device *device = kick->transport->device;

	if (device->active && device->ops->drain)
		device->ops->drain(device, kick->queue);
	queue_stop(&device->queue[kick->queue]);
}
