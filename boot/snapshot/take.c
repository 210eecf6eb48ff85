/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot is taken.
 *
 * Taking one is asynchronous until all stands still, and then done in one go by
 * the loop's thread:
 *
 *	IDLE	SIGUSR1, or the guest is ready	devices and vCPUs are paused
 *	ASKS	there is a file for it now	the same; else the guest goes
 *						on, and may be asked again
 *	PAUSES	all vCPUs have parked, and	state, layers and memory are
 *		nothing of a device is in	written; the committer is told
 *		flight
 *		PATIENCE_NS have passed		the guest goes on, without
 *	COMMITS	the file has its name		mote ends, or the guest has
 *						gone on since
 *
 * While it is written signals and time limits are answered between pieces, so
 * that nobody waits for a large memory or a slow disk.
 */
#include "boot/snapshot/parts.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "boot/snapshot/memory.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"

/* A disk that does not answer in that time has no snapshot. */
#define PATIENCE_NS 10000000000ULL

/* -- what is written ------------------------------------------------------ */

/* No snapshot: why, once; the guest goes on. */
static void warn_none(const struct snapshot *s, const char *what,
		      const char *why)
{
	char room[FILE_NAME_BYTES];

	log_warn("--snapshot %s: none was taken, and the guest goes on: %s%s",
		 file_name(&s->on.options->snapshot.file, room), what, why);
}

static bool is_ending(const struct snapshot *s)
{
	return platform_ending(&s->on.guest->platform).reason != END_NONE;
}

/* 0, -errno, or -ECANCELED where the guest is to end meanwhile. */
static int write_memory(struct snapshot *s)
{
	uint64_t at = 0;
	int error = 0;

	while (at < s->on.ram->size && !error) {
		error = snapshot_memory_write(s->on.ram, s->pagemap_fd,
					      s->committer.fd,
					      s->header.mem_off, &at);
		if (guest_answer(s->on.guest) && !error)
			error = -ECANCELED;
	}
	return error;
}

/* Where everything but the state will be in the file. */
static void plan_areas(struct snapshot *s)
{
	struct snapshot_area *area = s->header.area;

	memset(area, 0, sizeof(s->header.area));
	*area++ = (struct snapshot_area){ .len = s->words_len,
					  .kind = SNAPSHOT_AREA_WORDS };
	for (unsigned i = 0; snapshot_disk_index(s, i) >= 0; i++) {
		if (!block_has_layer(snapshot_disk(s, i)))
			continue;
		area[0] =
			(struct snapshot_area){ .device = i,
						.kind = SNAPSHOT_AREA_BITMAP };
		area[1] = (struct snapshot_area){
			.device = i, .kind = SNAPSHOT_AREA_CLUSTERS
		};
		block_layer_sizes(snapshot_disk(s, i), &area[0].len,
				  &area[1].len);
		area += 2;
	}
	s->header.mem_len = s->on.ram->size;
	snapshot_header_place(&s->header);
}

static int write_layer(struct snapshot *s, unsigned disk)
{
	const struct snapshot_area *map = snapshot_area(&s->header,
							SNAPSHOT_AREA_BITMAP,
							disk),
				   *clusters = snapshot_area(
					   &s->header, SNAPSHOT_AREA_CLUSTERS,
					   disk);
	uint64_t at = 0;
	int more;

	do {
		more = block_save_layer(snapshot_disk(s, disk), s->committer.fd,
					map->off, clusters->off, &at);
		if (guest_answer(s->on.guest))
			return -ECANCELED;
	} while (more > 0);
	return more;
}

static int write_layers(struct snapshot *s)
{
	int error = 0;

	for (unsigned i = 0; snapshot_disk_index(s, i) >= 0 && !error; i++)
		if (block_has_layer(snapshot_disk(s, i)))
			error = write_layer(s, i);
	return error;
}

