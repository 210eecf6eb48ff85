/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/block/block.c virtio/block/request.c virtio/block/file.c */
/* uses: virtio/limiter.c virtio/mmio.c virtio/block/io.c mem/pool.c */
/* uses: virtio/queue.c cpu/bus.c mem/ram.c mem/log.c cpu/loop/file.c */
/*
 * The block device between a driver that does what the input says
 * (driver.h) and an engine that completes what it is given when the input
 * says so, in that order or the other, and fails as it likes. The first byte:
 * bit 0 ro, 1 ephemeral, 2 limited, 3 a block device, 4 three queues. The rest:
 *
 *	11 type8 sector8 data16 len16	a request: header, data, status
 *	12 count8		so many operations are done by the engine
 *	13 fault8		what the next operation fails with
 *	14			the last one given is done first, or no longer
 *	15			as 9: all that is ready
 */
#include <sys/eventfd.h>
#include <sys/mman.h>

/* uses: tests/fuzz/mmio_input.c cpu/loop/format.c */
#include "tests/fuzz/driver.h"
#include "virtio/block/block.h"
#include "virtio/block/io.h"

#define DISK_SIZE (128 * 1024)
#define HEADERS	  0x38000
#define PENDING	  1024

/* -- the engine ------------------------------------------------------------ */

struct mock {
	struct engine head;
	struct engine_options options;
	struct engine_io *pending[PENDING];
	unsigned count, allowed; /* allowed: may be done now */
};

static unsigned fault;
static bool backwards;
static struct mock *mocks[2];

/* In RAM; or the zeros that WRITE_ZEROES writes, which are not the guest's. */
static bool may_move(const struct engine_io *io, const struct iovec *part)
{
	const uint8_t *low = ram.region[0].host, *high = low + INPUT_RAM;
	const uint8_t *at = part->iov_base;

	if (at >= low && at < high)
		return part->iov_len <= (size_t)(high - at);
	for (size_t i = 0; i < part->iov_len; i++)
		if (at[i])
			return false;
	return io->op == ENGINE_WRITE;
}

static void check_io(const struct mock *m, const struct engine_io *io)
{
	uint64_t sum = 0;

	must(io->file < BLOCK_FILES && m->options.fds[io->file] >= 0,
	     "the file");
	if (io->op == ENGINE_FLUSH)
		return;
	must(io->len && io->offset <= DISK_SIZE &&
		     io->len <= DISK_SIZE - io->offset,
	     "within the disk");
	if (io->op != ENGINE_READ && io->op != ENGINE_WRITE)
		return;
	for (unsigned i = 0; i < io->iov_count; i++) {
		must(may_move(io, &io->iov[i]), "buffers in RAM");
		sum += io->iov[i].iov_len;
	}
	must(sum == io->len, "buffers of that length");
}

static int64_t carry_out(const struct mock *m, const struct engine_io *io)
{
	const int fd = m->options.fds[io->file];
	int64_t result = 0;

	if (io->op == ENGINE_READ)
		result = preadv(fd, io->iov, (int)io->iov_count,
				(off_t)io->offset);
	else if (io->op == ENGINE_WRITE)
		result = pwritev(fd, io->iov, (int)io->iov_count,
				 (off_t)io->offset);
	return result;
}

static void finish(struct mock *m)
{
	struct engine_io *io = m->pending[backwards ? m->count - 1 : 0];
	static const int errors[] = { EIO, ENOSPC, EOPNOTSUPP, EINVAL, EAGAIN };
	int64_t result;

	m->count--;
	for (unsigned i = 0; i < m->count && !backwards; i++)
		m->pending[i] = m->pending[i + 1];
	check_io(m, io);
	if (fault == 1 && io->iov_count) /* cut short */
		result = (int64_t)(io->len / 2);
	else if (fault == 2 && io->iov_count) /* the file is shorter now */
		result = 0;
	else if (fault >= 3)
		result = -errors[fault % 5];
	else
		result = carry_out(m, io);
	fault = 0;
	engine_complete(&m->head, io, result);
}

static struct mock *mock_of(struct engine *engine)
{
	return (struct mock *)(void *)engine;
}

static void mock_submit(struct engine *engine, struct engine_io *io)
{
	struct mock *m = mock_of(engine);

	check_io(m, io);
	must(m->count < PENDING && engine->in_flight < ENGINE_DEPTH, "depth");
	for (unsigned i = 0; i < m->count; i++)
		must(m->pending[i] != io, "submitted twice");
	m->pending[m->count++] = io;
	engine->in_flight++;
}

static void mock_flush(struct engine *engine)
{
	(void)engine;
}

static void mock_reap(struct engine *engine)
{
	struct mock *m = mock_of(engine);

	while (m->allowed && m->count) {
		m->allowed--;
		finish(m);
	}
}

/* Every second one of those that wait was not begun. */
static void mock_cancel(struct engine *engine)
{
	struct mock *m = mock_of(engine);
	const unsigned count = m->count;
	struct io_list left;

	io_list_init(&left);
	m->count = 0;
	for (unsigned i = 0; i < count; i++)
		if (i & 1)
			io_list_add(&left, m->pending[i]);
		else
			m->pending[m->count++] = m->pending[i];
	engine_take_back(engine, &left);
}

