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
#include "virtio/block/io.h"

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
	bool moved;	 /* --restore ...,moved: any file of its size will do */
	/* Set by devices.c: */
	struct thread_hook hook;
};

/* Which file it is, and when it was changed (stat(2)). */
struct block_identity {
	uint64_t dev, ino;
	uint64_t mtime_ns, ctime_ns;
};

/* The host's side of a disk. It owns its descriptors; -1: there is none. */
struct block_backing {
	int fd;		 /* holds the lock, and what a ring keeps of it does */
	int buffered_fd; /* `direct`: the same file without O_DIRECT */
	int overlay_fd;	 /* `ephemeral`: the file of its overlay */
	bool ro, ephemeral, is_device;
	uint64_t size;			/* bytes, a multiple of 512 */
	uint64_t base_size;		/* of its file: less with size= */
	uint64_t base_end;		/* `ephemeral`: see struct overlay */
	uint32_t logical, physical;	/* block sizes, bytes */
	struct block_identity identity; /* since it was locked */
	unsigned index;			/* among the disks */
	char name[64];			/* for messages: "disk 0 (root.img)" */
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

/* As the file is now: 0 or -errno, not logged. */
int block_identify(const struct block_backing *backing,
		   struct block_identity *identity);

/* -- the overlay of an ephemeral disk -------------------------------------- */

#define OVERLAY_CLUSTER 4096u

struct overlay {
	int base_fd, fd;   /* the backing's; the first takes any alignment */
	uint64_t size;	   /* bytes of the disk */
	uint64_t base_end; /* from here on all is in it: size= */
	uint64_t *bits;	   /* one for each cluster: it is in the overlay */
	size_t bits_size;  /* bytes of that mapping */
	struct overlay_layer {
		int fd;		      /* the snapshot's, and the caller's */
		const uint64_t *bits; /* likewise; NULL: there is no layer */
		uint64_t at;	      /* of its first cluster in the file */
		uint64_t base_end;    /* what is above without a layer */
	} layer;
};

/* An empty one in the backing's overlay_fd. 0 or -errno, logged. */
int overlay_create(struct overlay *overlay,
		   const struct block_backing *backing);
void overlay_destroy(struct overlay *overlay);

/*
 * Puts a layer below the new overlay, above the base: its map is at `map_at` of
 * the file, cluster c at clusters_at + c * OVERLAY_CLUSTER; whoever wrote it is
 * not trusted. The file stays open as long as the overlay is there. NULL, or
 * what is wrong.
 */
const char *overlay_use_layer(struct overlay *overlay, int fd, uint64_t map_at,
			      uint64_t clusters_at);
/* Bytes of the map of a disk of so many. */
uint64_t overlay_map_bytes(uint64_t size);

/*
 * Is the cluster with this offset in the overlay? (Where there is a layer, and
 * it is behind the base's end and a hole, that may be denied.)
 */
bool overlay_has(const struct overlay *overlay, uint64_t offset);

struct overlay_place {
	enum block_file file; /* BASE, LAYER or OVERLAY */
	uint64_t offset;      /* in that file */
};

/* How many of the `len` bytes from `offset` lie in one and the same file. */
uint64_t overlay_run(const struct overlay *overlay, uint64_t offset,
		     uint64_t len, struct overlay_place *place);

/*
 * Before a write of a part of the cluster with this offset, which is not in the
 * overlay: copies it from where it is. Waits for that; 0, or -errno and the
 * file that it is of.
 */
int overlay_copy(struct overlay *overlay, uint64_t offset,
		 enum block_file *failed);

/*
 * After the write (or the making of zeros): its clusters are in the overlay,
 * also what they have of others' writes.
 */
void overlay_mark(struct overlay *overlay, uint64_t offset, uint64_t len);

#endif
