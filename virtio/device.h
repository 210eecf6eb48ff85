/*
 * What every virtio device is: features, configuration bytes, queues, and the
 * functions of its kind. The transport (virtio/mmio.c) drives it.
 *
 * Threads: everything that a device does happens in the event loop's thread:
 * its operations are called there, and so are the functions below that say so.
 * The driver's register accesses come from vCPU threads and never reach a
 * device directly: the transport passes what matters on to the loop and waits.
 * So a device needs no lock, and its data path takes none.
 */
#ifndef VIRTIO_DEVICE_H
#define VIRTIO_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/loop.h"
#include "mem/ram.h"
#include "virtio/queue.h"

#define DEVICE_QUEUES_MAX 16
#define DEVICE_CONFIG_MAX 64

/* virtio 1.2, 5: device IDs */
enum device_id { DEVICE_NET = 1, DEVICE_BLOCK = 2, DEVICE_VSOCK = 19 };

/* virtio 1.2, 6: reserved feature bits */
#define FEATURE_INDIRECT_DESC (1ULL << 28)
#define FEATURE_EVENT_IDX     (1ULL << 29)
#define FEATURE_VERSION_1     (1ULL << 32)

struct device;

struct device_ops {
	/*
	 * DRIVER_OK: `acked` holds the negotiated features and the queues that
	 * the driver made ready are started. Kicks follow.
	 */
	void (*activate)(struct device *device);
	/* The driver has notified this queue (or may have). */
	void (*kick)(struct device *device, unsigned queue);
	/*
	 * Reset: when it returns nothing touches guest memory any more and
	 * nothing is in flight. The queues are stopped afterwards.
	 */
	void (*reset)(struct device *device);
	/*
	 * This queue is about to be stopped, the device goes on: when it
	 * returns nothing that was taken from the queue is in flight. NULL
	 * where nothing ever is.
	 */
	void (*drain)(struct device *device, unsigned queue);
};

struct device {
	/* filled in by the kind of device before device_attach */
	const struct device_ops *ops;
	enum device_id id;
	const char *name;  /* for messages: "disk 0 (root.img)" */
	uint64_t features; /* offered, besides those that all devices have */
	unsigned queue_count;
	uint16_t queue_size; /* offered, for each queue */
	uint32_t config_len;

	/* the transport's */
	uint8_t config[DEVICE_CONFIG_MAX]; /* see device_set_config */
	uint64_t acked;
	bool active; /* between activate and reset */
	struct queue queue[DEVICE_QUEUES_MAX];
	struct transport *transport;
};

/* Has this feature been negotiated? */
static inline bool device_has(const struct device *device, uint64_t feature)
{
	return (device->acked & feature) == feature;
}

/* -- for devices, in the loop's thread ------------------------------------ */

/*
 * Raises the used-buffer interrupt. Ordinary use, after a round of queue_push:
 *	if (queue_publish(queue))
 *		device_interrupt(device);
 */
void device_interrupt(struct device *device);

/*
 * New configuration bytes: counts the generation up and, while the driver is
 * running, raises the configuration-change interrupt. Before attaching it just
 * stores them.
 */
void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len);

/*
 * The driver broke the rules: sets DEVICE_NEEDS_RESET, tells the driver, stops
 * all queues of the device until it is reset. Says why, at most a few times.
 */
void device_broken(struct device *device, const char *why);

#endif
