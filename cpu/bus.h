/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space of devices: one struct bus for ports, one for MMIO. Filled
 * before the vCPUs run and constant from then on, so lookups need no lock; the
 * functions are called from any vCPU thread and devices lock themselves.
 */
#ifndef CPU_BUS_H
#define CPU_BUS_H

#include <stdint.h>

#define BUS_DEVICES_MAX 48

/*
 * `offset` is below the device's size and [offset, offset + len) lies within
 * the device; `len` is 1, 2, 4 or 8. read fills all of `data`.
 */
struct bus_ops {
	void (*read)(void *device, uint64_t offset, uint8_t *data,
		     unsigned len);
	void (*write)(void *device, uint64_t offset, const uint8_t *data,
		      unsigned len);
};

struct bus_range {
	uint64_t start, size;
	const struct bus_ops *ops;
	void *device;
};

struct bus {
	struct bus_range range[BUS_DEVICES_MAX]; /* by start, ascending */
	unsigned count;
};

/* 0; -EEXIST where it overlaps another, -ENOSPC where the bus is full. */
int bus_add(struct bus *bus, uint64_t start, uint64_t size,
	    const struct bus_ops *ops, void *device);

/*
 * What no device claims (and what crosses a device's end) reads as all ones
 * and swallows writes, as on a PC. Returns whether a device answered.
 */
int bus_read(const struct bus *bus, uint64_t address, uint8_t *data,
	     unsigned len);
int bus_write(const struct bus *bus, uint64_t address, const uint8_t *data,
	      unsigned len);

#endif
