/*
 * The virtio block device (virtio 1.2, 5.2) over a raw file or a block device.
 */
#ifndef VIRTIO_BLOCK_BLOCK_H
#define VIRTIO_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"
#include "cpu/loop/thread.h"
#include "virtio/mmio.h"

#define BLOCK_SERIAL_BYTES 20 /* 5.2.6.1: VIRTIO_BLK_T_GET_ID */

/* What the command line asks for of a disk. */
enum block_engine {
	BLOCK_ENGINE_AUTO,
	BLOCK_ENGINE_URING,
	BLOCK_ENGINE_THREADS
};

struct block_options {
	struct option_file file;
	bool ro, root, ephemeral, direct;
	const char *serial; /* at most BLOCK_SERIAL_BYTES; NULL: none */
	enum block_engine engine;
	uint64_t bytes_per_s, ops_per_s; /* 0: no limit */
	/* Set by devices.c: */
	unsigned queues; /* 1 .. DEVICE_QUEUES_MAX */
	struct thread_hook hook;
};

/* The host's side of a disk, open and measured. */
struct block_backing {
	int fd;
	int buffered_fd; /* `direct`: the same without O_DIRECT; else -1 */
	int lock_fd;	 /* holds the lock; -1: `fd` does */
	int overlay_fd;	 /* `ephemeral`: see overlay.h; else -1 */
	bool ro, ephemeral, is_device;
	uint64_t size;		    /* bytes, a multiple of 512 */
	uint32_t logical, physical; /* block sizes, bytes */
	unsigned index;		    /* among the disks */
	char name[64];		    /* for messages: "disk 0 (root.img)" */
};

/*
 * Opens what the options name, as disk number `index`, locks it against other
 * users and measures it. 0 or -errno, logged with how to mend it; nothing is
 * left open then.
 */
int block_open(struct block_backing *backing,
	       const struct block_options *options, unsigned index);

void block_close(const struct block_backing *backing);

struct block;

/*
 * Makes the device, which takes the backing over. NULL after an error, logged.
 * Destroy only after mmio_detach.
 */
struct block *block_create(const struct block_backing *backing,
			   const struct block_options *options,
			   struct loop *loop);
struct device *block_device(struct block *block);
/* Bits of enum feature that its engine uses. */
unsigned block_features(const struct block *block);
void block_destroy(struct block *block);

#endif
