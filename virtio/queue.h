/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A split virtqueue (virtio 1.2, 2.7) as a device sees it: take chains of
 * buffers that the driver made available, give them back used. Knows guest RAM
 * and nothing else: no KVM, no device, no thread. One thread at a time.
 *
 * The driver is hostile. A descriptor is copied out of guest memory once, then
 * judged, then resolved to host addresses; the walk is bounded by the queue's
 * size. What a device gets is a struct chain whose segments all lie in RAM,
 * and a cursor over it that cannot run past its end. The bytes in the segments
 * remain the driver's: it may change them at any time, so headers are copied
 * out with cursor_get before they are judged.
 */
#ifndef VIRTIO_QUEUE_H
#define VIRTIO_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "mem/ram.h"

#define QUEUE_SIZE_MAX 256 /* a power of two */

struct queue_config {
	uint16_t size;		  /* a power of two, at most QUEUE_SIZE_MAX */
	gpa desc;		  /* descriptor table, 16-byte aligned */
	gpa driver;		  /* avail ring, 2-byte aligned */
	gpa device;		  /* used ring, 4-byte aligned */
	bool event_idx, indirect; /* negotiated features */
	/* where it goes on; 0 but after a restore */
	uint16_t next_avail, next_used, published;
};

struct queue {
	const struct ram *ram;
	struct queue_config config;
	bool ready, broken;
	const uint8_t *desc, *avail; /* in guest RAM, checked by queue_start */
	uint8_t *used;
	uint16_t mask;	     /* size - 1 */
	uint16_t avail_seen; /* avail->idx when it was last looked at */
	uint16_t next_avail; /* free-running: next avail entry to take */
	uint16_t next_used;  /* free-running: next used entry to fill */
	uint16_t published;  /* used->idx as the driver sees it */
	uint16_t told;	     /* up to there it was asked who is to be told */
};

/* 4 KiB: in a device's own memory, not on the stack, where it is zeroed. */
struct chain {
	uint16_t head;	   /* goes back with queue_push */
	uint16_t count;	   /* segments in all */
	uint16_t readable; /* the first so many are device-readable */
	uint32_t read_len, write_len;	      /* bytes of both kinds */
	struct iovec segment[QUEUE_SIZE_MAX]; /* in guest RAM */
};

/*
 * Starts a queue at the indexes given. -EINVAL, not logged, where the size is
 * not allowed, a ring is misaligned or not wholly in RAM, or more chains than
 * it has would be between two indexes.
 */
int queue_start(struct queue *queue, const struct ram *ram,
		const struct queue_config *config);

/* A stopped queue is empty and swallows what is pushed. */
void queue_stop(struct queue *queue);

/*
 * Takes the next chain: 1; 0 where there is none; -EPROTO where the ring is
 * malformed: the queue is broken from then on, gives and takes nothing more,
 * and its device must call device_broken.
 */
int queue_pop(struct queue *queue, struct chain *chain);

/*
 * Puts the chain that was taken last back to be taken again; n times for the
 * last n chains.
 */
void queue_unpop(struct queue *queue);

/*
 * Fills in a used entry: `written` bytes at the front of the chain's writable
 * part were written. The driver does not see it before queue_publish. `head`
 * is that of a chain which was taken and not yet given back.
 */
void queue_push(struct queue *queue, uint16_t head, uint32_t written);

/*
 * Makes all pushed entries visible. True where the driver wants an interrupt
 * for them (EVENT_IDX or the avail ring's flags).
 */
bool queue_publish(struct queue *queue);

/*
 * queue_publish in two steps, for a device that does not interrupt at once.
 * queue_show makes visible; true where there was something to show. Then
 * queue_is_awaited says, as often as it is asked, whether the driver still
 * wants an interrupt for what it was shown, until queue_told; queue_untold is
 * how many entries that are.
 */
bool queue_show(struct queue *queue);
bool queue_is_awaited(const struct queue *queue);
void queue_told(struct queue *queue);
uint16_t queue_untold(const struct queue *queue);

/*
 * While the device is looking at the queue it needs no notifications; before
 * it stops looking, because queue_pop returned 0 or what it gave had to be put
 * back until there is more, it asks for them again. queue_want_kick returns
 * true where more has come in the meantime: look again, no notification will
 * come for that.
 */
void queue_ignore_kicks(struct queue *queue);
bool queue_want_kick(struct queue *queue);

/* A place in the readable or in the writable part of a chain. */
struct cursor {
	const struct chain *chain;
	unsigned segment, end; /* segments [segment, end) are left */
	size_t offset;	       /* in the first of them */
	size_t left;	       /* bytes */
};

struct cursor chain_reader(const struct chain *chain);
struct cursor chain_writer(const struct chain *chain);

/* Copy and move on; false, and nothing done, where fewer are left. */
bool cursor_get(struct cursor *cursor, void *to, size_t len);
bool cursor_put(struct cursor *cursor, const void *from, size_t len);
bool cursor_skip(struct cursor *cursor, size_t len);

/*
 * The next `len` bytes (or as many as are left, or fit into `max` entries) as
 * an I/O vector for one system call; moves on past them. Returns the number of
 * entries; *bytes is what they hold.
 */
unsigned cursor_iov(struct cursor *cursor, size_t len, struct iovec *iov,
		    unsigned max, size_t *bytes);

#endif
