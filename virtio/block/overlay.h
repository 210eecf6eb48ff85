/*
 * The private layer of an `ephemeral` disk: which 4 KiB clusters of it the
 * guest has written, in a sparse file that has no name and vanishes with mote.
 * Reads of other clusters go to the shared base, which is never written.
 */
#ifndef VIRTIO_BLOCK_OVERLAY_H
#define VIRTIO_BLOCK_OVERLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OVERLAY_CLUSTER 4096u

struct overlay {
	int base_fd, fd;  /* the caller's */
	uint64_t size;	  /* bytes of the disk */
	uint64_t *bits;	  /* one for each cluster: it is in the overlay */
	size_t bits_size; /* bytes of that mapping */
};

/*
 * Makes the file, `size` bytes long, in $TMPDIR or /var/tmp, else in memory: a
 * descriptor, or -errno, logged with `name`.
 */
int overlay_open(const char *name, uint64_t size);

/*
 * An empty overlay in that file. `base_fd` takes reads that are not aligned. 0
 * or -errno, logged.
 */
int overlay_create(struct overlay *overlay, int fd, int base_fd, uint64_t size);
void overlay_destroy(struct overlay *overlay);

/*
 * How many of the `len` bytes from `offset` lie in one and the same file;
 * *own says which: the overlay (true) or the base.
 */
uint64_t overlay_run(const struct overlay *overlay, uint64_t offset,
		     uint64_t len, bool *own);

/*
 * Before a write of a part of the cluster at `offset`: copies it from the base,
 * unless it is in the overlay. Waits for that; 0 or -errno.
 */
int overlay_copy(struct overlay *overlay, uint64_t offset);

/*
 * After the write (or the making of zeros): its clusters are in the overlay,
 * also what they have of others' writes.
 */
void overlay_mark(struct overlay *overlay, uint64_t offset, uint64_t len);

#endif