static int write_file(struct snapshot *s)
{
	const bool in_place = s->committer.channel < 0;
	int error = committer_empty(&s->committer);

	if (getrandom(s->header.id, sizeof(s->header.id), 0) < 0)
		return -errno;
	plan_areas(s);
	/* The last byte makes it as long as it is to be, all holes. */
	if (!error)
		error = snapshot_write(s->committer.fd, "", 1,
				       s->header.file_len - 1);
	if (!error)
		error = snapshot_write(s->committer.fd, s->words, s->words_len,
				       s->header.area[0].off);
	if (!error)
		error = write_layers(s);
	if (!error)
		error = write_memory(s);
	if (!error)
		error = snapshot_header_write(&s->header, s->state,
					      s->committer.fd, in_place);
	return error;
}

/* -- when ----------------------------------------------------------------- */

static void go_on(struct snapshot *s)
{
	s->phase = SNAPSHOT_IDLE;
	loop_timer_set(&s->patience, 0);
	devices_resume(s->on.devices);
	vcpus_resume(&s->on.guest->vcpus);
}

static bool exits(const struct snapshot *s)
{
	return s->on.options->snapshot.then == SNAPSHOT_EXITS;
}

static void give_up(struct snapshot *s, const char *what, const char *why)
{
	warn_none(s, what, why);
	if (s->committer.fd >= 0)
		committer_empty(&s->committer);
	go_on(s);
}

static void finish_commit(struct snapshot *s, int error)
{
	if (error && exits(s)) {
		give_up(s, "its file: ", strerror(-error));
		return;
	}
	s->phase = SNAPSHOT_IDLE;
	if (error)
		warn_none(s, "its file: ", strerror(-error));
	else
		log_info("snapshot: taken in %llu ms",
			 (unsigned long long)(loop_now() - s->began_ns) /
				 1000000);
	if (!error && exits(s))
		platform_end(&s->on.guest->platform, END_SNAPSHOT, 0);
}

/* What the guest has written is on its disks before they are described. */
static int sync_disks(struct snapshot *s)
{
	int error = 0;

	for (unsigned i = 0; snapshot_disk_index(s, i) >= 0 && !error; i++)
		error = block_sync(snapshot_disk(s, i));
	return error;
}

/* All stands still. */
static void take_now(struct snapshot *s)
{
	const char *why;
	char what[80];
	int error;

	if (is_ending(s))
		return;
	error = sync_disks(s);
	if (error) {
		give_up(s, "a disk: ", strerror(-error));
		return;
	}
	why = snapshot_parts_save(s, what);
	if (why) {
		warn_none(s, what, why);
		go_on(s);
		return;
	}
	error = write_file(s);
	if (error == -ECANCELED)
		return;
	if (!error)
		error = committer_commit(&s->committer, exits(s));
	if (error) {
		give_up(s, "its file: ", strerror(-error));
		return;
	}
	if (!exits(s))
		go_on(s);
	s->phase = SNAPSHOT_COMMITS;
	if (s->committer.channel < 0)
		finish_commit(s, 0);
}

static void take_if_still(struct snapshot *s)
{
	if (s->phase == SNAPSHOT_PAUSES && s->vcpus_parked && s->devices_quiet)
		take_now(s);
}

static void devices_are_quiet(void *arg)
{
	struct snapshot *s = arg;

	s->devices_quiet = true;
	take_if_still(s);
}

static void vcpus_are_parked(void *arg, uint32_t events)
{
	struct snapshot *s = arg;
	uint64_t count;

	(void)events;
	if (read(s->parked_fd, &count, sizeof(count)) < 0)
		return;
	s->vcpus_parked = true;
	take_if_still(s);
}

static void patience_is_over(void *arg)
{
	struct snapshot *s = arg;
	const char *name = devices_awaited(s->on.devices);

	if (s->phase == SNAPSHOT_PAUSES && !is_ending(s))
		give_up(s, name ? name : "a vCPU", " does not answer");
}

static void warn_no_file(const struct snapshot *s, int error)
{
	warn_none(s, "a file for it could not be made: ", strerror(-error));
}

