/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/block/block.c virtio/block/request.c virtio/block/file.c */
/* uses: virtio/limiter.c virtio/queue.c cpu/loop/loop.c cpu/loop/file.c */
/* uses: mem/pool.c */
/* uses: tests/unit/guest_ram.c tests/unit/sample_file.c cpu/loop/format.c */
#include "tests/unit/block_help.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/log.h"

#define RINGS_AT    0x100000ULL
#define RING_BYTES  0x10000ULL
#define HEADER_STEP 512ULL

struct block_test t;
void (*disk_waits)(void);

void __wrap_log_guest(struct log_limit *limit, const char *format, ...);

/* -- stands in for the transport and the log ------------------------------ */

void device_interrupt(struct device *device)
{
	assert_ptr_equal(device, t.device);
	t.interrupts++;
}

void device_broken(struct device *device, const char *why)
{
	assert_non_null(why);
	for (unsigned i = 0; i < device->queue_count; i++)
		device->queue[i].broken = true;
	t.breaks++;
}

void device_canceled(struct device *device)
{
	assert_ptr_equal(device, t.device);
	t.canceled++;
}

void device_paused(struct device *device)
{
	assert_ptr_equal(device, t.device);
	t.quiet += device->paused; /* else nobody waits */
}

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	assert_true(offset + len <= DEVICE_CONFIG_MAX);
	memcpy(device->config + offset, bytes, len);
}

/* All lines of a kind are kept, not only the first few. */
void __wrap_log_guest(struct log_limit *limit, const char *format, ...)
{
	char line[256];
	va_list args;

	(void)limit;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	log_warn("%s", line);
}

/* -- files ---------------------------------------------------------------- */

int unnamed_file(const char *directory, uint64_t size)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

