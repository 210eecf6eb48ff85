/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots.
 *
 *	snapshot.c	the table of parts, taking and restoring
 *	memory.c	guest memory into the file
 *	learn.c		pages that are written anyway, ahead
 *	file.c		the file: header, records
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
 *
 * A part of the machine is saved and loaded by one function, which lists its
 * fields (mem/state.h); its place in the table below is the order in which it
 * is saved, stands in the file, and is loaded.
 *
 * The file is hostile: see file.h; what a part loads, it judges. Owns the
 * descriptors and the state's memory.
 */
#include "boot/snapshot/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "boot/options/words.h"
#include "boot/snapshot/memory.h"
#include "cpu/vcpu_state.h"
#include "cpu/vm_state.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"

/* A file that is not whole in that time is not learned from. */
#define LEARN_NS      60000000000ULL
#define LEARN_LOOK_MS 50 /* so often is looked who may have had enough */

/* A disk that does not answer in that time has no snapshot. */
#define PATIENCE_NS 10000000000ULL

/* `flags`: MAP_POPULATE where all of it will be used, or 0. */
static void *map_state(size_t len, int flags)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1,
			0);

	return at == MAP_FAILED ? NULL : at;
}

/* -- parts ---------------------------------------------------------------- */

#define VERSION_BYTES 32

static const char *kinds_text(const unsigned counts[3], char room[80])
{
	snprintf(room, 80, "%u disk%s, %u network%s and %s vsock", counts[0],
		 counts[0] == 1 ? "" : "s", counts[1],
		 counts[1] == 1 ? "" : "s", counts[2] ? "a" : "no");
	return room;
}

/* The devices, which must be as many of each kind. */
static void device_counts_state(struct snapshot *s, struct state *state)
{
	struct device_options *o = s->on.devices->options;
	const unsigned here[] = { o->disk_count, o->net_count,
				  s->on.devices->vsock != NULL };
	unsigned counts[] = { here[0], here[1], here[2] };
	char had[80], has[80];

	for (unsigned i = 0; i < ARRAY_LEN(counts); i++)
		state_unsigned(state, &counts[i]);
	if (!state->wrong && memcmp(counts, here, sizeof(here)) != 0)
		state_refuse(state, "it has %s; this command line names %s",
			     kinds_text(counts, had), kinds_text(here, has));
	for (unsigned i = 0; i < o->disk_count; i++) {
		state_unsigned(state, &o->disks[i].queues);
		state_check(state,
			    o->disks[i].queues &&
				    o->disks[i].queues <= DEVICE_QUEUES_MAX,
			    "the number of a disk's queues is impossible");
	}
}

static void machine_state(struct snapshot *s, unsigned index,
			  struct state *state)
{
	struct options *o = s->on.options;
	struct machine *machine = s->on.machine;

	(void)index;
	state_u64(state, &o->ram.size);
	state_check(state,
		    o->ram.size >= RAM_MIN_SIZE &&
			    o->ram.size <= RAM_MAX_SIZE &&
			    o->ram.size % RAM_PAGE == 0 &&
			    o->ram.size == s->header.mem_len,
		    "the size of its memory is impossible");
	state_unsigned(state, &o->cpus);
	state_check(state, o->cpus && o->cpus <= s->on.vm->cpus_max,
		    "this host's KVM allows fewer vCPUs than it has");
	state_bool(state, &o->nested);
	state_bool(state, &machine->tells_panic);
	state_bool(state, &machine->names_virtio);
	state_u32(state, (uint32_t *)&s->ready_vcpu);
	state_check(state, s->ready_vcpu >= -1 && s->ready_vcpu < (int)o->cpus,
		    "the vCPU that said that it was ready is impossible");
	device_counts_state(s, state);
}

/*
 * Where the host has not booted since, and has the processor that it had, its
 * KVM can do what it could: to ask for it once more takes a third of a restore
 * where the host is a guest itself. Who makes that up has a guest that is shown
 * what there is not.
 */
static void host_state(struct snapshot *s, unsigned index, struct state *state)
{
	char version[VERSION_BYTES] = MOTE_VERSION;
	char boot_id[sizeof(s->boot_id)];

	(void)index;
	memcpy(boot_id, s->boot_id, sizeof(boot_id));
	state_bytes(state, version, sizeof(version));
	state_bytes(state, boot_id, sizeof(boot_id));
	version[VERSION_BYTES - 1] = '\0';
	if (!state->loading || state->wrong)
		return;
	log_debug("it was made by mote %s", version);
	s->on.vm->same_boot =
		*boot_id && !memcmp(boot_id, s->boot_id, sizeof(boot_id));
}

