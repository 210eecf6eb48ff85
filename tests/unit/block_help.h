/*
 * For tests of the block device: a disk over a file, a driver with a ring for
 * each queue, and the event loop, run by the test itself step by step. Stands
 * in for virtio/device.c. Included by one C file of a test program, which is
 * linked with virtio/{block,block_create,block_open,block_request,block_step,
 * overlay,limiter,queue}.c, cpu/loop/loop.c and mem/ram.c, and with engines or
 * a mock of them.
 */
#ifndef TESTS_UNIT_BLOCK_HELP_H
#define TESTS_UNIT_BLOCK_HELP_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>

#include "tests/unit/boot_help.h"
#include "tests/unit/ring.h"
#include "virtio/block/state.h"

#define FLUSH_FEATURE BLOCK_FEATURE_FLUSH

#define RAM_BYTES   (64 * MIB)
#define RINGS_AT    0x100000ULL
#define RING_BYTES  0x10000ULL
#define HEADERS_AT  0x200000ULL /* 64 bytes each: header, ranges, status */
#define HEADER_STEP 512ULL
#define STATUS_AT   511ULL
#define DATA_AT	    0x1000000ULL
#define SLOTS	    4096u
#define PATIENCE_MS 20000

/* -- stands in for virtio/device.c and mem/log.c -------------------------- */

static struct {
	struct ram ram;
	struct loop loop;
	struct block *block;
	struct device *device;
	struct ring ring[DEVICE_QUEUES_MAX];
	unsigned interrupts;
	unsigned breaks; /* device_broken */
	unsigned slots;	 /* requests made so far */
	uint16_t slot_of[DEVICE_QUEUES_MAX][QUEUE_SIZE_MAX]; /* by head */
	bool back[SLOTS];
	uint32_t written[SLOTS];
	unsigned back_count;
} t;

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

void device_set_config(struct device *device, uint32_t offset,
		       const void *bytes, uint32_t len)
{
	assert_true(offset + len <= DEVICE_CONFIG_MAX);
	memcpy(device->config + offset, bytes, len);
}

void log_info(const char *format, ...)
{
	(void)format;
}

void log_guest(struct log_limit *limit, const char *format, ...)
{
	va_list args;

	(void)limit;
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

/* -- files ---------------------------------------------------------------- */

/* One that has no name and takes what its file system offers. */
static inline int unnamed_file(const char *directory, uint64_t size)
{
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static inline int memory_open(uint64_t size)
{
	int fd = memfd_create("mote-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	return fd;
}

/* -- the disk ------------------------------------------------------------- */

/* Opens and makes it: 0 or -errno. An fd in the options is the disk's. */
static inline int disk_create(struct block_options *options)
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

/* What the transport does at DRIVER_OK. */
static inline void disk_activate_size(uint64_t features, uint16_t size)
{
	struct device *device = t.device;

	device->acked = features | FEATURE_VERSION_1;
	for (unsigned i = 0; i < device->queue_count; i++) {
		struct ring *ring = &t.ring[i];
		struct queue_config config;

		ring_init(ring, &t.ram, GPA(RINGS_AT + i * RING_BYTES), size);
		ring->event_idx = device_has(device, FEATURE_EVENT_IDX);
		ring->indirect = device_has(device, FEATURE_INDIRECT_DESC);
		config = ring_config(ring);
		assert_int_equal(
			queue_start(&device->queue[i], &t.ram, &config), 0);
	}
	device->active = true;
	device->ops->activate(device);
}

static inline void disk_activate(uint64_t features)
{
	disk_activate_size(features, QUEUE_SIZE_MAX);
}

static inline void disk_reset(void)
{
	t.device->ops->reset(t.device);
	t.device->active = false;
	for (unsigned i = 0; i < t.device->queue_count; i++)
		queue_stop(&t.device->queue[i]);
}

static inline void disk_destroy(void)
{
	if (t.device->active)
		disk_reset();
	block_destroy(t.block);
	loop_destroy(&t.loop);
	ram_destroy(&t.ram);
}

static inline void disk_make(struct block_options *options, uint64_t features)
{
	assert_int_equal(disk_create(options), 0);
	expect_no_log();
	disk_activate(features);
}

/* -- requests ------------------------------------------------------------- */

static inline uint8_t *guest(uint64_t at, uint64_t len)
{
	uint8_t *host = ram_span(&t.ram, GPA(at), len);

	assert_non_null(host);
	return host;
}

static inline uint8_t *header_of(unsigned slot)
{
	return guest(HEADERS_AT + slot % SLOTS * HEADER_STEP, HEADER_STEP);
}

static inline int status_of(unsigned slot)
{
	return header_of(slot)[STATUS_AT];
}

/* Any chain; `slot` is what it is known by. */
static inline unsigned put_chain(unsigned queue,
				 const struct ring_buffer *buffer,
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

/*
 * A request as Linux makes it: header, data in `pieces` buffers, status. Data
 * lies at `data` in the guest; its slot.
 */
static inline unsigned put_pieces(unsigned queue, uint32_t type,
				  uint64_t sector, uint64_t data, uint32_t len,
				  unsigned pieces, bool from_device)
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

static inline bool is_from_device(uint32_t type)
{
	return type == BLOCK_IN || type == BLOCK_GET_ID;
}

static inline unsigned put_request_on(unsigned queue, uint32_t type,
				      uint64_t sector, uint64_t data,
				      uint32_t len)
{
	return put_pieces(queue, type, sector, data, len, 1,
			  is_from_device(type));
}

static inline void kick_queue(unsigned queue)
{
	t.device->ops->kick(t.device, queue);
}

static inline void collect(void)
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

/* One round of the event loop. */
static inline bool pump(int ms)
{
	struct epoll_event events[8];
	int n = epoll_wait(t.loop.epoll_fd, events, 8, ms);

	if (n < 0)
		assert_int_equal(errno, EINTR);
	for (int i = 0; i < n; i++) {
		const struct loop_source *source = events[i].data.ptr;

		source->ready(source->arg, events[i].events);
	}
	collect();
	return n; /* EINTR is io_uring at work for us (COOP_TASKRUN) */
}

static inline void wait_back(unsigned count)
{
	collect();
	for (unsigned i = 0; t.back_count < count && i < 1000000; i++)
		if (!pump(PATIENCE_MS))
			break;
	if (t.back_count < count)
		fail_msg("%u requests came back, not %u", t.back_count, count);
}

/* One request, done: its status; its slot is t.slots - 1. */
static inline int do_request(uint32_t type, uint64_t sector, uint64_t data,
			     uint32_t len)
{
	unsigned slot = put_request_on(0, type, sector, data, len);

	kick_queue(0);
	wait_back(t.back_count + 1);
	assert_true(t.back[slot]);
	return status_of(slot);
}

static inline uint32_t last_written(void)
{
	return t.written[(t.slots - 1) % SLOTS];
}

/* DISCARD and WRITE_ZEROES: one range. */
static inline int do_range(uint32_t type, uint64_t sector, uint32_t sectors,
			   uint32_t flags)
{
	uint8_t *range = guest(DATA_AT - 64, 16);

	put_le64(range, sector);
	put_le32(range + 8, sectors);
	put_le32(range + 12, flags);
	return do_request(type, 0, DATA_AT - 64, 16);
}

#endif
