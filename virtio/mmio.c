/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-mmio transport: what the driver does with registers, and what a
 * device hears of it.
 *
 *	vCPU thread	register access -> bus -> slot_read, slot_write
 *			-> loop_call(transport_activate, _reset, _stop_queue)
 *	loop's thread	ioeventfd -> kick_ready -> device->ops->kick
 *			device_interrupt -> KVM_IRQ_LINE -> the guest
 *	guest		InterruptStatus and all behind it: a load, no exit
 *
 * A slot lies across the border of two pages, just below InterruptStatus:
 *
 *	no memory		0x000 MagicValue .. 0x050 QueueNotify
 *	a page, read-only	0x060 InterruptStatus .. 0x100 Config
 *
 * So the handler of an interrupt finds out what it was for without an exit.
 * The notification stays where no memory is, since that is cheaper: a write to
 * read-only memory goes through all of KVM's page fault before it is emulated
 * and finds its ioeventfd (1,000 instructions more, on AMD's), and a write to
 * no memory is not even emulated where the ioeventfd takes any value, on
 * Intel's and with new kernels on AMD's (KVM_FAST_MMIO_BUS). The guest cannot
 * write the page, so Status and InterruptStatus are kept there and nowhere
 * else; Config is a copy of the device's. Where the host's KVM has no read-
 * only memory, slot_read copies from the page.
 *
 * InterruptStatus shows USED_BUFFER from DRIVER_OK to the reset, so that no
 * interrupt has to set it and none to clear it. It is to say that "the device
 * has used a buffer in at least one of the active virtual queues" (4.2.2): at
 * worst a driver looks at its rings and finds nothing new, as it does where
 * another CPU has been quicker. Its acknowledgement changes nothing, and an
 * eventfd that nobody reads takes it. CONFIG is there from before its
 * interrupt until it is acknowledged, which exits.
 *
 * Accesses come from vCPU threads, several at once if the guest likes. A lock
 * for each slot orders what the driver writes. What starts or stops a device
 * runs in the loop's thread while the vCPU waits with the lock held: so the
 * write of 0 to Status returns when nothing of the device is in flight any
 * more. Linux relies on that: of all transports, virtio_mmio reads neither
 * Status nor QueueReady until they are 0 (it does once, and warns). Where the
 * host has something in hand yet, only that vCPU waits, and the loop goes on:
 * the call is held until device_canceled. Where the loop has ended the wait
 * ends too, and mote with it.
 *
 * A register is accessed as virtio 1.2, 4.2.2.2 says (32 bits, aligned) or not
 * at all: other writes are ignored, except that QueueNotify takes any width;
 * other reads find zero below InterruptStatus, and the bytes as they lie from
 * there on. An ordinary notification never gets here: KVM writes the queue's
 * eventfd itself. That is watched edge-triggered and never read: each write is
 * an edge, and one that comes while the queue is being worked on is seen by the
 * next epoll_wait. It saves a system call for each kick, and the counter cannot
 * fill up in a lifetime.
 *
 * The driver is hostile: it may start and reset at any time and kick at any
 * rate, also queues that it never set up; those are stopped, and a stopped
 * queue is empty. What must not be written now (features after FEATURES_OK, a
 * queue that is ready) is ignored. What cannot work is answered with
 * DEVICE_NEEDS_RESET and one line in the log: features that were not offered,
 * a queue that is not in RAM, DRIVER_OK without FEATURES_OK.
 *
 * A snapshot holds what the driver has written, and how far each queue was.
 * A device is paused for it: it finishes what it has begun and begins nothing,
 * while the vCPUs run, so all of the above can come in between. A kick then is
 * as good as one that was never sent: all queues are kicked when it goes on.
 *
 * Owns the transport, its page, its eventfds and their place in the loop.
 * Attached and detached by the main thread.
 */
#include "virtio/mmio.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"

#define MMIO_MAGIC     0x74726976u /* "virt" */
#define MMIO_VERSION   2u
#define MMIO_VENDOR_ID 0x45544f4du /* "MOTE" */

/* virtio 1.2, table 4.1 */
enum mmio_register {
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

/* What the driver has written about a queue; and where it is to begin. */
struct transport_queue {
	uint32_t num;
	bool ready;
	uint64_t desc, driver, device;
	uint16_t next_avail, next_used, published; /* 0 but after a restore */
};

/* What a queue's ioeventfd calls, and what a window hands to the bus. */
struct transport_kick {
	struct loop_source source;
	struct transport *transport;
	unsigned queue;
};
struct transport_window {
	struct transport *transport;
	const _Atomic bool *absent; /* see mmio_slot.alias_absent */
};

/* What the guest reads without an exit: the registers from MMIO_SHOWN on. */
struct transport_page {
	_Atomic uint32_t word[RAM_PAGE / 4];
};

/*
 * The state of one slot. Who may touch what:
 *	constant after mmio_attach	any thread
 *	_Atomic				any thread
 *	under `lock`			vCPU threads; also the functions that
 *					they have run by loop_call meanwhile
 *	device->config			the loop's thread
 *	the page			all of it is _Atomic; Config and its
 *					generation change in the loop's thread
 */
struct transport {
	/* constant */
	struct device *device;
	struct loop *loop;
	const struct ram *ram;
	struct transport_page *page; /* Status, ... are nowhere else */
	const struct vm *vm;
	unsigned gsi;
	int ack_fd;			   /* nobody reads it */
	struct transport_window window[2]; /* base, alias */
	struct transport_kick kick[DEVICE_QUEUES_MAX];

	struct log_limit complaints;

	/* the loop's thread: called when a device that is paused is quiet */
	void (*quiet)(void *arg);
	void *quiet_arg;

	/* under `lock` */
	pthread_mutex_t lock;
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features;
	bool impossible_features; /* bits above 63 */
	struct transport_queue queue[DEVICE_QUEUES_MAX];
};

/*
 * Those without a device are free. They lie close together, since what a page
 * of the guest's leaves of another one is memory that nobody else can use.
 */
static struct transport transports[MMIO_SLOTS_MAX];

/* -- the page that the guest reads ----------------------------------------- */

static _Atomic uint32_t *shown(const struct transport *t, unsigned offset)
{
	return &t->page->word[(offset - MMIO_SHOWN) / 4];
}

/* True where it is not what was shown before. */
static bool show_config(struct transport *t)
{
	uint8_t bytes[DEVICE_CONFIG_MAX] = { 0 };
	bool news = false;

	memcpy(bytes, t->device->config, t->device->config_len);
	for (unsigned at = 0; at < sizeof(bytes); at += 4) {
		const uint32_t word = get_le32(bytes + at);

		news |= atomic_exchange(shown(t, CONFIG + at), word) != word;
	}
	return news;
}

/* 4.2.2.1: of a region that is not there it is all ones. */
static void show_no_memory(struct transport *t)
{
	for (unsigned at = SHM_LEN_LOW; at <= SHM_BASE_HIGH; at += 4)
		atomic_store(shown(t, at), UINT32_MAX);
}

/* -- the device's side: interrupts, configuration, giving up --------------- */

/* KVM raises the GSI, which is edge-triggered. */
void device_interrupt(struct device *device)
{
	vm_interrupt(device->transport->vm, device->transport->gsi);
}

static void interrupt_for_config(struct transport *t)
{
	/* Before the interrupt: its handler reads what it was for. */
	atomic_fetch_or(shown(t, INTERRUPT_STATUS), INTERRUPT_CONFIG);
	vm_interrupt(t->vm, t->gsi);
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	struct transport *t = device->transport;

	if (offset > DEVICE_CONFIG_MAX || len > DEVICE_CONFIG_MAX - offset)
		return;
	memcpy(device->config + offset, bytes, len);
	if (!t)
		return;
	/* 2.5: the driver reads ConfigGeneration before and after. */
	show_config(t);
	atomic_fetch_add(shown(t, CONFIG_GENERATION), 1);
	if (device->active)
		interrupt_for_config(t);
}

/* Once, from any thread. */
static void set_needs_reset(struct transport *t, const char *why)
{
	const uint32_t before =
		atomic_fetch_or(shown(t, STATUS), STATUS_NEEDS_RESET);

	if (before & STATUS_NEEDS_RESET)
		return;
	log_guest(&t->complaints,
		  "%s: the guest's driver broke the rules: %s; the device "
		  "does nothing until the driver resets it",
		  t->device->name, why);
	/* 2.1.2: only a driver that is running gets the notification. */
	if (before & STATUS_DRIVER_OK)
		interrupt_for_config(t);
}

void device_broken(struct device *device, const char *why)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queue[i].broken = true;
	set_needs_reset(device->transport, why);
}

void device_canceled(struct device *device)
{
	if (device->transport)
		loop_resume_calls(device->transport->loop);
}

void device_paused(struct device *device)
{
	struct transport *t = device->transport;
	void (*quiet)(void *arg) = t ? t->quiet : NULL;

	if (!quiet)
		return;
	t->quiet = NULL;
	quiet(t->quiet_arg);
}

/* -- starting and stopping, in the loop's thread --------------------------- */

static void kick_ready(void *arg, uint32_t events)
{
	const struct transport_kick *kick = arg;
	struct device *device = kick->transport->device;

	(void)events;
	/*
	 * Before activation, or after a reset or device_broken, it is stale;
	 * and mmio_resume kicks all.
	 */
	if (device->queue[kick->queue].ready &&
	    !device->queue[kick->queue].broken && !device->paused)
		device->ops->kick(device, kick->queue);
}

static void kick_all(struct transport *t)
{
	for (unsigned i = 0; i < t->device->queue_count; i++)
		kick_ready(&t->kick[i], 0);
}

static struct queue_config queue_config_of(const struct transport *t,
					   const struct transport_queue *q)
{
	return (struct queue_config){
		.size = (uint16_t)q->num,
		.desc = GPA(q->desc),
		.driver = GPA(q->driver),
		.device = GPA(q->device),
		.event_idx = device_has(t->device, FEATURE_EVENT_IDX),
		.indirect = device_has(t->device, FEATURE_INDIRECT_DESC),
		.next_avail = q->next_avail,
		.next_used = q->next_used,
		.published = q->published,
	};
}

static void stop_queues(struct device *device, uint32_t queues)
{
	for (unsigned i = 0; i < device->queue_count; i++)
		if (queues & 1u << i)
			queue_stop(&device->queue[i]);
}

static bool start_ready_queues(struct transport *t)
{
	struct device *device = t->device;

	for (unsigned i = 0; i < device->queue_count; i++) {
		const struct queue_config config =
			queue_config_of(t, &t->queue[i]);

		if (t->queue[i].ready &&
		    queue_start(&device->queue[i], t->ram, &config))
			return false;
	}
	return true;
}

/* For loop_call, as the next two are; the caller holds `lock`. */
static void transport_activate(void *arg)
{
	struct transport *t = arg;
	struct device *device = t->device;

	device->acked = t->driver_features;
	if (!start_ready_queues(t)) {
		stop_queues(device, DEVICE_ALL_QUEUES);
		set_needs_reset(t, "a queue is not in RAM any more");
		return;
	}
	device->active = true;
	device->ops->activate(device);
	/* What was put there before would wait for a kick that has been. */
	kick_all(t);
}

/* True where it is over. The queues are stopped in any case. */
static bool cancel_queues(struct device *device, uint32_t queues)
{
	const bool over =
		!device->active || device->ops->cancel(device, queues);

	stop_queues(device, queues);
	return over;
}

static void transport_reset(void *arg)
{
	struct transport *t = arg;
	struct device *device = t->device;

	if (!cancel_queues(device, DEVICE_ALL_QUEUES)) {
		loop_hold_call(t->loop);
		return;
	}
	device->active = false;
	device->acked = 0;
}

static void transport_stop_queue(void *arg)
{
	const struct transport_kick *kick = arg;
	struct transport *t = kick->transport;

	if (!cancel_queues(t->device, 1u << kick->queue))
		loop_hold_call(t->loop);
}

/* -- registers, with the lock held ----------------------------------------- */

static uint64_t offered_features(const struct device *device)
{
	return device->features | FEATURE_VERSION_1 | FEATURE_EVENT_IDX |
	       FEATURE_INDIRECT_DESC;
}

/* The selected queue, or NULL where there is none. */
static struct transport_queue *selected_queue(struct transport *t)
{
	return t->queue_sel < t->device->queue_count ? &t->queue[t->queue_sel]
						     : NULL;
}

/* The selected queue where it may be changed now, else NULL. */
static struct transport_queue *writable_queue(struct transport *t)
{
	struct transport_queue *queue = selected_queue(t);

	return queue && !queue->ready &&
			       !(atomic_load(shown(t, STATUS)) &
				 STATUS_DRIVER_OK)
		       ? queue
		       : NULL;
}

static uint32_t read_mmio_register(struct transport *t, unsigned offset)
{
	const struct transport_queue *queue = selected_queue(t);

	switch (offset) {
	case MAGIC_VALUE:
		return MMIO_MAGIC;
	case DEVICE_VERSION:
		return MMIO_VERSION;
	case DEVICE_ID:
		return t->device->id;
	case DEVICE_VENDOR:
		return MMIO_VENDOR_ID;
	case DEVICE_FEATURES:
		return t->device_features_sel > 1
			       ? 0
			       : (uint32_t)(offered_features(t->device) >>
					    32 * t->device_features_sel);
	case QUEUE_NUM_MAX:
		return queue ? t->device->queue_size : 0;
	case QUEUE_READY:
		return queue && queue->ready;
	default: /* write-only, or none */
		return 0;
	}
}

static void set_half(uint64_t *to, bool high, uint32_t value)
{
	*to &= high ? UINT32_MAX : ~(uint64_t)UINT32_MAX;
	*to |= (uint64_t)value << (high ? 32 : 0);
}

static void write_driver_features(struct transport *t, uint32_t value)
{
	if (atomic_load(shown(t, STATUS)) & STATUS_FEATURES_OK)
		return;
	if (t->driver_features_sel > 1)
		t->impossible_features |= value != 0;
	else
		set_half(&t->driver_features, t->driver_features_sel, value);
}

/* Would queue_start take it? It is asked again when it matters. */
static bool queue_fits(const struct transport *t,
		       const struct transport_queue *q)
{
	const struct queue_config config = queue_config_of(t, q);
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
	struct transport_queue *queue = selected_queue(t);
	struct transport_queue *writable = writable_queue(t);

	if (value == 1 && writable) {
		writable->ready = queue_fits(t, writable);
		if (!writable->ready)
			set_needs_reset(t, "a queue's size or address is "
					   "impossible");
	} else if (!value && queue && queue->ready) {
		if (atomic_load(shown(t, STATUS)) & STATUS_DRIVER_OK &&
		    loop_call(t->loop, transport_stop_queue,
			      &t->kick[t->queue_sel]))
			return;
		queue->ready = false;
	}
}

static void reset_registers(struct transport *t)
{
	/* -ECANCELED: mote ends, and this register is not read again. */
	if (atomic_load(shown(t, STATUS)) & STATUS_DRIVER_OK &&
	    loop_call(t->loop, transport_reset, t))
		return;
	atomic_store(shown(t, INTERRUPT_STATUS), 0);
	atomic_store(shown(t, STATUS), 0);
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
static bool accept_features(struct transport *t)
{
	const uint32_t before = STATUS_ACKNOWLEDGE | STATUS_DRIVER;

	if (t->driver_features & ~offered_features(t->device) ||
	    t->impossible_features) {
		set_needs_reset(t, "it took features that were not offered");
		return false;
	}
	return (atomic_load(shown(t, STATUS)) & before) == before &&
	       t->driver_features & FEATURE_VERSION_1;
}

static void write_driver_ok(struct transport *t)
{
	if (!(atomic_load(shown(t, STATUS)) & STATUS_FEATURES_OK)) {
		set_needs_reset(t, "it set DRIVER_OK without FEATURES_OK");
		return;
	}
	atomic_fetch_or(shown(t, INTERRUPT_STATUS), INTERRUPT_USED);
	if (!(atomic_fetch_or(shown(t, STATUS), STATUS_DRIVER_OK) &
	      STATUS_NEEDS_RESET))
		loop_call(t->loop, transport_activate, t);
}

/* 2.1: bits are set one after the other, and cleared by a reset only. */
static void write_status(struct transport *t, uint32_t value)
{
	const uint32_t plain =
		STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FAILED;
	uint32_t added;

	if (!value) {
		reset_registers(t);
		return;
	}
	added = value & ~atomic_fetch_or(shown(t, STATUS), value & plain);
	if (added & STATUS_FEATURES_OK && accept_features(t))
		atomic_fetch_or(shown(t, STATUS), STATUS_FEATURES_OK);
	if (added & STATUS_DRIVER_OK)
		write_driver_ok(t);
}

/* The size and the addresses of the selected queue. */
static void write_queue(struct transport *t, unsigned offset, uint32_t value)
{
	struct transport_queue *queue = writable_queue(t);
	const bool high = offset & 4;

	if (!queue)
		return;
	switch (offset) {
	case QUEUE_NUM:
		queue->num = value;
		break;
	case QUEUE_DESC_LOW:
	case QUEUE_DESC_HIGH:
		set_half(&queue->desc, high, value);
		break;
	case QUEUE_DRIVER_LOW:
	case QUEUE_DRIVER_HIGH:
		set_half(&queue->driver, high, value);
		break;
	case QUEUE_DEVICE_LOW:
	case QUEUE_DEVICE_HIGH:
		set_half(&queue->device, high, value);
		break;
	default: /* read-only, or none */
		break;
	}
}

static void write_mmio_register(struct transport *t, unsigned offset,
				uint32_t value)
{
	switch (offset) {
	case DEVICE_FEATURES_SEL:
		t->device_features_sel = value;
		break;
	case DRIVER_FEATURES:
		write_driver_features(t, value);
		break;
	case DRIVER_FEATURES_SEL:
		t->driver_features_sel = value;
		break;
	case QUEUE_SEL:
		t->queue_sel = value;
		break;
	case QUEUE_READY:
		write_queue_ready(t, value);
		break;
	case STATUS:
		write_status(t, value);
		break;
	default:
		write_queue(t, offset, value);
		break;
	}
}

/* -- slots on the bus, in vCPU threads ------------------------------------- */

static bool window_is_absent(const struct transport_window *window)
{
	return window->absent && atomic_load(window->absent);
}

/* Each word of the page at once: no register is read half written. */
static void read_shown(const struct transport *t, unsigned at, uint8_t *data,
		       unsigned len)
{
	for (unsigned part; len; at += part, data += part, len -= part) {
		uint8_t bytes[4];

		put_le32(bytes, atomic_load(&t->page->word[at / 4]));
		part = len < 4 - at % 4 ? len : 4 - at % 4;
		memcpy(data, bytes + at % 4, part);
	}
}

static void slot_read(void *window, uint64_t offset, uint8_t *data,
		      unsigned len)
{
	const struct transport_window *w = window;
	struct transport *t = w->transport;
	uint32_t value;

	memset(data, 0, len);
	if (offset >= MMIO_SHOWN) {
		read_shown(t, (unsigned)offset - MMIO_SHOWN, data, len);
	} else if (len == 4 && offset % 4 == 0 &&
		   (offset != DEVICE_ID || !window_is_absent(w))) {
		pthread_mutex_lock(&t->lock);
		value = read_mmio_register(t, (unsigned)offset);
		pthread_mutex_unlock(&t->lock);
		put_le32(data, value);
	}
}

/* Reached where no ioeventfd matched: another width, or no such queue. */
static void write_notify(struct transport *t, const uint8_t *data, unsigned len)
{
	uint64_t queue = 0;

	memcpy(&queue, data, len);
	if (queue < t->device->queue_count)
		eventfd_raise(t->kick[queue].source.fd);
}

/* No device here has configuration bytes that a driver may write. */
static void slot_write(void *window, uint64_t offset, const uint8_t *data,
		       unsigned len)
{
	const struct transport_window *w = window;
	struct transport *t = w->transport;

	if (window_is_absent(w))
		return;
	if (offset == QUEUE_NOTIFY) {
		write_notify(t, data, len);
	} else if (len == 4 && offset == INTERRUPT_ACK) {
		/* of USED alone nobody hears */
		atomic_fetch_and(shown(t, INTERRUPT_STATUS),
				 ~(get_le32(data) & INTERRUPT_CONFIG));
	} else if (offset < CONFIG && len == 4 && offset % 4 == 0) {
		pthread_mutex_lock(&t->lock);
		write_mmio_register(t, (unsigned)offset, get_le32(data));
		pthread_mutex_unlock(&t->lock);
	}
}

static const struct bus_ops slot_ops = { slot_read, slot_write };

/* -- saving and restoring -------------------------------------------------- */

bool mmio_pause(struct device *device, void (*quiet)(void *arg), void *arg)
{
	struct transport *t = device->transport;

	device->paused = true;
	if (!device->ops->pause || device->ops->pause(device))
		return true;
	t->quiet = quiet;
	t->quiet_arg = arg;
	return false;
}

void mmio_resume(struct device *device)
{
	device->transport->quiet = NULL;
	device->paused = false;
	if (device->ops->resume)
		device->ops->resume(device);
	kick_all(device->transport);
}

bool mmio_is_busy(const struct device *device)
{
	return device->transport->quiet;
}

#define FEATURE_DISK_RO (1ULL << 5)

/* What a driver may rely on that a device of the kind may not have. */
static const struct {
	uint8_t kind, bit;
	const char *name;
} feature_names[] = {
	{ DEVICE_NET, 0, "checksum offload" },
	{ DEVICE_NET, 1, "checksum offload" },
	{ DEVICE_NET, 3, "an MTU of the host's" },
	{ DEVICE_NET, 7, "TSO" },
	{ DEVICE_NET, 8, "TSO" },
	{ DEVICE_NET, 9, "TSO with ECN" },
	{ DEVICE_NET, 11, "TSO" },
	{ DEVICE_NET, 12, "TSO" },
	{ DEVICE_NET, 13, "TSO with ECN" },
	{ DEVICE_BLOCK, 9, "FLUSH" },
	{ DEVICE_BLOCK, 12, "several queues" },
	{ DEVICE_BLOCK, 13, "DISCARD" },
	{ DEVICE_BLOCK, 14, "WRITE_ZEROES" },
};

/* The words for the first of `features`; the next call overwrites them. */
static const char *name_missing(enum device_id kind, uint64_t features)
{
	static char words[80];
	const int bit = features ? __builtin_ctzll(features) : 0;
	char number[24];
	const char *name = number;

	snprintf(number, sizeof(number), "feature bit %d", bit);
	for (size_t i = 0; i < ARRAY_LEN(feature_names); i++)
		if (feature_names[i].kind == kind &&
		    feature_names[i].bit == bit)
			name = feature_names[i].name;
	snprintf(words, sizeof(words),
		 "the guest uses %s, which this one does not do", name);
	return words;
}

/* A slot's registers. `kind` comes first, for whoever counts devices. */
struct slot_fields {
	uint32_t kind, queues, status, interrupt, generation;
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t offered, driver_features;
	bool impossible_features;
	uint8_t config[DEVICE_CONFIG_MAX];
};

static struct slot_fields slot_fields_of(const struct transport *t)
{
	const struct device *device = t->device;
	struct slot_fields f = {
		.kind = device->id,
		.queues = device->queue_count,
		.status = atomic_load(shown(t, STATUS)),
		.interrupt = atomic_load(shown(t, INTERRUPT_STATUS)),
		.generation = atomic_load(shown(t, CONFIG_GENERATION)),
		.device_features_sel = t->device_features_sel,
		.driver_features_sel = t->driver_features_sel,
		.queue_sel = t->queue_sel,
		.offered = offered_features(device),
		.driver_features = t->driver_features,
		.impossible_features = t->impossible_features,
	};

	memcpy(f.config, device->config, device->config_len);
	return f;
}

/* What the driver's features are judged by: it may have seen those offered. */
static uint64_t features_seen(const struct slot_fields *f)
{
	return f->status & STATUS_FEATURES_OK ? f->driver_features
	       : f->status & STATUS_DRIVER    ? f->offered
					      : 0;
}

static void check_slot(const struct transport *t, const struct slot_fields *f,
		       struct state *s)
{
	const uint32_t known = STATUS_ACKNOWLEDGE | STATUS_DRIVER |
			       STATUS_DRIVER_OK | STATUS_FEATURES_OK |
			       STATUS_NEEDS_RESET | STATUS_FAILED;
	const uint64_t offered = offered_features(t->device);
	const uint64_t missing = features_seen(f) & ~offered;

	state_check(s, f->kind == t->device->id,
		    "it was another kind of device");
	state_check(s,
		    f->kind != DEVICE_BLOCK ||
			    !((f->offered ^ offered) & FEATURE_DISK_RO),
		    offered & FEATURE_DISK_RO
			    ? "it was not read-only, this one is"
			    : "it was read-only, this one is not");
	state_check(s, f->queues == t->device->queue_count,
		    "it had another number of queues");
	state_check(s,
		    !(f->status & ~known) && (f->status & STATUS_FEATURES_OK ||
					      !(f->status & STATUS_DRIVER_OK)),
		    "its status is impossible");
	state_check(s, !(f->interrupt & ~(INTERRUPT_USED | INTERRUPT_CONFIG)),
		    "its interrupt status is impossible");
	state_check(s,
		    !(f->status & STATUS_FEATURES_OK) ||
			    (f->driver_features & FEATURE_VERSION_1 &&
			     !f->impossible_features),
		    "its features are impossible");
	state_check(s, !missing, name_missing(t->device->id, missing));
}

/* The page shows the config that the driver has seen: see mmio_restored. */
static void take_slot(struct transport *t, const struct slot_fields *f)
{
	t->device_features_sel = f->device_features_sel;
	t->driver_features_sel = f->driver_features_sel;
	t->queue_sel = f->queue_sel;
	t->driver_features = f->driver_features;
	t->impossible_features = f->impossible_features;
	atomic_store(shown(t, STATUS), f->status);
	atomic_store(shown(t, INTERRUPT_STATUS), f->interrupt);
	atomic_store(shown(t, CONFIG_GENERATION), f->generation);
	for (unsigned at = 0; at < sizeof(f->config); at += 4)
		atomic_store(shown(t, CONFIG + at), get_le32(f->config + at));
}

void mmio_state_slot(struct device *device, struct state *s)
{
	struct transport *t = device->transport;
	struct slot_fields f = slot_fields_of(t);

	state_u32(s, &f.kind);
	state_u32(s, &f.queues);
	state_u64(s, &f.offered);
	state_u64(s, &f.driver_features);
	state_u32(s, &f.status);
	state_u32(s, &f.interrupt);
	state_u32(s, &f.device_features_sel);
	state_u32(s, &f.driver_features_sel);
	state_u32(s, &f.queue_sel);
	state_u32(s, &f.generation);
	state_bool(s, &f.impossible_features);
	state_bytes(s, f.config, sizeof(f.config));
	if (!s->loading)
		return;
	check_slot(t, &f, s);
	if (!s->wrong)
		take_slot(t, &f);
}

/* Where the device is in it: what it has taken to no effect is taken again. */
static void note_place(struct device *device, unsigned number,
		       struct transport_queue *q)
{
	const struct queue *queue = &device->queue[number];
	unsigned taken = 0;

	/* One that is stopped or broken is not gone on with. */
	if (!device->active || !queue->ready || queue->broken)
		return;
	if (device->ops->taken)
		taken = device->ops->taken(device, number);
	q->next_avail = (uint16_t)(queue->next_avail - taken);
	q->next_used = queue->next_used;
	q->published = queue->published;
}

void mmio_state_queue(struct device *device, unsigned queue, struct state *s)
{
	struct transport *t = device->transport;
	struct transport_queue q = t->queue[queue];

	q.next_avail = q.next_used = q.published = 0;
	if (!s->loading)
		note_place(device, queue, &q);
	state_u32(s, &q.num);
	state_bool(s, &q.ready);
	state_u64(s, &q.desc);
	state_u64(s, &q.driver);
	state_u64(s, &q.device);
	state_u16(s, &q.next_avail);
	state_u16(s, &q.next_used);
	state_u16(s, &q.published);
	state_check(s, !q.ready || queue_fits(t, &q),
		    "a queue's size, address or index is impossible");
	state_check(s, q.ready || !(q.next_avail | q.next_used | q.published),
		    "a queue that is not ready has indexes");
	if (s->loading && !s->wrong)
		t->queue[queue] = q;
}

void mmio_restored(struct device *device)
{
	struct transport *t = device->transport;
	const uint32_t status = atomic_load(shown(t, STATUS));
	const bool news = show_config(t);

	if (news)
		atomic_fetch_add(shown(t, CONFIG_GENERATION), 1);
	if (!(status & STATUS_DRIVER_OK))
		return;
	atomic_fetch_or(shown(t, INTERRUPT_STATUS), INTERRUPT_USED);
	if (!(status & STATUS_NEEDS_RESET))
		transport_activate(t);
	if (news)
		interrupt_for_config(t);
	else
		device_interrupt(device);
}

/* -- attaching ------------------------------------------------------------- */

static void transport_init(struct transport *t, struct device *device,
			   struct loop *loop, const struct ram *ram,
			   struct transport_page *page)
{
	*t = (struct transport){
		.device = device,
		.loop = loop,
		.ram = ram,
		.page = page,
		.ack_fd = -1,
		.lock = PTHREAD_MUTEX_INITIALIZER,
	};
	for (unsigned i = 0; i < DEVICE_QUEUES_MAX; i++) {
		struct transport_kick *k = &t->kick[i];

		k->source = (struct loop_source){ -1, kick_ready, k };
		k->transport = t;
		k->queue = i;
	}
	device->active = false;
	device->acked = 0;
	reset_registers(t);
	show_no_memory(t);
	show_config(t);
}

static int add_window(struct transport *t, struct vm *vm, unsigned number,
		      gpa base, const _Atomic bool *absent)
{
	struct transport_window *window = &t->window[number];
	int error;

	*window = (struct transport_window){ t, absent };
	error = bus_add(&vm->mmio, base.v, MMIO_SHOWN + RAM_PAGE, &slot_ops,
			window);
	if (error) {
		log_error("no room on the bus for %s: %s", t->device->name,
			  strerror(-error));
		return error;
	}
	return vm_show_page(vm, gpa_add(base, MMIO_SHOWN), t->page);
}

/* In both windows; the eventfd is the caller's. */
static int add_ioeventfd(struct vm *vm, const struct mmio_slot *slot,
			 unsigned offset, int event_fd, int64_t match)
{
	int error =
		vm_ioeventfd(vm, event_fd, gpa_add(slot->base, offset), match);

	if (!error && slot->alias.v)
		error = vm_ioeventfd(vm, event_fd, gpa_add(slot->alias, offset),
				     match);
	return error;
}

static int add_kick(struct transport *t, struct vm *vm,
		    const struct mmio_slot *slot, unsigned queue)
{
	struct transport_kick *k = &t->kick[queue];
	/* One queue needs no comparison: the quickest kind of ioeventfd. */
	const int64_t match =
		t->device->queue_count == 1 ? VM_IOEVENTFD_ANY : (int64_t)queue;
	int error;

	k->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (k->source.fd < 0)
		return log_errno("eventfd");
	error = loop_add(t->loop, &k->source, EPOLLIN | EPOLLET);
	if (error) {
		log_error("cannot watch an eventfd: %s", strerror(-error));
		return error;
	}
	return add_ioeventfd(vm, slot, QUEUE_NOTIFY, k->source.fd, match);
}

static int add_interrupt(struct transport *t, struct vm *vm,
			 const struct mmio_slot *slot)
{
	t->vm = vm;
	t->gsi = slot->gsi;
	t->ack_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->ack_fd < 0)
		return log_errno("eventfd");
	return add_ioeventfd(vm, slot, INTERRUPT_ACK, t->ack_fd,
			     INTERRUPT_USED);
}

/* NULL and logged where there is no room. */
static struct transport *create_transport(struct device *device,
					  struct loop *loop,
					  const struct ram *ram)
{
	struct transport *t = transports;
	void *page;

	while (t < transports + MMIO_SLOTS_MAX && t->device)
		t++;
	if (t == transports + MMIO_SLOTS_MAX) {
		log_error("%s: too many devices", device->name);
		return NULL;
	}
	page = mmap(NULL, sizeof(*t->page), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED) {
		log_errno("memory of a device");
		return NULL;
	}
	transport_init(t, device, loop, ram, page);
	return t;
}

int mmio_attach(struct device *device, struct vm *vm, struct loop *loop,
		const struct ram *ram, const struct mmio_slot *slot)
{
	struct transport *t = create_transport(device, loop, ram);
	int error;

	if (!t)
		return -ENOMEM;
	device->transport = t;
	error = add_window(t, vm, 0, slot->base, NULL);
	if (!error && slot->alias.v)
		error = add_window(t, vm, 1, slot->alias, slot->alias_absent);
	if (!error)
		error = add_interrupt(t, vm, slot);
	for (unsigned i = 0; i < device->queue_count && !error; i++)
		error = add_kick(t, vm, slot, i);
	if (error)
		mmio_detach(device);
	return error;
}

void mmio_detach(struct device *device)
{
	struct transport *t = device->transport;

	if (!t)
		return;
	cancel_queues(device, DEVICE_ALL_QUEUES);
	device->active = false;
	for (unsigned i = 0; i < device->queue_count; i++) {
		if (t->kick[i].source.fd < 0)
			continue;
		loop_remove(t->loop, &t->kick[i].source);
		close(t->kick[i].source.fd);
	}
	if (t->ack_fd >= 0)
		close(t->ack_fd);
	device->transport = NULL;
	munmap(t->page, sizeof(*t->page));
	t->device = NULL;
}
