/*
 * For tests of virtio devices and their transport: a VM without KVM (its bus is
 * real, its eventfds are kept for the test), an event loop that runs in a
 * thread of its own, and a driver that does what virtio 1.2, 3.1.1 asks for
 * through the registers. Included by one C file of a test program, which is
 * linked with cpu/bus.c, cpu/loop/loop.c, mem/ram.c and
 * virtio/{queue,device,mmio, mmio_regs}.c, and not with cpu/vm.c and mem/log.c.
 */
#ifndef TESTS_UNIT_DEVICE_HELP_H
#define TESTS_UNIT_DEVICE_HELP_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>

#include "cpu/loop/loop.h"
#include "cpu/vm.h"
#include "tests/unit/boot_help.h"
#include "tests/unit/ring.h"
#include "virtio/mmio.h"

#define SLOT_AT	  0xD0000000ULL
#define SLOT_GSI  5
#define SLOT_SIZE 0x1000ULL

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

static struct {
	struct vm vm;
	struct ram ram;
	struct loop loop;
	struct loop_source end;
	pthread_t thread;
	bool running;
	int irq_fd[VM_GSI_COUNT]; /* ours to read: dup()s */
	struct {
		uint64_t at;
		int64_t match;
		int fd;
	} ioeventfd[IOEVENTFDS_MAX];
	unsigned ioeventfds;
} host;

int vm_irqfd(struct vm *vm, int event_fd, unsigned gsi)
{
	assert_ptr_equal(vm, &host.vm);
	assert_true(gsi < VM_GSI_COUNT && host.irq_fd[gsi] < 0);
	host.irq_fd[gsi] = dup(event_fd);
	return 0;
}

int vm_ioeventfd(struct vm *vm, int event_fd, gpa at, int64_t match)
{
	assert_ptr_equal(vm, &host.vm);
	assert_true(host.ioeventfds < IOEVENTFDS_MAX);
	host.ioeventfd[host.ioeventfds].at = at.v;
	host.ioeventfd[host.ioeventfds].match = match;
	host.ioeventfd[host.ioeventfds++].fd = dup(event_fd);
	return 0;
}

void log_guest(struct log_limit *limit, const char *format, ...)
{
	va_list args;

	if (limit->count++ >= 3)
		return;
	va_start(args, format);
	vsnprintf(logged.last, sizeof(logged.last), format, args);
	va_end(args);
	logged.count++;
}

int log_errno(const char *call)
{
	int error = errno;

	log_error("%s: %s", call, strerror(error));
	return -error;
}

static inline void host_create(uint64_t ram_size)
{
	memset(&host, 0, sizeof(host));
	for (unsigned i = 0; i < VM_GSI_COUNT; i++)
		host.irq_fd[i] = -1;
	make_ram(&host.ram, ram_size);
	assert_int_equal(loop_create(&host.loop), 0);
}

static inline void *host_thread(void *arg)
{
	(void)arg;
	assert_int_equal(loop_run(&host.loop), 0);
	return NULL;
}

static inline void host_end(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	loop_stop(&host.loop);
}

/* The loop runs until host_stop; from now on the devices are its own. */
static inline void host_run(void)
{
	host.end =
		(struct loop_source){ eventfd(0, EFD_CLOEXEC), host_end, NULL };
	assert_int_equal(loop_add(&host.loop, &host.end, EPOLLIN), 0);
	assert_int_equal(pthread_create(&host.thread, NULL, host_thread, NULL),
			 0);
	host.running = true;
}

static inline void host_stop(void)
{
	if (!host.running)
		return;
	eventfd_write(host.end.fd, 1);
	assert_int_equal(pthread_join(host.thread, NULL), 0);
	loop_remove(&host.loop, &host.end);
	close(host.end.fd);
	host.running = false;
}

static inline void host_destroy(void)
{
	host_stop();
	for (unsigned i = 0; i < VM_GSI_COUNT; i++)
		if (host.irq_fd[i] >= 0)
			close(host.irq_fd[i]);
	for (unsigned i = 0; i < host.ioeventfds; i++)
		close(host.ioeventfd[i].fd);
	loop_destroy(&host.loop);
	ram_destroy(&host.ram);
}