int memory_file(uint64_t size)
{
	int fd = memfd_create("mote-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* -- the disk ------------------------------------------------------------- */

int disk_create(struct block_options *options)
{
	struct block_backing backing;
	int error;

	memset(&t, 0, sizeof(t));
	if (!options->queues)
		options->queues = 1;
	if (!options->file.path && !options->file.fd)
		options->file.fd = -1;
	make_ram(&t.ram, RAM_BYTES);
	assert_int_equal(loop_create(&t.loop), 0);
	error = block_open(&backing, options, 0);
	if (error)
		return error;
	t.block = block_create(&backing, options, &t.loop);
	if (!t.block)
		return -EIO;
	t.device = block_device(t.block);
	return 0;
}

void disk_activate(uint64_t features)
{
	struct device *device = t.device;

	device->acked = features | FEATURE_VERSION_1;
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct ring *ring = &t.ring[i];
		struct queue_config config;

		ring_init(ring, &t.ram, GPA(RINGS_AT + i * RING_BYTES),
			  QUEUE_SIZE_MAX);
		ring->event_idx = device_has(device, FEATURE_EVENT_IDX);
		ring->indirect = device_has(device, FEATURE_INDIRECT_DESC);
		config = ring_config(ring);
		assert_int_equal(
			queue_start(&device->queue[i], &t.ram, &config), 0);
	}
	device->active = true;
	device->ops->activate(device);
}

bool disk_cancel(uint32_t queues)
{
	const bool over = t.device->ops->cancel(t.device, queues);

	for (unsigned i = 0; i < t.device->queue_count; i++)
		if (queues & 1u << i)
			queue_stop(&t.device->queue[i]);
	return over;
}

void disk_reset(void)
{
	const uint64_t until = loop_now() + PATIENCE_MS * 1000000ULL;
	const unsigned before = t.canceled;

	if (!disk_cancel(DEVICE_ALL_QUEUES)) {
		while (t.canceled == before && loop_now() < until)
			disk_waits ? disk_waits()
				   : (void)loop_turn(&t.loop, PATIENCE_MS);
		assert_true(disk_cancel(DEVICE_ALL_QUEUES));
	}
	t.device->active = false;
}

bool disk_pause(void)
{
	t.device->paused = true;
	return t.device->ops->pause(t.device);
}

void disk_resume(void)
{
	t.device->paused = false;
	for (unsigned i = 0; i < t.device->queue_count; i++)
		kick_queue(i);
}

void disk_destroy(void)
{
	if (t.device->active)
		disk_reset();
	block_destroy(t.block);
	loop_destroy(&t.loop);
	ram_destroy(&t.ram);
}

void disk_make(struct block_options *options, uint64_t features)
{
	assert_int_equal(disk_create(options), 0);
	expect_no_log();
	disk_activate(features);
}

/* -- requests ------------------------------------------------------------- */

uint8_t *guest(uint64_t at, uint64_t len)
{
	uint8_t *host = ram_span(&t.ram, GPA(at), len);

	assert_non_null(host);
	return host;
}

uint8_t *header_of(unsigned slot)
{
	return guest(HEADERS_AT + slot % SLOTS * HEADER_STEP, HEADER_STEP);
}

int status_of(unsigned slot)
{
	return header_of(slot)[STATUS_AT];
}

unsigned put_chain(unsigned queue, const struct ring_buffer *buffer,
		   unsigned count, uint64_t table)
{
	struct ring *ring = &t.ring[queue];
	const unsigned slot = t.slots++ % SLOTS;
	uint16_t head;

	t.back[slot] = false;
	head = ring->next_desc;
	t.slot_of[queue][head] = (uint16_t)slot;
	if (table)
		ring_add_indirect(ring, GPA(table), buffer, count);
	else
		ring_add_chain(ring, buffer, count);
	return slot;
}

unsigned put_pieces(unsigned queue, uint32_t type, uint64_t sector,
		    uint64_t data, uint32_t len, unsigned pieces,
		    bool from_device)
{
	struct ring_buffer buffer[QUEUE_SIZE_MAX];
	const uint64_t at = HEADERS_AT + t.slots % SLOTS * HEADER_STEP;
	uint8_t *header = header_of(t.slots);
	unsigned n = 0;

	put_le32(header, type);
	put_le32(header + 4, 0);
	put_le64(header + 8, sector);
	header[STATUS_AT] = 0xee;
	buffer[n++] = (struct ring_buffer){ GPA(at), 16, false };
	for (unsigned i = 0; i < pieces && len; i++) {
		uint32_t part =
			i + 1 == pieces ? len - len / pieces * i : len / pieces;

		buffer[n++] = (struct ring_buffer){
			GPA(data + (uint64_t)(len / pieces) * i),
			part,
			from_device,
		};
	}
	buffer[n++] = (struct ring_buffer){ GPA(at + STATUS_AT), 1, true };
	return put_chain(queue, buffer, n,
			 t.ring[queue].indirect
				 ? DATA_AT - MIB + t.slots % 64 * 0x1000
				 : 0);
}

static bool is_from_device(uint32_t type)
{
	return type == BLOCK_IN || type == BLOCK_GET_ID;
}

unsigned put_request_on(unsigned queue, uint32_t type, uint64_t sector,
			uint64_t data, uint32_t len)
{
	return put_pieces(queue, type, sector, data, len, 1,
			  is_from_device(type));
}

void kick_queue(unsigned queue)
{
	if (!t.device->paused)
		t.device->ops->kick(t.device, queue);
}

void collect(void)
{
	uint32_t head, written;

	for (unsigned i = 0; i < t.device->queue_count; i++)
		while (ring_used(&t.ring[i], &head, &written)) {
			unsigned slot = t.slot_of[i][head];

			assert_true(head < QUEUE_SIZE_MAX);
			assert_false(t.back[slot]);
			t.back[slot] = true;
			t.written[slot] = written;
			t.back_count++;
		}
}

void engine_reports(unsigned index)
{
	const struct loop_source *source =
		&t.block->disk.engines[index]->source;

	source->ready(source->arg, EPOLLIN);
}

bool pump(int ms)
{
	int count = loop_turn(&t.loop, ms);

	assert_true(count >= 0);
	collect();
	return count;
}

/* A turn may be cut short by a signal: io_uring at work (COOP_TASKRUN). */
void wait_back(unsigned count)
{
	const uint64_t until = loop_now() + PATIENCE_MS * 1000000ULL;

	collect();
	while (t.back_count < count && loop_now() < until)
		pump(PATIENCE_MS);
	if (t.back_count < count)
		fail_msg("%u requests came back, not %u", t.back_count, count);
}

int do_request(uint32_t type, uint64_t sector, uint64_t data, uint32_t len)
{
	unsigned slot = put_request_on(0, type, sector, data, len);

	kick_queue(0);
	wait_back(t.back_count + 1);
	assert_true(t.back[slot]);
	return status_of(slot);
}

uint32_t last_written(void)
{
	return t.written[(t.slots - 1) % SLOTS];
}

int do_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	uint8_t *range = guest(DATA_AT - 64, 16);

	put_le64(range, sector);
	put_le32(range + 8, sectors);
	put_le32(range + 12, flags);
	return do_request(type, 0, DATA_AT - 64, 16);
}
