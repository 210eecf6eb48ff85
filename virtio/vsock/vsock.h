/*
 * The vsock device (virtio 1.2, 5.10): streams between programs in the guest
 * and programs on the host, which talk to unix sockets.
 *
 *	host to guest	connect to PATH, write "CONNECT 1234\n", read
 *			"OK <port>\n": a stream to the guest's port 1234
 *	guest to host	a stream to CID 2, port 1234, reaches whoever listens
 *			on PATH_1234
 *
 * That is Firecracker's convention, so its clients work unchanged. One stream
 * more may end inside mote (struct vsock_options): a command's.
 */
#ifndef VIRTIO_VSOCK_VSOCK_H
#define VIRTIO_VSOCK_VSOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/file.h"
#include "cpu/loop/loop.h"
#include "virtio/mmio.h"

/* What the command line asks for of the vsock. */
#define VSOCK_CID_MIN	  3u /* virtio 1.2, 5.10.4: those below are reserved */
#define VSOCK_CID_MAX	  0xfffffffeu
#define VSOCK_CID_DEFAULT 3u

struct vsock_options {
	struct option_file file; /* path NULL and fd -1: none */
	unsigned cid;		 /* the guest's */
	/*
	 * A stream that ends inside mote: the guest's first connection to
	 * `own_port` is `own_fd`'s, a socket that becomes the device's.
	 */
	bool own;
	uint32_t own_port;
	int own_fd;
};

/* Programs of the host can reach it. */
static inline bool vsock_is_shared(const struct vsock_options *options)
{
	return options->file.path || options->file.fd >= 0;
}

struct vsock;

/*
 * Before the sandbox closes in: listens at the path, and takes what memory and
 * descriptors its connections may need. 0 or -errno, logged, with nothing to
 * destroy then.
 */
int vsock_open(struct vsock **vsock, const struct vsock_options *options);

/* Makes the device, to be attached to a transport. 0 or -errno, logged. */
int vsock_create(struct vsock *vsock, struct loop *loop);

struct device *vsock_device(struct vsock *vsock);

/* The socket's file; its directory is what the sandbox leaves reachable. */
struct unixsock *vsock_file(struct vsock *vsock);

/*
 * In the sandbox: makes that directory the working one, by which the host's
 * listeners are found from now on. Where others could be reached by what that
 * takes (`barred` says why; else NULL), the guest's own connections are
 * refused.
 */
void vsock_enter(struct vsock *vsock, const char *barred);

/* Whether the guest's own connections have anywhere to go. */
bool vsock_dials(const struct vsock *vsock);

/*
 * After the guest was restored from a snapshot: its connections lead nowhere.
 * Ends all, and tells the driver with a transport reset event (5.10.6.7); the
 * CID, which the driver then reads again, may be another.
 */
void vsock_reset_all(struct vsock *vsock, uint64_t cid);

/* Closes everything and removes the socket's file. NULL is harmless. */
void vsock_destroy(struct vsock *vsock);

#endif
