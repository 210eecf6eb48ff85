/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzzers of virtio devices share: a VM without KVM, a loop without
 * threads, and a driver that does what the input says, through the bus and in
 * a RAM of its own. Each supplies the device and its host's end, and is linked
 * without cpu/vm.c and cpu/loop/loop.c.
 *
 * The input is a row of operations, each a byte and its arguments:
 *
 *	0 offset16 how value	write a register: 1 << (how & 3) bytes of it,
 *				at the alias if how & 4
 *	1 offset16 how		read one: what is shown, and by an exit
 *	2 at16 count byte...	write to RAM at `at` * 4
 *	3 queue			a driver's QueueNotify
 *	4 features32		reset, negotiate (these and VERSION_1), up to
 *				FEATURES_OK; 0xffffffff: all that is offered
 *	5 queue log2 at16	a ring at `at` * 16, made ready
 *	6			DRIVER_OK
 *	7 queue flags at16 len16	a descriptor; the
 *				chain is offered with one without NEXT
 *	8			the guest has started its ACPI interpreter
 *	9			the loop: whatever is ready is served, once
 *	10 ms8			time passes, in units of 4 ms
 *	11..15			the host's end: see input_host of each fuzzer
 */
#ifndef TESTS_FUZZ_DRIVER_H
#define TESTS_FUZZ_DRIVER_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cpu/loop/loop.h"
#include "mem/log.h"
#include "mem/ram.h"
#include "mem/util.h"
#include "virtio/mmio.h"

#define INPUT_RAM   (256 * 1024)
#define INPUT_SLOT  0xd0000fa0ULL
#define INPUT_ALIAS 0xd0100fa0ULL
#define INPUT_HOST  11
#define INPUT_OPS   16
#define QUEUES_MAX  DEVICE_QUEUES_MAX

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzzer's own: one of INPUT_HOST and up, less INPUT_HOST. */
void input_host(unsigned operation);

/* Before a device is made; then its place on the bus; then all of the input. */
void input_begin(const uint8_t *data, size_t size);
void input_attach(struct device *device);
void input_run(void);

/* What is not good is a finding: says what is violated, and aborts. */
void must(bool good, const char *what);

/* What is left of the input; a number of so many bytes from it. */
extern struct input {
	const uint8_t *at;
	size_t left;
} input;
uint64_t take(unsigned bytes);

/* The loop: what is watched, what time it is. */
#define LOOP_SOURCES_MAX 512
#define LOOP_TIMERS_MAX	 16
#define LOOP_WORK_MAX	 16

extern struct fake {
	struct loop loop;
	struct loop_source *source[LOOP_SOURCES_MAX];
	uint32_t events[LOOP_SOURCES_MAX];
	struct loop_timer *timer[LOOP_TIMERS_MAX];
	uint64_t expires[LOOP_TIMERS_MAX]; /* 0: not set */
	struct loop_work *deferred[LOOP_WORK_MAX];
	unsigned deferred_count;
	uint64_t now;
	bool resumed;	    /* loop_resume_calls was called */
	void (*held)(void); /* the host goes on, for a call that is held */
} fake;
void deliver(void); /* everything that is ready, once */

/* The driver: RAM, registers, one descriptor more in a queue's ring. */
extern struct ram ram;
uint32_t reg_read(uint64_t offset);
void reg_write(uint64_t offset, uint32_t value);
void offer(void);

#endif
