/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All virtio devices of a guest: from what the command line asks for to slots
 * on the bus. A table of types (devices.c) is the only place that knows them.
 */
#ifndef VIRTIO_DEVICES_H
#define VIRTIO_DEVICES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cpu/loop/loop.h"
#include "cpu/loop/report.h"
#include "cpu/vm.h"
#include "mem/ram.h"
#include "virtio/block/file.h"
#include "virtio/mmio.h"
#include "virtio/net/net.h"
#include "virtio/vsock/vsock.h"

/* One interrupt line each. */
#define DEVICES_MAX MMIO_SLOTS_MAX

/*
 * Slots are given out in this order: disks, networks, the vsock; of one type as
 * they were named.
 */
struct device_options {
	unsigned disk_count, net_count;
	struct vsock_options vsock;
	struct block_options disks[DEVICES_MAX];
	struct net_options nets[NETS_MAX];
};

struct device_type;

/* Owned by main; zeroed before devices_open. */
struct devices {
	struct block_backing disk[DEVICES_MAX];
	struct net net[NETS_MAX];
	struct device_options *options; /* the caller's */
	struct device_slot {
		const struct device_type *type;
		unsigned number;       /* among those of its type */
		void *self;	       /* what the type made, */
		struct device *device; /* and the device in it */
	} slot[DEVICES_MAX];
	unsigned count; /* slots in use */
	struct vsock *vsock;

	unsigned busy;		  /* so many devices are not quiet yet: */
	void (*quiet)(void *arg); /* it is called when all are */
	void *quiet_arg;
};

/*
 * Opens what the devices stand for on the host, before the sandbox closes in.
 * 0 or -errno, logged; what is open then is closed when the process ends.
 */
int devices_open(struct devices *devices, struct device_options *options,
		 unsigned cpus);

/*
 * Until what was started then can be used, which it has had time for by now;
 * while signals that end mote still do. 0 or -errno, logged.
 */
int devices_wait(struct devices *devices);

struct devices_setup {
	struct vm *vm;
	struct loop *loop;
	const struct ram *ram;
	gpa base, alias; /* of slot 0, the others follow; 0: no alias */
	const _Atomic bool *alias_absent; /* see mmio_slot */
	struct thread_hook hook;	  /* of the disks' threads */
};

/* Makes the devices and puts them on the bus. 0 or -errno, logged. */
int devices_create(struct devices *devices, const struct devices_setup *setup);

/*
 * Bits of enum feature that they need: after devices_open. Until devices_create
 * there is FEATURE_URING where a ring will be tried.
 */
unsigned devices_features(const struct devices *devices);

/*
 * mmio_pause, mmio_resume and mmio_restored of all of them, in the loop's
 * thread: true where all are quiet; else quiet(arg) is called once, when they
 * are, and until then devices_awaited is the name of one that is not.
 */
bool devices_pause(struct devices *devices, void (*quiet)(void *arg),
		   void *arg);
const char *devices_awaited(const struct devices *devices);
void devices_resume(struct devices *devices);
void devices_restored(struct devices *devices);

/* For report_count_by: what each has done for the guest. */
void devices_counters(const struct devices *devices, struct report_line *line);

/* After the vCPUs have stopped, before the loop is destroyed. */
void devices_destroy(struct devices *devices);

#endif