static void begin(struct snapshot *s)
{
	uint64_t count;

	s->phase = SNAPSHOT_PAUSES;
	s->began_ns = loop_now();
	s->vcpus_parked = false;
	/* What the last time has left. */
	if (read(s->parked_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		log_errno("read of an eventfd");
	loop_timer_set(&s->patience, PATIENCE_NS);
	vcpus_pause(&s->on.guest->vcpus, s->parked_fd);
	s->devices_quiet = devices_pause(s->on.devices, devices_are_quiet, s);
	take_if_still(s);
}

static void take_snapshot(struct snapshot *s)
{
	int error;

	/* What is saved is not behind this moment, unless it has left mote. */
	s->again = s->phase == SNAPSHOT_COMMITS;
	if (s->phase != SNAPSHOT_IDLE)
		return;
	if (s->committer.fd >= 0) {
		begin(s);
		return;
	}
	/* When the last one had its name there was no room for the next. */
	error = committer_ask(&s->committer);
	if (error)
		warn_no_file(s, error);
	else
		s->phase = SNAPSHOT_ASKS;
}

/* The committer has answered: there is a file, or not even now. */
static void begin_if_there(struct snapshot *s, int error)
{
	s->phase = SNAPSHOT_IDLE;
	if (!error && s->committer.fd < 0)
		error = -EMFILE;
	if (error)
		warn_no_file(s, error);
	else if (!is_ending(s))
		begin(s);
}

static void commit_answered(void *arg, uint32_t events)
{
	struct snapshot *s = arg;
	const int error = committer_answer(&s->committer);

	(void)events;
	if (error == -EPIPE)
		loop_remove(&s->on.guest->loop, &s->committed);
	if (s->phase == SNAPSHOT_COMMITS)
		finish_commit(s, error);
	else if (s->phase == SNAPSHOT_ASKS)
		begin_if_there(s, error);
	if (s->again && !is_ending(s))
		take_snapshot(s);
}

/*
 * The guest that went on has ended by itself, in at most `ns`: its snapshot is
 * there when mote ends, or why not has been said.
 */
static void await_commit(void *arg, uint64_t ns)
{
	struct snapshot *s = arg;
	struct guest *g = s->on.guest;
	struct pollfd fds[] = { { s->committer.channel, POLLIN, 0 },
				{ g->signals.source.fd, POLLIN, 0 } };
	const int ms = ns / 1000000 < INT_MAX ? (int)(ns / 1000000) : -1;

	while (s->phase == SNAPSHOT_COMMITS && !exits(s) && !g->stopped &&
	       poll(fds, ARRAY_LEN(fds), ms) > 0) {
		if (fds[0].revents)
			finish_commit(s, committer_answer(&s->committer));
		else
			guest_answer(g);
	}
}

static void take_by_signal(void *arg)
{
	struct snapshot *s = arg;

	s->ready_vcpu = -1;
	take_snapshot(s);
}

static void take_when_ready(void *arg, int vcpu)
{
	struct snapshot *s = arg;

	/* Of those that go on the first is what was asked for. */
	if (s->ready_seen)
		return;
	/* mote's init asks for an answer: who only says so is not it. */
	if (vcpu < 0 && s->on.guest->command.on)
		return;
	s->ready_seen = true;
	s->ready_vcpu = vcpu;
	take_snapshot(s);
}

static int watch(struct snapshot *s)
{
	struct loop *loop = &s->on.guest->loop;
	int error;

	s->parked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->parked_fd < 0)
		return log_errno("eventfd");
	s->parked = (struct loop_source){ s->parked_fd, vcpus_are_parked, s };
	s->committed = (struct loop_source){ s->committer.channel,
					     commit_answered, s };
	error = loop_add(loop, &s->parked, EPOLLIN);
	if (!error && s->committer.channel >= 0)
		error = loop_add(loop, &s->committed, EPOLLIN);
	if (error)
		log_error("cannot watch an eventfd: %s", strerror(-error));
	return error ? error
		     : loop_timer_create(loop, &s->patience, patience_is_over,
					 s);
}

int snapshot_attach(struct snapshot *s)
{
	struct guest *g = s->on.guest;
	const enum snapshot_on when = s->on.options->snapshot.on;

	if (!file_is_given(&s->on.options->snapshot.file))
		return 0;
	g->snapshot =
		(struct guest_snapshot){ .finish = await_commit, .arg = s };
	if (when == SNAPSHOT_ON_SIGNAL)
		g->snapshot.take = take_by_signal;
	else
		g->platform.on_ready =
			(struct platform_ready){ &g->loop, take_when_ready, s };
	return watch(s);
}
