/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/mock_device.c */
/* The registers of virtio-mmio: every offset, width and status transition. */
#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/mock_device.h"

/* -- plain registers ------------------------------------------------------ */

static void test_mmio_at_every_offset(void **state)
{
	static const struct {
		unsigned offset;
		uint32_t value;
	} known[] = {
		{ R_MAGIC, 0x74726976 },
		{ R_VERSION, 2 },
		{ R_DEVICE_ID, DEVICE_BLOCK },
		{ R_VENDOR_ID, 0x45544f4d },
		{ R_FEATURES, (uint32_t)(ALWAYS | FEATURE_A) },
		{ R_QUEUE_NUM_MAX, 64 },
		{ R_SHM_LEN, UINT32_MAX },
		{ R_SHM_LEN + 4, UINT32_MAX },
		{ R_SHM_BASE, UINT32_MAX },
		{ R_SHM_BASE + 4, UINT32_MAX },
		{ R_CONFIG, 0x04030201 },
		{ R_CONFIG + 4, 0x08070605 },
		{ R_CONFIG + 8, 0x0a09 },
	};

	(void)state;
	for (unsigned offset = 0; offset < SLOT_END; offset += 4) {
		uint32_t expected = 0;

		for (size_t i = 0; i < ARRAY_LEN(known); i++)
			if (known[i].offset == offset)
				expected = known[i].value;
		if (reg_read(offset) != expected)
			fail_msg("0x%x: 0x%x", offset, reg_read(offset));
	}
}

/* Byte `b` of an access at `offset` to a device that has not been started. */
static unsigned shown_byte(unsigned offset, unsigned b)
{
	const unsigned at = offset + b;

	if (offset < R_INTERRUPT_STATUS || at < R_SHM_LEN)
		return 0;
	if (at < R_SHM_BASE + 8)
		return 0xff;
	return at < R_CONFIG || at >= R_CONFIG + 10 ? 0 : at - R_CONFIG + 1;
}

/*
 * Accesses that 4.2.2.2 forbids: they change nothing, and below InterruptStatus
 * they read as zero. From there on they find the bytes as they lie.
 */
static void test_mmio_in_every_width(void **state)
{
	static const unsigned widths[] = { 1, 2, 4, 8 };
	uint8_t bytes[8];

	(void)state;
	for (unsigned offset = 0; offset < R_CONFIG; offset++) {
		for (unsigned i = 0; i < ARRAY_LEN(widths); i++) {
			unsigned len = widths[i];

			if (len == 4 && offset % 4 == 0)
				continue;
			memset(bytes, 0xee, sizeof(bytes));
			guest_read(SLOT_AT + offset, bytes, len);
			for (unsigned b = 0; b < len; b++)
				assert_int_equal(bytes[b],
						 shown_byte(offset, b));
			memset(bytes, 1, sizeof(bytes));
			bus_write(&host.vm.mmio, SLOT_AT + offset, bytes, len);
		}
	}
	host_settle();
	assert_int_equal(reg_read(R_STATUS), 0);
	assert_int_equal(mock.activated, 0);
	/* The end of the slot: what crosses it is nobody's. */
	assert_int_equal(guest_read(SLOT_AT + SLOT_END - 2, bytes, 4), 0);
}

static void test_mmio_config_space(void **state)
{
	const uint8_t news[] = { 0x77, 0x88 };
	uint8_t bytes[8];

	(void)state;
	for (unsigned len = 1; len <= 8; len *= 2)
		for (unsigned at = 0; at < 16; at++) {
			guest_read(SLOT_AT + R_CONFIG + at, bytes, len);
			for (unsigned i = 0; i < len; i++)
				assert_int_equal(bytes[i],
						 at + i < 10 ? at + i + 1 : 0);
		}
	reg_write(R_CONFIG, 0xffffffff);
	assert_int_equal(reg_read(R_CONFIG), 0x04030201);
	/* New bytes, unknown to a driver that does not run yet. */
	assert_int_equal(reg_read(R_GENERATION), 0);
	device_set_config(&mock.device, 9, news, 1);
	assert_int_equal(reg_read(R_GENERATION), 1);
	assert_int_equal(reg_read(R_CONFIG + 8), 0x7709);
	assert_int_equal(interrupts(), 0);
	start(FEATURE_VERSION_1);
	device_set_config(&mock.device, 0, news, 2);
	assert_int_equal(reg_read(R_GENERATION), 2);
	assert_int_equal(reg_read(R_CONFIG), 0x04038877);
	assert_int_equal(interrupts(), 1);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	/* Out of bounds: nothing. */
	device_set_config(&mock.device, DEVICE_CONFIG_MAX - 1, news, 2);
	device_set_config(&mock.device, UINT32_MAX, news, 2);
	assert_int_equal(reg_read(R_GENERATION), 2);
}

