/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a snapshot keeps of a disk: which file it was, and, of an ephemeral one,
 * what lies in its overlay. All else is the driver's, in the transport's state
 * and in guest memory: the disk is quiet when a snapshot is taken
 * (block_pause).
 *
 * A disk that the guest writes is not in the snapshot. Its file stays where it
 * is, and the guest's memory knows what is in it: so a clone gets this file or
 * none, and not a byte of it may have changed since. Whoever keeps a copy of
 * the file with the snapshot says so (moved). For a disk that is only read, or
 * below an overlay, its size is what cannot differ.
 *
 * An overlay is saved as a layer: a map, a bit for each cluster as in memory,
 * and an area of the disk's size with holes where there is no cluster, or one
 * of zeros only. A clone's overlay begins empty above that layer, which it and
 * all others read from the snapshot's file, and a snapshot of the clone merges
 * both: a cluster is the overlay's, or else the layer's.
 *
 * What is loaded is hostile. The loop's thread saves, the main thread loads.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "mem/log.h"
#include "mem/util.h"
#include "virtio/block/block.h"

/* -- which file it was ---------------------------------------------------- */

#define DISK_RO	       (1u << 0)
#define DISK_EPHEMERAL (1u << 1)
#define DISK_DIRECT    (1u << 2) /* for messages only */
#define DISK_FLAGS     (DISK_RO | DISK_EPHEMERAL | DISK_DIRECT)

struct disk_record {
	uint64_t size, base_size;
	uint32_t logical, physical, flags;
	char serial[BLOCK_SERIAL_BYTES];
	struct block_identity identity;
};

static struct disk_record record_of(const struct block *b)
{
	const struct block_backing *backing = &b->backing;
	struct disk_record record = {
		.size = backing->size,
		.base_size = backing->base_size,
		.logical = backing->logical,
		.physical = backing->physical,
		.flags = (backing->ro ? DISK_RO : 0) |
			 (backing->ephemeral ? DISK_EPHEMERAL : 0) |
			 (backing->buffered_fd >= 0 ? DISK_DIRECT : 0),
		.identity = backing->identity,
	};

	memcpy(record.serial, b->serial, sizeof(record.serial));
	return record;
}

static void disk_record_fields(struct disk_record *record, struct state *s)
{
	state_u64(s, &record->size);
	state_u64(s, &record->base_size);
	state_u32(s, &record->logical);
	state_u32(s, &record->physical);
	state_u32(s, &record->flags);
	state_bytes(s, record->serial, sizeof(record->serial));
	state_u64(s, &record->identity.dev);
	state_u64(s, &record->identity.ino);
	state_u64(s, &record->identity.mtime_ns);
	state_u64(s, &record->identity.ctime_ns);
}

static void check_number(const struct block *b, struct state *s,
			 const char *what, uint64_t was, uint64_t is)
{
	if (was != is)
		state_refuse(s, "%s %llu bytes, %s has %llu", what,
			     (unsigned long long)was, b->backing.name,
			     (unsigned long long)is);
}

/* The same, here and there? */
static void check_flag(struct state *s, const struct disk_record *was,
		       const struct disk_record *is, uint32_t flag,
		       const char *name)
{
	if ((was->flags ^ is->flags) & flag)
		state_refuse(s, "it was %s%s, this one is%s",
			     was->flags & flag ? "" : "not ", name,
			     was->flags & flag ? " not" : "");
}

static bool is_same_file(const struct block_identity *was,
			 const struct block_identity *is)
{
	return was->dev == is->dev && was->ino == is->ino &&
	       was->mtime_ns == is->mtime_ns;
}

static void check_file(const struct block *b, struct state *s,
		       const struct block_identity *was)
{
	const struct block_backing *backing = &b->backing;

	if (s->wrong || b->moved || is_same_file(was, &backing->identity))
		return;
	if (!backing->ro && !backing->ephemeral)
		state_refuse(s,
			     "its file was written or replaced since the "
			     "snapshot: the guest's memory does not fit it; "
			     "restore it from the copy made with the snapshot, "
			     "or say ,moved");
	else if (was->mtime_ns != backing->identity.mtime_ns)
		log_warn("%s was written or replaced since the snapshot: the "
			 "guest's memory may not fit it",
			 backing->name);
}

void block_state(struct block *b, struct state *s)
{
	const struct disk_record is = record_of(b);
	struct disk_record was = is;

	disk_record_fields(&was, s);
	if (!s->loading)
		return;
	state_check(s, !(was.flags & ~DISK_FLAGS), "its flags are not known");
	check_flag(s, &was, &is, DISK_RO, "read-only");
	check_flag(s, &was, &is, DISK_EPHEMERAL, "ephemeral");
	check_number(b, s, "it had", was.size, is.size);
	check_number(b, s, "its image had", was.base_size, is.base_size);
	check_number(b, s, "it had blocks of", was.logical, is.logical);
	state_check(s, !memcmp(was.serial, is.serial, sizeof(was.serial)),
		    "its serial number was another one");
	check_file(b, s, &was.identity);
}

