/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every virtio device is (features, configuration bytes, queues, and the
 * operations of its type), and the virtio-mmio transport, version 2 (virtio
 * 1.2, 4.2), that drives it: one slot of the MMIO window for each device, an
 * ioeventfd for each queue, an interrupt line for each slot.
 *
 * Threads: everything that a device does happens in the event loop's thread:
 * its operations are called there, and so are the functions below that say so.
 * The driver's register accesses come from vCPU threads and never reach a
 * device directly: the transport passes what matters on to the loop and waits.
 * So a device needs no lock, and its data path takes none.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/loop.h"
#include "cpu/vm.h"
#include "mem/ram.h"
#include "mem/state.h"
#include "virtio/queue.h"

#define DEVICE_QUEUES_MAX 16
#define DEVICE_CONFIG_MAX 64
#define MMIO_SLOTS_MAX	  (VM_GSI_COUNT - VM_GSI_VIRTIO) /* a line for each */
#define DEVICE_ALL_QUEUES UINT32_MAX

/*
 * A slot is two pages, and its registers lie across their border: the guest
 * reads those from MMIO_SHOWN on, InterruptStatus, without an exit.
 */
#define MMIO_SLOT_SIZE 0x2000U
#define MMIO_SHOWN     0x060U

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
	 * These queues (bits) are stopped when this returns, and the device
	 * goes on; DEVICE_ALL_QUEUES is a reset. Takes back what was not begun
	 * and waits for nothing: true where nothing of theirs is in flight and
	 * touches guest memory any more; else device_canceled follows, and it
	 * is called once more. At the end of mote nobody calls again.
	 */
	bool (*cancel)(struct device *device, uint32_t queues);
	/*
	 * `paused` was set: what has been taken from the queues is carried on
	 * with, and given back. True where there is none of it; else
	 * device_paused follows. NULL: there never is, but what `taken` counts.
	 * A device may be activated and reset meanwhile, and is paused still.
	 */
	bool (*pause)(struct device *device);
	/* `paused` is clear again; kicks follow. NULL: nothing to do. */
	void (*resume)(struct device *device);
	/*
	 * How many chains of this queue, the last, it has and has not done a
	 * thing with that counts: to be taken once more. NULL: none.
	 */
	unsigned (*taken)(struct device *device, unsigned queue);
};

struct device {
	/* filled in by the type of device before mmio_attach */
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
	bool paused; /* takes no chains from its queues; see mmio_pause */
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
 * stores them. Drivers read without an exit, at any moment: what changes while
 * one runs must lie in 4 aligned bytes, which are seen all new or all old.
 */
void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len);

/*
 * The driver broke the rules: sets DEVICE_NEEDS_RESET, tells the driver, stops
 * all queues of the device until it is reset. Says why, at most a few times.
 */
void device_broken(struct device *device, const char *why);

/* What cancel has found in flight is over. */
void device_canceled(struct device *device);

/* What pause has found is over; harmless where nobody waits for it. */
void device_paused(struct device *device);

/* -- slots ---------------------------------------------------------------- */

/*
 * The registers appear at `base`, MMIO_SHOWN bytes below the border of two
 * pages, and, where it is not 0, at `alias` too: the ACPI tables name the one,
 * the kernel's command line the other. Once *alias_absent is set the alias
 * reads as a slot without a device (virtio 1.2, 4.2.2: DeviceID 0) and ignores
 * writes, so that a guest which reads both finds each device once. NULL: never.
 */
struct mmio_slot {
	gpa base, alias;
	const _Atomic bool *alias_absent;
	unsigned gsi;
};

/*
 * Puts a device on the bus: allocates the transport, has the guest read its
 * page, registers the ioeventfds. Before there are vCPUs. The device must stay
 * where it is until mmio_detach. 0; or -errno, logged, and the VM, whose bus
 * may still name the device, must not run.
 */
int mmio_attach(struct device *device, struct vm *vm, struct loop *loop,
		const struct ram *ram, const struct mmio_slot *slot);

/*
 * After the vCPUs have stopped, from the loop's thread: cancels what the device
 * is at, and waits for none of it; frees the transport. Nothing where the
 * device is not attached.
 */
void mmio_detach(struct device *device);

/* -- saving and restoring ------------------------------------------------- */

/*
 * From the loop's thread. The device takes no more from its queues until
 * mmio_resume, and the driver may go on: kicks are kept, registers work. True
 * where nothing of the device is in flight; else quiet(arg) is called, once,
 * when that is so. mmio_resume before that: it is not.
 */
bool mmio_pause(struct device *device, void (*quiet)(void *arg), void *arg);
void mmio_resume(struct device *device);

/* Still to call `quiet`? */
bool mmio_is_busy(const struct device *device);

/*
 * What the driver has set up (mem/state.h): of the slot, and then of each of
 * the device's queues. Saved by the loop's thread, the device paused and quiet
 * and no vCPU running; loaded into a device that no driver has touched. What is
 * loaded is judged by what this device offers and by guest RAM's size.
 */
void mmio_state_slot(struct device *device, struct state *s);
void mmio_state_queue(struct device *device, unsigned queue, struct state *s);

/*
 * After the load of all that belongs to the device, guest RAM included, before
 * vCPUs run. A device whose driver runs goes on where it was: its queues are
 * kicked and the driver interrupted, since whether that has been before is in
 * no register. Where config is not what the driver has seen it learns it.
 */
void mmio_restored(struct device *device);

#endif