/* -- features and status -------------------------------------------------- */

static void test_mmio_offers_features(void **state)
{
	(void)state;
	assert_true(driver_offered() == (ALWAYS | FEATURE_A | FEATURE_B));
	reg_write(R_FEATURES_SEL, 2);
	assert_int_equal(reg_read(R_FEATURES), 0);
	reg_write(R_FEATURES_SEL, UINT32_MAX);
	assert_int_equal(reg_read(R_FEATURES), 0);
	start(FEATURE_VERSION_1 | FEATURE_B);
	assert_int_equal(mock.activated, 1);
	assert_true(mock.acked == (FEATURE_VERSION_1 | FEATURE_B));
	/* Too late. */
	reg_write(R_DRIVER_FEATURES, 0xffffffff);
	assert_int_equal(reg_read(R_STATUS), 15);
	assert_true(device_has(&mock.device, FEATURE_B));
	assert_false(device_has(&mock.device, FEATURE_A));
}

static void test_mmio_refuses_features(void **state)
{
	(void)state;
	/* Without VERSION_1: refused, and the driver may think again. */
	assert_false(driver_features(FEATURE_A));
	assert_int_equal(reg_read(R_STATUS), S_ACKNOWLEDGE | S_DRIVER);
	reg_write(R_DRIVER_FEATURES_SEL, 1);
	reg_write(R_DRIVER_FEATURES, (uint32_t)(FEATURE_VERSION_1 >> 32));
	reg_write(R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
	assert_int_equal(reg_read(R_STATUS), 11);
	assert_int_equal(logged.count, 0);
	/* What was not offered. */
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t feature = 1ULL << bit;
		bool good = feature & (ALWAYS | FEATURE_A | FEATURE_B);

		assert_int_equal(driver_features(FEATURE_VERSION_1 | feature),
				 good);
		assert_int_equal(reg_read(R_STATUS) & S_NEEDS_RESET,
				 good ? 0 : S_NEEDS_RESET);
		driver_ok();
	}
	assert_int_equal(mock.activated, 5);
	assert_int_equal(logged.count, 3); /* and no more are */
	/* Not even for bits that no device has. */
	assert_true(driver_features(FEATURE_VERSION_1));
	reg_write(R_STATUS, 0);
	reg_write(R_DRIVER_FEATURES_SEL, 2);
	reg_write(R_DRIVER_FEATURES, 0);
	reg_write(R_DRIVER_FEATURES, 1);
	reg_write(R_DRIVER_FEATURES_SEL, 1);
	reg_write(R_DRIVER_FEATURES, 1);
	reg_write(R_STATUS, 11);
	assert_int_equal(reg_read(R_STATUS), 3 | S_NEEDS_RESET);
	assert_true(driver_features(FEATURE_VERSION_1));
}

static void test_mmio_status(void **state)
{
	(void)state;
	/* FEATURES_OK needs a driver. */
	reg_write(R_DRIVER_FEATURES_SEL, 1);
	reg_write(R_DRIVER_FEATURES, 1);
	reg_write(R_STATUS, S_FEATURES_OK);
	assert_int_equal(reg_read(R_STATUS), 0);
	reg_write(R_STATUS, S_ACKNOWLEDGE);
	assert_int_equal(reg_read(R_STATUS), 1);
	/* Bits are not cleared but by a reset; what is no bit is not kept. */
	reg_write(R_STATUS, S_DRIVER | 0xffffff30);
	assert_int_equal(reg_read(R_STATUS), 3);
	reg_write(R_STATUS, S_NEEDS_RESET);
	assert_int_equal(reg_read(R_STATUS), 3);
	reg_write(R_STATUS, S_FAILED);
	assert_int_equal(reg_read(R_STATUS), 0x83);
	reg_write(R_STATUS, 0);
	assert_int_equal(reg_read(R_STATUS), 0);
	/* All at once. */
	reg_write(R_DRIVER_FEATURES_SEL, 1);
	reg_write(R_DRIVER_FEATURES, 1);
	reg_write(R_STATUS, 15);
	assert_int_equal(reg_read(R_STATUS), 15);
	assert_int_equal(mock.activated, 1);
	reg_write(R_STATUS, 15);
	assert_int_equal(mock.activated, 1);
	/* The driver gives up: it will reset when it wants. */
	reg_write(R_STATUS, 15 | S_FAILED);
	assert_int_equal(reg_read(R_STATUS), 15 | S_FAILED);
	assert_int_equal(mock.resets, 0);
	reg_write(R_STATUS, 0);
	assert_int_equal(mock.resets, 1);
	assert_int_equal(logged.count, 0);
}

