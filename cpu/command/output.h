/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes from the guest to a descriptor of mote's: stdout, stderr,
 * or the file of a --get. It has a ring for all that the guest has credit for
 * (cpu/command/protocol.h), so a reader that stalls holds up the guest's writer
 * and nothing else.
 */
#ifndef CPU_COMMAND_OUTPUT_H
#define CPU_COMMAND_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/command/protocol.h"
#include "cpu/console/stream.h"

struct output {
	struct stream stream; /* without a descriptor nobody reads it */
	uint32_t start, len;  /* in the ring: not written yet */
	uint32_t taken;	      /* written, and the guest was not told yet */
	bool told_closed;
	uint8_t ring[PROTOCOL_CREDIT];
};

/*
 * Keeps what came; where nobody reads it, it counts as written. 0, or -EPROTO
 * where it is more than was allowed. Not logged.
 */
int output_add(struct output *output, const uint8_t *data, size_t len);

/*
 * Writes what its reader takes: 0 where that is all; -EAGAIN, and it is watched
 * for more, if it can be; or -errno, not logged, and it is the caller's to drop
 * it.
 */
int output_flush(struct output *output);

/* Nobody reads it any more: what there was falls away. */
void output_drop(struct output *output);

#endif
