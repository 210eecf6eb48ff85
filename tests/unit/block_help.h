/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the block device: a disk over a file, a driver with a ring for
 * each queue, and the event loop, run by the test itself turn by turn. Stands
 * in for the transport. A test links it with engines or with mock_engine.c, and
 * with -Wl,--wrap=log_guest, so that no line is left out of the log.
 */
#ifndef TESTS_UNIT_BLOCK_HELP_H
#define TESTS_UNIT_BLOCK_HELP_H

#include "tests/unit/guest_ram.h"
#include "tests/unit/kept_log.h"
#include "tests/unit/ring.h"
#include "tests/unit/sample_file.h"
#include "tests/unit/unit.h"
#include "virtio/block/block.h"

#define FLUSH_FEATURE BLOCK_FEATURE_FLUSH

#define RAM_BYTES   (64 * MIB)
#define HEADERS_AT  0x200000ULL /* 512 bytes each: header, ranges, status */
#define STATUS_AT   511ULL
#define DATA_AT	    0x1000000ULL
#define SLOTS	    4096u
#define PATIENCE_MS 20000

extern struct block_test {
	struct ram ram;
	struct loop loop;
	struct block *block;
	struct device *device;
	struct ring ring[DEVICE_QUEUES_MAX];
	unsigned interrupts;
	unsigned breaks;   /* device_broken */
	unsigned canceled; /* device_canceled */
	unsigned quiet;	   /* device_paused */
	unsigned slots;	   /* requests made so far */
	uint16_t slot_of[DEVICE_QUEUES_MAX][QUEUE_SIZE_MAX]; /* by head */
	bool back[SLOTS];
	uint32_t written[SLOTS];
	unsigned back_count;
} t;

/* -- files, the caller's to close ----------------------------------------- */

/* One that has no name and takes what its file system offers. */
int unnamed_file(const char *directory, uint64_t size);
int memory_file(uint64_t size);

/* -- the disk ------------------------------------------------------------- */

/* Opens and makes it: 0 or -errno. An fd in the options is the disk's. */
int disk_create(struct block_options *options);
/* What the transport does at DRIVER_OK. */
void disk_activate(uint64_t features);
/* These queues (bits) are stopped: true where that is over at once. */
bool disk_cancel(uint32_t queues);
/*
 * All of them, and waits until it is over: in the loop, unless there is a
 * function that has the engines go on.
 */
extern void (*disk_waits)(void);
void disk_reset(void);
/* As the transport does it; true where nothing is in flight. */
bool disk_pause(void);
void disk_resume(void);
void disk_destroy(void);
/* All at once, which must succeed and log nothing. */
void disk_make(struct block_options *options, uint64_t features);

/* -- requests, each known by its slot ------------------------------------- */

uint8_t *guest(uint64_t at, uint64_t len);
uint8_t *header_of(unsigned slot);
int status_of(unsigned slot);

/* Any chain, by an indirect table where one is given. */
unsigned put_chain(unsigned queue, const struct ring_buffer *buffer,
		   unsigned count, uint64_t table);
/*
 * A request as Linux makes it: header, data in `pieces` buffers, status. Data
 * lies at `data` in the guest.
 */
unsigned put_pieces(unsigned queue, uint32_t type, uint64_t sector,
		    uint64_t data, uint32_t len, unsigned pieces,
		    bool from_device);
unsigned put_request_on(unsigned queue, uint32_t type, uint64_t sector,
			uint64_t data, uint32_t len);
/* One that is paused is kicked later. */
void kick_queue(unsigned queue);

/* -- what comes back ------------------------------------------------------ */

void collect(void);
/* The loop sees that engine `index` has something done. */
void engine_reports(unsigned index);
/* A turn of the event loop, and what came back; true where it did anything. */
bool pump(int ms);
void wait_back(unsigned count);

/* One request, done: its status; its slot is t.slots - 1. */
int do_request(uint32_t type, uint64_t sector, uint64_t data, uint32_t len);
uint32_t last_written(void);
/* DISCARD and WRITE_ZEROES: one range. */
int do_range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags);

#endif
