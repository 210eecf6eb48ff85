/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot is restored: in the order of snapshot.h. The file is hostile; its
 * header is judged before mote is locked in, as are the words of devices, which
 * are taken from an owner only that mote trusts, and all else behind that.
 */
#include "boot/snapshot/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/networds.h"
#include "boot/options/words.h"
#include "boot/snapshot/memory.h"
#include "boot/snapshot/parts.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"

/* -- before the sandbox --------------------------------------------------- */

/* They name files that mote opens with the rights of whoever starts it. */
bool snapshot_words_are_trusted(const struct snapshot *s)
{
	struct stat status;

	return !fstat(s->restore_fd, &status) &&
	       (!status.st_uid || status.st_uid == geteuid()) &&
	       !(status.st_mode & (S_IWGRP | S_IWOTH));
}

/* The devices that this command line does not name. */
static int take_words(struct snapshot *s)
{
	struct options *o = s->on.options;
	const struct snapshot_area *area =
		snapshot_area(&s->header, SNAPSHOT_AREA_WORDS, 0);
	int error;

	if (!area)
		return 0;
	if (area->len > OPTIONS_WORDS_MAX) {
		log_error("snapshot %s: the words of its devices are too long",
			  s->name);
		return -EINVAL;
	}
	s->words = snapshot_map(OPTIONS_WORDS_MAX, 0);
	if (!s->words)
		return log_errno("memory for a snapshot's words");
	error = snapshot_area_read(area, s->restore_fd, s->words);
	if (error) {
		log_error("snapshot %s: %s", s->name, strerror(-error));
		return error;
	}
	if (!options_want_words(o, s->words, area->len))
		return 0;
	if (!snapshot_words_are_trusted(s)) {
		log_error("snapshot %s: it names files of its own, and others "
			  "may write it, or own it: name its devices "
			  "(-d, -n, --vsock)",
			  s->name);
		return -EPERM;
	}
	error = options_take_words(o, s->words, area->len, s->name);
	return error ? error : options_check(o);
}

/* Whose are mote's standard streams? A hostile header gains nothing by it. */
static int look_for_command(struct snapshot *s)
{
	struct options *o = s->on.options;

	o->restore.has_command = s->header.flags & SNAPSHOT_HAS_COMMAND;
	o->restore.known = true;
	if (!o->command || o->restore.has_command)
		return options_check(o);
	log_error("snapshot %s: it was not taken when mote's init was ready: "
		  "no command can be run in it",
		  s->name);
	return -EINVAL;
}

int snapshot_open_restore(struct snapshot *s)
{
	const struct option_file *file = &s->on.options->restore.file;
	int error;

	if (!file_is_given(file))
		return 0;
	s->name = file_name(file, s->name_room);
	/* A FIFO, which is refused, is not waited for. */
	s->restores = true;
	s->restore_fd =
		file_open(file, "--restore ", O_RDONLY | O_NONBLOCK, 0, NULL);
	if (s->restore_fd < 0)
		return s->restore_fd;
	error = snapshot_header_read(&s->header, s->restore_fd, s->name);
	if (!error)
		error = look_for_command(s);
	if (!error)
		error = take_words(s);
	/* Only now all networks are known, one of which it may need. */
	s->on.options->restore.whole = true;
	if (!error && s->on.options->publish_count)
		error = options_check(s->on.options);
	s->on.options->devices.vsock.memory = s->header.mem_len;
	for (unsigned i = 0; i < s->on.options->devices.disk_count; i++)
		s->on.options->devices.disks[i].moved =
			s->on.options->restore.moved;
	return error;
}

/* -- behind it ------------------------------------------------------------ */

int snapshot_load_machine(struct snapshot *s)
{
	void *state = snapshot_map(s->header.state_len, MAP_POPULATE);
	int error;

	if (!state)
		return log_errno("memory for a snapshot's state");
	s->on.vm->keeps_clocks =
		s->on.options->restore.clock == RESTORE_CLOCK_KEEP;
	error = snapshot_state_read(&s->header, s->restore_fd, s->name, state);
	s->records = state_load(state, s->header.state_len);
	return error ? error : snapshot_parts_load(s, false);
}