static inline void host_nothing(void *arg)
{
	(void)arg;
}

/* Returns when the loop has done all that it was woken for before this. */
static inline void host_settle(void)
{
	/* The first call may be served in the batch before those events. */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(loop_call(&host.loop, host_nothing, NULL), 0);
}

static inline int attach(struct device *device)
{
	const struct mmio_slot place = { .base = GPA(SLOT_AT),
					  .gsi = SLOT_GSI };

	return mmio_attach(device, &host.vm, &host.loop, &host.ram, &place);
}

/* Interrupts since the last time that this was asked. */
static inline uint64_t interrupts(void)
{
	struct pollfd poll_fd = { .fd = host.irq_fd[SLOT_GSI],
				  .events = POLLIN };
	uint64_t count = 0;

	if (poll(&poll_fd, 1, 0) == 1)
		assert_int_equal(
			read(host.irq_fd[SLOT_GSI], &count, sizeof(count)), 8);
	return count;
}

/* -- the driver ----------------------------------------------------------- */

static inline uint32_t reg_read(unsigned offset)
{
	uint8_t bytes[4];

	assert_int_equal(bus_read(&host.vm.mmio, SLOT_AT + offset, bytes, 4),
			 1);
	return get_le32(bytes);
}

static inline void reg_write(unsigned offset, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	assert_int_equal(bus_write(&host.vm.mmio, SLOT_AT + offset, bytes, 4),
			 1);
}

/* As KVM does: an ioeventfd that matches, else an exit to the bus. */
static inline void notify_queue(uint32_t queue)
{
	for (unsigned i = 0; i < host.ioeventfds; i++)
		if (host.ioeventfd[i].at == SLOT_AT + R_QUEUE_NOTIFY &&
		    (host.ioeventfd[i].match == VM_IOEVENTFD_ANY ||
		     host.ioeventfd[i].match == queue)) {
			assert_int_equal(eventfd_write(host.ioeventfd[i].fd, 1),
					 0);
			return;
		}
	reg_write(R_QUEUE_NOTIFY, queue);
}

static inline uint64_t driver_offered(void)
{
	uint64_t features;

	reg_write(R_FEATURES_SEL, 1);
	features = (uint64_t)reg_read(R_FEATURES) << 32;
	reg_write(R_FEATURES_SEL, 0);
	return features | reg_read(R_FEATURES);
}

/* Up to FEATURES_OK; false where the device refuses. */
static inline bool driver_features(uint64_t features)
{
	reg_write(R_STATUS, 0);
	reg_write(R_STATUS, S_ACKNOWLEDGE);
	reg_write(R_STATUS, S_ACKNOWLEDGE | S_DRIVER);
	reg_write(R_DRIVER_FEATURES_SEL, 1);
	reg_write(R_DRIVER_FEATURES, (uint32_t)(features >> 32));
	reg_write(R_DRIVER_FEATURES_SEL, 0);
	reg_write(R_DRIVER_FEATURES, (uint32_t)features);
	reg_write(R_STATUS, S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK);
	return reg_read(R_STATUS) & S_FEATURES_OK;
}

static inline void reg_write64(unsigned offset, uint64_t value)
{
	reg_write(offset, (uint32_t)value);
	reg_write(offset + 4, (uint32_t)(value >> 32));
}

/* Is it ready? */
static inline bool driver_queue_at(unsigned queue,
				   const struct queue_config *config)
{
	reg_write(R_QUEUE_SEL, queue);
	reg_write(R_QUEUE_NUM, config->size);
	reg_write64(R_QUEUE_DESC, config->desc.v);
	reg_write64(R_QUEUE_DRIVER, config->driver.v);
	reg_write64(R_QUEUE_DEVICE, config->device.v);
	reg_write(R_QUEUE_READY, 1);
	return reg_read(R_QUEUE_READY);
}

static inline bool driver_queue(unsigned queue, const struct ring *ring)
{
	const struct queue_config config = ring_config(ring);

	return driver_queue_at(queue, &config);
}

static inline void driver_ok(void)
{
	reg_write(R_STATUS,
		  S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}

#endif