static void pages_part(struct snapshot *s, unsigned index, struct state *state)
{
	(void)index;
	learned_load(&s->learned, s->header.mem_len, state);
}

static void clock_part(struct snapshot *s, unsigned index, struct state *state)
{
	(void)index;
	vm_state_clock(s->on.vm, state);
}

#define VCPU_PART(name)                                                        \
	static void name##_part(struct snapshot *s, unsigned index,            \
				struct state *state)                           \
	{                                                                      \
		vcpu_state_##name(&s->on.guest->vcpus.cpu[index], state);      \
	}
VCPU_PART(cpuid)
VCPU_PART(sregs)
VCPU_PART(xsave)
VCPU_PART(debug)
VCPU_PART(lapic)
VCPU_PART(tsc)
VCPU_PART(msrs)
VCPU_PART(events)

/* mote's init waits for the answer: it is to ask what it is to run. */
static void regs_part(struct snapshot *s, unsigned index, struct state *state)
{
	struct vcpu *cpu = &s->on.guest->vcpus.cpu[index];

	vcpu_state_regs(cpu, state);
	if (state->loading && !state->wrong && s->on.guest->command.on &&
	    (int)index == s->ready_vcpu)
		state_check(state, !vcpu_state_answer(cpu, 1),
			    "its init cannot be told to go on");
}

static void ioapic_part(struct snapshot *s, unsigned index, struct state *state)
{
	(void)index;
	vm_state_ioapic(s->on.vm, state);
}

static void pic_part(struct snapshot *s, unsigned index, struct state *state)
{
	vm_state_pic(s->on.vm, index, state);
}

static void serial_part(struct snapshot *s, unsigned index, struct state *state)
{
	(void)index;
	uart_state(&s->on.guest->serial, state);
}

static void platform_part(struct snapshot *s, unsigned index,
			  struct state *state)
{
	(void)index;
	platform_state(&s->on.guest->platform, state);
}

static void rtc_part(struct snapshot *s, unsigned index, struct state *state)
{
	(void)index;
	rtc_state(&s->on.guest->rtc, state);
}

static void command_part(struct snapshot *s, unsigned index,
			 struct state *state)
{
	(void)index;
	command_state(&s->on.guest->command, state);
	state_check(state, s->ready_vcpu >= 0,
		    "it was not taken when its init was ready: no command can "
		    "be run in it");
}

static void slot_part(struct snapshot *s, unsigned index, struct state *state)
{
	mmio_state_slot(s->on.devices->slot[index].device, state);
}

#define QUEUE_BITS 4

static void queue_part(struct snapshot *s, unsigned index, struct state *state)
{
	mmio_state_queue(s->on.devices->slot[index >> QUEUE_BITS].device,
			 index & ((1u << QUEUE_BITS) - 1), state);
}

static void net_part(struct snapshot *s, unsigned index, struct state *state)
{
	struct net *net = &s->on.devices->net[index];

	/* mote's init is there to give it to the interface. */
	if (state->loading && s->on.guest->command.on)
		net_renew_mac(net);
	net_state(net, state);
}

static void vsock_part(struct snapshot *s, unsigned index, struct state *state)
{
	(void)index;
	vsock_state(s->on.devices->vsock, state);
}

/* Disks have the first slots (virtio/devices.h). */
static struct block *disk_of(const struct snapshot *s, unsigned index)
{
	return s->on.devices->slot[index].self;
}

static void disk_part(struct snapshot *s, unsigned index, struct state *state)
{
	block_state(disk_of(s, index), state);
}

/* The index of the n-th of a part; -1: there are no more. */
static int one_index(const struct snapshot *s, unsigned n)
{
	(void)s;
	return n ? -1 : 0;
}

static int two_index(const struct snapshot *s, unsigned n)
{
	(void)s;
	return n < 2 ? (int)n : -1;
}

static int vcpu_index(const struct snapshot *s, unsigned n)
{
	return n < s->on.options->cpus ? (int)n : -1;
}

