/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/mock_device.c */
/* ldflags: -Wl,--wrap=write -Wl,--wrap=eventfd_write */
/* Virtio devices that run: kicks, interrupts, resets, broken drivers. */
#include <sys/eventfd.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/mock_device.h"

/* -- running -------------------------------------------------------------- */

static void test_device_gets_kicks(void **state)
{
	const struct ring_buffer buffer = { GPA(0x100000), 100, true };
	uint32_t head = 0, written = 0;
	uint8_t bytes[8] = { 0 };

	(void)state;
	/* Before it runs: nothing. */
	for (unsigned i = 0; i < 20; i++)
		notify_queue(i);
	notify_queue(UINT32_MAX);
	host_settle();
	assert_int_equal(mock.kicks[0], 0);
	start(FEATURE_VERSION_1 | FEATURE_EVENT_IDX);
	assert_int_equal(mock.kicks[0], 1); /* to look what is there already */
	assert_int_equal(mock.kicks[1], 0);
	ring_add_chain(&ring, &buffer, 1);
	notify_queue(0);
	host_settle();
	assert_int_equal(mock.kicks[0], 2);
	assert_true(ring_used(&ring, &head, &written));
	assert_int_equal(written, 100);
	assert_int_equal(interrupts(), 1);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 1);
	/* In any width. */
	for (unsigned len = 1; len <= 8; len *= 2) {
		ring_add_chain(&ring, &buffer, 1);
		bus_write(&host.vm.mmio, SLOT_AT + R_QUEUE_NOTIFY, bytes, len);
		host_settle();
		assert_true(ring_used(&ring, &head, &written));
	}
	/* A queue that is not set up, one that does not exist, junk. */
	notify_queue(1);
	notify_queue(QUEUES);
	memset(bytes, 0xff, sizeof(bytes));
	bus_write(&host.vm.mmio, SLOT_AT + R_QUEUE_NOTIFY, bytes, 8);
	host_settle();
	assert_int_equal(mock.kicks[0], 6);
	assert_int_equal(mock.kicks[1], 0);
}

static void test_device_finds_early_buffers(void **state)
{
	const struct ring_buffer buffer = { GPA(0x100000), 100, true };
	uint32_t head = 0, written = 0;

	(void)state;
	ring_init(&ring, &host.ram, GPA(RING_AT), 16);
	assert_true(driver_features(FEATURE_VERSION_1));
	assert_true(driver_queue(0, &ring));
	ring_add_chain(&ring, &buffer, 1);
	driver_ok();
	assert_true(ring_used(&ring, &head, &written));
}

/* What does not fit into the configuration space is not written at all. */
static void test_device_config_has_an_end(void **state)
{
	static const uint8_t bytes[2] = { 0xaa, 0xbb };
	struct device before;

	(void)state;
	start(FEATURE_VERSION_1);
	before = mock.device;
	device_set_config(&mock.device, DEVICE_CONFIG_MAX - 1, bytes, 2);
	device_set_config(&mock.device, DEVICE_CONFIG_MAX, bytes, 1);
	device_set_config(&mock.device, DEVICE_CONFIG_MAX + 1, bytes, 1);
	device_set_config(&mock.device, UINT32_MAX, bytes, 2);
	assert_memory_equal(&before, &mock.device, sizeof(before));
	assert_int_equal(interrupts(), 0);
	device_set_config(&mock.device, DEVICE_CONFIG_MAX - 2, bytes, 2);
	assert_memory_equal(mock.device.config + DEVICE_CONFIG_MAX - 2, bytes,
			    2);
	assert_int_equal(interrupts(), 1);
}

static void test_device_raises_interrupts(void **state)
{
	(void)state;
	start(FEATURE_VERSION_1);
	device_interrupt(&mock.device);
	device_interrupt(&mock.device);
	assert_int_equal(interrupts(), 2);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 1);
	device_set_config(&mock.device, 0, "x", 1);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	/* USED is there while the driver runs, CONFIG until it is told. */
	reg_write(R_INTERRUPT_ACK, 1);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	reg_write(R_INTERRUPT_ACK, 0xfffffffd);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	reg_write(R_INTERRUPT_STATUS, 0); /* read only */
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 3);
	reg_write(R_INTERRUPT_ACK, 2);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 1);
	device_set_config(&mock.device, 0, "y", 1);
	reg_write(R_INTERRUPT_ACK, 3);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 1);
	reg_write(R_STATUS, 0);
	assert_int_equal(reg_read(R_INTERRUPT_STATUS), 0);
}

