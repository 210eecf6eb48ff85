/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of virtio devices and their transport: a VM without KVM (its bus is
 * real, its eventfds are kept for the test), an event loop that runs in a
 * thread of its own, and a driver that does what virtio 1.2, 3.1.1 asks for
 * through the registers.
 */
#ifndef TESTS_UNIT_DEVICE_HELP_H
#define TESTS_UNIT_DEVICE_HELP_H

#include <pthread.h>

#include "cpu/loop/loop.h"
#include "cpu/vm.h"
#include "tests/unit/ring.h"
#include "tests/unit/unit.h"
#include "virtio/mmio.h"

#define SLOT_AT	  0xD0000FA0ULL
#define SLOT_GSI  5
#define SLOT_SIZE 0x2000ULL
#define SLOT_END  0x1060ULL /* of what a slot's registers may have */

/* Registers: virtio 1.2, 4.2.2. */
enum {
	R_MAGIC = 0x00,
	R_VERSION = 0x04,
	R_DEVICE_ID = 0x08,
	R_VENDOR_ID = 0x0c,
	R_FEATURES = 0x10,
	R_FEATURES_SEL = 0x14,
	R_DRIVER_FEATURES = 0x20,
	R_DRIVER_FEATURES_SEL = 0x24,
	R_QUEUE_SEL = 0x30,
	R_QUEUE_NUM_MAX = 0x34,
	R_QUEUE_NUM = 0x38,
	R_QUEUE_READY = 0x44,
	R_QUEUE_NOTIFY = 0x50,
	R_INTERRUPT_STATUS = 0x60,
	R_INTERRUPT_ACK = 0x64,
	R_STATUS = 0x70,
	R_QUEUE_DESC = 0x80,
	R_QUEUE_DRIVER = 0x90,
	R_QUEUE_DEVICE = 0xa0,
	R_SHM_SEL = 0xac,
	R_SHM_LEN = 0xb0,
	R_SHM_BASE = 0xb8,
	R_QUEUE_RESET = 0xc0,
	R_GENERATION = 0xfc,
	R_CONFIG = 0x100,
};
enum {
	S_ACKNOWLEDGE = 1,
	S_DRIVER = 2,
	S_DRIVER_OK = 4,
	S_FEATURES_OK = 8,
	S_NEEDS_RESET = 64,
	S_FAILED = 128,
};

/* -- the VM --------------------------------------------------------------- */

#define IOEVENTFDS_MAX 64
#define SHOWN_MAX      32

extern struct host {
	struct vm vm;
	struct ram ram;
	struct loop loop;
	struct loop_source end;
	pthread_t thread;
	bool running;
	int irq_fd[VM_GSI_COUNT]; /* eventfds that count interrupts */
	struct {
		uint64_t at;
		int64_t match;
		int fd;
	} ioeventfd[IOEVENTFDS_MAX];
	unsigned ioeventfds;
	struct {
		uint64_t at;
		const void *page;
	} shown[SHOWN_MAX];
	unsigned shown_count;
	bool no_readonly; /* a host without read-only memory */
} host;

void host_create(uint64_t ram_size);
void host_destroy(void);
/* A new VM and loop, without devices, over the RAM that there is. */
void host_forget(void);
/* The loop runs until host_stop; from now on the devices are its own. */
void host_run(void);
void host_stop(void);
/* Returns when the loop has done all that it was woken for before this. */
void host_settle(void);

int attach(struct device *device);
/* Interrupts since the last time that this was asked. */
uint64_t interrupts(void);

/* -- the driver ----------------------------------------------------------- */

/* A read of the guest's: a load where a page is shown, else an exit. */
int guest_read(uint64_t at, uint8_t *bytes, unsigned len);
uint32_t reg_read(unsigned offset);
void reg_write(unsigned offset, uint32_t value);
void reg_write64(unsigned offset, uint64_t value);
/* As KVM does: an ioeventfd that matches, else an exit to the bus. */
void notify_queue(uint32_t queue);

uint64_t driver_offered(void);
/* Up to FEATURES_OK; false where the device refuses. */
bool driver_features(uint64_t features);
/* Makes a queue ready; is it? */
bool driver_queue_at(unsigned queue, const struct queue_config *config);
bool driver_queue(unsigned queue, const struct ring *ring);
void driver_ok(void);

#endif
