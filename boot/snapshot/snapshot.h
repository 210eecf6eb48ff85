/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots: a guest that runs is saved in a file, and any number of guests go
 * on from there. take.c and restore.c say how; file.h is the file.
 */
#ifndef BOOT_SNAPSHOT_SNAPSHOT_H
#define BOOT_SNAPSHOT_SNAPSHOT_H

#include "boot/machine.h"
#include "boot/options/options.h"
#include "boot/snapshot/file.h"
#include "boot/snapshot/learn.h"
#include "cpu/guest.h"
#include "cpu/loop/committer.h"
#include "virtio/devices.h"

/* What is saved and restored; main's. */
struct snapshot_machine {
	struct options *options;
	struct machine *machine;
	struct ram *ram;
	struct vm *vm;
	struct devices *devices;
	struct guest *guest;
};

struct snapshot {
	struct snapshot_machine on;

	/* To take one. */
	struct committer committer;
	int pagemap_fd, parked_fd;
	struct loop_source parked, committed;
	struct loop_timer patience;
	enum {
		SNAPSHOT_IDLE,
		SNAPSHOT_ASKS,
		SNAPSHOT_PAUSES,
		SNAPSHOT_COMMITS
	} phase;
	bool vcpus_parked, devices_quiet;
	bool again; /* asked for once more while the file got its name */
	uint64_t began_ns;
	bool ready_seen;
	int32_t ready_vcpu; /* was in the IN that said so; -1: none */

	/* To restore one. */
	bool restores;
	int restore_fd;	  /* while something is to be read; then -1 */
	const char *name; /* of that file, for messages */
	char name_room[FILE_NAME_BYTES];
	struct state records; /* those that are not loaded yet */
	struct learned learned;

	uint8_t *state;	  /* SNAPSHOT_STATE_MAX bytes, to be saved to */
	char boot_id[36]; /* this host's, until it boots again; or zeros */
	char *words;	  /* of the devices: to be saved, or taken */
	size_t words_len;
	bool words_are_ours; /* in what is restored: they may be taken */
	struct snapshot_header header;
};

/* Nothing is open: before the options are parsed; *snapshot is all zeros. */
void snapshot_init(struct snapshot *s, const struct snapshot_machine *on);

/*
 * Opens what --snapshot and --restore name, before the sandbox closes in, and
 * judges the header. 0 or -errno, logged.
 */
int snapshot_open(struct snapshot *s);

/* Bits of enum feature. */
unsigned snapshot_features(const struct snapshot *s);

/* How large the file may become; 0 where none is taken. */
uint64_t snapshot_largest(const struct snapshot *s);

/* -- restoring, in this order: 0 or -EINVAL (-errno), logged -------------- */

bool snapshot_restores(const struct snapshot *s);

/* What mote's init is told has to be kept: it goes into a snapshot, or it is
 * told once more. */
bool snapshot_keeps_orders(const struct snapshot *s);

/* How much memory, how many vCPUs: into the options and the machine. */
int snapshot_load_machine(struct snapshot *s);

/* Guest memory, into RAM as ram_create left it. */
int snapshot_load_memory(struct snapshot *s);

/* All else: devices and vCPUs are there, and none has run. */
int snapshot_load_rest(struct snapshot *s);

/* -- taking --------------------------------------------------------------- */

/* From now on the guest's signal, or its word, takes one: 0 or -errno, logged.
 */
int snapshot_attach(struct snapshot *s);

/*
 * When no vCPU runs any more. With --restore PATH,learn: a new PATH that says
 * besides which pages the guest has written, unless mote was told to stop. What
 * fails is logged; and where none was taken since the guest has ended, that.
 */
void snapshot_end(struct snapshot *s);

void snapshot_close(struct snapshot *s);

#endif