/* What InterruptStatus was when the interrupt was raised. */
static struct {
	bool watched;
	unsigned count;
	uint32_t status;
} raised;

static void look_at_status(void)
{
	if (!raised.watched)
		return;
	raised.watched = false; /* once: reading it may write, too */
	raised.status = reg_read(R_INTERRUPT_STATUS);
	raised.count++;
	raised.watched = true;
}

ssize_t __real_write(int fd, const void *from, size_t len);
ssize_t __wrap_write(int fd, const void *from, size_t len);
ssize_t __wrap_write(int fd, const void *from, size_t len)
{
	look_at_status();
	return __real_write(fd, from, len);
}

int __real_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value);
int __wrap_eventfd_write(int fd, eventfd_t value)
{
	look_at_status();
	return __real_eventfd_write(fd, value);
}

/*
 * The guest's handler may run before the write that raises the interrupt has
 * returned, and reads InterruptStatus: it must be there already.
 */
static void test_device_says_why_before_it_interrupts(void **state)
{
	(void)state;
	start(FEATURE_VERSION_1);
	raised.count = 0;
	raised.watched = true;
	device_interrupt(&mock.device);
	raised.watched = false;
	assert_int_equal(raised.count, 1);
	assert_int_equal(raised.status, 1);
	reg_write(R_INTERRUPT_ACK, 1);
	raised.watched = true;
	device_set_config(&mock.device, 0, "x", 1);
	raised.watched = false;
	assert_int_equal(raised.count, 2);
	assert_int_equal(raised.status, 3);
	assert_int_equal(interrupts(), 2);
}

/* -- what is in flight when it is to stop --------------------------------- */

static _Atomic unsigned moves; /* what was in flight is over when it is 2 */

static void host_moves(void *arg)
{
	(void)arg;
	if (++moves < 2)
		return;
	mock.in_flight = false;
	device_canceled(&mock.device);
}

/* As a host would, once cancel has been called: and the loop goes on. */
static void *finish_in_flight(void *arg)
{
	(void)arg;
	while (!mock.cancels)
		usleep(1000);
	for (unsigned i = 0; i < 2; i++)
		loop_call(&host.loop, host_moves, NULL);
	return NULL;
}

static void *end_loop(void *arg)
{
	(void)arg;
	while (!mock.cancels)
		usleep(1000);
	eventfd_write(host.end.fd, 1);
	return NULL;
}

