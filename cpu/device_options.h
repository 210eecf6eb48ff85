/*
 * What the command line asks for of virtio devices: filled in by boot/options,
 * read by virtio/, which may not know one another.
 */
#ifndef CPU_DEVICE_OPTIONS_H
#define CPU_DEVICE_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cpu/loop/file.h"
#include "cpu/loop/thread.h"
#include "cpu/vm.h"

/* One interrupt line each. */
#define DEVICES_MAX (VM_GSI_COUNT - VM_GSI_VIRTIO)

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

/* NET_NONE is only what an option holds before it is given. */
enum net_kind { NET_NONE, NET_TAP, NET_UNIX, NET_FD };

#define NETS_MAX      8
#define NET_MAC_BYTES 6

struct net_options {
	enum net_kind kind;
	struct option_file file; /* TAP: a name, UNIX: a path; FD: an fd */
	const char *mac_text;	 /* NULL: a random one is made */
	uint8_t mac[NET_MAC_BYTES];
	unsigned mtu;	      /* told to the guest; 0: the tap's */
	uint64_t bytes_per_s; /* each way; 0: no limit */
	unsigned packets_per_s;
};

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

/*
 * Slots are given out in this order: disks, networks, the vsock; of one kind as
 * they were named.
 */
struct device_options {
	struct block_options disks[DEVICES_MAX];
	unsigned disk_count;
	struct net_options nets[NETS_MAX];
	unsigned net_count;
	struct vsock_options vsock;
};

#endif
