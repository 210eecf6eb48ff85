/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the device behind a port or an MMIO address.
 *
 * Ranges lie in one sorted array and never overlap, so a lookup is a binary
 * search for the last range that starts at or below the address, and a check
 * that the whole access ends within it. Built by the main thread; afterwards
 * read only, from every vCPU thread. The address comes from the guest and is
 * not trusted; the length comes from KVM.
 */
#include "cpu/bus.h"

#include <errno.h>
#include <string.h>

/* Index of the first range that starts above `address`. */
static unsigned first_range_above(const struct bus *bus, uint64_t address)
{
	unsigned low = 0, high = bus->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;

		if (bus->range[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int bus_add(struct bus *bus, uint64_t start, uint64_t size,
	    const struct bus_ops *ops, void *device)
{
	unsigned at = first_range_above(bus, start);
	const struct bus_range *before = at ? &bus->range[at - 1] : NULL;
	const struct bus_range *after =
		at < bus->count ? &bus->range[at] : NULL;

	/* Differences, not sums: a range may end at the last address. */
	if (!size || size - 1 > UINT64_MAX - start)
		return -EINVAL;
	if (before && start - before->start < before->size)
		return -EEXIST;
	if (after && after->start - start < size)
		return -EEXIST;
	if (bus->count == BUS_DEVICES_MAX)
		return -ENOSPC;
	memmove(&bus->range[at + 1], &bus->range[at],
		(bus->count - at) * sizeof(bus->range[0]));
	bus->range[at] = (struct bus_range){ start, size, ops, device };
	bus->count++;
	return 0;
}

/* The range that holds all of the access; NULL where there is none. */
static const struct bus_range *find_range(const struct bus *bus,
					  uint64_t address, unsigned len)
{
	unsigned at = first_range_above(bus, address);
	const struct bus_range *range = at ? &bus->range[at - 1] : NULL;
	uint64_t offset = range ? address - range->start : 0;

	if (!range || offset >= range->size || range->size - offset < len)
		return NULL;
	return range;
}

int bus_read(const struct bus *bus, uint64_t address, uint8_t *data,
	     unsigned len)
{
	const struct bus_range *range = find_range(bus, address, len);

	if (!range) {
		memset(data, 0xff, len);
		return 0;
	}
	range->ops->read(range->device, address - range->start, data, len);
	return 1;
}

int bus_write(const struct bus *bus, uint64_t address, const uint8_t *data,
	      unsigned len)
{
	const struct bus_range *range = find_range(bus, address, len);

	if (!range)
		return 0;
	range->ops->write(range->device, address - range->start, data, len);
	return 1;
}
