/* SPDX-License-Identifier: Apache-2.0 */
/* uses: tests/unit/device_help.c */
#include "tests/unit/mock_device.h"

#include <unistd.h>

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"

struct mock mock;
struct ring ring;

static void check_thread(void)
{
	if (host.running && !pthread_equal(pthread_self(), host.thread))
		mock.wrong_thread = true;
}

static void mock_activate(struct device *device)
{
	check_thread();
	mock.acked = device->acked;
	mock.activated++;
}

/* Gives back what it gets, as far as the ring is good. */
static void mock_kick(struct device *device, unsigned queue)
{
	struct queue *q = &device->queue[queue];
	int more;

	check_thread();
	mock.kicks[queue]++;
	do {
		while ((more = queue_pop(q, &mock.chain)) > 0) {
			mock.popped++;
			if (mock.keeps) {
				mock.taken++;
				continue;
			}
			queue_push(q, mock.chain.head, mock.chain.write_len);
		}
		if (more < 0) {
			device_broken(device, "a malformed ring");
			return;
		}
	} while (queue_want_kick(q));
	if (queue_publish(q))
		device_interrupt(device);
}

static bool mock_cancel(struct device *device, uint32_t queues)
{
	check_thread();
	mock.cancels++;
	if (atomic_load(&mock.in_flight))
		return false;
	if (queues == DEVICE_ALL_QUEUES)
		mock.resets++;
	for (unsigned i = 0; i < device->queue_count; i++)
		mock.stopped[i] += queues == 1u << i;
	return true;
}

static bool mock_pause(struct device *device)
{
	check_thread();
	assert_true(device->paused);
	mock.pauses++;
	return !atomic_load(&mock.in_flight) && !atomic_load(&mock.flushes);
}

static void mock_resume(struct device *device)
{
	check_thread();
	assert_false(device->paused);
	mock.resumes++;
}

static unsigned mock_taken(struct device *device, unsigned queue)
{
	(void)device;
	return queue ? 0 : mock.taken;
}

static const struct device_ops mock_ops = {
	.activate = mock_activate,
	.kick = mock_kick,
	.cancel = mock_cancel,
	.pause = mock_pause,
	.resume = mock_resume,
	.taken = mock_taken,
};

static void make_mock(void)
{
	const uint8_t config[10] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };

	mock = (struct mock){
		.device = {
			.ops = &mock_ops,
			.id = DEVICE_BLOCK,
			.name = "mock 0",
			.features = FEATURE_A | FEATURE_B,
			.queue_count = QUEUES,
			.queue_size = 64,
			.config_len = sizeof(config),
		},
	};
	device_set_config(&mock.device, 0, config, sizeof(config));
	assert_int_equal(attach(&mock.device), 0);
}

int setup(void **state)
{
	(void)state;
	alarm(30);
	logged.count = 0;
	host_create(32 * MIB);
	make_mock();
	host_run();
	return 0;
}

void move_mock(void)
{
	host_stop();
	mmio_detach(&mock.device);
	host_forget();
	make_mock();
}

int setup_exits(void **state)
{
	const int error = setup(state);

	host.no_readonly = true;
	return error;
}

int teardown(void **state)
{
	(void)state;
	host_stop();
	mmio_detach(&mock.device);
	assert_null(mock.device.transport);
	mmio_detach(&mock.device);
	host_destroy();
	assert_false(mock.wrong_thread);
	alarm(0);
	return 0;
}

/* Ready to be used: queue 0 has `ring`, the others are not set up. */
void start(uint64_t features)
{
	ring_init(&ring, &host.ram, GPA(RING_AT), 16);
	ring.event_idx = features & FEATURE_EVENT_IDX;
	assert_true(driver_features(features));
	assert_true(driver_queue(0, &ring));
	driver_ok();
	assert_int_equal(reg_read(R_STATUS), 15);
	interrupts();
}