static void test_mmio_refuses_early_driver_ok(void **state)
{
	(void)state;
	reg_write(R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_DRIVER_OK);
	assert_int_equal(reg_read(R_STATUS), 3 | S_NEEDS_RESET);
	expect_log("without FEATURES_OK");
	assert_int_equal(mock.activated, 0);
	assert_int_equal(interrupts(), 0); /* 2.1.2: it is not running */
	/* Nothing helps but a reset. */
	reg_write(R_DRIVER_FEATURES_SEL, 1);
	reg_write(R_DRIVER_FEATURES, 1);
	reg_write(R_STATUS, 15);
	assert_int_equal(reg_read(R_STATUS), 15 | S_NEEDS_RESET);
	assert_int_equal(mock.activated, 0);
	start(FEATURE_VERSION_1);
	assert_int_equal(mock.activated, 1);
}

/* -- queues --------------------------------------------------------------- */

static void test_mmio_queue_registers(void **state)
{
	(void)state;
	ring_init(&ring, &host.ram, GPA(RING_AT), 16);
	assert_true(driver_features(FEATURE_VERSION_1));
	for (unsigned i = 0; i < 20; i++) {
		reg_write(R_QUEUE_SEL, i);
		assert_int_equal(reg_read(R_QUEUE_NUM_MAX),
				 i < QUEUES ? 64 : 0);
		assert_int_equal(reg_read(R_QUEUE_READY), 0);
	}
	/* No such queue: nothing happens. */
	assert_false(driver_queue(QUEUES, &ring));
	assert_false(driver_queue(UINT32_MAX, &ring));
	assert_int_equal(reg_read(R_STATUS), 11);
	assert_true(driver_queue(1, &ring));
	/* While it is ready it stays as it is. */
	reg_write(R_QUEUE_NUM, 5);
	reg_write64(R_QUEUE_DESC, UINT64_MAX);
	reg_write64(R_QUEUE_DRIVER, UINT64_MAX);
	reg_write64(R_QUEUE_DEVICE, UINT64_MAX);
	reg_write(R_QUEUE_READY, 2);
	assert_int_equal(reg_read(R_QUEUE_READY), 1);
	driver_ok();
	assert_int_equal(reg_read(R_STATUS), 15);
	assert_true(mock.device.queue[1].ready);
	assert_false(mock.device.queue[0].ready);
	assert_int_equal(mock.device.queue[1].config.size, 16);
	assert_true(mock.device.queue[1].config.device.v == ring.used.v);
	/* No queue is made ready once the driver runs. */
	assert_false(driver_queue(0, &ring));
	assert_int_equal(reg_read(R_STATUS), 15);
}

static void test_mmio_refuses_queues(void **state)
{
	static const struct {
		uint64_t size, desc, driver, device;
		bool good;
	} cases[] = {
		{ 64, 0x10000, 0x20000, 0x30000, true },
		{ 1, 0x10000, 0x20000, 0x30000, true },
		{ 128, 0x10000, 0x20000, 0x30000, false }, /* > offered */
		{ 0, 0x10000, 0x20000, 0x30000, false },
		{ 48, 0x10000, 0x20000, 0x30000, false },
		{ 64, 0x10008, 0x20000, 0x30000, false },
		{ 64, 0x10000, 0x20001, 0x30000, false },
		{ 64, 0x10000, 0x20000, 0x30002, false },
		{ 64, 32 * MIB - 16, 0x20000, 0x30000, false },
		{ 64, 0x10000, 32 * MIB, 0x30000, false },
		{ 64, 0x10000, 0x20000, SLOT_AT, false },
		{ 64, 0x100010000, 0x20000, 0x30000, false },
		{ 64, UINT64_MAX - 15, 0x20000, 0x30000, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct queue_config config = {
			.size = (uint16_t)cases[i].size,
			.desc = GPA(cases[i].desc),
			.driver = GPA(cases[i].driver),
			.device = GPA(cases[i].device),
		};
		unsigned before = mock.activated;

		assert_true(driver_features(FEATURE_VERSION_1));
		if (driver_queue_at(0, &config) != cases[i].good)
			fail_msg("case %zu", i);
		assert_int_equal(reg_read(R_STATUS),
				 cases[i].good ? 11 : 11 | S_NEEDS_RESET);
		driver_ok();
		assert_int_equal(mock.activated - before, cases[i].good);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_WAYS(test_mmio_at_every_offset),
		BOTH_WAYS(test_mmio_in_every_width),
		BOTH_WAYS(test_mmio_config_space),
		BOTH_WAYS(test_mmio_offers_features),
		BOTH_WAYS(test_mmio_refuses_features),
		BOTH_WAYS(test_mmio_status),
		BOTH_WAYS(test_mmio_refuses_early_driver_ok),
		BOTH_WAYS(test_mmio_queue_registers),
		BOTH_WAYS(test_mmio_refuses_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