static int slot_index(const struct snapshot *s, unsigned n)
{
	return n < s->on.devices->count ? (int)n : -1;
}

static int queue_index(const struct snapshot *s, unsigned n)
{
	for (unsigned i = 0; i < s->on.devices->count; i++) {
		const unsigned queues =
			s->on.devices->slot[i].device->queue_count;

		if (n < queues)
			return (int)(i << QUEUE_BITS | n);
		n -= queues;
	}
	return -1;
}

static int net_index(const struct snapshot *s, unsigned n)
{
	return n < s->on.devices->options->net_count ? (int)n : -1;
}

static int command_index(const struct snapshot *s, unsigned n)
{
	return !n && s->on.guest->command.on ? 0 : -1;
}

static int disk_index(const struct snapshot *s, unsigned n)
{
	return n < s->on.devices->options->disk_count ? (int)n : -1;
}

static int vsock_index(const struct snapshot *s, unsigned n)
{
	return !n && s->on.devices->vsock ? 0 : -1;
}

enum part_tag {
	PART_PAGES = SNAPSHOT_TAG_MAY_BE_SKIPPED,
	PART_MACHINE = 1,
	PART_HOST,
	PART_CLOCK,
	PART_CPUID,
	PART_SREGS,
	PART_REGS,
	PART_XSAVE,
	PART_DEBUG,
	PART_LAPIC,
	PART_TSC,
	PART_MSRS,
	PART_EVENTS,
	PART_IOAPIC,
	PART_PIC,
	PART_SERIAL,
	PART_PLATFORM,
	PART_RTC,
	PART_COMMAND,
	PART_SLOT,
	PART_QUEUE,
	PART_NET,
	PART_VSOCK,
	PART_DISK,
};

/* Few snapshots have them; saved they are only by snapshot_end. */
static int pages_index(const struct snapshot *s, unsigned n)
{
	return !n && s->header.flags & SNAPSHOT_LEARNED ? 0 : -1;
}

/* The first of those that want a machine to be loaded into. */
#define FIRST_OF_REST PART_CLOCK

static const struct part {
	uint16_t tag;
	const char *name; /* for messages, with its index where it has one */
	int (*index)(const struct snapshot *s, unsigned n);
	void (*state)(struct snapshot *s, unsigned index, struct state *state);
} parts[] = {
	{ PART_MACHINE, "its machine", one_index, machine_state },
	{ PART_HOST, "its host", one_index, host_state },
	{ PART_PAGES, "its learned pages", pages_index, pages_part },
	{ PART_CLOCK, "its clock", one_index, clock_part },
	{ PART_CPUID, "CPUID of vCPU", vcpu_index, cpuid_part },
	{ PART_SREGS, "segments of vCPU", vcpu_index, sregs_part },
	{ PART_REGS, "registers of vCPU", vcpu_index, regs_part },
	{ PART_XSAVE, "vectors of vCPU", vcpu_index, xsave_part },
	{ PART_DEBUG, "debug registers of vCPU", vcpu_index, debug_part },
	{ PART_LAPIC, "local APIC of vCPU", vcpu_index, lapic_part },
	{ PART_TSC, "TSC of vCPU", vcpu_index, tsc_part },
	{ PART_MSRS, "MSRs of vCPU", vcpu_index, msrs_part },
	{ PART_EVENTS, "events of vCPU", vcpu_index, events_part },
	{ PART_IOAPIC, "its I/O APIC", one_index, ioapic_part },
	{ PART_PIC, "PIC", two_index, pic_part },
	{ PART_SERIAL, "its serial port", one_index, serial_part },
	{ PART_PLATFORM, "its event ports", one_index, platform_part },
	{ PART_RTC, "its RTC", one_index, rtc_part },
	{ PART_COMMAND, "its command", command_index, command_part },
	{ PART_SLOT, "slot", slot_index, slot_part },
	{ PART_QUEUE, "queue", queue_index, queue_part },
	{ PART_NET, "network", net_index, net_part },
	{ PART_VSOCK, "its vsock", vsock_index, vsock_part },
	{ PART_DISK, "disk", disk_index, disk_part },
};

static const char *part_name(const struct part *part, unsigned index,
			     char room[64])
{
	if (part->index == one_index || part->index == pages_index ||
	    part->index == vsock_index || part->index == command_index)
		return part->name;
	snprintf(room, 64, "%s %u", part->name, index);
	return room;
}

