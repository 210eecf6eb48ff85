/* SPDX-License-Identifier: Apache-2.0 */
/* uses: virtio/block/io.c */
#include "tests/unit/mock_engine.h"

#include "tests/unit/block_help.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

struct mock_engine mocks[2];
unsigned mock_count;
int mock_no_uring, mock_no_worker;
int64_t (*mock_result)(struct mock_engine *mock, struct engine_io *io);
void (*mock_flushed)(struct mock_engine *mock);
void (*mock_reaped)(struct mock_engine *mock);

void mock_complete(struct mock_engine *mock, unsigned index, int64_t result)
{
	struct engine_io *io = mock->waiting[index];

	mock->count--;
	for (unsigned i = index; i < mock->count; i++)
		mock->waiting[i] = mock->waiting[i + 1];
	engine_complete(&mock->engine, io, result);
}

/* The oldest one of each. */
static void finish_oldest(void)
{
	for (unsigned i = 0; i < mock_count && i < 2; i++) {
		struct mock_engine *mock = &mocks[i];

		if (!mock->count)
			continue;
		mock_complete(mock, 0, mock_result(mock, mock->waiting[0]));
		mock->engine.source.ready(mock->engine.source.arg, EPOLLIN);
	}
}

static void mock_submit(struct engine *engine, struct engine_io *io)
{
	struct mock_engine *mock = (struct mock_engine *)engine;

	if (mock->count == ENGINE_DEPTH)
		abort();
	mock->waiting[mock->count++] = io;
	mock->submitted++;
	engine->in_flight++;
}

static void mock_flush(struct engine *engine)
{
	struct mock_engine *mock = (struct mock_engine *)engine;

	mock->flushed = mock->submitted;
	if (mock_flushed)
		mock_flushed(mock);
}

static void mock_reap(struct engine *engine)
{
	if (mock_reaped)
		mock_reaped((struct mock_engine *)engine);
}

/* The newest `queued` ones are those that were not begun. */
static void mock_cancel(struct engine *engine)
{
	struct mock_engine *mock = (struct mock_engine *)engine;
	struct io_list left;

	io_list_init(&left);
	for (unsigned i = mock->count - mock->queued; i < mock->count; i++)
		io_list_add(&left, mock->waiting[i]);
	mock->count -= mock->queued;
	mock->queued = 0;
	engine_take_back(engine, &left);
}

static int mock_add_file(struct engine *engine, enum block_file file)
{
	((struct mock_engine *)engine)->fds[file] = engine->fds[file];
	return 0;
}

static void mock_destroy(struct engine *engine)
{
	close(engine->source.fd);
}

static struct engine *mock_create(const struct engine_options *options,
				  bool discards)
{
	static const struct engine_ops ops[] = {
		{ "mock", false, 0, mock_submit, mock_flush, mock_reap,
		  mock_cancel, mock_destroy, mock_add_file },
		{ "mock worker", true, 0, mock_submit, mock_flush, mock_reap,
		  mock_cancel, mock_destroy, mock_add_file },
	};
	struct mock_engine *mock = &mocks[mock_count++ % 2];

	disk_waits = finish_oldest;
	*mock = (struct mock_engine){
		.engine = { .ops = &ops[discards],
			    .source.fd = eventfd(0, EFD_CLOEXEC),
			    .events = EPOLLIN,
			    .done = options->done,
			    .arg = options->arg },
	};
	memcpy(mock->fds, options->fds, sizeof(mock->fds));
	return &mock->engine;
}

struct engine *uring_create(const struct engine_options *options, int *error)
{
	*error = mock_no_uring;
	return *error ? NULL : mock_create(options, false);
}

struct engine *worker_create(const struct engine_options *options, int *error)
{
	*error = mock_no_worker;
	return *error ? NULL : mock_create(options, true);
}

int64_t mock_perform(const struct mock_engine *mock, const struct engine_io *io,
		     uint64_t most)
{
	const int fd = mock->fds[io->file];
	uint64_t left = io->len < most ? io->len : most;
	off_t at = (off_t)io->offset;
	int64_t moved = 0;
	ssize_t n = 0;

	if (io->op == ENGINE_FLUSH)
		return 0;
	if (io->op == ENGINE_ALLOCATE)
		return fallocate(fd, io->mode, at, (off_t)io->len) ? -errno : 0;
	for (unsigned i = 0; i < io->iov_count && left; i++) {
		size_t len = io->iov[i].iov_len;

		len = len < left ? len : left;
		n = io->op == ENGINE_READ
			    ? pread(fd, io->iov[i].iov_base, len, at + moved)
			    : pwrite(fd, io->iov[i].iov_base, len, at + moved);
		if (n <= 0)
			break;
		moved += n;
		left -= (uint64_t)n;
	}
	return n < 0 && !moved ? -errno : moved;
}
