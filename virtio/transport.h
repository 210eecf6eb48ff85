/*
 * The state of one virtio-mmio slot, shared by mmio.c and mmio_regs.c (slots
 * and registers, in vCPU threads) and device.c (the device's side, in the
 * loop's thread). For these only.
 *
 * Who may touch what:
 *	constant after mmio_attach	any thread
 *	_Atomic				any thread
 *	under `lock`			vCPU threads; also the functions that
 *					they have run by loop_call meanwhile
 *	under `config_lock`		any thread, which then waits for nothing
 */
#ifndef VIRTIO_TRANSPORT_H
#define VIRTIO_TRANSPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mem/log.h"
#include "virtio/device.h"
#include "virtio/mmio.h"

/* virtio 1.2, table 4.1 */
enum reg {
	MAGIC_VALUE = 0x000,
	DEVICE_VERSION = 0x004,
	DEVICE_ID = 0x008,
	DEVICE_VENDOR = 0x00c,
	DEVICE_FEATURES = 0x010,
	DEVICE_FEATURES_SEL = 0x014,
	DRIVER_FEATURES = 0x020,
	DRIVER_FEATURES_SEL = 0x024,
	QUEUE_SEL = 0x030,
	QUEUE_NUM_MAX = 0x034,
	QUEUE_NUM = 0x038,
	QUEUE_READY = 0x044,
	QUEUE_NOTIFY = 0x050,
	INTERRUPT_STATUS = 0x060,
	INTERRUPT_ACK = 0x064,
	STATUS = 0x070,
	QUEUE_DESC_LOW = 0x080,
	QUEUE_DESC_HIGH = 0x084,
	QUEUE_DRIVER_LOW = 0x090,
	QUEUE_DRIVER_HIGH = 0x094,
	QUEUE_DEVICE_LOW = 0x0a0,
	QUEUE_DEVICE_HIGH = 0x0a4,
	SHM_LEN_LOW = 0x0b0,
	SHM_LEN_HIGH = 0x0b4,
	SHM_BASE_LOW = 0x0b8,
	SHM_BASE_HIGH = 0x0bc,
	CONFIG_GENERATION = 0x0fc,
	CONFIG = 0x100,
};

/* virtio 1.2, 2.1: device status */
#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER	   2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 64u
#define STATUS_FAILED	   128u

/* virtio 1.2, 4.2.2: InterruptStatus */
#define INTERRUPT_USED	 1u
#define INTERRUPT_CONFIG 2u

/* What the driver has written about a queue. */
struct transport_queue {
	uint32_t num;
	bool ready;
	uint64_t desc, driver, device;
};

/* What a queue's ioeventfd calls, and what a window hands to the bus. */
struct transport_kick {
	struct loop_source source;
	struct transport *transport;
	unsigned queue;
};
struct transport_window {
	struct transport *transport;
	const _Atomic bool *absent; /* see mmio_place.alias_absent */
};

struct transport {
	/* constant */
	struct device *device;
	struct loop *loop;
	const struct ram *ram;
	int irq_fd;
	struct transport_window window[2]; /* base, alias */
	struct transport_kick kick[DEVICE_QUEUES_MAX];

	_Atomic uint32_t interrupt_status;
	_Atomic bool needs_reset, driver_ok;
	struct log_limit complaints;

	/* under `lock` */
	pthread_mutex_t lock;
	uint32_t status; /* without NEEDS_RESET */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	bool impossible_features; /* bits above 63 */
	struct transport_queue queue[DEVICE_QUEUES_MAX];

	/* under `config_lock`, as device->config is */
	pthread_mutex_t config_lock;
	uint32_t generation;
};

/* vCPU threads: a register, 32 bits, at an aligned offset below CONFIG. */
uint32_t transport_read(struct transport *transport, unsigned offset);
void transport_write(struct transport *transport, unsigned offset,
		     uint32_t value);

/* Any thread: NEEDS_RESET, once; says why, and tells the driver. */
void transport_break(struct transport *transport, const char *why);

/* For loop_call, whose caller holds `lock`. */
void transport_activate(void *arg);   /* the transport */
void transport_reset(void *arg);      /* the transport */
void transport_stop_queue(void *arg); /* the queue's transport_kick */

/* For the loop: the eventfd of a queue's transport_kick was written. */
void transport_kicked(void *arg, uint32_t events);

#endif
