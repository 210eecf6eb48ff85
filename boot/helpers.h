/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The processes beside mote's, each in its jail and behind its filter: the
 * broker, which has the sockets' directories; the committer, which has a
 * snapshot's; and the walkers, which read what --put names.
 */
#ifndef BOOT_HELPERS_H
#define BOOT_HELPERS_H

#include <stddef.h>

#include "boot/options/options.h"
#include "cpu/command/transfer.h"
#include "cpu/loop/committer.h"
#include "cpu/loop/unixsock.h"
#include "seccomp/filter.h"
#include "seccomp/jail.h"
#include "virtio/vsock/vsock.h"

struct helpers {
	enum sandbox_mode sandbox;
	const struct jail_options *jail;
	struct filter_options filter;
	void *memory; /* of mote's, which none of them looks at */
	size_t memory_len;
};

/*
 * Before the sandbox closes in, while there is one thread. 0 or -errno, logged.
 * Of the first two there is none where nothing needs it.
 */
int helpers_start_broker(const struct helpers *helpers, struct vsock *vsock,
			 struct unixsock *serial, int *broker_fd);
int helpers_start_committer(const struct helpers *helpers,
			    struct committer *committer);
int helpers_start_walkers(const struct helpers *helpers,
			  struct transfers *transfers);

#endif
