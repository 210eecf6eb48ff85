/*
 * The virtio-mmio transport, version 2 (virtio 1.2, 4.2): one slot of the MMIO
 * window for each device, an ioeventfd for each queue, an irqfd for each slot.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cpu/loop/loop.h"
#include "cpu/vm.h"
#include "mem/gpa.h"
#include "mem/ram.h"
#include "virtio/device.h"

#define MMIO_SLOT_SIZE 0x1000U

/*
 * The registers appear at `base` and, where it is not 0, at `alias` too: the
 * ACPI tables name the one, the kernel's command line the other. Once
 * *alias_absent is set the alias reads as a slot without a device (virtio 1.2,
 * 4.2.2: DeviceID 0) and ignores writes, so that a guest which reads both finds
 * each device once. NULL: never.
 */
struct mmio_place {
	gpa base, alias;
	const _Atomic bool *alias_absent;
	unsigned gsi;
};

/*
 * Puts a device on the bus: allocates the transport, registers the ioeventfds
 * and the irqfd. Before the vCPUs run. The device must stay where it is until
 * mmio_detach. 0; or -errno, logged, and the VM, whose bus may still name the
 * device, must not run.
 */
int mmio_attach(struct device *device, struct vm *vm, struct loop *loop,
		const struct ram *ram, const struct mmio_place *place);

/*
 * After the vCPUs have stopped, from the loop's thread: resets the device,
 * frees the transport. Nothing where the device is not attached.
 */
void mmio_detach(struct device *device);

#endif