/* A register write of a vCPU's, which waits for what is in flight. */
static void write_in_flight(unsigned offset, void *(*host_does)(void *arg))
{
	pthread_t thread;

	moves = mock.cancels = 0;
	mock.in_flight = true;
	assert_int_equal(pthread_create(&thread, NULL, host_does, NULL), 0);
	reg_write(offset, 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_device_resets(void **state)
{
	const struct ring_buffer buffer = { GPA(0x100000), 1, true };
	uint32_t head = 0, written = 0;

	(void)state;
	reg_write(R_STATUS, 0);
	assert_int_equal(mock.resets, 0); /* it has never run */
	for (unsigned i = 1; i <= 5; i++) {
		start(FEATURE_VERSION_1);
		ring_add_chain(&ring, &buffer, 1);
		notify_queue(0);
		host_settle();
		assert_true(ring_used(&ring, &head, &written));
		write_in_flight(R_STATUS, finish_in_flight);
		/* It is over when the write is. */
		assert_int_equal(moves, 2);
		assert_int_equal(mock.cancels, 2);
		assert_int_equal(mock.resets, i);
		assert_false(mock.device.active);
		assert_true(mock.device.acked == 0);
		assert_int_equal(reg_read(R_STATUS), 0);
		assert_int_equal(reg_read(R_QUEUE_READY), 0);
		assert_int_equal(queue_pop(&mock.device.queue[0], &mock.chain),
				 0);
		/* A kick that comes late finds nothing. */
		notify_queue(0);
		host_settle();
		assert_int_equal(mock.kicks[0], 2 * i);
	}
	assert_int_equal(mock.activated, 5);
}

static void test_device_stops_a_queue(void **state)
{
	const struct ring_buffer buffer = { GPA(0x100000), 1, true };
	uint32_t head = 0, written = 0;

	(void)state;
	start(FEATURE_VERSION_1);
	reg_write(R_QUEUE_SEL, 0);
	write_in_flight(R_QUEUE_READY, finish_in_flight);
	assert_int_equal(reg_read(R_QUEUE_READY), 0);
	assert_int_equal(moves, 2);
	assert_int_equal(mock.stopped[0], 1);
	assert_int_equal(mock.resets, 0);
	ring_add_chain(&ring, &buffer, 1);
	notify_queue(0);
	host_settle();
	assert_false(ring_used(&ring, &head, &written));
	/* It stays so until the reset, as VIRTIO_F_RING_RESET says. */
	assert_false(driver_queue(0, &ring));
	start(FEATURE_VERSION_1);
	assert_true(mock.device.queue[0].ready);
	/* Before DRIVER_OK it may change its mind. */
	assert_true(driver_features(FEATURE_VERSION_1));
	assert_true(driver_queue(0, &ring));
	reg_write(R_QUEUE_READY, 0);
	assert_int_equal(reg_read(R_QUEUE_READY), 0);
	assert_true(driver_queue(0, &ring));
	/* QueueReset is not offered. */
	reg_write(R_QUEUE_RESET, 1);
	assert_int_equal(reg_read(R_QUEUE_RESET), 0);
	assert_int_equal(reg_read(R_QUEUE_READY), 1);
}

static void test_device_gives_up_on_a_broken_ring(void **state)
{
	const struct ring_buffer good = { GPA(0x100000), 1, true };
	const struct ring_buffer bad = { GPA(32 * MIB), 1, true };
	uint32_t head = 0, written = 0;

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		start(FEATURE_VERSION_1);
		ring_add_chain(&ring, &good, 1);
		ring_add_chain(&ring, &bad, 1);
		ring_add_chain(&ring, &good, 1);
		notify_queue(0);
		host_settle();
		assert_int_equal(reg_read(R_STATUS), 15 | S_NEEDS_RESET);
		assert_int_equal(reg_read(R_INTERRUPT_STATUS) & 2, 2);
		assert_int_equal(interrupts(), 1);
		/* Nothing more, not even what came before the bad one. */
		notify_queue(0);
		host_settle();
		assert_false(ring_used(&ring, &head, &written));
		assert_int_equal(mock.kicks[0], 2 * (i + 1));
		assert_int_equal(interrupts(), 0);
		assert_int_equal(mock.resets, i);
		reg_write(R_STATUS, 0);
		assert_int_equal(mock.resets, i + 1);
	}
	assert_int_equal(logged.count, 3);
	assert_non_null(strstr(logged.last, "mock 0: "));
	start(FEATURE_VERSION_1);
	ring_add_chain(&ring, &good, 1);
	notify_queue(0);
	host_settle();
	assert_true(ring_used(&ring, &head, &written));
}

/* -- the loop ends, the alias, threads ------------------------------------ */

static void test_device_outlives_the_loop(void **state)
{
	(void)state;
	start(FEATURE_VERSION_1);
	host_stop();
	/* A vCPU that is still writing does not hang. */
	reg_write(R_QUEUE_READY, 0);
	reg_write(R_STATUS, 0);
	assert_int_equal(mock.resets, 0);
	/* mmio_detach resets. */
	mmio_detach(&mock.device);
	assert_int_equal(mock.resets, 1);
}

/* Nor one that waits for what the host never finishes. */
static void test_device_ends_in_flight(void **state)
{
	(void)state;
	start(FEATURE_VERSION_1);
	write_in_flight(R_STATUS, end_loop);
	assert_int_equal(mock.cancels, 1);
	host_stop();
	mmio_detach(&mock.device);
	assert_int_equal(mock.cancels, 2);
	/* It is over long after anybody could care. */
	host_moves(NULL);
	host_moves(NULL);
}

/* What it matches. */
static int64_t ioeventfd_at(uint64_t at)
{
	for (unsigned i = 0; i < host.ioeventfds; i++)
		if (host.ioeventfd[i].at == at)
			return host.ioeventfd[i].match;
	return -2;
}

static void test_device_has_an_alias(void **state)
{
	const uint64_t alias = SLOT_AT + 0x100000;
	const uint64_t at[] = { alias, SLOT_AT + SLOT_SIZE };
	_Atomic bool absent = false;
	const struct mmio_slot place = {
		.base = GPA(SLOT_AT + SLOT_SIZE),
		.alias = GPA(alias),
		.alias_absent = &absent,
		.gsi = SLOT_GSI + 1,
	};
	struct device second = mock.device;
	const unsigned before = host.ioeventfds;
	const uint8_t status[4] = { S_ACKNOWLEDGE };
	uint8_t bytes[4];

	(void)state;
	host_stop(); /* devices are attached before it runs */
	second.queue_count = 1;
	assert_int_equal(
		mmio_attach(&second, &host.vm, &host.loop, &host.ram, &place),
		0);
	/* Of both: notifications, and acknowledgements of USED alone. */
	assert_int_equal(host.ioeventfds, before + 4);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ioeventfd_at(at[i] + R_QUEUE_NOTIFY),
				 VM_IOEVENTFD_ANY);
		assert_int_equal(ioeventfd_at(at[i] + R_INTERRUPT_ACK), 1);
	}
	bus_write(&host.vm.mmio, alias + R_STATUS, status, 4);
	guest_read(SLOT_AT + SLOT_SIZE + R_STATUS, bytes, 4);
	assert_int_equal(get_le32(bytes), S_ACKNOWLEDGE);
	guest_read(alias + R_DEVICE_ID, bytes, 4);
	assert_int_equal(get_le32(bytes), DEVICE_BLOCK);
	absent = true;
	guest_read(alias + R_MAGIC, bytes, 4);
	assert_int_equal(get_le32(bytes), 0x74726976);
	guest_read(alias + R_DEVICE_ID, bytes, 4);
	assert_int_equal(get_le32(bytes), 0);
	put_le32(bytes, 0);
	bus_write(&host.vm.mmio, alias + R_STATUS, bytes, 4);
	guest_read(SLOT_AT + SLOT_SIZE + R_STATUS, bytes, 4);
	assert_int_equal(get_le32(bytes), S_ACKNOWLEDGE);
	guest_read(SLOT_AT + SLOT_SIZE + R_DEVICE_ID, bytes, 4);
	assert_int_equal(get_le32(bytes), DEVICE_BLOCK);
	mmio_detach(&second);
}

