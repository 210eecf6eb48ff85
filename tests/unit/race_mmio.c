/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/mock_device.c */
/*
 * Register accesses of several vCPUs while the loop works, under TSan, which
 * ends the program at the first access that no lock orders (tests/race.t).
 */
#include <stdatomic.h>
#include <unistd.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/mock_device.h"
#include "tests/unit/unit.h"

#define VCPUS  3
#define ROUNDS 20000

static atomic_uint vcpus_left, changes;

/* What a vCPU may do at a slot, from where it starts in a row of numbers. */
static void *access_registers(void *arg)
{
	uint32_t seed = *(const uint32_t *)arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned offset;

		seed = seed * 1664525 + 1013904223;
		offset = seed >> 8 & 0xfc;
		if (seed & 0x80)
			reg_read(offset);
		else if (seed & 0x40)
			reg_read(R_CONFIG + (offset & 4));
		else if (seed & 0x20)
			reg_write(offset, seed >> 16 & 15);
		else if (driver_features(FEATURE_VERSION_1))
			driver_ok();
	}
	vcpus_left--;
	return NULL;
}

/* What devices do in the loop's thread. */
static void change_config(void *arg)
{
	static const uint8_t bytes[][4] = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } };
	unsigned *round = arg;

	device_set_config(&mock.device, 0, bytes[++*round % 2], 4);
	changes++;
	device_interrupt(&mock.device);
}

static void test_race_of_registers_and_the_loop(void **state)
{
	uint32_t seeds[VCPUS] = { 1, 2, 3 };
	pthread_t thread[VCPUS];
	unsigned round = 0;

	(void)state;
	alarm(240); /* TSan slows it down */
	vcpus_left = VCPUS;
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL,
						access_registers, &seeds[i]),
				 0);
	while (vcpus_left)
		assert_int_equal(loop_call(&host.loop, change_config, &round),
				 0);
	for (unsigned i = 0; i < VCPUS; i++)
		pthread_join(thread[i], NULL);
	/* They have been at it together. */
	assert_true(round > 10);
	assert_true(mock.activated > 0);
	start(FEATURE_VERSION_1);
}

/* A configuration field is never seen half written (virtio 1.2, 2.5.3). */
static void *read_config_whole(void *arg)
{
	bool *torn = arg;

	/* A load is quick: it goes on until there was something to see. */
	for (unsigned i = 0; i < ROUNDS || changes < ROUNDS / 100; i++) {
		const uint32_t value = reg_read(R_CONFIG);

		if (value != 0x04030201 && value != 0x08070605)
			*torn = true;
	}
	vcpus_left--;
	return NULL;
}

static void test_race_of_configuration_bytes(void **state)
{
	bool torn[VCPUS] = { false };
	pthread_t thread[VCPUS];
	unsigned round = 0;

	(void)state;
	alarm(240);
	changes = 0;
	vcpus_left = VCPUS;
	start(FEATURE_VERSION_1);
	for (unsigned i = 0; i < VCPUS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL,
						read_config_whole, &torn[i]),
				 0);
	while (vcpus_left)
		assert_int_equal(loop_call(&host.loop, change_config, &round),
				 0);
	for (unsigned i = 0; i < VCPUS; i++) {
		pthread_join(thread[i], NULL);
		assert_false(torn[i]);
	}
	assert_true(round > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_WAYS(test_race_of_registers_and_the_loop),
		BOTH_WAYS(test_race_of_configuration_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
