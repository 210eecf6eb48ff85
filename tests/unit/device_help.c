/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/mmio.c virtio/queue.c */
/* uses: cpu/bus.c cpu/loop/loop.c tests/unit/guest_ram.c mem/state.c */
#include "tests/unit/device_help.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/unit/guest_ram.h"

struct host host;

void vm_interrupt(const struct vm *vm, unsigned gsi)
{
	assert_ptr_equal(vm, &host.vm);
	assert_true(gsi < VM_GSI_COUNT);
	eventfd_write(host.irq_fd[gsi], 1);
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

int vm_show_page(struct vm *vm, gpa at, const void *page)
{
	assert_ptr_equal(vm, &host.vm);
	assert_true(host.shown_count < SHOWN_MAX);
	assert_true(at.v % RAM_PAGE == 0 && (uintptr_t)page % RAM_PAGE == 0);
	host.shown[host.shown_count].at = at.v;
	host.shown[host.shown_count++].page = page;
	return 0;
}

void host_create(uint64_t ram_size)
{
	memset(&host, 0, sizeof(host));
	for (unsigned i = 0; i < VM_GSI_COUNT; i++)
		host.irq_fd[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	make_ram(&host.ram, ram_size);
	assert_int_equal(loop_create(&host.loop), 0);
}

static void *host_thread(void *arg)
{
	(void)arg;
	assert_int_equal(loop_run(&host.loop), 0);
	return NULL;
}

static void host_end(void *arg, uint32_t events)
{
	(void)arg;
	(void)events;
	loop_stop(&host.loop);
}

/* The loop runs until host_stop; from now on the devices are its own. */
void host_run(void)
{
	host.end =
		(struct loop_source){ eventfd(0, EFD_CLOEXEC), host_end, NULL };
	assert_int_equal(loop_add(&host.loop, &host.end, EPOLLIN), 0);
	assert_int_equal(pthread_create(&host.thread, NULL, host_thread, NULL),
			 0);
	host.running = true;
}

void host_stop(void)
{
	if (!host.running)
		return;
	eventfd_write(host.end.fd, 1);
	assert_int_equal(pthread_join(host.thread, NULL), 0);
	loop_remove(&host.loop, &host.end);
	close(host.end.fd);
	host.running = false;
}

void host_forget(void)
{
	for (unsigned i = 0; i < host.ioeventfds; i++)
		close(host.ioeventfd[i].fd);
	host.ioeventfds = host.shown_count = 0;
	memset(&host.vm, 0, sizeof(host.vm));
	loop_destroy(&host.loop);
	assert_int_equal(loop_create(&host.loop), 0);
}

void host_destroy(void)
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

static void host_nothing(void *arg)
{
	(void)arg;
}

/* Returns when the loop has done all that it was woken for before this. */
void host_settle(void)
{
	/* The first call may be served in the batch before those events. */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(loop_call(&host.loop, host_nothing, NULL), 0);
}

int attach(struct device *device)
{
	const struct mmio_slot place = { .base = GPA(SLOT_AT),
					 .gsi = SLOT_GSI };

	return mmio_attach(device, &host.vm, &host.loop, &host.ram, &place);
}

/* Interrupts since the last time that this was asked. */
uint64_t interrupts(void)
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

/* All of it in one load where that can be, as a processor does. */
static void load_shown(const uint8_t *from, uint8_t *bytes, unsigned len)
{
	if (len == 4 && (uintptr_t)from % 4 == 0)
		put_le32(
			bytes,
			atomic_load((const _Atomic uint32_t *)(uintptr_t)from));
	else
		for (unsigned i = 0; i < len; i++)
			bytes[i] =
				atomic_load((const _Atomic uint8_t *)from + i);
}

int guest_read(uint64_t at, uint8_t *bytes, unsigned len)
{
	const uint64_t page = at / RAM_PAGE * RAM_PAGE, offset = at - page;

	for (unsigned i = 0; i < host.shown_count && !host.no_readonly; i++)
		if (host.shown[i].at == page && offset + len <= RAM_PAGE) {
			load_shown((const uint8_t *)host.shown[i].page + offset,
				   bytes, len);
			return 1;
		}
	return bus_read(&host.vm.mmio, at, bytes, len);
}

uint32_t reg_read(unsigned offset)
{
	uint8_t bytes[4];

	assert_int_equal(guest_read(SLOT_AT + offset, bytes, 4), 1);
	return get_le32(bytes);
}

void reg_write(unsigned offset, uint32_t value)
{
	uint8_t bytes[4];

	put_le32(bytes, value);
	assert_int_equal(bus_write(&host.vm.mmio, SLOT_AT + offset, bytes, 4),
			 1);
}

/* As KVM does: an ioeventfd that matches, else an exit to the bus. */
void notify_queue(uint32_t queue)
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

uint64_t driver_offered(void)
{
	uint64_t features;

	reg_write(R_FEATURES_SEL, 1);
	features = (uint64_t)reg_read(R_FEATURES) << 32;
	reg_write(R_FEATURES_SEL, 0);
	return features | reg_read(R_FEATURES);
}

/* Up to FEATURES_OK; false where the device refuses. */
bool driver_features(uint64_t features)
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

void reg_write64(unsigned offset, uint64_t value)
{
	reg_write(offset, (uint32_t)value);
	reg_write(offset + 4, (uint32_t)(value >> 32));
}

/* Is it ready? */
bool driver_queue_at(unsigned queue, const struct queue_config *config)
{
	reg_write(R_QUEUE_SEL, queue);
	reg_write(R_QUEUE_NUM, config->size);
	reg_write64(R_QUEUE_DESC, config->desc.v);
	reg_write64(R_QUEUE_DRIVER, config->driver.v);
	reg_write64(R_QUEUE_DEVICE, config->device.v);
	reg_write(R_QUEUE_READY, 1);
	return reg_read(R_QUEUE_READY);
}

bool driver_queue(unsigned queue, const struct ring *ring)
{
	const struct queue_config config = ring_config(ring);

	return driver_queue_at(queue, &config);
}

void driver_ok(void)
{
	reg_write(R_STATUS,
		  S_ACKNOWLEDGE | S_DRIVER | S_FEATURES_OK | S_DRIVER_OK);
}