/* Several vCPUs at one slot, each doing what it likes. */
static void *hammer(void *arg)
{
	uint32_t seed = *(uint32_t *)arg;

	for (unsigned i = 0; i < 20000; i++) {
		unsigned offset;

		seed = seed * 1664525 + 1013904223;
		offset = seed >> 8 & 0xfc;
		if (seed & 0x80)
			reg_read(offset);
		else if (offset == R_STATUS)
			reg_write(offset, seed >> 16 & 15);
		else if (seed & 0x40)
			reg_write(offset, seed >> 16 & 3);
		else
			driver_features(FEATURE_VERSION_1);
	}
	return NULL;
}

static void test_device_survives_many_vcpus(void **state)
{
	uint32_t seeds[3] = { 1, 2, 3 };
	pthread_t thread[3];

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(
			pthread_create(&thread[i], NULL, hammer, &seeds[i]), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	assert_true(mock.activated > 0);
	start(FEATURE_VERSION_1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH_WAYS(test_device_gets_kicks),
		BOTH_WAYS(test_device_finds_early_buffers),
		BOTH_WAYS(test_device_config_has_an_end),
		BOTH_WAYS(test_device_raises_interrupts),
		BOTH_WAYS(test_device_says_why_before_it_interrupts),
		BOTH_WAYS(test_device_resets),
		BOTH_WAYS(test_device_stops_a_queue),
		BOTH_WAYS(test_device_gives_up_on_a_broken_ring),
		BOTH_WAYS(test_device_outlives_the_loop),
		BOTH_WAYS(test_device_ends_in_flight),
		BOTH_WAYS(test_device_has_an_alias),
		BOTH_WAYS(test_device_survives_many_vcpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
