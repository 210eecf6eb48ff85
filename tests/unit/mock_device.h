/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A device that gives back what it gets and counts what it is asked to do,
 * attached to the VM of device_help.h.
 */
#ifndef TESTS_UNIT_MOCK_DEVICE_H
#define TESTS_UNIT_MOCK_DEVICE_H

#include "tests/unit/device_help.h"

#define FEATURE_A (1ULL << 3)
#define FEATURE_B (1ULL << 40)
#define QUEUES	  3
#define ALWAYS	  (FEATURE_VERSION_1 | FEATURE_EVENT_IDX | FEATURE_INDIRECT_DESC)
#define RING_AT	  0x10000

extern struct mock {
	struct device device;
	struct chain chain;
	/* written in the loop's thread, read when the register access is over
	 */
	unsigned activated, resets, kicks[QUEUES], popped;
	unsigned stopped[QUEUES];
	_Atomic unsigned cancels;
	unsigned pauses, resumes;
	unsigned taken; /* of queue 0: what it has kept */
	bool keeps;	/* from now on it gives nothing back */
	uint64_t acked;
	_Atomic bool in_flight; /* cancel and pause find something */
	_Atomic bool flushes;	/* pause does, and cancel waits for no such */
	bool wrong_thread;
} mock;

extern struct ring ring;

/* For cmocka: a VM with this device, and its loop, for each test. */
int setup(void **state);
int teardown(void **state);

/* The device's place is taken by a new one, in a VM with the same RAM. */
void move_mock(void);

/* The same on a host without read-only memory, where all reads exit. */
int setup_exits(void **state);

#define BOTH_WAYS(function)                                                    \
	cmocka_unit_test_setup_teardown(function, setup, teardown),            \
	{                                                                      \
#function "_by_exits", function, setup_exits, teardown, NULL   \
	}

/* Ready to be used: queue 0 has `ring`, the others are not set up. */
void start(uint64_t features);

#endif
