/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of a snapshot. One is saved and loaded by one function, which lists
 * its fields (mem/state.h); its place in the table below is the order in which
 * it is saved, stands in the file, and is loaded.
 *
 * The file is hostile: what a part loads, it judges.
 */
#include "boot/snapshot/parts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "boot/snapshot/memory.h"
#include "cpu/vcpu_state.h"
#include "cpu/vm_state.h"
#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"

void *snapshot_map(size_t len, int flags)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags, -1,
			0);

	return at == MAP_FAILED ? NULL : at;
}

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
struct block *snapshot_disk(const struct snapshot *s, unsigned index)
{
	return s->on.devices->slot[index].self;
}

static void disk_part(struct snapshot *s, unsigned index, struct state *state)
{
	block_state(snapshot_disk(s, index), state);
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

int snapshot_disk_index(const struct snapshot *s, unsigned n)
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
	{ PART_DISK, "disk", snapshot_disk_index, disk_part },
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

/* -- out of a file, and into one ----------------------------------------------
 */

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

int snapshot_parts_load(struct snapshot *s, bool rest)
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

int snapshot_parts_check_end(struct snapshot *s)
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

const char *snapshot_parts_save(struct snapshot *s, char what[80])
{
	struct state state = state_save(s->state, SNAPSHOT_STATE_MAX);
	char room[64];
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
			snprintf(what, 80, "%s: ",
				 part_name(&parts[i], (unsigned)index, room));
			return state.wrong;
		}
	s->header.state_len = state.at;
	return NULL;
}

/* The state again, with the pages behind what the machine is. */
bool snapshot_parts_save_learned(struct snapshot *s)
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
