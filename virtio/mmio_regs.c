/*
 * What the registers of virtio-mmio mean (virtio 1.2, 4.2.2).
 *
 * They are accessed from vCPU threads, several at once if the guest likes. A
 * lock for each slot orders what the driver writes; InterruptStatus, which is
 * read and acknowledged once for each interrupt, is atomic and takes none. What
 * starts or stops a device runs in the loop's thread while the vCPU waits with
 * the lock held: so the write of 0 to Status returns when nothing of the device
 * is in flight any more. Where the loop has ended the wait ends too, and mote
 * with it.
 *
 * The driver is hostile. What must not be written now (features after
 * FEATURES_OK, a queue that is ready) is ignored. What cannot work is answered
 * with DEVICE_NEEDS_RESET and one line in the log: features that were not
 * offered, a queue that is not in RAM, DRIVER_OK without FEATURES_OK.
 *
 * Owns nothing.
 */
#include "virtio/queue.h"
#include "virtio/transport.h"

#define MAGIC	  0x74726976u /* "virt" */
#define VERSION	  2u
#define VENDOR_ID 0x45544f4du /* "MOTE" */

static uint64_t offered(const struct device *device)
{
	return device->features | FEATURE_VERSION_1 | FEATURE_EVENT_IDX |
	       FEATURE_INDIRECT_DESC;
}

static unsigned selected(const struct transport *t)
{
	return t->queue_sel < t->device->queue_count ? t->queue_sel
						     : DEVICE_QUEUES_MAX;
}

/* The selected queue, or NULL where there is none. */
static struct transport_queue *queue_of(struct transport *t)
{
	unsigned i = selected(t);

	return i < DEVICE_QUEUES_MAX ? &t->queue[i] : NULL;
}

/* The selected queue where it may be changed now, else NULL. */
static struct transport_queue *open_queue(struct transport *t)
{
	struct transport_queue *queue = queue_of(t);

	return queue && !queue->ready && !(t->status & STATUS_DRIVER_OK) ? queue
									 : NULL;
}

/* -- reading, with the lock held ------------------------------------------ */

static uint32_t read_magic(struct transport *t)
{
	(void)t;
	return MAGIC;
}

static uint32_t read_version(struct transport *t)
{
	(void)t;
	return VERSION;
}

static uint32_t read_device_id(struct transport *t)
{
	return t->device->id;
}

static uint32_t read_vendor(struct transport *t)
{
	(void)t;
	return VENDOR_ID;
}

static uint32_t read_features(struct transport *t)
{
	return t->device_features_sel > 1
		       ? 0
		       : (uint32_t)(offered(t->device) >>
				    32 * t->device_features_sel);
}

static uint32_t read_queue_num_max(struct transport *t)
{
	return queue_of(t) ? t->device->queue_size : 0;
}

static uint32_t read_queue_ready(struct transport *t)
{
	const struct transport_queue *queue = queue_of(t);

	return queue && queue->ready;
}

static uint32_t read_status(struct transport *t)
{
	return t->status |
	       (atomic_load(&t->needs_reset) ? STATUS_NEEDS_RESET : 0);
}

/* 4.2.2.1: a region that does not exist has all ones for its length. */
static uint32_t read_no_shm(struct transport *t)
{
	(void)t;
	return UINT32_MAX;
}

static uint32_t read_generation(struct transport *t)
{
	uint32_t generation;

	pthread_mutex_lock(&t->config_lock);
	generation = t->generation;
	pthread_mutex_unlock(&t->config_lock);
	return generation;
}

/* -- writing, with the lock held ------------------------------------------ */

static void write_device_features_sel(struct transport *t, uint32_t value)
{
	t->device_features_sel = value;
}

static void write_driver_features_sel(struct transport *t, uint32_t value)
{
	t->driver_features_sel = value;
}

static void set_half(uint64_t *to, unsigned half, uint32_t value)
{
	*to &= half ? UINT32_MAX : ~(uint64_t)UINT32_MAX;
	*to |= (uint64_t)value << 32 * half;
}

static void write_driver_features(struct transport *t, uint32_t value)
{
	if (t->status & STATUS_FEATURES_OK)
		return;
	if (t->driver_features_sel > 1)
		t->impossible_features |= value != 0;
	else
		set_half(&t->driver_features, t->driver_features_sel, value);
}

static void write_queue_sel(struct transport *t, uint32_t value)
{
	t->queue_sel = value;
}

static void write_queue_num(struct transport *t, uint32_t value)
{
	struct transport_queue *queue = open_queue(t);

	if (queue)
		queue->num = value;
}

#define WRITE_ADDRESS(name, field, half)                                       \
	static void name(struct transport *t, uint32_t value)                  \
	{                                                                      \
		struct transport_queue *queue = open_queue(t);                 \
                                                                               \
		if (queue)                                                     \
			set_half(&queue->field, half, value);                  \
	}
WRITE_ADDRESS(write_desc_low, desc, 0)
WRITE_ADDRESS(write_desc_high, desc, 1)
WRITE_ADDRESS(write_driver_low, driver, 0)
WRITE_ADDRESS(write_driver_high, driver, 1)
WRITE_ADDRESS(write_device_low, device, 0)
WRITE_ADDRESS(write_device_high, device, 1)

/* Would queue_start take it? It is asked again when it matters. */
static bool queue_fits(const struct transport *t,
		       const struct transport_queue *q)
{
	const struct queue_config config = {
		.size = (uint16_t)q->num,
		.desc = GPA(q->desc),
		.driver = GPA(q->driver),
		.device = GPA(q->device),
	};
	struct queue queue;

	return q->num <= t->device->queue_size &&
	       !queue_start(&queue, t->ram, &config);
}

