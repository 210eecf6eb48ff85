/* SPDX-License-Identifier: Apache-2.0 */
/* uses: cpu/bus.c */
/*
 * The bus: which device an access reaches, with which offset, and what happens
 * at and between the devices' edges.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/bus.h"

struct fake {
	uint64_t offset;
	unsigned len, reads, writes;
	uint8_t written[8];
};

static void fake_read(void *device, uint64_t offset, uint8_t *data,
		      unsigned len)
{
	struct fake *fake = device;

	fake->offset = offset;
	fake->len = len;
	fake->reads++;
	memset(data, 0x5a, len);
}

static void fake_write(void *device, uint64_t offset, const uint8_t *data,
		       unsigned len)
{
	struct fake *fake = device;

	fake->offset = offset;
	fake->len = len;
	fake->writes++;
	memcpy(fake->written, data, len);
}

static const struct bus_ops ops = { fake_read, fake_write };

static void test_bus_routes_by_address(void **state)
{
	struct fake low = { 0 }, high = { 0 };
	uint8_t data[8] = { 1, 2, 3, 4 };
	struct bus bus = { 0 };

	(void)state;
	/* Added out of order. */
	assert_int_equal(bus_add(&bus, 0xd0001000, 0x1000, &ops, &high), 0);
	assert_int_equal(bus_add(&bus, 0xd0000000, 0x1000, &ops, &low), 0);

	assert_true(bus_write(&bus, 0xd0000070, data, 4));
	assert_int_equal(low.offset, 0x70);
	assert_int_equal(low.len, 4);
	assert_memory_equal(low.written, data, 4);
	assert_int_equal(high.writes, 0);

	assert_true(bus_read(&bus, 0xd0001ffc, data, 4));
	assert_int_equal(high.offset, 0xffc);
	assert_int_equal(high.len, 4);
	assert_int_equal(data[3], 0x5a);
	assert_int_equal(low.reads, 0);
}

static void test_bus_has_nobody_there(void **state)
{
	static const uint64_t outside[] = { 0,	   0x3f7, 0x400,
					    0x3fd, 0x3fe, UINT64_MAX };
	struct fake fake = { 0 };
	struct bus bus = { 0 };
	uint8_t data[4];

	(void)state;
	memset(data, 0, sizeof(data));
	assert_false(bus_read(&bus, 0x3f8, data, 1));
	assert_int_equal(data[0], 0xff);
	assert_int_equal(bus_add(&bus, 0x3f8, 8, &ops, &fake), 0);
	for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
		/* Before, behind, and across the end. */
		memset(data, 0, sizeof(data));
		assert_false(bus_read(&bus, outside[i], data, 4));
		assert_memory_equal(data, "\xff\xff\xff\xff", 4);
		assert_false(bus_write(&bus, outside[i], data, 4));
	}
	assert_int_equal(fake.reads + fake.writes, 0);
	assert_true(bus_read(&bus, 0x3fc, data, 4));
	assert_int_equal(fake.offset, 4);
}

static void test_bus_refuses_overlap(void **state)
{
	struct fake fake = { 0 };
	struct bus bus = { 0 };

	(void)state;
	assert_int_equal(bus_add(&bus, 100, 10, &ops, &fake), 0);
	assert_int_equal(bus_add(&bus, 100, 10, &ops, &fake), -EEXIST);
	assert_int_equal(bus_add(&bus, 109, 1, &ops, &fake), -EEXIST);
	assert_int_equal(bus_add(&bus, 91, 10, &ops, &fake), -EEXIST);
	assert_int_equal(bus_add(&bus, 0, 1000, &ops, &fake), -EEXIST);
	assert_int_equal(bus_add(&bus, 90, UINT64_MAX - 90, &ops, &fake),
			 -EEXIST);
	assert_int_equal(bus.count, 1);
	/* Neighbours are fine. */
	assert_int_equal(bus_add(&bus, 110, 1, &ops, &fake), 0);
	assert_int_equal(bus_add(&bus, 99, 1, &ops, &fake), 0);
	assert_int_equal(bus.count, 3);
}

static void test_bus_reaches_last_address(void **state)
{
	struct fake fake = { 0 };
	struct bus bus = { 0 };
	uint8_t data[8];

	(void)state;
	assert_int_equal(bus_add(&bus, 5, 0, &ops, &fake), -EINVAL);
	assert_int_equal(bus_add(&bus, UINT64_MAX - 6, 8, &ops, &fake),
			 -EINVAL);
	assert_int_equal(bus_add(&bus, UINT64_MAX - 7, 8, &ops, &fake), 0);
	assert_true(bus_read(&bus, UINT64_MAX, data, 1));
	assert_int_equal(fake.offset, 7);
	/* It would wrap round to address 0. */
	assert_false(bus_read(&bus, UINT64_MAX, data, 8));
	assert_true(bus_read(&bus, UINT64_MAX - 7, data, 8));
}

static void test_bus_refuses_when_full(void **state)
{
	struct fake fakes[BUS_DEVICES_MAX] = { 0 };
	struct bus bus = { 0 };
	uint8_t data;

	(void)state;
	/* 29 is prime to the number of devices: every order but the sorted. */
	for (unsigned i = 0; i < BUS_DEVICES_MAX; i++) {
		const unsigned n = i * 29 % BUS_DEVICES_MAX;

		assert_int_equal(bus_add(&bus, n * 16, 8, &ops, &fakes[n]), 0);
	}
	assert_int_equal(bus_add(&bus, 1 << 20, 8, &ops, &fakes[0]), -ENOSPC);
	for (unsigned n = 0; n < BUS_DEVICES_MAX; n++) {
		assert_true(bus_read(&bus, n * 16 + 7, &data, 1));
		assert_int_equal(fakes[n].reads, 1);
		assert_int_equal(fakes[n].offset, 7);
		assert_false(bus_read(&bus, n * 16 + 8, &data, 1));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bus_routes_by_address),
		cmocka_unit_test(test_bus_has_nobody_there),
		cmocka_unit_test(test_bus_refuses_overlap),
		cmocka_unit_test(test_bus_reaches_last_address),
		cmocka_unit_test(test_bus_refuses_when_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