static void mock_destroy(struct engine *engine)
{
	struct mock *m = mock_of(engine);

	must(!m->count, "destroyed with operations in flight");
	for (unsigned i = 0; i < 2; i++)
		if (mocks[i] == m)
			mocks[i] = NULL;
	close(engine->source.fd);
	free(m);
}

static const struct engine_ops uring_ops = {
	.name = "mock",
	.submit = mock_submit,
	.flush = mock_flush,
	.reap = mock_reap,
	.cancel = mock_cancel,
	.destroy = mock_destroy,
};
static const struct engine_ops worker_ops = {
	.name = "mock worker",
	.discards = true,
	.submit = mock_submit,
	.flush = mock_flush,
	.reap = mock_reap,
	.cancel = mock_cancel,
	.destroy = mock_destroy,
};

static struct engine *mock_create(const struct engine_options *options,
				  const struct engine_ops *ops, unsigned index)
{
	struct mock *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	must(!mocks[index], "one engine at a place");
	m->head = (struct engine){
		.ops = ops,
		.source.fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK),
		.events = EPOLLIN,
		.done = options->done,
		.arg = options->arg,
	};
	m->options = *options;
	mocks[index] = m;
	return &m->head;
}

struct engine *uring_create(const struct engine_options *options, int *error)
{
	*error = 0;
	return mock_create(options, &uring_ops, 0);
}

struct engine *worker_create(const struct engine_options *options, int *error)
{
	*error = 0;
	return mock_create(options, &worker_ops, 1);
}

/* -- the input ------------------------------------------------------------- */

static unsigned requests;

/* offer() with these arguments. */
static void offer_one(uint8_t flags, uint32_t at, uint32_t len)
{
	uint8_t bytes[] = { 0, flags, 0, 0, 0, 0 };
	const struct input rest = input;

	put_le16(bytes + 2, (uint16_t)(at / 4));
	put_le16(bytes + 4, (uint16_t)len);
	input = (struct input){ bytes, sizeof(bytes) };
	offer();
	input = rest;
}

static void request(void)
{
	const uint32_t type = (uint32_t)take(1), sector = (uint32_t)take(1);
	const uint32_t data = (uint32_t)take(2) * 4, len = (uint32_t)take(2);
	const uint32_t at = HEADERS + requests++ % 64 * 32;
	uint8_t *header = ram_span(&ram, GPA(at), 32);
	/* IN and GET_ID have the device write, as in virtio 1.2, 5.2.6. */
	const bool in = type % 16 == 0 || type % 16 == 8;

	put_le32(header, type % 16);
	put_le64(header + 8, sector);
	offer_one(1, at, 16);
	if (len)
		offer_one(in ? 3 : 1, data, len);
	offer_one(2, at + 16, 1);
	reg_write(0x50, 0);
}

void input_host(unsigned operation)
{
	switch (operation) {
	case 0:
		request();
		break;
	case 1:
		for (unsigned i = 0, n = (unsigned)take(1); i < 2; i++)
			if (mocks[i])
				mocks[i]->allowed = n;
		deliver();
		break;
	case 2:
		fault = (unsigned)take(1) % 8;
		break;
	case 3:
		backwards = !backwards;
		break;
	default:
		deliver();
	}
}

/* One operation of each engine. */
static void finish_oldest(void)
{
	for (unsigned i = 0; i < 2; i++)
		if (mocks[i])
			mocks[i]->allowed = 1;
	deliver();
}

static int disk_file(void)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	must(fd >= 0 && !ftruncate(fd, DISK_SIZE), "a disk");
	return fd;
}

static struct block *make_block(uint8_t how)
{
	const struct block_backing backing = {
		.fd = disk_file(),
		.buffered_fd = -1,
		.overlay_fd = how & 2 ? disk_file() : -1,
		.base_end = how & 32 ? 3 * OVERLAY_CLUSTER : UINT64_MAX,
		.ro = how & 1,
		.ephemeral = how & 2,
		.is_device = how & 8,
		.size = DISK_SIZE,
		.logical = 512,
		.physical = 4096,
		.name = "fuzzed",
	};
	const struct block_options options = {
		.ro = how & 1,
		.ephemeral = how & 2,
		.serial = "serial",
		.bytes_per_s = how & 4 ? 1000000 : 0,
		.ops_per_s = how & 4 ? 100 : 0,
		.queues = how & 16 ? 3 : 1,
	};
	struct block *block = block_create(&backing, &options, &fake.loop);

	must(block != NULL, "create");
	return block;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct block *block;

	if (!size)
		return 0;
	input_begin(data + 1, size - 1);
	requests = fault = 0;
	backwards = false;
	block = make_block(data[0]);
	fake.held = finish_oldest;
	input_attach(block_device(block));
	input_run();
	mmio_detach(block_device(block));
	for (unsigned i = 0; i < 2; i++)
		while (mocks[i] && mocks[i]->count)
			finish(mocks[i]);
	block_destroy(block);
	must(!mocks[0] && !mocks[1], "engines are gone");
	for (unsigned i = 0; i < LOOP_SOURCES_MAX; i++)
		must(!fake.source[i], "a source is left behind");
	return 0;
}