/*
 * A queue is made ready before DRIVER_OK and only then; it can be stopped at
 * any time, and then stays so until the reset (VIRTIO_F_RING_RESET is not
 * offered).
 */
static void write_queue_ready(struct transport *t, uint32_t value)
{
	struct transport_queue *queue = queue_of(t), *idle = open_queue(t);

	if (value == 1 && idle) {
		idle->ready = queue_fits(t, idle);
		if (!idle->ready)
			transport_break(t, "a queue's size or address is "
					   "impossible");
	} else if (!value && queue && queue->ready) {
		if (t->status & STATUS_DRIVER_OK &&
		    loop_call(t->loop, transport_stop_queue,
			      &t->kick[selected(t)]))
			return;
		queue->ready = false;
	}
}

static void reset(struct transport *t)
{
	/* -ECANCELED: mote ends, and this register is not read again. */
	if (t->status & STATUS_DRIVER_OK &&
	    loop_call(t->loop, transport_reset, t))
		return;
	atomic_store(&t->driver_ok, false);
	atomic_store(&t->needs_reset, false);
	atomic_store(&t->interrupt_status, 0);
	t->status = 0;
	t->driver_features = 0;
	t->impossible_features = false;
	t->device_features_sel = t->driver_features_sel = t->queue_sel = 0;
	for (unsigned i = 0; i < DEVICE_QUEUES_MAX; i++)
		t->queue[i] = (struct transport_queue){
			.num = t->device->queue_size,
		};
}

/*
 * 2.2.2, 3.1.1: a driver whose choice is refused finds FEATURES_OK unset. One
 * that wants what was never offered does not read registers: it is broken.
 */
static bool take_features(struct transport *t)
{
	const uint32_t before = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	if (t->driver_features & ~offered(t->device) ||
	    t->impossible_features) {
		transport_break(t, "it took features that were not offered");
		return false;
	}
	return (t->status & before) == before &&
	       t->driver_features & FEATURE_VERSION_1;
}

/* 2.1: bits are set one after the other, and cleared by a reset only. */
static void write_status(struct transport *t, uint32_t value)
{
	const uint32_t added = value & ~t->status;

	if (!value) {
		reset(t);
		return;
	}
	t->status |=
		value & (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FAILED);
	if (added & STATUS_FEATURES_OK && take_features(t))
		t->status |= STATUS_FEATURES_OK;
	if (!(added & STATUS_DRIVER_OK))
		return;
	if (!(t->status & STATUS_FEATURES_OK)) {
		transport_break(t, "it set DRIVER_OK without FEATURES_OK");
		return;
	}
	t->status |= STATUS_DRIVER_OK;
	atomic_store(&t->driver_ok, true);
	if (!atomic_load(&t->needs_reset))
		loop_call(t->loop, transport_activate, t);
}

static const struct reg_ops {
	uint32_t (*read)(struct transport *t);
	void (*write)(struct transport *t, uint32_t value);
} regs[CONFIG / 4] = {
	[MAGIC_VALUE / 4] = { read_magic, NULL },
	[DEVICE_VERSION / 4] = { read_version, NULL },
	[DEVICE_ID / 4] = { read_device_id, NULL },
	[DEVICE_VENDOR / 4] = { read_vendor, NULL },
	[DEVICE_FEATURES / 4] = { read_features, NULL },
	[DEVICE_FEATURES_SEL / 4] = { NULL, write_device_features_sel },
	[DRIVER_FEATURES / 4] = { NULL, write_driver_features },
	[DRIVER_FEATURES_SEL / 4] = { NULL, write_driver_features_sel },
	[QUEUE_SEL / 4] = { NULL, write_queue_sel },
	[QUEUE_NUM_MAX / 4] = { read_queue_num_max, NULL },
	[QUEUE_NUM / 4] = { NULL, write_queue_num },
	[QUEUE_READY / 4] = { read_queue_ready, write_queue_ready },
	[STATUS / 4] = { read_status, write_status },
	[QUEUE_DESC_LOW / 4] = { NULL, write_desc_low },
	[QUEUE_DESC_HIGH / 4] = { NULL, write_desc_high },
	[QUEUE_DRIVER_LOW / 4] = { NULL, write_driver_low },
	[QUEUE_DRIVER_HIGH / 4] = { NULL, write_driver_high },
	[QUEUE_DEVICE_LOW / 4] = { NULL, write_device_low },
	[QUEUE_DEVICE_HIGH / 4] = { NULL, write_device_high },
	[SHM_LEN_LOW / 4] = { read_no_shm, NULL },
	[SHM_LEN_HIGH / 4] = { read_no_shm, NULL },
	[SHM_BASE_LOW / 4] = { read_no_shm, NULL },
	[SHM_BASE_HIGH / 4] = { read_no_shm, NULL },
	[CONFIG_GENERATION / 4] = { read_generation, NULL },
};

uint32_t transport_read(struct transport *t, unsigned offset)
{
	const struct reg_ops *ops = &regs[offset / 4];
	uint32_t value;

	if (offset == INTERRUPT_STATUS)
		return atomic_load(&t->interrupt_status);
	if (!ops->read)
		return 0;
	pthread_mutex_lock(&t->lock);
	value = ops->read(t);
	pthread_mutex_unlock(&t->lock);
	return value;
}

void transport_write(struct transport *t, unsigned offset, uint32_t value)
{
	const struct reg_ops *ops = &regs[offset / 4];

	if (offset == INTERRUPT_ACK) {
		atomic_fetch_and(&t->interrupt_status, ~value);
	} else if (ops->write) {
		pthread_mutex_lock(&t->lock);
		ops->write(t, value);
		pthread_mutex_unlock(&t->lock);
	}
}