int snapshot_load_memory(struct snapshot *s)
{
	const struct restore_options *o = &s->on.options->restore;
	const struct ram_options ram = {
		.mergeable = o->mergeable,
		.prefault = o->prefault,
	};
	const int error = ram_load_all(s->on.ram, s->restore_fd,
				       s->header.mem_off, o->copy, &ram);

	if (error)
		log_error("snapshot %s: its memory cannot be read: %s", s->name,
			  strerror(-error));
	/* To learn is to see what the guest writes by itself. */
	else if (o->learn)
		s->learned.count = 0;
	else
		learned_begin(&s->learned, s->on.ram);
	return error;
}

static int load_layer(struct snapshot *s, unsigned disk)
{
	const struct snapshot_area *map = snapshot_area(&s->header,
							SNAPSHOT_AREA_BITMAP,
							disk),
				   *clusters = snapshot_area(
					   &s->header, SNAPSHOT_AREA_CLUSTERS,
					   disk);
	uint64_t map_bytes, clusters_bytes;
	const char *wrong = "what was written to it has another length";
	int error = -EINVAL;

	block_layer_sizes(snapshot_disk(s, disk), &map_bytes, &clusters_bytes);
	if (map && clusters && map->len == map_bytes &&
	    clusters->len == clusters_bytes)
		error = block_use_layer(snapshot_disk(s, disk), s->restore_fd,
					map->off, clusters->off, &wrong);
	if (error)
		log_error("snapshot %s: disk %u: %s", s->name, disk, wrong);
	return error;
}

/* Overlays of the snapshot, under those that begin now. */
static int load_layers(struct snapshot *s)
{
	int error = 0;

	for (unsigned i = 0; snapshot_disk_index(s, i) >= 0 && !error; i++)
		if (block_has_layer(snapshot_disk(s, i)))
			error = load_layer(s, i);
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !error; i++) {
		const struct snapshot_area *a = &s->header.area[i];

		if (!a->len || a->kind == SNAPSHOT_AREA_WORDS ||
		    (snapshot_disk_index(s, a->device) >= 0 &&
		     block_has_layer(snapshot_disk(s, a->device))))
			continue;
		log_error("snapshot %s: it has what was written to disk %u, "
			  "which is no ephemeral one",
			  s->name, a->device);
		error = -EINVAL;
	}
	return error;
}

/* Who a guest with mote's init is from now on: no two of them are alike. */
static void load_identity(struct snapshot *s)
{
	struct guest *g = s->on.guest;
	const struct device_options *o = s->on.devices->options;
	const char *host = s->on.options->hostname;
	char order[NETWORDS_BYTES];

	if (!g->command.on)
		return;
	/* Its init was that; of its command it is to be heard. */
	atomic_store(&g->platform.ready_ns, 0);
	command_restored(&g->command, host ? host : s->on.options->name);
	for (unsigned i = 0; i < o->net_count; i++) {
		const struct net *net = &s->on.devices->net[i];

		if (memcmp(net->saved_mac, net->mac, sizeof(net->mac)) != 0)
			command_tell_mac(&g->command, net->saved_mac, net->mac);
	}
	for (unsigned i = 0; i < o->net_count; i++)
		if (networds_order(order, &o->nets[i],
				   s->on.devices->net[i].mac))
			command_tell_net(&g->command, order);
}

/* Memory is mapped; a layer is read all the time. */
static void close_restored(struct snapshot *s)
{
	munmap(s->records.bytes, s->records.len);
	for (unsigned i = 0; snapshot_disk_index(s, i) >= 0; i++)
		if (block_has_layer(snapshot_disk(s, i)))
			return;
	close(s->restore_fd);
	s->restore_fd = -1;
}

/* Who gives a limit means it, however much is to be copied. */
static int await_learned(struct snapshot *s)
{
	struct guest *g = s->on.guest;

	if (!s->learned.count)
		return 0;
	signals_release(&g->signals, g->timeout_ns ? guest_time_left(g) : 0);
	learned_end(&s->learned);
	return signals_hold(&g->signals);
}

int snapshot_load_rest(struct snapshot *s)
{
	int error = snapshot_parts_load(s, true);

	if (!error)
		error = snapshot_parts_check_end(s);
	if (!error)
		error = load_layers(s);
	if (!error)
		error = platform_new_generation(&s->on.guest->platform);
	if (error)
		return error;
	load_identity(s);
	devices_restored(s->on.devices);
	uart_restored(&s->on.guest->serial);
	platform_restored(&s->on.guest->platform);
	error = await_learned(s);
	if (!error && !s->on.options->restore.learn)
		close_restored(s);
	return error;
}
