/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vsock device (virtio 1.2, 5.10): streams between programs in the guest
 * and programs on the host, which talk to unix sockets.
 *
 *	host to guest	connect to PATH, write "CONNECT 1234\n", read
 *			"OK <port>\n": a stream to the guest's port 1234
 *	guest to host	a stream to CID 2, port 1234, reaches whoever listens
 *			on PATH_1234
 *
 * That is Firecracker's convention, so its clients work unchanged. One more
 * stream may end inside mote, the internal stream: a command's.
 */
#ifndef VIRTIO_VSOCK_VSOCK_H
#define VIRTIO_VSOCK_VSOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"
#include "virtio/lazy.h"
#include "virtio/mmio.h"
#include "virtio/vsock/conn.h"

#define VSOCK_CID_MIN	  3u /* virtio 1.2, 5.10.4: those below are reserved */
#define VSOCK_CID_MAX	  0xfffffffeu
#define VSOCK_CID_DEFAULT 3u

/* Descriptors: streams, and all else, with many CPUs, disks and queues. */
#define VSOCK_FILES_MAX (VSOCK_CONNECTIONS_MAX + 1024u)

/* What the command line asks for of the vsock. */
struct vsock_options {
	struct option_file file; /* path NULL and fd -1: none */
	unsigned cid;		 /* the guest's */
	uint64_t memory;	 /* the guest's, bytes: what it may hold here */
	/*
	 * The guest's first connection to `internal_port` is the other end's
	 * of `internal_fd`, a socket that becomes the device's.
	 */
	bool internal;
	uint32_t internal_port;
	int internal_fd;
};

enum vsock_queue { VSOCK_RX, VSOCK_TX, VSOCK_EVENT, VSOCK_QUEUES };

struct vsock {
	struct device device;
	struct conns conns;
	struct loop_work work; /* packets that the budget did not cover */
	const char *failed;    /* the driver broke the rules: how */
	struct lazy sent;      /* the transmit queue's interrupts */
	bool tx_due;	       /* the guest may have packets */
	bool rx_dry;	       /* the guest has no buffers */
	bool event_due;	       /* a transport reset event is to be sent */
	struct chain chain;
};

/* Programs of the host can reach it. */
static inline bool vsock_is_shared(const struct vsock_options *options)
{
	return options->file.path || options->file.fd >= 0;
}

/*
 * Before the sandbox closes in: listens at the path, and takes what memory and
 * descriptors its connections may need. 0 or -errno, logged, with nothing to
 * destroy then.
 */
int vsock_open(struct vsock **vsock, const struct vsock_options *options);

/* Makes the device, to be attached to a transport. 0 or -errno, logged. */
int vsock_create(struct vsock *vsock, struct loop *loop);

static inline struct device *vsock_device(struct vsock *vsock)
{
	return &vsock->device;
}

/* The socket's file, with the directory of the host's listeners. */
static inline struct unixsock *vsock_file(struct vsock *vsock)
{
	return &vsock->conns.host.file;
}

/* Whether the guest's own connections have anywhere to go. */
static inline bool vsock_dials(const struct vsock *vsock)
{
	return vsock->conns.host.prefix;
}

/*
 * Before vsock_create: who makes these connections (cpu/loop/broker.h); its
 * descriptor stays the caller's. Without one they are refused.
 */
static inline void vsock_set_broker(struct vsock *vsock, int fd)
{
	vsock->conns.host.broker_fd = fd;
}

/*
 * After vsock_create: what a snapshot keeps, mem/state.h, besides the
 * transport's part. A restored guest's streams lead nowhere: each of them ends
 * by an RST. Where the guest has another CID now, it also gets a transport
 * reset event (5.10.6.7), upon which it reads that; and only then, since the
 * event ends streams that are begun before it is seen, too.
 */
void vsock_state(struct vsock *vsock, struct state *s);

/* Streams and their bytes, so far. */
static inline void vsock_counters(const struct vsock *vsock,
				  uint64_t value[VSOCK_COUNTERS])
{
	memcpy(value, vsock->conns.counter, sizeof(vsock->conns.counter));
}

/* Closes everything and removes the socket's file. NULL is harmless. */
void vsock_destroy(struct vsock *vsock);

#endif
