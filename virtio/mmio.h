/*
 * The virtio-mmio transport, version 2 (virtio 1.2, 4.2): one slot of the MMIO
 * window for each device, an ioeventfd for each queue, an irqfd for each slot.
 */
#ifndef VIRTIO_MMIO_H
#define VIRTIO_MMIO_H

#include "cpu/loop.h"
#include "cpu/vm.h"
#include "mem/gpa.h"
#include "mem/ram.h"
#include "virtio/device.h"

#define MMIO_SLOT_SIZE 0x1000U

/* Owned by main; zeroed before mmio_attach. Its fields are mmio.c's own. */
struct transport;

struct mmio_place {
	gpa base;
	unsigned gsi;
};

/*
 * Puts a device on the bus: registers the ioeventfds and the irqfd, allocates
 * the transport. Before the vCPUs run. The device must stay where it is until
 * mmio_detach. 0 or -errno, logged.
 */
int mmio_attach(struct device *device, struct vm *vm, struct loop *loop,
		const struct ram *ram, const struct mmio_place *place);

/* After the vCPUs have stopped: resets the device, frees the transport. */
void mmio_detach(struct device *device);

#endif