int block_sync(struct block *b)
{
	int error = 0;

	if (b->backing.ro || b->backing.ephemeral)
		return 0;
	if (b->disk.lost)
		error = -EIO;
	else if (fdatasync(b->backing.fd))
		error = -errno;
	/* The kernel says that only once: no FLUSH can vouch for it any more */
	b->disk.lost |= error != 0;
	if (!error)
		error = block_identify(&b->backing, &b->backing.identity);
	if (error)
		log_error("%s: %s: what was written may be lost: no snapshot",
			  b->backing.name, strerror(-error));
	return error;
}

/* -- layers --------------------------------------------------------------- */

#define WORD_CLUSTERS 64u
#define PIECE_BYTES   (16u << 20) /* copied or looked at by one call */
#define SKIP_MAX      (1u << 20)  /* clusters of a hole */

/* Not on the stack, and touched only where a layer is saved. */
static uint8_t copied[65536];

bool block_has_layer(const struct block *b)
{
	return b->disk.overlay;
}

void block_layer_sizes(const struct block *b, uint64_t *map_bytes,
		       uint64_t *clusters_bytes)
{
	*map_bytes = overlay_map_bytes(b->backing.size);
	*clusters_bytes = round_up(b->backing.size, OVERLAY_CLUSTER);
}

int block_use_layer(struct block *b, int fd, uint64_t map_at,
		    uint64_t clusters_at, const char **wrong)
{
	int error = 0;

	*wrong = b->disk.overlay ? overlay_use_layer(&b->overlay, fd, map_at,
						     clusters_at)
				 : "it is not ephemeral";
	if (*wrong)
		return -EINVAL;
	for (unsigned i = 0; i < BLOCK_ENGINES && !error; i++)
		if (b->disk.engines[i])
			error = engine_add_file(b->disk.engines[i],
						BLOCK_FILE_LAYER, fd);
	if (error)
		*wrong = "the host's io_uring does not take its layer";
	return error;
}

struct layer_copy {
	const struct overlay *overlay;
	int fd;
	uint64_t map_at, clusters_at;			/* in that file */
	enum { COPY_OVERLAY, COPY_LAYER, COPY_NEW } at; /* of an error */
};

/* Which clusters either has: a word of the new map. */
static uint64_t merged(const struct overlay *o, uint64_t word)
{
	return o->bits[word] | (o->layer.bits ? o->layer.bits[word] : 0);
}

static bool is_set(const uint64_t *bits, uint64_t cluster)
{
	return bits &&
	       bits[cluster / WORD_CLUSTERS] >> cluster % WORD_CLUSTERS & 1;
}

/* BASE: it is not to be copied. */
static enum block_file source_of(const struct overlay *o, uint64_t cluster)
{
	if (is_set(o->bits, cluster))
		return BLOCK_FILE_OVERLAY;
	return is_set(o->layer.bits, cluster) ? BLOCK_FILE_LAYER
					      : BLOCK_FILE_BASE;
}

static bool is_all_zero(const uint8_t *bytes, size_t len)
{
	return !bytes[0] && !memcmp(bytes, bytes + 1, len - 1);
}

static int write_whole(struct layer_copy *c, const uint8_t *bytes, size_t len,
		       uint64_t at)
{
	ssize_t n = 1;

	for (; len && n > 0; len -= (size_t)n, at += (size_t)n, bytes += n)
		n = pwrite(c->fd, bytes, len, (off_t)at);
	c->at = COPY_NEW;
	return n < 0 ? -errno : n ? 0 : -EIO;
}

/*
 * The new file has holes where nothing is written, so zeros are left out: how
 * many bytes were not, or -errno.
 */
static int write_sparse(struct layer_copy *c, const uint8_t *bytes, size_t len,
			uint64_t at)
{
	int written = 0, error = 0;

	for (size_t i = 0; i < len && !error; i += OVERLAY_CLUSTER) {
		const size_t part =
			len - i < OVERLAY_CLUSTER ? len - i : OVERLAY_CLUSTER;

		if (is_all_zero(bytes + i, part))
			continue;
		error = write_whole(c, bytes + i, part, at + i);
		written += (int)part;
	}
	return error ? error : written;
}

