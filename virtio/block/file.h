/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk's file on the host, opened, locked and measured; and the overlay of an
 * `ephemeral` one.
 */
#ifndef VIRTIO_BLOCK_FILE_H
#define VIRTIO_BLOCK_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/loop/file.h"
#include "cpu/loop/thread.h"

#define BLOCK_SECTOR	   512u
#define BLOCK_SERIAL_BYTES 20 /* virtio 1.2, 5.2.6.1: GET_ID */

enum block_engine {
	BLOCK_ENGINE_AUTO,
	BLOCK_ENGINE_URING,
	BLOCK_ENGINE_THREADS
};

/* What the command line asks for of a disk. */
struct block_options {
	struct option_file file;
	bool ro, root, ephemeral, direct;
	const char *serial; /* at most BLOCK_SERIAL_BYTES; NULL: none */
	enum block_engine engine;
	uint64_t size; /* of an `ephemeral` one, bytes; 0: the image's */
	uint64_t bytes_per_s, ops_per_s; /* 0: no limit */
	unsigned queues; /* 1 .. DEVICE_QUEUES_MAX; 0: devices.c chooses */
	/* Set by devices.c: */
	struct thread_hook hook;
};

/* The host's side of a disk. It owns its descriptors; -1: there is none. */
struct block_backing {
	int fd;		 /* holds the lock, and what a ring keeps of it does */
	int buffered_fd; /* `direct`: the same file without O_DIRECT */
	int overlay_fd;	 /* `ephemeral`: the file of its overlay */
	bool ro, ephemeral, is_device;
	uint64_t size;		    /* bytes, a multiple of 512 */
	uint64_t base_end;	    /* `ephemeral`: see struct overlay */
	uint32_t logical, physical; /* block sizes, bytes */
	unsigned index;		    /* among the disks */
	char name[64];		    /* for messages: "disk 0 (root.img)" */
	char overlay_name[128]; /* "disk 0 (root.img): its overlay in /tmp" */
};

/*
 * Opens what the options name, as disk number `index`, locks it against other
 * users (who has it already is waited for, up to 2 s) and measures it. 0 or
 * -errno, logged with how to mend it; nothing is left open then.
 */
int block_open(struct block_backing *backing,
	       const struct block_options *options, unsigned index);
void block_close(const struct block_backing *backing);
/* Before that, where nobody will use the file any more, a ring included. */
void block_unlock(const struct block_backing *backing);

/* -- the overlay of an ephemeral disk -------------------------------------- */

#define OVERLAY_CLUSTER 4096u

struct overlay {
	int base_fd, fd;   /* the backing's; the first takes any alignment */
	uint64_t size;	   /* bytes of the disk */
	uint64_t base_end; /* from here on all is in it: size= */
	uint64_t *bits;	   /* one for each cluster: it is in the overlay */
	size_t bits_size;  /* bytes of that mapping */
};

/* An empty one in the backing's overlay_fd. 0 or -errno, logged. */
int overlay_create(struct overlay *overlay,
		   const struct block_backing *backing);
void overlay_destroy(struct overlay *overlay);

/* Is the cluster with this offset in the overlay? */
bool overlay_has(const struct overlay *overlay, uint64_t offset);

/*
 * How many of the `len` bytes from `offset` lie in one and the same file;
 * *own says which: the overlay (true) or the base.
 */
uint64_t overlay_run(const struct overlay *overlay, uint64_t offset,
		     uint64_t len, bool *own);

/*
 * Before a write of a part of the cluster with this offset, which is not in the
 * overlay: copies it from the base. Waits for that; 0, -errno of the overlay's
 * file, or errno, above 0, of the base.
 */
int overlay_copy(struct overlay *overlay, uint64_t offset);

/*
 * After the write (or the making of zeros): its clusters are in the overlay,
 * also what they have of others' writes.
 */
void overlay_mark(struct overlay *overlay, uint64_t offset, uint64_t len);

#endif