/* -- restoring ------------------------------------------------------------ */

bool snapshot_restores(const struct snapshot *s)
{
	return s->restores;
}

bool snapshot_keeps_orders(const struct snapshot *s)
{
	return snapshot_restores(s) ||
	       file_is_given(&s->on.options->snapshot.file);
}

static int refuse_part(const struct snapshot *s, const struct part *part,
		       unsigned index, const char *why)
{
	char room[64];

	log_error("snapshot %s: %s: %s", s->name, part_name(part, index, room),
		  why);
	return -EINVAL;
}

/* The record that must come next; those that may be skipped are. */
static int find_record(struct snapshot *s, const struct part *part,
		       unsigned index, struct snapshot_record *record)
{
	do
		if (!snapshot_record_next(&s->records, record))
			return refuse_part(s, part, index,
					   s->records.wrong ? s->records.wrong
							    : "it is missing");
	while (record->tag & SNAPSHOT_TAG_MAY_BE_SKIPPED &&
	       record->tag != part->tag);
	if (record->tag == part->tag && record->index == index)
		return 0;
	log_error("snapshot %s: a part 0x%x (%u) is where 0x%x (%u) should be: "
		  "another version of mote made it",
		  s->name, record->tag, record->index, part->tag, index);
	return -EINVAL;
}

static int load_part(struct snapshot *s, const struct part *part,
		     unsigned index)
{
	struct snapshot_record record;
	struct state state;
	int error = find_record(s, part, index, &record);

	if (error)
		return error;
	state = state_load(s->records.bytes + record.at, record.len);
	part->state(s, index, &state);
	return state_is_whole(&state)
		       ? 0
		       : refuse_part(s, part, index, state.wrong);
}

/* Those whose tags are below FIRST_OF_REST, or all others. */
static int load_parts(struct snapshot *s, bool rest)
{
	int error = 0, index;

	for (size_t i = 0; i < ARRAY_LEN(parts) && !error; i++) {
		if (((parts[i].tag & ~SNAPSHOT_TAG_MAY_BE_SKIPPED) >=
		     FIRST_OF_REST) != rest)
			continue;
		for (unsigned n = 0;
		     !error && (index = parts[i].index(s, n)) >= 0; n++)
			error = load_part(s, &parts[i], (unsigned)index);
	}
	return error;
}