/* The first cluster from this one on, of `count`, in which there is data. */
static uint64_t skip_hole(int fd, uint64_t at, uint64_t cluster, uint64_t count)
{
	const off_t from = (off_t)(at + cluster * OVERLAY_CLUSTER);
	const off_t data = lseek(fd, from, SEEK_DATA);

	if (data < from) /* none at all, or nobody knows */
		return data < 0 && errno == ENXIO ? count : cluster;
	cluster += (uint64_t)(data - from) / OVERLAY_CLUSTER;
	return cluster < count ? cluster : count;
}

/*
 * Copies clusters that lie in one and the same file, from *cluster on, which is
 * the first that was not looked at afterwards. 0 or -errno.
 */
static int copy_clusters(struct layer_copy *c, uint64_t *cluster)
{
	const struct overlay *o = c->overlay;
	const uint64_t first = *cluster, at = first * OVERLAY_CLUSTER;
	const enum block_file from = source_of(o, first);
	const bool own = from == BLOCK_FILE_OVERLAY;
	const int fd = own ? o->fd : o->layer.fd;
	const uint64_t begin = own ? 0 : o->layer.at;
	const uint64_t count =
		round_up(o->size, OVERLAY_CLUSTER) / OVERLAY_CLUSTER;
	uint64_t end = first, data;
	size_t len = sizeof(copied);
	ssize_t n;
	int written;

	while (end < count && end < first + len / OVERLAY_CLUSTER &&
	       source_of(o, end) == from)
		end++;
	len = (end - first) * OVERLAY_CLUSTER;
	if (len > o->size - at)
		len = o->size - at;
	c->at = own ? COPY_OVERLAY : COPY_LAYER;
	n = pread(fd, copied, len, (off_t)(begin + at));
	if (n != (ssize_t)len)
		return n < 0 ? -errno : -EIO;
	written = write_sparse(c, copied, len, c->clusters_at + at);
	*cluster = end;
	if (written)
		return written < 0 ? written : 0;
	/* What others have of the hole is looked at all the same. */
	data = skip_hole(fd, begin, end, count);
	if (data > end + SKIP_MAX)
		data = end + SKIP_MAX;
	while (*cluster < data && source_of(o, *cluster) == from)
		++*cluster;
	return 0;
}

static int copy_piece(struct layer_copy *c, uint64_t *at, uint64_t end)
{
	uint64_t cluster = *at / OVERLAY_CLUSTER, looked = 0;
	int error = 0;

	while (!error && looked < PIECE_BYTES &&
	       cluster < end / OVERLAY_CLUSTER) {
		const uint64_t before = cluster;
		const uint64_t left =
			merged(c->overlay, cluster / WORD_CLUSTERS) >>
			cluster % WORD_CLUSTERS;

		if (left & 1) {
			error = copy_clusters(c, &cluster);
			looked += sizeof(copied) + cluster - before;
		} else if (left) {
			cluster += (unsigned)__builtin_ctzll(left);
		} else {
			cluster += WORD_CLUSTERS - cluster % WORD_CLUSTERS;
			looked += WORD_CLUSTERS / 8;
		}
	}
	*at = cluster * OVERLAY_CLUSTER < end ? cluster * OVERLAY_CLUSTER : end;
	return error;
}

static int copy_map(struct layer_copy *c, uint64_t *done, uint64_t bytes)
{
	const uint64_t left = bytes - *done;
	const size_t len = left < sizeof(copied) ? left : sizeof(copied);
	int written;

	for (size_t i = 0; i < len; i += sizeof(uint64_t))
		put_le64(copied + i,
			 merged(c->overlay, (*done + i) / sizeof(uint64_t)));
	written = write_sparse(c, copied, len, c->map_at + *done);
	*done += len;
	return written < 0 ? written : 0;
}

int block_save_layer(struct block *b, int fd, uint64_t map_at,
		     uint64_t clusters_at, uint64_t *at)
{
	struct layer_copy copy = { .overlay = &b->overlay,
				   .fd = fd,
				   .map_at = map_at,
				   .clusters_at = clusters_at };
	static const char *const suffixes[] = {
		[COPY_OVERLAY] = " cannot be read",
		[COPY_LAYER] = ": its layer in the snapshot cannot be read",
		[COPY_NEW] = " cannot be saved",
	};
	uint64_t map_bytes, clusters_bytes, done;
	int error;

	block_layer_sizes(b, &map_bytes, &clusters_bytes);
	if (*at < clusters_bytes) {
		error = copy_piece(&copy, at, clusters_bytes);
	} else {
		done = *at - clusters_bytes;
		error = copy_map(&copy, &done, map_bytes);
		*at = clusters_bytes + done;
	}
	if (!error)
		return *at < clusters_bytes + map_bytes;
	log_error("%s%s: %s: no snapshot",
		  copy.at == COPY_LAYER ? b->backing.name
					: b->backing.overlay_name,
		  suffixes[copy.at], strerror(-error));
	return error;
}
