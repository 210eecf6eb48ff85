/*
 * The private layer of an `ephemeral` disk.
 *
 * One bit for a cluster, set once the cluster's data is in the overlay's file
 * and never cleared: what was discarded since is a hole, and reads as zeros.
 * Only a cluster that a write covers in part is copied from the base first,
 * and at once, so that two writes to the same cluster cannot both do it; while
 * another write to it is in flight, that is waited for (block_hold.c). Guests
 * write whole pages, so that is rare. Owns the map. Loop's thread.
 */
#include "virtio/block/overlay.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/pool.h"
#include "mem/util.h"

#define WORD_BITS 64u

static int make_file(const char *name)
{
	const char *places[] = { getenv("TMPDIR"), "/var/tmp", "/tmp" };
	int fd = -1;

	for (size_t i = 0; i < ARRAY_LEN(places) && fd < 0; i++)
		if (places[i] && *places[i])
			fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC,
				  0600);
	if (fd >= 0)
		return fd;
	log_info("%s: no directory for its overlay can be written to, so "
		 "that is kept in memory; set TMPDIR to one",
		 name);
	fd = memfd_create("mote-overlay", MFD_CLOEXEC);
	return fd < 0 ? log_errno("memfd_create") : fd;
}

int overlay_open(const char *name, uint64_t size)
{
	int fd = make_file(name), error;

	if (fd < 0)
		return fd;
	if (ftruncate(fd, (off_t)size)) {
		error = errno;
		log_error("%s: its overlay cannot be %llu bytes long: %s; set "
			  "TMPDIR to a directory of another file system",
			  name, (unsigned long long)size, strerror(error));
		close(fd);
		return -error;
	}
	return fd;
}

int overlay_create(struct overlay *o, int fd, int base_fd, uint64_t size)
{
	uint64_t clusters = size / OVERLAY_CLUSTER + 1;
	void *bits;

	*o = (struct overlay){ .base_fd = base_fd, .fd = fd, .size = size };
	o->bits_size = (clusters / WORD_BITS + 1) * sizeof(*o->bits);
	bits = pool_map(o->bits_size);
	if (!bits)
		return log_errno("mmap of an overlay's map");
	o->bits = bits;
	return 0;
}

void overlay_destroy(struct overlay *o)
{
	pool_unmap(o->bits, o->bits_size);
	o->bits = NULL;
}

static bool has(const struct overlay *o, uint64_t cluster)
{
	return o->bits[cluster / WORD_BITS] >> cluster % WORD_BITS & 1;
}

uint64_t overlay_run(const struct overlay *o, uint64_t offset, uint64_t len,
		     bool *own)
{
	uint64_t cluster = offset / OVERLAY_CLUSTER;
	uint64_t run = OVERLAY_CLUSTER - offset % OVERLAY_CLUSTER;

	*own = has(o, cluster);
	while (run < len && has(o, ++cluster) == *own)
		run += OVERLAY_CLUSTER;
	return run < len ? run : len;
}

int overlay_copy(struct overlay *o, uint64_t offset)
{
	uint64_t len = OVERLAY_CLUSTER;
	uint8_t data[OVERLAY_CLUSTER];
	ssize_t n;

	if (has(o, offset / OVERLAY_CLUSTER))
		return 0;
	if (len > o->size - offset)
		len = o->size - offset;
	n = pread(o->base_fd, data, len, (off_t)offset);
	if (n == (ssize_t)len)
		n = pwrite(o->fd, data, len, (off_t)offset);
	if (n < 0)
		return -errno;
	if (n != (ssize_t)len)
		return -EIO;
	overlay_mark(o, offset, len);
	return 0;
}

void overlay_mark(struct overlay *o, uint64_t offset, uint64_t len)
{
	uint64_t cluster = offset / OVERLAY_CLUSTER;

	for (; cluster * OVERLAY_CLUSTER < offset + len; cluster++)
		o->bits[cluster / WORD_BITS] |= 1ULL << cluster % WORD_BITS;
}