int snapshot_load_machine(struct snapshot *s)
{
	void *state = map_state(s->header.state_len, MAP_POPULATE);
	int error;

	if (!state)
		return log_errno("memory for a snapshot's state");
	s->on.vm->keeps_clocks =
		s->on.options->restore.clock == RESTORE_CLOCK_KEEP;
	error = snapshot_state_read(&s->header, s->restore_fd, s->name, state);
	s->records = state_load(state, s->header.state_len);
	return error ? error : load_parts(s, false);
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

static int check_all_loaded(struct snapshot *s)
{
	struct snapshot_record record;

	while (snapshot_record_next(&s->records, &record))
		if (!(record.tag & SNAPSHOT_TAG_MAY_BE_SKIPPED)) {
			log_error("snapshot %s: a part 0x%x (%u) is not known: "
				  "a newer mote made it",
				  s->name, record.tag, record.index);
			return -EINVAL;
		}
	if (!s->records.wrong)
		return 0;
	log_error("snapshot %s: its state: %s", s->name, s->records.wrong);
	return -EINVAL;
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

	block_layer_sizes(disk_of(s, disk), &map_bytes, &clusters_bytes);
	if (map && clusters && map->len == map_bytes &&
	    clusters->len == clusters_bytes)
		error = block_use_layer(disk_of(s, disk), s->restore_fd,
					map->off, clusters->off, &wrong);
	if (error)
		log_error("snapshot %s: disk %u: %s", s->name, disk, wrong);
	return error;
}

/* Overlays of the snapshot, under those that begin now. */
static int load_layers(struct snapshot *s)
{
	int error = 0;

	for (unsigned i = 0; disk_index(s, i) >= 0 && !error; i++)
		if (block_has_layer(disk_of(s, i)))
			error = load_layer(s, i);
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !error; i++) {
		const struct snapshot_area *a = &s->header.area[i];

		if (!a->len || a->kind == SNAPSHOT_AREA_WORDS ||
		    (disk_index(s, a->device) >= 0 &&
		     block_has_layer(disk_of(s, a->device))))
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
}

/* Memory is mapped; a layer is read all the time. */
static void close_restored(struct snapshot *s)
{
	munmap(s->records.bytes, s->records.len);
	for (unsigned i = 0; disk_index(s, i) >= 0; i++)
		if (block_has_layer(disk_of(s, i)))
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
	int error = load_parts(s, true);

	if (!error)
		error = check_all_loaded(s);
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

/* -- taking: what is written ---------------------------------------------- */

/* No snapshot: why, once; the guest goes on. */
static void warn_none(const struct snapshot *s, const char *what,
		      const char *why)
{
	char room[FILE_NAME_BYTES];

	log_warn("--snapshot %s: none was taken, and the guest goes on: %s%s",
		 file_name(&s->on.options->snapshot.file, room), what, why);
}

static bool save_parts(struct snapshot *s)
{
	struct state state = state_save(s->state, SNAPSHOT_STATE_MAX);
	char room[64], what[80];
	int index;

	/* Not those of what was restored: they say which parts there are. */
	s->header.flags = s->on.guest->command.on ? SNAPSHOT_HAS_COMMAND : 0;
	for (unsigned i = 0; i < s->on.options->cpus; i++)
		vcpu_state_before_save(&s->on.guest->vcpus.cpu[i]);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		for (unsigned n = 0; (index = parts[i].index(s, n)) >= 0; n++) {
			struct snapshot_record record = snapshot_record_begin(
				&state, parts[i].tag, (uint16_t)index);

			parts[i].state(s, (unsigned)index, &state);
			snapshot_record_end(&state, &record);
			if (!state.wrong)
				continue;
			snprintf(what, sizeof(what), "%s: ",
				 part_name(&parts[i], (unsigned)index, room));
			warn_none(s, what, state.wrong);
			return false;
		}
	s->header.state_len = state.at;
	return true;
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
	for (unsigned i = 0; disk_index(s, i) >= 0; i++) {
		if (!block_has_layer(disk_of(s, i)))
			continue;
		area[0] =
			(struct snapshot_area){ .device = i,
						.kind = SNAPSHOT_AREA_BITMAP };
		area[1] = (struct snapshot_area){
			.device = i, .kind = SNAPSHOT_AREA_CLUSTERS
		};
		block_layer_sizes(disk_of(s, i), &area[0].len, &area[1].len);
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
		more = block_save_layer(disk_of(s, disk), s->committer.fd,
					map->off, clusters->off, &at);
		if (guest_answer(s->on.guest))
			return -ECANCELED;
	} while (more > 0);
	return more;
}

static int write_layers(struct snapshot *s)
{
	int error = 0;

	for (unsigned i = 0; disk_index(s, i) >= 0 && !error; i++)
		if (block_has_layer(disk_of(s, i)))
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

/* -- taking: when --------------------------------------------------------- */

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

	for (unsigned i = 0; disk_index(s, i) >= 0 && !error; i++)
		error = block_sync(disk_of(s, i));
	return error;
}

/* All stands still. */
static void take_now(struct snapshot *s)
{
	int error;

	if (is_ending(s))
		return;
	error = sync_disks(s);
	if (error) {
		give_up(s, "a disk: ", strerror(-error));
		return;
	}
	if (!save_parts(s)) {
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

/* -- learning ------------------------------------------------------------- */

/* The state again, with the pages behind what the machine is. */
static bool save_learned(struct snapshot *s)
{
	struct state old = state_load(s->records.bytes, s->records.len);
	struct state state = state_save(s->state, SNAPSHOT_STATE_MAX);
	struct snapshot_record record, pages;

	for (size_t at = 0; snapshot_record_next(&old, &record); at = old.at) {
		if (record.tag == FIRST_OF_REST) {
			pages = snapshot_record_begin(&state, PART_PAGES, 0);
			snapshot_memory_written(s->on.ram, s->pagemap_fd,
						&state);
			snapshot_record_end(&state, &pages);
		}
		if (record.tag != PART_PAGES)
			state_bytes(&state, old.bytes + at, old.at - at);
	}
	s->header.state_len = state.at;
	s->header.flags |= SNAPSHOT_LEARNED;
	return !state.wrong;
}

/* Who has told mote to stop, or set a limit, does not wait for it. */
static int learning_error(struct snapshot *s)
{
	guest_answer(s->on.guest);
	if (s->on.guest->stopped)
		return -ECANCELED;
	return loop_now() - s->began_ns < LEARN_NS ? 0 : -ETIMEDOUT;
}

static int copy_part(struct snapshot *s, uint64_t from, uint64_t to,
		     uint64_t len)
{
	uint64_t at = 0, step;
	int error = 0;

	for (; at < len && !error; at += step) {
		step = len - at;
		if (step > SNAPSHOT_MEMORY_STEP)
			step = SNAPSHOT_MEMORY_STEP;
		error = learning_error(s);
		if (!error)
			error = learn_copy(s->restore_fd, from + at,
					   s->committer.fd, to + at, step);
	}
	return error;
}

/*
 * The new file is its maker's: there words that were not to be trusted would
 * be.
 */
static void drop_strange_words(struct snapshot *s)
{
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !s->words_are_ours; i++)
		if (s->header.area[i].kind == SNAPSHOT_AREA_WORDS)
			s->header.area[i].len = 0;
}

static int write_learned(struct snapshot *s)
{
	const struct snapshot_header old = s->header;
	const int fd = s->committer.fd;
	int error;

	if (!save_learned(s))
		return -ENOBUFS;
	drop_strange_words(s);
	snapshot_header_place(&s->header);
	/* The last byte makes it as long as it is to be, all holes. */
	error = snapshot_write(fd, "", 1, s->header.file_len - 1);
	for (unsigned i = 0; i < SNAPSHOT_AREAS && !error; i++)
		error = copy_part(s, old.area[i].off, s->header.area[i].off,
				  s->header.area[i].len);
	if (!error)
		error = copy_part(s, old.mem_off, s->header.mem_off,
				  old.mem_len);
	return error ? error
		     : snapshot_header_write(&s->header, s->state, fd, false);
}

static int await_committed(struct snapshot *s)
{
	struct pollfd answer = { s->committer.channel, POLLIN, 0 };
	int error;

	do
		error = learning_error(s);
	while (!error && !poll(&answer, 1, LEARN_LOOK_MS));
	return error ? error : committer_answer(&s->committer);
}

static void learn(struct snapshot *s)
{
	int error;

	signals_last_resort(LEARN_NS + PATIENCE_NS);
	s->began_ns = loop_now();
	error = learning_error(s);
	if (!error)
		error = write_learned(s);
	if (!error)
		error = committer_commit(&s->committer, true);
	if (!error)
		error = await_committed(s);
	if (error)
		log_warn("snapshot %s: nothing was learned: %s", s->name,
			 error == -ESTALE ? "another file has its name by now"
					  : strerror(-error));
}

/* Its status may be the guest's, which says nothing of a snapshot. */
static void warn_without(const struct snapshot *s)
{
	char room[FILE_NAME_BYTES];

	log_warn("--snapshot %s: none was taken: the guest ended %s",
		 file_name(&s->on.options->snapshot.file, room),
		 s->phase == SNAPSHOT_IDLE ? "before it was ready"
					   : "meanwhile");
}

void snapshot_end(struct snapshot *s)
{
	if (s->on.options->restore.learn)
		learn(s);
	/* Who has stopped it knows. */
	if (!s->on.guest->stopped &&
	    (s->phase == SNAPSHOT_PAUSES || s->phase == SNAPSHOT_ASKS ||
	     (s->on.guest->platform.on_ready.call && !s->ready_seen)))
		warn_without(s);
}

/* -- opening and closing -------------------------------------------------- */

/* What is zero is left alone: each start would touch its page. */
void snapshot_init(struct snapshot *s, const struct snapshot_machine *on)
{
	s->on = *on;
	s->committer.fd = s->committer.dir_fd = s->committer.channel = -1;
	s->pagemap_fd = s->parked_fd = s->restore_fd = -1;
	s->ready_vcpu = -1;
	s->patience.source.fd = -1;
}

/* They name files that mote opens with the rights of whoever starts it. */
static bool words_are_trusted(const struct snapshot *s)
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
	s->words = map_state(OPTIONS_WORDS_MAX, 0);
	if (!s->words)
		return log_errno("memory for a snapshot's words");
	error = snapshot_area_read(area, s->restore_fd, s->words);
	if (error) {
		log_error("snapshot %s: %s", s->name, strerror(-error));
		return error;
	}
	if (!options_want_words(o, s->words, area->len))
		return 0;
	if (!words_are_trusted(s)) {
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

static int open_restore(struct snapshot *s)
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
	s->on.options->devices.vsock.memory = s->header.mem_len;
	for (unsigned i = 0; i < s->on.options->devices.disk_count; i++)
		s->on.options->devices.disks[i].moved =
			s->on.options->restore.moved;
	return error;
}

/* While the directory is still the one that the paths are relative to. */
static int keep_words(struct snapshot *s)
{
	long len;

	s->words = map_state(OPTIONS_WORDS_MAX, 0);
	if (!s->words)
		return log_errno("memory for a snapshot's words");
	len = options_save_words(s->on.options, s->words);
	if (len < 0)
		return (int)len;
	s->words_len = (size_t)len;
	return 0;
}

/* What is written in place is lost while memory comes from it. */
static int check_two_files(const struct snapshot *s)
{
	struct stat from, to;

	if (!snapshot_restores(s) || s->on.options->snapshot.file.path ||
	    fstat(s->restore_fd, &from) || fstat(s->committer.fd, &to) ||
	    from.st_dev != to.st_dev || from.st_ino != to.st_ino)
		return 0;
	log_error("--snapshot fd=%d: it is the file that is restored",
		  s->committer.fd);
	return -EINVAL;
}

static void read_boot_id(struct snapshot *s)
{
	const int fd =
		open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (read(fd, s->boot_id, sizeof(s->boot_id)) != sizeof(s->boot_id))
		*s->boot_id = '\0';
	close(fd);
}

/* A file that learns replaces the one that it comes from, and no other. */
static struct committer_mark mark_of(const struct snapshot_header *header)
{
	struct committer_mark mark = { SNAPSHOT_ID_AT,
				       sizeof(header->id),
				       { 0 } };

	memcpy(mark.bytes, header->id, sizeof(header->id));
	return mark;
}

int snapshot_open(struct snapshot *s)
{
	const struct option_file *file = &s->on.options->snapshot.file;
	int error = open_restore(s);

	if (!error && snapshot_keeps_orders(s))
		read_boot_id(s);
	if (s->on.options->restore.learn)
		file = &s->on.options->restore.file;
	else if (!error && file_is_given(file))
		error = keep_words(s);
	if (error || !file_is_given(file))
		return error;
	s->pagemap_fd = snapshot_memory_open();
	s->state = map_state(SNAPSHOT_STATE_MAX, 0);
	if (!s->state)
		return log_errno("memory for a snapshot's state");
	s->words_are_ours = words_are_trusted(s);
	error = committer_open(&s->committer,
			       s->on.options->restore.learn ? "--restore "
							    : "--snapshot ",
			       file);
	if (s->on.options->restore.learn)
		s->committer.mark = mark_of(&s->header);
	return error ? error : check_two_files(s);
}

unsigned snapshot_features(const struct snapshot *s)
{
	const struct options *o = s->on.options;

	return (file_is_given(&o->snapshot.file) ? FEATURE_SNAPSHOT : 0) |
	       (o->restore.learn ? FEATURE_LEARN : 0);
}

uint64_t snapshot_largest(const struct snapshot *s)
{
	uint64_t size = s->on.options->ram.size;

	if (s->on.options->restore.learn)
		return s->header.file_len + SNAPSHOT_STATE_MAX +
		       2 * SNAPSHOT_ALIGN;
	if (!file_is_given(&s->on.options->snapshot.file))
		return 0;
	if (snapshot_restores(s))
		size = s->header.mem_len;
	size += SNAPSHOT_STATE_MAX + 2 * SNAPSHOT_ALIGN;
	for (unsigned i = 0; i < s->on.devices->options->disk_count; i++)
		size += s->on.devices->disk[i].ephemeral
				? 2 * s->on.devices->disk[i].size
				: 0;
	return size;
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

void snapshot_close(struct snapshot *s)
{
	if (s->patience.source.fd >= 0)
		loop_timer_destroy(&s->on.guest->loop, &s->patience);
	committer_close(&s->committer);
	if (s->parked_fd >= 0)
		close(s->parked_fd);
	if (s->pagemap_fd >= 0)
		close(s->pagemap_fd);
	s->parked_fd = s->pagemap_fd = -1;
}
